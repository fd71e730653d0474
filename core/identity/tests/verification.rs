//! Which tokens are accepted, and each reason to refuse one, with real signatures.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod support;

use std::sync::Arc;
use std::time::Duration;

use flipt_identity::{
    AllowEntry, AuthError, Caller, Issuance, Mode, Permission, Pod, Refusal, Verifier, VerifierConfig,
    is_service_account_token,
};
use proptest::prelude::*;
use serde_json::{Value, json};
use support::*;

/// Verifies claims that the key `rsa` signed.
fn verify(verifier: &Verifier, claims: &Value) -> Result<Arc<Caller>, AuthError> {
    verifier.verify(Some(&bearer(&RSA.token("RS256", "rsa", claims))), now())
}

fn refusal(changes: Value) -> AuthError {
    verify(&verifier(), &claims_with(&changes)).unwrap_err()
}

fn with_mode(mode: Mode) -> Verifier {
    Verifier::new(VerifierConfig::new(ISSUER, mode), key_set(&[RSA.jwk("rsa")]))
}

#[test]
fn accepts_a_token_of_this_pod() {
    let caller = verify(&verifier(), &claims()).unwrap();
    assert_eq!((caller.namespace.as_str(), caller.service_account.as_str()), ("shop", "checkout"));
    assert_eq!(caller.pod, Some(Pod { name: "checkout-1".into(), uid: POD.into() }));
    assert_eq!(caller.expires_at, at(NOW + 3000));
    assert!(caller.allows("any", Permission::Evaluate) && !caller.allows("any", Permission::Read));
}

#[test]
fn accepts_every_kind_of_key_with_its_algorithm() {
    let mut for_any_padding = RSA.jwk("pss");
    for_any_padding.as_object_mut().unwrap().remove("alg");
    let keys = [RSA.jwk("rsa"), for_any_padding, P256.jwk("p256"), P384.jwk("p384"), ED25519.jwk("ed25519")];
    let verifier = Verifier::new(same_pod(), key_set(&keys));
    for (signer, algorithm, kid) in [
        (&RSA, "RS256", "rsa"),
        (&RSA, "PS256", "pss"),
        (&P256, "ES256", "p256"),
        (&P384, "ES384", "p384"),
        (&ED25519, "EdDSA", "ed25519"),
    ] {
        let token = signer.token(algorithm, kid, &claims());
        assert!(verifier.verify(Some(&bearer(&token)), now()).is_ok(), "{algorithm}");
    }
}

#[test]
fn accepts_the_scheme_in_any_case_and_one_audience_as_text() {
    let token = RSA.token("RS256", "rsa", &claims_with(&json!({ "aud": "flipt" })));
    for header in [format!("bearer {token}"), format!("BEARER  {token}"), format!(" Bearer {token} ")] {
        assert!(verifier().verify(Some(&header), now()).is_ok(), "{header:?}");
    }
}

#[test]
fn refuses_a_request_without_token() {
    for header in
        [None, Some(""), Some("Bearer"), Some("Bearer "), Some("Basic dXNlcjpwYXNz"), Some("JWT a.b.c")]
    {
        assert_eq!(verifier().verify(header, now()), Err(AuthError::MissingToken), "{header:?}");
    }
}

#[test]
fn refuses_what_is_no_token() {
    let token = RSA.token("RS256", "rsa", &claims());
    let (message, signature) = token.rsplit_once('.').unwrap();
    let no_kid = json!({ "alg": "RS256" });
    let critical = json!({ "alg": "RS256", "kid": "rsa", "crit": ["b64"], "b64": false });
    for text in [
        "opaque".to_owned(),
        "a.b".to_owned(),
        "a.b.c".to_owned(),
        "..".to_owned(),
        message.to_owned(),
        format!("{token}.{signature}"),
        format!("{token} {token}"),
        format!("{}.{signature}", support::message(&no_kid, &claims())),
        format!("{}.{signature}", support::message(&critical, &claims())),
        format!("{}.{signature}", support::message(&json!([]), &claims())),
        format!(
            "{}.{signature}",
            support::message(&json!({ "alg": "RS256", "kid": "rsa" }), &json!("claims"))
        ),
        RSA.token("RS256", "rsa", &claims_with(&json!({ "exp": "tomorrow" }))),
        RSA.token("RS256", "rsa", &claims_with(&json!({ "exp": -1 }))),
    ] {
        assert_eq!(verifier().verify(Some(&bearer(&text)), now()), Err(AuthError::MalformedToken), "{text}");
    }
}

