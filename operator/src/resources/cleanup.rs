//! What becomes of the content when its object is deleted.

use std::{sync::Once, time::Duration};

use flipt_client::call;
use flipt_crds::{DeletionPolicy, FINALIZER, Reason};
use flipt_model::ownership::ResourceKind;
use flipt_proto::ownership as pb;
use k8s_openapi::{
    apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
    apimachinery::pkg::apis::meta::v1::Time, jiff::Timestamp,
};
use kube::{Api, ResourceExt as _, runtime::controller::Action};

use super::{
    Done, Error, LONG, Managed, SHORT, drop_finalizer, id_of, limited, status, status::Verdict, warn,
    write_status,
};
use crate::{
    connection::Failure,
    feed::{Feed, Interest, Key},
    pause::spread,
    term::Term,
};

/// Gives up what the object owns, and lets it go. The object may never have been written.
///
/// # Guarantees
/// Content of others is never deleted: the server deletes only what this object owns. An object whose server is gone,
/// or whose namespace ends together with its server, is let go at once; one whose server does not answer, after
/// the deadline. What goes only because its whole kind is deleted leaves its content behind, owned by nobody.
///
/// # Errors
/// [`Error`]: the API server did not do its part.
pub(super) async fn clean<K: Managed>(term: &Term, object: &K) -> Result<Done, Error> {
    let meta = object.meta();
    if !object.finalizers().iter().any(|finalizer| finalizer == FINALIZER) {
        term.forget(&id_of::<K>(meta));
        return Ok(("gone", Action::await_change()));
    }
    let server = object.server();
    let exists = term.server(&server).is_some_and(|server| server.metadata.deletion_timestamp.is_none());
    if !exists && !term.is_malformed(&server) {
        drop_finalizer::<K>(term, meta).await?;
        return Ok(("dropped", Action::await_change()));
    }
    let released = match term.live.get(&server) {
        None => Err("the server has not been reached yet".to_owned()),
        Some(live) => {
            let management = object.management();
            let key = object.key();
            let feed = live.feed(&management.environment);
            let mut delete = management.deletion_policy == DeletionPolicy::Delete && !management.suspend;
            if delete && kind_ends::<K>(term).await? {
                tracing::warn!(
                    kind = K::KIND,
                    object.namespace = object.namespace(),
                    object.name = object.name_any(),
                    "the whole kind is being deleted: the content stays in the server, owned by nobody"
                );
                delete = false;
            }
            let request = pb::ReleaseRequest {
                environment_key: management.environment.clone(),
                namespace_key: key.namespace.clone(),
                kind: pb::ResourceKind::from(key.kind).into(),
                key: key.key.clone(),
                owner: Some(term.owner(meta).into()),
                delete,
            };
            let turn = if key.namespace.is_empty() { &key.key } else { &key.namespace };
            match live.connection.write::<call::Release>(turn, &request).await {
                Ok(answer) if answer.used_by.is_empty() => {
                    if answer.released {
                        feed.record(key, None);
                    }
                    Ok(())
                }
                // What is in it belongs to nobody who could still go: a namespace of the cluster does not wait for that.
                Ok(_)
                    if term.ends(&object.namespace().unwrap_or_default())
                        && !still_owned(term, object, &feed) =>
                {
                    let kept = pb::ReleaseRequest { delete: false, ..request };
                    match live.connection.write::<call::Release>(turn, &kept).await {
                        Ok(_) => {
                            feed.record(key.clone(), None);
                            let note = format!(
                                "{} stays in the server, owned by nobody: others use it, and this namespace ends",
                                key.key
                            );
                            tracing::warn!(kind = K::KIND, object.name = object.name_any(), "{note}");
                            Ok(())
                        }
                        Err(failure) => Err(failure.message()),
                    }
                }
                Ok(answer) => {
                    let others = answer.used_by.iter().filter_map(|user| Key::parse(user)).collect();
                    feed.listen(id_of::<K>(meta), Interest { own: key, others });
                    return in_use(term, object, &answer.used_by).await;
                }
                // There is no such environment or namespace: nothing to clean.
                Err(Failure::Call(error)) if error.is_not_found() => Ok(()),
                Err(busy @ Failure::Busy(_)) => {
                    tracing::debug!(error = %busy, object.name = object.name_any(), "deletion waits its turn");
                    return Ok(("waiting", Action::requeue(spread(SHORT))));
                }
                Err(failure) => Err(failure.message()),
            }
        }
    };
    match released {
        Ok(()) => {
            drop_finalizer::<K>(term, meta).await?;
            Ok(("deleted", Action::await_change()))
        }
        Err(problem)
            if is_over(meta.deletion_timestamp.as_ref(), term.context.settings.finalizer_deadline) =>
        {
            let note = format!(
                "the server did not answer until the deadline: {} stays there as it is ({problem})",
                object.key().key
            );
            tracing::warn!(kind = K::KIND, object.name = object.name_any(), "{note}");
            warn(term, &object.object_ref(&()), Reason::ServerUnavailable, note).await;
            drop_finalizer::<K>(term, meta).await?;
            Ok(("abandoned", Action::await_change()))
        }
        Err(problem) => {
            waits(term, object, Reason::Deleting, format!("waiting for the server to delete it: {problem}"))
                .await?;
            Ok(("waiting", Action::requeue(term.failed(&id_of::<K>(meta)))))
        }
    }
}

