//! Servers: those that the operator runs, those that run already, and whether they can be called.

mod managed;

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use flipt_crds::{ConditionType, FliptServer, FliptServerStatus, Reason, condition};
use futures::StreamExt as _;
use k8s_openapi::{
    api::{apps::v1::Deployment, batch::v1::Job},
    apimachinery::pkg::apis::meta::v1::{ObjectMeta, Time},
    jiff::Timestamp,
};
use kube::{
    Api, Resource, ResourceExt as _,
    api::{Patch, PatchParams},
    core::DeserializeGuard,
    runtime::{
        Config, Controller, Predicate as _, PredicateConfig, WatchStreamExt as _,
        controller::{self, Action},
        predicates,
        reflector::{self, Store},
        watcher,
    },
};
use serde_json::json;

use self::managed::Stop;
use crate::{
    connection::{Connection, refuses_token},
    context::FIELD_MANAGER,
    events::Severity,
    feed::State,
    live::LiveServer,
    malformed,
    pause::spread,
    resources::{Error, limited, wake_users},
    term::{Keeps as _, Term},
    wake::ObjectId,
};

const KIND: &str = "FliptServer";
/// Workers.
const WORKERS: u16 = 4;
/// How often a server is looked at that nothing wakes.
const LOOK: Duration = Duration::from_secs(60);
/// How often one is looked at that is on its way.
const SOON: Duration = Duration::from_secs(3);

/// Whether and why a server is not ready, for those who want to use it.
pub(crate) fn trouble(status: &FliptServerStatus) -> Option<(Reason, String)> {
    let ready = status.conditions.iter().find(|it| it.type_ == ConditionType::Ready.as_str())?;
    if ready.status == "True" {
        return None;
    }
    let reason = match ready.reason.as_str() {
        "Unauthorized" => Reason::Unauthorized,
        _ => Reason::ServerUnavailable,
    };
    Some((reason, format!("the server is not ready: {}", ready.message)))
}

fn id_of(server: &FliptServer) -> ObjectId {
    id_of_meta(&server.metadata)
}

fn id_of_meta(meta: &ObjectMeta) -> ObjectId {
    ObjectId {
        kind: KIND,
        namespace: meta.namespace.clone().unwrap_or_default(),
        name: meta.name.clone().unwrap_or_default(),
    }
}

/// Looks after the servers of a namespace, or of all, until the term ends. Their store is kept at once.
pub(crate) fn run(term: &Arc<Term>, scope: Option<String>) -> impl Future<Output = ()> + use<> {
    let (reader, writer) = reflector::store::<DeserializeGuard<FliptServer>>();
    term.keep(reader.clone());
    let term = Arc::clone(term);
    async move {
        let api: Api<DeserializeGuard<FliptServer>> = term.api(scope.as_deref());
        let users = Users { term: Arc::clone(&term), store: reader.clone(), known: Mutex::default() };
        let objects = watcher(api, watcher::Config::default())
            .default_backoff()
            .modify(|object| object.meta_mut().managed_fields = None)
            .reflect(writer)
            .inspect(move |event| {
                if let Ok(event) = event {
                    users.hear(event);
                }
            })
            .touched_objects()
            .predicate_filter(
                predicates::generation.combine(predicates::finalizers).combine(deletion),
                PredicateConfig::default(),
            );
        let client = term.context.client.clone();
        let children = watcher::Config::default().labels(managed::CHILDREN);
        let (deployments, jobs): (Api<Deployment>, Api<Job>) = match &scope {
            Some(namespace) => {
                (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace))
            }
            None => (Api::all(client.clone()), Api::all(client)),
        };
        Controller::for_stream(objects, reader)
            .with_config(Config::default().concurrency(WORKERS))
            .owns(deployments, children.clone())
            .owns(jobs, children)
            .reconcile_on(term.wakes.listen(KIND, scope.as_deref()))
            .graceful_shutdown_on(term.token.clone().cancelled_owned())
            .run(reconcile, again, Arc::clone(&term))
            .for_each(|result| async move {
                if let Err(controller::Error::QueueError(error)) = result {
                    tracing::warn!(kind = KIND, error = %error, "watch interrupted");
                }
            })
            .await;
    }
}

fn deletion<K: Resource>(object: &K) -> Option<u64> {
    Some(object.meta().deletion_timestamp.is_some().into())
}

/// Wakes the objects of a server when it comes, goes, becomes ready or otherwise.
struct Users {
    term: Arc<Term>,
    store: Store<DeserializeGuard<FliptServer>>,
    known: Mutex<HashMap<ObjectId, Seen>>,
}

/// What users of a server want to hear of.
#[derive(PartialEq)]
struct Seen {
    uid: Option<String>,
    generation: Option<i64>,
    deleting: bool,
    ready: Option<(String, String)>,
}

