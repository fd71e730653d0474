//! Signatures: what is not signed by whom we trust is not loaded.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair as _};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flipt_snapshots::follow::{CacheDir, CacheOutcome, Upstream};
use flipt_snapshots::publish::{PublishOptions, Version};
use flipt_snapshots::{Pointer, SigningKey, VerifyKeys};

use crate::place::{Place, Reader, keys, options, sample, second, version};

/// A pair of key files in a folder.
struct Pair {
    private: PathBuf,
    public: PathBuf,
}

impl Pair {
    fn new(folder: &Path, name: &str) -> Self {
        let private_der = Ed25519KeyPair::generate_pkcs8v1(&SystemRandom::new()).unwrap();
        let pair = Ed25519KeyPair::from_pkcs8_maybe_unchecked(private_der.as_ref()).unwrap();
        let mut public_der = vec![0x30, 0x2a, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x03, 0x21, 0x00];
        public_der.extend_from_slice(pair.public_key().as_ref());
        let write = |kind: &str, der: &[u8]| {
            let path = folder.join(format!("{name}-{kind}.pem").to_lowercase().replace(' ', "-"));
            let body = STANDARD.encode(der);
            std::fs::write(&path, format!("-----BEGIN {kind}-----\n{body}\n-----END {kind}-----\n")).unwrap();
            path
        };
        Self { private: write("PRIVATE KEY", private_der.as_ref()), public: write("PUBLIC KEY", &public_der) }
    }

    fn signing(&self) -> PublishOptions {
        let key = SigningKey::from_file(&self.private).unwrap();
        PublishOptions { signing_key: Some(Arc::new(key)), ..options() }
    }

    fn verifying(&self) -> Option<Arc<VerifyKeys>> {
        Some(Arc::new(VerifyKeys::from_file(&self.public).unwrap()))
    }
}

fn strict(place: &Place, pair: &Pair) -> Reader {
    place.reader(|options| options.verify = pair.verifying())
}

