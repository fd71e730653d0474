//! A store that cannot be used: classified, explained, without credentials in any text.

use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use flipt_snapshots::follow::Upstream;
use flipt_snapshots::publish::PublishError;
use flipt_snapshots::store::{
    Credentials, Got, Location, Precondition, Put, S3Config, S3Store, Store, StoreError, StoreErrorKind, open,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::place::{
    ACCESS_KEY, BUCKET, ENVIRONMENT, HEADERS, Place, Reader, SECRET_KEY, options, s3_config, sample, version,
};

async fn store(config: S3Config) -> Arc<dyn Store> {
    Arc::new(S3Store::new(config).await.unwrap())
}

fn without_credentials(text: &str) {
    assert!(!text.contains(ACCESS_KEY) && !text.contains(SECRET_KEY) && !text.contains("wrong-"), "{text}");
}

on_both_stores! {
    async fn a_missing_bucket_or_folder_is_named(place: &Place) {
        let mut reader = Reader::new(place.elsewhere().await, |_| {});
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::Missing);
        assert!(error.message.contains("nothing-here") && error.message.contains("create it"), "{error}");
    }

    async fn no_key_leaves_its_place(place: &Place) {
        for key in ["", "/etc/passwd", "../x", "a/../../x", "a//b", "a\\..\\b"] {
            let put = place.store.put(key, b"x".to_vec(), Precondition::None, HEADERS).await;
            assert_eq!(put.unwrap_err().kind, StoreErrorKind::InvalidKey, "{key}");
            assert_eq!(place.store.get(key, None, 9).await.unwrap_err().kind, StoreErrorKind::InvalidKey);
            assert_eq!(place.store.delete(key).await.unwrap_err().kind, StoreErrorKind::InvalidKey);
        }
    }

    async fn a_read_stops_at_its_limit(place: &Place) {
        place.write("a", vec![b'x'; 100]).await;
        assert!(matches!(place.store.get("a", None, 100).await.unwrap(), Got::Found { .. }));
        assert_eq!(place.store.get("a", None, 99).await.unwrap_err().kind, StoreErrorKind::TooLarge);
    }

    async fn an_unmodified_object_is_not_sent_again(place: &Place) {
        place.write("a", "1").await;
        let etag = place.etag("a").await;
        assert_eq!(place.store.get("a", Some(&etag), 9).await.unwrap(), Got::NotModified);
        place.write("a", "2").await;
        assert!(matches!(place.store.get("a", Some(&etag), 9).await.unwrap(), Got::Found { .. }));
    }

    async fn what_is_not_there_is_missing_everywhere(place: &Place) {
        assert_eq!(place.store.get("a/b", None, 9).await.unwrap(), Got::Missing);
        assert_eq!(place.store.size("a/b").await.unwrap(), None);
        assert_eq!(place.store.list("a/").await.unwrap(), []);
        place.store.delete("a/b").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wrong_credentials_are_told_from_missing_rights() {
    let place = Place::s3().await;
    place.publish(1).await;
    for (id, secret) in [(ACCESS_KEY, "wrong-secret"), ("wrong-id", SECRET_KEY)] {
        let credentials = Credentials::Static {
            access_key_id: id.into(),
            secret_access_key: secret.into(),
            session_token: None,
        };
        let store = store(S3Config { credentials, ..s3_config(place.address()) }).await;
        without_credentials(&format!("{store:?}"));
        let error = store.get("v1/default/current.json", None, 9999).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::WrongCredentials, "{error}");
        without_credentials(&error.to_string());
        let error = Reader::new(Arc::clone(&store), |_| {}).fails().await;
        assert_eq!(error.upstream, Upstream::Forbidden);
        without_credentials(&error.message);
        let published = flipt_snapshots::publish(&*store, ENVIRONMENT, sample(2), version(2), options())
            .await
            .unwrap_err();
        assert!(matches!(published, PublishError::Store(_)));
        without_credentials(&published.to_string());
    }
}

#[tokio::test]
async fn a_closed_port_is_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let started = Instant::now();
    let error = Reader::new(store(s3_config(address)).await, |_| {}).fails().await;
    assert_eq!(error.upstream, Upstream::Unreachable);
    assert!(error.message.contains(&address.to_string()), "{error}");
    assert!(error.message.contains("s3://flags/some/prefix/v1/default/current.json"), "{error}");
    without_credentials(&error.message);
    assert!(started.elapsed() < Duration::from_secs(16), "{:?}", started.elapsed());
}

