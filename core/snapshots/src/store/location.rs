//! Location of a store, as configuration writes it.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::{Credentials, Encryption, S3Config, ServerConfig};

/// Where snapshots are.
///
/// - `s3://bucket/prefix?region=eu-west-1&endpoint=https://minio:9000&pathStyle=true&sse=aws:kms&kmsKeyId=…`; the
///   prefix and all parameters are optional.
/// - `file:///absolute/path` or `file://relative/path`: a folder, or a single document whose name ends in `.yaml`,
///   `.yml` or `.json`, which can only be read.
/// - `http://host:port` or `https://host:port`, with a path in front of the server's own if there is one: a running
///   server, which can only be read.
///
/// `%` and two hexadecimal digits stand for a byte, as in any URL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Location {
    /// A bucket, or a prefix in one.
    S3(S3Config),
    /// A folder.
    Folder(PathBuf),
    /// A running server.
    Server(ServerConfig),
}

/// The text is no location. The text itself is not repeated, as somebody may have put a password in it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid snapshot location: {0}")]
pub struct InvalidLocation(String);

impl InvalidLocation {
    fn new(reason: impl Into<String>) -> Self {
        Self(reason.into())
    }
}

impl FromStr for Location {
    type Err = InvalidLocation;

    fn from_str(text: &str) -> Result<Self, InvalidLocation> {
        if let Some(rest) = text.strip_prefix("file://") {
            if rest.is_empty() {
                return Err(InvalidLocation::new(
                    "`file://` needs a path, like file:///var/lib/flipt/snapshots",
                ));
            }
            if rest.contains('?') {
                return Err(InvalidLocation::new("`file://` takes no parameters"));
            }
            return Ok(Self::Folder(PathBuf::from(percent_decode(rest)?)));
        }
        if text.starts_with("http://") || text.starts_with("https://") {
            return Ok(Self::Server(ServerConfig::new(server_url(text)?)));
        }
        let Some(rest) = text.strip_prefix("s3://") else {
            return Err(InvalidLocation::new(
                "it must start with `s3://`, `file://`, or, to read from a server, `https://` or `http://`",
            ));
        };
        let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (bucket, prefix) = place.split_once('/').unwrap_or((place, ""));
        if bucket.contains('@') {
            return Err(InvalidLocation::new(
                "credentials do not belong in the location; use the pod's identity or AWS_ACCESS_KEY_ID and \
                 AWS_SECRET_ACCESS_KEY",
            ));
        }
        let valid = (3..=63).contains(&bucket.len())
            && bucket.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
        if !valid {
            return Err(InvalidLocation::new(
                "`s3://` needs a bucket of 3 to 63 letters, digits, `-` or `.`, like s3://flags/prod",
            ));
        }
        let mut config = S3Config::new(bucket);
        config.prefix = normal_prefix(&percent_decode(prefix)?)?;
        let mut kms_key = None;
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = percent_decode(value)?;
            match name {
                "region" if !value.is_empty() => config.region = Some(value),
                "endpoint" => config.endpoint = Some(valid_endpoint(value)?),
                "pathStyle" => {
                    config.force_path_style = Some(match value.as_str() {
                        "true" => true,
                        "false" => false,
                        _ => return Err(InvalidLocation::new("`pathStyle` must be true or false")),
                    });
                }
                "sse" => {
                    config.encryption = Some(match value.as_str() {
                        "AES256" => Encryption::S3,
                        "aws:kms" => Encryption::Kms { key: None },
                        _ => return Err(InvalidLocation::new("`sse` must be AES256 or aws:kms")),
                    });
                }
                "kmsKeyId" if !value.is_empty() => kms_key = Some(value),
                "region" => return Err(InvalidLocation::new("`region` must not be empty")),
                _ => {
                    return Err(InvalidLocation::new(
                        "unknown parameter; known are `region`, `endpoint`, `pathStyle`, `sse` and `kmsKeyId`",
                    ));
                }
            }
        }
        match (&mut config.encryption, kms_key) {
            (_, None) => {}
            (Some(Encryption::Kms { key }), given) => *key = given,
            _ => return Err(InvalidLocation::new("`kmsKeyId` needs `sse=aws:kms`")),
        }
        Ok(Self::S3(config))
    }
}