#[test]
fn refuses_a_token_larger_than_8_kib_even_if_it_is_genuine() {
    let with_padding =
        |size: usize| RSA.token("RS256", "rsa", &claims_with(&json!({ "padding": "x".repeat(size) })));
    let (fits, too_large) = (with_padding(5000), with_padding(7000));
    assert!(fits.len() <= 8192 && too_large.len() > 8192);
    assert!(verifier().verify(Some(&bearer(&fits)), now()).is_ok());
    assert_eq!(verifier().verify(Some(&bearer(&too_large)), now()), Err(AuthError::MalformedToken));
}

#[test]
fn refuses_algorithm_none() {
    for algorithm in ["none", "None", "NONE", "nOnE", ""] {
        let message = message(&json!({ "alg": algorithm, "kid": "rsa" }), &claims());
        for token in [format!("{message}."), format!("{message}.c2ln")] {
            let error = verifier().verify(Some(&bearer(&token)), now()).unwrap_err();
            assert_eq!(error, AuthError::UnsupportedAlgorithm, "{algorithm}");
        }
    }
}

#[test]
fn refuses_the_public_key_as_shared_secret() {
    let jwk = RSA.jwk("rsa");
    let pem = RSA.pem();
    let modulus = jwk["n"].as_str().unwrap();
    let secrets = [
        pem.clone(),
        pem.trim_end().to_owned(),
        jwk.to_string(),
        json!({ "keys": [jwk] }).to_string(),
        modulus.to_owned(),
        String::new(),
    ];
    for secret in secrets {
        let token = hmac_token(secret.as_bytes(), "rsa", &claims());
        assert_eq!(verifier().verify(Some(&bearer(&token)), now()), Err(AuthError::UnsupportedAlgorithm));
    }
}

#[test]
fn refuses_a_shared_secret_even_if_the_key_set_names_one() {
    let secret = b"a secret that everybody who verifies would know";
    let oct = json!({ "kty": "oct", "kid": "oct", "alg": "HS256", "k": url(secret) });
    let verifier = Verifier::new(same_pod(), key_set(&[oct, RSA.jwk("rsa")]));
    let token = hmac_token(secret, "oct", &claims());
    assert_eq!(verifier.verify(Some(&bearer(&token)), now()), Err(AuthError::UnsupportedAlgorithm));
}

#[test]
fn refuses_an_algorithm_that_is_not_the_keys() {
    let keys = key_set(&[RSA.jwk("rsa"), P256.jwk("p256"), P384.jwk("p384"), ED25519.jwk("ed25519")]);
    let verifier = Verifier::new(same_pod(), keys);
    for (signer, algorithm, kid) in [
        (&RSA, "RS256", "p256"),
        (&P256, "ES256", "rsa"),
        (&P256, "ES256", "p384"),
        (&P384, "ES384", "p256"),
        (&ED25519, "EdDSA", "rsa"),
        // The key is for RS256 alone.
        (&RSA, "PS256", "rsa"),
    ] {
        let token = signer.token(algorithm, kid, &claims());
        let error = verifier.verify(Some(&bearer(&token)), now()).unwrap_err();
        assert_eq!(error, AuthError::UnsupportedAlgorithm, "{algorithm} with {kid}");
    }
}

#[test]
fn refuses_an_unknown_key() {
    let token = OTHER_RSA.token("RS256", "other", &claims());
    assert_eq!(verifier().verify(Some(&bearer(&token)), now()), Err(AuthError::UnknownKey));
}

