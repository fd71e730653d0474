//! Events about objects: bounded, without repetition, and never in the way of the work.

use k8s_openapi::api::core::v1::ObjectReference;
use kube::{
    Client,
    runtime::events::{Event, EventType, Recorder, Reporter},
};
use tokio::sync::mpsc;

use crate::metrics::Metrics;

/// Events that wait to be written. More than that are dropped, and counted.
const WAITING: usize = 4_096;
/// Most bytes of a note that the API server accepts.
const NOTE_BYTES: usize = 1_024;

/// Whether an event needs somebody's attention.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Severity {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

struct Written {
    about: ObjectReference,
    event: Event,
}

/// Events about objects.
#[derive(Clone)]
pub(crate) struct Events {
    sender: mpsc::Sender<Written>,
    metrics: Metrics,
}

impl Events {
    /// Events that this pod reports. They are written by a task of their own.
    pub(crate) fn new(client: Client, pod: String, metrics: Metrics) -> Self {
        let reporter = Reporter { controller: "flipt.io/operator".to_owned(), instance: Some(pod) };
        let recorder = Recorder::new(client, reporter);
        let (sender, mut receiver) = mpsc::channel::<Written>(WAITING);
        tokio::spawn(async move {
            while let Some(Written { about, event }) = receiver.recv().await {
                // In a namespace that ends, nothing can be created; and an event is no reason for a fault.
                if let Err(error) = recorder.publish(&event, &about).await {
                    tracing::debug!(error = %error, object = about.name, "event not written");
                }
            }
        });
        Self { sender, metrics }
    }

    /// Says something about an object. The same thing said again within minutes is counted on the first event.
    ///
    /// # Guarantees
    /// Never fails and never waits: events that cannot be written in time are dropped, and counted.
    pub(crate) async fn publish(
        &self,
        about: &ObjectReference,
        severity: Severity,
        reason: &str,
        note: impl Into<String>,
    ) {
        let mut note = note.into();
        note.truncate(note.floor_char_boundary(NOTE_BYTES));
        let event = Event {
            type_: match severity {
                Severity::Normal => EventType::Normal,
                Severity::Warning => EventType::Warning,
            },
            reason: reason.to_owned(),
            note: Some(note),
            action: "Reconcile".to_owned(),
            secondary: None,
        };
        if self.sender.try_send(Written { about: about.clone(), event }).is_err() {
            self.metrics.events_dropped.inc();
        }
    }
}