/// The URL of a server without what does not belong in it, and without slashes at its end.
fn server_url(text: &str) -> Result<String, InvalidLocation> {
    let rest = text.split_once("://").map_or(text, |(_, rest)| rest);
    let authority = rest.split('/').next().unwrap_or_default();
    if authority.contains('@') {
        return Err(InvalidLocation::new("credentials do not belong in the location; use a token file"));
    }
    if authority.is_empty() || rest.contains(['?', '#', ' ']) || text.parse::<http::Uri>().is_err() {
        return Err(InvalidLocation::new(
            "`http://` and `https://` need a host and take no parameters, like https://flipt.flipt-system:8080",
        ));
    }
    Ok(text.trim_end_matches('/').to_owned())
}

fn normal_prefix(prefix: &str) -> Result<String, InvalidLocation> {
    let prefix = prefix.trim_matches('/');
    if prefix.is_empty() || super::key_is_safe(prefix) {
        Ok(prefix.to_owned())
    } else {
        Err(InvalidLocation::new("the prefix must not have empty, `.` or `..` segments"))
    }
}

fn valid_endpoint(endpoint: String) -> Result<String, InvalidLocation> {
    let Some(rest) = endpoint.strip_prefix("http://").or_else(|| endpoint.strip_prefix("https://")) else {
        return Err(InvalidLocation::new("`endpoint` must start with http:// or https://"));
    };
    if rest.contains('@') {
        return Err(InvalidLocation::new("`endpoint` must not hold credentials"));
    }
    if rest.is_empty() || rest.starts_with('/') || rest.contains(['?', '#', '&', ' ', '%']) {
        return Err(InvalidLocation::new("`endpoint` needs a host, like https://minio:9000"));
    }
    Ok(endpoint)
}

fn percent_decode(text: &str) -> Result<String, InvalidLocation> {
    let invalid = || InvalidLocation::new("a `%` must be followed by two hexadecimal digits of valid UTF-8");
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.bytes();
    while let Some(byte) = rest.next() {
        if byte == b'%' {
            let mut digit = || rest.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(invalid);
            let value = digit()? * 16 + digit()?;
            bytes.push(u8::try_from(value).map_err(|_| invalid())?);
        } else {
            bytes.push(byte);
        }
    }
    String::from_utf8(bytes).map_err(|_| invalid())
}

/// Encodes what would otherwise be read as something else.
fn percent_encode(text: &str) -> String {
    text.replace('%', "%25").replace('?', "%3F").replace(' ', "%20")
}

