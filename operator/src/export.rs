//! Exports: each `FliptSnapshotExport` becomes a CronJob, and what its Jobs leave behind becomes its status.
//!
//! The exporter needs no rights in the cluster and the operator none in the bucket: a pod says what it published in its
//! termination message. CronJob and Jobs belong to the export and go with it; what is published stays.

mod change;
mod conditions;
mod cronjob;
mod observed;
mod receipt;
mod revisions;
mod schedule;
mod target;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use change::{Decision, Pending, Running};
use conditions::{Refusal, Verdict};
use cronjob::EXPORT_LABEL;
use flipt_crds::{FliptServer, FliptSnapshotExport, Reason};
use futures::StreamExt as _;
use jiff::Timestamp;
use k8s_openapi::api::{
    batch::v1::{CronJob, Job},
    core::v1::{Pod, ServiceAccount},
};
use kube::{
    Api, Resource, ResourceExt,
    api::{DeleteParams, ListParams, Patch, PatchParams, PostParams, PropagationPolicy},
    core::DeserializeGuard,
    runtime::{Controller, controller::Action, reflector::ObjectRef, watcher},
};
use revisions::Revisions;
use schedule::Schedule;
use serde::{Serialize, de::DeserializeOwned};
use target::Place;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{
    context::{Context, FIELD_MANAGER},
    events::Severity,
    image, malformed,
};

type Export = DeserializeGuard<FliptSnapshotExport>;

/// An export is looked at this often, besides when something changes.
const RESYNC: Duration = Duration::from_secs(600);

/// Pause after the API server did not take something.
const RETRY: Duration = Duration::from_secs(15);

/// Most exports that are looked at once.
const AT_ONCE: u16 = 8;

/// What ends a reconcile early: the API server.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// It refused or did not answer.
    #[error("Kubernetes: {0}")]
    Kubernetes(#[from] kube::Error),
}

/// What is known about exports besides what the cluster holds.
struct Exports {
    context: Arc<Context>,
    revisions: Arc<Revisions>,
    memory: Mutex<HashMap<(String, String), Memory>>,
}

#[derive(Default)]
struct Memory {
    pending: Pending,
    /// What was applied last, and the generation it led to.
    applied: Option<(CronJob, i64)>,
}

/// An export whose server may be read.
struct Accepted {
    cron_job: CronJob,
    server: Box<FliptServer>,
    url: String,
}

/// Reconciles exports for as long as this replica leads.
pub(crate) async fn lead(context: Arc<Context>, term: CancellationToken) {
    let exports = Arc::new(Exports {
        revisions: Revisions::new(Arc::clone(&context), term.clone()),
        context,
        memory: Mutex::default(),
    });
    let places: Vec<Option<String>> = match exports.context.settings.watched() {
        Some(namespaces) => namespaces.into_iter().map(|name| Some(name.to_owned())).collect(),
        None => vec![None],
    };
    let mut controllers = JoinSet::new();
    for place in &places {
        let controller = control(Arc::clone(&exports), place.clone(), places.clone(), term.clone());
        controllers.spawn(controller);
    }
    while let Some(ended) = controllers.join_next().await {
        if let Err(error) = ended
            && error.is_panic()
        {
            tracing::error!(error = %error, "controller of exports ended");
        }
    }
}

