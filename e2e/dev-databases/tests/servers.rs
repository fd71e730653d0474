//! What the private servers promise to tests.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_dev_databases::{Durability, MariaDb, Postgres, Redis, RedisCluster};

#[test]
fn postgresql_keeps_what_was_committed_before_it_was_killed() {
    let mut server = Postgres::start(Durability::Processes);
    let url = server.create_database();
    assert!(url.ends_with("/test_0?sslmode=disable"), "{url}");
    server.psql("test_0", "CREATE TABLE t (a int); INSERT INTO t VALUES (7)");
    server.kill();
    server.restart();
    assert_eq!(server.psql("test_0", "SELECT a FROM t"), "7");
}

#[test]
fn mariadb_keeps_what_was_committed_before_it_was_killed() {
    let mut server = MariaDb::start(Durability::Processes);
    let url = server.create_database();
    assert!(url.ends_with("/test_0"), "{url}");
    server.sql("test_0", "CREATE TABLE t (a int) ENGINE=InnoDB; INSERT INTO t VALUES (7)");
    server.kill();
    server.restart();
    assert_eq!(server.sql("test_0", "SELECT a FROM t"), "7");
}

#[test]
fn redis_answers_alone_with_tls_and_as_a_cluster() {
    for mut server in [Redis::start(), Redis::start_with_tls(&[])] {
        server.cli(&["set", "key", "value"]);
        assert_eq!(server.cli(&["get", "key"]), "value");
        server.kill();
        server.restart();
        assert_eq!(server.cli(&["get", "key"]), "");
    }
    let cluster = RedisCluster::start();
    for node in cluster.nodes() {
        assert_eq!(node.cli(&["-c", "set", "key", "value"]), "OK");
    }
}
