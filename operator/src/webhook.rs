//! The admission webhook: answers an API server that asks about a new pod.
//!
//! It never says no. What goes wrong here is a warning to whoever creates the pod, which then starts as it is.

use std::{
    panic::AssertUnwindSafe,
    sync::Arc,
    time::{Duration, Instant},
};

use axum::{
    Router,
    body::{Body, to_bytes},
    extract::State,
    http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE},
    routing::post,
};
use axum_server::{Handle, tls_rustls::RustlsConfig};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use flipt_injector::{Outcome, Settings as InjectionSettings, SkipReason, inject, profile_name};
use futures::FutureExt as _;
use k8s_openapi::api::core::v1::ObjectReference;
use serde_json::{Value, json};

use crate::{
    certificates::{self, Served},
    context::Context,
    error::Error,
    events::Severity,
    profile::{Found, Profiles, injection_settings},
};

/// The gate that opens when profiles are known.
const GATE: &str = "profiles";
/// Longest review. The API server's own limit of an object is 1.5 MiB, and a review has it once.
const BODY: usize = 4 * 1024 * 1024;
/// Longest time for a review to arrive. The API server itself waits 5 s for the answer.
const READ: Duration = Duration::from_secs(3);
/// Longest wait for what a pod needs and nobody here knows: it may have been created just before. The chart lets the API
/// server wait longer.
const SETTLE: Duration = Duration::from_secs(1);
/// Longest time for open requests to end.
const DRAIN: Duration = Duration::from_secs(5);

/// Serves the webhook until the process ends.
///
/// # Errors
/// [`Error::Listen`]; [`Error::Setup`]: TLS cannot be set up.
pub(crate) async fn run(context: Arc<Context>) -> Result<(), Error> {
    context.readiness.register(GATE);
    context.readiness.register(certificates::GATE);
    let (profiles, watches) = Profiles::new(&context);
    let served = Served::default();
    let tls = served.config().map_err(|error| Error::setup("TLS of the webhook", error))?;

    let webhook = Arc::new(Webhook {
        settings: injection_settings(&context.settings),
        profiles: profiles.clone(),
        context: Arc::clone(&context),
    });
    let routes = Router::new().route("/mutate", post(mutate)).with_state(webhook);
    let address = context.settings.webhook_listen;
    let handle = Handle::new();
    let server = axum_server::bind_rustls(address, RustlsConfig::from_config(tls)).handle(handle.clone());
    let ready = async {
        profiles.synced().await;
        context.readiness.open(GATE);
        std::future::pending::<()>().await;
    };
    let end = async {
        context.stop.cancelled().await;
        handle.graceful_shutdown(Some(DRAIN));
        std::future::pending::<()>().await;
    };
    let follow = async {
        certificates::follow(Arc::clone(&context), served).await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        ended = server.serve(routes.into_make_service()) => ended.map_err(|source| Error::Listen { address, source }),
        () = watches => Err(Error::Ended { part: "webhook", detail: "its watches ended".to_owned() }),
        () = ready => Ok(()),
        () = end => Ok(()),
        () = follow => Ok(()),
    }
}

struct Webhook {
    context: Arc<Context>,
    profiles: Profiles,
    settings: InjectionSettings,
}

impl Webhook {
    async fn answer(&self, review: &Review) -> Answer {
        let found = match &review.pod {
            Some(pod) => {
                let name = profile_name(pod);
                Some((pod, self.profiles.find_within(SETTLE, &review.namespace, name).await))
            }
            None => None,
        };
        answer(review, found, &self.settings)
    }
}

