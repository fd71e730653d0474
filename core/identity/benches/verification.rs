//! Time to verify a token, with and without the cache.

#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../tests/support/mod.rs"]
mod support;

use std::hint::black_box;
use std::time::Instant;

use flipt_identity::{Verifier, VerifierConfig};
use support::{OTHER_RSA, P256, RSA, bearer, claims, claims_with, key_set, now, same_pod};

fn main() {
    let keys = || key_set(&[RSA.jwk("rsa"), P256.jwk("p256")]);
    let without_cache = Verifier::new(VerifierConfig { cache_entries: 0, ..same_pod() }, keys());
    let verifier = Verifier::new(same_pod(), keys());
    let rs256 = bearer(&RSA.token("RS256", "rsa", &claims()));
    let es256 = bearer(&P256.token("ES256", "p256", &claims()));
    let expired = bearer(&RSA.token("RS256", "rsa", &claims_with(&serde_json::json!({ "exp": 1 }))));
    let forged = bearer(&OTHER_RSA.token("RS256", "rsa", &claims()));

    println!("token of {} bytes", rs256.len());
    for (name, verifier, header, turns) in [
        ("RS256", &without_cache, &rs256, 5_000),
        ("ES256", &without_cache, &es256, 2_000),
        ("refused: forged signature", &without_cache, &forged, 5_000),
        ("refused: expired", &without_cache, &expired, 50_000),
        ("remembered", &verifier, &rs256, 200_000),
    ] {
        let round = || {
            let start = Instant::now();
            for _ in 0..turns {
                let _ = black_box(verifier.verify(Some(black_box(header)), now()));
            }
            start.elapsed().as_secs_f64() * 1e6 / f64::from(turns)
        };
        // The fastest round is the one that was disturbed least.
        let fastest = (0..9).map(|_| round()).fold(f64::INFINITY, f64::min);
        println!("{name:<28} {fastest:>8.3} µs");
    }
}
