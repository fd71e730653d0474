//! Database URLs as Flipt accepts them (storage spec, section 2.1).

use std::path::PathBuf;

/// A database URL that can be opened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DatabaseUrl {
    /// A SQLite file.
    Sqlite(PathBuf),
}

/// A URL that cannot be used. The text names the scheme and what is supported, never the rest of the URL,
/// which may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// Indicates a URL without a scheme or a path.
    #[error("error parsing url: {0}")]
    Malformed(&'static str),
    /// Indicates a scheme that no database here has.
    #[error("unknown database driver for: {0:?}")]
    UnknownScheme(String),
}

impl DatabaseUrl {
    /// Parses `file:`, `sqlite:` and `sqlite3:` URLs: relative, absolute, with or without `//`.
    ///
    /// # Errors
    /// [`UrlError`] for anything else.
    pub fn parse(url: &str) -> Result<Self, UrlError> {
        let (scheme, rest) = url
            .split_once(':')
            .ok_or(UrlError::Malformed("no scheme; write for example file:/path/to.db"))?;
        match scheme {
            "file" | "sqlite" | "sqlite3" => {
                let rest = rest.split('?').next().unwrap_or_default();
                let path = rest.strip_prefix("//").unwrap_or(rest);
                if path.is_empty() {
                    return Err(UrlError::Malformed("no file named; write for example file:/path/to.db"));
                }
                Ok(Self::Sqlite(PathBuf::from(path)))
            }
            other => Err(UrlError::UnknownScheme(other.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_documented_form_of_a_sqlite_url_is_a_path() {
        for (url, path) in [
            ("file:/var/opt/flipt/flipt.db", "/var/opt/flipt/flipt.db"),
            ("file:flipt.db", "flipt.db"),
            ("file:///abs/flipt.db", "/abs/flipt.db"),
            ("sqlite:///abs/flipt.db", "/abs/flipt.db"),
            ("sqlite3:flipt.db?cache=shared", "flipt.db"),
        ] {
            assert_eq!(DatabaseUrl::parse(url), Ok(DatabaseUrl::Sqlite(path.into())), "{url}");
        }
    }

    #[test]
    fn an_unknown_scheme_is_named_without_the_password() {
        let error = DatabaseUrl::parse("oracle://scott:tiger@host").unwrap_err().to_string();
        assert!(error.contains("oracle") && !error.contains("tiger"), "{error}");
    }
}
