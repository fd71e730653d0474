//! Promises that hold whatever lies between the store and its database.

use flipt_proto::flipt as pb;
use flipt_store::{Database, DatabaseOptions, SqlStore, Store as _, StoreError};

use crate::{
    databases::{Fixture, Kind, fixture, on_every_database},
    replicas::{assert_current, flag, is_on, switch},
};

async fn everything_works_without_prepared_statements(kind: Kind) {
    let Fixture { url, store, _folder } = fixture(kind).await;
    let options = DatabaseOptions { prepared_statements: false, ..Default::default() };
    let plain = SqlStore::open(Database::open(&url, options).await.unwrap()).await.unwrap();
    for number in 0..5 {
        plain.create_flag(&flag(&format!("f{number}"), true)).await.unwrap();
    }
    switch(&plain, "f1", false).await.unwrap();
    store.refresh().await.unwrap();
    assert_eq!((is_on(&plain, "f1"), is_on(&store, "f1")), (Some(false), Some(false)));
    assert_current(&plain).await;
}

async fn text_that_the_database_cannot_hold_is_the_callers_mistake(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let long = pb::CreateFlagRequest { name: "x".repeat(300), ..flag("f", true) };
    match store.create_flag(&long).await {
        // SQLite does not count.
        Ok(_) => assert_eq!(kind, Kind::Sqlite),
        Err(error) => assert!(matches!(&error, StoreError::Invalid(text) if text.contains("255")), "{error}"),
    }
    let nul = pb::CreateFlagRequest { description: "a\0b".into(), ..flag("g", true) };
    match store.create_flag(&nul).await {
        Ok(_) => assert!(!matches!(kind, Kind::Postgres | Kind::Cockroach)),
        Err(error) => assert!(matches!(&error, StoreError::Invalid(text) if text.contains("NUL")), "{error}"),
    }
    assert_current(&store).await;
}

on_every_database! {
    everything_works_without_prepared_statements,
    text_that_the_database_cannot_hold_is_the_callers_mistake,
}
