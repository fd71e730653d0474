//! Calls over REST: messages as proto3 JSON, paths and queries made from their fields.

use std::sync::LazyLock;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use prost::{Message, Name};
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage, SerializeOptions, Value};
use reqwest::{
    Certificate, Method, Response, StatusCode, Url,
    header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue, LOCATION},
    redirect::Policy,
};

use crate::{
    Address, Call, CallError, Code, Options, Verb,
    error::{bearer, causes},
};

static POOL: LazyLock<DescriptorPool> =
    LazyLock::new(|| DescriptorPool::decode(flipt_proto::DESCRIPTORS).unwrap_or_default());

/// Everything but what stands for itself in a path.
const ESCAPED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~').remove(b',');

/// Most characters of an answer that an error repeats.
const SHOWN: usize = 200;

/// What a server says about itself.
pub(crate) const INFO: &str = "info";

#[derive(Clone)]
pub(crate) struct Rest {
    http: reqwest::Client,
    authorization: Option<HeaderValue>,
    base: Url,
    address: String,
}

impl Rest {
    pub(crate) fn new(address: &Address, options: &Options) -> Result<Self, CallError> {
        let setup = |error: reqwest::Error| CallError::Setup(causes(&error));
        let mut builder = reqwest::Client::builder()
            .connect_timeout(options.connect_timeout)
            .user_agent(crate::USER_AGENT)
            // A write that is redirected becomes a read; and the token is meant for this address.
            .redirect(Policy::none());
        if let Some(pem) = &options.authorities {
            let authorities = Certificate::from_pem_bundle(pem).map_err(setup)?;
            if authorities.is_empty() {
                return Err(CallError::Setup(
                    "there is no certificate (PEM) among the authorities".to_owned(),
                ));
            }
            builder = builder.tls_certs_only(authorities);
        }
        Ok(Self {
            http: builder.build().map_err(setup)?,
            authorization: None,
            base: address.url().clone(),
            address: address.to_string(),
        })
    }

    pub(crate) fn with_token(&self, token: &str) -> Result<Self, CallError> {
        let authorization = bearer(token, |text| {
            let mut value = HeaderValue::from_str(text).ok()?;
            value.set_sensitive(true);
            Some(value)
        })?;
        Ok(Self { authorization, ..self.clone() })
    }

    /// The version in what the server says about itself.
    pub(crate) async fn version(&self) -> Result<Option<String>, CallError> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/meta/info", self.base.path().trim_end_matches('/')));
        let (head, body) = self.send(INFO, self.http.get(url)).await?;
        if head.status != StatusCode::OK {
            return Err(
                refusal(&body).unwrap_or_else(|| self.unreadable(INFO, format!("{head}: {}", shown(&body))))
            );
        }
        let info: serde_json::Value =
            serde_json::from_slice(&body).map_err(|error| self.unreadable(INFO, error.to_string()))?;
        Ok(info.get("version").and_then(serde_json::Value::as_str).map(str::to_owned))
    }

    async fn send(
        &self,
        call: &'static str,
        mut asking: reqwest::RequestBuilder,
    ) -> Result<(Head, Vec<u8>), CallError> {
        if let Some(authorization) = &self.authorization {
            asking = asking.header(AUTHORIZATION, authorization.clone());
        }
        let unreachable = |error: reqwest::Error| CallError::Unreachable {
            call,
            address: self.address.clone(),
            // Its own text repeats the URL.
            detail: causes(&error.without_url()),
        };
        let answer = asking.send().await.map_err(unreachable)?;
        let head = Head::of(&answer);
        let body = answer.bytes().await.map_err(unreachable)?;
        Ok((head, body.into()))
    }

    fn unreadable(&self, call: &'static str, detail: String) -> CallError {
        CallError::Unreadable { call, address: self.address.clone(), detail }
    }

    pub(crate) async fn call<C: Call>(&self, request: &C::Request) -> Result<C::Answer, CallError> {
        let message = dynamic(request)?;
        let url = self.url::<C>(&message)?;
        let mut asking = match C::VERB {
            Verb::Get => self.http.get(url),
            Verb::Delete => self.http.delete(url),
            Verb::Post => self.http.request(Method::POST, url),
            Verb::Put => self.http.request(Method::PUT, url),
        };
        if matches!(C::VERB, Verb::Post | Verb::Put) {
            asking = asking.header(CONTENT_TYPE, "application/json").body(to_json(&message)?);
        }
        let (head, body) = self.send(C::NAME, asking).await?;
        if head.status == StatusCode::OK {
            return from_json(&body)
                .map_err(|detail| self.unreadable(C::NAME, format!("{detail}: {}", shown(&body))));
        }
        Err(refusal(&body).unwrap_or_else(|| self.unreadable(C::NAME, format!("{head}: {}", shown(&body)))))
    }

    /// Path and query: what the path does not name goes into the query, unless there is a body.
    fn url<C: Call>(&self, message: &DynamicMessage) -> Result<Url, CallError> {
        let mut path = self.base.path().trim_end_matches('/').to_owned();
        let mut named = Vec::new();
        for element in C::PATH.split('/').skip(1) {
            path.push('/');
            match element.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                None => path.push_str(element),
                Some(name) => {
                    let value = message.get_field_by_name(name);
                    let value = value.as_deref().and_then(Value::as_str).unwrap_or_default();
                    if matches!(value, "" | "." | "..") {
                        // Such an element vanishes from a path, and another resource would be meant.
                        let call = C::NAME;
                        let problem = format!("{call}: {name} {value:?} cannot stand in a path; use gRPC");
                        return Err(CallError::Setup(problem));
                    }
                    path.extend(utf8_percent_encode(value, ESCAPED));
                    named.push(name);
                }
            }
        }
        let mut url = self.base.clone();
        url.set_path(&path);
        if matches!(C::VERB, Verb::Get | Verb::Delete) {
            for (field, value) in message.fields().filter(|(field, _)| !named.contains(&field.name())) {
                let text = match value {
                    Value::String(text) => text.clone(),
                    Value::I32(number) => number.to_string(),
                    Value::I64(number) => number.to_string(),
                    Value::Bool(value) => value.to_string(),
                    _ => continue,
                };
                url.query_pairs_mut().append_pair(field.json_name(), &text);
            }
        }
        Ok(url)
    }
}

