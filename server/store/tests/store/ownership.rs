//! Promises of ownership: what an object of a cluster owns, it alone changes.

use std::time::Duration;

use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, Namespace, Rollout, RolloutRule, Rule, Segment,
    SegmentOperator, Variant,
    ownership::{Adoption, Decision, Drift, Editable, EditableField, Owner, Resource, ResourceKind},
};
use flipt_proto::flipt as pb;
use flipt_store::{
    Claims, Database, DatabaseOptions, Desired, Edit, Environment, History, ImportMode, ImportedNamespace,
    Ownership as _, Part, ResourceName, SqlEnvironments, SqlStore, Store as _, StoreError, Switch, WriteMode,
};

use crate::databases::{Kind, fixture, on_every_database, open};

fn owner(name: &str) -> Owner {
    Owner {
        cluster: "c1".to_owned(),
        namespace: "shop".to_owned(),
        name: name.to_owned(),
        uid: "1".to_owned(),
    }
}

fn desired(resource: Resource) -> Desired {
    Desired {
        resource,
        namespace: "default".to_owned(),
        owner: owner("banner"),
        generation: 1,
        editable: Editable::new(),
        adoption: Adoption::IfIdentical,
        drift: Drift::Enforce,
    }
}

fn segment() -> Segment {
    Segment {
        key: "beta".to_owned(),
        name: "Beta".to_owned(),
        constraints: vec![Constraint {
            constraint_type: ConstraintType::String,
            property: "plan".to_owned(),
            operator: "eq".to_owned(),
            value: "pro".to_owned(),
            description: String::new(),
        }],
        ..Segment::default()
    }
}

