//! What Jobs and pods tell about an export: a pure function from them to what its status reports.

use flipt_crds::{ExportFailure, FliptSnapshotExportStatus, condition::MAX_MESSAGE_BYTES};
use jiff::Timestamp;
use k8s_openapi::{
    api::{
        batch::v1::{Job, JobCondition},
        core::v1::{ContainerStateTerminated, Pod},
    },
    apimachinery::pkg::apis::meta::v1::Time,
};
use kube::ResourceExt;

use super::{
    cronjob::{CONTAINER, TRIGGER_ANNOTATION},
    receipt::{self, Outcome},
};

/// Label by which a pod names its Job.
const JOB_NAME_LABEL: &str = "batch.kubernetes.io/job-name";

/// Takes over what Jobs and pods tell that the status does not know yet. What it knows stays, although the Jobs that
/// told it are gone: nothing moves back in time.
pub(crate) fn observe(status: &mut FliptSnapshotExportStatus, jobs: &[Job], pods: &[Pod]) {
    let started = jobs.iter().filter_map(|job| job.metadata.creation_timestamp.as_ref()).max();
    advance(&mut status.last_schedule_time, started);
    for (time, outcome) in endings(jobs, pods) {
        match outcome {
            Outcome::Published(snapshot) => {
                if status.last_success_time.as_ref().is_some_and(|known| *known > time) {
                    continue;
                }
                status.last_success_time = Some(time);
                if snapshot.is_some() {
                    status.snapshot = snapshot;
                }
            }
            Outcome::Failed { reason, message } => {
                let known = status.last_failure.as_ref();
                // Of two at the same second, the first said more: pods come before their Job.
                if known.is_none_or(|known| known.time < time) {
                    status.last_failure = Some(ExportFailure { time, reason, message });
                }
            }
        }
    }
    if let (Some(failure), Some(success)) = (&status.last_failure, &status.last_success_time)
        && failure.time <= *success
    {
        status.last_failure = None;
    }
}

fn advance(known: &mut Option<Time>, time: Option<&Time>) {
    if let Some(time) = time
        && known.as_ref().is_none_or(|known| known < time)
    {
        *known = Some(time.clone());
    }
}

/// Everything that has come to an end, in the order of time.
fn endings(jobs: &[Job], pods: &[Pod]) -> Vec<(Time, Outcome)> {
    let mut endings: Vec<(Time, Outcome)> = pods.iter().filter_map(ending_of_pod).collect();
    let told = |job: &Job, success: bool| {
        let name = job.name_any();
        pods.iter().any(|pod| {
            pod.labels().get(JOB_NAME_LABEL) == Some(&name)
                && terminated(pod)
                    .is_some_and(|ended| matches!(ended.exit_code, 0 | receipt::OVERTAKEN) == success)
        })
    };
    for job in jobs {
        if let Some(condition) = condition(job, "Complete")
            && !told(job, true)
            && let Some(time) = &condition.last_transition_time
        {
            endings.push((time.clone(), Outcome::Published(None)));
        }
        if let Some(condition) = condition(job, "Failed")
            && !told(job, false)
            && let Some(time) = &condition.last_transition_time
        {
            let reason = condition.reason.clone().unwrap_or_else(|| "ExportFailed".to_owned());
            let message = condition.message.as_deref().unwrap_or("the Job of the export failed");
            let message = receipt::bounded(message, MAX_MESSAGE_BYTES);
            endings.push((time.clone(), Outcome::Failed { reason: receipt::bounded(&reason, 64), message }));
        }
    }
    endings.sort_by(|(one, _), (other, _)| one.cmp(other));
    endings
}

fn ending_of_pod(pod: &Pod) -> Option<(Time, Outcome)> {
    let terminated = terminated(pod)?;
    let time = terminated.finished_at.clone().or_else(|| pod.metadata.creation_timestamp.clone())?;
    Some((time, receipt::outcome(terminated)))
}

fn terminated(pod: &Pod) -> Option<&ContainerStateTerminated> {
    let containers = pod.status.as_ref()?.container_statuses.as_ref()?;
    containers.iter().find(|status| status.name == CONTAINER)?.state.as_ref()?.terminated.as_ref()
}