/// What an answer is, besides its body.
struct Head {
    status: StatusCode,
    location: Option<String>,
}

impl Head {
    fn of(answer: &Response) -> Self {
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        Self { status: answer.status(), location: location.map(str::to_owned) }
    }
}

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "status {}", self.status)?;
        match &self.location {
            Some(location) => write!(f, ", which points to {location}; use the address that is meant"),
            None => Ok(()),
        }
    }
}

/// The error of the API in a body, if it is one.
fn refusal(body: &[u8]) -> Option<CallError> {
    let body: serde_json::Value = serde_json::from_slice(body).ok()?;
    let code = body.get("code")?.as_i64().and_then(|code| i32::try_from(code).ok())?;
    let message = body.get("message")?.as_str()?.to_owned();
    Some(CallError::Refused { code: Code::new(code), message })
}

fn shown(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let mut shown: String = text.trim().chars().take(SHOWN).collect();
    if shown.len() < text.trim().len() {
        shown.push('…');
    }
    format!("{shown:?}")
}

fn broken(error: impl std::fmt::Display) -> CallError {
    CallError::Setup(format!("embedded descriptors cannot be used: {error}"))
}

fn dynamic<M: Message + Name>(message: &M) -> Result<DynamicMessage, CallError> {
    let name = M::full_name();
    let descriptor = POOL.get_message_by_name(&name).ok_or_else(|| broken(&name))?;
    DynamicMessage::decode(descriptor, message.encode_to_vec().as_slice()).map_err(broken)
}

fn to_json(message: &DynamicMessage) -> Result<Vec<u8>, CallError> {
    let mut json = Vec::new();
    message
        .serialize_with_options(
            &mut serde_json::Serializer::new(&mut json),
            &SerializeOptions::new().skip_default_fields(true),
        )
        .map_err(broken)?;
    Ok(json)
}

/// Reads a message; members that nobody knows here are of a newer server.
fn from_json<M: Message + Name + Default>(body: &[u8]) -> Result<M, String> {
    let name = M::full_name();
    let descriptor = POOL.get_message_by_name(&name).ok_or_else(|| format!("no descriptor of {name}"))?;
    let options = DeserializeOptions::new().deny_unknown_fields(false);
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    let message = DynamicMessage::deserialize_with_options(descriptor, &mut deserializer, &options)
        .map_err(|error| error.to_string())?;
    M::decode(message.encode_to_vec().as_slice()).map_err(|error| error.to_string())
}
