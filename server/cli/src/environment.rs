//! The process's environment variables.

use std::collections::BTreeMap;

/// Every variable by name. What is not Unicode cannot be meant for us.
pub(crate) fn variables() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}