/// Whether the definition of a kind is being deleted, which deletes every object of it: more often a mistake than the
/// wish to lose all flags (design, section 4.9). Asked each time, as an answer of before may have been given too early.
async fn kind_ends<K: Managed>(term: &Term) -> Result<bool, Error> {
    let api: Api<CustomResourceDefinition> = Api::all(term.context.client.clone());
    let name = format!("{}.{}", K::plural(&()), K::group(&()));
    match limited(api.get_metadata_opt(&name)).await {
        Ok(definition) => Ok(definition.is_none_or(|it| it.metadata.deletion_timestamp.is_some())),
        // Roles that are older than this question, or made by hand.
        Err(error) if error.code() == Some(403) => {
            static TOLD: Once = Once::new();
            TOLD.call_once(|| {
                tracing::warn!(
                    error = %error,
                    "may not see whether a kind is being deleted: its flags would be deleted with it"
                );
            });
            Ok(false)
        }
        Err(error) => Err(error),
    }
}

/// Whether other objects of the same namespace still own something beside this one, or in it.
fn still_owned<K: Managed>(term: &Term, object: &K, feed: &Feed) -> bool {
    let namespace = object.namespace().unwrap_or_default();
    match K::CONTENT {
        ResourceKind::Namespace => feed.owns_in(&term.context.cluster, &namespace, &object.flipt_namespace()),
        // The flags that use it: objects of their own, which go before it does.
        ResourceKind::Segment | ResourceKind::Flag => {
            feed.owns_flags_in(&term.context.cluster, &namespace, &object.flipt_namespace())
        }
    }
}

async fn in_use<K: Managed>(term: &Term, object: &K, used_by: &[String]) -> Result<Done, Error> {
    const NAMED: usize = 10;
    let mut users = used_by.iter().take(NAMED).cloned().collect::<Vec<_>>().join(", ");
    if used_by.len() > NAMED {
        users.push_str(&format!(" and {} more", used_by.len() - NAMED));
    }
    let message = format!("still used by {users}; it is deleted after them");
    waits(term, object, Reason::InUse, message).await?;
    Ok((Reason::InUse.as_str(), Action::requeue(spread(LONG))))
}

/// Says what a deletion waits for.
async fn waits<K: Managed>(term: &Term, object: &K, reason: Reason, message: String) -> Result<(), Error> {
    let before = term.statuses.latest(object.meta(), object.status());
    let verdict = Verdict::Deleting { reason, message };
    let after = status::after(
        &before,
        &object.key().key,
        &object.flipt_namespace(),
        object.meta().generation,
        &verdict,
        Time(Timestamp::now()),
    );
    super::publish(term, object, &before, &after, &verdict).await;
    write_status::<K>(term, object.meta(), &before, after).await?;
    term.state(&id_of::<K>(object.meta()), reason.as_str());
    Ok(())
}

/// Whether a deletion has waited long enough.
fn is_over(since: Option<&Time>, deadline: Duration) -> bool {
    since.is_some_and(|since| {
        let waited = Timestamp::now().duration_since(since.0);
        u64::try_from(waited.as_secs()).is_ok_and(|seconds| seconds >= deadline.as_secs())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deletion_waits_until_its_deadline_and_not_longer() {
        let ago =
            |seconds: i64| Time(Timestamp::from_second(Timestamp::now().as_second() - seconds).unwrap());
        let deadline = Duration::from_secs(60);
        assert!(!is_over(None, deadline));
        assert!(!is_over(Some(&ago(10)), deadline));
        assert!(is_over(Some(&ago(61)), deadline));
    }
}
