//! Rules and patterns that several kinds share.
//!
//! The API server estimates what a rule may cost at most from the bounds of lists and texts, and refuses a
//! definition whose rules may cost too much: whatever a rule looks at has to be bounded.

use kube::core::Rule;

/// Longest key, in characters.
pub(crate) const MAX_KEY: u32 = 100;
/// Longest name for people, in characters.
pub(crate) const MAX_NAME: u32 = 255;
/// Longest description, in characters.
pub(crate) const MAX_DESCRIPTION: u32 = 1024;
/// Longest name of a Kubernetes object, in characters.
pub(crate) const MAX_OBJECT_NAME: u32 = 253;
/// Longest URL, in characters.
pub(crate) const MAX_URL: u32 = 2048;

/// Keys of namespaces, flags and segments (documents spec, section 11.2).
pub(crate) const KEY: &str = r"^[-_,A-Za-z0-9]+$";
/// Keys of environments, which stand in names of published objects.
pub(crate) const ENVIRONMENT_KEY: &str = r"^[-_A-Za-z0-9][-_.A-Za-z0-9]*$";
/// Keys of namespaces, with `*` for any text.
pub(crate) const KEY_GLOB: &str = r"^[-_,*A-Za-z0-9]+$";
/// Names of Kubernetes objects.
pub(crate) const OBJECT_NAME: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";
/// HTTP and HTTPS addresses.
pub(crate) const HTTP_URL: &str = r"^https?://[^\s/?#]+[^\s?#]*$";

/// The field keeps the value with which it was created.
pub(crate) fn immutable(field: &str) -> Rule {
    Rule::new("self == oldSelf").message(&*format!("{field} is immutable: create another resource instead"))
}

/// An optional key keeps its value, or its absence. Stands on the object that holds it: a rule on the field itself
/// is not asked when the field is added or removed.
pub(crate) fn immutable_key() -> Rule {
    Rule::new("has(self.key) == has(oldSelf.key) && (!has(self.key) || self.key == oldSelf.key)")
        .message("key is immutable, set or not: create another resource instead")
}

/// Without a key, the name of the object is one.
pub(crate) fn name_is_key() -> Rule {
    Rule::new(format!("has(self.spec.key) || self.metadata.name.matches('^[-a-z0-9]{{1,{MAX_KEY}}}$')"))
        .message(&*format!(
            "metadata.name is no Flipt key (it has dots, or more than {MAX_KEY} characters): set spec.key"
        ))
}

/// Of the fields that can be left to the UI, this kind has a description only.
pub(crate) fn only_description_is_editable() -> Rule {
    Rule::new("self.uiEditable.all(field, field == 'Description')")
        .message("uiEditable: only Description can be left to the UI here")
}

/// Exactly one of two fields is set.
pub(crate) fn either(one: &str, other: &str) -> Rule {
    Rule::new(format!("has(self.{one}) != has(self.{other})"))
        .message(&*format!("set exactly one of {one} and {other}"))
}
