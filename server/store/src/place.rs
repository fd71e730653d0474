//! Where an environment's rows are: how the keys of its namespaces are stored.

use flipt_model::DEFAULT_ENVIRONMENT;

/// Separates environment and namespace in the stored key of a namespace. No key can contain it.
const SEPARATOR: char = '/';

/// The place of one environment in the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    /// Key of the environment's row.
    pub(crate) row: String,
    /// What stands before the key of each of its namespaces; nothing for the default environment.
    prefix: String,
}

impl Place {
    /// The default environment, whatever the configuration calls it.
    pub(crate) fn of_default() -> Self {
        Self { row: DEFAULT_ENVIRONMENT.to_owned(), prefix: String::new() }
    }

    /// Any other environment.
    pub(crate) fn of(environment: &str) -> Self {
        Self { row: environment.to_owned(), prefix: format!("{environment}{SEPARATOR}") }
    }

    /// The key under which a namespace is stored.
    pub(crate) fn stored(&self, namespace: &str) -> String {
        format!("{}{namespace}", self.prefix)
    }

    /// The key of a stored namespace.
    pub(crate) fn namespace<'a>(&self, stored: &'a str) -> &'a str {
        stored.strip_prefix(self.prefix.as_str()).unwrap_or(stored)
    }
}

/// The stored key of a namespace that a request of the v1 API names. Those requests know the default
/// environment alone: a key that would lead into another one leads nowhere.
pub(crate) fn in_default_environment(requested: &str) -> &str {
    let key = flipt_model::namespace_or_default(requested);
    if key.contains(SEPARATOR) { "/" } else { key }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_keys_lead_back_to_their_namespace() {
        for place in [Place::of_default(), Place::of("staging")] {
            assert_eq!(place.namespace(&place.stored("web")), "web");
        }
        assert_eq!(Place::of_default().stored("web"), "web");
        assert_eq!(Place::of("staging").stored("web"), "staging/web");
    }

    #[test]
    fn a_request_cannot_name_a_namespace_of_another_environment() {
        assert_eq!(in_default_environment(""), "default");
        assert_eq!(in_default_environment("web"), "web");
        assert_eq!(in_default_environment(&Place::of("staging").stored("web")), "/");
    }
}
