//! S3 as a store.

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::ProfileFileRegionProvider;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::http::HttpResponse;
use aws_sdk_s3::config::{
    RequestChecksumCalculation, ResponseChecksumValidation, StalledStreamProtectionConfig,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use chrono::{DateTime, Utc};

use super::{
    BoxFuture, Etag, Got, Headers, Listed, Precondition, Put, Source, Store, StoreError, StoreErrorKind,
    key_is_safe,
};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(15);
/// The SDK's timeouts end with the response's head; this one bounds the body. Sixteen mebibytes in that time
/// are about 2 Mbit/s.
const BODY_TIMEOUT: Duration = Duration::from_secs(60);
/// S3-compatible stores do not care, but the signature needs one.
const DEFAULT_REGION: &str = "us-east-1";

/// How to reach a bucket.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// Put before every key, without slashes at its ends; may be empty.
    pub prefix: String,
    /// Region; `None` takes the environment's.
    pub region: Option<String>,
    /// Address of an S3-compatible store; `None` takes `AWS_ENDPOINT_URL_S3`, `AWS_ENDPOINT_URL`, or AWS.
    pub endpoint: Option<String>,
    /// Whether the bucket stands in the path rather than in the host name; `None` means: if there is an
    /// endpoint, by parameter or environment variable.
    pub force_path_style: Option<bool>,
    /// How objects are encrypted at rest; `None` leaves it to the bucket.
    pub encryption: Option<Encryption>,
    /// Who we are.
    pub credentials: Credentials,
}

/// How S3 encrypts what is written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Encryption {
    /// With keys of S3 itself.
    S3,
    /// With a key of KMS. Readers need `kms:Decrypt` then.
    Kms {
        /// Id or ARN of the key; `None` takes the account's own for S3.
        key: Option<String>,
    },
}

impl Encryption {
    /// The name in locations and headers.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::S3 => "AES256",
            Self::Kms { .. } => "aws:kms",
        }
    }
}

impl S3Config {
    /// The whole bucket, with everything else from the environment.
    #[must_use]
    pub fn new(bucket: impl Into<String>) -> Self {
        Self {
            bucket: bucket.into(),
            prefix: String::new(),
            region: None,
            endpoint: None,
            force_path_style: None,
            encryption: None,
            credentials: Credentials::DefaultChain,
        }
    }
}

/// Where credentials come from.
#[derive(Clone, PartialEq, Eq, Default)]
pub enum Credentials {
    /// The SDK's chain: environment, profile, web identity (IRSA), EKS pod identity, instance metadata.
    #[default]
    DefaultChain,
    /// A fixed key pair.
    Static {
        /// Access key id.
        access_key_id: String,
        /// Secret access key.
        secret_access_key: String,
        /// Session token of temporary credentials.
        session_token: Option<String>,
    },
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::DefaultChain => f.write_str("DefaultChain"),
            Self::Static { .. } => f.write_str("Static(redacted)"),
        }
    }
}

/// A bucket, or a prefix in one.
pub struct S3Store {
    config: S3Config,
    /// Replaced once when the credentials turn out to have expired.
    client: ArcSwap<Client>,
    /// For messages: the endpoint if one is configured.
    endpoint: Option<String>,
}

impl fmt::Debug for S3Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("S3Store").field("config", &self.config).finish_non_exhaustive()
    }
}

fn environment_endpoint() -> Option<String> {
    ["AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL"]
        .into_iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.trim().is_empty()))
}

async fn client(config: &S3Config, custom_endpoint: bool) -> Option<Client> {
    let region = match &config.region {
        Some(region) => Some(Region::new(region.clone())),
        // Never asks the instance's metadata: outside of AWS that only costs time.
        None if custom_endpoint => {
            RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
                .or_else(ProfileFileRegionProvider::new())
                .or_else(Region::new(DEFAULT_REGION))
                .region()
                .await
        }
        None => RegionProviderChain::default_provider().region().await,
    }?;
    let mut loader = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .region(region)
        .retry_config(RetryConfig::standard())
        .timeout_config(
            TimeoutConfig::builder()
                .connect_timeout(CONNECT_TIMEOUT)
                .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                .operation_timeout(OPERATION_TIMEOUT)
                .build(),
        )
        .stalled_stream_protection(StalledStreamProtectionConfig::enabled().build());
    if let Some(endpoint) = &config.endpoint {
        loader = loader.endpoint_url(endpoint);
    }
    if let Credentials::Static { access_key_id, secret_access_key, session_token } = &config.credentials {
        loader = loader.credentials_provider(aws_sdk_s3::config::Credentials::new(
            access_key_id,
            secret_access_key,
            session_token.clone(),
            None,
            "configuration",
        ));
    }
    let shared = loader.load().await;
    let path_style = config.force_path_style.unwrap_or(custom_endpoint || shared.endpoint_url().is_some());
    let config = aws_sdk_s3::config::Builder::from(&shared)
        // The SDK's newer default adds checksums that many compatible stores refuse.
        .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
        .response_checksum_validation(ResponseChecksumValidation::WhenRequired)
        .force_path_style(path_style)
        .build();
    Some(Client::from_conf(config))
}