/// What an answer is made of, and what is said about it elsewhere.
struct Answer {
    body: Value,
    result: &'static str,
    reason: &'static str,
    event: Option<(ObjectReference, Severity, &'static str, String)>,
}

async fn mutate(State(webhook): State<Arc<Webhook>>, request: Request<Body>) -> Response<Body> {
    let body = match tokio::time::timeout(READ, to_bytes(request.into_body(), BODY)).await {
        Ok(Ok(body)) => body,
        Ok(Err(_)) => return refusal(StatusCode::PAYLOAD_TOO_LARGE, "the review is too long, or broke off"),
        Err(_) => return refusal(StatusCode::REQUEST_TIMEOUT, "the review did not arrive in time"),
    };
    let started = Instant::now();
    let Some(review) = Review::read(&body) else {
        return refusal(StatusCode::BAD_REQUEST, "this is no AdmissionReview of admission.k8s.io/v1");
    };
    // Whatever this pod is: it may start.
    let answer = AssertUnwindSafe(webhook.answer(&review)).catch_unwind().await;
    let answer = answer.unwrap_or_else(|_| failed(&review));
    let metrics = &webhook.context.metrics;
    metrics.injections.with_label_values(&[answer.result, answer.reason]).inc();
    metrics.injection_duration.observe(started.elapsed().as_secs_f64());
    if let Some((about, severity, reason, note)) = answer.event {
        let context = Arc::clone(&webhook.context);
        tokio::spawn(async move { context.events.publish(&about, severity, reason, note).await });
    }
    let mut response = Response::new(Body::from(answer.body.to_string()));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn refusal(status: StatusCode, sentence: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(sentence));
    *response.status_mut() = status;
    response
}

/// What the API server asks.
struct Review {
    uid: String,
    namespace: String,
    dry_run: bool,
    /// The new pod; `None`: it is about something else, to which there is nothing to say.
    pod: Option<Value>,
}

impl Review {
    fn read(body: &[u8]) -> Option<Self> {
        let mut review: Value = serde_json::from_slice(body).ok()?;
        let mut request = review.get_mut("request")?.take();
        let uid = request["uid"].as_str()?.to_owned();
        let is_new_pod = request["operation"] == "CREATE"
            && request["kind"]["kind"] == "Pod"
            && request["subResource"].as_str().is_none_or(str::is_empty);
        Some(Self {
            uid,
            // The pod itself often does not say.
            namespace: request["namespace"].as_str().unwrap_or_default().to_owned(),
            dry_run: request["dryRun"] == true,
            pod: is_new_pod.then(|| request["object"].take()),
        })
    }
}

fn body(uid: &str, warnings: &[String], patch: Option<String>) -> Value {
    let mut response = json!({ "uid": uid, "allowed": true });
    if !warnings.is_empty() {
        response["warnings"] = json!(warnings);
    }
    if let Some(patch) = patch {
        response["patchType"] = json!("JSONPatch");
        response["patch"] = json!(STANDARD.encode(patch));
    }
    json!({ "apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": response })
}

fn failed(review: &Review) -> Answer {
    tracing::error!(namespace = review.namespace, "injection failed; the pod starts without a sidecar");
    let warning = "flipt: the injection failed, the pod starts without a sidecar (see the operator's log)";
    Answer {
        body: body(&review.uid, &[warning.to_owned()], None),
        result: "error",
        reason: "internal",
        event: None,
    }
}

/// The answer about a pod with its profile; `None`: about something else.
fn answer(review: &Review, pod: Option<(&Value, Found)>, settings: &InjectionSettings) -> Answer {
    let Some((pod, found)) = pod else {
        return Answer {
            body: body(&review.uid, &[], None),
            result: "skipped",
            reason: "not_a_new_pod",
            event: None,
        };
    };
    let injection = inject(pod, &found.profile, settings);
    let mut warnings: Vec<String> = found.problems;
    warnings.extend(injection.warnings);
    let (result, reason) = match injection.outcome {
        Outcome::Injected => ("injected", ""),
        Outcome::AlreadyInjected => ("already_injected", ""),
        Outcome::Skipped(reason) => {
            match reason {
                // It is as somebody wanted it.
                SkipReason::OptedOut => warnings.clear(),
                _ => warnings.push(reason.message().to_owned()),
            }
            ("skipped", reason.as_str())
        }
    };
    let event = match injection.outcome {
        _ if review.dry_run => None,
        Outcome::AlreadyInjected | Outcome::Skipped(SkipReason::OptedOut) => None,
        Outcome::Injected if warnings.is_empty() => {
            Some((Severity::Normal, "Injected", format!("sidecar of profile {} added", found.profile.name)))
        }
        Outcome::Injected => Some((Severity::Warning, "Injected", warnings.join("; "))),
        Outcome::Skipped(_) => Some((Severity::Warning, "InjectionSkipped", warnings.join("; "))),
    };
    let event = event
        .and_then(|(severity, reason, note)| Some((about(pod, &review.namespace)?, severity, reason, note)));
    let warnings: Vec<String> = warnings.into_iter().map(|warning| shown(&warning)).collect();
    let patch = (!injection.patch.is_empty()).then(|| json!(injection.patch).to_string());
    Answer { body: body(&review.uid, &warnings, patch), result, reason, event }
}

/// A warning as people see it: with who says it, and not longer than an API server lets it be.
fn shown(warning: &str) -> String {
    const LONGEST: usize = 250;
    let mut text = format!("flipt: {warning}");
    text.truncate(text.floor_char_boundary(LONGEST));
    text
}

/// Who hears of it: the owner of the pod, which itself does not exist yet.
fn about(pod: &Value, namespace: &str) -> Option<ObjectReference> {
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let owners = pod["metadata"]["ownerReferences"].as_array().map_or(&[][..], Vec::as_slice);
    let owner = owners.iter().find(|owner| owner["controller"] == true).or(owners.first());
    let (api_version, kind, name, uid) = match owner {
        Some(owner) => {
            (text(&owner["apiVersion"]), text(&owner["kind"]), text(&owner["name"]), text(&owner["uid"]))
        }
        None => (Some("v1".to_owned()), Some("Pod".to_owned()), text(&pod["metadata"]["name"]), None),
    };
    name.as_ref()?;
    Some(ObjectReference {
        api_version,
        kind,
        name,
        uid,
        namespace: Some(namespace.to_owned()),
        ..ObjectReference::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::tests::{object, profiles};

    fn review(pod: Value, dry_run: bool) -> Review {
        let review = json!({
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "request": {
                "uid": "u-1", "operation": "CREATE", "kind": {"group": "", "version": "v1", "kind": "Pod"},
                "namespace": "shop", "dryRun": dry_run, "object": pod,
            },
        });
        Review::read(review.to_string().as_bytes()).unwrap()
    }

    fn pod() -> Value {
        json!({
            "metadata": {"generateName": "web-", "ownerReferences": [
                {"apiVersion": "x/v1", "kind": "Other", "name": "other"},
                {"apiVersion": "apps/v1", "kind": "ReplicaSet", "name": "web", "uid": "r", "controller": true},
            ]},
            "spec": {"serviceAccountName": "web", "containers": [{"name": "app"}]},
        })
    }

    fn answered(review: &Review) -> Answer {
        let spec = json!({"source": [{"s3": {"bucket": "flags"}}]});
        let profiles = profiles(vec![object("FliptSidecarProfile", Some("shop"), "default", spec)]);
        let settings =
            InjectionSettings { image: "i".into(), version: "1".into(), server_audience: "a".into() };
        let pod = review.pod.as_ref();
        answer(review, pod.map(|pod| (pod, profiles.find(&review.namespace, profile_name(pod)))), &settings)
    }

    #[test]
    fn a_pod_is_patched_and_its_owner_hears_of_it() {
        let answer = answered(&review(pod(), false));
        assert_eq!((answer.result, answer.reason), ("injected", ""));
        let response = &answer.body["response"];
        assert_eq!((&response["uid"], &response["allowed"]), (&json!("u-1"), &json!(true)));
        assert_eq!((&response["patchType"], &response["warnings"]), (&json!("JSONPatch"), &Value::Null));
        let patch = STANDARD.decode(response["patch"].as_str().unwrap()).unwrap();
        let patch: Vec<Value> = serde_json::from_slice(&patch).unwrap();
        assert!(patch.iter().any(|step| step["path"] == "/spec/initContainers/0"), "{patch:?}");
        let (about, severity, reason, _) = answer.event.unwrap();
        assert_eq!((about.kind.as_deref(), about.namespace.as_deref()), (Some("ReplicaSet"), Some("shop")));
        assert_eq!((severity, reason), (Severity::Normal, "Injected"));
    }

    #[test]
    fn a_dry_run_gets_the_same_answer_and_nobody_hears_of_it() {
        let (wet, dry) = (answered(&review(pod(), false)), answered(&review(pod(), true)));
        assert_eq!(wet.body, dry.body);
        assert!(dry.event.is_none());
    }

    #[test]
    fn what_cannot_be_injected_is_allowed_with_the_reason() {
        let mut pod = pod();
        pod["spec"]["hostNetwork"] = json!(true);
        let answer = answered(&review(pod, false));
        assert_eq!((answer.result, answer.reason), ("skipped", "host_network"));
        let response = &answer.body["response"];
        assert_eq!((&response["allowed"], &response["patch"]), (&json!(true), &Value::Null));
        assert!(response["warnings"][0].as_str().unwrap().contains("hostNetwork"));
        assert_eq!(answer.event.unwrap().2, "InjectionSkipped");
    }

    #[test]
    fn a_missing_profile_is_a_warning_and_not_the_end_of_the_pod() {
        let mut pod = pod();
        pod["metadata"]["annotations"] = json!({"flipt.io/profile": "gone"});
        let answer = answered(&review(pod, false));
        assert_eq!(answer.result, "injected");
        assert!(answer.body["response"]["warnings"][0].as_str().unwrap().contains("no profile gone"));
    }

    #[test]
    fn something_that_is_no_new_pod_is_let_through() {
        let body =
            json!({"request": {"uid": "u", "operation": "UPDATE", "kind": {"kind": "Pod"}, "object": pod()}});
        let review = Review::read(body.to_string().as_bytes()).unwrap();
        let answer = answered(&review);
        assert_eq!(answer.body["response"], json!({"uid": "u", "allowed": true}));
        assert!(Review::read(b"{}").is_none() && Review::read(b"rubbish").is_none());
    }
}
