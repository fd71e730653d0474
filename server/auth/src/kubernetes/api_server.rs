//! A small client of the cluster's API server, and of addresses that publish keys.

use std::{
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use reqwest::{Certificate, Client, Method, StatusCode, redirect::Policy};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Longest time until the whole answer is there.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Largest answer that is read.
const ANSWER_LIMIT: usize = 1024 * 1024;
/// Largest file that is read.
const FILE_LIMIT: u64 = 1024 * 1024;
/// Forms of answers. The API server gives keys in the first one only, and everything else in the second.
const ACCEPTED: &str = "application/jwk-set+json, application/json";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AskError {
    #[error("{path}: {source}")]
    File { path: PathBuf, source: std::io::Error },
    #[error("{path} is larger than {FILE_LIMIT} bytes")]
    LargeFile { path: PathBuf },
    #[error("certificates of {path}: {problem}")]
    Certificates { path: PathBuf, problem: String },
    #[error("{url}: {problem}")]
    Unreachable { url: String, problem: String },
    #[error("{url} answers {status}")]
    Status { url: String, status: StatusCode },
    #[error("{url} answers more than {ANSWER_LIMIT} bytes")]
    LargeAnswer { url: String },
}

/// Reads a file that is not larger than anything it should hold.
pub(crate) fn read_file(path: &Path) -> Result<Vec<u8>, AskError> {
    let error = |source| AskError::File { path: path.to_owned(), source };
    if std::fs::metadata(path).map_err(error)?.len() > FILE_LIMIT {
        return Err(AskError::LargeFile { path: path.to_owned() });
    }
    std::fs::read(path).map_err(error)
}

/// Whom a client trusts, and what it shows.
#[derive(Debug, Clone)]
pub(crate) enum Trust {
    /// Describes the API server: the certificates of this file and no others; the token of that file.
    ApiServer { ca: PathBuf, token: PathBuf },
    /// Describes another address: the certificates of this file, if it is there, and those of the system. It is
    /// never shown a token.
    Public { ca: PathBuf },
}

/// A client that follows no redirects and waits for no answer longer than five seconds.
pub(crate) struct HttpsClient {
    trust: Trust,
    /// The client, with the content of the certificate file that it was made with.
    current: Mutex<Option<(Vec<u8>, Client)>>,
}

impl HttpsClient {
    pub(crate) const fn new(trust: Trust) -> Self {
        Self { trust, current: Mutex::new(None) }
    }

    /// The client for the certificates as they are now.
    fn client(&self) -> Result<Client, AskError> {
        let (path, is_api_server) = match &self.trust {
            Trust::ApiServer { ca, .. } => (ca, true),
            Trust::Public { ca } => (ca, false),
        };
        let pem = match read_file(path) {
            Ok(pem) => pem,
            Err(AskError::File { .. }) if !is_api_server => Vec::new(),
            Err(error) => return Err(error),
        };
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((known, client)) = current.as_ref()
            && *known == pem
        {
            return Ok(client.clone());
        }
        let problem =
            |error: reqwest::Error| AskError::Certificates { path: path.clone(), problem: causes(&error) };
        let certificates = Certificate::from_pem_bundle(&pem).map_err(problem)?;
        let builder = Client::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(TIMEOUT)
            .https_only(true)
            .redirect(Policy::none());
        let builder = if is_api_server {
            // It is beside us; no proxy has to see what we tell it.
            builder.no_proxy().tls_certs_only(certificates)
        } else {
            builder.tls_certs_merge(certificates)
        };
        let client = builder.build().map_err(problem)?;
        *current = Some((pem, client.clone()));
        Ok(client)
    }

    /// The body of an answer with status 200 or 201.
    pub(crate) async fn ask(
        &self,
        method: Method,
        url: &str,
        body: Option<Vec<u8>>,
    ) -> Result<Vec<u8>, AskError> {
        let unreachable = |error: reqwest::Error| AskError::Unreachable {
            url: url.to_owned(),
            problem: causes(&error.without_url()),
        };
        let mut request = self.client()?.request(method, url).header("accept", ACCEPTED);
        if let Trust::ApiServer { token, .. } = &self.trust {
            // Read anew each time: it is replaced before it expires.
            let token = read_file(token)?;
            request = request.bearer_auth(String::from_utf8_lossy(&token).trim());
        }
        if let Some(body) = body {
            request = request.header("content-type", "application/json").body(body);
        }
        let mut answer = request.send().await.map_err(unreachable)?;
        let status = answer.status();
        if !matches!(status, StatusCode::OK | StatusCode::CREATED) {
            return Err(AskError::Status { url: url.to_owned(), status });
        }
        let mut read = Vec::new();
        while let Some(chunk) = answer.chunk().await.map_err(unreachable)? {
            if read.len() + chunk.len() > ANSWER_LIMIT {
                return Err(AskError::LargeAnswer { url: url.to_owned() });
            }
            read.extend_from_slice(&chunk);
        }
        Ok(read)
    }
}

fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

/// Address of the API server, as Kubernetes tells every pod; its name in the cluster if it does not.
pub(crate) fn address(host: Option<String>, port: Option<String>) -> String {
    match host.filter(|host| !host.is_empty()) {
        None => "https://kubernetes.default.svc".to_owned(),
        Some(host) => {
            let host = if host.contains(':') { format!("[{host}]") } else { host };
            format!("https://{host}:{}", port.filter(|port| !port.is_empty()).unwrap_or("443".to_owned()))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_address_is_what_kubernetes_tells() {
        let address = |host: &str, port: &str| address(Some(host.to_owned()), Some(port.to_owned()));
        assert_eq!(address("", ""), "https://kubernetes.default.svc");
        assert_eq!(address("10.0.0.1", "6443"), "https://10.0.0.1:6443");
        assert_eq!(address("fd00::1", ""), "https://[fd00::1]:443");
    }
}
