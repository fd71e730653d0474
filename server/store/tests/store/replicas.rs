//! Promises of several servers on one database.

use std::{sync::Arc, time::Duration};

use flipt_evaluation::Request;
use flipt_proto::flipt as pb;
use flipt_store::{
    AuthenticationStore as _, Database, DatabaseOptions, Environment as _, NewAuthentication,
    SqlEnvironments, SqlStore, Store as _, StoreError,
};

use crate::databases::{Fixture, Kind, fixture, on_every_database, open};

pub(crate) fn flag(key: &str, enabled: bool) -> pb::CreateFlagRequest {
    pb::CreateFlagRequest {
        key: key.into(),
        name: key.into(),
        enabled,
        r#type: pb::FlagType::BooleanFlagType.into(),
        ..Default::default()
    }
}

pub(crate) async fn switch(store: &SqlStore, key: &str, enabled: bool) -> Result<pb::Flag, StoreError> {
    let update = pb::UpdateFlagRequest { key: key.into(), name: key.into(), enabled, ..Default::default() };
    store.update_flag(&update).await
}

pub(crate) fn is_on(store: &SqlStore, key: &str) -> Option<bool> {
    let live = store.live();
    let request = Request { namespace: "default", flag: key, entity: "e", context: &() };
    live.snapshot.boolean(&request).ok().map(|result| result.enabled)
}

/// The compiled state, to be compared.
pub(crate) async fn assert_current(store: &SqlStore) {
    let (state, version) = store.read_state().await.unwrap();
    let live = store.live();
    assert_eq!(live.version, version);
    let fresh = flipt_evaluation::Snapshot::compile(&state);
    let sides = [&live.snapshot, &fresh].map(|snapshot| {
        let namespaces = snapshot.namespaces();
        namespaces.map(|namespace| namespace.as_ref().clone()).collect::<Vec<_>>()
    });
    // Not `assert_eq`: what differs would fill pages.
    assert!(sides[0] == sides[1], "the compiled state is not what the database holds");
}

