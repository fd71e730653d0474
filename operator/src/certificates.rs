//! The webhook's certificate: every replica serves what the Secret holds; in mode `self` the leader keeps it young,
//! and the API server trusting it.

mod issue;
mod secret;
mod served;
mod step;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt as _, TryStreamExt as _, future::Either};
use k8s_openapi::{
    ByteString,
    api::{
        admissionregistration::v1::MutatingWebhookConfiguration,
        core::v1::{ObjectReference, Secret},
    },
};
use kube::{
    Api,
    api::{Patch, PatchParams, PostParams},
    runtime::{WatchStreamExt as _, watcher},
};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

pub(crate) use self::served::Served;
use self::step::{Authority, Bundles, Contents, Instant, Step};
use crate::{context::Context, error::Error, events::Severity, settings::Certificates};

/// The gate that opens with the first certificate.
pub(crate) const GATE: &str = "certificates";
/// Field manager of the bundle. A chart that leaves the field out never meets it.
const FIELD_MANAGER: &str = "flipt-operator-certificates";
/// Annotation of the webhook with the mode that whoever installed it has chosen, if they did.
const MODE: &str = "flipt.io/certificates";
/// Pause after a failure, or after somebody else wrote in between.
const RETRY: Duration = Duration::from_secs(2);
/// Pause between two looks at how long the certificate still lives.
const LIFE_LOOK: Duration = Duration::from_secs(15);
/// Share of its life below which somebody should look: one in so many.
const LAST_PART: i64 = 5;

/// Serves what the Secret holds, from now to its next change, until the process ends. When the Secret is gone or is
/// rubbish, what was served is served on.
pub(crate) async fn follow(context: Arc<Context>, served: Served) {
    let name = context.settings.certificate_secret.clone();
    let config = watcher::Config::default().fields(&format!("metadata.name={name}"));
    let mut secrets = watcher(secrets(&context), config).default_backoff().applied_objects().boxed();
    let mut ends = None;
    let mut loaded: Option<Vec<u8>> = None;
    let mut look = tokio::time::interval(LIFE_LOOK);
    loop {
        tokio::select! {
            () = context.stop.cancelled() => return,
            _ = look.tick() => {}
            secret = secrets.next() => match secret {
                Some(Ok(secret)) => {
                    let data = data(&secret);
                    let (Some(chain), Some(key)) = (data.get("tls.crt"), data.get("tls.key")) else { continue };
                    match served.replace(chain, key) {
                        Ok(()) => {
                            ends = secret::validity(chain).map(|(_, ends)| ends);
                            context.readiness.open(GATE);
                            // The Secret also changes when a rotation goes on without a new certificate.
                            if loaded.as_ref() != Some(chain) {
                                loaded = Some(chain.clone());
                                tracing::info!(secret = name, "webhook certificate loaded");
                            }
                        }
                        Err(error) => tracing::error!(secret = name, error, "webhook certificate not loaded"),
                    }
                }
                Some(Err(error)) => tracing::warn!(secret = name, %error, "watch of the webhook certificate"),
                None => return,
            },
        }
        if let Some(ends) = ends {
            context.metrics.certificate_expiry.set(ends - now());
        }
    }
}

/// Keeps the certificate young and trusted, while this replica leads.
pub(crate) async fn lead(context: Arc<Context>, term: CancellationToken) {
    let secret =
        watcher::Config::default().fields(&format!("metadata.name={}", context.settings.certificate_secret));
    let webhook =
        watcher::Config::default().fields(&format!("metadata.name={}", context.settings.webhook_name));
    let secrets = watcher(secrets(&context), secret).default_backoff().touched_objects().map_ok(|_| ());
    let changes = if context.settings.certificates == Certificates::Own {
        let webhooks =
            watcher(webhooks(&context), webhook).default_backoff().touched_objects().map_ok(|_| ());
        Either::Left(futures::stream::select(secrets, webhooks))
    } else {
        Either::Right(secrets)
    };
    let mut changes = std::pin::pin!(changes);
    loop {
        let wait = match advance(&context).await {
            Ok(wait) => wait,
            Err(Error::Kubernetes(kube::Error::Api(status))) if status.code == 409 => {
                tracing::debug!("somebody else wrote the certificate's Secret; looking again");
                RETRY
            }
            Err(error) => {
                tracing::warn!(%error, "rotation of the webhook certificate; trying again");
                RETRY
            }
        };
        tokio::select! {
            () = term.cancelled() => return,
            () = tokio::time::sleep(wait) => {}
            // Failed watches try again by themselves, and the next look does not need them.
            _ = changes.next() => {}
        }
    }
}

/// Takes one step, and says how long there is nothing more to do.
async fn advance(context: &Context) -> Result<Duration, Error> {
    let secret = secrets(context).get_opt(&context.settings.certificate_secret).await?;
    warn_of_end(context, secret.as_ref()).await;
    if context.settings.certificates != Certificates::Own {
        return Ok(LIFE_LOOK * 4);
    }
    let contents = secret.as_ref().map(|secret| secret::read(&data(secret)));
    let webhook = webhooks(context).get_opt(&context.settings.webhook_name).await?;
    if webhook.as_ref().is_some_and(belongs_to_others) {
        return Ok(LIFE_LOOK * 4);
    }
    let bundles = bundles(webhook.as_ref());
    let life = context.settings.certificate_lifetime;
    // Two overlaps have to fit into the last third of a life.
    let overlap = context.settings.certificate_overlap.min(life / 12);
    match step::next_step(now(), contents.as_ref(), &bundles, overlap) {
        Step::Prepare(previous) => {
            let next = issue::issue(&names(context), now(), life)
                .map_err(|error| Error::setup("webhook certificate", error))?;
            tracing::info!("next webhook certificate issued");
            let contents =
                Contents { next: Some(next), trusted: None, previous, ..contents.unwrap_or_default() };
            write(context, secret.as_ref(), &contents).await?;
        }
        Step::Trust(authorities) => {
            tracing::info!(authorities = authorities.len(), "bundle of the webhook written");
            trust(context, webhook.as_ref(), &authorities).await?;
        }
        Step::Write(contents) => write(context, secret.as_ref(), &contents).await?,
        Step::Wait(wait) => return Ok(wait.max(Duration::from_secs(1))),
    }
    Ok(Duration::ZERO)
}