#[test]
fn refuses_the_signature_of_another_key_under_a_known_id() {
    let token = OTHER_RSA.token("RS256", "rsa", &claims());
    assert_eq!(verifier().verify(Some(&bearer(&token)), now()), Err(AuthError::BadSignature));
}

#[test]
fn refuses_changed_claims() {
    let genuine = RSA.token("RS256", "rsa", &claims());
    let signature = genuine.rsplit_once('.').unwrap().1;
    let header = json!({ "alg": "RS256", "kid": "rsa" });
    let longer = claims_with(&json!({ "exp": NOW + 9000 }));
    let token = format!("{}.{signature}", message(&header, &longer));
    assert_eq!(verifier().verify(Some(&bearer(&token)), now()), Err(AuthError::BadSignature));
}

#[test]
fn refuses_a_damaged_or_missing_signature() {
    let genuine = RSA.token("RS256", "rsa", &claims());
    let (message, signature) = genuine.rsplit_once('.').unwrap();
    let flipped: String = signature.chars().rev().collect();
    for signature in ["", "c2ln", "!", &signature[4..], &flipped] {
        let token = format!("{message}.{signature}");
        assert_eq!(
            verifier().verify(Some(&bearer(&token)), now()),
            Err(AuthError::BadSignature),
            "{signature}"
        );
    }
}

#[test]
fn refuses_another_issuer() {
    for issuer in [json!("https://elsewhere"), json!(format!("{ISSUER}/")), json!(""), Value::Null] {
        assert_eq!(refusal(json!({ "iss": issuer })), AuthError::WrongIssuer, "{issuer}");
    }
}

#[test]
fn refuses_another_audience() {
    for audience in [json!(["vault"]), json!("flipt2"), json!([]), json!([ISSUER]), json!([""]), Value::Null]
    {
        assert_eq!(refusal(json!({ "aud": audience })), AuthError::WrongAudience, "{audience}");
    }
}

#[test]
fn accepts_one_audience_of_several() {
    assert!(verify(&verifier(), &claims_with(&json!({ "aud": ["vault", "flipt"] }))).is_ok());
}

#[test]
fn accepts_a_token_for_the_api_server_only_if_told_to() {
    let year = claims_with(&json!({ "aud": [ISSUER], "exp": NOW + 365 * 86_400 }));
    assert_eq!(verify(&verifier(), &year), Err(AuthError::WrongAudience));
    let config = VerifierConfig { accept_api_audience: true, ..same_pod() };
    let verifier = Verifier::new(config, key_set(&[RSA.jwk("rsa")]));
    assert!(verify(&verifier, &year).is_ok());
    let own_audience = claims_with(&json!({ "exp": NOW + 365 * 86_400 }));
    assert_eq!(verify(&verifier, &own_audience), Err(AuthError::TooLongLived));
}

#[test]
fn refuses_an_expired_token_after_the_leeway() {
    assert!(verify(&verifier(), &claims_with(&json!({ "exp": NOW - 29 }))).is_ok());
    let error = refusal(json!({ "exp": NOW - 30 }));
    assert_eq!(error, AuthError::Expired { seconds_ago: 30 });
    assert_eq!(refusal(json!({ "exp": 0 })), AuthError::Expired { seconds_ago: NOW });
    assert!(error.to_string().contains("30 seconds ago"), "{error}");
}

#[test]
fn bounds_the_leeway() {
    let config = VerifierConfig { leeway: Duration::from_secs(3600), ..same_pod() };
    let verifier = Verifier::new(config, key_set(&[RSA.jwk("rsa")]));
    assert!(verify(&verifier, &claims_with(&json!({ "exp": NOW - 59 }))).is_ok());
    let error = verify(&verifier, &claims_with(&json!({ "exp": NOW - 60 }))).unwrap_err();
    assert_eq!(error, AuthError::Expired { seconds_ago: 60 });
}

