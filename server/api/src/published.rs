//! The state of a whole environment, in the layout and the bytes in which it stands in a bucket: for sidecars that
//! reach no bucket, and for the job that publishes to one.
//!
//! A state is read, encoded and compressed once per revision, however many ask. The few states before it stay, so
//! that whoever read a pointer a moment ago finds its object.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex as StdMutex, PoisonError},
};

use bytes::Bytes;
use chrono::{DateTime, SubsecRound as _, Utc};
use flipt_serving::{Code, Error, http::error_reply};
use flipt_snapshots::{
    Digest, Pointer, SigningKey,
    format::{EncodedObject, encode},
};
use flipt_store::{Environment, Part, Version};
use http::{HeaderMap, HeaderValue, Response, StatusCode, header};
use http_body_util::Full;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use crate::{Api, Fails as _};

const WRITER: &str = concat!("flipt ", env!("CARGO_PKG_VERSION"));
/// States that are kept, the current one among them.
const KEPT: usize = 4;
/// Answers under way at a time, of all environments. An answer is under way until its last byte is taken over by the
/// connection.
const CONCURRENT: usize = 256;
/// Who comes at a bad time is asked to come back after 1 to this many seconds.
const LONGEST_RETRY_AFTER: u32 = 5;

/// What is offered of one environment.
#[derive(Default)]
pub(crate) struct Published {
    /// Newest first. Locked while a state is read, so that it is read once.
    states: Mutex<VecDeque<Arc<State>>>,
}

/// One state, ready to be sent.
struct State {
    version: Version,
    digest: Digest,
    bytes: Bytes,
    pointer: Pointer,
    etag: String,
    /// The pointer as it was written last: of one second it is written once.
    written: StdMutex<Option<(DateTime<Utc>, Bytes)>>,
}

/// Who may be answered now.
#[derive(Clone)]
pub(crate) struct Turnstile(Arc<Semaphore>);

impl Default for Turnstile {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(CONCURRENT)))
    }
}

impl Turnstile {
    /// Lets one more through.
    ///
    /// # Errors
    /// The answer to who must come back later.
    pub(crate) fn enter(&self) -> Result<OwnedSemaphorePermit, Box<Response<Full<Bytes>>>> {
        Arc::clone(&self.0).try_acquire_owned().map_err(|_| {
            let message = format!("more than {CONCURRENT} snapshots are being sent; try again later");
            Box::new(later(error_reply(&Error::new(Code::Unavailable, message))))
        })
    }
}

