//! `db`: the database (config spec, section 3.10).

use std::{path::Path, time::Duration};

use url::Url;

use crate::{
    reader::{Reader, Wording},
    state_directory,
};

/// `db`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Database {
    /// URL; may hold a password and is never logged.
    pub url: String,
    /// Connections kept although they are idle.
    pub max_idle_connections: u32,
    /// Connections at most; 0 leaves it to the store.
    pub max_open_connections: u32,
    /// Age at which a connection is replaced; never if zero.
    pub connection_lifetime: Duration,
    /// Whether statements are prepared once per connection and reused.
    pub prepared_statements: bool,
}

/// What `db.protocol` may be, with the scheme it stands for.
const PROTOCOLS: [(&str, &str); 7] = [
    ("sqlite", "sqlite"),
    ("file", "file"),
    ("libsql", "file"),
    ("postgres", "postgres"),
    ("mysql", "mysql"),
    ("cockroachdb", "cockroachdb"),
    ("cockroach", "cockroach"),
];
/// Parts of a URL.
const PARTS: [&str; 6] = ["db.protocol", "db.host", "db.port", "db.name", "db.user", "db.password"];

impl Database {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let by_parts = PARTS.iter().any(|key| reader.is_set(key).is_some());
        let url = match (reader.is_set("db.url"), by_parts) {
            (None, true) => from_parts(reader),
            (given, _) => {
                if let (Some(origin), true) = (given, by_parts) {
                    let ignored = PARTS.iter().filter(|key| reader.is_set(key).is_some());
                    let ignored = ignored.copied().collect::<Vec<_>>().join(", ");
                    reader.note(format!("{origin}: db.url is set, so {ignored} have no effect"));
                }
                PARTS.iter().for_each(|key| reader.accept_all(key));
                let default = state_directory(reader.environment()).join("flipt.db");
                reader.secret_url("db.url", &format!("file:{}", default.display())).0
            }
        };
        for key in ["db.migrations", "db.migrations_path"] {
            reader.accept_all(key);
        }
        Self {
            url,
            max_idle_connections: reader.count("db.max_idle_conn", 2),
            max_open_connections: reader.count("db.max_open_conn", 0),
            connection_lifetime: reader.span("db.conn_max_lifetime", Duration::ZERO),
            prepared_statements: reader.bool("db.prepared_statements_enabled", true),
        }
    }
}

/// The URL that parts make up; what is wrong is told to the reader.
fn from_parts(reader: &mut Reader<'_>) -> String {
    let given = reader.optional_text("db.protocol").unwrap_or_default();
    let host = reader.optional_text("db.host").unwrap_or_default();
    let port = reader.port("db.port", 0);
    let name = reader.optional_text("db.name").unwrap_or_default();
    let user = reader.secret("db.user");
    let password = reader.secret("db.password");
    let scheme = PROTOCOLS.iter().find(|(name, _)| *name == given).map(|(_, scheme)| *scheme);
    let missing = [
        (scheme.is_none(), "db.protocol", "sqlite, postgres, mysql or cockroachdb"),
        (host.is_empty(), "db.host", "the host of the database, or the folder of its file"),
        (name.is_empty(), "db.name", "the name of the database, or of its file"),
    ];
    for (is_missing, key, remedy) in missing {
        if is_missing {
            let problem = format!("field {key:?}: non-empty value is required");
            reader.refuse(Wording::Fixed, key, problem, remedy);
            return String::new();
        }
    }
    let scheme = scheme.unwrap_or_default();
    if matches!(scheme, "sqlite" | "file") {
        return format!("file:{}", Path::new(&host).join(&name).display());
    }
    let secret = |secret: &Option<crate::Secret>| secret.as_ref().map(|text| text.expose().to_owned());
    match assemble(scheme, &host, port, &name, secret(&user), secret(&password)) {
        Some(url) => url,
        None => {
            let problem = format!("{host:?} is not the name or the address of a host");
            let origin = reader.is_set("db.host").unwrap_or(crate::reader::Origin::Default);
            reader.fail("db.host", origin, problem);
            String::new()
        }
    }
}

fn assemble(
    scheme: &str,
    host: &str,
    port: u16,
    name: &str,
    user: Option<String>,
    password: Option<String>,
) -> Option<String> {
    let mut url = Url::parse(&format!("{scheme}://placeholder/")).ok()?;
    url.set_host(Some(host)).ok()?;
    url.set_port((port > 0).then_some(port)).ok()?;
    url.set_username(&user.unwrap_or_default()).ok()?;
    url.set_password(password.as_deref()).ok()?;
    url.path_segments_mut().ok()?.clear().push(name);
    Some(url.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_a_url_whatever_is_in_them() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            assemble("postgres", "db", 5432, "fl/ipt", text("me@x"), text("p:/?#")).as_deref(),
            Some("postgres://me%40x:p%3A%2F%3F%23@db:5432/fl%2Fipt")
        );
        assert_eq!(assemble("mysql", "db", 0, "flipt", None, None).as_deref(), Some("mysql://db/flipt"));
        assert_eq!(assemble("mysql", "a b/c", 0, "flipt", None, None), None);
    }
}
