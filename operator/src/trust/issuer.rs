//! Keys that the issuer of a cluster's tokens shows in public, beside those that its API server shows.
//!
//! Some managed clusters sign with keys that their API server does not list. Asked for only where the administrator says
//! so, as the answer of a host outside of the cluster decides whom sidecars trust.

use std::time::Duration;

use kube::{Client, Config};
use serde_json::Value;

use super::{get, keys};

/// Longest time for one answer.
const TIMEOUT: Duration = Duration::from_secs(3);

/// Keys of the issuer, as they were shown last.
#[derive(Debug, Default)]
pub(super) struct IssuerKeys {
    shown: Option<String>,
    told: bool,
    /// Authorities that sign for the issuer; those of the machine, unless a test has its own.
    authorities: Option<Vec<Vec<u8>>>,
}

impl IssuerKeys {
    /// The key set that the issuer shows, as text. While it does not answer, what it showed before; nothing, if it never
    /// did.
    pub(super) async fn of(&mut self, issuer: &str) -> Option<String> {
        match self.ask(issuer).await {
            Ok(keys) => {
                if self.told {
                    tracing::info!(issuer, "the issuer of tokens shows its keys again");
                }
                self.told = false;
                self.shown = Some(keys);
            }
            Err(error) => {
                if !self.told {
                    tracing::warn!(issuer, error, "keys of the issuer of tokens not read; trying again");
                }
                self.told = true;
            }
        }
        self.shown.clone()
    }

    /// Discovery as OpenID Connect has it: the document of the issuer names the address of its keys.
    async fn ask(&self, issuer: &str) -> Result<String, String> {
        let issuer = issuer.trim_end_matches('/');
        let document = self.fetch(&format!("{issuer}/.well-known/openid-configuration")).await?;
        let document: Value = serde_json::from_str(&document)
            .map_err(|error| format!("discovery document of {issuer}: {error}"))?;
        let Some(address) = document.get("jwks_uri").and_then(Value::as_str) else {
            return Err(format!("discovery document of {issuer}: it names no jwks_uri"));
        };
        let keys = self.fetch(address).await?;
        match keys::read(&keys) {
            Ok(found) if !found.is_empty() => Ok(keys),
            Ok(_) => Err(format!("{address}: it shows no keys")),
            Err(error) => Err(format!("{address}: {error}")),
        }
    }

    async fn fetch(&self, address: &str) -> Result<String, String> {
        let (host, path) = split(address)?;
        // A client of Kubernetes without credentials: nothing of this cluster is told to the host.
        let mut config = Config::new(host);
        config.root_cert.clone_from(&self.authorities);
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = Some(TIMEOUT);
        let client = Client::try_from(config).map_err(|error| format!("{address}: {error}"))?;
        match tokio::time::timeout(TIMEOUT, get(&client, &path)).await {
            Ok(answer) => answer.map_err(|error| format!("{address}: {error}")),
            Err(_) => Err(format!("{address}: no answer within {} s", TIMEOUT.as_secs())),
        }
    }
}

/// Host and path of an address, which has to be https: whoever could change the answer would be trusted.
fn split(address: &str) -> Result<(http::Uri, String), String> {
    let refused = |why: &str| format!("{address}: {why}");
    let uri: http::Uri = address.parse().map_err(|error| refused(&format!("it is no address: {error}")))?;
    let authority = uri.authority().ok_or_else(|| refused("it names no host"))?;
    if uri.scheme_str() != Some("https") {
        return Err(refused("its keys are trusted only over https"));
    }
    let host = format!("https://{authority}").parse().map_err(|_| refused("it names no host"))?;
    Ok((host, uri.path_and_query().map_or("/", |path| path.as_str()).to_owned()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn an_address_is_taken_apart_and_has_to_be_https() {
        let (host, path) = split("https://oidc.example:8443/id/ABC/keys?v=1").unwrap();
        assert_eq!(
            (host.to_string().as_str(), path.as_str()),
            ("https://oidc.example:8443/", "/id/ABC/keys?v=1")
        );
        for wrong in ["http://oidc.example/keys", "/keys", "keys", "file:///etc/passwd"] {
            assert!(split(wrong).is_err(), "{wrong}");
        }
    }

    #[tokio::test]
    async fn the_keys_are_where_the_issuer_says_and_stay_while_it_does_not_answer() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let key = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        let tls = axum_server::tls_rustls::RustlsConfig::from_der(
            vec![key.cert.der().to_vec()],
            key.signing_key.serialize_der(),
        );
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        listener.set_nonblocking(true).unwrap();
        let issuer = format!("https://localhost:{}/id/1", listener.local_addr().unwrap().port());
        let document = serde_json::json!({ "jwks_uri": format!("{issuer}/keys?all=1") }).to_string();
        let keys = r#"{"keys":[{"kty":"EC","kid":"public"}]}"#;
        let shown = Arc::new(Mutex::new(keys.to_owned()));
        let showing = Arc::clone(&shown);
        let routes = axum::Router::new()
            .route("/id/1/.well-known/openid-configuration", axum::routing::get(|| async { document }))
            .route("/id/1/keys", axum::routing::get(move || async move { showing.lock().unwrap().clone() }));
        let tls = tls.await.unwrap();
        let server = axum_server::from_tcp_rustls(listener, tls).unwrap().serve(routes.into_make_service());
        let server = tokio::spawn(server);

        let mut trusting =
            IssuerKeys { authorities: Some(vec![key.cert.der().to_vec()]), ..IssuerKeys::default() };
        assert_eq!(trusting.of(&format!("{issuer}/")).await.as_deref(), Some(keys));
        let mut stranger = IssuerKeys::default();
        assert_eq!(stranger.of(&issuer).await, None, "nobody vouches for its certificate");
        *shown.lock().unwrap() = "<html>".to_owned();
        assert_eq!(trusting.of(&issuer).await.as_deref(), Some(keys), "that is no key set");
        server.abort();
        assert_eq!(trusting.of(&issuer).await.as_deref(), Some(keys));
    }

    #[tokio::test]
    async fn an_issuer_that_never_answered_shows_nothing() {
        let mut keys = IssuerKeys::default();
        assert_eq!(keys.of("http://not-https.example").await, None);
        keys.shown = Some("{}".to_owned());
        assert_eq!(keys.of("http://not-https.example").await, Some("{}".to_owned()));
    }
}
