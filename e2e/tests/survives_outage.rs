//! Promise: the sidecar answers whatever else is down, says how old its answers are, and recovers by itself.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::{
    path::PathBuf,
    time::{Duration, Instant},
};

use flipt_e2e::{
    BEFORE_THE_KUBELET, PATIENCE, S3, Server, ServerOptions, Sidecar, SidecarOptions, http::Answer, until,
    until_some,
};
use flipt_proto::{evaluation::EvaluationRequest, ofrep::EvaluateFlagRequest};
use serde_json::{Value, json};

const FLAGS: &str = "/api/v1/namespaces/default/flags";

/// A server with the flag `checkout` on and the rollout `half` at 50 %, publishing to S3.
async fn publishing_server(s3: &S3) -> Server {
    let heartbeat = ("FLIPT_SNAPSHOTS_PUBLISH_HEARTBEAT".to_owned(), "1s".to_owned());
    let options =
        ServerOptions::new().publish_to(&s3.at("flags")).with_env(s3.credentials()).with_env([heartbeat]);
    let server = Server::start(options).await.unwrap();
    for (key, enabled) in [("checkout", true), ("half", false)] {
        let flag = json!({ "key": key, "name": key, "type": "BOOLEAN_FLAG_TYPE", "enabled": enabled });
        server.change("POST", FLAGS, flag).await.unwrap();
    }
    let rollout = json!({ "rank": 1, "threshold": { "percentage": 50, "value": true } });
    server.change("POST", &format!("{FLAGS}/half/rollouts"), rollout).await.unwrap();
    server
}

fn options(s3: &S3) -> SidecarOptions {
    SidecarOptions::new(s3.at("flags")).with_env(s3.credentials())
}

async fn evaluate(sidecar: &Sidecar, flag: &str, entity: &str) -> Answer {
    let body = json!({ "flagKey": flag, "entityId": entity });
    sidecar.post("/evaluate/v1/boolean", &body, None).await.unwrap()
}

/// The decisions on `half` for some entities.
async fn decisions(sidecar: &Sidecar) -> Vec<bool> {
    let mut decisions = Vec::new();
    for entity in 0..40 {
        decisions.push(sidecar.boolean("half", &format!("e{entity}")).await.unwrap());
    }
    decisions
}

async fn until_it_knows_all_flags(sidecar: &Sidecar) {
    until("every change has arrived", PATIENCE, || async {
        let answer = sidecar.boolean("half", "e0").await.is_ok();
        answer && decisions(sidecar).await.contains(&true)
    })
    .await
    .unwrap();
}

/// The pointer in the cache; `null` while there is none.
fn cached_pointer(sidecar: &Sidecar) -> Value {
    let pointer = std::fs::read(sidecar.cache_folder().join("default/current.json"));
    serde_json::from_slice(&pointer.unwrap_or_default()).unwrap_or_default()
}

/// The objects in the cache.
fn cached_objects(sidecar: &Sidecar) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(sidecar.cache_folder().join("default")).into_iter().flatten();
    let paths = entries.map(|entry| entry.unwrap().path());
    paths.filter(|path| path.to_string_lossy().ends_with(".json.gz")).collect()
}

/// Waits until the cache holds what is loaded: it is written a moment later.
async fn until_it_is_cached(sidecar: &Sidecar) {
    until("the cache holds what is loaded", PATIENCE, || async {
        let (status, pointer) = (sidecar.status().await.unwrap(), cached_pointer(sidecar));
        (&pointer["digest"], &pointer["revision"]) == (&status["digest"], &status["revision"])
            && cached_objects(sidecar).len() == 1
    })
    .await
    .unwrap();
}

/// The age of the snapshot in its three places.
async fn ages(sidecar: &Sidecar) -> [f64; 3] {
    let answer = evaluate(sidecar, "checkout", "e").await;
    let header = answer.header("x-flipt-snapshot-age").expect("the header is there").parse().unwrap();
    let status = sidecar.status().await.unwrap()["ageSeconds"].as_f64().unwrap();
    [header, status, sidecar.metric("flipt_snapshot_age_seconds").await.unwrap().unwrap()]
}

