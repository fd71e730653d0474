//! Where configuration and state are looked for (config spec, section 1.2).

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

/// The user's configuration directory; the current directory if there is no home.
#[must_use]
pub fn user_config_directory(environment: &BTreeMap<String, String>) -> PathBuf {
    let set = |name: &str| environment.get(name).filter(|value| !value.is_empty());
    if let Some(directory) = set("XDG_CONFIG_HOME") {
        return PathBuf::from(directory);
    }
    set("HOME").map_or_else(|| PathBuf::from("."), |home| Path::new(home).join(".config"))
}

/// The configuration file to use: the one given, else the user's, else the machine's, else none.
#[must_use]
pub fn locate(given: Option<&Path>, environment: &BTreeMap<String, String>) -> Option<PathBuf> {
    if let Some(path) = given {
        return Some(path.to_owned());
    }
    let candidates =
        [user_config_directory(environment).join("flipt/config.yml"), "/etc/flipt/config/default.yml".into()];
    candidates.into_iter().find(|path| path.is_file())
}

/// Where state is kept unless configured: `/var/opt/flipt` if it exists, else below the user's directory.
#[must_use]
pub fn state_directory(environment: &BTreeMap<String, String>) -> PathBuf {
    let machine = Path::new("/var/opt/flipt");
    if machine.is_dir() { machine.to_owned() } else { user_config_directory(environment).join("flipt") }
}
