//! What the cache in Redis promises, kept by real servers.

use std::{
    sync::OnceLock,
    time::{Duration, Instant},
};

use bytes::Bytes;
use flipt_config::{CaCertificates, RedisMode, RedisTls, Ttl};
use flipt_dev_databases as dev;

use super::{DEFAULT_EXPIRY, Redis, Unanswered, expiry};

const MINUTE: Ttl = Ttl::Limited(Duration::from_secs(60));

fn at(port: u16) -> flipt_config::Redis {
    static PROVIDER: OnceLock<()> = OnceLock::new();
    PROVIDER.get_or_init(|| rustls::crypto::aws_lc_rs::default_provider().install_default().unwrap());
    flipt_config::Redis {
        host: "127.0.0.1".to_owned(),
        port,
        mode: RedisMode::Single,
        tls: None,
        username: String::new(),
        password: None,
        database: 0,
        prefix: String::new(),
        net_timeout: Duration::ZERO,
    }
}

async fn connect(config: &flipt_config::Redis) -> Redis {
    Redis::connect(config, MINUTE).await.unwrap()
}

async fn refused(config: &flipt_config::Redis) -> String {
    match Redis::connect(config, MINUTE).await {
        Ok(_) => panic!("connected"),
        Err(error) => error.to_string(),
    }
}

const VALUE: &[u8] = b"\0value\xff";