#[tokio::test]
async fn keeps_answering_with_its_age_visible_and_growing_after_server_and_s3_were_killed() {
    let mut s3 = S3::start(&["flags"]).await.unwrap();
    let mut server = publishing_server(&s3).await;
    let sidecar = Sidecar::start(options(&s3).with_arguments(&["--stale-after", "5s"])).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    let before = decisions(&sidecar).await;
    assert!(before.contains(&true) && before.contains(&false));
    until("the snapshot is fresh", PATIENCE, || async {
        sidecar.status().await.unwrap()["stale"] == false
            && sidecar.metric("flipt_snapshot_stale").await.unwrap() == Some(0.0)
    })
    .await
    .unwrap();

    server.kill();
    s3.kill();
    let first = ages(&sidecar).await;
    until("all three ages have grown by three seconds", PATIENCE, || async {
        ages(&sidecar).await.iter().zip(first).all(|(now, first)| *now >= first + 3.0)
    })
    .await
    .unwrap();
    until("the snapshot is stale", PATIENCE, || async {
        sidecar.status().await.unwrap()["stale"] == true
            && sidecar.metric("flipt_snapshot_stale").await.unwrap() == Some(1.0)
    })
    .await
    .unwrap();
    let asked = Instant::now();
    let [header, status, metric] = ages(&sidecar).await;
    // They come from three requests, one after the other.
    let took = asked.elapsed().as_secs_f64();
    assert!(
        (header - status).abs() <= 1.0 + took && (header - metric).abs() <= 2.0 + took,
        "{header} {status} {metric}"
    );

    assert_eq!(decisions(&sidecar).await, before);
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    // The poll that is under way tries for some seconds before it gives up.
    let status = until_some("upstream is unreachable", PATIENCE, || async {
        Some(sidecar.status().await.unwrap()).filter(|status| status["upstream"] == "unreachable")
    })
    .await
    .unwrap();
    assert_eq!(status["loaded"], true);
    assert!(status["lastError"].as_str().unwrap().contains("flags"), "{status}");
    // Age does not make it unready unless that was asked for.
    assert_eq!(sidecar.probe("/readyz").await, Ok(200));
    assert_eq!(sidecar.probe("/livez").await, Ok(200));
}

#[tokio::test]
async fn answers_from_its_cache_after_a_restart_without_server_and_s3() {
    let mut s3 = S3::start(&["flags"]).await.unwrap();
    let mut server = publishing_server(&s3).await;
    let mut sidecar = Sidecar::start(options(&s3)).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    until_it_is_cached(&sidecar).await;
    let (before, status) = (decisions(&sidecar).await, sidecar.status().await.unwrap());
    assert_eq!(status["source"], "s3");

    server.kill();
    s3.kill();
    sidecar.kill();
    let cached = cached_pointer(&sidecar);
    sidecar.restart().await.unwrap();
    assert_eq!(decisions(&sidecar).await, before);
    let after = sidecar.status().await.unwrap();
    assert_eq!(after["source"], "cache");
    for member in ["revision", "epoch", "digest"] {
        assert_eq!(after[member], status[member], "{member}");
    }
    // The age counts on from the last confirmation that was written, not from the restart.
    assert_eq!(after["verifiedAt"], cached["verifiedAt"]);
    assert_eq!(sidecar.probe("/startupz").await, Ok(200));
    assert_eq!(sidecar.probe("/readyz").await, Ok(200));
}

/// What callers of every protocol are told while there is no snapshot.
async fn assert_not_ready(sidecar: &Sidecar) {
    let answer = evaluate(sidecar, "checkout", "e").await;
    assert_eq!((answer.status, &answer.json()["code"]), (503, &json!(14)), "{}", answer.text());
    assert_eq!(answer.header("x-flipt-snapshot-age"), None);
    let context = json!({ "context": { "targetingKey": "e" } });
    for path in ["/ofrep/v1/evaluate/flags/checkout", "/ofrep/v1/evaluate/flags"] {
        let answer = sidecar.post(path, &context, None).await.unwrap();
        assert_eq!(
            (answer.status, &answer.json()["errorCode"]),
            (503, &json!("PROVIDER_NOT_READY")),
            "{path}"
        );
    }
    let legacy = json!({ "flagKey": "checkout", "entityId": "e" });
    assert_eq!(sidecar.post("/api/v1/evaluate", &legacy, None).await.unwrap().status, 503);
    let grpc = sidecar.grpc().unwrap();
    let request =
        EvaluationRequest { flag_key: "checkout".into(), entity_id: "e".into(), ..Default::default() };
    assert_eq!(grpc.evaluation().boolean(request).await.unwrap_err().code(), tonic::Code::Unavailable);
    let request = EvaluateFlagRequest { key: "checkout".into(), ..Default::default() };
    assert_eq!(grpc.ofrep().evaluate_flag(request).await.unwrap_err().code(), tonic::Code::Unavailable);
    let status = sidecar.status().await.unwrap();
    assert_eq!((&status["loaded"], &status["verifiedAt"]), (&json!(false), &Value::Null));
    assert_eq!(sidecar.probe("/livez").await, Ok(200));
}

