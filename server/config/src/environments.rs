//! `environments`: a layer above namespaces (v2 spec, section 3.1).

use flipt_model::{DEFAULT_ENVIRONMENT, resource::is_environment_key};

use crate::{Origin, reader::Reader};

const SECTION: &str = "environments";
/// The only storage there is; Flipt v2 has several.
const STORAGE: &str = "default";

/// Which environments there are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Environments {
    /// Key of the default one, which the v1 API is about.
    pub default: String,
    /// Keys of the others.
    pub others: Vec<String>,
}

impl Default for Environments {
    fn default() -> Self {
        Self { default: DEFAULT_ENVIRONMENT.to_owned(), others: Vec::new() }
    }
}

/// One block of the section.
struct Block {
    id: String,
    key: String,
    is_default: bool,
}

impl Environments {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let ids = reader.blocks(SECTION, &["name", "default", "storage", "directory"]);
        let blocks: Vec<Block> = ids.into_iter().map(|id| read_block(reader, id)).collect();
        let mut keys: Vec<&str> = Vec::new();
        for block in &blocks {
            let place = format!("{SECTION}.{}.name", block.id);
            if keys.contains(&block.key.as_str()) {
                let problem = format!("two environments are called {:?}; names must differ", block.key);
                fail(reader, &place, problem);
            }
            keys.push(&block.key);
        }
        let mut defaults = blocks.iter().filter(|block| block.is_default || blocks.len() == 1);
        let default = match (defaults.next(), defaults.next()) {
            _ if blocks.is_empty() => return Self::default(),
            (Some(default), None) => default.key.clone(),
            (None, _) => {
                fail(
                    reader,
                    SECTION,
                    "default environment non-empty value is required: set default: true on one",
                );
                return Self::default();
            }
            (Some(_), Some(second)) => {
                let place = format!("{SECTION}.{}.default", second.id);
                fail(reader, &place, "only one environment can be default");
                return Self::default();
            }
        };
        let others = blocks.into_iter().map(|block| block.key).filter(|key| *key != default).collect();
        Self { default, others }
    }
}

fn read_block(reader: &mut Reader<'_>, id: String) -> Block {
    let key = |field: &str| format!("{SECTION}.{id}.{field}");
    let name = reader.text(&key("name"), &id);
    if !is_environment_key(&name) {
        let problem = if name.is_empty() {
            "non-empty value is required".to_owned()
        } else {
            format!("{name:?} is no name for an environment: 1 to 128 letters, digits, '-', '_' or '.'")
        };
        fail(reader, &key("name"), problem);
    }
    let is_default = reader.bool(&key("default"), false);
    let storage = reader.text(&key("storage"), STORAGE);
    if storage != STORAGE {
        let problem =
            format!("{name:?} references undefined storage {storage:?}; the only one is {STORAGE:?}");
        fail(reader, &key("storage"), problem);
    }
    if !reader.text(&key("directory"), "").is_empty() {
        fail(reader, &key("directory"), "directories need git storage, which this version does not have");
    }
    Block { id, key: name, is_default }
}

fn fail(reader: &mut Reader<'_>, key: &str, problem: impl Into<String>) {
    let origin = reader.is_set(key).unwrap_or(Origin::Default);
    reader.fail(key, origin, problem);
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn load(pairs: &[(&str, &str)]) -> Result<Environments, String> {
        let pairs =
            pairs.iter().map(|(key, value)| (format!("FLIPT_ENVIRONMENTS_{key}"), (*value).to_owned()));
        let loaded = crate::load(None, &pairs.collect::<BTreeMap<_, _>>());
        loaded.map(|loaded| loaded.config.environments).map_err(|error| error.to_string())
    }

    #[test]
    fn without_configuration_there_is_one_and_a_single_one_is_the_default() {
        assert_eq!(load(&[]).unwrap(), Environments::default());
        let single = load(&[("PROD_NAME", "production")]).unwrap();
        assert_eq!((single.default.as_str(), single.others.len()), ("production", 0));
    }

    #[test]
    fn of_several_one_is_marked() {
        let two = load(&[("PROD_DEFAULT", "true"), ("STAGING_DEFAULT", "false")]).unwrap();
        assert_eq!((two.default.as_str(), two.others), ("prod", vec!["staging".to_owned()]));
        for (pairs, part) in [
            (&[("A_DEFAULT", "false"), ("B_DEFAULT", "false")][..], "non-empty value is required"),
            (&[("A_DEFAULT", "true"), ("B_DEFAULT", "true")][..], "only one environment can be default"),
            (&[("A_NAME", "x"), ("B_NAME", "x"), ("A_DEFAULT", "true")][..], "names must differ"),
            (&[("A_NAME", "a/b")][..], "is no name for an environment"),
            (&[("A_STORAGE", "git")][..], "undefined storage \"git\""),
            (&[("A_DIRECTORY", "x")][..], "need git storage"),
        ] {
            let error = load(pairs).unwrap_err();
            assert!(error.contains(part) && error.contains("environments"), "{error}");
        }
    }
}