impl Users {
    fn hear(&self, event: &watcher::Event<DeserializeGuard<FliptServer>>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let Ok(server) = &object.0 else { return };
                let id = id_of(server);
                let seen = seen(server);
                if known.get(&id) != Some(&seen) {
                    known.insert(id.clone(), seen);
                    wake_users(&self.term, &id);
                }
            }
            watcher::Event::Delete(object) => {
                let id = id_of_meta(object.meta());
                known.remove(&id);
                self.gone(&id);
            }
            watcher::Event::Init => {}
            watcher::Event::InitDone => {
                let there: Vec<ObjectId> = self
                    .store
                    .state()
                    .iter()
                    .filter_map(|object| object.0.as_ref().ok().map(id_of))
                    .collect();
                let gone: Vec<ObjectId> = known.keys().filter(|id| !there.contains(id)).cloned().collect();
                for id in gone {
                    known.remove(&id);
                    self.gone(&id);
                }
            }
        }
    }

    fn gone(&self, id: &ObjectId) {
        self.term.live.remove(id);
        self.term.forget(id);
        wake_users(&self.term, id);
    }
}

fn seen(server: &FliptServer) -> Seen {
    let conditions = server.status.as_ref().map(|status| status.conditions.as_slice()).unwrap_or_default();
    Seen {
        uid: server.metadata.uid.clone(),
        generation: server.metadata.generation,
        deleting: server.metadata.deletion_timestamp.is_some(),
        ready: conditions
            .iter()
            .find(|it| it.type_ == ConditionType::Ready.as_str())
            .map(|it| (it.status.clone(), it.reason.clone())),
    }
}

fn again(object: Arc<DeserializeGuard<FliptServer>>, error: &Error, term: Arc<Term>) -> Action {
    let id = id_of_meta(object.meta());
    tracing::warn!(
        kind = KIND,
        object.namespace = id.namespace,
        object.name = id.name,
        error = %error,
        "not reconciled; trying again"
    );
    Action::requeue(term.failed(&id))
}

async fn reconcile(guarded: Arc<DeserializeGuard<FliptServer>>, term: Arc<Term>) -> Result<Action, Error> {
    let server = match &guarded.0 {
        Ok(server) if server.metadata.deletion_timestamp.is_none() => server,
        Ok(server) => {
            term.live.remove(&id_of(server));
            return Ok(Action::await_change());
        }
        Err(invalid) => {
            let id = id_of_meta(&invalid.metadata);
            term.live.remove(&id);
            wake_users(&term, &id);
            limited(malformed::report::<FliptServer>(&term.context, &invalid.metadata, &invalid.error))
                .await?;
            return Ok(Action::await_change());
        }
    };
    let timer = term.context.metrics.reconcile_duration.with_label_values(&[KIND]).start_timer();
    let found = look(&term, server).await;
    timer.observe_duration();
    let found = match found {
        Ok(found) => found,
        Err(error) => {
            term.context.metrics.reconciles.with_label_values(&[KIND, "error"]).inc();
            return Err(error);
        }
    };
    let id = id_of(server);
    term.succeeded(&id);
    let result = match &found.standing {
        Standing::Ready => Reason::Synced.as_str(),
        Standing::OnItsWay => "waiting",
        Standing::Trouble(reason, _) => reason.as_str(),
    };
    term.context.metrics.reconciles.with_label_values(&[KIND, result]).inc();
    let pause = match &found.standing {
        Standing::OnItsWay => SOON,
        Standing::Ready | Standing::Trouble(..) => spread(LOOK),
    };
    if let Some(status) = status_after(server, &found, Time(Timestamp::now())) {
        say(&term, server, &status).await;
        write_status(&term, server, &status).await?;
    }
    if found.standing != Standing::OnItsWay {
        term.state(&id, result);
    }
    Ok(Action::requeue(pause))
}

/// What was found out about a server.
struct Found {
    url: Option<String>,
    version: Option<String>,
    ready_replicas: Option<i32>,
    flags: Option<i32>,
    /// Whether its pods are those that are described, or why not; nothing for one that the operator does not run.
    rollout: Option<Result<(), String>>,
    standing: Standing,
}

/// How a server stands.
#[derive(Debug, Clone, PartialEq)]
enum Standing {
    /// It can be used.
    Ready,
    /// It is not known yet; what was said last stays said.
    OnItsWay,
    /// It cannot be used.
    Trouble(Reason, String),
}