impl S3Store {
    /// Prepares a client; the bucket is not contacted yet.
    ///
    /// # Errors
    ///
    /// [`StoreErrorKind::Other`] if no region is configured anywhere and there is no endpoint either.
    pub async fn new(config: S3Config) -> Result<Self, StoreError> {
        let endpoint = config.endpoint.clone().or_else(environment_endpoint);
        let Some(client) = client(&config, endpoint.is_some()).await else {
            return Err(StoreError::new(
                StoreErrorKind::Other,
                "open",
                format!("s3://{}", config.bucket),
                "no region is configured: add `region=` to the location or set AWS_REGION",
            ));
        };
        Ok(Self { config, client: ArcSwap::from_pointee(client), endpoint })
    }

    fn key(&self, operation: &'static str, key: &str) -> Result<String, StoreError> {
        if !key_is_safe(key.trim_end_matches('/')) {
            let place = format!("s3://{}", self.config.bucket);
            return Err(StoreError::new(StoreErrorKind::InvalidKey, operation, place, ""));
        }
        Ok(if self.config.prefix.is_empty() {
            key.to_owned()
        } else {
            format!("{}/{key}", self.config.prefix)
        })
    }

    fn error(
        &self,
        operation: &'static str,
        key: &str,
        kind: StoreErrorKind,
        detail: impl Into<String>,
    ) -> StoreError {
        let mut place = self.describe(key);
        if let Some(endpoint) = &self.endpoint {
            place = format!("{place} at {endpoint}");
        }
        StoreError::new(kind, operation, place, detail)
    }

    /// Calls with the current client; when the credentials have expired, once more with a new one, because a
    /// process that lives for weeks outlives any token that the old one may hold on to.
    async fn call<T, F>(&self, call: impl Fn(Client) -> F) -> Result<T, StoreError>
    where
        F: Future<Output = Result<T, StoreError>>,
    {
        let first = call(Client::clone(&self.client.load())).await;
        match first {
            Err(error) if error.kind == StoreErrorKind::ExpiredToken => {
                let Some(client) = client(&self.config, self.endpoint.is_some()).await else {
                    return Err(error);
                };
                self.client.store(Arc::new(client.clone()));
                call(client).await
            }
            other => other,
        }
    }

    async fn get_once(
        &self,
        client: Client,
        key: &str,
        if_none_match: Option<&Etag>,
        limit: u64,
    ) -> Result<Got, StoreError> {
        const OPERATION: &str = "read";
        let request = client
            .get_object()
            .bucket(&self.config.bucket)
            .key(self.key(OPERATION, key)?)
            .set_if_none_match(if_none_match.map(|etag| etag.0.clone()));
        let mut object = match request.send().await {
            Ok(object) => object,
            Err(error) => {
                let (status, code) = status_and_code(&error);
                return match (status, code) {
                    // The SDK reports "not modified" as a failure without a code.
                    (Some(304), _) => Ok(Got::NotModified),
                    (Some(404), Some("NoSuchKey" | "NotFound") | None) => Ok(Got::Missing),
                    _ => Err(self.classified(OPERATION, key, &error)),
                };
            }
        };
        let too_large =
            || self.error(OPERATION, key, StoreErrorKind::TooLarge, format!("the limit is {limit} bytes"));
        let length = object.content_length().and_then(|length| u64::try_from(length).ok());
        if length.is_some_and(|length| length > limit) {
            return Err(too_large());
        }
        let etag = Etag(object.e_tag().unwrap_or_default().to_owned());
        let mut bytes = Vec::with_capacity(usize::try_from(length.unwrap_or_default()).unwrap_or_default());
        let body = async {
            while let Some(chunk) = object.body.next().await {
                let chunk = chunk.map_err(|error| {
                    self.error(OPERATION, key, StoreErrorKind::Unreachable, causes(&error))
                })?;
                if (bytes.len() + chunk.len()) as u64 > limit {
                    return Err(too_large());
                }
                bytes.extend_from_slice(&chunk);
            }
            Ok(())
        };
        match tokio::time::timeout(BODY_TIMEOUT, body).await {
            Ok(read) => read?,
            Err(_) => return Err(self.error(OPERATION, key, StoreErrorKind::Timeout, "")),
        }
        Ok(Got::Found { bytes, etag })
    }

