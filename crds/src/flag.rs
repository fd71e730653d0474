//! `FliptFlag`: a flag with its variants, rules and rollouts.

use std::collections::BTreeMap;

use flipt_model::DEFAULT_NAMESPACE;
use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    Management, ResourceStatus,
    rule::{KEY, MAX_DESCRIPTION, MAX_KEY, MAX_NAME, either, immutable, immutable_key, name_is_key},
    schema::{any_object, anything},
};

/// Most variants of a flag, rules and rollouts: what the rules below can afford to look at.
const MAX_PARTS: u32 = 64;
/// Most distributions of a rule.
const MAX_DISTRIBUTIONS: u32 = 32;
/// Most segments of a rule or rollout.
const MAX_SEGMENTS: u32 = 10;

/// A flag with its variants, rules and rollouts. It is written to the server in one step.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "FliptFlag",
    plural = "fliptflags",
    doc = "A flag with its variants, rules and rollouts. It is written to the server in one step.",
    namespaced,
    status = "ResourceStatus",
    shortname = "fflag",
    category = "flipt",
    selectable = ".spec.serverRef.name",
    selectable = ".spec.fliptNamespace",
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key"),
    printcolumn(name = "Flipt-Namespace", type_ = "string", json_path = ".spec.fliptNamespace"),
    printcolumn(name = "Type", type_ = "string", json_path = ".spec.type"),
    printcolumn(name = "Enabled", type_ = "boolean", json_path = ".spec.enabled"),
    printcolumn(name = "Ready", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].status"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".status.conditions[?(@.type==\"Ready\")].reason"),
    printcolumn(name = "Synced", type_ = "date", json_path = ".status.lastSyncTime"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Server", type_ = "string", json_path = ".spec.serverRef.name", priority = 1),
    printcolumn(name = "Revision", type_ = "string", json_path = ".status.serverRevision", priority = 1),
    printcolumn(name = "Hash", type_ = "string", json_path = ".status.contentHash", priority = 1),
    validation = name_is_key()
)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = immutable_key(),
    validation = Rule::new("self.type == 'VARIANT' || self.rules.size() == 0")
        .message("rules belong to flags of type VARIANT; a flag of type BOOLEAN has rollouts"),
    validation = Rule::new("self.type == 'BOOLEAN' || self.rollouts.size() == 0")
        .message("rollouts belong to flags of type BOOLEAN; a flag of type VARIANT has rules"),
    validation = Rule::new("self.variants.filter(variant, variant.default).size() <= 1")
        .message("at most one variant can be the default"),
    validation = variants_exist()
)]
pub struct FliptFlagSpec {
    /// Where the flag goes and who may change it there.
    #[serde(flatten)]
    pub management: Management,
    /// Namespace of the server.
    #[serde(default = "default_namespace")]
    #[schemars(length(min = 1, max = MAX_KEY), regex(pattern = KEY))]
    #[x_kube(validation = immutable("fliptNamespace"))]
    pub flipt_namespace: String,
    /// What the flag evaluates to.
    #[serde(default, rename = "type")]
    #[x_kube(validation = immutable("type"))]
    pub flag_type: FlagType,
    /// VARIANT: off means that the flag is not evaluated. BOOLEAN: the value if no rollout matches.
    #[serde(default)]
    pub enabled: bool,
    /// Name for people; without it, the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME))]
    pub name: Option<String>,
    /// Description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_DESCRIPTION))]
    pub description: String,
    /// Free-form metadata.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(schema_with = "any_object")]
    pub metadata: BTreeMap<String, Value>,
    /// The values that the flag can have.
    #[serde(default)]
    #[schemars(length(max = MAX_PARTS))]
    #[x_kube(merge_strategy = ListMerge::Map(vec!["key".into()]))]
    pub variants: Vec<Variant>,
    /// Rules of a flag of type VARIANT. The first that matches decides.
    #[serde(default)]
    #[schemars(length(max = MAX_PARTS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rules: Vec<FlagRule>,
    /// Rollouts of a flag of type BOOLEAN. The first that matches decides.
    #[serde(default)]
    #[schemars(length(max = MAX_PARTS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub rollouts: Vec<Rollout>,
}

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

/// The keys are gathered once, in a list of one list, which is as near as rules come to a variable: looking through the
/// variants for each distribution costs more than the API server grants a rule for a large flag.
fn variants_exist() -> Rule {
    Rule::new(
        "[self.variants.map(variant, variant.key)].all(keys, \
         self.rules.all(rule, rule.distributions.all(share, share.variant in keys)))",
    )
    .message("a distribution names a variant that the flag does not have")
}

/// What a flag evaluates to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum FlagType {
    /// One of its variants, or none.
    #[default]
    Variant,
    /// True or false.
    Boolean,
}

/// A value that a flag can have.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Variant {
    /// Key, unique on the flag.
    #[schemars(length(min = 1, max = MAX_KEY))]
    pub key: String,
    /// Name for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_NAME))]
    pub name: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_DESCRIPTION))]
    pub description: String,
    /// Applies when no rule decides.
    #[serde(default)]
    pub default: bool,
    /// Any JSON value, delivered with the variant; at most 10 kB as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(schema_with = "anything")]
    pub attachment: Option<Value>,
}

/// Which entities a rule takes and how it distributes them.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("self.distributions.map(share, double(share.rollout)).sum() <= 100.01")
    .message("the distributions of a rule add up to more than 100 %"))]
pub struct FlagRule {
    /// Keys of the segments.
    #[schemars(length(min = 1, max = MAX_SEGMENTS), inner(length(min = 1, max = MAX_KEY), regex(pattern = KEY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub segments: Vec<String>,
    /// How many of the segments must match.
    #[serde(default)]
    pub segment_operator: SegmentOperator,
    /// Shares of the entities, in order. Without any, the rule matches and gives no variant.
    #[serde(default)]
    #[schemars(length(max = MAX_DISTRIBUTIONS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub distributions: Vec<Distribution>,
}

/// How many segments must match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum SegmentOperator {
    /// At least one.
    #[default]
    Or,
    /// Every one.
    And,
}

/// A share of a rule's entities that gets one variant.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct Distribution {
    /// Key of one of the flag's variants.
    #[schemars(length(min = 1, max = MAX_KEY))]
    pub variant: String,
    /// Percent, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub rollout: f32,
}

/// What a rollout tests, and the value it gives.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = either("segment", "threshold"))]
pub struct Rollout {
    /// Description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_DESCRIPTION))]
    pub description: String,
    /// Membership in segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub segment: Option<RolloutSegment>,
    /// A share of all entities.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub threshold: Option<RolloutThreshold>,
}

/// Membership in segments.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutSegment {
    /// Keys of the segments.
    #[schemars(length(min = 1, max = MAX_SEGMENTS), inner(length(min = 1, max = MAX_KEY), regex(pattern = KEY)))]
    #[x_kube(merge_strategy = ListMerge::Set)]
    pub keys: Vec<String>,
    /// How many of the segments must match.
    #[serde(default)]
    pub operator: SegmentOperator,
    /// Value of the flag for the matching entities.
    #[serde(default)]
    pub value: bool,
}

/// A share of all entities.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
pub struct RolloutThreshold {
    /// Percent, 0 to 100.
    #[schemars(range(min = 0, max = 100))]
    pub percentage: f32,
    /// Value of the flag for that share.
    #[serde(default)]
    pub value: bool,
}
