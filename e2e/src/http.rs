//! A small HTTP client: one connection per request, plain text only.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Request as HttpRequest, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{body::Bytes, client::conn::http1};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::{
    io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader},
    net::TcpStream,
};

use crate::{Failure, PATIENCE, Result, until_some};

/// Longest time until the whole answer is there.
const TIMEOUT: Duration = Duration::from_secs(60);

/// A request that is being put together.
#[derive(Debug, Clone)]
pub struct Request {
    method: Method,
    url: String,
    headers: HeaderMap,
    body: Bytes,
}

/// The body of an answer that has no end, line by line.
#[derive(Debug)]
pub struct Lines {
    lines: tokio::io::Lines<BufReader<TcpStream>>,
}

impl Lines {
    /// The next line that is not empty. Sizes of chunks are left out.
    ///
    /// # Errors
    /// If none comes in time, or the body ends.
    pub async fn next(&mut self) -> Result<String> {
        loop {
            let line = self.next_raw().await?;
            let is_size = line.len() <= 6 && line.bytes().all(|byte| byte.is_ascii_hexdigit());
            if !line.is_empty() && !is_size {
                return Ok(line);
            }
        }
    }

    async fn next_raw(&mut self) -> Result<String> {
        match tokio::time::timeout(TIMEOUT, self.lines.next_line()).await {
            Ok(Ok(Some(line))) => Ok(line),
            Ok(Ok(None)) => Err(Failure::new("the body has ended")),
            Ok(Err(error)) => Err(Failure::new(format!("reading the body: {error}"))),
            Err(_) => Err(Failure::new(format!("no line within {} s", TIMEOUT.as_secs()))),
        }
    }
}

/// An answer, whatever its status.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Status code.
    pub status: u16,
    /// Headers.
    pub headers: HeaderMap,
    /// Body.
    pub body: Bytes,
}

/// A request with this verb to this `http://` address.
///
/// # Panics
/// If the verb is no word.
#[must_use]
pub fn request(method: &str, url: impl Into<String>) -> Request {
    let method = Method::from_bytes(method.as_bytes()).unwrap();
    Request { method, url: url.into(), headers: HeaderMap::new(), body: Bytes::new() }
}

/// Asks for an address.
///
/// # Errors
/// If no answer comes; any status is an answer.
pub async fn get(url: impl Into<String>) -> Result<Answer> {
    request("GET", url).send().await
}

/// Posts a JSON body to an address.
///
/// # Errors
/// As [`get`].
pub async fn post(url: impl Into<String>, body: &Value) -> Result<Answer> {
    request("POST", url).json(body).send().await
}

impl Request {
    /// With this header.
    ///
    /// # Panics
    /// If name or value cannot stand in a header.
    #[must_use]
    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.headers.insert(
            HeaderName::from_bytes(name.as_bytes()).unwrap(),
            HeaderValue::from_bytes(value.as_bytes()).unwrap(),
        );
        self
    }

    /// With this token; without any for `None`.
    #[must_use]
    pub fn bearer(self, token: Option<&str>) -> Self {
        match token {
            Some(token) => self.header("authorization", &format!("Bearer {token}")),
            None => self,
        }
    }

    /// With this JSON body.
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.header("content-type", "application/json").body(body.to_string())
    }

    /// With this body.
    #[must_use]
    pub fn body(self, body: impl Into<Bytes>) -> Self {
        Self { body: body.into(), ..self }
    }

    /// Sends the request.
    ///
    /// # Errors
    /// If no answer comes; any status is an answer.
    pub async fn send(self) -> Result<Answer> {
        let place = format!("{} {}", self.method, self.url);
        match tokio::time::timeout(TIMEOUT, self.exchange()).await {
            Ok(result) => result.map_err(|error| Failure::new(format!("{place}: {error}"))),
            Err(_) => Err(Failure::new(format!("{place}: no answer within {} s", TIMEOUT.as_secs()))),
        }
    }

    /// Sends the request, and again while the answer is 503: on a busy machine a database may be late.
    ///
    /// # Errors
    /// As [`Request::send`]; if nothing but 503 is answered within [`PATIENCE`].
    pub async fn send_until_available(self) -> Result<Answer> {
        until_some(&format!("{} {} is not answered 503", self.method, self.url), PATIENCE, || {
            let sending = self.clone().send();
            async move {
                Some(sending.await).filter(|sent| !sent.as_ref().is_ok_and(|answer| answer.status == 503))
            }
        })
        .await?
    }

    /// Sends the request and reads the answer's body as it comes.
    ///
    /// # Errors
    /// If no answer comes, or another than 200.
    pub async fn open(self) -> Result<Lines> {
        let place = format!("{} {}", self.method, self.url);
        let failed = |error: &dyn std::fmt::Display| Failure::new(format!("{place}: {error}"));
        let uri: Uri = self.url.parse().map_err(|error| failed(&error))?;
        let authority = uri.authority().ok_or_else(|| failed(&"the address has no host"))?.clone();
        let mut stream = TcpStream::connect(authority.as_str()).await.map_err(|error| failed(&error))?;
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut head = format!("{} {path} HTTP/1.1\r\nhost: {authority}\r\n", self.method);
        for (name, value) in &self.headers {
            head.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap_or_default()));
        }
        head.push_str("\r\n");
        stream.write_all(head.as_bytes()).await.map_err(|error| failed(&error))?;
        let mut lines = Lines { lines: BufReader::new(stream).lines() };
        let status = lines.next_raw().await?;
        if !status.starts_with("HTTP/1.1 200 ") {
            return Err(failed(&status));
        }
        while !lines.next_raw().await?.is_empty() {}
        Ok(lines)
    }

    async fn exchange(self) -> std::result::Result<Answer, Box<dyn std::error::Error + Send + Sync>> {
        let uri: Uri = self.url.parse()?;
        let authority = uri.authority().ok_or("the address has no host")?.clone();
        let stream = TcpStream::connect(authority.as_str()).await?;
        stream.set_nodelay(true)?;
        let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await?;
        // Its failure is the request's failure, too.
        let driving = tokio::spawn(connection);
        let path = uri.path_and_query().map_or("/", |path| path.as_str());
        let mut request = HttpRequest::builder().method(self.method).uri(path).body(Full::new(self.body))?;
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(authority.as_str())?);
        request.headers_mut().extend(self.headers);
        let response = sender.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        driving.abort();
        Ok(Answer { status: head.status.as_u16(), headers: head.headers, body })
    }
}

impl Answer {
    /// The body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as JSON; `null` if it is none.
    #[must_use]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_default()
    }

    /// A header's value.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The value of a metric in a body that lists them: one without labels, or with exactly the labels written, as
    /// in `name{a="b"}`.
    #[must_use]
    pub fn metric(&self, name: &str) -> Option<f64> {
        let text = self.text();
        let mut lines = text.lines().filter_map(|line| line.rsplit_once(' '));
        lines.find(|(key, _)| *key == name).and_then(|(_, value)| value.parse().ok())
    }

    /// The JSON body of an answer that must be 200.
    ///
    /// # Errors
    /// With status and body, if it is another.
    pub fn ok(self) -> Result<Value> {
        if self.status == 200 {
            Ok(self.json())
        } else {
            Err(Failure::new(format!("answer {}: {}", self.status, self.text())))
        }
    }
}