async fn look(term: &Term, server: &FliptServer) -> Result<Found, Error> {
    let mut found = Found {
        url: None,
        version: None,
        ready_replicas: None,
        flags: None,
        rollout: None,
        standing: Standing::OnItsWay,
    };
    let rolled_out = match &server.spec.managed {
        None => {
            found.url = server.spec.external.as_ref().map(|external| external.url.clone());
            Ok(())
        }
        Some(_) => {
            let run = match managed::run(term, server).await {
                Ok(run) => run,
                Err(Stop::Refused(reason, message)) => {
                    found.standing = Standing::Trouble(reason, message);
                    return Ok(found);
                }
                Err(Stop::Failed(error)) => return Err(error),
            };
            found.url = Some(run.url);
            found.ready_replicas = run.ready_replicas;
            run.rolled_out
        }
    };
    let Some(url) = &found.url else {
        let message = "neither spec.managed nor spec.external is set".to_owned();
        found.standing = Standing::Trouble(Reason::InvalidSpec, message);
        return Ok(found);
    };
    if let Some(message) = refuses_token(server, &term.context.settings) {
        term.live.remove(&id_of(server));
        found.standing = Standing::Trouble(Reason::Unauthorized, message);
        return Ok(found);
    }
    let live = match connect(term, server, url).await {
        Ok(live) => live,
        Err(message) => {
            term.live.remove(&id_of(server));
            found.standing = Standing::Trouble(Reason::ReferenceNotFound, message);
            return Ok(found);
        }
    };
    found.rollout = server.spec.managed.is_some().then(|| rolled_out.clone());
    let feed = live.feed(flipt_model::DEFAULT_ENVIRONMENT);
    found.standing = match feed.state() {
        State::Following => Standing::Ready,
        State::Reading => match rolled_out {
            Ok(()) => Standing::OnItsWay,
            Err(message) => Standing::Trouble(Reason::ServerUnavailable, message),
        },
        State::Failing(reason, message) => {
            // What the operator does explains more than what the network says.
            Standing::Trouble(reason, rolled_out.err().unwrap_or(message))
        }
    };
    if found.standing == Standing::Ready {
        let count: usize = live.feeds().iter().map(|feed| feed.flags(&term.context.cluster)).sum();
        found.flags = i32::try_from(count).ok();
        found.version = live.connection.version().await.ok().flatten();
    }
    Ok(found)
}

/// The connection to a server, made anew when what it is made of has changed, or may have.
async fn connect(term: &Term, server: &FliptServer, url: &str) -> Result<Arc<LiveServer>, String> {
    let id = id_of(server);
    let made_of = json!([url, server.spec.external, server.spec.auth, server.spec.resync_period]).to_string();
    if let Some(live) = term.live.get(&id)
        && live.made_of == made_of
    {
        // Certificates in a Secret may have been replaced; nobody else would notice.
        let own_authorities =
            server.spec.external.as_ref().is_some_and(|external| external.ca_secret_ref.is_some());
        let failing = matches!(
            live.feed(flipt_model::DEFAULT_ENVIRONMENT).state(),
            State::Failing(Reason::ServerUnavailable, _)
        );
        if !(own_authorities && failing && live.age() > LOOK / 2) {
            return Ok(live);
        }
    }
    let connection = Connection::new(&term.context, server, url).await?;
    let live = term.live.insert(id.clone(), connection, made_of, server.spec.resync_period.get());
    // Whoever used the connection before, or found none, would hear nothing more of the server.
    wake_users(term, &id);
    Ok(live)
}

/// The status, if it says something else than the last one.
fn status_after(server: &FliptServer, found: &Found, now: Time) -> Option<FliptServerStatus> {
    let before = server.status.clone().unwrap_or_default();
    let generation = server.metadata.generation;
    let mut status = before.clone();
    status.url.clone_from(&found.url);
    status.ready_replicas = found.ready_replicas;
    if found.version.is_some() {
        status.version.clone_from(&found.version);
    }
    if found.flags.is_some() {
        status.flags = found.flags;
    }
    let mut set = |type_, holds, reason, message: &str| {
        condition::set(&mut status.conditions, type_, holds, reason, message, generation, now.clone());
    };
    match &found.standing {
        Standing::Ready => {
            set(ConditionType::Accepted, true, Reason::Synced, "");
            set(ConditionType::Ready, true, Reason::Synced, "");
            // Pods of the description before serve on: it can be used, and is not what it should be.
            match &found.rollout {
                None => status.observed_generation = generation,
                Some(Ok(())) => {
                    set(ConditionType::Synced, true, Reason::Synced, "");
                    status.observed_generation = generation;
                }
                Some(Err(message)) => set(ConditionType::Synced, false, Reason::ServerUnavailable, message),
            }
        }
        Standing::OnItsWay => {}
        Standing::Trouble(reason, message) => {
            let accepted = !matches!(reason, Reason::InvalidSpec | Reason::ReferenceNotFound);
            set(
                ConditionType::Accepted,
                accepted,
                if accepted { Reason::Synced } else { *reason },
                if accepted { "" } else { message },
            );
            set(ConditionType::Ready, false, *reason, message);
            status.observed_generation = generation;
        }
    }
    (status != before).then_some(status)
}

