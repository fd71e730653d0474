//! Snapshots as Flipt v2 serves them: once, or as a stream of changes (v2 spec, section 4.3).

use std::{convert::Infallible, pin::Pin, sync::Arc, time::Duration};

use bytes::Bytes;
use flipt_model::validation::go_quote;
use flipt_proto::client::{
    EvaluationNamespaceSnapshot, EvaluationNamespaceSnapshotRequest,
    EvaluationNamespaceSnapshotStreamRequest, client_evaluation_service_server::ClientEvaluationService,
};
use flipt_serving::{Body, Code, Error, http::environment};
use flipt_store::Environment;
use futures::{Stream, StreamExt as _, stream};
use http::{HeaderMap, HeaderValue, Response, header};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::Frame;
use tokio::sync::watch;
use tonic::{Request, Response as GrpcResponse, Status};

use crate::{
    Api,
    compression::accepts_gzip,
    data::{encoded, is_known, not_modified, tagged},
    query,
    snapshots::{Snapshots, Versioned},
};

/// Full name of the service.
pub(crate) const SERVICE: &str = "evaluation.ClientEvaluationService";
/// How often a stream of events says that it lives, so that proxies do not take it for dead.
const HEARTBEAT: Duration = Duration::from_secs(20);
/// Pause after the store could not be read.
const RETRY: Duration = Duration::from_secs(1);
/// Length of a digest.
const DIGEST: usize = 40;
/// How much of a digest is an event's id.
const EVENT_ID: usize = 9;

/// The changes of one namespace: its state now, then each new one. States that were overtaken while the
/// follower was busy are left out.
struct Changes {
    environment: Arc<dyn Environment>,
    snapshots: Snapshots,
    key: String,
    revisions: watch::Receiver<u64>,
    stopping: watch::Receiver<bool>,
    /// Digest that the follower has.
    digest: String,
}

/// What a follower waits for.
enum Next {
    Changed(Arc<Versioned>),
    /// Nothing for a while.
    Quiet,
}

impl Changes {
    /// The next change; `None` when the server ends.
    async fn next(&mut self) -> Option<Next> {
        let quiet = tokio::time::sleep(HEARTBEAT);
        tokio::pin!(quiet);
        loop {
            self.revisions.mark_unchanged();
            let pause = match self.read().await {
                Ok(Some(snapshot)) => return Some(Next::Changed(snapshot)),
                Ok(None) => None,
                Err(error) => {
                    tracing::warn!(error = %error, "followers of a namespace wait for the store");
                    Some(RETRY)
                }
            };
            let again = async {
                match pause {
                    Some(pause) => tokio::time::sleep(pause).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                _ = self.stopping.wait_for(|stop| *stop) => return None,
                changed = self.revisions.changed() => changed.ok()?,
                () = again => {}
                () = &mut quiet => return Some(Next::Quiet),
            }
        }
    }

    /// The namespace's state, if it exists and is another than the follower has.
    async fn read(&mut self) -> Result<Option<Arc<Versioned>>, Error> {
        let key = flipt_model::namespace_or_default(&self.key);
        if self.environment.live().snapshot.namespace(key).is_none() {
            return Ok(None);
        }
        let snapshot = self.snapshots.get(&*self.environment, &self.key).await?;
        let digest = snapshot.digest();
        if digest == self.digest {
            return Ok(None);
        }
        self.digest = digest;
        Ok(Some(snapshot))
    }
}

impl Api {
    /// Follows a namespace from the digest that the follower has, if it has one.
    fn changes(&self, environment: &str, key: &str, digest: &str) -> Result<Changes, Error> {
        if !digest.is_empty() && digest.len() != DIGEST {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("invalid field digest: must be a {DIGEST}-character string"),
            ));
        }
        let (environment, snapshots) = self.resolve(environment)?;
        Ok(Changes {
            revisions: environment.revisions(),
            environment,
            snapshots,
            key: key.to_owned(),
            stopping: self.stopping.clone(),
            digest: digest.to_owned(),
        })
    }

    /// The snapshot of a namespace that must exist.
    async fn client_snapshot(&self, environment: &str, key: &str) -> Result<Arc<Versioned>, Error> {
        let (environment, snapshots) = self.resolve(environment)?;
        let namespace = flipt_model::namespace_or_default(key);
        if environment.live().snapshot.namespace(namespace).is_none() {
            let namespace = go_quote(namespace);
            return Err(Error::new(
                Code::NotFound,
                format!("evaluation snapshot for namespace {namespace} not found"),
            ));
        }
        snapshots.get(&*environment, key).await
    }
}