    async fn put_once(
        &self,
        client: Client,
        key: &str,
        bytes: Vec<u8>,
        precondition: &Precondition,
        headers: Headers,
    ) -> Result<Put, StoreError> {
        const OPERATION: &str = "write";
        let request = client
            .put_object()
            .bucket(&self.config.bucket)
            .key(self.key(OPERATION, key)?)
            .content_type(headers.content_type)
            .cache_control(headers.cache_control)
            .body(ByteStream::from(bytes));
        let request = match &self.config.encryption {
            None => request,
            Some(Encryption::S3) => request.server_side_encryption(ServerSideEncryption::Aes256),
            Some(Encryption::Kms { key }) => {
                request.server_side_encryption(ServerSideEncryption::AwsKms).set_ssekms_key_id(key.clone())
            }
        };
        let request = match precondition {
            Precondition::None => request,
            Precondition::IfAbsent => request.if_none_match("*"),
            Precondition::IfMatch(Etag(etag)) if etag.is_empty() => {
                let detail = "it gives objects no entity tags";
                return Err(self.error(OPERATION, key, StoreErrorKind::Unsupported, detail));
            }
            Precondition::IfMatch(etag) => request.if_match(&etag.0),
        };
        match request.send().await {
            Ok(stored) => Ok(Put::Stored(Etag(stored.e_tag().unwrap_or_default().to_owned()))),
            Err(error) => match status_and_code(&error) {
                (Some(412), _) | (Some(409), Some("ConditionalRequestConflict")) => {
                    Ok(Put::PreconditionFailed)
                }
                // S3's answer to If-Match for an object that has gone.
                (Some(404), Some("NoSuchKey")) if matches!(precondition, Precondition::IfMatch(_)) => {
                    Ok(Put::PreconditionFailed)
                }
                _ => Err(self.classified(OPERATION, key, &error)),
            },
        }
    }

    async fn size_once(&self, client: Client, key: &str) -> Result<Option<u64>, StoreError> {
        const OPERATION: &str = "read";
        let request = client.head_object().bucket(&self.config.bucket).key(self.key(OPERATION, key)?);
        match request.send().await {
            Ok(head) => Ok(head.content_length().and_then(|length| u64::try_from(length).ok())),
            Err(error) => match status_and_code(&error) {
                (Some(404), code) if code != Some("NoSuchBucket") => Ok(None),
                _ => Err(self.classified(OPERATION, key, &error)),
            },
        }
    }

    async fn list_once(&self, client: Client, prefix: &str) -> Result<Vec<Listed>, StoreError> {
        const OPERATION: &str = "list";
        let absolute = self.key(OPERATION, prefix)?;
        // Keys are answered with our prefix, which callers do not know of.
        let skip = absolute.len() - prefix.len();
        let mut listed = Vec::new();
        let mut token = None;
        loop {
            let page = client
                .list_objects_v2()
                .bucket(&self.config.bucket)
                .prefix(&absolute)
                .set_continuation_token(token)
                .send()
                .await
                .map_err(|error| self.classified(OPERATION, prefix, &error))?;
            for object in page.contents() {
                let Some(key) = object.key().and_then(|key| key.get(skip..)) else { continue };
                let modified = object.last_modified().and_then(|modified| {
                    DateTime::<Utc>::from_timestamp(modified.secs(), modified.subsec_nanos())
                });
                listed.push(Listed {
                    key: key.to_owned(),
                    size: object.size().and_then(|size| u64::try_from(size).ok()).unwrap_or_default(),
                    // Unknown counts as new, so that nothing is collected by mistake.
                    modified: modified.unwrap_or_else(Utc::now),
                });
            }
            token = page.next_continuation_token().map(str::to_owned);
            if token.is_none() {
                listed.sort_by(|a, b| a.key.cmp(&b.key));
                return Ok(listed);
            }
        }
    }

