//! The roles of the chart are enough for everything, and the logs are free of refusals.

use std::{collections::BTreeSet, fs, path::PathBuf};

use flipt_e2e_cluster::{kubectl, outages, release, until_some};
use k8s_openapi::jiff::Timestamp;
use serde_json::Value;

/// Whether a line of a log tells that something was forbidden. Digests and sizes have digits of their own.
fn tells_of_refusal(line: &str) -> bool {
    let mut words =
        line.split_whitespace().map(|word| word.trim_matches(|sign: char| !sign.is_alphanumeric()));
    line.to_lowercase().contains("forbidden") || words.any(|word| word == "403")
}

#[test]
fn a_refusal_is_told_from_a_digest() {
    for line in
        ["the server answered 403: no", "the server answered (403)", "pods is forbidden: User", "Forbidden"]
    {
        assert!(tells_of_refusal(line), "{line}");
    }
    for line in
        [r#"{"snapshot.digest":"sha256:e403ef9c","snapshot.size_bytes":403}"#, "1403 pods, 4031 flags"]
    {
        assert!(!tells_of_refusal(line), "{line}");
    }
}

/// Called by the last test, after everything else has run. While a release is removed, its roles go before its pods have
/// ended: what they ask for between these times does not count. Nor does what an API server refused that had just come back.
pub(crate) async fn nothing_was_forbidden(removals: &[(Timestamp, Timestamp)]) {
    let outages = outages();
    let counts = |at: Option<Timestamp>| {
        let within = |(from, to): &(Timestamp, Timestamp)| at.is_some_and(|at| *from <= at && at <= *to);
        !removals.iter().chain(&outages).any(within)
    };
    for component in ["operator", "server"] {
        let selector = format!("app.kubernetes.io/component={component}");
        let arguments = [
            "logs",
            "--namespace",
            release::SYSTEM,
            "--selector",
            &selector,
            "--tail",
            "-1",
            "--all-containers",
            "--timestamps",
        ];
        // A pod may end between the list and its log.
        let log = until_some("there are logs", || async { kubectl(&arguments).await.ok() }).await.unwrap();
        let of = |line: &str| line.split_once(' ').and_then(|(at, _)| at.parse::<Timestamp>().ok());
        let refused: Vec<&str> =
            log.lines().filter(|line| tells_of_refusal(line) && counts(of(line))).collect();
        assert!(refused.is_empty(), "{component}: {refused:#?}");
    }
    let Some(folder) = std::env::var_os("CLUSTER_LOGS") else {
        println!(
            "the audit log of this cluster is not ours to read: only the logs of running pods were looked at"
        );
        return;
    };
    let log = fs::read_to_string(PathBuf::from(folder).join("audit.log")).unwrap();
    let mut asked = 0;
    let mut refused = BTreeSet::new();
    for line in log.lines() {
        let Ok(entry) = serde_json::from_str::<Value>(line) else { continue };
        let user = entry["user"]["username"].as_str().unwrap_or_default();
        if !user.starts_with(&format!("system:serviceaccount:{}:", release::SYSTEM)) {
            continue;
        }
        asked += 1;
        let asked_at: Option<Timestamp> =
            entry["requestReceivedTimestamp"].as_str().and_then(|time| time.parse().ok());
        if !counts(asked_at) {
            continue;
        }
        // A namespace that ends takes nothing new: the answer is 403 whatever the roles say.
        let reason = entry["responseStatus"]["reason"].as_str().unwrap_or_default();
        let message = entry["responseStatus"]["message"].as_str().unwrap_or_default();
        if entry["responseStatus"]["code"] == 403 && !message.contains("because it is being terminated") {
            refused.insert(format!("{user} {} {}: {reason} {message}", entry["verb"], entry["requestURI"]));
        }
    }
    assert!(asked > 100, "the audit log holds {asked} requests of the release: is it written?");
    assert!(refused.is_empty(), "{refused:#?}");
    println!("{asked} requests of the release's service accounts to the API server: 0 forbidden");
}
