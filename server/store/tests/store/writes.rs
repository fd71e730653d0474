//! Promises of writes, reads and imports.

use std::sync::Arc;

use flipt_evaluation::Request;
use flipt_model::{
    Constraint, ConstraintType, Distribution, Flag, FlagType, Namespace, Rollout, RolloutRule, Rule, Segment,
    SegmentOperator, Variant,
};
use flipt_proto::flipt as pb;
use flipt_store::{Environment as _, ImportMode, ImportedNamespace, SqlStore, Store, StoreError};

use crate::databases::{Fixture, Kind, fixture, on_every_database, open};

fn flag(key: &str, flag_type: pb::FlagType) -> pb::CreateFlagRequest {
    pb::CreateFlagRequest {
        key: key.into(),
        name: key.into(),
        enabled: true,
        r#type: flag_type.into(),
        ..Default::default()
    }
}

fn segment(key: &str) -> pb::CreateSegmentRequest {
    pb::CreateSegmentRequest { key: key.into(), name: key.into(), ..Default::default() }
}

fn variant(flag: &str, key: &str) -> pb::CreateVariantRequest {
    pb::CreateVariantRequest { flag_key: flag.into(), key: key.into(), ..Default::default() }
}

fn rule(flag: &str, segments: &[&str], rank: i32) -> pb::CreateRuleRequest {
    pb::CreateRuleRequest {
        flag_key: flag.into(),
        segment_keys: segments.iter().map(|key| (*key).to_owned()).collect(),
        segment_operator: pb::SegmentOperator::AndSegmentOperator.into(),
        rank,
        ..Default::default()
    }
}

/// Flag `f` with variants `a` and `b`, segment `s`, one rule that gives everybody `a`.
async fn with_rule(store: &SqlStore) -> (pb::Rule, pb::Variant, pb::Distribution) {
    store.create_flag(&flag("f", pb::FlagType::VariantFlagType)).await.unwrap();
    store.create_segment(&segment("s")).await.unwrap();
    let a = store.create_variant(&variant("f", "a")).await.unwrap();
    store.create_variant(&variant("f", "b")).await.unwrap();
    let rule = store.create_rule(&rule("f", &["s"], 1)).await.unwrap();
    let distribution = store
        .create_distribution(&pb::CreateDistributionRequest {
            flag_key: "f".into(),
            rule_id: rule.id.clone(),
            variant_id: a.id.clone(),
            rollout: 100.0,
            ..Default::default()
        })
        .await
        .unwrap();
    (rule, a, distribution)
}

fn evaluate(store: &SqlStore, flag: &str) -> Option<String> {
    let live = store.live();
    let request = Request { namespace: "default", flag, entity: "e", context: &() };
    live.snapshot.variant(&request).ok().map(|result| result.variant.to_owned())
}

async fn rules(store: &SqlStore) -> Vec<(String, i32)> {
    let request = pb::ListRuleRequest { flag_key: "f".into(), ..Default::default() };
    let list = store.list_rules(&request).await.unwrap();
    list.rules.into_iter().map(|rule| (rule.id, rule.rank)).collect()
}