#[tokio::test]
async fn a_reader_outlives_an_outage() {
    let place = Place::s3().await;
    place.publish(1).await;
    let address = place.address();
    let mut reader = Reader::new(store(s3_config(address)).await, |_| {});
    reader.loads().await;
    drop(place);
    assert_eq!(reader.fails().await.upstream, Upstream::Unreachable);
    assert_eq!(reader.follower.status().state().consecutive_failures, 1);
}

/// Answers every request with the same bytes, and counts the requests.
async fn canned(answer: &'static str) -> (Arc<dyn Store>, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let requests = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&requests);
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            let counter = Arc::clone(&counter);
            tokio::spawn(async move {
                let mut request = vec![0; 64 * 1024];
                if socket.read(&mut request).await.is_ok_and(|read| read > 0) {
                    counter.fetch_add(1, Ordering::SeqCst);
                    let _ = socket.write_all(answer.as_bytes()).await;
                }
            });
        }
    });
    (store(s3_config(address)).await, requests)
}

async fn read_error(answer: &'static str) -> StoreError {
    let (store, _) = canned(answer).await;
    let error = store.get("v1/default/current.json", None, 1000).await.unwrap_err();
    without_credentials(&error.to_string());
    error
}

macro_rules! s3_answer {
    ($status:literal, $code:literal) => {
        concat!(
            "HTTP/1.1 ",
            $status,
            "\r\nContent-Type: application/xml\r\nConnection: close\r\n\r\n",
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<Error><Code>",
            $code,
            "</Code><Message>As told.</Message>",
            "<AWSAccessKeyId>AKIDEXAMPLE</AWSAccessKeyId></Error>"
        )
    };
}

#[tokio::test]
async fn every_answer_has_its_class() {
    use StoreErrorKind as Kind;
    for (answer, kind, needle) in [
        (s3_answer!("403 Forbidden", "AccessDenied"), Kind::Forbidden, "missing"),
        (s3_answer!("403 Forbidden", "RequestTimeTooSkewed"), Kind::ClockSkew, "clock"),
        (s3_answer!("400 Bad Request", "ExpiredToken"), Kind::ExpiredToken, "expired"),
        (s3_answer!("403 Forbidden", "SignatureDoesNotMatch"), Kind::WrongCredentials, "secret"),
        (s3_answer!("404 Not Found", "NoSuchBucket"), Kind::BucketMissing, "flags"),
        (s3_answer!("301 Moved Permanently", "PermanentRedirect"), Kind::WrongRegion, "region"),
        (s3_answer!("501 Not Implemented", "NotImplemented"), Kind::Unsupported, "NotImplemented"),
        (s3_answer!("503 Slow Down", "SlowDown"), Kind::Unavailable, "SlowDown"),
        ("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n", Kind::Forbidden, "403"),
        (
            "HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            Kind::Unavailable,
            "502",
        ),
        ("garbage\r\n\r\n", Kind::Unreachable, "reached"),
    ] {
        let error = read_error(answer).await;
        assert_eq!(error.kind, kind, "{answer}: {error}");
        let text = error.to_string();
        assert!(text.contains(needle), "{answer}: {text}");
        assert!(
            text.contains("s3://flags/some/prefix/v1/default/current.json at http://127.0.0.1:"),
            "{text}"
        );
    }
}