/// The controller of one namespace, or of all.
async fn control(
    exports: Arc<Exports>,
    place: Option<String>,
    places: Vec<Option<String>>,
    term: CancellationToken,
) {
    let client = &exports.context.client;
    let place = place.as_deref();
    let ours = watcher::Config::default().labels(EXPORT_LABEL);
    let mut controller = Controller::new(api::<Export>(client, place), watcher::Config::default())
        .with_config(kube::runtime::controller::Config::default().concurrency(AT_ONCE))
        .watches(api::<CronJob>(client, place), ours.clone(), |child| export_of(&child))
        .watches(api::<ServiceAccount>(client, place), ours.clone(), |child| export_of(&child))
        .watches(api::<Job>(client, place), ours.clone(), |child| export_of(&child))
        .watches(api::<Pod>(client, place), ours, |child| export_of(&child));
    let store = controller.store();
    for other in &places {
        let store = store.clone();
        // Exports wait for their server, and follow its address.
        controller = controller.watches(
            api::<FliptServer>(client, other.as_deref()),
            watcher::Config::default(),
            move |server| {
                let name = server.name_any();
                let namespace = server.namespace();
                let refers = move |export: &Arc<Export>| {
                    export.0.as_ref().is_ok_and(|export| {
                        let reference = &export.spec.server_ref;
                        let of = reference.namespace.clone().or_else(|| export.namespace());
                        reference.name == name && of == namespace
                    })
                };
                store
                    .state()
                    .into_iter()
                    .filter(refers)
                    .map(|export| ObjectRef::from_obj(export.as_ref()))
                    .collect::<Vec<_>>()
            },
        );
    }
    let moved = exports.revisions.moves().flat_map(move |at: Place| {
        let due: Vec<ObjectRef<Export>> = store
            .state()
            .into_iter()
            .filter(|export| export.0.as_ref().is_ok_and(|export| at.is_of(export)))
            .map(|export| ObjectRef::from_obj(export.as_ref()))
            .collect();
        futures::stream::iter(due)
    });
    controller
        .reconcile_on(moved)
        .graceful_shutdown_on(term.cancelled_owned())
        .run(reconcile, after_failure, exports)
        .for_each(async |_| {})
        .await;
}

fn api<K>(client: &kube::Client, namespace: Option<&str>) -> Api<K>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope>,
    K::DynamicType: Default,
{
    match namespace {
        Some(namespace) => Api::namespaced(client.clone(), namespace),
        None => Api::all(client.clone()),
    }
}

/// The export that an object says it belongs to.
fn export_of(child: &impl Resource) -> Option<ObjectRef<Export>> {
    let name = child.meta().labels.as_ref()?.get(EXPORT_LABEL)?;
    Some(ObjectRef::new(name).within(child.meta().namespace.as_deref()?))
}

fn after_failure(_: Arc<Export>, failure: &Failure, exports: Arc<Exports>) -> Action {
    exports.context.metrics.reconciles.with_label_values(&["FliptSnapshotExport", "error"]).inc();
    tracing::warn!(error = %failure, "export not reconciled; trying again");
    Action::requeue(RETRY)
}

async fn reconcile(guarded: Arc<Export>, exports: Arc<Exports>) -> Result<Action, Failure> {
    let started = std::time::Instant::now();
    let kind = "FliptSnapshotExport";
    let outcome = match &guarded.0 {
        Ok(export) => exports.reconcile(export).await,
        Err(invalid) => {
            let name = invalid.metadata.name.clone().unwrap_or_default();
            let namespace = invalid.metadata.namespace.clone().unwrap_or_default();
            tracing::warn!(namespace, name, error = %invalid.error, "export cannot be read");
            let told =
                malformed::report::<FliptSnapshotExport>(&exports.context, &invalid.metadata, &invalid.error);
            match told.await {
                // What the API server refuses it refuses again, until the export is another one.
                Ok(()) | Err(kube::Error::Api(_)) => Ok(Action::await_change()),
                Err(error) => Err(error.into()),
            }
        }
    };
    let metrics = &exports.context.metrics;
    metrics.reconcile_duration.with_label_values(&[kind]).observe(started.elapsed().as_secs_f64());
    if outcome.is_ok() {
        metrics.reconciles.with_label_values(&[kind, "done"]).inc();
    }
    outcome
}