#[test]
fn grace_lengthens_the_life_of_a_token_but_not_without_end() {
    let after = |grace: u64, seconds: u64| {
        let config = VerifierConfig { grace: Duration::from_secs(grace), ..same_pod() };
        let verifier = Verifier::new(config, key_set(&[RSA.jwk("rsa")]));
        let token = bearer(&RSA.token("RS256", "rsa", &claims()));
        verifier.verify(Some(&token), at(NOW + 3000 + seconds)).is_ok()
    };
    assert!(after(600, 629) && !after(600, 631) && !after(0, 31));
    assert!(after(1_000_000, 3_629) && !after(1_000_000, 3_631));
}

#[test]
fn an_issuer_that_becomes_known_later_is_accepted_from_then_on() {
    let config = VerifierConfig { issuers: vec![], accept_api_audience: true, ..same_pod() };
    let verifier = Verifier::new(config, key_set(&[RSA.jwk("rsa")]));
    assert!(!verifier.is_ready());
    assert_eq!(verify(&verifier, &claims()).unwrap_err(), AuthError::KeysUnavailable);
    let public = "https://oidc.example/id/1";
    verifier.replace_issuers(&[public.to_owned()], &["k3s".to_owned()]);
    assert!(verifier.is_ready());
    assert_eq!(verify(&verifier, &claims()).unwrap_err(), AuthError::WrongIssuer);
    // The API server calls itself something else than its issuer here.
    for (audience, accepted) in
        [("k3s", true), ("https://kubernetes.default.svc", true), (public, true), ("vault", false)]
    {
        let claims = claims_with(&json!({ "iss": public, "aud": [audience] }));
        assert_eq!(verify(&verifier, &claims).is_ok(), accepted, "{audience}");
        assert_eq!(verifier.audiences().iter().any(|known| known == audience), accepted);
    }
    // What was verified under the old issuer is not remembered under the new one.
    verifier.replace_issuers(&[ISSUER.to_owned()], &[]);
    let claims = claims_with(&json!({ "iss": public, "aud": [public] }));
    assert_eq!(verify(&verifier, &claims).unwrap_err(), AuthError::WrongIssuer);
}

#[test]
fn tells_tokens_of_service_accounts_from_everything_else() {
    let signed = |claims: &Value| RSA.token("RS256", "rsa", claims);
    assert!(is_service_account_token(&signed(&claims())));
    assert!(is_service_account_token(&signed(&claims_with(&json!({ "kubernetes.io": null })))));
    assert!(is_service_account_token(&signed(&claims_with(&json!({ "sub": "system:serviceaccount:a:b" })))));
    let person = claims_with(&json!({ "kubernetes.io": null, "sub": "ada@example.com" }));
    for token in [signed(&person).as_str(), "", "a", "a.b.c", "..", &"a".repeat(10_000), "n4bQgYhMfWWaL-qgx="]
    {
        assert!(!is_service_account_token(token), "{token}");
    }
    let own = Issuance::of(&signed(&claims())).unwrap();
    assert_eq!((own.issuer.as_str(), own.audiences.as_slice()), (ISSUER, &["flipt".to_owned()][..]));
    assert!(Issuance::of("a.b.c").is_err());
}

#[test]
fn refuses_a_token_from_the_future_after_the_leeway() {
    for claim in ["iat", "nbf"] {
        assert!(verify(&verifier(), &claims_with(&json!({ claim: NOW + 60 }))).is_ok());
        assert_eq!(refusal(json!({ claim: NOW + 61 })), AuthError::NotYetValid { seconds: 61 });
        assert_eq!(refusal(json!({ claim: NOW + 61 })).class(), "clock_skew");
    }
}

#[test]
fn refuses_a_token_that_lives_longer_than_25_hours() {
    let hours = |hours: u64| json!({ "iat": NOW, "exp": NOW + hours * 3600 });
    assert!(verify(&verifier(), &claims_with(&hours(25))).is_ok());
    assert_eq!(refusal(hours(26)), AuthError::TooLongLived);
    assert_eq!(refusal(json!({ "exp": u64::MAX })), AuthError::TooLongLived);
}

