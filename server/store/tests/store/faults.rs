//! Promises about databases that refuse: each is kept where its fault can happen.

use flipt_proto::flipt as pb;
use flipt_store::{
    Database, DatabaseOptions, Environment as _, SqlStore, Store as _, StoreError,
    migrations::{self, Policy},
};

use crate::{
    databases::{Fixture, Kind, fixture, on_databases, open},
    replicas::{assert_current, flag, is_on, switch},
};

async fn lost_races_are_tried_again_and_end_as_if_nothing_had_happened(kind: Kind) {
    // Some writes to the version's row, and some commits, are refused by the database itself.
    let faults = match kind {
        Kind::Sqlite => panic!("its one writer cannot lose against anybody"),
        Kind::Postgres | Kind::Cockroach => {
            "CREATE SEQUENCE faults;
             CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
               IF nextval('faults') % 5 IN (1, 4) THEN
                 RAISE EXCEPTION 'restart transaction' USING ERRCODE = '40001';
               END IF;
               RETURN NEW;
             END $$;
             CREATE TRIGGER at_once BEFORE UPDATE ON environments FOR EACH ROW EXECUTE FUNCTION refuse();
             CREATE CONSTRAINT TRIGGER at_commit AFTER UPDATE ON environments DEFERRABLE INITIALLY DEFERRED
               FOR EACH ROW EXECUTE FUNCTION refuse();"
        }
        Kind::MariaDb => {
            "CREATE SEQUENCE faults;
             CREATE TRIGGER at_once BEFORE UPDATE ON environments FOR EACH ROW
               IF NEXTVAL(faults) % 2 = 1 THEN SIGNAL SQLSTATE '40001'; END IF;"
        }
    };
    let Fixture { store, url, _folder } = fixture(kind).await;
    kind.sql(&url, faults).await;
    for number in 0..20 {
        store.create_flag(&flag(&format!("f{number}"), true)).await.unwrap();
    }
    assert_eq!(store.live().version.revision, 21);
    assert_current(&store).await;
    assert_eq!(store.live().snapshot.namespace("default").unwrap().flags().count(), 20);
}

async fn a_write_that_loses_for_ever_fails_and_changes_nothing(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    kind.sql(
        &url,
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
           $$ BEGIN RAISE EXCEPTION 'restart transaction' USING ERRCODE = '40001'; END $$;
         CREATE TRIGGER at_once BEFORE UPDATE ON environments FOR EACH ROW EXECUTE FUNCTION refuse();",
    )
    .await;
    let lost = store.create_flag(&flag("f", true)).await.unwrap_err();
    assert!(matches!(lost, StoreError::Contended), "{lost}");
    assert_eq!(is_on(&store, "f"), None);
    assert_current(&store).await;
}

async fn a_database_that_only_reads_serves_and_refuses_writes(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    store.create_flag(&flag("f", true)).await.unwrap();
    let name = url.rsplit('/').next().unwrap().split('?').next().unwrap();
    kind.sql(&url, &format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).await;
    // As on a replica of the database: connections from now on can only read.
    let reader = open(&url).await;
    assert_eq!(is_on(&reader, "f"), Some(true));
    let refused = reader.create_flag(&flag("g", true)).await.unwrap_err();
    assert!(matches!(refused, StoreError::ReadOnly), "{refused}");
    switch(&store, "f", false).await.unwrap();
    reader.refresh().await.unwrap();
    assert_eq!(is_on(&reader, "f"), Some(false));
}

async fn a_migration_that_was_cut_off_is_finished_by_the_next_one(kind: Kind) {
    let (url, _folder) = kind.create();
    let database = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    let to = migrations::run(&database, Policy::FirstRun).await.unwrap().to;
    // As a kill before the last statement of the last steps leaves it where each statement commits by itself.
    // Elsewhere the whole run would have left no trace.
    kind.sql(&url, "UPDATE schema_migrations SET version = version - 3").await;
    let plan = migrations::plan(&database).await.unwrap();
    assert_eq!((plan.from, plan.to, plan.steps.len()), (Some(to - 3), to, 3));
    let migrated = migrations::run(&database, Policy::Forced).await.unwrap();
    assert_eq!((migrated.from, migrated.to), (Some(to - 3), to));
    SqlStore::open(database).await.unwrap();
}

async fn keys_in_another_letter_case_mean_the_same_to_reads_writes_and_evaluations(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let other = open(&url).await;
    let in_namespace = |namespace: &str, key: &str| pb::CreateFlagRequest {
        namespace_key: namespace.into(),
        ..flag(key, true)
    };
    // Rows of one namespace, and of one flag, may spell it differently.
    store.create_flag(&in_namespace("default", "split-0")).await.unwrap();
    store.create_flag(&in_namespace("Default", "shout")).await.unwrap();
    let segment = pb::CreateSegmentRequest { key: "all".into(), name: "All".into(), ..Default::default() };
    store.create_segment(&segment).await.unwrap();
    let rollout = pb::CreateRolloutRequest {
        namespace_key: "DEFAULT".into(),
        flag_key: "Split-0".into(),
        rank: 1,
        rule: Some(pb::create_rollout_request::Rule::Segment(pb::RolloutSegment {
            segment_keys: vec!["ALL".into()],
            value: false,
            ..Default::default()
        })),
        ..Default::default()
    };
    store.create_rollout(&rollout).await.unwrap();
    other.refresh().await.unwrap();
    for server in [&store, &other, &open(&url).await] {
        assert_eq!((is_on(server, "split-0"), is_on(server, "SHOUT")), (Some(false), Some(true)));
        assert_current(server).await;
    }
    let before = store.namespace_revision("default");
    let update = pb::UpdateFlagRequest {
        namespace_key: "DEFAULT".into(),
        key: "SHOUT".into(),
        name: "S".into(),
        enabled: false,
        ..Default::default()
    };
    store.update_flag(&update).await.unwrap();
    assert_ne!(store.namespace_revision("default"), before);
    let delete = |key: &str| pb::DeleteFlagRequest { namespace_key: "Default".into(), key: key.into() };
    store.delete_flag(&delete("Split-0")).await.unwrap();
    let duplicate = store.create_flag(&in_namespace("default", "Shout")).await.unwrap_err();
    assert_eq!(duplicate.to_string(), r#"flag "default/Shout" is not unique"#);
    let segment = pb::DeleteSegmentRequest { key: "All".into(), ..Default::default() };
    store.delete_segment(&segment).await.unwrap();
    other.refresh().await.unwrap();
    for server in [&store, &other] {
        assert_eq!((is_on(server, "split-0"), is_on(server, "shout")), (None, Some(false)));
        assert_current(server).await;
    }
    let namespaces: Vec<String> = store.live().namespaces.keys().cloned().collect();
    assert_eq!(namespaces, ["default"]);
}

on_databases! {
    keys_in_another_letter_case_mean_the_same_to_reads_writes_and_evaluations: mariadb MariaDb;
    lost_races_are_tried_again_and_end_as_if_nothing_had_happened:
        postgresql Postgres, mariadb MariaDb, cockroachdb_dialect Cockroach;
    a_write_that_loses_for_ever_fails_and_changes_nothing:
        postgresql Postgres, cockroachdb_dialect Cockroach;
    a_database_that_only_reads_serves_and_refuses_writes:
        postgresql Postgres, cockroachdb_dialect Cockroach;
    a_migration_that_was_cut_off_is_finished_by_the_next_one:
        mariadb MariaDb, cockroachdb_dialect Cockroach;
}