async fn until_it_recovers(sidecar: &Sidecar) {
    // Pauses grow with every failure, up to a minute; a short outage means a short pause.
    until("it answers", PATIENCE, || async { sidecar.boolean("checkout", "e").await == Ok(true) })
        .await
        .unwrap();
    assert_eq!(sidecar.probe("/startupz").await, Ok(200));
    assert_eq!(sidecar.probe("/readyz").await, Ok(200));
    // Whoever asks may learn the new flags a moment before the status does.
    until("the status says so", PATIENCE, || async {
        let status = sidecar.status().await.unwrap();
        (&status["upstream"], &status["source"]) == (&json!("ok"), &json!("s3"))
    })
    .await
    .unwrap();
}

#[tokio::test]
async fn with_policy_block_it_does_not_start_without_a_snapshot_and_recovers_by_itself() {
    let mut s3 = S3::start(&["flags"]).await.unwrap();
    let _server = publishing_server(&s3).await;
    s3.kill();
    let sidecar = Sidecar::start_listening(options(&s3).start_policy("block").without_cache()).await.unwrap();
    assert_not_ready(&sidecar).await;
    until("the source was asked in vain", PATIENCE, || async {
        sidecar.status().await.unwrap()["upstream"] == "unreachable"
    })
    .await
    .unwrap();
    assert_eq!(sidecar.probe("/startupz").await, Ok(503));
    assert_eq!(sidecar.probe("/readyz").await, Ok(503));
    s3.restart().await.unwrap();
    until_it_recovers(&sidecar).await;
}

#[tokio::test]
async fn with_policy_open_after_it_starts_without_a_snapshot_and_recovers_by_itself() {
    let mut s3 = S3::start(&["flags"]).await.unwrap();
    let _server = publishing_server(&s3).await;
    s3.kill();
    let waiting = options(&s3).start_policy("open-after=2s");
    let begun = Instant::now();
    let mut sidecar = Sidecar::start_listening(waiting).await.unwrap();
    for probe in ["/startupz", "/readyz"] {
        let status = sidecar.probe(probe).await;
        // On a busy machine, the two seconds may be over by now.
        assert!(status == Ok(503) || begun.elapsed() >= Duration::from_secs(2), "{probe}: {status:?}");
    }
    sidecar.until_probe("/startupz", 200, PATIENCE).await.unwrap();
    assert_eq!(sidecar.probe("/readyz").await, Ok(200));
    assert_not_ready(&sidecar).await;
    assert_eq!(sidecar.metric("flipt_startup_opened_total").await, Ok(Some(1.0)));
    assert_eq!(sidecar.metric("flipt_snapshot_loaded").await, Ok(Some(0.0)));
    s3.restart().await.unwrap();
    until_it_recovers(&sidecar).await;
    assert_eq!(sidecar.metric("flipt_snapshot_loaded").await, Ok(Some(1.0)));
}

#[tokio::test]
async fn without_its_cache_a_restart_during_an_outage_answers_503_until_s3_is_back() {
    let mut s3 = S3::start(&["flags"]).await.unwrap();
    let _server = publishing_server(&s3).await;
    let mut sidecar = Sidecar::start(options(&s3)).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    until_it_is_cached(&sidecar).await;
    s3.kill();
    sidecar.kill();
    sidecar.remove_cache().unwrap();
    sidecar.restart().await.unwrap();
    assert_not_ready(&sidecar).await;
    s3.restart().await.unwrap();
    until_it_recovers(&sidecar).await;
}

