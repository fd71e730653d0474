//! A namespace for every test.

use std::panic::resume_unwind;

use k8s_openapi::api::core::v1::{Event, Namespace, ServiceAccount};
use kube::{
    Api, Client,
    api::{DeleteParams, ListParams, PostParams},
};
use serde_json::json;

use crate::wait::until;

/// Runs a test in a new namespace, which Pod Security holds to its strictest level, and deletes it afterwards,
/// whatever becomes of the test. Of a test that fails, the events are shown.
///
/// # Panics
/// If there is no cluster, or the test panics.
pub async fn in_namespace<F: Future<Output = ()> + Send + 'static>(test: impl FnOnce(Client, String) -> F) {
    let client = Client::try_default()
        .await
        .unwrap_or_else(|error| panic!("these tests need a cluster, `make e2e` provides one: {error}"));
    let namespaces = Api::<Namespace>::all(client.clone());
    let namespace = serde_json::from_value(json!({
        "metadata": {
            "generateName": "flipt-e2e-",
            "labels": { "pod-security.kubernetes.io/enforce": "restricted" },
        },
    }));
    let namespace = namespaces.create(&PostParams::default(), &namespace.unwrap()).await.unwrap();
    let name = namespace.metadata.name.unwrap();

    // In a task of its own, so that a panic is caught.
    let running = test(client.clone(), name.clone());
    let account = (client.clone(), name.clone());
    let outcome = tokio::spawn(async move {
        wait_for_account(&account.0, &account.1).await;
        running.await;
    })
    .await;
    if outcome.is_err() {
        show_events(&client, &name).await;
    }
    // Nobody waits: it takes seconds, and the next test has another one.
    let deleted = namespaces.delete(&name, &DeleteParams::background()).await;
    if let Err(panic) = outcome {
        resume_unwind(panic.into_panic());
    }
    deleted.unwrap();
}

/// Waits until a new namespace has its service account, without which it takes no pods.
///
/// # Panics
/// If it has none in time.
pub async fn wait_for_account(client: &Client, namespace: &str) {
    let accounts = Api::<ServiceAccount>::namespaced(client.clone(), namespace);
    let there = until("the namespace has a service account", || async {
        accounts.get_opt("default").await.is_ok_and(|account| account.is_some())
    });
    there.await.unwrap();
}

async fn show_events(client: &Client, namespace: &str) {
    let events = Api::<Event>::namespaced(client.clone(), namespace);
    match events.list(&ListParams::default()).await {
        Ok(events) => {
            for event in events {
                let object = event.involved_object.name.unwrap_or_default();
                let (reason, message) = (event.reason.unwrap_or_default(), event.message.unwrap_or_default());
                eprintln!("event of {namespace}/{object}: {reason}: {message}");
            }
        }
        Err(error) => eprintln!("no events of {namespace}: {error}"),
    }
}