/// The environment that a request names: by its own field, else by a header.
fn named<'a>(key: &'a str, headers: &'a HeaderMap) -> &'a str {
    if key.is_empty() { environment(headers) } else { key }
}

/// The snapshot over REST.
pub(crate) async fn snapshot(
    api: &Api,
    environment: &str,
    key: &str,
    headers: &HeaderMap,
) -> Result<Response<Full<Bytes>>, Error> {
    let snapshot = api.client_snapshot(named(environment, headers), key).await?;
    if is_known(&snapshot, headers.get(header::IF_NONE_MATCH)) {
        return Ok(not_modified(&snapshot));
    }
    let gzip = accepts_gzip(headers);
    let body = snapshot.client_json(gzip).await?;
    Ok(tagged(encoded(body, gzip), Some(&snapshot.digest())))
}

/// The stream over REST: events for who asks for them, else one JSON document per line.
pub(crate) fn stream(
    api: &Api,
    environment: &str,
    key: &str,
    headers: &HeaderMap,
    query: &str,
) -> Result<Response<Body>, Error> {
    let digest = query::parse(query)?.into_iter().find(|(name, _)| name == "digest");
    let digest = digest.map(|(_, digest)| digest).unwrap_or_default();
    let changes = api.changes(named(environment, headers), key, &digest)?;
    let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
    let wants_events = text(header::ACCEPT).is_some_and(|accept| accept.contains("text/event-stream"));
    let (content_type, chunks) = if wants_events {
        let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).map(str::to_owned);
        ("text/event-stream", events(changes, last).boxed())
    } else {
        ("application/json", lines(changes).boxed())
    };
    let body = StreamBody::new(chunks.map(|chunk| Ok::<_, Infallible>(Frame::data(chunk))));
    let mut response = Response::new(Either::Right(body.boxed_unsync()));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    // For nginx, which otherwise keeps a stream back until its buffer is full.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// One line per state. A quiet stream stays silent: readers take every line for a document.
fn lines(changes: Changes) -> impl Stream<Item = Bytes> + Send {
    stream::unfold(changes, |mut changes| async move {
        loop {
            if let Next::Changed(snapshot) = changes.next().await? {
                return Some((snapshot.line().await.ok()?, changes));
            }
        }
    })
}

/// One event per state, without the state: the browser asks for it, and its cache may have it.
fn events(changes: Changes, last: Option<String>) -> impl Stream<Item = Bytes> + Send {
    // Tells the browser that the stream is open, and how soon to come back.
    let opening = stream::once(async { Bytes::from_static(b"retry: 1000\n\n") });
    opening.chain(stream::unfold((changes, last), |(mut changes, mut last)| async move {
        loop {
            let Next::Changed(snapshot) = changes.next().await? else {
                return Some((Bytes::from_static(b": quiet\n\n"), (changes, last)));
            };
            let digest = snapshot.digest();
            let id = digest.get(..EVENT_ID).unwrap_or_default();
            // A browser that comes back says which event it saw last.
            if last.take().as_deref() == Some(id) {
                continue;
            }
            let data = serde_json::json!({ "etag": digest, "type": "refetchEvaluation" });
            return Some((format!("id: {id}\ndata: {data}\n\n").into(), (changes, last)));
        }
    }))
}

#[tonic::async_trait]
impl ClientEvaluationService for Api {
    async fn evaluation_snapshot_namespace(
        &self,
        request: Request<EvaluationNamespaceSnapshotRequest>,
    ) -> Result<GrpcResponse<EvaluationNamespaceSnapshot>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        let environment = named(&message.environment_key, &headers);
        let snapshot = self.client_snapshot(environment, &message.key).await?;
        Ok(GrpcResponse::new((*snapshot.client_message().await).clone()))
    }

    type EvaluationSnapshotNamespaceStreamStream =
        Pin<Box<dyn Stream<Item = Result<EvaluationNamespaceSnapshot, Status>> + Send>>;

    async fn evaluation_snapshot_namespace_stream(
        &self,
        request: Request<EvaluationNamespaceSnapshotStreamRequest>,
    ) -> Result<GrpcResponse<Self::EvaluationSnapshotNamespaceStreamStream>, Status> {
        let (metadata, _, message) = request.into_parts();
        let headers = metadata.into_headers();
        let environment = named(&message.environment_key, &headers);
        let changes =
            self.changes(environment, &message.key, message.digest.as_deref().unwrap_or_default())?;
        let messages = stream::unfold(changes, |mut changes| async move {
            loop {
                if let Next::Changed(snapshot) = changes.next().await? {
                    return Some((Ok((*snapshot.client_message().await).clone()), changes));
                }
            }
        });
        Ok(GrpcResponse::new(Box::pin(messages)))
    }
}