    async fn delete_once(&self, client: Client, key: &str) -> Result<(), StoreError> {
        const OPERATION: &str = "delete";
        let request = client.delete_object().bucket(&self.config.bucket).key(self.key(OPERATION, key)?);
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match status_and_code(&error) {
                (Some(404), Some("NoSuchKey") | None) => Ok(()),
                _ => Err(self.classified(OPERATION, key, &error)),
            },
        }
    }

    fn classified<E>(
        &self,
        operation: &'static str,
        key: &str,
        error: &SdkError<E, HttpResponse>,
    ) -> StoreError
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        use StoreErrorKind as Kind;
        let (status, code) = status_and_code(error);
        let kind = match error {
            _ if lacks_credentials(error) => Kind::NoCredentials,
            SdkError::TimeoutError(_) => Kind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_timeout() => Kind::Timeout,
            SdkError::DispatchFailure(failure) if failure.is_io() => Kind::Unreachable,
            _ => match code {
                Some("NoSuchBucket") => Kind::BucketMissing,
                Some(
                    "InvalidAccessKeyId"
                    | "SignatureDoesNotMatch"
                    | "NotSignedUp"
                    | "InvalidToken"
                    | "InvalidSecurity"
                    | "AuthFailure"
                    | "InvalidClientTokenId"
                    | "UnrecognizedClientException",
                ) => Kind::WrongCredentials,
                Some(
                    "ExpiredToken" | "ExpiredTokenException" | "TokenRefreshRequired" | "RequestExpired",
                ) => Kind::ExpiredToken,
                Some("RequestTimeTooSkewed") => Kind::ClockSkew,
                Some(
                    "PermanentRedirect"
                    | "TemporaryRedirect"
                    | "AuthorizationHeaderMalformed"
                    | "IllegalLocationConstraintException",
                ) => Kind::WrongRegion,
                Some("NotImplemented") => Kind::Unsupported,
                Some("SlowDown" | "ServiceUnavailable" | "InternalError" | "RequestLimitExceeded") => {
                    Kind::Unavailable
                }
                Some("RequestTimeout") => Kind::Timeout,
                _ => match status {
                    Some(301 | 307) => Kind::WrongRegion,
                    Some(401 | 403) => Kind::Forbidden,
                    Some(501) => Kind::Unsupported,
                    Some(429 | 500..=599) => Kind::Unavailable,
                    // The connection broke while the answer was under way.
                    None if matches!(error, SdkError::ResponseError(_) | SdkError::DispatchFailure(_)) => {
                        Kind::Unreachable
                    }
                    _ => Kind::Other,
                },
            },
        };
        let detail = match (code, kind) {
            // The message of these may quote what was sent.
            (Some(code), Kind::WrongCredentials | Kind::ExpiredToken) => code.to_owned(),
            (Some(code), _) => match error.message() {
                Some(message) => format!("{code}: {}", shortened(message)),
                None => code.to_owned(),
            },
            (None, _) => match status {
                Some(status) => format!("HTTP status {status}"),
                None => causes(error),
            },
        };
        self.error(operation, key, kind, detail)
    }
}

fn status_and_code<E: ProvideErrorMetadata>(
    error: &SdkError<E, HttpResponse>,
) -> (Option<u16>, Option<&str>) {
    let status = error.raw_response().map(|response| response.status().as_u16());
    (status, error.code())
}

/// The chain of causes below the SDK's own wrappers, whose texts say nothing.
fn causes(error: &(dyn Error + 'static)) -> String {
    let mut text = String::new();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        if !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        cause = error.source();
    }
    if text.is_empty() { shortened(&error.to_string()) } else { shortened(&text) }
}

fn lacks_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<CredentialsError>().is_some() {
            return true;
        }
        cause = error.source();
    }
    false
}

fn shortened(text: &str) -> String {
    const LONGEST: usize = 400;
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).take(LONGEST).collect()
}

impl Store for S3Store {
    fn get<'a>(
        &'a self,
        key: &'a str,
        if_none_match: Option<&'a Etag>,
        limit: u64,
    ) -> BoxFuture<'a, Result<Got, StoreError>> {
        Box::pin(self.call(move |client| self.get_once(client, key, if_none_match, limit)))
    }

    fn put<'a>(
        &'a self,
        key: &'a str,
        bytes: Vec<u8>,
        precondition: Precondition,
        headers: Headers,
    ) -> BoxFuture<'a, Result<Put, StoreError>> {
        Box::pin(async move {
            let precondition = &precondition;
            self.call(|client| self.put_once(client, key, bytes.clone(), precondition, headers)).await
        })
    }

    fn size<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<Option<u64>, StoreError>> {
        Box::pin(self.call(move |client| self.size_once(client, key)))
    }

    fn delete<'a>(&'a self, key: &'a str) -> BoxFuture<'a, Result<(), StoreError>> {
        Box::pin(self.call(move |client| self.delete_once(client, key)))
    }

    fn list<'a>(&'a self, prefix: &'a str) -> BoxFuture<'a, Result<Vec<Listed>, StoreError>> {
        Box::pin(self.call(move |client| self.list_once(client, prefix)))
    }

    fn source(&self) -> Source {
        Source::S3
    }

    fn describe(&self, key: &str) -> String {
        let S3Config { bucket, prefix, .. } = &self.config;
        if prefix.is_empty() {
            format!("s3://{bucket}/{key}")
        } else {
            format!("s3://{bucket}/{prefix}/{key}")
        }
    }
}