async fn an_answered_write_is_evaluated_at_once(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let (rule, _, distribution) = with_rule(&store).await;
    assert_eq!(evaluate(&store, "f").as_deref(), Some("a"));
    let before = store.live().version.revision;
    store
        .delete_distribution(&pb::DeleteDistributionRequest {
            id: distribution.id,
            flag_key: "f".into(),
            rule_id: rule.id,
            variant_id: distribution.variant_id,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!(evaluate(&store, "f").as_deref(), Some(""));
    assert_eq!(store.live().version.revision, before + 1);
    store.delete_flag(&pb::DeleteFlagRequest { key: "f".into(), ..Default::default() }).await.unwrap();
    assert_eq!(evaluate(&store, "f"), None);
}

async fn the_compiled_state_after_writes_equals_the_one_after_a_restart(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    with_rule(&store).await;
    store.create_flag(&flag("g", pb::FlagType::BooleanFlagType)).await.unwrap();
    store
        .update_segment(&pb::UpdateSegmentRequest {
            key: "s".into(),
            name: "other".into(),
            match_type: pb::MatchType::AnyMatchType.into(),
            ..Default::default()
        })
        .await
        .unwrap();
    let (state, version) = store.read_state().await.unwrap();
    assert_eq!(version, store.live().version);
    store.close().await;
    let again = open(&url).await;
    assert_eq!(again.read_state().await.unwrap(), (state, version));
    assert_eq!(evaluate(&again, "f").as_deref(), Some("a"));
}

async fn a_failed_write_leaves_no_trace(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    with_rule(&store).await;
    let before = (store.read_state().await.unwrap(), store.live().version.clone());
    let duplicate = store.create_flag(&flag("f", pb::FlagType::VariantFlagType)).await.unwrap_err();
    assert_eq!(duplicate.to_string(), r#"flag "default/f" is not unique"#);
    let missing = store.create_rule(&rule("f", &["s", "nope"], 2)).await.unwrap_err();
    assert_eq!(missing.to_string(), r#"flag "default/f" or segment "default/" not found"#);
    let used = store
        .delete_segment(&pb::DeleteSegmentRequest { key: "s".into(), ..Default::default() })
        .await
        .unwrap_err();
    assert_eq!(used.to_string(), r#"segment "default/s" is in use"#);
    assert_eq!((store.read_state().await.unwrap(), store.live().version.clone()), before);
}

async fn deleting_what_is_not_there_succeeds_without_a_new_revision(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let before = store.live().version.clone();
    store.delete_flag(&pb::DeleteFlagRequest { key: "x".into(), ..Default::default() }).await.unwrap();
    store.delete_segment(&pb::DeleteSegmentRequest { key: "x".into(), ..Default::default() }).await.unwrap();
    store
        .delete_rule(&pb::DeleteRuleRequest { id: "x".into(), flag_key: "x".into(), ..Default::default() })
        .await
        .unwrap();
    assert_eq!(store.live().version, before);
    let namespace =
        store.delete_namespace(&pb::DeleteNamespaceRequest { key: "x".into(), ..Default::default() }).await;
    assert!(matches!(namespace, Err(StoreError::NotFound(_))));
}

async fn one_segment_is_reported_singly_under_or_and_several_in_their_order(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let (rule, ..) = with_rule(&store).await;
    assert_eq!((rule.segment_key.as_str(), rule.segment_keys.len(), rule.segment_operator), ("s", 0, 0));
    for key in ["z", "a"] {
        store.create_segment(&segment(key)).await.unwrap();
    }
    let rule = store
        .update_rule(&pb::UpdateRuleRequest {
            id: rule.id,
            flag_key: "f".into(),
            segment_keys: vec!["z".into(), "a".into(), "z".into()],
            segment_operator: 1,
            ..Default::default()
        })
        .await
        .unwrap();
    assert_eq!((rule.segment_key.as_str(), rule.segment_operator), ("", 1));
    assert_eq!(rule.segment_keys, ["z", "a"]);
}

async fn rules_are_ranked_in_the_order_given_and_renumbered_after_a_deletion(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let (first, ..) = with_rule(&store).await;
    let second = store.create_rule(&rule("f", &["s"], 7)).await.unwrap();
    let third = store.create_rule(&rule("f", &["s"], 9)).await.unwrap();
    let order = pb::OrderRulesRequest {
        flag_key: "f".into(),
        rule_ids: vec![third.id.clone(), "unknown".into(), first.id.clone(), second.id.clone()],
        ..Default::default()
    };
    store.order_rules(&order).await.unwrap();
    assert_eq!(rules(&store).await, [(third.id.clone(), 1), (first.id.clone(), 3), (second.id.clone(), 4)]);
    let delete = pb::DeleteRuleRequest { id: third.id, flag_key: "f".into(), ..Default::default() };
    store.delete_rule(&delete).await.unwrap();
    assert_eq!(rules(&store).await, [(first.id, 1), (second.id, 2)]);
}

async fn deleting_the_default_variant_clears_it_on_the_flag(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let (_, a, _) = with_rule(&store).await;
    let update = pb::UpdateFlagRequest {
        key: "f".into(),
        name: "f".into(),
        enabled: true,
        default_variant_id: a.id.clone(),
        ..Default::default()
    };
    let updated = store.update_flag(&update).await.unwrap();
    assert_eq!(updated.default_variant.map(|variant| variant.key).as_deref(), Some("a"));
    let delete = pb::DeleteVariantRequest { id: a.id, flag_key: "f".into(), ..Default::default() };
    store.delete_variant(&delete).await.unwrap();
    let read = store.get_flag(&pb::GetFlagRequest { key: "f".into(), ..Default::default() }).await.unwrap();
    assert_eq!(read.default_variant, None);
    assert_eq!(evaluate(&store, "f").as_deref(), Some(""));
}

async fn pages_cover_a_list_without_gaps(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    for index in 0..7 {
        store.create_flag(&flag(&format!("f{index}"), pb::FlagType::BooleanFlagType)).await.unwrap();
    }
    let mut keys = Vec::new();
    let mut token = String::new();
    loop {
        let request = pb::ListFlagRequest { limit: 3, page_token: token, ..Default::default() };
        let page = store.list_flags(&request).await.unwrap();
        assert_eq!(page.total_count, 7);
        keys.extend(page.flags.into_iter().map(|flag| flag.key));
        token = page.next_page_token;
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(keys, ["f0", "f1", "f2", "f3", "f4", "f5", "f6"]);
}

async fn sixty_four_clients_write_at_once_and_none_fails(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let store = Arc::new(store);
    let writes = (0..64).map(|index| {
        let store = Arc::clone(&store);
        tokio::spawn(async move {
            store.create_flag(&flag(&format!("f{index}"), pb::FlagType::BooleanFlagType)).await
        })
    });
    for write in writes.collect::<Vec<_>>() {
        write.await.unwrap().unwrap();
    }
    assert_eq!(store.read_state().await.unwrap().0.flag_count(), 64);
    assert_eq!(store.live().version.revision, 65);
}

async fn writes_of_another_process_are_caught_up_with(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let other = open(&url).await;
    with_rule(&other).await;
    assert_eq!(evaluate(&store, "f"), None);
    let mut revisions = store.revisions();
    store.refresh().await.unwrap();
    assert_eq!(evaluate(&store, "f").as_deref(), Some("a"));
    assert_eq!(store.live().version, other.live().version);
    assert!(revisions.has_changed().unwrap());
    revisions.mark_unchanged();
    store.refresh().await.unwrap();
    assert!(!revisions.has_changed().unwrap());
}

async fn a_write_after_one_of_another_process_shows_both(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let other = open(&url).await;
    with_rule(&other).await;
    // Ours comes before anybody has looked for the other's.
    store.create_flag(&flag("mine", pb::FlagType::VariantFlagType)).await.unwrap();
    assert_eq!(evaluate(&store, "mine").as_deref(), Some(""));
    assert_eq!(evaluate(&store, "f").as_deref(), Some("a"));
}

async fn a_new_epoch_is_noticed_by_the_others(kind: Kind) {
    let Fixture { store, url, _folder } = fixture(kind).await;
    let other = open(&url).await;
    let before = store.live().version.clone();
    store.start_new_epoch().await.unwrap();
    let after = store.live().version.clone();
    assert!(after.epoch != before.epoch && after.revision > before.revision);
    other.refresh().await.unwrap();
    assert_eq!(other.live().version, after);
}

async fn a_variant_given_out_by_another_flag_is_renamed_there_too(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let (rule, _, distribution) = with_rule(&store).await;
    store.create_flag(&flag("g", pb::FlagType::VariantFlagType)).await.unwrap();
    let foreign = store.create_variant(&variant("g", "theirs")).await.unwrap();
    let update = pb::UpdateDistributionRequest {
        id: distribution.id,
        flag_key: "f".into(),
        rule_id: rule.id,
        variant_id: foreign.id.clone(),
        rollout: 100.0,
        ..Default::default()
    };
    store.update_distribution(&update).await.unwrap();
    assert_eq!(evaluate(&store, "f").as_deref(), Some("theirs"));
    let rename = pb::UpdateVariantRequest {
        id: foreign.id,
        flag_key: "g".into(),
        key: "renamed".into(),
        ..Default::default()
    };
    store.update_variant(&rename).await.unwrap();
    assert_eq!(evaluate(&store, "f").as_deref(), Some("renamed"));
    store.delete_flag(&pb::DeleteFlagRequest { key: "g".into(), ..Default::default() }).await.unwrap();
    assert_eq!(evaluate(&store, "f").as_deref(), Some(""));
}

fn rich_namespace() -> Namespace {
    Namespace {
        key: "shop".into(),
        name: "Shop".into(),
        description: "d".into(),
        flags: vec![
            Flag {
                key: "z".into(),
                name: "Z".into(),
                enabled: true,
                metadata: [("n".to_owned(), serde_json::json!(1.5))].into(),
                variants: vec![
                    Variant { key: "b".into(), attachment: r#"{"x":1}"#.into(), ..Default::default() },
                    Variant { key: "a".into(), ..Default::default() },
                ],
                default_variant: Some("a".into()),
                rules: vec![Rule {
                    rank: 1,
                    segments: vec!["two".into(), "one".into()],
                    operator: SegmentOperator::And,
                    distributions: vec![
                        Distribution { variant: "b".into(), rollout: 33.33 },
                        Distribution { variant: "a".into(), rollout: 66.67 },
                    ],
                }],
                ..Default::default()
            },
            Flag {
                key: "y".into(),
                name: "Y".into(),
                flag_type: FlagType::Boolean,
                rollouts: vec![
                    Rollout {
                        rank: 1,
                        description: "first".into(),
                        rule: RolloutRule::Segment {
                            segments: vec!["one".into()],
                            operator: SegmentOperator::Or,
                            value: true,
                        },
                    },
                    Rollout {
                        rank: 2,
                        rule: RolloutRule::Threshold { percentage: 12.5, value: true },
                        ..Default::default()
                    },
                ],
                ..Default::default()
            },
        ],
        segments: vec![
            Segment {
                key: "two".into(),
                name: "Two".into(),
                constraints: vec![Constraint {
                    constraint_type: ConstraintType::String,
                    property: "plan".into(),
                    operator: "eq".into(),
                    value: "pro".into(),
                    description: "kept".into(),
                }],
                ..Default::default()
            },
            Segment { key: "one".into(), name: "One".into(), ..Default::default() },
        ],
    }
}

async fn an_import_reads_back_as_it_was_written(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let imported = [ImportedNamespace { content: rich_namespace(), create: true }];
    store.import(&imported, ImportMode::FailOnExisting).await.unwrap();
    let (state, _) = store.read_state().await.unwrap();
    assert_eq!(state.namespace("shop"), Some(&rich_namespace()));
    let live = store.live();
    let compiled = flipt_evaluation::Snapshot::compile(&state);
    for entity in ["a", "b", "c"] {
        let context = [("plan", "pro")];
        let request = Request { namespace: "shop", flag: "z", entity, context: &context };
        let (ours, fresh) = (live.snapshot.variant(&request).unwrap(), compiled.variant(&request).unwrap());
        assert_eq!((ours.variant, ours.matched), (fresh.variant, fresh.matched));
        assert!(ours.matched || !ours.segments.is_empty());
    }
}

async fn an_import_that_fails_anywhere_changes_nothing(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let before = store.read_state().await.unwrap();
    let mut broken = rich_namespace();
    broken.flags[1].rollouts[0].rule =
        RolloutRule::Segment { segments: vec!["missing".into()], operator: SegmentOperator::Or, value: true };
    let imported = [
        ImportedNamespace { content: Namespace { key: "first".into(), ..rich_namespace() }, create: true },
        ImportedNamespace { content: broken, create: true },
    ];
    let error = store.import(&imported, ImportMode::FailOnExisting).await.unwrap_err();
    assert!(error.to_string().contains("missing"), "{error}");
    assert_eq!(store.read_state().await.unwrap(), before);
}

async fn import_modes_fail_skip_or_replace(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let imported = [ImportedNamespace { content: rich_namespace(), create: true }];
    store.import(&imported, ImportMode::FailOnExisting).await.unwrap();
    let twice = store.import(&imported, ImportMode::FailOnExisting).await.unwrap_err();
    assert_eq!(twice.to_string(), r#"creating flag: flag "shop/z" is not unique"#);
    store.import(&imported, ImportMode::SkipExisting).await.unwrap();
    assert_eq!(store.read_state().await.unwrap().0.namespace("shop"), Some(&rich_namespace()));

    store.create_flag(&flag("old", pb::FlagType::BooleanFlagType)).await.unwrap();
    store.import(&imported, ImportMode::Replace).await.unwrap();
    let (state, _) = store.read_state().await.unwrap();
    assert!(state.namespace("default").unwrap().flags.is_empty());
    assert!(store.live().snapshot.flag("default", "old").is_err());
    let namespaces = store.list_namespaces(&pb::ListNamespaceRequest::default()).await.unwrap();
    assert!(namespaces.namespaces.iter().any(|namespace| namespace.key == "default" && namespace.protected));
}

async fn a_namespace_is_created_by_import_only_on_demand(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let imported = [ImportedNamespace { content: rich_namespace(), create: false }];
    let error = store.import(&imported, ImportMode::FailOnExisting).await.unwrap_err();
    assert_eq!(error.to_string(), r#"namespace "shop" not found"#);
}

async fn protected_and_filled_namespaces_are_deleted_only_by_force(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    with_rule(&store).await;
    let delete = |force| pb::DeleteNamespaceRequest { key: "default".into(), force };
    let error = store.delete_namespace(&delete(false)).await.unwrap_err();
    assert_eq!(error.to_string(), r#"namespace "default" is protected"#);
    store.delete_namespace(&delete(true)).await.unwrap();
    assert_eq!(evaluate(&store, "f"), None);
    let (state, _) = store.read_state().await.unwrap();
    assert!(state.namespaces.is_empty());
}

async fn the_snapshot_for_engines_sends_each_rule_of_several_segments_once(kind: Kind) {
    let Fixture { store, _folder, .. } = fixture(kind).await;
    let imported = [ImportedNamespace { content: rich_namespace(), create: true }];
    store.import(&imported, ImportMode::FailOnExisting).await.unwrap();
    let (snapshot, version) = store.namespace_snapshot("shop").await.unwrap();
    assert!(!version.is_empty());
    let flag = snapshot.flags.iter().find(|flag| flag.key == "z").unwrap();
    assert_eq!(flag.rules.len(), 1);
    assert_eq!((flag.rules[0].segments.len(), flag.rules[0].distributions.len()), (2, 2));
    assert_eq!(flag.rules[0].distributions[0].variant_attachment, r#"{"x":1}"#);
    assert_eq!(flag.default_variant.as_ref().unwrap().key, "a");
}

on_every_database! {
    an_answered_write_is_evaluated_at_once,
    the_compiled_state_after_writes_equals_the_one_after_a_restart,
    a_failed_write_leaves_no_trace,
    deleting_what_is_not_there_succeeds_without_a_new_revision,
    one_segment_is_reported_singly_under_or_and_several_in_their_order,
    rules_are_ranked_in_the_order_given_and_renumbered_after_a_deletion,
    deleting_the_default_variant_clears_it_on_the_flag,
    pages_cover_a_list_without_gaps,
    sixty_four_clients_write_at_once_and_none_fails,
    writes_of_another_process_are_caught_up_with,
    a_write_after_one_of_another_process_shows_both,
    a_new_epoch_is_noticed_by_the_others,
    a_variant_given_out_by_another_flag_is_renamed_there_too,
    an_import_reads_back_as_it_was_written,
    an_import_that_fails_anywhere_changes_nothing,
    import_modes_fail_skip_or_replace,
    a_namespace_is_created_by_import_only_on_demand,
    protected_and_filled_namespaces_are_deleted_only_by_force,
    the_snapshot_for_engines_sends_each_rule_of_several_segments_once,
}
