//! Reading from a running server: what it may answer, and what it is sent.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use flipt_snapshots::follow::{PollOutcome, Upstream};
use flipt_snapshots::store::{Got, Precondition, ServerConfig, ServerStore, Store, StoreErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::place::{HEADERS, Place, Reader, keys};

type Answers = Arc<Mutex<Box<dyn FnMut(&str) -> Vec<u8> + Send>>>;

/// A server that answers each head of a request as told, and remembers them.
pub(crate) struct Told {
    pub(crate) url: String,
    pub(crate) heads: Arc<Mutex<Vec<String>>>,
    answers: Answers,
}

impl Told {
    pub(crate) async fn new(answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let answers: Answers = Arc::new(Mutex::new(Box::new(answer)));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (told, seen) = (Arc::clone(&answers), Arc::clone(&heads));
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let (told, seen) = (Arc::clone(&told), Arc::clone(&seen));
                tokio::spawn(async move {
                    let (mut head, mut byte) = (Vec::new(), [0]);
                    while !head.ends_with(b"\r\n\r\n") {
                        if socket.read_exact(&mut byte).await.is_err() {
                            return;
                        }
                        head.push(byte[0]);
                    }
                    let head = String::from_utf8(head).unwrap();
                    let answer = (told.lock().unwrap())(&head);
                    seen.lock().unwrap().push(head);
                    let _ = socket.write_all(&answer).await;
                });
            }
        });
        Self { url, heads, answers }
    }

    /// Answers otherwise from now on.
    pub(crate) fn tell(&self, answer: impl FnMut(&str) -> Vec<u8> + Send + 'static) {
        *self.answers.lock().unwrap() = Box::new(answer);
    }

    /// What a place holds, as a server offers it.
    pub(crate) async fn offering(place: &Place) -> Self {
        let mut files = Vec::new();
        for key in place.keys("v1/").await {
            let bytes = place.read(&key).await.unwrap();
            files.push((format!("GET /snapshots/{key} "), bytes));
        }
        Self::new(move |head| match files.iter().find(|(start, _)| head.starts_with(start)) {
            Some((_, bytes)) => answer("200 OK", "etag: \"v1\"\r\n", bytes),
            None => answer("404 Not Found", "", b"{}"),
        })
        .await
    }

    pub(crate) fn store(&self) -> Arc<dyn Store> {
        Arc::new(ServerStore::new(ServerConfig::new(&self.url)).unwrap())
    }

    pub(crate) fn asked(&self) -> usize {
        self.heads.lock().unwrap().len()
    }
}

pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Vec<u8> {
    let length = body.len();
    let head = format!("HTTP/1.1 {status}\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

#[tokio::test]
async fn a_server_is_followed_like_a_bucket() {
    let place = Place::folder();
    place.publish(3).await;
    let told = Told::offering(&place).await;
    let mut reader = Reader::new(told.store(), |_| {});
    assert_eq!(reader.loads().await.revision, 3);
    let state = reader.follower.status().state();
    assert_eq!(state.source.unwrap().name(), "server");
    assert!(told.heads.lock().unwrap()[0].starts_with("GET /snapshots/v1/default/current.json HTTP/1.1\r\n"));

    // The server says that nothing changed: then the state is true as of now.
    told.tell(|head| {
        assert!(head.contains("if-none-match: \"v1\""), "{head}");
        answer("304 Not Modified", "", b"")
    });
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(reader.poll().await, PollOutcome::NotModified);
    assert!(reader.follower.status().state().verified_at > state.verified_at);
}

#[tokio::test]
async fn the_token_is_read_at_every_request_and_never_told() {
    let told = Told::new(|_| answer("401 Unauthorized", "", br#"{"code":16,"message":"who?"}"#)).await;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("token");
    let config = ServerConfig { token_file: Some(path.clone()), ..ServerConfig::new(&told.url) };
    let store = ServerStore::new(config).unwrap();
    let read = || store.get("v1/default/current.json", None, 100);
    let missing = read().await.unwrap_err();
    assert_eq!(missing.kind, StoreErrorKind::Unauthenticated, "{missing}");
    assert!(missing.to_string().contains("token"), "{missing}");
    for token in ["first-hunter2", "second-hunter2\n"] {
        std::fs::write(&path, token).unwrap();
        let error = read().await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Unauthenticated);
        assert!(error.to_string().contains("who?") && !error.to_string().contains("hunter2"), "{error}");
        let head = told.heads.lock().unwrap().last().unwrap().clone();
        assert!(head.contains(&format!("authorization: Bearer {}\r\n", token.trim())), "{head}");
    }
    std::fs::write(&path, "hunter2\u{1}\n").unwrap();
    let unusable = read().await.unwrap_err().to_string();
    assert!(unusable.contains("no token") && !unusable.contains("hunter2"), "{unusable}");
}

#[tokio::test]
async fn every_answer_of_a_server_has_its_class() {
    use StoreErrorKind as Kind;
    for (status, headers, kind, retry_after) in [
        ("401 Unauthorized", "", Kind::Unauthenticated, None),
        ("403 Forbidden", "", Kind::NotPermitted, None),
        ("429 Too Many Requests", "retry-after: 7\r\n", Kind::Unavailable, Some(7)),
        ("503 Service Unavailable", "retry-after: 99999999\r\n", Kind::Unavailable, Some(300)),
        ("503 Service Unavailable", "retry-after: tomorrow\r\n", Kind::Unavailable, None),
        ("500 Internal Server Error", "", Kind::Unavailable, None),
        ("504 Gateway Timeout", "", Kind::Timeout, None),
        ("302 Found", "location: http://elsewhere/\r\n", Kind::Other, None),
    ] {
        let told = Told::new(move |_| answer(status, headers, b"said")).await;
        let error = told.store().get("v1/default/current.json", None, 100).await.unwrap_err();
        assert_eq!(error.kind, kind, "{status}: {error}");
        assert_eq!(error.retry_after, retry_after.map(Duration::from_secs), "{status}");
        assert!(error.to_string().contains(&told.url) && error.to_string().contains("said"), "{error}");
    }
    let told = Told::new(|_| answer("404 Not Found", "", b"")).await;
    assert_eq!(told.store().get("a", None, 9).await.unwrap(), Got::Missing);
}

#[tokio::test]
async fn a_server_is_not_believed_beyond_limits() {
    let told = Told::new(|_| answer("200 OK", "", &[b'x'; 100])).await;
    assert_eq!(told.store().get("a", None, 99).await.unwrap_err().kind, StoreErrorKind::TooLarge);
    // Without a length.
    told.tell(|_| [&b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"[..], &[b'x'; 100]].concat());
    assert_eq!(told.store().get("a", None, 99).await.unwrap_err().kind, StoreErrorKind::TooLarge);
    // Less than announced.
    told.tell(|_| b"HTTP/1.1 200 OK\r\ncontent-length: 50\r\n\r\nx".to_vec());
    assert_eq!(told.store().get("a", None, 99).await.unwrap_err().kind, StoreErrorKind::Unreachable);
    told.tell(|_| b"no HTTP at all\r\n\r\n".to_vec());
    assert_eq!(told.store().get("a", None, 99).await.unwrap_err().kind, StoreErrorKind::Unreachable);
}

#[tokio::test]
async fn nothing_is_written_to_a_server() {
    let told = Told::new(|_| answer("200 OK", "", b"")).await;
    let store = told.store();
    let put = store.put("a", Vec::new(), Precondition::None, HEADERS).await;
    assert_eq!(put.unwrap_err().kind, StoreErrorKind::Unsupported);
    assert_eq!(store.delete("a").await.unwrap_err().kind, StoreErrorKind::Unsupported);
    assert_eq!(store.list("a/").await.unwrap_err().kind, StoreErrorKind::Unsupported);
    assert_eq!(told.asked(), 0);
}

#[tokio::test]
async fn an_overloaded_server_is_left_alone_for_as_long_as_it_wants() {
    let place = Place::folder();
    place.publish(1).await;
    let told = Told::new(|_| answer("503 Service Unavailable", "retry-after: 2\r\n", b"")).await;
    let reader = Reader::new(told.store(), |_| {});
    let status = reader.follower.status();
    let mut follower = reader.follower;
    let started = Instant::now();
    let heads = Arc::clone(&told.heads);
    let stop = async {
        while heads.lock().unwrap().len() < 2 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), follower.run(|_, _| Ok(()), stop)).await.unwrap();
    // Without a wish, the first pause is at most one second.
    assert!(started.elapsed() >= Duration::from_secs(2), "{:?}", started.elapsed());
    assert_eq!(status.state().upstream, Some(Upstream::Unreachable));
    assert!(keys().pointer().ends_with("current.json"));
}