async fn say(term: &Term, server: &FliptServer, after: &FliptServerStatus) {
    let ready = |status: &FliptServerStatus| {
        let ready = status.conditions.iter().find(|it| it.type_ == ConditionType::Ready.as_str());
        ready.map(|it| (it.status.clone(), it.reason.clone(), it.message.clone()))
    };
    let before = server.status.as_ref().and_then(ready);
    let Some((status, reason, message)) = ready(after) else { return };
    if before.is_some_and(|before| (&before.0, &before.1) == (&status, &reason)) {
        return;
    }
    let (severity, note) = if status == "True" {
        (Severity::Normal, "the server answers".to_owned())
    } else {
        (Severity::Warning, message)
    };
    term.context.events.publish(&server.object_ref(&()), severity, &reason, note).await;
}

async fn write_status(term: &Term, server: &FliptServer, status: &FliptServerStatus) -> Result<(), Error> {
    let api: Api<FliptServer> =
        Api::namespaced(term.context.client.clone(), &server.namespace().unwrap_or_default());
    let patch = json!({
        "apiVersion": FliptServer::api_version(&()),
        "kind": KIND,
        "metadata": { "name": server.name_any(), "uid": server.metadata.uid },
        "status": status,
    });
    let parameters = PatchParams::apply(FIELD_MANAGER).force();
    limited(api.patch_status(&server.name_any(), &parameters, &Patch::Apply(&patch))).await?;
    term.context.metrics.status_writes.with_label_values(&[KIND]).inc();
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server() -> FliptServer {
        serde_json::from_value(json!({
            "apiVersion": "flipt.io/v1alpha1", "kind": "FliptServer",
            "metadata": { "name": "main", "namespace": "flipt-system", "generation": 3 },
            "spec": { "external": { "url": "https://flipt.example" } },
        }))
        .unwrap()
    }

    fn found(standing: Standing) -> Found {
        Found {
            url: Some("https://flipt.example".to_owned()),
            version: None,
            ready_replicas: None,
            flags: Some(7),
            rollout: None,
            standing,
        }
    }

    fn at(second: u32) -> Time {
        serde_json::from_value(format!("2026-01-01T00:00:{second:02}Z").into()).unwrap()
    }

    #[test]
    fn a_server_that_answers_is_ready_and_a_second_look_writes_nothing() {
        let mut server = server();
        let status = status_after(&server, &found(Standing::Ready), at(1)).unwrap();
        assert_eq!((status.flags, status.observed_generation), (Some(7), Some(3)));
        assert!(trouble(&status).is_none());
        server.status = Some(status);
        assert!(status_after(&server, &found(Standing::Ready), at(2)).is_none());
        let later = found(Standing::OnItsWay);
        assert!(status_after(&server, &later, at(3)).is_none(), "a new leader takes nothing back");
    }

    #[test]
    fn a_server_whose_pods_are_those_of_before_is_ready_and_not_as_it_should_be() {
        let stuck = "Job flipt-own-migrate-1 could not migrate the database: wrong password".to_owned();
        let mut found = found(Standing::Ready);
        found.rollout = Some(Err(stuck.clone()));
        let status = status_after(&server(), &found, at(1)).unwrap();
        let condition = |status: &FliptServerStatus, name: &str| {
            let found = status.conditions.iter().find(|it| it.type_ == name).unwrap();
            (found.status.clone(), found.message.clone())
        };
        assert_eq!(condition(&status, "Ready").0, "True");
        assert_eq!(condition(&status, "Synced"), ("False".to_owned(), stuck));
        assert_eq!(status.observed_generation, None, "the new description is not in force");
        found.rollout = Some(Ok(()));
        let status = status_after(&server(), &found, at(2)).unwrap();
        assert_eq!(condition(&status, "Synced").0, "True");
        assert_eq!(status.observed_generation, Some(3));
    }

    #[test]
    fn trouble_is_handed_on_to_those_who_use_the_server() {
        let standing = Standing::Trouble(Reason::Unauthorized, "token refused".to_owned());
        let status = status_after(&server(), &found(standing), at(1)).unwrap();
        let (reason, message) = trouble(&status).unwrap();
        assert_eq!(reason, Reason::Unauthorized);
        assert!(message.contains("token refused"));
        let standing = Standing::Trouble(Reason::ReferenceNotFound, "Secret ca: not found".to_owned());
        let status = status_after(&server(), &found(standing), at(1)).unwrap();
        let accepted = status.conditions.iter().find(|it| it.type_ == "Accepted").unwrap();
        assert_eq!((accepted.status.as_str(), accepted.reason.as_str()), ("False", "ReferenceNotFound"));
    }
}