#[test]
fn refuses_a_legacy_token() {
    // As a secret of type service-account-token holds it: no expiry, no audience, an issuer of its own.
    let legacy = json!({
        "iss": "kubernetes/serviceaccount",
        "kubernetes.io/serviceaccount/namespace": "shop",
        "kubernetes.io/serviceaccount/secret.name": "checkout-token-abcde",
        "kubernetes.io/serviceaccount/service-account.name": "checkout",
        "sub": "system:serviceaccount:shop:checkout",
    });
    assert_eq!(verify(&verifier(), &legacy), Err(AuthError::WrongIssuer));
    let mut ours = legacy;
    ours["iss"] = ISSUER.into();
    assert_eq!(verify(&verifier(), &ours), Err(AuthError::WrongAudience));
    ours["aud"] = json!(["flipt"]);
    assert_eq!(verify(&verifier(), &ours), Err(AuthError::MissingClaim("exp")));
    ours["exp"] = json!(NOW + 60);
    assert_eq!(verify(&verifier(), &ours), Err(AuthError::MissingClaim("iat")));
    ours["iat"] = json!(NOW);
    assert_eq!(verify(&verifier(), &ours), Err(AuthError::BadSubject));
}

#[test]
fn refuses_a_subject_that_is_not_the_named_service_account() {
    for subject in [
        "system:serviceaccount:shop:cart",
        "system:serviceaccount:bank:checkout",
        "system:serviceaccount:shop:checkout:x",
        "system:serviceaccount:shop",
        "system:node:node-1",
        "checkout",
        "",
    ] {
        assert_eq!(refusal(json!({ "sub": subject })), AuthError::BadSubject, "{subject}");
    }
    assert_eq!(refusal(json!({ "kubernetes.io": null })), AuthError::BadSubject);
    // Agreeing is not enough if neither is a name.
    let nameless = json!({
        "sub": "system:serviceaccount::",
        "kubernetes.io": { "namespace": "", "serviceaccount": { "name": "" } },
    });
    assert_eq!(refusal(nameless), AuthError::BadSubject);
}

fn not_allowed(refusal: Refusal) -> AuthError {
    AuthError::NotAllowed { namespace: "shop".into(), service_account: "checkout".into(), refusal }
}

#[test]
fn refuses_another_pod() {
    let kubernetes = |pod: Value| {
        let mut claims = json!({ "namespace": "shop", "serviceaccount": { "name": "checkout", "uid": "1" } });
        if !pod.is_null() {
            claims["pod"] = pod;
        }
        json!({ "kubernetes.io": claims })
    };
    for pod in [json!({ "name": "checkout-2", "uid": "other" }), json!({ "name": "checkout-1" }), Value::Null]
    {
        let error = refusal(kubernetes(pod.clone()));
        assert_eq!(error, not_allowed(Refusal::OtherPod), "{pod}");
        assert!(error.is_forbidden());
    }
    // A verifier that does not know its own uid lets nobody in, not even a token without one.
    let lost = with_mode(Mode::SamePod { pod_uid: String::new() });
    for pod in [json!({ "name": "checkout-1", "uid": "" }), Value::Null] {
        let claims = claims_with(&kubernetes(pod));
        assert_eq!(verify(&lost, &claims), Err(not_allowed(Refusal::OtherPod)));
    }
}

#[test]
fn the_looser_modes_accept_as_far_as_they_say() {
    let service_account = |namespace: &str, name: &str| {
        with_mode(Mode::SameServiceAccount { namespace: namespace.into(), name: name.into() })
    };
    assert!(verify(&service_account("shop", "checkout"), &claims()).is_ok());
    for other in [service_account("shop", "cart"), service_account("bank", "checkout")] {
        assert_eq!(verify(&other, &claims()), Err(not_allowed(Refusal::OtherServiceAccount)));
    }
    assert!(verify(&with_mode(Mode::SameNamespace { namespace: "shop".into() }), &claims()).is_ok());
    assert_eq!(
        verify(&with_mode(Mode::SameNamespace { namespace: "bank".into() }), &claims()),
        Err(not_allowed(Refusal::OtherNamespace))
    );
    assert!(verify(&with_mode(Mode::Cluster), &claims()).is_ok());
}

