//! Promises of migrations.

use flipt_proto::flipt as pb;
use flipt_store::{
    Database, DatabaseOptions, SqlStore, Store as _, StoreError,
    migrations::{self, Policy},
};

use crate::databases::{Kind, on_every_database};

async fn connect(url: &str) -> Database {
    Database::open(url, DatabaseOptions::default()).await.unwrap()
}

async fn a_database_behind_is_refused_until_it_is_migrated(kind: Kind) {
    let (url, _folder) = kind.create();
    let database = connect(&url).await;
    assert!(matches!(migrations::check(&database).await, Err(StoreError::MigrationsPending)));
    let migrated = migrations::run(&database, Policy::FirstRun).await.unwrap();
    assert_eq!(migrated.from, None);
    migrations::check(&database).await.unwrap();
    assert_eq!(migrations::run(&database, Policy::FirstRun).await.unwrap().from, Some(migrated.to));
    kind.sql(&url, "UPDATE schema_migrations SET version = 12").await;
    let refused = migrations::run(&database, Policy::FirstRun).await.unwrap_err();
    assert_eq!(
        refused.to_string(),
        "migrations pending, please backup your database and run `flipt migrate`"
    );
    kind.sql(&url, "UPDATE schema_migrations SET version = 99").await;
    assert_eq!(migrations::run(&database, Policy::FirstRun).await.unwrap().to, 99);
    kind.sql(&url, "UPDATE schema_migrations SET dirty = TRUE").await;
    let dirty = migrations::run(&database, Policy::Forced).await.unwrap_err();
    assert_eq!(dirty.to_string(), "Dirty database version 99. Fix and force version.");
}

async fn of_several_servers_that_start_at_once_one_migrates(kind: Kind) {
    let (url, _folder) = kind.create();
    let starting = (0..6).map(|_| {
        let url = url.clone();
        tokio::spawn(async move {
            let database = connect(&url).await;
            let migrated = migrations::run(&database, Policy::FirstRun).await.unwrap();
            let store = SqlStore::open(database).await.unwrap();
            let version = store.live().version.clone();
            store.close().await;
            (migrated.from, version)
        })
    });
    let mut first = 0;
    let mut versions = Vec::new();
    for started in starting.collect::<Vec<_>>() {
        let (from, version) = started.await.unwrap();
        first += usize::from(from.is_none());
        versions.push(version);
    }
    assert_eq!(first, 1);
    assert!(versions.windows(2).all(|pair| pair[0] == pair[1]), "{versions:?}");
}

on_every_database! {
    a_database_behind_is_refused_until_it_is_migrated,
    of_several_servers_that_start_at_once_one_migrates,
}

#[tokio::test]
async fn a_database_of_flipt_is_taken_over_at_the_first_start() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("flipt.db");
    let recorded = concat!(env!("CARGO_MANIFEST_DIR"), "/../../e2e/conformance/databases/flipt.db");
    std::fs::copy(recorded, &file).unwrap();
    let url = format!("file:{}", file.display());
    let database = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    let migrated = migrations::run(&database, Policy::FirstRun).await.unwrap();
    assert_eq!(migrated.from, Some(15));
    migrations::check(&database).await.unwrap();
    let store = SqlStore::open(database).await.unwrap();
    assert!(
        store
            .get_namespace(&pb::GetNamespaceRequest { key: "legacy".into(), ..Default::default() })
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn a_missing_database_is_not_created_for_readers() {
    let folder = tempfile::tempdir().unwrap();
    let url = format!("file:{}/none.db", folder.path().display());
    let options = DatabaseOptions { create: false, ..Default::default() };
    assert!(Database::open(&url, options).await.is_err());
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
}
