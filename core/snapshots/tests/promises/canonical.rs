//! Equal state gives equal bytes.

use flipt_model::{Flag, Namespace, Segment, Snapshot};
use flipt_snapshots::format::{Digest, decode, encode};
use proptest::prelude::*;

fn key() -> impl Strategy<Value = String> {
    "[a-zA-Z0-9_-]{1,6}|[^\\x00]{1,3}"
}

fn unique<T>(items: Vec<T>, key: impl Fn(&T) -> &str) -> Vec<T> {
    let mut seen = std::collections::HashSet::new();
    items.into_iter().filter(|item| seen.insert(key(item).to_owned())).collect()
}

prop_compose! {
    fn flag()(key in key(), name in ".{0,8}", enabled in any::<bool>(),
              metadata in proptest::collection::btree_map("[a-z]{1,3}", any::<i64>(), 0..4)) -> Flag {
        let metadata = metadata.into_iter().map(|(key, value)| (key, value.into())).collect();
        Flag { key, name, enabled, metadata, ..Flag::default() }
    }
}

prop_compose! {
    fn namespace()(key in key(),
                   flags in proptest::collection::vec(flag(), 0..6),
                   segments in proptest::collection::vec(key(), 0..4)) -> Namespace {
        let segments = segments.into_iter().map(|key| Segment { key, ..Segment::default() }).collect();
        Namespace {
            key,
            flags: unique(flags, |flag| &flag.key),
            segments: unique(segments, |segment| &segment.key),
            ..Namespace::default()
        }
    }
}

prop_compose! {
    fn snapshot()(namespaces in proptest::collection::vec(namespace(), 0..5)) -> Snapshot {
        Snapshot { namespaces: unique(namespaces, |namespace| &namespace.key) }
    }
}

/// The same state in another order, decided by `seed`.
fn reordered(mut snapshot: Snapshot, seed: u64) -> Snapshot {
    fn shuffle<T>(items: &mut [T], mut seed: u64) {
        for last in (1..items.len()).rev() {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            items.swap(last, usize::try_from(seed >> 33).unwrap() % (last + 1));
        }
    }
    shuffle(&mut snapshot.namespaces, seed);
    for namespace in &mut snapshot.namespaces {
        shuffle(&mut namespace.flags, seed ^ 1);
        shuffle(&mut namespace.segments, seed ^ 2);
    }
    snapshot
}

proptest! {
    #[test]
    fn the_digest_does_not_depend_on_the_order(snapshot in snapshot(), seed in any::<u64>()) {
        let one = encode(snapshot.clone()).unwrap();
        let other = encode(reordered(snapshot.clone(), seed)).unwrap();
        prop_assert_eq!(one.digest, other.digest);
        prop_assert_eq!(&one.bytes, &other.bytes);
        let mut sorted = snapshot;
        sorted.sort_by_key();
        prop_assert_eq!(decode(&other.bytes, &one.digest, one.raw_size).unwrap(), sorted);
    }

    #[test]
    fn different_state_has_a_different_digest(a in snapshot(), b in snapshot()) {
        let (mut sorted_a, mut sorted_b) = (a.clone(), b.clone());
        sorted_a.sort_by_key();
        sorted_b.sort_by_key();
        prop_assert_eq!(sorted_a == sorted_b, encode(a).unwrap().digest == encode(b).unwrap().digest);
    }
}

/// Changing these bytes makes every published object a new one and every reader load again: never by accident.
#[test]
fn the_canonical_form_is_pinned() {
    let flag = |key: &str| Flag { key: key.into(), ..Flag::default() };
    let snapshot = Snapshot {
        namespaces: vec![Namespace {
            key: "default".into(),
            flags: vec![flag("b"), flag("a")],
            ..Namespace::default()
        }],
    };
    let expected = r#"{"namespaces":[{"key":"default","flags":[{"key":"a","type":"VARIANT_FLAG_TYPE","enabled":false},{"key":"b","type":"VARIANT_FLAG_TYPE","enabled":false}]}]}"#;
    assert_eq!(encode(snapshot).unwrap().digest, Digest::of(expected.as_bytes()));
}