fn condition<'a>(job: &'a Job, type_: &str) -> Option<&'a JobCondition> {
    let conditions = job.status.as_ref()?.conditions.as_ref()?;
    conditions.iter().find(|condition| condition.type_ == type_ && condition.status == "True")
}

/// Whether a Job goes on.
pub(crate) fn is_running(job: &Job) -> bool {
    condition(job, "Complete").is_none()
        && condition(job, "Failed").is_none()
        && job.metadata.deletion_timestamp.is_none()
}

/// When the last Job was started, by the schedule or by a change.
pub(crate) fn last_start(jobs: &[Job]) -> Option<Timestamp> {
    jobs.iter().filter_map(|job| job.metadata.creation_timestamp.as_ref()).map(|time| time.0).max()
}

/// Finished Jobs of changes beyond what the history keeps, oldest first; Kubernetes does the same for those of the
/// schedule. `successful` and `failed` are limits.
pub(crate) fn beyond_history(jobs: &[Job], successful: usize, failed: usize) -> Vec<String> {
    let mut superfluous = Vec::new();
    for (type_, limit) in [("Complete", successful), ("Failed", failed)] {
        let mut finished: Vec<&Job> = jobs
            .iter()
            .filter(|job| job.annotations().contains_key(TRIGGER_ANNOTATION))
            .filter(|job| job.metadata.deletion_timestamp.is_none() && condition(job, type_).is_some())
            .collect();
        finished.sort_by_key(|job| job.metadata.creation_timestamp.clone());
        let kept = finished.len().saturating_sub(limit);
        superfluous.extend(finished.iter().take(kept).map(|job| job.name_any()));
    }
    superfluous
}

#[cfg(test)]
mod tests {
    use super::*;

    fn job(text: &str) -> Job {
        yaml_serde::from_str(&format!("apiVersion: batch/v1\nkind: Job\n{text}")).unwrap()
    }

    fn pod(job: &str, finished: &str, code: i32, message: &str) -> Pod {
        serde_json::from_value(serde_json::json!({
            "metadata": {"name": "p", "labels": {JOB_NAME_LABEL: job}},
            "status": {"containerStatuses": [{
                "name": "export", "image": "", "imageID": "", "ready": false, "restartCount": 0,
                "state": {"terminated": {"exitCode": code, "finishedAt": finished, "message": message}},
            }]},
        }))
        .unwrap()
    }

