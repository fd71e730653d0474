//! `flipt config init`: a configuration file with the defaults (config spec, section 6).

use std::{
    collections::BTreeMap,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use crate::{atomic_file, environment, failure::Failure, terminal};

/// The defaults that are no secrets. `{database}` stands for the place of the database.
const DEFAULTS: &str = r#"# yaml-language-server: $schema=https://raw.githubusercontent.com/flipt-io/flipt/main/config/flipt.schema.json

version: "1.0"
analytics:
  buffer:
    flush_period: 10s
cors:
  enabled: false
  allowed_origins:
    - "*"
  allowed_headers:
    - Accept
    - Authorization
    - Content-Type
    - X-CSRF-Token
    - X-Fern-Language
    - X-Fern-SDK-Name
    - X-Fern-SDK-Version
    - X-Flipt-Namespace
    - X-Flipt-Accept-Server-Version
db:
  url: {database}
  max_idle_conn: 2
  prepared_statements_enabled: true
diagnostics:
  profiling:
    enabled: true
log:
  level: INFO
  encoding: console
  grpc_level: ERROR
meta:
  check_for_updates: true
  telemetry_enabled: true
metrics:
  enabled: true
  exporter: prometheus
server:
  host: 0.0.0.0
  http_port: 8080
  https_port: 443
  grpc_port: 9000
storage:
  type: database
ui:
  enabled: true
  default_theme: system
"#;

/// Writes the file; where it goes is asked unless `force` is given or nobody can answer.
pub(crate) fn run(given: Option<&Path>, force: bool) -> Result<ExitCode, Failure> {
    let environment = environment::variables();
    let mut path = given.map_or_else(
        || flipt_config::user_config_directory(&environment).join("flipt/config.yml"),
        Path::to_owned,
    );
    if !force {
        if terminal::is_attended() {
            path = PathBuf::from(terminal::ask("Configuration file path:", &path.to_string_lossy())?);
            if path.exists() && !terminal::confirm("File exists. Overwrite?")? {
                return Ok(ExitCode::SUCCESS);
            }
        } else if path.exists() {
            return Err(Failure::new(format!("{} exists: overwrite it with --force", path.display())));
        }
    }
    let failed = |error: std::io::Error| Failure::new(format!("writing {}: {error}", path.display()));
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    }
    atomic_file::write(&path, text(&environment)?.as_bytes(), atomic_file::private()).map_err(failed)?;
    println!("Configuration file written to {}", path.display());
    Ok(ExitCode::SUCCESS)
}

fn text(environment: &BTreeMap<String, String>) -> Result<String, Failure> {
    // Settings of this moment are no defaults, and may be secrets; where the home is, is neither.
    let home = |name: &str| !name.starts_with("FLIPT_");
    let environment = environment.iter().filter(|(name, _)| home(name));
    let environment = environment.map(|(name, value)| (name.clone(), value.clone())).collect();
    let defaults = flipt_config::load(None, &environment).map_err(Failure::new)?;
    let url = flipt_model::validation::canonical_json(&defaults.config.database.url.into());
    Ok(DEFAULTS.replace("{database}", &url))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_are_the_defaults() {
        let environment = BTreeMap::from([("HOME".to_owned(), "/home/somebody".to_owned())]);
        let mut file = tempfile::Builder::new().suffix(".yml").tempfile().unwrap();
        std::io::Write::write_all(&mut file, text(&environment).unwrap().as_bytes()).unwrap();
        let written = flipt_config::load(Some(file.path()), &environment).unwrap();
        assert_eq!(written.unknown, []);
        assert_eq!(written.config, flipt_config::load(None, &environment).unwrap().config);
    }
}
