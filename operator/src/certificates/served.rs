//! The certificate that this replica serves, replaced without a restart.

use std::sync::{Arc, PoisonError, RwLock};

use rustls::{
    ServerConfig,
    crypto::aws_lc_rs,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};

/// The certificate that this replica serves. Without one, no connection is accepted.
#[derive(Debug, Clone, Default)]
pub(crate) struct Served(Arc<RwLock<Option<Arc<CertifiedKey>>>>);

impl Served {
    /// Serves this certificate from the next connection on.
    ///
    /// # Errors
    /// A sentence: the chain or the key cannot be read, or they do not belong together. What was served is served on.
    pub(crate) fn replace(&self, chain: &[u8], key: &[u8]) -> Result<(), String> {
        let chain = CertificateDer::pem_slice_iter(chain)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| format!("tls.crt: {error}"))?;
        if chain.is_empty() {
            return Err("tls.crt holds no certificate".to_owned());
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| format!("tls.key: {error}"))?;
        let key = CertifiedKey::from_der(chain, key, &aws_lc_rs::default_provider())
            .map_err(|error| format!("tls.crt and tls.key: {error}"))?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(key));
        Ok(())
    }

    /// Settings of a listener that serves it.
    ///
    /// # Errors
    /// The provider lacks what TLS 1.2 or 1.3 need.
    pub(crate) fn config(&self) -> Result<Arc<ServerConfig>, rustls::Error> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(self.clone()));
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    }
}

impl ResolvesServerCert for Served {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, SystemTime, UNIX_EPOCH};

    use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConnection};

    use super::*;
    use crate::certificates::{issue::issue, step::Pair};

    const NAME: &str = "flipt-webhook.flipt-system.svc";

    fn pair() -> Pair {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        issue(&[NAME.to_owned()], i64::try_from(now).unwrap(), Duration::from_secs(60)).unwrap()
    }

    /// What an API server says that trusts this authority.
    fn greet(served: &Served, authority: &str, name: &'static str) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(authority.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut client = ClientConnection::new(Arc::new(config), name.try_into().unwrap())?;
        let mut server = ServerConnection::new(served.config()?)?;
        while client.is_handshaking() || server.is_handshaking() {
            let mut bytes = Vec::new();
            while client.wants_write() {
                client.write_tls(&mut bytes).unwrap();
            }
            server.read_tls(&mut bytes.as_slice()).unwrap();
            server.process_new_packets()?;
            let mut bytes = Vec::new();
            while server.wants_write() {
                server.write_tls(&mut bytes).unwrap();
            }
            client.read_tls(&mut bytes.as_slice()).unwrap();
            client.process_new_packets()?;
        }
        Ok(())
    }

    #[test]
    fn an_api_server_that_trusts_the_authority_is_served_and_no_other() {
        let (old, new) = (pair(), pair());
        let served = Served::default();
        assert!(greet(&served, &old.authority, NAME).is_err());
        served.replace(old.certificate.as_bytes(), old.key.as_bytes()).unwrap();
        greet(&served, &old.authority, NAME).unwrap();
        assert!(greet(&served, &new.authority, NAME).is_err());
        assert!(greet(&served, &old.authority, "elsewhere.flipt-system.svc").is_err());
        served.replace(new.certificate.as_bytes(), new.key.as_bytes()).unwrap();
        greet(&served, &new.authority, NAME).unwrap();
    }

    #[test]
    fn what_does_not_belong_together_changes_nothing() {
        let (old, new) = (pair(), pair());
        let served = Served::default();
        served.replace(old.certificate.as_bytes(), old.key.as_bytes()).unwrap();
        assert!(served.replace(new.certificate.as_bytes(), old.key.as_bytes()).is_err());
        assert!(served.replace(b"", new.key.as_bytes()).is_err());
        assert!(served.replace(new.certificate.as_bytes(), b"rubbish").is_err());
        greet(&served, &old.authority, NAME).unwrap();
    }
}