#[tokio::test]
async fn changes_made_while_s3_was_away_arrive_when_it_is_back() {
    let mut s3 = S3::start(&["flags"]).await.unwrap();
    let server = publishing_server(&s3).await;
    let sidecar = Sidecar::start(options(&s3)).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    s3.kill();
    // The server does not need S3 to accept a change.
    let off = json!({ "name": "checkout", "enabled": false });
    server.change("PUT", &format!("{FLAGS}/checkout"), off).await.unwrap();
    assert_eq!(server.boolean("checkout", "e").await, Ok(false));
    server.says("snapshot not published").await.unwrap();
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    s3.restart().await.unwrap();
    until("the change has arrived", PATIENCE, || async {
        sidecar.boolean("checkout", "e").await == Ok(false)
    })
    .await
    .unwrap();
    // The object is there, and read, a moment before the server says so.
    server.says("snapshots are published again").await.unwrap();
}

#[tokio::test]
async fn with_a_limit_on_age_an_old_snapshot_makes_it_unready_but_it_still_answers() {
    let s3 = S3::start(&["flags"]).await.unwrap();
    let mut server = publishing_server(&s3).await;
    let limited = options(&s3).with_arguments(&["--max-stale", "5s"]);
    let mut sidecar = Sidecar::start(limited).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    // S3 answers on, "not modified"; nobody confirms any more that this is the current state.
    server.kill();
    sidecar.until_probe("/readyz", 503, PATIENCE).await.unwrap();
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
    until("S3 answers", PATIENCE, || async { sidecar.status().await.unwrap()["upstream"] == "ok" })
        .await
        .unwrap();
    assert_eq!(sidecar.probe("/startupz").await, Ok(200));
    server.restart().await.unwrap();
    sidecar.until_probe("/readyz", 200, PATIENCE).await.unwrap();
}

#[tokio::test]
async fn a_damaged_cache_is_passed_over_and_replaced() {
    let s3 = S3::start(&["flags"]).await.unwrap();
    let _server = publishing_server(&s3).await;
    let mut sidecar = Sidecar::start(options(&s3)).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    until_it_is_cached(&sidecar).await;
    sidecar.kill();
    const DAMAGE: &[u8] = b"no longer what it was";
    let [object] = &cached_objects(&sidecar)[..] else { panic!("not one object") };
    std::fs::write(object, DAMAGE).unwrap();
    sidecar.restart().await.unwrap();
    let status = until_some("the source was read", PATIENCE, || async {
        Some(sidecar.status().await.unwrap()).filter(|status| status["loaded"] == true)
    })
    .await
    .unwrap();
    assert_eq!(status["source"], "s3");
    sidecar.says("cached snapshot not usable").await.unwrap();
    until("the cache is whole again", PATIENCE, || async {
        !cached_pointer(&sidecar).is_null() && std::fs::read(object).is_ok_and(|bytes| bytes != DAMAGE)
    })
    .await
    .unwrap();
    sidecar.restart().await.unwrap();
    assert_eq!(sidecar.boolean("checkout", "e").await, Ok(true));
}

#[tokio::test]
async fn a_cache_that_cannot_be_written_costs_nothing_but_a_warning() {
    let s3 = S3::start(&["flags"]).await.unwrap();
    let server = publishing_server(&s3).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    std::fs::write(&file, b"").unwrap();
    // Below a file there can be no folder, not even for root.
    let below = file.join("cache").display().to_string();
    let arguments = ["--cache-dir", below.as_str()];
    let sidecar = Sidecar::start(options(&s3).without_cache().with_arguments(&arguments)).await.unwrap();
    until_it_knows_all_flags(&sidecar).await;
    let off = json!({ "name": "checkout", "enabled": false });
    server.change("PUT", &format!("{FLAGS}/checkout"), off).await.unwrap();
    until("a change still arrives", PATIENCE, || async {
        sidecar.boolean("checkout", "e").await == Ok(false)
    })
    .await
    .unwrap();
    let failures = sidecar.metric("flipt_snapshot_cache_write_failures_total").await.unwrap();
    assert!(failures >= Some(1.0), "{failures:?}");
    let said = sidecar.logs().matches("cannot be written to disk").count();
    assert_eq!(said, 1, "said once: {}", sidecar.logs());
}

#[tokio::test]
async fn sigterm_ends_server_and_sidecar_cleanly_and_soon() {
    let s3 = S3::start(&["flags"]).await.unwrap();
    let mut server = publishing_server(&s3).await;
    let mut sidecar = Sidecar::start(options(&s3)).await.unwrap();
    for process in [sidecar.process(), server.process()] {
        let status = process.terminate(BEFORE_THE_KUBELET).await.unwrap();
        assert_eq!(status.code(), Some(0), "{}", process.logs());
    }
}
