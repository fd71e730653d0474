//! An application in a pod that evaluates flags on localhost.

use flipt_e2e::{Failure, Result, http, until_some};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    reach::{Reached, reach, ready_pod},
    wait::PATIENCE,
    workload::{apply, pod_spec},
};

/// Image of the application.
pub const IMAGE: &str = "localhost/flipt-e2e-app:test";

/// An application that runs.
#[derive(Debug)]
pub struct App {
    /// Name of its pod.
    pub pod: String,
    reached: Reached,
}

/// A pod template of an application: evaluates the flag `banner` of a Flipt namespace. Labelled for injection.
#[must_use]
pub fn template(name: &str, flipt_namespace: &str, command: &str) -> Value {
    let mut spec = pod_spec(json!({
        "name": "app",
        "image": IMAGE,
        "args": [command],
        "env": [{ "name": "APP_NAMESPACE", "value": flipt_namespace }],
        "resources": { "requests": { "cpu": "10m", "memory": "16Mi" }, "limits": { "memory": "64Mi" } },
    }));
    spec["automountServiceAccountToken"] = false.into();
    json!({ "metadata": { "labels": { "app": name, "flipt.io/inject": "true" } }, "spec": spec })
}

/// A Deployment of one pod of this template.
#[must_use]
pub fn deployment(name: &str, template: &Value) -> Value {
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": { "name": name },
        "spec": { "selector": { "matchLabels": { "app": name } }, "template": template },
    })
}

impl App {
    /// Deploys an application and waits until its pod is ready.
    ///
    /// # Errors
    /// If the API server refuses it, or it is not ready in time.
    pub async fn start(client: &Client, namespace: &str, name: &str, flipt_namespace: &str) -> Result<Self> {
        let template = template(name, flipt_namespace, "serve");
        Self::deploy(client, namespace, name, &template).await
    }

    /// Deploys an application of this template and waits until its pod is ready.
    ///
    /// # Errors
    /// As [`App::start`].
    pub async fn deploy(client: &Client, namespace: &str, name: &str, template: &Value) -> Result<Self> {
        apply(client, namespace, &deployment(name, template)).await?;
        Self::find(client, namespace, name).await
    }

    /// The application of that name, once its pod is ready.
    ///
    /// # Errors
    /// If it is not in time.
    pub async fn find(client: &Client, namespace: &str, name: &str) -> Result<Self> {
        let pod = ready_pod(client, namespace, &format!("app={name}")).await?;
        let pod = pod.metadata.name.unwrap_or_default();
        let reached = reach(client, namespace, &pod, 8000).await?;
        Ok(Self { pod, reached })
    }

    /// How all its evaluations went so far.
    ///
    /// # Errors
    /// If it does not answer.
    pub async fn record(&self) -> Result<Value> {
        let answer = http::get(format!("{}/", self.reached.url)).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Failure::new(error.to_string()))
    }

    /// Has it send a request to its sidecar, with this token, or its own: `{status, headers, body}`.
    ///
    /// # Errors
    /// If it does not answer. Status 0 says that the sidecar did not.
    pub async fn ask(&self, method: &str, path: &str, body: &Value, token: Option<&str>) -> Result<Value> {
        let question = json!({ "method": method, "path": path, "body": body, "token": token });
        let answer = http::post(format!("{}/ask", self.reached.url), &question).await?;
        serde_json::from_slice(&answer.body).map_err(|error| Failure::new(error.to_string()))
    }

    /// Waits until its decision is this, and gives the record that says so.
    ///
    /// # Errors
    /// If it is not in time; then with the record.
    pub async fn decides(&self, enabled: bool) -> Result<Value> {
        let what = format!("{} decides {enabled}", self.pod);
        let decided = until_some(&what, PATIENCE, || async {
            let record = self.record().await.ok()?;
            (record["enabled"] == enabled).then_some(record)
        })
        .await;
        match decided {
            Ok(record) => Ok(record),
            Err(failure) => {
                Err(Failure::new(format!("{failure}: {}", self.record().await.unwrap_or_default())))
            }
        }
    }
}
