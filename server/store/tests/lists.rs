//! What lists of flags show, and what single flags show (api spec, section 10).

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use flipt_proto::{flipt as pb, json_to_struct};
use flipt_store::{
    Database, DatabaseOptions, Environment as _, SqlStore, Store,
    migrations::{self, Policy},
};

const GIVEN: &str = r#"{ "z" : 1 }"#;
const COMPACT: &str = r#"{"z":1}"#;

async fn store(folder: &tempfile::TempDir) -> SqlStore {
    let url = format!("file:{}/flipt.db", folder.path().display());
    let database = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    migrations::run(&database, Policy::FirstRun).await.unwrap();
    SqlStore::open(database).await.unwrap()
}

async fn get(store: &SqlStore) -> pb::Flag {
    store.get_flag(&pb::GetFlagRequest { key: "f".into(), ..Default::default() }).await.unwrap()
}

async fn listed(store: &SqlStore) -> pb::Flag {
    store.list_flags(&pb::ListFlagRequest::default()).await.unwrap().flags.pop().unwrap()
}

#[tokio::test]
async fn lists_show_attachments_as_given_and_everything_else_compacts_them() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let flag = pb::CreateFlagRequest { key: "f".into(), name: "F".into(), ..Default::default() };
    store.create_flag(&flag).await.unwrap();
    let variant = pb::CreateVariantRequest {
        flag_key: "f".into(),
        key: "v".into(),
        attachment: GIVEN.into(),
        ..Default::default()
    };
    let created = store.create_variant(&variant).await.unwrap();
    assert_eq!(created.attachment, COMPACT);
    let default = pb::UpdateFlagRequest {
        key: "f".into(),
        name: "F".into(),
        default_variant_id: created.id,
        ..Default::default()
    };
    store.update_flag(&default).await.unwrap();
    assert_eq!(listed(&store).await.variants[0].attachment, GIVEN);
    assert_eq!(get(&store).await.variants[0].attachment, COMPACT);
    let (snapshot, _) = store.namespace_snapshot("default").await.unwrap();
    assert_eq!(snapshot.flags[0].default_variant.as_ref().unwrap().attachment, COMPACT);
    store.close().await;
}

#[tokio::test]
async fn empty_metadata_are_shown_by_lists_and_when_they_are_given() {
    let folder = tempfile::tempdir().unwrap();
    let store = store(&folder).await;
    let empty = json_to_struct(&serde_json::Map::new());
    let flag = pb::CreateFlagRequest {
        key: "f".into(),
        name: "F".into(),
        metadata: Some(empty.clone()),
        ..Default::default()
    };
    assert_eq!(store.create_flag(&flag).await.unwrap().metadata, Some(empty.clone()));
    assert_eq!(get(&store).await.metadata, None);
    assert_eq!(listed(&store).await.metadata, Some(empty));
    store.close().await;
}