async fn many_clients_write_through_two_servers_and_nothing_is_lost(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let other = open(&url).await;
    let stores = [Arc::new(store), Arc::new(other)];
    store_rule_target(&stores[0]).await;
    let writes = (0..64).map(|number| {
        let store = Arc::clone(&stores[number % 2]);
        tokio::spawn(async move {
            store.create_flag(&flag(&format!("f{number}"), false)).await.unwrap();
            // Ranks are found and given in one write: none may come twice.
            let rule = pb::CreateRolloutRequest {
                flag_key: "shared".into(),
                rank: i32::try_from(number).unwrap() + 1,
                rule: Some(pb::create_rollout_request::Rule::Threshold(pb::RolloutThreshold {
                    percentage: 1.0,
                    value: true,
                })),
                ..Default::default()
            };
            store.create_rollout(&rule).await.unwrap();
            switch(&store, &format!("f{number}"), true).await.unwrap();
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap();
    }
    for store in &stores {
        store.refresh().await.unwrap();
        assert_current(store).await;
        assert!((0..64).all(|number| is_on(store, &format!("f{number}")) == Some(true)));
        // One revision per write, and the first one.
        assert_eq!(store.live().version.revision, 1 + 1 + 3 * 64);
    }
}

async fn store_rule_target(store: &SqlStore) {
    store.create_flag(&flag("shared", true)).await.unwrap();
}

async fn following_a_change_takes_as_many_statements_with_many_flags_as_with_few(kind: Kind) {
    let mut statements = Vec::new();
    for flags in [3, 40] {
        let Fixture { store, url, _folder } = fixture(kind).await;
        for number in 0..flags {
            store.create_flag(&flag(&format!("f{number}"), false)).await.unwrap();
        }
        let follower = open(&url).await;
        let before = (store.database().statements(), follower.database().statements());
        switch(&store, "f1", true).await.unwrap();
        follower.refresh().await.unwrap();
        let after = (store.database().statements(), follower.database().statements());
        assert_eq!(is_on(&follower, "f1"), Some(true));
        assert_current(&follower).await;
        statements.push((after.0 - before.0, after.1 - before.1));
    }
    assert_eq!(statements[0], statements[1]);
    assert!(statements[0].1 < 20, "{statements:?}");
}

async fn whoever_is_far_behind_or_finds_a_gap_reads_everything(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let follower = open(&url).await;
    store.create_flag(&flag("f", false)).await.unwrap();
    for number in 0..600 {
        switch(&store, "f", number % 2 == 0).await.unwrap();
    }
    switch(&store, "f", true).await.unwrap();
    follower.refresh().await.unwrap();
    assert_eq!(is_on(&follower, "f"), Some(true));
    assert_current(&follower).await;
    switch(&store, "f", false).await.unwrap();
    store.create_flag(&flag("g", true)).await.unwrap();
    // As a program that does not know the log leaves it.
    kind.sql(&url, "DELETE FROM changes WHERE revision = (SELECT MAX(revision) - 1 FROM environments)").await;
    follower.refresh().await.unwrap();
    assert_eq!((is_on(&follower, "f"), is_on(&follower, "g")), (Some(false), Some(true)));
    assert_current(&follower).await;
}

async fn deletions_and_whole_namespaces_are_followed(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    store.create_flag(&flag("f", true)).await.unwrap();
    let namespace =
        pb::CreateNamespaceRequest { key: "web".into(), name: "Web".into(), ..Default::default() };
    store.create_namespace(&namespace).await.unwrap();
    let follower = open(&url).await;
    store.delete_flag(&pb::DeleteFlagRequest { key: "f".into(), ..Default::default() }).await.unwrap();
    let in_web = pb::CreateFlagRequest { namespace_key: "web".into(), ..flag("w", true) };
    store.create_flag(&in_web).await.unwrap();
    follower.refresh().await.unwrap();
    assert_eq!(is_on(&follower, "f"), None);
    assert!(follower.live().snapshot.flag("web", "w").is_ok());
    let delete = pb::DeleteNamespaceRequest { key: "web".into(), force: true };
    store.delete_namespace(&delete).await.unwrap();
    follower.refresh().await.unwrap();
    assert!(follower.live().snapshot.namespace("web").is_none());
    assert!(!follower.live().namespaces.contains_key("web"));
    assert_current(&follower).await;
}

async fn the_revision_of_a_namespace_moves_with_its_writes_alone_on_every_server(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let namespace =
        pb::CreateNamespaceRequest { key: "web".into(), name: "Web".into(), ..Default::default() };
    store.create_namespace(&namespace).await.unwrap();
    let other = open(&url).await;
    let before = (store.namespace_revision("default"), store.namespace_revision("web"));
    assert_eq!(before, (other.namespace_revision("default"), other.namespace_revision("web")));
    store.create_flag(&flag("f", true)).await.unwrap();
    other.refresh().await.unwrap();
    for server in [&store, &other] {
        assert_ne!(server.namespace_revision("default"), before.0);
        assert_eq!(server.namespace_revision("web"), before.1);
    }
    assert_eq!(store.namespace_revision("default"), other.namespace_revision("default"));
    assert_eq!(store.namespace_revision("default"), open(&url).await.namespace_revision("default"));
}

async fn the_version_of_a_namespace_never_goes_back_although_clocks_differ(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let future =
        if kind == Kind::Sqlite { "'2037-01-01 00:00:00.000000+00:00'" } else { "'2037-01-01 00:00:00'" };
    kind.sql(&url, &format!("UPDATE namespaces SET state_modified_at = {future}")).await;
    let server_ahead = open(&url).await;
    let before: i64 = server_ahead.namespace_version("default").await.unwrap().parse().unwrap();
    for _ in 0..2 {
        let last: i64 = store.namespace_version("default").await.unwrap().parse().unwrap_or_default();
        switch_or_create(&store).await;
        let after: i64 = store.namespace_version("default").await.unwrap().parse().unwrap();
        assert!(after > before && after > last, "{before} {last} {after}");
    }
}

async fn switch_or_create(store: &SqlStore) {
    if switch(store, "f", true).await.is_err() {
        store.create_flag(&flag("f", true)).await.unwrap();
    }
}

async fn the_revision_of_credentials_reaches_every_server(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let database = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    let other = SqlEnvironments::open(database, "default", []).await.unwrap();
    let seen = other.authentications();
    let before = (store.revision(), seen.revision());
    assert_eq!(before.0, before.1);
    let new = NewAuthentication {
        method: flipt_proto::auth::Method::Token,
        token_hash: "hash".into(),
        expires_at: Some(4_000_000_000_000_000),
        metadata: [("owner".to_owned(), "tests".to_owned())].into(),
    };
    let created = store.create_authentication(&new).await.unwrap();
    assert_ne!(store.revision(), before.0);
    assert_eq!(created.expires_at.unwrap().seconds, 4_000_000_000);
    other.refresh().await.unwrap();
    assert_eq!(seen.revision(), store.revision());
    // Reading, and deleting what is not there, change nothing.
    let unchanged = store.revision();
    store.delete_authentication("none").await.unwrap();
    assert!(store.create_first_authentication(&new).await.unwrap().is_none());
    assert_eq!(store.revision(), unchanged);
    store.delete_authentication(&created.id).await.unwrap();
    other.refresh().await.unwrap();
    assert_ne!(seen.revision(), unchanged);
}

async fn a_write_is_told_to_whoever_listens(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let other = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    let Some(mut listener) = other.listen().await.unwrap() else {
        // Others are asked a few times a second.
        assert_ne!(kind, Kind::Postgres);
        return;
    };
    assert_eq!(kind, Kind::Postgres);
    store.create_flag(&flag("f", true)).await.unwrap();
    tokio::time::timeout(Duration::from_secs(30), listener.changed()).await.unwrap().unwrap();
}

on_every_database! {
    many_clients_write_through_two_servers_and_nothing_is_lost,
    following_a_change_takes_as_many_statements_with_many_flags_as_with_few,
    whoever_is_far_behind_or_finds_a_gap_reads_everything,
    deletions_and_whole_namespaces_are_followed,
    the_revision_of_a_namespace_moves_with_its_writes_alone_on_every_server,
    the_version_of_a_namespace_never_goes_back_although_clocks_differ,
    the_revision_of_credentials_reaches_every_server,
    a_write_is_told_to_whoever_listens,
}