on_both_stores! {
    async fn what_is_signed_is_followed_also_when_only_its_time_moves(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new(folder.path(), "a");
        let mut reader = strict(place, &pair);
        place.try_publish(sample(1), version(1), pair.signing()).await.unwrap();
        assert_eq!(reader.loads().await.revision, 1);
        for confirmed in [10, 20] {
            let again = PublishOptions { now: Some(second(confirmed)), ..pair.signing() };
            assert!(!place.try_publish(sample(1), version(1), again).await.unwrap().changed);
            assert_eq!(reader.poll().await, flipt_snapshots::follow::PollOutcome::Unchanged);
            assert_eq!(reader.follower.status().state().verified_at, Some(second(confirmed)));
        }
        // The signature does not concern who does not ask for one.
        place.reader(|_| {}).loads().await;
    }

    async fn what_is_unsigned_is_refused(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new(folder.path(), "a");
        let mut reader = strict(place, &pair);
        place.publish(1).await;
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::Unsigned, "{error}");
        place.try_publish(sample(1), version(1), pair.signing()).await.unwrap();
        reader.loads().await;
        place.publish(2).await;
        assert_eq!(reader.fails().await.upstream, Upstream::Unsigned);
    }

    async fn what_somebody_else_signed_is_refused_until_that_key_is_trusted(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Pair::new(folder.path(), "a"), Pair::new(folder.path(), "b"));
        let mut reader = strict(place, &ours);
        place.try_publish(sample(1), version(1), theirs.signing()).await.unwrap();
        let error = reader.fails().await;
        assert_eq!(error.upstream, Upstream::BadSignature);
        assert!(error.message.contains("not among those"), "{error}");
        // Rotation: both are in the file, without a restart.
        let both = [&ours.public, &theirs.public].map(|path| std::fs::read_to_string(path).unwrap());
        std::fs::write(&ours.public, both.concat()).unwrap();
        reader.loads().await;
    }

    async fn no_part_of_a_signed_pointer_can_be_changed(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new(folder.path(), "a");
        place.try_publish(sample(1), version(1), pair.signing()).await.unwrap();
        let mut reader = strict(place, &pair);
        reader.loads().await;
        place.try_publish(sample(2), version(2), pair.signing()).await.unwrap();
        let good = place.pointer().await;
        let changes: [fn(&mut Pointer); 7] = [
            |pointer| pointer.epoch = "db-2".into(),
            |pointer| pointer.revision += 1,
            |pointer| pointer.path = pointer.path.replace(".json.gz", "-x.json.gz"),
            |pointer| pointer.verified_at += chrono::TimeDelta::seconds(1),
            |pointer| pointer.counts.flags += 1,
            |pointer| pointer.writer.push('x'),
            |pointer| {
                // One bit of the signature.
                let sig = pointer.sig.as_mut().unwrap();
                let mut value = STANDARD.decode(&sig.value).unwrap();
                value[17] ^= 0x04;
                sig.value = STANDARD.encode(value);
            },
        ];
        for (number, change) in changes.into_iter().enumerate() {
            place.write(&keys().pointer(), good.to_bytes().unwrap()).await;
            place.change_pointer(change).await;
            let error = reader.fails().await;
            assert_eq!(error.upstream, Upstream::BadSignature, "change {number}: {error}");
        }
        // A field that this release does not know.
        let text = String::from_utf8(good.to_bytes().unwrap()).unwrap();
        place.write(&keys().pointer(), text.replacen('{', r#"{"also":"x","#, 1)).await;
        assert_eq!(reader.fails().await.upstream, Upstream::BadSignature);
        // The order of fields is no content.
        let sorted: serde_json::Value = serde_json::from_str(&text).unwrap();
        place.write(&keys().pointer(), serde_json::to_vec_pretty(&sorted).unwrap()).await;
        assert_eq!(reader.loads().await.revision, 2);
    }

    async fn a_pointer_of_another_environment_is_a_forgery(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new(folder.path(), "a");
        flipt_snapshots::publish(&*place.store, "staging", sample(1), version(1), pair.signing()).await.unwrap();
        let stolen = place.read("v1/staging/current.json").await.unwrap();
        place.write(&keys().pointer(), stolen).await;
        assert_eq!(strict(place, &pair).fails().await.upstream, Upstream::BadSignature);
    }

    async fn a_signed_new_epoch_is_trusted_and_an_old_one_does_not_come_back(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new(folder.path(), "a");
        let at = |seconds, new_epoch| {
            PublishOptions { now: Some(second(seconds)), new_epoch, ..pair.signing() }
        };
        place.try_publish(sample(9), version(9), at(0, false)).await.unwrap();
        let old = place.read(&keys().pointer()).await.unwrap();
        let mut reader = strict(place, &pair);
        reader.loads().await;
        let restored = Version { epoch: "db-2".into(), revision: 2 };
        place.try_publish(sample(2), restored, at(3600, true)).await.unwrap();
        assert_eq!(reader.loads().await.epoch, "db-2");
        place.write(&keys().pointer(), old).await;
        assert_eq!(reader.fails().await.upstream, Upstream::EpochChanged);
    }

    async fn a_forged_cache_is_not_loaded(place: &Place) {
        let folder = tempfile::tempdir().unwrap();
        let pair = Pair::new(folder.path(), "a");
        let cached = |verify: Option<Arc<VerifyKeys>>| {
            let cache = Some(CacheDir::new(folder.path().join("cache")));
            place.reader(|options| (options.verify, options.cache) = (verify, cache))
        };
        place.try_publish(sample(1), version(1), pair.signing()).await.unwrap();
        cached(pair.verifying()).loads().await;
        let outcome = cached(pair.verifying()).follower.load_cache(|_, _| Ok(())).await;
        assert!(matches!(outcome, CacheOutcome::Loaded(_)), "{outcome:?}");

        place.publish(2).await;
        cached(None).loads().await;
        let outcome = cached(pair.verifying()).follower.load_cache(|_, _| Ok(())).await;
        let CacheOutcome::Failed(error) = outcome else { panic!("{outcome:?}") };
        assert!(error.to_string().contains("not signed"), "{error}");
    }
}

#[test]
fn key_files_say_what_is_wrong_with_them_and_nothing_of_what_is_in_them() {
    let folder = tempfile::tempdir().unwrap();
    let pair = Pair::new(folder.path(), "a");
    for (text, needle) in [
        ("", "expected"),
        ("hunter2", "expected"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2", "END"),
        ("-----BEGIN PRIVATE KEY-----\nhunter2!\n-----END PRIVATE KEY-----", "Base64"),
        ("-----BEGIN PRIVATE KEY-----\naHVudGVyMg==\n-----END PRIVATE KEY-----", "Ed25519"),
    ] {
        let path = folder.path().join("bad.pem");
        std::fs::write(&path, text).unwrap();
        let error = SigningKey::from_file(&path).unwrap_err().to_string();
        assert!(error.contains(needle) && error.contains("bad.pem"), "{text}: {error}");
        assert!(!error.contains("hunter2"), "{error}");
        assert!(VerifyKeys::from_file(&path).is_err());
    }
    // Neither takes the other half.
    assert!(SigningKey::from_file(&pair.public).is_err());
    assert!(VerifyKeys::from_file(&pair.private).is_err());
    assert!(!format!("{:?}", SigningKey::from_file(&pair.private).unwrap()).contains("pair"));
}