/// The location again. Credentials are no part of it.
impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(path) => write!(f, "file://{}", percent_encode(&path.display().to_string())),
            Self::Server(config) => f.write_str(&config.url),
            Self::S3(config) => {
                write!(f, "s3://{}", config.bucket)?;
                if !config.prefix.is_empty() {
                    write!(f, "/{}", percent_encode(&config.prefix))?;
                }
                let mut separator = '?';
                let mut parameter = |f: &mut fmt::Formatter<'_>, name: &str, value: &str| {
                    let written = write!(f, "{separator}{name}={value}");
                    separator = '&';
                    written
                };
                if let Some(region) = &config.region {
                    parameter(f, "region", region)?;
                }
                if let Some(endpoint) = &config.endpoint {
                    parameter(f, "endpoint", endpoint)?;
                }
                if let Some(path_style) = config.force_path_style {
                    parameter(f, "pathStyle", if path_style { "true" } else { "false" })?;
                }
                if let Some(encryption) = &config.encryption {
                    parameter(f, "sse", encryption.name())?;
                    if let Encryption::Kms { key: Some(key) } = encryption {
                        parameter(f, "kmsKeyId", key)?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl Location {
    /// Whether snapshots can be published there.
    #[must_use]
    pub fn is_writable(&self) -> bool {
        match self {
            Self::S3(_) => true,
            Self::Folder(path) => !super::DocumentStore::is_document(path),
            Self::Server(_) => false,
        }
    }

    /// The same location, with a file that holds the bearer token and one with the certificates to trust, if it is
    /// a server; others need none.
    #[must_use]
    pub fn with_server_files(self, token: Option<PathBuf>, ca: Option<PathBuf>) -> Self {
        match self {
            Self::Server(config) => Self::Server(ServerConfig { token_file: token, ca_file: ca, ..config }),
            other => other,
        }
    }

    /// The same location with these credentials of S3; the others need none.
    #[must_use]
    pub fn with_credentials(self, credentials: Credentials) -> Self {
        match self {
            Self::S3(config) => Self::S3(S3Config { credentials, ..config }),
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_every_part_of_an_s3_location() {
        let text = "s3://flags/prod/eu?region=eu-west-1&endpoint=http://minio:9000&pathStyle=true";
        let location: Location = text.parse().unwrap();
        let Location::S3(config) = &location else { panic!("{location:?}") };
        assert_eq!(config.bucket, "flags");
        assert_eq!(config.prefix, "prod/eu");
        assert_eq!(config.region.as_deref(), Some("eu-west-1"));
        assert_eq!(config.endpoint.as_deref(), Some("http://minio:9000"));
        assert_eq!(config.force_path_style, Some(true));
        assert_eq!(location.to_string(), text);
    }

    #[test]
    fn a_bucket_alone_is_enough() {
        for text in ["s3://flags", "s3://flags/"] {
            assert_eq!(text.parse::<Location>().unwrap(), Location::S3(S3Config::new("flags")));
        }
    }

    #[test]
    fn an_encoded_endpoint_is_decoded() {
        let location: Location = "s3://flags?endpoint=https%3A%2F%2Fs3.example%3A9000".parse().unwrap();
        let Location::S3(config) = location else { panic!() };
        assert_eq!(config.endpoint.as_deref(), Some("https://s3.example:9000"));
    }

    #[test]
    fn folders_may_be_absolute_or_relative() {
        assert_eq!("file:///a/b".parse::<Location>().unwrap(), Location::Folder("/a/b".into()));
        assert_eq!("file://a/b".parse::<Location>().unwrap(), Location::Folder("a/b".into()));
    }

    #[test]
    fn what_is_written_reads_as_the_same() {
        for text in [
            "file:///a%25b%3Fc%20d",
            "s3://flags/a%253Fb?region=x",
            "s3://flags?endpoint=http://h:1&pathStyle=false",
            "s3://flags?sse=AES256",
            "s3://flags?sse=aws:kms&kmsKeyId=arn:aws:kms:eu-west-1:1:key/2",
            "https://flipt.flipt-system:8443/flags",
        ] {
            let location: Location = text.parse().unwrap();
            assert_eq!(location.to_string().parse::<Location>().unwrap(), location, "{location}");
            assert_eq!(location.to_string(), text);
        }
    }

    #[test]
    fn says_what_is_wrong_without_repeating_secrets() {
        for (text, needle) in [
            ("ftp://x", "s3://"),
            ("https://u:hunter2@flipt", "token file"),
            ("http://", "host"),
            ("http://flipt?x=hunter2", "parameters"),
            ("s3://flags?sse=hunter2", "AES256"),
            ("s3://flags?kmsKeyId=hunter2", "sse=aws:kms"),
            ("file://", "path"),
            ("file:///a?b=c", "parameters"),
            ("s3://", "bucket"),
            ("s3://AKIA:hunter2@flags", "credentials"),
            ("s3://flags/a/../b", "prefix"),
            ("s3://flags?endpoint=minio:9000", "http://"),
            ("s3://flags?endpoint=http://u:hunter2@minio", "credentials"),
            ("s3://flags?pathStyle=yes", "true or false"),
            ("s3://flags?regoin=hunter2", "unknown parameter"),
            ("s3://flags?region=%zz", "hexadecimal"),
        ] {
            let error = text.parse::<Location>().unwrap_err().to_string();
            assert!(error.contains(needle), "{text}: {error}");
            assert!(!error.contains("hunter2"), "{error}");
        }
    }
}
