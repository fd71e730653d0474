//! What namespaces, flags and segments say about how their content is kept in a server.

use flipt_model::DEFAULT_ENVIRONMENT;
use kube::KubeSchema;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    ServerRef,
    rule::{ENVIRONMENT_KEY, KEY, MAX_KEY, immutable},
};

/// Where the content goes and who may change it there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Management {
    /// The server that holds the content.
    #[x_kube(validation = immutable("serverRef"))]
    pub server_ref: ServerRef,
    /// Environment of the server.
    #[serde(default = "default_environment")]
    #[schemars(length(min = 1, max = 128), regex(pattern = ENVIRONMENT_KEY))]
    #[x_kube(validation = immutable("environment"))]
    pub environment: String,
    /// Key in the server; without it, the object's name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_KEY), regex(pattern = KEY))]
    pub key: Option<String>,
    /// What happens to the content when this object is deleted.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
    /// What happens when the server has such a key already, and no other object owns it.
    #[serde(default)]
    pub adoption_policy: AdoptionPolicy,
    /// What happens when somebody changed the content in the server.
    #[serde(default)]
    pub drift_policy: DriftPolicy,
    /// Fields that are written once, at creation, and belong to the UI afterwards: the definition in git, the switch
    /// in the UI.
    #[serde(default)]
    #[schemars(length(max = 5))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub ui_editable: Vec<EditableField>,
    /// Leave the server as it is. A suspended object that is deleted leaves its content behind.
    #[serde(default)]
    pub suspend: bool,
}

fn default_environment() -> String {
    DEFAULT_ENVIRONMENT.to_owned()
}

/// What happens to the content when its object is deleted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionPolicy {
    /// It is deleted too.
    #[default]
    Delete,
    /// It stays, and belongs to nobody.
    Orphan,
}

/// What happens when the server has the key already.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AdoptionPolicy {
    /// It is left alone.
    Never,
    /// It is taken over if it is the same; otherwise left alone.
    #[default]
    IfIdentical,
    /// It is overwritten.
    Force,
}

/// What happens when owned content was changed in the server.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DriftPolicy {
    /// It is written anew.
    #[default]
    Enforce,
    /// The condition `Drifted` says so.
    Report,
}

/// A field that can be left to the UI.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub enum EditableField {
    /// Whether a flag is enabled.
    Enabled,
    /// The description.
    Description,
    /// The rules of a variant flag.
    Rules,
    /// The rollouts of a boolean flag.
    Rollouts,
    /// The metadata of a flag.
    Metadata,
}
