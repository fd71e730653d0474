//! `FliptSegment`: a segment with its constraints.

use flipt_model::DEFAULT_NAMESPACE;
use kube::{CustomResource, KubeSchema, core::Rule};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Management, ResourceStatus,
    rule::{
        KEY, MAX_DESCRIPTION, MAX_KEY, MAX_NAME, immutable, immutable_key, name_is_key,
        only_description_is_editable,
    },
};

/// Most constraints of a segment.
const MAX_CONSTRAINTS: u32 = 100;
/// Longest value of a constraint, in characters: a list of 100 UUIDs has 3900.
const MAX_VALUE: u32 = 4000;

/// A segment with its constraints. It is written to the server in one step.
#[derive(Debug, Clone, PartialEq, CustomResource, Serialize, Deserialize, KubeSchema)]
#[kube(
    group = "flipt.io",
    version = "v1alpha1",
    kind = "FliptSegment",
    plural = "fliptsegments",
    doc = "A segment with its constraints. It is written to the server in one step.",
    namespaced,
    status = "ResourceStatus",
    shortname = "fseg",
    category = "flipt",
    selectable = ".spec.serverRef.name",
    selectable = ".spec.fliptNamespace",
    printcolumn(name = "Key", type_ = "string", json_path = ".status.key"),
    printcolumn(name = "Flipt-Namespace", type_ = "string", json_path = ".spec.fliptNamespace"),
    printcolumn(name = "Match", type_ = "string", json_path = ".spec.matchType"),
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
#[x_kube(validation = immutable_key(), validation = only_description_is_editable())]
pub struct FliptSegmentSpec {
    /// Where the segment goes and who may change it there.
    #[serde(flatten)]
    pub management: Management,
    /// Namespace of the server.
    #[serde(default = "default_namespace")]
    #[schemars(length(min = 1, max = MAX_KEY), regex(pattern = KEY))]
    #[x_kube(validation = immutable("fliptNamespace"))]
    pub flipt_namespace: String,
    /// Name for people; without it, the key.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = MAX_NAME))]
    pub name: Option<String>,
    /// Description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_DESCRIPTION))]
    pub description: String,
    /// How many constraints must match.
    #[serde(default)]
    pub match_type: MatchType,
    /// Constraints. Without any, the segment takes everybody.
    #[serde(default)]
    #[schemars(length(max = MAX_CONSTRAINTS))]
    #[x_kube(merge_strategy = ListMerge::Atomic)]
    pub constraints: Vec<Constraint>,
}

fn default_namespace() -> String {
    DEFAULT_NAMESPACE.to_owned()
}

/// How many constraints must match.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum MatchType {
    /// Every one.
    #[default]
    All,
    /// At least one.
    Any,
}

/// A test of one property of the evaluation context, or of the entity id.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, KubeSchema)]
#[serde(rename_all = "camelCase")]
#[x_kube(
    validation = operators_of("STRING", &[
        "eq", "neq", "empty", "notempty", "prefix", "suffix", "isoneof", "isnotoneof", "contains", "notcontains",
    ]),
    validation = operators_of("NUMBER", ORDERED),
    validation = operators_of("BOOLEAN", &["true", "false", "present", "notpresent"]),
    validation = operators_of("DATETIME", ORDERED),
    validation = operators_of("ENTITY_ID", &["eq", "neq", "isoneof", "isnotoneof", "contains", "notcontains"]),
    validation = Rule::new("self.type != 'ENTITY_ID' || self.property == 'entityId'")
        .message("the property of a constraint of type ENTITY_ID is entityId"),
    validation = Rule::new(
        "(self.value == '') == (self.operator in ['true', 'false', 'empty', 'notempty', 'present', 'notpresent'])"
    ).message("true, false, empty, notempty, present and notpresent take no value; every other operator needs one"),
    validation = date_value(),
    validation = text_list_value(),
    validation = number_list_value()
)]
pub struct Constraint {
    /// How the value under test is read.
    #[serde(rename = "type")]
    pub constraint_type: ConstraintType,
    /// Name of the context property; `entityId` for type ENTITY_ID.
    #[schemars(length(min = 1, max = MAX_NAME))]
    pub property: String,
    /// The operator, in quotes where YAML would read something else: "true", "false".
    pub operator: ConstraintOperator,
    /// What to compare with: text, also for numbers and dates. For isoneof and isnotoneof, a JSON list of at most 100
    /// texts or numbers: '["SE","NO"]'.
    #[serde(default)]
    #[schemars(length(max = MAX_VALUE))]
    pub value: String,
    /// Description for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    #[schemars(length(max = MAX_DESCRIPTION))]
    pub description: String,
}