/// What is under a key, and how long it took until Redis was asked and answered: a machine that is busy for half a
/// second is an outage, too.
async fn until_it_answers(redis: &Redis, key: &str) -> (Option<Bytes>, Duration) {
    let start = Instant::now();
    loop {
        if let Ok(found) = redis.get(key).await {
            return (found, start.elapsed());
        }
        assert!(start.elapsed() < Duration::from_secs(60), "still left alone");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn found(redis: &Redis, key: &str) -> Option<Bytes> {
    until_it_answers(redis, key).await.0
}

async fn stores(redis: &Redis, key: &str) {
    for _ in 0..3 {
        if redis.set(key, Bytes::from_static(VALUE)).await.is_ok() {
            return;
        }
        until_it_answers(redis, key).await;
    }
    panic!("{key} is not stored");
}

async fn keeps(redis: &Redis, key: &str) {
    stores(redis, key).await;
    assert_eq!(found(redis, key).await.as_deref(), Some(VALUE), "{key}");
}

#[tokio::test]
async fn values_are_kept_for_the_ttl_in_the_configured_database() {
    let server = dev::Redis::start();
    let redis = connect(&flipt_config::Redis { database: 3, ..at(server.port()) }).await;
    assert_eq!(found(&redis, "k").await, None);
    keeps(&redis, "k").await;
    assert_eq!(server.cli(&["-n", "3", "exists", "k"]), "1");
    let left: u64 = server.cli(&["-n", "3", "pttl", "k"]).parse().unwrap();
    assert!((50_000..=60_000).contains(&left), "{left}");

    let ttl = Duration::from_secs(1);
    let short = Redis::connect(&at(server.port()), Ttl::Limited(ttl)).await.unwrap();
    let start = Instant::now();
    stores(&short, "s").await;
    assert!(found(&short, "s").await.is_some() || start.elapsed() >= ttl);
    tokio::time::sleep(ttl + Duration::from_millis(100)).await;
    assert_eq!(found(&short, "s").await, None);

    let never = Redis::connect(&at(server.port()), Ttl::Negative).await.unwrap();
    stores(&never, "n").await;
    assert_eq!(found(&never, "n").await, None);
}

#[tokio::test]
async fn a_user_with_rights_to_the_prefix_alone_is_enough() {
    let rights = ["on", ">s3cret-word", "~flipt-kubernetes:*", "+get", "+set", "+ping"];
    let arguments: Vec<&str> =
        ["--requirepass", "root-word", "--user", "flags"].into_iter().chain(rights).collect();
    let server = dev::Redis::start_with(&arguments);
    let named = |username: &str, password: &str| flipt_config::Redis {
        username: username.to_owned(),
        password: Some(secret(password)),
        ..at(server.port())
    };
    let redis = connect(&named("flags", "s3cret-word")).await;
    keeps(&redis, "flipt-kubernetes:1:x").await;
    // A refusal is no outage.
    assert_eq!(redis.get("other").await, Err(Unanswered));
    keeps(&redis, "flipt-kubernetes:1:y").await;
    // The password alone is the default user's.
    keeps(&connect(&named("", "root-word")).await, "k").await;

    for (username, password) in [("flags", "s3cret-w0rd"), ("nobody", "s3cret-word"), ("", "s3cret-word")] {
        let error = refused(&named(username, password)).await;
        assert!(error.starts_with("connecting to redis: 127.0.0.1:"), "{error}");
        assert!(!error.contains("s3cret") && error.contains("assword"), "{error}");
    }
    let error = refused(&at(server.port())).await;
    assert!(error.starts_with("connecting to redis: ") && error.contains("NOAUTH"), "{error}");
}

/// A secret can only be read from a configuration.
fn secret(text: &str) -> flipt_config::Secret {
    let environment = [("FLIPT_CACHE_REDIS_PASSWORD".to_owned(), text.to_owned())].into();
    flipt_config::load(None, &environment).unwrap().config.cache.redis.password.unwrap()
}

#[tokio::test]
async fn tls_trusts_the_configured_authority_beside_the_systems() {
    let server = dev::Redis::start_with_tls(&[]);
    let with = |tls| flipt_config::Redis { tls: Some(tls), ..at(server.port()) };
    let text = std::fs::read_to_string(server.authority()).unwrap();
    let file = CaCertificates::File(server.authority());
    let tls = RedisTls::Verified(Some(file));
    keeps(&connect(&with(tls.clone())).await, "k").await;
    keeps(&connect(&with(RedisTls::Verified(Some(CaCertificates::Text(text))))).await, "k").await;
    keeps(&connect(&with(RedisTls::Unverified)).await, "k").await;
    let by_name = flipt_config::Redis { host: "localhost".to_owned(), ..with(tls.clone()) };
    keeps(&connect(&by_name).await, "k").await;

    let error = refused(&with(RedisTls::Verified(None))).await;
    assert!(error.contains("certificate"), "{error}");
    let other = dev::Redis::start_with_tls(&[]);
    let foreign = CaCertificates::File(other.authority());
    let error = refused(&with(RedisTls::Verified(Some(foreign)))).await;
    assert!(error.contains("certificate"), "{error}");
    let error = refused(&with(RedisTls::Verified(Some(CaCertificates::Text("x".to_owned()))))).await;
    assert!(error.contains("cache.redis.ca_cert_bytes"), "{error}");
    let error = refused(&with(RedisTls::Verified(Some(CaCertificates::File("/no/file".into()))))).await;
    assert!(error.contains("cache.redis.ca_cert_path: reading /no/file"), "{error}");
    let plain = flipt_config::Redis { net_timeout: Duration::from_millis(200), ..at(server.port()) };
    assert!(refused(&plain).await.starts_with("connecting to redis: "));
}

#[tokio::test]
async fn a_cluster_keeps_each_value_on_one_of_its_servers_and_survives_the_loss_of_one() {
    let mut cluster = dev::RedisCluster::start();
    let config =
        flipt_config::Redis { mode: RedisMode::Cluster, database: 7, ..at(cluster.nodes()[0].port()) };
    let redis = connect(&config).await;
    for number in 0..30 {
        keeps(&redis, &format!("k{number}")).await;
    }
    let sizes: Vec<u64> = cluster.nodes().iter().map(|node| node.cli(&["dbsize"]).parse().unwrap()).collect();
    assert!(sizes.iter().sum::<u64>() == 30 && sizes.iter().all(|size| *size > 0), "{sizes:?}");

    // The one that was named, too.
    for lost in [1, 0] {
        cluster.node(lost).kill();
        let start = Instant::now();
        for number in 0..30 {
            let _ = redis.get(&format!("k{number}")).await;
        }
        assert!(start.elapsed() < Duration::from_secs(10), "{:?}", start.elapsed());
        cluster.node(lost).restart();
        cluster.wait_until_ready();
        until_it_answers(&redis, "k").await;
        for number in 0..30 {
            stores(&redis, &format!("k{number}")).await;
        }
    }
}

#[tokio::test]
async fn a_killed_server_costs_nobody_much_and_is_used_again_when_it_is_back() {
    let mut server = dev::Redis::start();
    let redis = connect(&at(server.port())).await;
    keeps(&redis, "k").await;
    for round in 0..2 {
        server.kill();
        let start = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(redis.get("k").await, Err(Unanswered));
            assert_eq!(redis.set("k", Bytes::new()).await, Err(Unanswered));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        server.restart();
        let (value, back) = until_it_answers(&redis, "k").await;
        assert!(back < Duration::from_secs(15), "{back:?}");
        assert_eq!(value, None, "round {round}: the server lost what it had");
        keeps(&redis, "k").await;
    }
}

#[tokio::test]
async fn a_server_that_hangs_is_waited_for_once_by_all_who_ask() {
    let server = dev::Redis::start();
    let config = flipt_config::Redis { net_timeout: Duration::from_millis(100), ..at(server.port()) };
    for (config, most) in [(&config, 200), (&at(server.port()), 500)] {
        let redis = connect(config).await;
        keeps(&redis, "k").await;
        assert_eq!(server.cli(&["client", "pause", "10000", "all"]), "OK");
        let start = Instant::now();
        let asking: Vec<_> = (0..50)
            .map(|_| {
                let redis = redis.clone();
                tokio::spawn(async move { redis.get("k").await })
            })
            .collect();
        for asked in asking {
            assert_eq!(asked.await.unwrap(), Err(Unanswered));
        }
        let first = start.elapsed();
        let most = Duration::from_millis(most);
        assert!(first >= most && first < most + Duration::from_secs(3), "{first:?}");
        let start = Instant::now();
        for _ in 0..1_000 {
            assert_eq!(redis.get("k").await, Err(Unanswered));
        }
        assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
        until_it_answers(&redis, "k").await;
        keeps(&redis, "k").await;
    }
}

#[tokio::test]
async fn a_full_server_takes_nothing_but_goes_on_answering() {
    let server = dev::Redis::start();
    let redis = connect(&at(server.port())).await;
    keeps(&redis, "k").await;
    server.cli(&["config", "set", "maxmemory", "1"]);
    for _ in 0..3 {
        assert_eq!(redis.set("more", Bytes::from_static(b"v")).await, Err(Unanswered));
        assert!(found(&redis, "k").await.is_some());
    }
    server.cli(&["config", "set", "maxmemory", "0"]);
    keeps(&redis, "more").await;
}

#[tokio::test]
async fn without_a_server_nothing_starts() {
    let port = dev::free_port();
    let error = refused(&at(port)).await;
    assert!(error.starts_with(&format!("connecting to redis: 127.0.0.1:{port}: ")), "{error}");
    let cluster = flipt_config::Redis { mode: RedisMode::Cluster, ..at(port) };
    let error = refused(&cluster).await;
    assert!(error.starts_with(&format!("connecting to redis: 127.0.0.1:{port}: ")), "{error}");
}

#[test]
fn the_ttl_follows_the_rules_of_redis() {
    let of = |millis| expiry(Ttl::Limited(Duration::from_millis(millis)));
    assert_eq!(of(1_500), Some(Duration::from_millis(1_500)));
    assert_eq!(of(999), Some(DEFAULT_EXPIRY));
    assert_eq!(expiry(Ttl::Zero), Some(DEFAULT_EXPIRY));
    assert_eq!(expiry(Ttl::Negative), None);
}