impl Exports {
    async fn reconcile(&self, export: &FliptSnapshotExport) -> Result<Action, Failure> {
        let name = export.name_any();
        let namespace = export.namespace().unwrap_or_default();
        let label = format!("{namespace}/{name}");
        if export.metadata.deletion_timestamp.is_some() {
            // Its children go with it, and nothing in a server is its own.
            self.memory().remove(&(namespace, name));
            let _ = self.context.metrics.export_success.remove_label_values(&[&label]);
            return Ok(Action::await_change());
        }
        let client = &self.context.client;
        let labelled = ListParams::default().labels(&format!("{EXPORT_LABEL}={name}"));
        let (jobs, pods) = tokio::try_join!(
            async { Api::<Job>::namespaced(client.clone(), &namespace).list(&labelled).await },
            async { Api::<Pod>::namespaced(client.clone(), &namespace).list(&labelled).await },
        )?;
        let (jobs, pods) = (jobs.items, pods.items);

        let now = Timestamp::now();
        let mut status = export.status.clone().unwrap_or_default();
        observed::observe(&mut status, &jobs, &pods);
        let schedule = Schedule::new(&export.spec.schedule, &export.spec.time_zone);
        let accepted = match &schedule {
            Ok(_) => self.children(export, &labelled).await?,
            Err(error) => Err(Refusal::new(Reason::InvalidSpec, error.to_string())),
        };
        let stale_after = schedule.ok().and_then(|schedule| {
            let since = status.last_success_time.as_ref().or(export.metadata.creation_timestamp.as_ref());
            since.and_then(|since| schedule.stale_after(since.0))
        });
        let verdict = Verdict { refusal: accepted.as_ref().err(), stale_after, now };
        conditions::set(&mut status, export, &verdict);
        self.tell(export, &status).await;
        if export.status.as_ref() != Some(&status) {
            self.write(export, &status).await?;
        }
        if let Some(success) = &status.last_success_time {
            let seconds = success.0.as_second() as f64;
            self.context.metrics.export_success.with_label_values(&[&label]).set(seconds);
        }

        let history = &export.spec.job.history;
        let [successful, failed] =
            [history.successful, history.failed].map(|limit| usize::try_from(limit).unwrap_or_default());
        for superfluous in observed::beyond_history(&jobs, successful, failed) {
            self.delete_job(&namespace, &superfluous).await?;
        }

        let mut next = now.checked_add(jiff::SignedDuration::from_secs(RESYNC.as_secs() as i64)).ok();
        let mut sooner = |moment: Option<Timestamp>| {
            if let Some(moment) = moment.filter(|moment| *moment > now) {
                next = next.map_or(Some(moment), |next| Some(next.min(moment)));
            }
        };
        sooner(stale_after.and_then(|moment| moment.checked_add(jiff::SignedDuration::from_secs(1)).ok()));
        if let Ok(accepted) = &accepted {
            let running = Running {
                running: jobs.iter().any(observed::is_running),
                last_start: observed::last_start(&jobs),
                published: status.snapshot.as_ref().map(|snapshot| snapshot.revision),
            };
            sooner(self.follow(export, accepted, &running, now).await?);
        }
        let wait = next.and_then(|next| Duration::try_from(next.duration_since(now)).ok()).unwrap_or(RESYNC);
        Ok(Action::requeue(wait.min(RESYNC)))
    }