    fn receipt(revision: i64) -> String {
        format!(r#"{{"revision":{revision},"epoch":"e","digest":"sha256:{revision}","changed":true}}"#)
    }

    fn time(text: &str) -> Option<Time> {
        Some(Time(text.parse().unwrap()))
    }

    fn revision(status: &FliptSnapshotExportStatus) -> Option<i64> {
        status.snapshot.as_ref().map(|snapshot| snapshot.revision)
    }

    #[test]
    fn the_last_success_is_what_is_published() {
        let mut status = FliptSnapshotExportStatus::default();
        let jobs = [
            job("metadata: {name: a, creationTimestamp: 2026-11-21T10:00:00Z}"),
            job("metadata: {name: b, creationTimestamp: 2026-11-21T10:01:00Z}"),
        ];
        let pods = [
            pod("b", "2026-11-21T10:01:04Z", 0, &receipt(8)),
            pod("a", "2026-11-21T10:00:04Z", 0, &receipt(7)),
        ];
        observe(&mut status, &jobs, &pods);
        assert_eq!(revision(&status), Some(8));
        assert_eq!(status.last_success_time, time("2026-11-21T10:01:04Z"));
        assert_eq!(status.last_schedule_time, time("2026-11-21T10:01:00Z"));
        let known = status.clone();
        observe(&mut status, &jobs[..1], &pods[1..]);
        assert_eq!(status, known, "what is gone is not forgotten, and nothing goes back");
        observe(&mut status, &[], &[]);
        assert_eq!(status, known);
    }

    #[test]
    fn a_failure_is_shown_until_the_next_success() {
        let mut status = FliptSnapshotExportStatus::default();
        observe(&mut status, &[], &[pod("a", "2026-11-21T10:00:04Z", 0, &receipt(7))]);
        let refused = r#"{"reason":"GuardRefused","message":"214 flags became 3"}"#;
        observe(&mut status, &[], &[pod("b", "2026-11-21T10:01:04Z", 3, refused)]);
        let failure = status.last_failure.clone().unwrap();
        assert_eq!(
            (failure.reason.as_str(), failure.message.as_str()),
            ("GuardRefused", "214 flags became 3")
        );
        assert_eq!(revision(&status), Some(7), "what is published stays");
        // The same pod again is no news.
        let known = status.clone();
        observe(&mut status, &[], &[pod("b", "2026-11-21T10:01:04Z", 3, refused)]);
        assert_eq!(status, known);
        observe(&mut status, &[], &[pod("c", "2026-11-21T10:02:04Z", 6, "")]);
        assert_eq!(status.last_failure, None, "a lost race is a success");
        assert_eq!(status.last_success_time, time("2026-11-21T10:02:04Z"));
        assert_eq!(revision(&status), Some(7));
    }

    #[test]
    fn a_job_whose_pod_says_nothing_speaks_for_itself() {
        let mut status = FliptSnapshotExportStatus::default();
        let late = job(
            "metadata: {name: a}\nstatus: {conditions: [{type: Failed, status: 'True', reason: DeadlineExceeded, \
             message: Job was active longer than specified deadline, lastTransitionTime: 2026-11-21T10:02:00Z}]}",
        );
        observe(&mut status, std::slice::from_ref(&late), &[]);
        assert_eq!(status.last_failure.as_ref().unwrap().reason, "DeadlineExceeded");
        let done = job("metadata: {name: b}\nstatus: {conditions: [{type: Complete, status: 'True', \
             lastTransitionTime: 2026-11-21T10:03:00Z}]}");
        observe(&mut status, &[late, done], &[]);
        assert_eq!(
            (status.last_success_time.clone(), status.last_failure.clone()),
            (time("2026-11-21T10:03:00Z"), None)
        );
    }

    #[test]
    fn what_a_pod_says_of_a_failure_stands_before_what_its_job_says() {
        let mut status = FliptSnapshotExportStatus::default();
        let failed = job(
            "metadata: {name: a}\nstatus: {conditions: [{type: Failed, status: 'True', reason: PodFailurePolicy, \
             message: Container export failed, lastTransitionTime: 2026-11-21T10:00:09Z}]}",
        );
        observe(&mut status, &[failed], &[pod("a", "2026-11-21T10:00:04Z", 4, r#"{"message":"401"}"#)]);
        let failure = status.last_failure.unwrap();
        assert_eq!((failure.reason.as_str(), failure.message.as_str()), ("Unauthorized", "401"));
    }

    #[test]
    fn finished_jobs_of_changes_go_beyond_the_history() {
        let finished = |name: &str, type_: &str, minute: u8, trigger: &str| {
            job(&format!(
                "metadata: {{name: {name}, creationTimestamp: '2026-11-21T10:{minute:02}:00Z', annotations: {trigger}}}\n\
                 status: {{conditions: [{{type: {type_}, status: 'True'}}]}}",
            ))
        };
        let ours = "{flipt.io/trigger: change}";
        let jobs = [
            finished("newest", "Complete", 9, ours),
            finished("oldest", "Complete", 1, ours),
            finished("middle", "Complete", 5, ours),
            finished("scheduled", "Complete", 0, "{}"),
            finished("failed", "Failed", 1, ours),
            job("metadata: {name: runs, annotations: {flipt.io/trigger: change}}"),
        ];
        assert_eq!(beyond_history(&jobs, 1, 1), ["oldest", "middle"]);
        assert_eq!(beyond_history(&jobs, 3, 0), ["failed"]);
        assert_eq!(jobs.iter().filter(|job| is_running(job)).count(), 1);
        assert_eq!(last_start(&jobs).unwrap().to_string(), "2026-11-21T10:09:00Z");
    }
}