/// A flag with everything in it, and JSON that databases and messages spell in their own ways.
fn flag() -> Flag {
    let variant = |key: &str, attachment: &str| Variant {
        key: key.to_owned(),
        name: key.to_uppercase(),
        attachment: attachment.to_owned(),
        ..Variant::default()
    };
    Flag {
        key: "banner".to_owned(),
        name: "Banner".to_owned(),
        flag_type: FlagType::Variant,
        enabled: true,
        metadata: [
            ("zeta".to_owned(), serde_json::json!({"b": 1.0, "a": [1e21, 0.1, -0.0, null]})),
            ("a".to_owned(), serde_json::json!("text")),
        ]
        .into(),
        variants: vec![
            variant("on", r#"{"zz": 1.0, "a": {"y": 3, "x": 12345678901234567890}, "e": 1e3}"#),
            variant("off", ""),
        ],
        default_variant: Some("off".to_owned()),
        rules: vec![Rule {
            rank: 4,
            segments: vec!["beta".to_owned()],
            operator: SegmentOperator::Or,
            distributions: vec![
                Distribution { variant: "on".to_owned(), rollout: 33.33 },
                Distribution { variant: "off".to_owned(), rollout: 66.67 },
            ],
        }],
        ..Flag::default()
    }
}

fn boolean() -> Flag {
    Flag {
        key: "banner".to_owned(),
        name: "Banner".to_owned(),
        flag_type: FlagType::Boolean,
        rollouts: vec![Rollout {
            rank: 1,
            description: "a few".to_owned(),
            rule: RolloutRule::Threshold { percentage: 10.5, value: true },
        }],
        ..Flag::default()
    }
}

async fn decision(store: &SqlStore, desired: &Desired) -> Decision {
    store.apply_owned(desired).await.unwrap().0.decision
}

async fn with_segment(kind: Kind) -> crate::databases::Fixture {
    let fixture = fixture(kind).await;
    let edit = Edit::WriteSegment("default".to_owned(), segment(), WriteMode::Create);
    fixture.store.apply(&edit, "").await.unwrap();
    fixture
}

async fn stored(store: &SqlStore) -> Option<Flag> {
    let (mut state, _) = Environment::read_state(store, Part::Flag("default", "banner")).await.unwrap();
    state.namespaces.pop().and_then(|mut namespace| namespace.flags.pop())
}

fn named() -> ResourceName {
    ResourceName::new(ResourceKind::Flag, "default", "banner")
}

fn is_managed<T: std::fmt::Debug>(outcome: Result<T, StoreError>) {
    match outcome {
        Err(StoreError::Managed(text)) => {
            assert!(text.starts_with("managed by kubernetes c1/shop/banner"), "{text}")
        }
        other => panic!("{other:?}"),
    }
}

fn update(enabled: bool, description: &str) -> pb::UpdateFlagRequest {
    pb::UpdateFlagRequest {
        key: "banner".to_owned(),
        name: "Banner".to_owned(),
        description: description.to_owned(),
        enabled,
        ..Default::default()
    }
}

async fn what_was_applied_is_found_again_and_an_idle_apply_moves_nothing(kind: Kind) {
    let fixture = with_segment(kind).await;
    let store = &fixture.store;
    let wish = desired(Resource::Flag(flag()));
    let (applied, version) = store.apply_owned(&wish).await.unwrap();
    assert_eq!(applied.decision, Decision::Create);
    for _ in 0..2 {
        let (again, same) = store.apply_owned(&wish).await.unwrap();
        assert_eq!((again.decision, same), (Decision::Nothing, version.clone()), "{}", again.difference);
        assert_eq!(again.content_hash, applied.content_hash);
    }
    let (managed, _) = store.list_managed(Claims::default()).await.unwrap();
    assert_eq!(managed.len(), 1);
    assert_eq!(managed[0].content_hash, managed[0].written_hash);
    assert_eq!(managed[0].content_hash, applied.content_hash);
    assert!(store.list_managed(Claims { cluster: "c2", ..Default::default() }).await.unwrap().0.is_empty());
    // Another program on the same database finds the same.
    let other = open(&fixture.url).await;
    assert_eq!(decision(&other, &wish).await, Decision::Nothing);
    let segment = Desired { owner: owner("beta"), ..desired(Resource::Segment(segment())) };
    assert_eq!(decision(store, &segment).await, Decision::Claim);
    assert_eq!(decision(store, &segment).await, Decision::Nothing);
}

async fn others_cannot_change_what_is_owned_but_for_what_is_left_to_them(kind: Kind) {
    let fixture = with_segment(kind).await;
    let store = &fixture.store;
    let wish = Desired {
        editable: Editable::from([EditableField::Enabled, EditableField::Rules]),
        ..desired(Resource::Flag(Flag { default_variant: None, metadata: [].into(), ..flag() }))
    };
    store.apply_owned(&wish).await.unwrap();
    let before = store.live().version.clone();
    is_managed(store.update_flag(&update(true, "mine")).await);
    is_managed(
        store.delete_flag(&pb::DeleteFlagRequest { key: "banner".to_owned(), ..Default::default() }).await,
    );
    let variant = pb::CreateVariantRequest {
        flag_key: "banner".to_owned(),
        key: "third".to_owned(),
        ..Default::default()
    };
    is_managed(store.create_variant(&variant).await);
    let other = Flag { name: "Mine".to_owned(), ..stored(store).await.unwrap() };
    is_managed(store.apply(&Edit::WriteFlag("default".to_owned(), other, WriteMode::Update), "").await);
    is_managed(store.apply(&Edit::DeleteFlag("default".to_owned(), "banner".to_owned()), "").await);
    assert_eq!(store.live().version, before);
    // A whole resource as it is, with what the owner leaves to them changed.
    store.update_flag(&update(false, "")).await.unwrap();
    let rules = store
        .list_rules(&pb::ListRuleRequest { flag_key: "banner".to_owned(), ..Default::default() })
        .await
        .unwrap()
        .rules;
    let delete = pb::DeleteRuleRequest {
        flag_key: "banner".to_owned(),
        id: rules[0].id.clone(),
        ..Default::default()
    };
    store.delete_rule(&delete).await.unwrap();
    let kept = stored(store).await.unwrap();
    assert!(!kept.enabled && kept.rules.is_empty());
    assert_eq!(decision(store, &wish).await, Decision::Nothing);
    // The owner's next version leaves that alone.
    let Resource::Flag(flag) = &wish.resource else { unreachable!() };
    let next = Flag { description: "new".to_owned(), ..flag.clone() };
    let next = Desired { resource: Resource::Flag(next), ..wish };
    assert_eq!(decision(store, &next).await, Decision::Write);
    let kept = stored(store).await.unwrap();
    assert!(!kept.enabled && kept.rules.is_empty() && kept.description == "new");
    // What nobody owns is as free as ever.
    let free =
        pb::CreateFlagRequest { key: "free".to_owned(), name: "Free".to_owned(), ..Default::default() };
    store.create_flag(&free).await.unwrap();
}

async fn a_namespace_with_owned_resources_stays(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let namespace = Namespace { key: "web".to_owned(), name: "Web".to_owned(), ..Namespace::default() };
    let free = Edit::WriteNamespace(namespace, WriteMode::Create);
    store.apply(&free, "").await.unwrap();
    let wish = Desired { namespace: "web".to_owned(), ..desired(Resource::Segment(segment())) };
    store.apply_owned(&wish).await.unwrap();
    is_managed(store.apply(&Edit::DeleteNamespace("web".to_owned()), "").await);
    let delete = pb::DeleteNamespaceRequest { key: "web".to_owned(), force: true };
    is_managed(store.delete_namespace(&delete).await);
    let rename = pb::UpdateNamespaceRequest {
        key: "web".to_owned(),
        name: "Renamed".to_owned(),
        ..Default::default()
    };
    store.update_namespace(&rename).await.unwrap();
    let owned = Namespace { key: "web".to_owned(), name: "Owned".to_owned(), ..Namespace::default() };
    let wish = desired(Resource::Namespace(owned));
    let wish = Desired { adoption: Adoption::Force, ..wish };
    assert_eq!(decision(store, &wish).await, Decision::Adopt);
    is_managed(store.update_namespace(&rename).await);
    let name = ResourceName::new(ResourceKind::Namespace, "", "web");
    let (released, _) = store.release(&name, &owner("banner"), true).await.unwrap();
    assert_eq!((released.released, released.used_by), (false, vec!["segment web/beta".to_owned()]));
    let name = ResourceName::new(ResourceKind::Segment, "web", "beta");
    assert!(store.release(&name, &owner("banner"), true).await.unwrap().0.deleted);
    let name = ResourceName::new(ResourceKind::Namespace, "", "web");
    assert!(store.release(&name, &owner("banner"), true).await.unwrap().0.deleted);
    assert!(store.list_managed(Claims::default()).await.unwrap().0.is_empty());
}

async fn a_deletion_by_force_and_an_import_leave_the_claim(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let wish = desired(Resource::Flag(boolean()));
    store.apply_owned(&wish).await.unwrap();
    let emptied = ImportedNamespace {
        content: Namespace { key: "default".to_owned(), ..Namespace::default() },
        create: false,
    };
    store.import(std::slice::from_ref(&emptied), ImportMode::Replace).await.unwrap();
    assert_eq!(stored(store).await, None);
    let report = Desired { drift: Drift::Report, ..wish.clone() };
    assert_eq!(decision(store, &report).await, Decision::ReportDrift);
    assert_eq!(store.list_managed(Claims::default()).await.unwrap().0[0].content_hash, "");
    assert_eq!(decision(store, &wish).await, Decision::Recreate);
    let changed = ImportedNamespace {
        content: Namespace { flags: vec![Flag { enabled: true, ..boolean() }], ..emptied.content },
        create: false,
    };
    store.import(&[changed], ImportMode::Replace).await.unwrap();
    let (applied, _) = store.apply_owned(&report).await.unwrap();
    assert_eq!(applied.decision, Decision::ReportDrift);
    assert_eq!(applied.difference, "enabled: true → false");
    assert_eq!(decision(store, &wish).await, Decision::CorrectDrift);
    assert!(!stored(store).await.unwrap().enabled);
}

async fn claims_are_told_from_those_of_others(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let mine = Edit::WriteFlag("default".to_owned(), boolean(), WriteMode::Create);
    store.apply(&mine, "").await.unwrap();
    let different = desired(Resource::Flag(Flag { enabled: true, ..boolean() }));
    let (applied, _) = store.apply_owned(&different).await.unwrap();
    assert_eq!(applied.decision, Decision::NotAdopted);
    assert_eq!(applied.difference, "enabled: false → true");
    let wish = desired(Resource::Flag(boolean()));
    assert_eq!(decision(store, &wish).await, Decision::Claim);
    let rival = Desired { owner: owner("rival"), ..wish.clone() };
    let (applied, _) = store.apply_owned(&rival).await.unwrap();
    assert_eq!((applied.decision, applied.other), (Decision::Conflict, Some(owner("banner"))));
    assert!(!store.release(&named(), &owner("rival"), true).await.unwrap().0.released);
    let successor = Owner { uid: "2".to_owned(), ..owner("banner") };
    let successor = Desired { owner: successor, ..wish };
    assert_eq!(decision(store, &successor).await, Decision::Claim);
    assert_eq!(store.list_managed(Claims::default()).await.unwrap().0[0].owner.uid, "2");
    assert!(store.release(&named(), &owner("banner"), false).await.unwrap().0.released);
    assert_eq!(decision(store, &rival).await, Decision::Claim);
}

async fn what_is_missing_is_named(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let outcome = store.apply_owned(&desired(Resource::Flag(flag()))).await;
    match outcome {
        Err(StoreError::Precondition(text)) => {
            assert!(text.starts_with(r#"references unknown segment "beta""#), "{text}");
        }
        other => panic!("{other:?}"),
    }
    let lost = Desired { namespace: "lost".to_owned(), ..desired(Resource::Flag(boolean())) };
    let outcome = store.apply_owned(&lost).await;
    assert!(
        matches!(&outcome, Err(StoreError::NotFound(text)) if text == r#"namespace "lost""#),
        "{outcome:?}"
    );
    assert!(store.list_managed(Claims::default()).await.unwrap().0.is_empty());
    // A segment in use is not deleted with its claim.
    store.apply_owned(&desired(Resource::Segment(segment()))).await.unwrap();
    store.apply_owned(&desired(Resource::Flag(flag()))).await.unwrap();
    let name = ResourceName::new(ResourceKind::Segment, "default", "beta");
    let (released, _) = store.release(&name, &owner("banner"), true).await.unwrap();
    assert_eq!(released.used_by, ["flag default/banner"]);
    assert_eq!(store.list_managed(Claims::default()).await.unwrap().0.len(), 2);
}

async fn changes_name_claims_too_and_tell_when_they_do_not_know(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let start = store.live().version.text();
    store.apply_owned(&desired(Resource::Flag(boolean()))).await.unwrap();
    let changed = store.changes_since(&start).await.unwrap();
    assert_eq!((changed.history, &changed.resources[..]), (History::Known, &[named()][..]));
    let created = changed.version.text();
    store.release(&named(), &owner("banner"), false).await.unwrap();
    assert_eq!(store.changes_since(&created).await.unwrap().resources, [named()]);
    let now = store.live().version.text();
    assert_eq!(store.changes_since(&now).await.unwrap().resources, []);
    for unknown in ["", "nonsense", &"0".repeat(40)] {
        assert_eq!(store.changes_since(unknown).await.unwrap().history, History::Lost, "{unknown}");
    }
    // A server that does not know the log wrote.
    let sql = r#"UPDATE environments SET revision = revision + 1 WHERE "key" = 'default';"#;
    kind.sql(&fixture.url, sql).await;
    assert_eq!(store.changes_since(&now).await.unwrap().history, History::Lost);
}

async fn an_override_holds_against_its_owner_and_ends_by_itself(kind: Kind) {
    let (url, _folder) = kind.create();
    let database = Database::open(&url, DatabaseOptions::default()).await.unwrap();
    flipt_store::migrations::run(&database, flipt_store::migrations::Policy::FirstRun).await.unwrap();
    let servers = SqlEnvironments::open(database, "default", []).await.unwrap();
    let store = open(&url).await;
    let switch =
        Switch { enabled: true, user: "ann".to_owned(), reason: "incident".to_owned(), seconds: 3_600 };
    assert!(matches!(store.begin_override(&named(), &switch).await, Err(StoreError::NotFound(_))));
    let wish = desired(Resource::Flag(boolean()));
    store.apply_owned(&wish).await.unwrap();
    let managed = store.begin_override(&named(), &switch).await.unwrap();
    assert_eq!(managed.content_hash, managed.written_hash);
    assert!(stored(&store).await.unwrap().enabled);
    // Reconciling honours it, also when it writes something else.
    let (applied, _) = store.apply_owned(&wish).await.unwrap();
    assert_eq!(applied.decision, Decision::Nothing);
    assert_eq!(applied.held.map(|held| held.user), Some("ann".to_owned()));
    let next = Flag { description: "new".to_owned(), ..boolean() };
    assert_eq!(decision(&store, &desired(Resource::Flag(next.clone()))).await, Decision::Write);
    assert!(stored(&store).await.unwrap().enabled);
    is_managed(store.update_flag(&update(false, "new")).await);
    let ended = store.end_override(&named()).await.unwrap();
    assert_eq!(ended.held, None);
    assert_eq!(stored(&store).await, Some(next));
    // By itself, through a sweep of another server.
    let brief = Switch { seconds: 2, ..switch };
    let begun = std::time::Instant::now();
    store.begin_override(&named(), &brief).await.unwrap();
    let sweep = servers.end_overrides(tokio::time::sleep(Duration::from_secs(20)));
    let restored = async {
        while stored(&store).await.unwrap().enabled {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        begun.elapsed()
    };
    tokio::select! {
        () = sweep => panic!("the override did not end"),
        took = restored => assert!(took > Duration::from_millis(1_500), "{took:?}"),
    }
    assert_eq!(store.list_managed(Claims::default()).await.unwrap().0[0].held, None);
}

async fn an_owner_that_is_heard_of_counts_as_seen(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let wish = desired(Resource::Flag(boolean()));
    let (_, version) = store.apply_owned(&wish).await.unwrap();
    let seen = async || store.list_managed(Claims::default()).await.unwrap().0[0].seen_at;
    let first = seen().await;
    assert_eq!(decision(store, &wish).await, Decision::Nothing);
    assert_eq!(seen().await, first, "a few minutes are near enough");
    kind.sql(&fixture.url, "UPDATE resource_owners SET seen_at = 1;").await;
    let rival = Desired { owner: owner("rival"), ..wish.clone() };
    assert_eq!(decision(store, &rival).await, Decision::Conflict);
    assert_eq!(seen().await, 1, "it was another one");
    let next = Desired { generation: 2, ..wish };
    assert_eq!(decision(store, &next).await, Decision::Nothing);
    assert!(seen().await > first);
    let (managed, now) = store.list_managed(Claims::default()).await.unwrap();
    assert_eq!((managed[0].generation, now), (2, version));
}

async fn a_switch_that_is_left_to_the_ui_needs_no_override(kind: Kind) {
    let fixture = fixture(kind).await;
    let store = &fixture.store;
    let switch = Switch { enabled: true, user: "ann".to_owned(), reason: String::new(), seconds: 60 };
    let editable = Editable::from([EditableField::Enabled]);
    store.apply_owned(&Desired { editable, ..desired(Resource::Flag(boolean())) }).await.unwrap();
    let outcome = store.begin_override(&named(), &switch).await;
    assert!(matches!(outcome, Err(StoreError::Precondition(_))), "{outcome:?}");
    store.release(&named(), &owner("banner"), false).await.unwrap();
    let outcome = store.begin_override(&named(), &switch).await;
    assert!(matches!(outcome, Err(StoreError::Precondition(_))), "{outcome:?}");
    // Released while an override is in force, the flag stays as it is, and is anybody's.
    store.apply_owned(&desired(Resource::Flag(boolean()))).await.unwrap();
    store.begin_override(&named(), &switch).await.unwrap();
    store.release(&named(), &owner("banner"), false).await.unwrap();
    assert!(stored(store).await.unwrap().enabled);
    store.update_flag(&update(false, "")).await.unwrap();
}

on_every_database!(
    an_owner_that_is_heard_of_counts_as_seen,
    a_switch_that_is_left_to_the_ui_needs_no_override,
    what_was_applied_is_found_again_and_an_idle_apply_moves_nothing,
    others_cannot_change_what_is_owned_but_for_what_is_left_to_them,
    a_namespace_with_owned_resources_stays,
    a_deletion_by_force_and_an_import_leave_the_claim,
    claims_are_told_from_those_of_others,
    what_is_missing_is_named,
    changes_name_claims_too_and_tell_when_they_do_not_know,
    an_override_holds_against_its_owner_and_ends_by_itself,
);