#[tokio::test]
async fn the_status_tells_skewed_clocks_and_missing_rights_apart() {
    for (answer, upstream) in [
        (s3_answer!("403 Forbidden", "AccessDenied"), Upstream::Forbidden),
        (s3_answer!("403 Forbidden", "RequestTimeTooSkewed"), Upstream::ClockSkew),
        (s3_answer!("400 Bad Request", "ExpiredToken"), Upstream::Forbidden),
    ] {
        let (store, _) = canned(answer).await;
        assert_eq!(Reader::new(store, |_| {}).fails().await.upstream, upstream);
    }
}

#[tokio::test]
async fn expired_credentials_are_looked_for_once_more() {
    let (store, requests) = canned(s3_answer!("400 Bad Request", "ExpiredToken")).await;
    let error = store.size("a").await;
    // A HEAD answer has no body, so only reads can tell; both must end.
    assert!(error.is_err());
    requests.store(0, Ordering::SeqCst);
    assert_eq!(store.get("a", None, 9).await.unwrap_err().kind, StoreErrorKind::ExpiredToken);
    let (other, baseline) = canned(s3_answer!("400 Bad Request", "InvalidAccessKeyId")).await;
    assert_eq!(other.get("a", None, 9).await.unwrap_err().kind, StoreErrorKind::WrongCredentials);
    assert_eq!(requests.load(Ordering::SeqCst), 2 * baseline.load(Ordering::SeqCst));
}

/// The head of the one request that `request` makes to a store configured by `change`.
async fn head_of<F: Future<Output = ()>>(
    change: impl FnOnce(&mut S3Config),
    request: impl FnOnce(Arc<dyn Store>) -> F,
) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut config = s3_config(listener.local_addr().unwrap());
    change(&mut config);
    let head = async {
        let (mut socket, _) = listener.accept().await.unwrap();
        let (mut head, mut byte) = (Vec::new(), [0]);
        while !head.ends_with(b"\r\n\r\n") {
            socket.read_exact(&mut byte).await.unwrap();
            head.push(byte[0]);
        }
        let answer = "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        socket.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(head).unwrap().to_lowercase()
    };
    let store = store(config).await;
    let ((), head) = tokio::join!(request(store), head);
    head
}

#[tokio::test]
async fn region_and_path_style_reach_the_wire() {
    let read = |store: Arc<dyn Store>| async move {
        drop(store.get("a", None, 9).await.unwrap());
    };
    for (region, scope) in [(Some("eu-west-3"), "/eu-west-3/s3/aws4_request"), (None, "/s3/aws4_request")] {
        let head = head_of(|config| config.region = region.map(str::to_owned), read).await;
        // The bucket is in the path although nobody said so: there is an endpoint.
        assert!(head.starts_with("get /flags/some/prefix/a"), "{head}");
        assert!(head.contains(scope), "{head}");
    }
    let bare = head_of(|config| config.prefix.clear(), read).await;
    assert!(bare.starts_with("get /flags/a"), "{bare}");
}

#[tokio::test]
async fn writes_carry_their_condition_and_nothing_that_compatible_stores_refuse() {
    let put = |precondition| {
        move |store: Arc<dyn Store>| async move {
            drop(store.put("a", b"content".to_vec(), precondition, HEADERS).await.unwrap());
        }
    };
    let etag = flipt_snapshots::store::Etag("\"abc\"".to_owned());
    for (precondition, present, absent) in [
        (Precondition::None, "content-type: text/plain", "if-"),
        (Precondition::IfAbsent, "\r\nif-none-match: *\r\n", "if-match"),
        (Precondition::IfMatch(etag), "\r\nif-match: \"abc\"\r\n", "if-none-match"),
    ] {
        let head = head_of(|_| {}, put(precondition)).await;
        assert!(head.starts_with("put /flags/some/prefix/a"), "{head}");
        assert!(head.contains(present) && !head.contains(&format!("\r\n{absent}")), "{head}");
        assert!(head.contains("cache-control: no-cache") && head.contains("content-length: 7"), "{head}");
        for refused in ["x-amz-checksum", "x-amz-sdk-checksum", "x-amz-trailer", "aws-chunked"] {
            assert!(!head.contains(refused), "{refused}: {head}");
        }
        assert!(!head.contains(SECRET_KEY), "{head}");
    }
}

