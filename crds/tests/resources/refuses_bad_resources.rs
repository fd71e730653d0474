//! What the manifests let in, and what they keep out: the samples, without a cluster.

use std::collections::BTreeMap;

use flipt_crds::manifests;
use serde_json::Value;

use crate::{
    api_server::ApiServer,
    samples::{self, Change},
};

fn apply(
    api_server: &ApiServer,
    samples: &BTreeMap<String, Value>,
    change: &Change,
) -> Result<Value, Vec<String>> {
    let changed = change.apply(samples);
    if change.update {
        let stored = api_server.create(&samples[&change.sample]).unwrap();
        api_server.update(&stored, &changed)
    } else {
        api_server.create(&changed)
    }
}

#[test]
fn the_samples_are_accepted_and_there_is_one_of_each_kind() {
    let api_server = ApiServer::new();
    let samples = samples::accepted();
    for (name, sample) in &samples {
        let stored = api_server.create(sample).unwrap_or_else(|refusals| panic!("{name}: {refusals:#?}"));
        // Defaults are filled in once: what is stored is what would be stored again.
        assert_eq!(api_server.update(&stored, &stored), Ok(stored.clone()), "{name}");
    }
    for manifest in manifests() {
        let kind = manifest.definition.spec.names.kind;
        assert!(samples.values().any(|sample| sample["kind"] == kind.as_str()), "no sample of {kind}");
    }
}

/// The messages of all rules.
fn messages(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(members) => {
            if members.contains_key("rule")
                && let Some(message) = members.get("message").and_then(Value::as_str)
            {
                found.push(message.to_owned());
            }
            members.values().for_each(|member| messages(member, found));
        }
        Value::Array(items) => items.iter().for_each(|item| messages(item, found)),
        _ => {}
    }
}

#[test]
fn bad_changes_are_refused_with_the_rule_they_break() {
    let api_server = ApiServer::new();
    let samples = samples::accepted();
    let mut rules = Vec::new();
    for manifest in manifests() {
        messages(&serde_json::to_value(manifest.definition).unwrap(), &mut rules);
    }
    let changes = samples::refused();
    for rule in &rules {
        let tried = changes.iter().any(|change| !change.message.is_empty() && rule.contains(&change.message));
        assert!(tried, "no sample breaks the rule \"{rule}\"");
    }
    for change in &changes {
        let Err(refusals) = apply(&api_server, &samples, change) else { panic!("accepted: {change:?}") };
        // Faults of shape are worded by the real API server alone.
        if rules.iter().any(|rule| rule.contains(&change.message)) {
            let said = refusals.iter().any(|refusal| refusal.contains(&change.message));
            assert!(said, "{change:?}: {refusals:#?}");
        }
    }
}

#[test]
fn good_changes_are_accepted() {
    let api_server = ApiServer::new();
    let samples = samples::accepted();
    for change in samples::allowed() {
        apply(&api_server, &samples, &change).unwrap_or_else(|refusals| panic!("{change:?}: {refusals:#?}"));
    }
}