/// How a constraint reads the value under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ConstraintType {
    /// Text.
    String,
    /// Number.
    Number,
    /// True or false.
    Boolean,
    /// Date, or date with time.
    #[serde(rename = "DATETIME")]
    DateTime,
    /// The entity id of the request.
    EntityId,
}

/// How a constraint compares. Which operators go with which type is checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[expect(missing_docs, reason = "the names are Flipt's and say it all")]
pub enum ConstraintOperator {
    Eq,
    Neq,
    Lt,
    Lte,
    Gt,
    Gte,
    Empty,
    NotEmpty,
    Prefix,
    Suffix,
    IsOneOf,
    IsNotOneOf,
    Contains,
    NotContains,
    Present,
    NotPresent,
    True,
    False,
}

impl ConstraintOperator {
    /// As the flag model spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Eq => "eq",
            Self::Neq => "neq",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Empty => "empty",
            Self::NotEmpty => "notempty",
            Self::Prefix => "prefix",
            Self::Suffix => "suffix",
            Self::IsOneOf => "isoneof",
            Self::IsNotOneOf => "isnotoneof",
            Self::Contains => "contains",
            Self::NotContains => "notcontains",
            Self::Present => "present",
            Self::NotPresent => "notpresent",
            Self::True => "true",
            Self::False => "false",
        }
    }
}

const ORDERED: &[&str] =
    &["eq", "neq", "lt", "lte", "gt", "gte", "present", "notpresent", "isoneof", "isnotoneof"];

fn operators_of(type_: &str, operators: &[&str]) -> Rule {
    Rule::new(format!("self.type != '{type_}' || self.operator in ['{}']", operators.join("', '")))
        .message(&*format!("operators of a constraint of type {type_}: {}", operators.join(", ")))
}

/// Days that exist, leap years included. What a rule may cost counts the length of its patterns.
const DATE: &str = r"(\d{4}-((0[1-9]|1[0-2])-(0[1-9]|1\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31)|(\d\d(0[48]|[2468][048]|[13579][26])|([02468][048]|[13579][26])00)-02-29)";
const TIME: &str = r"T([01]?\d|2[0-3])(:[0-5]\d){2}([.,]\d+)?(Z|[-+]([01]\d|2[0-4]):([0-5]\d|60))";

fn date_value() -> Rule {
    Rule::new(format!(
        "self.type != 'DATETIME' || self.value == '' || self.value.matches(r'^{DATE}({TIME})?$')"
    ))
    .message(
        "the value of a constraint of type DATETIME is a date or a date with time: 2006-01-02, 2006-01-02T15:04:05Z",
    )
}

/// JSON lists of items that match the pattern.
fn json_list(item: &str, further_items: &str) -> String {
    let space = r"[ \n]*";
    format!(
        r"^{space}(null|\[{space}(({item}|null){space}(,{space}({item}|null){space}){further_items})?\]){space}$"
    )
}

/// A JSON text. Halves of surrogate pairs are to be written as what they stand for.
const JSON_TEXT: &str = r#""([^"\\\x00-\x1f]|\\["\\/bfnrt]|\\u[0-9a-cefA-CEF][0-9a-fA-F]{3})*""#;
/// A JSON number within the range of 64-bit floats.
const JSON_NUMBER: &str = r"-?(0|[1-9]\d{0,30})(\.\d{1,30})?([eE][-+]?\d{1,2})?";

fn text_list_value() -> Rule {
    Rule::new(format!(
        "!(self.type in ['STRING', 'ENTITY_ID']) || !(self.operator in ['isoneof', 'isnotoneof']) || \
         self.value.matches(r'{}')",
        json_list(JSON_TEXT, "{0,99}")
    ))
    .message("the value of isoneof and isnotoneof is a JSON list of at most 100 texts: '[\"SE\",\"NO\"]'")
}

/// The items are counted by their commas: the API server refuses patterns that repeat repetitions too often.
fn number_list_value() -> Rule {
    Rule::new(format!(
        "self.type != 'NUMBER' || !(self.operator in ['isoneof', 'isnotoneof']) || \
         (self.value.matches(r'{}') && self.value.split(',').size() <= 100)",
        json_list(JSON_NUMBER, "*")
    ))
    .message("the value of isoneof and isnotoneof is a JSON list of at most 100 numbers: '[1, 2.5]'")
}
