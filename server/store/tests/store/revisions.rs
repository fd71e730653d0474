//! Promises of revisions, which caches rest on: they move before a write is answered, and never come back.

use std::{collections::BTreeMap, sync::Arc};

use flipt_proto::{auth, flipt as pb};
use flipt_store::{
    Database, DatabaseOptions, Environment, NewAuthentication, SqlEnvironments, Store as _,
    migrations::{self, Policy},
};

use crate::databases::{Fixture, Kind, fixture, on_every_database, open};

async fn servers(kind: Kind) -> (Vec<Arc<SqlEnvironments>>, Option<tempfile::TempDir>) {
    let (url, folder) = kind.create();
    let mut servers = Vec::new();
    for _ in 0..2 {
        let database = Database::open(&url, DatabaseOptions::default()).await.unwrap();
        migrations::run(&database, Policy::FirstRun).await.unwrap();
        servers.push(Arc::new(SqlEnvironments::open(database, "default", []).await.unwrap()));
    }
    (servers, folder)
}

fn token(hash: String) -> NewAuthentication {
    NewAuthentication {
        method: auth::Method::Token,
        token_hash: hash,
        expires_at: None,
        metadata: BTreeMap::new(),
    }
}

async fn credentials_have_a_new_revision_after_each_change_whatever_others_do(kind: Kind) {
    let (servers, _folder) = servers(kind).await;
    let first = servers[0].authentications();
    let number = move |revision: &str| -> u64 { revision.rsplit('/').next().unwrap().parse().unwrap() };
    // Known from the start: another database's revisions begin with something else.
    assert!(first.revision().len() > 20, "{}", first.revision());
    let refreshing = tokio::spawn({
        let servers = servers.clone();
        async move {
            loop {
                for server in &servers {
                    server.refresh().await.unwrap();
                }
                tokio::task::yield_now().await;
            }
        }
    });
    let mut tasks = tokio::task::JoinSet::new();
    for (place, server) in servers.iter().enumerate() {
        for task in 0..3 {
            let store = server.authentications();
            tasks.spawn(async move {
                for round in 0..15 {
                    let before = number(&store.revision());
                    let new = token(format!("{place}-{task}-{round}"));
                    let created = store.create_authentication(&new).await.unwrap();
                    let between = number(&store.revision());
                    store.delete_authentication(&created.id).await.unwrap();
                    let after = number(&store.revision());
                    assert!(before < between && between < after, "{before}, {between}, {after}");
                    // Whoever read the revision before the change must not bring it back after it.
                    for _ in 0..20 {
                        tokio::task::yield_now().await;
                        assert!(number(&store.revision()) >= after, "{} after {after}", store.revision());
                    }
                }
            });
        }
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    refreshing.abort();
    servers[1].refresh().await.unwrap();
    servers[0].refresh().await.unwrap();
    assert_eq!(first.revision(), servers[1].authentications().revision());
}

async fn a_namespace_has_a_revision_of_its_own(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let team = pb::CreateNamespaceRequest { key: "team".into(), name: "Team".into(), ..Default::default() };
    store.create_namespace(&team).await.unwrap();
    let revisions = || ["", "default", "team"].map(|key| Environment::namespace_revision(&store, key));
    let before = revisions();
    assert_eq!(before[0], before[1]);
    assert_ne!(before[1], before[2]);
    let flag = pb::CreateFlagRequest { key: "f".into(), name: "f".into(), ..Default::default() };
    store.create_flag(&flag).await.unwrap();
    let after = revisions();
    assert_ne!(after[1], before[1]);
    assert_eq!(after[2], before[2]);
    // The same for whoever opens the database later: caches stay valid.
    let other = open(&url).await;
    assert_eq!(Environment::namespace_revision(&other, "team"), after[2]);
    assert_eq!(Environment::namespace_revision(&other, "default"), after[1]);

    // One that is restored counts the same revisions again, for another state.
    let sql = "DELETE FROM changes; UPDATE environments SET revision = revision - 1";
    drop(other);
    kind.sql(&url, sql).await;
    let restored = open(&url).await;
    let flag = pb::UpdateFlagRequest { key: "f".into(), name: "restored".into(), ..Default::default() };
    restored.update_flag(&flag).await.unwrap();
    assert_ne!(Environment::namespace_revision(&restored, "default"), after[1]);
}

on_every_database!(
    credentials_have_a_new_revision_after_each_change_whatever_others_do,
    a_namespace_has_a_revision_of_its_own,
);
