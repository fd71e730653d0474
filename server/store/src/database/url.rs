//! Database URLs as Flipt accepts them (storage spec, section 2.1).

use std::path::PathBuf;

use super::Dialect;

/// A database URL that can be opened.
#[derive(Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
    /// A database on a server.
    Server(ServerUrl),
}

/// URL of a database on a server. May hold a password, and is not for display.
#[derive(Clone, PartialEq, Eq)]
pub struct ServerUrl {
    pub(super) dialect: Dialect,
    /// With the one scheme that the driver knows.
    pub(super) url: url::Url,
    /// Parameters that the driver does not know and the server may.
    pub(super) settings: Vec<(String, String)>,
}

/// A URL that cannot be used. The text names the scheme and what is supported, never the rest of the URL,
/// which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Indicates a URL without a scheme or a path, or one that cannot be read.
    #[error("error parsing url: {0}")]
    Malformed(String),
    /// Indicates a scheme that no database here has.
    #[error("unknown database driver for: {0:?}")]
    UnknownScheme(String),
}

/// Parameters of PostgreSQL URLs that the driver reads itself.
const POSTGRES_PARAMETERS: &[&str] = &[
    "sslmode",
    "ssl-mode",
    "sslrootcert",
    "ssl-root-cert",
    "ssl-ca",
    "sslcert",
    "ssl-cert",
    "sslkey",
    "ssl-key",
    "host",
    "hostaddr",
    "port",
    "dbname",
    "user",
    "password",
    "application_name",
    "options",
];
/// Parameters of libpq and of Go's driver for PostgreSQL that are about the client, and that this driver does not have.
/// They are no settings of the server, which would refuse them.
pub(super) const IGNORED_BY_POSTGRES: &[&str] = &[
    "channel_binding",
    "client_encoding",
    "default_query_exec_mode",
    "description_cache_capacity",
    "fallback_application_name",
    "gssdelegation",
    "gssencmode",
    "keepalives",
    "keepalives_count",
    "keepalives_idle",
    "keepalives_interval",
    "krbsrvname",
    "load_balance_hosts",
    "min_protocol_version",
    "max_protocol_version",
    "passfile",
    "replication",
    "require_auth",
    "requirepeer",
    "service",
    "sslcompression",
    "sslcrl",
    "sslnegotiation",
    "sslpassword",
    "sslsni",
    "statement_cache_capacity",
    "target_session_attrs",
    "tcp_user_timeout",
    "x-migrations-table",
];
/// Parameters of MySQL URLs that the driver reads itself.
const MYSQL_PARAMETERS: &[&str] =
    &["ssl-mode", "sslmode", "ssl-ca", "ssl-cert", "ssl-key", "charset", "collation", "socket"];
/// Parameters of Go's driver for MySQL that mean nothing here: what they ask for is so anyway, or is a timeout
/// that this program sets itself.
const MYSQL_IGNORED: &[&str] = &[
    "multiStatements",
    "parseTime",
    "loc",
    "allowNativePasswords",
    "allowOldPasswords",
    "checkConnLiveness",
    "clientFoundRows",
    "columnsWithAlias",
    "interpolateParams",
    "maxAllowedPacket",
    "readTimeout",
    "rejectReadOnly",
    "timeout",
    "writeTimeout",
    "allowPublicKeyRetrieval",
];

impl DatabaseUrl {
    /// Parses a URL: `file:`, `sqlite:` and `sqlite3:` with a path, relative or absolute, with or without `//`;
    /// and the schemes of PostgreSQL, CockroachDB, MySQL and MariaDB.
    ///
    /// # Errors
    /// [`UrlError`] for anything else.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let malformed = |text: &str| Err(UrlError::Malformed(text.to_owned()));
        let Some((scheme, rest)) = url.split_once(':') else {
            return malformed("no scheme; write for example file:/path/to.db");
        };
        match scheme {
            "file" | "sqlite" | "sqlite3" => sqlite(rest),
            "libsql" => match rest.strip_prefix("//file:") {
                Some(path) => sqlite(path),
                None => malformed("libsql: only files are supported; write libsql://file:/path/to.db"),
            },
            "postgres" | "postgresql" | "pgx" | "px" => server(Dialect::Postgres, "postgres", rest),
            "cockroach" | "cockroachdb" | "crdb" | "cdb" | "cr" => {
                server(Dialect::Cockroach, "postgres", rest)
            }
            "mysql" | "mariadb" | "maria" | "percona" | "aurora" => server(Dialect::MySql, "mysql", rest),
            other => Err(UrlError::UnknownScheme(other.to_owned())),
        }
    }

    /// The dialect of the database behind it.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        match self {
            Self::Sqlite(_) => Dialect::Sqlite,
            Self::Server(server) => server.dialect,
        }
    }
}

fn sqlite(rest: &str) -> Result<DatabaseUrl, UrlError> {
    let rest = rest.split('?').next().unwrap_or_default();
    let path = rest.strip_prefix("//").unwrap_or(rest);
    if path.is_empty() {
        return Err(UrlError::Malformed("no file named; write for example file:/path/to.db".to_owned()));
    }
    Ok(DatabaseUrl::Sqlite(PathBuf::from(path)))
}