/// Writes the Secret, unless somebody else has since it was read.
async fn write(context: &Context, read: Option<&Secret>, contents: &Contents) -> Result<(), Error> {
    let name = &context.settings.certificate_secret;
    let data: BTreeMap<String, ByteString> =
        secret::write(contents).into_iter().map(|(key, bytes)| (key, ByteString(bytes))).collect();
    let Some(read) = read else {
        let secret: Secret = serde_json::from_value(json!({
            "metadata": {
                "name": name,
                "labels": {"app.kubernetes.io/managed-by": "flipt-operator", "app.kubernetes.io/part-of": "flipt"},
            },
            "type": "Opaque",
            "data": data,
        }))
        .map_err(|error| Error::setup("webhook certificate", error))?;
        secrets(context).create(&PostParams::default(), &secret).await?;
        return Ok(());
    };
    let mut merge: BTreeMap<&str, Value> = secret::KEYS.iter().map(|key| (*key, Value::Null)).collect();
    for (key, bytes) in &data {
        merge.insert(key, json!(bytes));
    }
    let patch = json!({ "metadata": { "resourceVersion": read.metadata.resource_version }, "data": merge });
    secrets(context).patch(name, &PatchParams::default(), &Patch::Merge(patch)).await?;
    Ok(())
}

/// Lets every entry of the webhook trust exactly these.
async fn trust(
    context: &Context,
    webhook: Option<&MutatingWebhookConfiguration>,
    authorities: &BTreeSet<Authority>,
) -> Result<(), Error> {
    let bundle = ByteString(secret::bundle(authorities).into_bytes());
    let entries: Vec<Value> = webhook
        .and_then(|webhook| webhook.webhooks.as_ref())
        .into_iter()
        .flatten()
        .map(|entry| json!({ "name": entry.name, "clientConfig": { "caBundle": bundle } }))
        .collect();
    let patch = json!({
        "apiVersion": "admissionregistration.k8s.io/v1",
        "kind": "MutatingWebhookConfiguration",
        "metadata": { "name": context.settings.webhook_name },
        "webhooks": entries,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    webhooks(context).patch(&context.settings.webhook_name, &parameters, &Patch::Apply(patch)).await?;
    Ok(())
}

async fn warn_of_end(context: &Context, secret: Option<&Secret>) {
    let Some(secret) = secret else { return };
    let Some((begins, ends)) = data(secret).get("tls.crt").and_then(|chain| secret::validity(chain)) else {
        return;
    };
    let left = ends - now();
    if left < (ends - begins) / LAST_PART {
        let about = ObjectReference {
            api_version: Some("v1".to_owned()),
            kind: Some("Secret".to_owned()),
            namespace: Some(context.settings.namespace.clone()),
            name: secret.metadata.name.clone(),
            uid: secret.metadata.uid.clone(),
            ..ObjectReference::default()
        };
        let note =
            format!("the certificate of the injection webhook ends in {left} s and has not been renewed");
        context.events.publish(&about, Severity::Warning, "CertificateExpiring", note).await;
    }
}

/// Names under which the API server reaches the webhook.
fn names(context: &Context) -> Vec<String> {
    let service = format!("{}.{}.svc", context.settings.webhook_service, context.settings.namespace);
    vec![service.clone(), format!("{service}.cluster.local")]
}

/// Whether the webhook was given another mode: an upgrade changes it before the last operator of the mode before has ended,
/// and nobody would write again what that one writes.
fn belongs_to_others(webhook: &MutatingWebhookConfiguration) -> bool {
    let mode = webhook.metadata.annotations.as_ref().and_then(|annotations| annotations.get(MODE));
    mode.is_some_and(|mode| *mode != Certificates::Own.name())
}

fn bundles(webhook: Option<&MutatingWebhookConfiguration>) -> Bundles {
    webhook
        .and_then(|webhook| webhook.webhooks.as_ref())
        .into_iter()
        .flatten()
        .map(|entry| {
            entry
                .client_config
                .ca_bundle
                .as_ref()
                .map(|bundle| secret::authorities(&bundle.0))
                .unwrap_or_default()
        })
        .collect()
}

fn data(secret: &Secret) -> secret::Data {
    secret.data.iter().flatten().map(|(key, bytes)| (key.clone(), bytes.0.clone())).collect()
}

fn secrets(context: &Context) -> Api<Secret> {
    Api::namespaced(context.client.clone(), &context.settings.namespace)
}

fn webhooks(context: &Context) -> Api<MutatingWebhookConfiguration> {
    Api::all(context.client.clone())
}

fn now() -> Instant {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .ok()
        .and_then(|time| Instant::try_from(time.as_secs()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_webhook_of_another_mode_is_left_alone() {
        for (annotations, expected) in [
            (json!({}), false),
            (json!({ MODE: "self" }), false),
            (json!({ MODE: "existing" }), true),
            (json!({ MODE: "cert-manager" }), true),
        ] {
            let webhook = serde_json::from_value(json!({ "metadata": { "annotations": annotations } }));
            assert_eq!(belongs_to_others(&webhook.unwrap()), expected, "{annotations}");
        }
    }
}
