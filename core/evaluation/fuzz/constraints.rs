//! Constraints: neither validation nor evaluation panics, and what holds of every constraint holds of each.
//!
//! Lines of the input: number of the type, property, operator, value, entity, then the value under test, which
//! may have lines itself.

#![no_main]

use flipt_evaluation::{Namespace, Request, Snapshot};
use flipt_model::validation::{self, NormalisedConstraint};
use flipt_model::{
    Constraint, ConstraintType, Flag, FlagType, MatchType, Rollout, RolloutRule, Segment, SegmentOperator,
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let mut lines = text.splitn(6, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let constraint_type = ConstraintType::from_number(next().parse().unwrap_or(1));
    let (property, operator, value, entity) = (next(), next(), next(), next());
    let tested = next();
    let case = Case { constraint_type, property, entity, tested };

    let holds = case.holds(operator, value);
    let has_no_meaning = matches!(constraint_type, ConstraintType::Unknown | ConstraintType::Other(_));
    assert_eq!(holds.is_none(), has_no_meaning, "only a type without meaning fails an evaluation");

    let Ok(stored) = validation::constraint(constraint_type, property, operator, value) else { return };
    let NormalisedConstraint { operator, value } = stored.clone();
    assert_eq!(
        validation::constraint(constraint_type, property, &operator, &value),
        Ok(stored),
        "what is stored can be stored again, and stays as it is"
    );
    let holds = case.holds(&operator, &value).expect("what was accepted can be evaluated");
    let is_entity = constraint_type == ConstraintType::EntityId;
    let subject = if is_entity { entity } else { tested };
    if subject.is_empty() {
        assert_eq!(holds, matches!(operator.as_str(), "empty" | "notpresent"), "absent matches only absence");
        return;
    }
    if let Some(opposite) = opposite(&operator) {
        let other = case.holds(opposite, &value).expect("its opposite can be evaluated");
        let both_parse = case.both_parse(&operator, &value);
        assert!(!(holds && other), "{operator} and {opposite} never both hold");
        assert_eq!(
            holds || other,
            both_parse,
            "{operator} or {opposite} holds if the values can be compared"
        );
    }
});

struct Case<'a> {
    constraint_type: ConstraintType,
    property: &'a str,
    entity: &'a str,
    tested: &'a str,
}

impl Case<'_> {
    /// Whether a segment of this one constraint takes the entity; `None` if that cannot be told.
    fn holds(&self, operator: &str, value: &str) -> Option<bool> {
        let segment = |constraints: Vec<Constraint>| Segment {
            key: "s".into(),
            match_type: MatchType::All,
            constraints,
            ..Segment::default()
        };
        let constraint = Constraint {
            constraint_type: self.constraint_type,
            property: self.property.into(),
            operator: operator.into(),
            value: value.into(),
            ..Constraint::default()
        };
        let flag = |rule: RolloutRule| Flag {
            key: "f".into(),
            flag_type: FlagType::Boolean,
            rollouts: vec![Rollout { rank: 1, rule, ..Rollout::default() }],
            ..Flag::default()
        };
        let in_segment =
            RolloutRule::Segment { segments: vec!["s".into()], operator: SegmentOperator::Or, value: true };
        let source = flipt_model::Namespace {
            key: "default".into(),
            flags: vec![flag(in_segment)],
            segments: vec![segment(vec![constraint.clone()])],
            ..flipt_model::Namespace::default()
        };
        let compiled = Namespace::compile(&source);
        let before = flipt_model::Namespace { segments: vec![segment(Vec::new())], ..source };
        let edited = Namespace::compile(&before).with_segment(&segment(vec![constraint]));
        let context = [(self.property, self.tested)];
        let request = Request { namespace: "default", flag: "f", entity: self.entity, context: &context };
        let of = |namespace: Namespace| {
            let snapshot = Snapshot::default().with_namespace(namespace);
            snapshot.boolean(&request).map(|result| result.enabled).ok()
        };
        let holds = of(compiled);
        assert_eq!(of(edited), holds, "an edit leads to what compiling anew gives");
        holds
    }

    /// Whether value and value under test can be compared: `eq` or `neq` holds of them and of a list of them.
    fn both_parse(&self, operator: &str, value: &str) -> bool {
        match self.constraint_type {
            ConstraintType::String | ConstraintType::EntityId => true,
            _ if matches!(operator, "present" | "notpresent") => true,
            ConstraintType::Boolean => {
                ["true", "false"].iter().any(|operator| self.holds(operator, "") == Some(true))
            }
            _ => {
                let list = matches!(operator, "isoneof" | "isnotoneof");
                let value = if list {
                    if self.constraint_type == ConstraintType::Number { "0" } else { return false }
                } else {
                    value
                };
                ["eq", "neq"].iter().any(|operator| self.holds(operator, value) == Some(true))
            }
        }
    }
}

fn opposite(operator: &str) -> Option<&'static str> {
    Some(match operator {
        "eq" => "neq",
        "neq" => "eq",
        "empty" => "notempty",
        "notempty" => "empty",
        "contains" => "notcontains",
        "notcontains" => "contains",
        "isoneof" => "isnotoneof",
        "isnotoneof" => "isoneof",
        "present" => "notpresent",
        "notpresent" => "present",
        "true" => "false",
        "false" => "true",
        // lt and gte: neither holds of what is not a number.
        _ => return None,
    })
}