#[tokio::test]
async fn an_answer_of_unknown_length_is_cut_off_at_the_limit() {
    let (store, _) = canned(concat!(
        "HTTP/1.1 200 OK\r\nETag: \"x\"\r\nTransfer-Encoding: chunked\r\n\r\n",
        "a\r\n0123456789\r\na\r\n0123456789\r\na\r\n0123456789\r\n"
    ))
    .await;
    assert_eq!(store.get("a", None, 25).await.unwrap_err().kind, StoreErrorKind::TooLarge);
}

#[tokio::test]
async fn an_answer_that_ends_early_is_no_content() {
    let (store, _) =
        canned("HTTP/1.1 200 OK\r\nETag: \"x\"\r\nContent-Length: 30\r\nConnection: close\r\n\r\n0123").await;
    assert_eq!(store.get("a", None, 99).await.unwrap_err().kind, StoreErrorKind::Unreachable);
}

#[tokio::test]
async fn a_silent_endpoint_does_not_hold_anybody_up() {
    let started = Instant::now();
    let (store, _) = canned("").await;
    // The connection is closed without an answer, then one that never answers.
    assert_eq!(store.get("a", None, 9).await.unwrap_err().kind, StoreErrorKind::Unreachable);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let silent = Arc::new(S3Store::new(s3_config(listener.local_addr().unwrap())).await.unwrap());
    let error = silent.get("a", None, 9).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(30), "{:?}", started.elapsed());
}

const CHILD_LOCATION: &str = "FLIPT_TEST_LOCATION";

/// Runs [`reads_with_what_the_environment_says`] in a process of its own.
async fn child(location: &str, environment: &[(&str, String)]) -> bool {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command
        .args(["--exact", "failures::reads_with_what_the_environment_says", "--ignored"])
        .env(CHILD_LOCATION, location)
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .env_remove("AWS_REGION")
        .env_remove("AWS_DEFAULT_REGION")
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null());
    for (name, value) in environment {
        command.env(name, value);
    }
    tokio::task::spawn_blocking(move || command.status().unwrap().success()).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endpoint_and_credentials_may_come_from_the_environment() {
    let place = Place::s3().await;
    place.publish(1).await;
    let location = format!("s3://{BUCKET}/some/prefix");
    let endpoint = format!("http://{}", place.address());
    let keys =
        [("AWS_ACCESS_KEY_ID", ACCESS_KEY.to_owned()), ("AWS_SECRET_ACCESS_KEY", SECRET_KEY.to_owned())];
    for name in ["AWS_ENDPOINT_URL", "AWS_ENDPOINT_URL_S3"] {
        let mut environment = keys.to_vec();
        environment.push((name, endpoint.clone()));
        assert!(child(&location, &environment).await, "{name}");
    }
    // The same by parameter; and without credentials it cannot work.
    let location = format!("{location}?endpoint={endpoint}&region=eu-west-1&pathStyle=true");
    assert!(child(&location, &keys).await);
    assert!(!child(&location, &[]).await);
}

#[tokio::test]
#[ignore = "started by endpoint_and_credentials_may_come_from_the_environment"]
async fn reads_with_what_the_environment_says() {
    let location: Location =
        std::env::var(CHILD_LOCATION).expect("started by the other test").parse().unwrap();
    let store = open(&location).await.unwrap();
    let got = store.get("v1/default/current.json", None, 9999).await.unwrap();
    assert!(matches!(got, Got::Found { .. }));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_location_opens_what_it_names() {
    let folder = tempfile::tempdir().unwrap();
    let location: Location = format!("file://{}", folder.path().display()).parse().unwrap();
    let store = open(&location).await.unwrap();
    let put = store.put("a/b", b"x".to_vec(), Precondition::IfAbsent, HEADERS).await.unwrap();
    assert!(matches!(put, Put::Stored(_)));
    assert_eq!(std::fs::read(folder.path().join("a/b")).unwrap(), b"x");
}
