//! Documents of a size that teams have.

use std::fmt::Write as _;

/// A document of so many flags: five of six boolean, with a segment and a share; the others with variants and two
/// rules. They share a hundred segments of four constraints each.
#[must_use]
pub fn many_flags(count: usize) -> String {
    let mut text = "version: \"1.4\"\nflags:\n".to_owned();
    for index in 0..count {
        let (segment, next) = (index % 100, (index + 1) % 100);
        // Writing to a text cannot fail.
        let _ = write!(
            text,
            "- key: flag-{index:05}\n  name: Flag {index}\n  description: What it is for, and whom to ask.\n  enabled: true\n"
        );
        let _ = if index % 6 == 0 {
            write!(
                text,
                "  variants:\n  - {{key: control, attachment: {{colour: blue}}, default: true}}\n  - {{key: treatment, attachment: {{colour: red}}}}\n  rules:\n  - segment: segment-{segment}\n    distributions:\n    - {{variant: control, rollout: 50}}\n    - {{variant: treatment, rollout: 50}}\n  - segment: {{keys: [segment-{segment}, segment-{next}], operator: AND_SEGMENT_OPERATOR}}\n    distributions:\n    - {{variant: treatment, rollout: 100}}\n"
            )
        } else {
            write!(
                text,
                "  type: BOOLEAN_FLAG_TYPE\n  rollouts:\n  - segment: {{key: segment-{segment}, value: true}}\n  - threshold: {{percentage: 50, value: true}}\n"
            )
        };
    }
    text.push_str("segments:\n");
    for index in 0..100 {
        let _ = write!(
            text,
            "- key: segment-{index}\n  name: Segment {index}\n  match_type: ALL_MATCH_TYPE\n  constraints:\n  - {{type: STRING_COMPARISON_TYPE, property: user, operator: prefix, value: a}}\n  - {{type: STRING_COMPARISON_TYPE, property: country, operator: isoneof, value: '[\"DK\",\"SE\"]'}}\n  - {{type: STRING_COMPARISON_TYPE, property: plan, operator: eq, value: pro}}\n  - {{type: NUMBER_COMPARISON_TYPE, property: age, operator: gt, value: '{index}'}}\n"
        );
    }
    text
}
