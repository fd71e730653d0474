//! Flags in the numbers that teams have.

use std::fmt::Write as _;

use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, Namespace, Rollout, RolloutRule, Rule, Segment,
    Snapshot, Variant,
};

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

/// So many flags of a size and shape that teams have: half boolean with a segment and a share, half with variants.
#[must_use]
pub fn usual_flags(count: usize) -> Snapshot {
    let segments = (0..50)
        .map(|index| Segment {
            key: format!("segment-{index}"),
            name: format!("Segment {index}"),
            constraints: vec![
                Constraint {
                    constraint_type: ConstraintType::String,
                    property: "country".into(),
                    operator: "isoneof".into(),
                    value: r#"["DK","FI","IS","NO","SE"]"#.into(),
                    ..Default::default()
                },
                Constraint {
                    constraint_type: ConstraintType::Number,
                    property: "age".into(),
                    operator: "gte".into(),
                    value: index.to_string(),
                    ..Default::default()
                },
            ],
            ..Default::default()
        })
        .collect();
    let flags = (0..count)
        .map(|index| {
            let segment = vec![format!("segment-{}", index % 50)];
            let base = Flag {
                key: format!("flag-{index:04}"),
                name: format!("Flag number {index}"),
                description: "What it is for, and whom to ask before it is removed.".into(),
                enabled: true,
                ..Default::default()
            };
            if index % 2 == 0 {
                let segment =
                    RolloutRule::Segment { segments: segment, operator: Default::default(), value: true };
                let share = RolloutRule::Threshold { percentage: 25.0, value: true };
                let rollouts = [segment, share]
                    .into_iter()
                    .zip(1..)
                    .map(|(rule, rank)| Rollout { rank, rule, ..Default::default() })
                    .collect();
                return Flag { flag_type: FlagType::Boolean, rollouts, ..base };
            }
            let variant = |key: &str| Variant {
                key: key.into(),
                attachment: r#"{"colour":"blue"}"#.into(),
                ..Default::default()
            };
            let share = |key: &str| Distribution { variant: key.into(), rollout: 50.0 };
            Flag {
                variants: vec![variant("control"), variant("treatment")],
                rules: vec![Rule {
                    rank: 1,
                    segments: segment,
                    distributions: vec![share("control"), share("treatment")],
                    ..Default::default()
                }],
                ..base
            }
        })
        .collect();
    Snapshot { namespaces: vec![Namespace { key: "default".into(), flags, segments, ..Default::default() }] }
}
