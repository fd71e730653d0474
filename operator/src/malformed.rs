//! Objects that do not have the form of their kind: they were written before the kind was changed, or around it.

use flipt_crds::{ConditionType, Reason, condition};
use k8s_openapi::{
    apimachinery::pkg::apis::meta::v1::{Condition, ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Resource,
    api::{ApiResource, DynamicObject, Patch, PatchParams},
};
use serde_json::{Value, json};

use crate::context::{Context, FIELD_MANAGER};

/// Says of an object that it cannot be read as its kind: `Ready=False`, `InvalidSpec`. The rest of its status stays.
///
/// # Errors
/// What the API server says, unless the object is gone.
pub(crate) async fn report<K: Resource<DynamicType = ()>>(
    context: &Context,
    meta: &ObjectMeta,
    error: &str,
) -> Result<(), kube::Error> {
    let name = meta.name.clone().unwrap_or_default();
    let kind = ApiResource::erase::<K>(&());
    let api: Api<DynamicObject> = match &meta.namespace {
        Some(namespace) => Api::namespaced_with(context.client.clone(), namespace, &kind),
        None => Api::all_with(context.client.clone(), &kind),
    };
    let Some(object) = api.get_opt(&name).await? else { return Ok(()) };
    let before = object.data.get("status").cloned().unwrap_or_else(|| json!({}));
    let after = status(&before, meta.generation, error, Time(Timestamp::now()));
    if after == before {
        return Ok(());
    }
    let patch = json!({
        "apiVersion": kind.api_version,
        "kind": kind.kind,
        "metadata": { "name": name, "uid": meta.uid },
        "status": after,
    });
    match api.patch_status(&name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(&patch)).await {
        Ok(_) => {
            context.metrics.status_writes.with_label_values(&[kind.kind.as_str()]).inc();
            Ok(())
        }
        // Gone, or another one of the same name.
        Err(kube::Error::Api(status)) if matches!(status.code, 404 | 409) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The status that says so. All of it is written, because what is left out of an apply is taken away.
fn status(before: &Value, generation: Option<i64>, error: &str, now: Time) -> Value {
    let mut conditions: Vec<Condition> =
        before.get("conditions").cloned().and_then(|it| serde_json::from_value(it).ok()).unwrap_or_default();
    let message = format!("the object does not have the form of its kind: {error}");
    condition::set(
        &mut conditions,
        ConditionType::Ready,
        false,
        Reason::InvalidSpec,
        &message,
        generation,
        now,
    );
    let mut after = if before.is_object() { before.clone() } else { json!({}) };
    after["conditions"] = json!(conditions);
    if let Some(generation) = generation {
        after["observedGeneration"] = json!(generation);
    }
    after
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        Time(Timestamp::from_second(seconds).unwrap())
    }

    #[test]
    fn it_is_said_once_and_takes_nothing_away() {
        let before = json!({ "readyReplicas": 2, "conditions": [] });
        let first = status(&before, Some(3), "spec.schedule is missing", at(1));
        assert_eq!(first["readyReplicas"], 2);
        assert_eq!(first["observedGeneration"], 3);
        assert_eq!(first["conditions"][0]["reason"], "InvalidSpec");
        assert!(first["conditions"][0]["message"].as_str().unwrap().contains("spec.schedule is missing"));
        assert_eq!(status(&first, Some(3), "spec.schedule is missing", at(9)), first);
    }

    #[test]
    fn a_status_that_is_none_is_replaced() {
        for before in [json!(null), json!("text"), json!({ "conditions": "none" })] {
            assert_eq!(status(&before, None, "wrong", at(1))["conditions"][0]["status"], "False");
        }
    }
}