fn entry(namespace: &str, service_account: &str, flipt: &[&str], permission: Permission) -> AllowEntry {
    AllowEntry {
        namespace: namespace.into(),
        service_account: service_account.into(),
        flipt_namespaces: flipt.iter().map(|&pattern| pattern.into()).collect(),
        permission,
    }
}

fn with_allow(mode: Mode, allow: Vec<AllowEntry>) -> Verifier {
    Verifier::new(VerifierConfig { allow, ..VerifierConfig::new(ISSUER, mode) }, key_set(&[RSA.jwk("rsa")]))
}

#[test]
fn refuses_whom_the_allow_list_does_not_name() {
    for allow in [
        vec![],
        vec![entry("bank", "*", &["*"], Permission::Write)],
        vec![entry("shop", "cart", &["*"], Permission::Write)],
        vec![entry("sho", "checkout", &["*"], Permission::Write)],
    ] {
        let verifier = with_allow(Mode::Allowlist, allow);
        assert_eq!(verify(&verifier, &claims()), Err(not_allowed(Refusal::NotListed)));
    }
}

#[test]
fn adds_up_what_the_allow_list_grants() {
    let verifier = with_allow(
        Mode::Allowlist,
        vec![
            entry("shop", "*", &["shop", "shop-*"], Permission::Evaluate),
            entry("*", "checkout", &["payments"], Permission::Read),
            entry("bank", "checkout", &["*"], Permission::Write),
        ],
    );
    let caller = verify(&verifier, &claims()).unwrap();
    for (namespace, permission, allowed) in [
        ("shop", Permission::Evaluate, true),
        ("shop-eu", Permission::Evaluate, true),
        ("shop", Permission::Read, false),
        ("payments", Permission::Evaluate, true),
        ("payments", Permission::Read, true),
        ("payments", Permission::Write, false),
        ("default", Permission::Evaluate, false),
    ] {
        assert_eq!(caller.allows(namespace, permission), allowed, "{namespace} {permission:?}");
    }
}

#[test]
fn an_allow_list_restricts_the_other_modes() {
    let allow = vec![entry("shop", "*", &["shop"], Permission::Evaluate)];
    let caller = verify(&with_allow(Mode::SamePod { pod_uid: POD.into() }, allow), &claims()).unwrap();
    assert!(caller.allows("shop", Permission::Evaluate) && !caller.allows("payments", Permission::Evaluate));
    let allow = vec![entry("bank", "*", &["*"], Permission::Write)];
    assert_eq!(verify(&with_allow(Mode::Cluster, allow), &claims()), Err(not_allowed(Refusal::NotListed)));
}

#[test]
fn an_allow_list_reads_as_configurations_write_it() {
    let json = json!({ "namespace": "shop", "service_account": "*", "flipt_namespaces": ["shop"], "permission": "read" });
    let read: AllowEntry = serde_json::from_value(json).unwrap();
    assert_eq!(read, entry("shop", "*", &["shop"], Permission::Read));
    let mistyped = json!({ "namespace": "shop", "serviceAccount": "*", "flipt_namespaces": ["shop"] });
    assert!(serde_json::from_value::<AllowEntry>(mistyped).is_err());
}

#[test]
fn without_keys_the_fault_is_not_the_callers() {
    let verifier = Verifier::new(same_pod(), key_set(&[]));
    let error = verify(&verifier, &claims()).unwrap_err();
    assert_eq!(error, AuthError::KeysUnavailable);
    assert!(error.is_unavailable() && !error.is_forbidden());
}