    /// Brings CronJob and service account to what the export says. The inner error is the condition to report.
    async fn children(
        &self,
        export: &FliptSnapshotExport,
        labelled: &ListParams,
    ) -> Result<Result<Accepted, Refusal>, Failure> {
        let namespace = export.namespace().unwrap_or_default();
        let client = &self.context.client;
        let (target, server) = match target::of(&self.context, export).await? {
            target::Resolved::Granted(target, server) => (target, Ok(server)),
            // It runs no longer, but what it did can still be seen.
            target::Resolved::Refused { target: Some(target), refusal } => (target, Err(refusal)),
            target::Resolved::Refused { target: None, refusal } => return Ok(Err(refusal)),
        };
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), &namespace);
        if let Some(account) = cronjob::service_account(export)
            && let Some(refusal) = self.apply_account(&accounts, export, &account).await?
        {
            return Ok(Err(refusal));
        }
        let wanted = cronjob::service_account(export).and_then(|account| account.metadata.name);
        for account in accounts.list(labelled).await? {
            if Some(account.name_any()) != wanted && is_ours(&account, export) {
                deleted(accounts.delete(&account.name_any(), &DeleteParams::default()).await)?;
            }
        }
        let reference = image::reference(&export.spec.job.image, &self.context.settings.server_image);
        let wanted = cronjob::cron_job(export, &target, reference, server.is_err());
        let applied = self.apply_cron_job(export, wanted).await?;
        Ok(server.and_then(|server| Ok(Accepted { cron_job: applied?, server, url: target.url })))
    }

    async fn apply_account(
        &self,
        accounts: &Api<ServiceAccount>,
        export: &FliptSnapshotExport,
        account: &ServiceAccount,
    ) -> Result<Option<Refusal>, Failure> {
        let name = account.name_any();
        match accounts.get_opt(&name).await? {
            Some(found) if !is_ours(&found, export) => Ok(Some(Refusal::new(
                Reason::Conflict,
                format!(
                    "ServiceAccount {name} exists and belongs to somebody else: set spec.serviceAccount.create to \
                     false, or another name"
                ),
            ))),
            // Also if it has all that it should: what was taken out of the description has to go.
            _ => Ok(apply(accounts, &name, account).await?.err()),
        }
    }

    async fn apply_cron_job(
        &self,
        export: &FliptSnapshotExport,
        wanted: CronJob,
    ) -> Result<Result<CronJob, Refusal>, Failure> {
        let namespace = export.namespace().unwrap_or_default();
        let api: Api<CronJob> = Api::namespaced(self.context.client.clone(), &namespace);
        let name = wanted.name_any();
        let key = (namespace, export.name_any());
        if let Some(found) = api.get_opt(&name).await? {
            if !is_ours(&found, export) {
                return Ok(Err(Refusal::new(
                    Reason::Conflict,
                    format!("CronJob {name} exists and belongs to somebody else: rename one of them"),
                )));
            }
            let is_current = self.memory().get(&key).is_some_and(|memory| {
                memory.applied.as_ref().is_some_and(|(applied, generation)| {
                    *applied == wanted
                        && Some(*generation) == found.metadata.generation
                        && carries(&found.metadata, &wanted.metadata)
                })
            });
            if is_current {
                return Ok(Ok(wanted));
            }
        }
        Ok(match apply(&api, &name, &wanted).await? {
            Ok(applied) => {
                let generation = applied.metadata.generation.unwrap_or_default();
                self.memory().entry(key).or_default().applied = Some((wanted.clone(), generation));
                Ok(wanted)
            }
            Err(refusal) => Err(refusal),
        })
    }

    /// Starts an export of its own if the server's state has changed; otherwise, when to look again.
    async fn follow(
        &self,
        export: &FliptSnapshotExport,
        accepted: &Accepted,
        running: &Running,
        now: Timestamp,
    ) -> Result<Option<Timestamp>, Failure> {
        if !export.spec.on_change.enabled || export.spec.suspend {
            return Ok(None);
        }
        let place = Place::of(export);
        let Some(revision) = self.revisions.current(&place, &accepted.server, &accepted.url) else {
            return Ok(None);
        };
        let namespace = export.namespace().unwrap_or_default();
        let key = (namespace.clone(), export.name_any());
        let decision = {
            let mut memory = self.memory();
            let pending = &mut memory.entry(key.clone()).or_default().pending;
            pending.hear(&revision, running.published, now);
            pending.decide(&export.spec.on_change, running, now)
        };
        let revision = match decision {
            Decision::Nothing | Decision::WhenFinished => return Ok(None),
            Decision::At(moment) => return Ok(Some(moment)),
            Decision::Start(revision) => revision,
        };
        let count = change::number(&revision).map_or_else(|| revision.clone(), |count| count.to_string());
        let Some(job) = cronjob::job_of_change(export, &accepted.cron_job, &count) else { return Ok(None) };
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), &namespace);
        match api.create(&PostParams::default(), &job).await {
            Ok(_) => tracing::info!(
                namespace,
                export = key.1,
                revision = count,
                "export started: the server's state has changed"
            ),
            // Another term of the leader has started it, or the namespace ends.
            Err(kube::Error::Api(status)) if matches!(status.code, 403 | 409) => {
                tracing::debug!(namespace, export = key.1, error = status.message, "export not started");
            }
            Err(error) => return Err(error.into()),
        }
        self.memory().entry(key).or_default().pending.started(&revision);
        Ok(None)
    }

    async fn delete_job(&self, namespace: &str, name: &str) -> Result<(), Failure> {
        let api: Api<Job> = Api::namespaced(self.context.client.clone(), namespace);
        let parameters = DeleteParams {
            propagation_policy: Some(PropagationPolicy::Background),
            ..DeleteParams::default()
        };
        deleted(api.delete(name, &parameters).await)
    }

    /// Events about what has changed since the status that is known.
    async fn tell(&self, export: &FliptSnapshotExport, status: &flipt_crds::FliptSnapshotExportStatus) {
        let about = export.object_ref(&());
        let before = export.status.clone().unwrap_or_default();
        for event in conditions::news(&before, status) {
            let severity = if event.is_warning { Severity::Warning } else { Severity::Normal };
            self.context.events.publish(&about, severity, &event.reason, event.note).await;
        }
    }

    async fn write(
        &self,
        export: &FliptSnapshotExport,
        status: &flipt_crds::FliptSnapshotExportStatus,
    ) -> Result<(), Failure> {
        let api: Api<FliptSnapshotExport> =
            Api::namespaced(self.context.client.clone(), &export.namespace().unwrap_or_default());
        let patch = serde_json::json!({
            "apiVersion": FliptSnapshotExport::api_version(&()),
            "kind": FliptSnapshotExport::kind(&()),
            "metadata": { "name": export.name_any() },
            "status": status,
        });
        let parameters = PatchParams::apply(FIELD_MANAGER).force();
        match api.patch_status(&export.name_any(), &parameters, &Patch::Apply(&patch)).await {
            Ok(_) => {
                self.context.metrics.status_writes.with_label_values(&["FliptSnapshotExport"]).inc();
                Ok(())
            }
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn memory(&self) -> MutexGuard<'_, HashMap<(String, String), Memory>> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Applies a child. What the API server finds wrong with it is a condition: only the author of the export can help.
async fn apply<K>(api: &Api<K>, name: &str, child: &K) -> Result<Result<K, Refusal>, Failure>
where
    K: Resource<DynamicType = ()> + Serialize + DeserializeOwned + Clone + std::fmt::Debug,
{
    match api.patch(name, &PatchParams::apply(FIELD_MANAGER).force(), &Patch::Apply(child)).await {
        Ok(applied) => Ok(Ok(applied)),
        Err(kube::Error::Api(status)) if matches!(status.code, 400 | 403 | 422) => {
            Ok(Err(Refusal::new(Reason::InvalidSpec, format!("{} {name}: {}", K::kind(&()), status.message))))
        }
        Err(error) => Err(error.into()),
    }
}

fn deleted<T>(answer: Result<T, kube::Error>) -> Result<(), Failure> {
    match answer {
        Ok(_) => Ok(()),
        Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
        Err(error) => Err(error.into()),
    }
}

/// Whether an object was made for this very export.
fn is_ours(child: &impl Resource, export: &FliptSnapshotExport) -> bool {
    let owners = child.meta().owner_references.as_deref().unwrap_or_default();
    owners
        .iter()
        .any(|owner| Some(&owner.uid) == export.metadata.uid.as_ref() && owner.controller == Some(true))
}

/// Whether an object has the labels and annotations that it should.
fn carries(found: &kube::api::ObjectMeta, wanted: &kube::api::ObjectMeta) -> bool {
    let all = |found: &Option<std::collections::BTreeMap<String, String>>,
               wanted: &Option<std::collections::BTreeMap<String, String>>| {
        wanted
            .iter()
            .flatten()
            .all(|(name, value)| found.as_ref().and_then(|found| found.get(name)) == Some(value))
    };
    all(&found.labels, &wanted.labels) && all(&found.annotations, &wanted.annotations)
}
