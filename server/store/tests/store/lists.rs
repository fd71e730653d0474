//! What lists of flags show, and what single flags show (api spec, section 10).

use flipt_proto::{flipt as pb, json_to_struct};
use flipt_store::{Environment as _, SqlStore, Store};

use crate::databases::{Fixture, Kind, fixture, on_every_database};

const GIVEN: &str = r#"{ "z" : 1 }"#;
const COMPACT: &str = r#"{"z":1}"#;

async fn get(store: &SqlStore) -> pb::Flag {
    store.get_flag(&pb::GetFlagRequest { key: "f".into(), ..Default::default() }).await.unwrap()
}

async fn listed(store: &SqlStore) -> pb::Flag {
    store.list_flags(&pb::ListFlagRequest::default()).await.unwrap().flags.pop().unwrap()
}

async fn lists_show_attachments_as_given_and_everything_else_compacts_them(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
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
    // PostgreSQL keeps attachments in a form of its own.
    let kept = if matches!(kind, Kind::Postgres | Kind::Cockroach) { r#"{"z": 1}"# } else { GIVEN };
    assert_eq!(listed(&store).await.variants[0].attachment, kept);
    assert_eq!(get(&store).await.variants[0].attachment, COMPACT);
    let (snapshot, _) = store.namespace_snapshot("default").await.unwrap();
    assert_eq!(snapshot.flags[0].default_variant.as_ref().unwrap().attachment, COMPACT);
    store.close().await;
}

async fn empty_metadata_are_shown_by_lists_and_when_they_are_given(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
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

on_every_database! {
    lists_show_attachments_as_given_and_everything_else_compacts_them,
    empty_metadata_are_shown_by_lists_and_when_they_are_given,
}