/// The same answer, with a time to come back, which is not the same for all.
pub(crate) fn later(mut response: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let seconds = 1 + Utc::now().timestamp_subsec_micros() % LONGEST_RETRY_AFTER;
    response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Bytes that let the next one through when they have been sent.
struct Guarded {
    bytes: Bytes,
    _permit: OwnedSemaphorePermit,
}

impl AsRef<[u8]> for Guarded {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

fn reply(bytes: Bytes, permit: OwnedSemaphorePermit, content_type: &'static str) -> Response<Full<Bytes>> {
    let body = Bytes::from_owner(Guarded { bytes, _permit: permit });
    let mut response = Response::new(Full::new(body));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

impl State {
    async fn read(environment: &dyn Environment) -> Result<Self, Error> {
        let (snapshot, version) = environment.read_state(Part::All).await.or_refuse()?;
        let encoded = tokio::task::spawn_blocking(move || encode(snapshot))
            .await
            .map_err(|error| Error::new(Code::Internal, format!("encoding a snapshot: {error}")))?
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        Ok(Self::new(version, encoded))
    }

    fn new(version: Version, object: EncodedObject) -> Self {
        let pointer = Pointer::of(&object, version.epoch.as_str(), version.revision, now(), WRITER);
        let identity = format!("{} {} {}", version.epoch, version.revision, object.digest);
        let etag = format!("\"{}\"", &Digest::of(identity.as_bytes()).hex()[..32]);
        let written = StdMutex::new(None);
        Self { version, digest: object.digest, bytes: object.bytes.into(), pointer, etag, written }
    }

    /// The pointer, true as of now.
    fn pointer(&self, environment: &str, key: Option<&SigningKey>) -> Result<Bytes, Error> {
        let now = now();
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, bytes)) = &*written
            && *at == now
        {
            return Ok(bytes.clone());
        }
        let pointer = Pointer { verified_at: now, ..self.pointer.clone() };
        let signed = match key {
            Some(key) => key.sign(environment, pointer),
            None => Ok(pointer),
        };
        let bytes = signed
            .and_then(|pointer| pointer.to_bytes())
            .map_err(|error| Error::new(Code::Internal, error.to_string()))?;
        Ok(written.insert((now, bytes.into())).1.clone())
    }
}

fn now() -> DateTime<Utc> {
    Utc::now().trunc_subsecs(0)
}

impl Published {
    /// The state as of now.
    ///
    /// # Guarantees
    /// It holds every write that this server acknowledged before the call.
    async fn current(&self, environment: &dyn Environment) -> Result<Arc<State>, Error> {
        let wanted = environment.live().version.clone();
        let mut states = self.states.lock().await;
        if let Some(state) = states.front()
            && state.version.epoch == wanted.epoch
            && state.version.revision >= wanted.revision
        {
            return Ok(Arc::clone(state));
        }
        let state = Arc::new(State::read(environment).await?);
        states.push_front(Arc::clone(&state));
        states.truncate(KEPT);
        Ok(state)
    }

    /// The object with this digest, if it is one of the last.
    async fn object(&self, environment: &dyn Environment, digest: &Digest) -> Result<Option<Bytes>, Error> {
        let known = |states: &VecDeque<Arc<State>>| {
            states.iter().find(|state| state.digest == *digest).map(|state| state.bytes.clone())
        };
        if let Some(bytes) = known(&*self.states.lock().await) {
            return Ok(Some(bytes));
        }
        // The pointer may be of another replica.
        self.current(environment).await?;
        Ok(known(&*self.states.lock().await))
    }
}

impl Api {
    /// The pointer of an environment.
    ///
    /// # Errors
    /// [`Code::NotFound`] for an unknown environment; those of the store.
    pub(crate) async fn published_pointer(
        &self,
        key: &str,
        headers: &HeaderMap,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Full<Bytes>>, Error> {
        let (key, environment, published) = self.published(key)?;
        let state = published.current(&*environment).await?;
        let condition = headers.get(header::IF_NONE_MATCH).and_then(|value| value.to_str().ok());
        let known =
            condition.is_some_and(|condition| condition.split(',').any(|tag| tag.trim() == state.etag));
        let mut response = if known {
            let mut response = Response::new(Full::default());
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            response
        } else {
            reply(state.pointer(key, self.signing_key.as_deref())?, permit, "application/json")
        };
        let headers = response.headers_mut();
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        if let Ok(etag) = HeaderValue::from_str(&state.etag) {
            headers.insert(header::ETAG, etag);
        }
        Ok(response)
    }

    /// An object of an environment by the two last elements of its path.
    ///
    /// # Errors
    /// [`Code::NotFound`] if it is none of the last; those of the store.
    pub(crate) async fn published_object(
        &self,
        key: &str,
        folder: &str,
        name: &str,
        permit: OwnedSemaphorePermit,
    ) -> Result<Response<Full<Bytes>>, Error> {
        let (_, environment, published) = self.published(key)?;
        let missing =
            || Error::new(Code::NotFound, "no such snapshot, or not any more; read the pointer again");
        let hex = name.strip_suffix(".json.gz").filter(|hex| hex.get(..2) == Some(folder));
        let digest: Digest = hex.and_then(|hex| format!("sha256:{hex}").parse().ok()).ok_or_else(missing)?;
        let bytes = published.object(&*environment, &digest).await?.ok_or_else(missing)?;
        let mut response = reply(bytes, permit, "application/gzip");
        let cache_control = HeaderValue::from_static("private, immutable, max-age=31536000");
        response.headers_mut().insert(header::CACHE_CONTROL, cache_control);
        Ok(response)
    }

    fn published(&self, key: &str) -> Result<(&str, Arc<dyn Environment>, &Published), Error> {
        let unknown = || Error::new(Code::NotFound, format!("environment {key:?} not found"));
        // Exactly this key: no name stands for the default environment here.
        let (key, published) = self.published.get_key_value(key).ok_or_else(unknown)?;
        let (_, environment) = self.environments.resolve(key).ok_or_else(unknown)?;
        Ok((key, environment, published))
    }
}

#[cfg(test)]
mod tests {
    use flipt_model::{Namespace, Snapshot};

    use super::*;

    fn state(revision: u64, namespaces: &[&str]) -> State {
        let namespace = |key: &&str| Namespace { key: (*key).into(), ..Default::default() };
        let snapshot = Snapshot { namespaces: namespaces.iter().map(namespace).collect() };
        State::new(Version { epoch: "db".into(), revision }, encode(snapshot).unwrap())
    }

    #[test]
    fn who_comes_to_a_full_house_is_told_when_to_come_back_and_the_next_one_takes_the_place_that_was_left() {
        let turnstile = Turnstile::default();
        let mut inside: Vec<_> = (0..CONCURRENT).map(|_| turnstile.enter().unwrap()).collect();
        let refused = turnstile.enter().unwrap_err();
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        let seconds = refused.headers()[header::RETRY_AFTER].to_str().unwrap().parse::<u32>().unwrap();
        assert!((1..=LONGEST_RETRY_AFTER).contains(&seconds), "{seconds}");
        // Having an answer is not the same as having sent it.
        let answer = reply(Bytes::from_static(b"x"), inside.pop().unwrap(), "text/plain");
        assert!(turnstile.enter().is_err());
        drop(answer);
        assert!(turnstile.enter().is_ok());
    }

    #[test]
    fn the_tag_tells_states_apart_and_nothing_else() {
        let tag = state(1, &["a"]).etag;
        assert_eq!(state(1, &["a"]).etag, tag);
        assert_ne!(state(2, &["a"]).etag, tag);
        assert_ne!(state(1, &["a", "b"]).etag, tag);
    }

    #[test]
    fn a_pointer_reads_back() {
        let state = state(7, &["a"]);
        let pointer = Pointer::parse(&state.pointer("default", None).unwrap()).unwrap();
        assert_eq!((pointer.revision, pointer.counts.namespaces), (7, 1));
        assert_eq!(pointer.readable().unwrap().size, state.bytes.len() as u64);
    }
}
