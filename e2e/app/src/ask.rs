//! One request to the sidecar.

use std::{collections::BTreeMap, time::Duration};

use http::{Request, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::net::TcpStream;

use crate::Settings;

/// How slow the slowest was is told apart; a pod may stand still for a while on a busy machine.
const TIMEOUT: Duration = Duration::from_secs(20);

/// What the sidecar is asked.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Question {
    pub(crate) method: String,
    pub(crate) path: String,
    #[serde(default)]
    pub(crate) body: Value,
    /// The token to show; without it, that of this pod. An empty one is not shown.
    #[serde(default)]
    pub(crate) token: Option<String>,
}

/// What the sidecar answered; status 0: nothing, and the body says why.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: Value,
}

/// Asks the sidecar. The token is read anew each time: the kubelet replaces it.
pub(crate) async fn ask(settings: &Settings, question: &Question) -> Answer {
    let failed = |why: String| Answer { status: 0, headers: BTreeMap::new(), body: Value::String(why) };
    match tokio::time::timeout(TIMEOUT, send(settings, question)).await {
        Ok(Ok(answer)) => answer,
        Ok(Err(why)) => failed(why),
        Err(_) => failed(format!("no answer within {} s", TIMEOUT.as_secs())),
    }
}

async fn send(settings: &Settings, question: &Question) -> Result<Answer, String> {
    let token = match &question.token {
        Some(token) => token.clone(),
        None if settings.token_file.is_empty() => return Err("FLIPT_TOKEN_FILE is not set".to_owned()),
        None => tokio::fs::read_to_string(&settings.token_file)
            .await
            .map_err(|error| format!("{}: {error}", settings.token_file))?,
    };
    let base: Uri = settings.url.parse().map_err(|error| format!("FLIPT_URL {:?}: {error}", settings.url))?;
    let authority = base.authority().ok_or_else(|| format!("FLIPT_URL {:?} names no host", settings.url))?;
    let mut request = Request::builder()
        .method(question.method.as_str())
        .uri(&question.path)
        .header(header::HOST, authority.as_str())
        .header(header::CONTENT_TYPE, "application/json");
    if !token.trim().is_empty() {
        request = request.header(header::AUTHORIZATION, format!("Bearer {}", token.trim()));
    }
    let body = if question.body.is_null() { String::new() } else { question.body.to_string() };
    let request = request.body(Full::new(Bytes::from(body))).map_err(|error| error.to_string())?;

    let stream = TcpStream::connect(authority.as_str()).await.map_err(|error| error.to_string())?;
    let (mut sender, connection) =
        http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
    tokio::spawn(connection);
    let answer = sender.send_request(request).await.map_err(|error| error.to_string())?;
    let status = answer.status().as_u16();
    let headers = answer
        .headers()
        .iter()
        .map(|(name, value)| (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
        .collect();
    let body = answer.into_body().collect().await.map_err(|error| error.to_string())?.to_bytes();
    let body = serde_json::from_slice(&body)
        .unwrap_or_else(|_| Value::String(String::from_utf8_lossy(&body).into_owned()));
    Ok(Answer { status, headers, body })
}