fn server(dialect: Dialect, scheme: &str, rest: &str) -> Result<DatabaseUrl, UrlError> {
    let malformed = |text: String| UrlError::Malformed(text);
    let authority = rest.strip_prefix("//").unwrap_or(rest).split(['/', '?']).next().unwrap_or_default();
    let hosts = authority.rsplit_once('@').map_or(authority, |(_, hosts)| hosts);
    if hosts.contains(',') {
        return Err(malformed(
            "several hosts are not supported; name one, or a load balancer in front".to_owned(),
        ));
    }
    let text = if rest.starts_with("//") { format!("{scheme}:{rest}") } else { format!("{scheme}://{rest}") };
    // The parser's own text does not repeat the URL.
    let mut url = url::Url::parse(&text).map_err(|error| malformed(error.to_string()))?;
    let given: Vec<(String, String)> = url.query_pairs().into_owned().collect();
    let (known, mut settings): (Vec<_>, Vec<_>) = given.into_iter().partition(|(name, _)| match dialect {
        Dialect::MySql => MYSQL_PARAMETERS.contains(&name.as_str()),
        _ => POSTGRES_PARAMETERS.contains(&name.as_str()) || name.starts_with("options["),
    });
    if dialect == Dialect::MySql {
        settings.retain(|(name, _)| !MYSQL_IGNORED.contains(&name.as_str()));
    }
    url.set_query(None);
    if !known.is_empty() {
        url.query_pairs_mut().extend_pairs(known);
    }
    if url.host_str().unwrap_or_default().is_empty()
        && !url.query_pairs().any(|(name, _)| name == "host" || name == "socket")
    {
        url.set_host(Some("localhost")).map_err(|error| malformed(error.to_string()))?;
    }
    if dialect == Dialect::Cockroach {
        if url.port().is_none() {
            // Only a URL without a host takes no port, and this one has a host.
            let _ = url.set_port(Some(26_257));
        }
        if !url.query_pairs().any(|(name, _)| name == "sslmode" || name == "ssl-mode") {
            url.query_pairs_mut().append_pair("sslmode", "disable");
        }
    }
    Ok(DatabaseUrl::Server(ServerUrl { dialect, url, settings }))
}

impl ServerUrl {
    /// Host, port and database, for messages.
    pub(super) fn place(&self) -> String {
        let host = self.url.host_str().unwrap_or("localhost");
        let port = self.url.port().map(|port| format!(":{port}")).unwrap_or_default();
        format!("{} {host}{port}{}", self.dialect.name(), self.url.path())
    }
}

impl std::fmt::Debug for ServerUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str(&self.place())
    }
}

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(formatter, "file:{}", path.display()),
            Self::Server(server) => server.fmt(formatter),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(url: &str) -> ServerUrl {
        match DatabaseUrl::parse(url).unwrap() {
            DatabaseUrl::Server(server) => server,
            DatabaseUrl::Sqlite(path) => panic!("{url} is the file {}", path.display()),
        }
    }

    #[test]
    fn every_documented_form_of_a_sqlite_url_is_a_path() {
        for (url, path) in [
            ("file:/var/opt/flipt/flipt.db", "/var/opt/flipt/flipt.db"),
            ("file:flipt.db", "flipt.db"),
            ("file:///abs/flipt.db", "/abs/flipt.db"),
            ("sqlite:///abs/flipt.db", "/abs/flipt.db"),
            ("sqlite3:flipt.db?cache=shared", "flipt.db"),
            ("libsql://file:/abs/flipt.db", "/abs/flipt.db"),
        ] {
            assert_eq!(DatabaseUrl::parse(url), Ok(DatabaseUrl::Sqlite(path.into())), "{url}");
        }
    }

    #[test]
    fn every_documented_form_of_a_server_url_is_understood() {
        for (url, dialect, driver_url) in [
            (
                "postgres://postgres@localhost:5432/flipt?sslmode=disable",
                Dialect::Postgres,
                "postgres://postgres@localhost:5432/flipt?sslmode=disable",
            ),
            ("pgx://db/flipt", Dialect::Postgres, "postgres://db/flipt"),
            (
                "cockroach://root@localhost/flipt",
                Dialect::Cockroach,
                "postgres://root@localhost:26257/flipt?sslmode=disable",
            ),
            (
                "crdb://root@db:1/flipt?sslmode=require",
                Dialect::Cockroach,
                "postgres://root@db:1/flipt?sslmode=require",
            ),
            ("mysql://mysql@localhost:3306/flipt", Dialect::MySql, "mysql://mysql@localhost:3306/flipt"),
            ("maria://u:p%40ss@db/flipt?parseTime=true", Dialect::MySql, "mysql://u:p%40ss@db/flipt"),
        ] {
            let parsed = server(url);
            assert_eq!((parsed.dialect, parsed.url.as_str()), (dialect, driver_url), "{url}");
        }
        let settings = server("postgres://db/flipt?search_path=flags&sslmode=disable").settings;
        assert_eq!(settings, [("search_path".to_owned(), "flags".to_owned())]);
    }

    #[test]
    fn what_cannot_be_used_is_named_without_the_password() {
        for url in
            ["oracle://scott:tiger@host", "postgres://scott:tiger@a,b/flipt", "mysql://scott:tiger@[x/flipt"]
        {
            let error = DatabaseUrl::parse(url).unwrap_err().to_string();
            assert!(!error.contains("tiger") && error.len() > 10, "{error}");
        }
        let shown = format!("{:?}", DatabaseUrl::parse("postgres://scott:tiger@host:1/flipt").unwrap());
        assert_eq!(shown, "postgres host:1/flipt");
    }
}
