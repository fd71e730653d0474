//! What an injection writes on a pod about itself.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    annotation::{ANNOTATION_STATUS, LABEL_INJECTED},
    pod,
    ports::ChosenPorts,
};

/// Value of the annotation `flipt.io/status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InjectionStatus {
    /// Version of the operator.
    pub version: String,
    /// Name of the profile.
    pub profile: String,
    /// Hash of the profile: see [`Profile::hash`](crate::Profile::hash).
    pub hash: String,
    /// Name of the sidecar's container.
    pub container: String,
    /// Hash of the container as it was added, before other webhooks changed it.
    pub(crate) rendered: String,
    /// Ports of the sidecar.
    pub(crate) ports: ChosenPorts,
}

impl InjectionStatus {
    /// Reads it from the annotations of a pod; `None`: nothing has been injected, as far as one can tell.
    #[must_use]
    pub fn of(pod: &Value) -> Option<Self> {
        Self::parse(pod::texts(pod, "annotations").get(ANNOTATION_STATUS)?)
    }

    /// Reads it from the annotation's value.
    #[must_use]
    pub fn parse(annotation: &str) -> Option<Self> {
        serde_json::from_str(annotation).ok()
    }

    /// Its label and its annotation, as they are written.
    pub(crate) fn marks(&self) -> [(&'static str, &'static str, String); 2] {
        let annotation = serde_json::to_string(self).unwrap_or_default();
        [("annotations", ANNOTATION_STATUS, annotation), ("labels", LABEL_INJECTED, "true".to_owned())]
    }
}