#[test]
fn remembers_a_token_for_a_minute() {
    let verifier = verifier();
    let header = bearer(&RSA.token("RS256", "rsa", &claims()));
    let first = verifier.verify(Some(&header), at(NOW)).unwrap();
    let within = verifier.verify(Some(&header), at(NOW + 59)).unwrap();
    let after = verifier.verify(Some(&header), at(NOW + 60)).unwrap();
    assert!(Arc::ptr_eq(&first, &within));
    assert!(!Arc::ptr_eq(&first, &after));
}

#[test]
fn remembers_no_token_beyond_its_end() {
    let verifier =
        Verifier::new(VerifierConfig { leeway: Duration::ZERO, ..same_pod() }, key_set(&[RSA.jwk("rsa")]));
    let header = bearer(&RSA.token("RS256", "rsa", &claims_with(&json!({ "exp": NOW + 10 }))));
    assert!(verifier.verify(Some(&header), at(NOW)).is_ok());
    assert!(verifier.verify(Some(&header), at(NOW + 9)).is_ok());
    assert_eq!(verifier.verify(Some(&header), at(NOW + 10)), Err(AuthError::Expired { seconds_ago: 0 }));
}

#[test]
fn remembers_no_refusal() {
    let verifier = verifier();
    let header = bearer(&RSA.token("RS256", "rsa", &claims_with(&json!({ "nbf": NOW + 100 }))));
    assert!(verifier.verify(Some(&header), at(NOW)).is_err());
    assert!(verifier.verify(Some(&header), at(NOW + 50)).is_ok());
}

#[test]
fn replacing_the_keys_revokes_remembered_tokens() {
    let verifier = verifier();
    let header = bearer(&RSA.token("RS256", "rsa", &claims()));
    let first = verifier.verify(Some(&header), now()).unwrap();

    verifier.replace_keys(key_set(&[RSA.jwk("rsa")]));
    assert!(Arc::ptr_eq(&first, &verifier.verify(Some(&header), now()).unwrap()), "the keys are the same");

    verifier.replace_keys(key_set(&[OTHER_RSA.jwk("other")]));
    assert_eq!(verifier.verify(Some(&header), now()), Err(AuthError::UnknownKey));
    verifier.replace_keys(key_set(&[OTHER_RSA.jwk("rsa")]));
    assert_eq!(verifier.verify(Some(&header), now()), Err(AuthError::BadSignature));
    verifier.replace_keys(key_set(&[RSA.jwk("rsa"), OTHER_RSA.jwk("other")]));
    assert!(verifier.verify(Some(&header), now()).is_ok());
}

#[test]
fn no_error_shows_the_token() {
    let token = OTHER_RSA.token("RS256", "rsa", &claims());
    for (error, class) in [
        (verifier().verify(Some(&bearer(&token)), now()).unwrap_err(), "bad_signature"),
        (refusal(json!({ "iss": "https://secret.example" })), "wrong_issuer"),
        (refusal(json!({ "sub": "secret" })), "bad_subject"),
    ] {
        let text = format!("{error} {error:?}");
        assert!(!text.contains("secret") && token.split('.').all(|part| !text.contains(part)), "{text}");
        assert_eq!(error.class(), class);
    }
}

proptest! {
    #[test]
    fn never_panics(header in any::<Option<String>>(), parts in "[A-Za-z0-9_.-]{0,60}", seconds in any::<u32>()) {
        let verifier = verifier();
        prop_assert!(verifier.verify(header.as_deref(), at(seconds.into())).is_err());
        prop_assert!(verifier.verify(Some(&bearer(&parts)), at(seconds.into())).is_err());
    }

    #[test]
    fn never_panics_on_genuine_tokens(exp in any::<u64>(), iat in any::<u64>(), nbf in any::<u64>(), sub in any::<String>()) {
        let claims = claims_with(&json!({ "exp": exp, "iat": iat, "nbf": nbf, "sub": sub }));
        prop_assert!(verify(&verifier(), &claims).is_err());
    }
}
