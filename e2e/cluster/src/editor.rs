//! An editor: the server's API, as the UI and scripts use it.

use flipt_e2e::{
    Failure, Result,
    http::{self, Answer},
};
use kube::Client;
use serde_json::{Value, json};

use crate::{
    reach::{Reached, reach, ready_pod},
    release::{SYSTEM, TOKEN},
};

/// Somebody with a token that may change flags.
#[derive(Debug)]
pub struct Editor {
    reached: Reached,
}

impl Editor {
    /// An editor at the server of the release.
    ///
    /// # Errors
    /// If the server is not ready in time.
    pub async fn new(client: &Client) -> Result<Self> {
        let pod = ready_pod(client, SYSTEM, "app.kubernetes.io/component=server").await?;
        let pod = pod.metadata.name.unwrap_or_default();
        Ok(Self { reached: reach(client, SYSTEM, &pod, 8080).await? })
    }

    /// Address of the server.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.reached.url
    }

    /// Sends a request, and gives the answer, whatever its status.
    ///
    /// # Errors
    /// If none comes.
    pub async fn send(&self, method: &str, path: &str, body: &Value) -> Result<Answer> {
        let request = http::request(method, format!("{}{path}", self.reached.url)).bearer(Some(TOKEN));
        if body.is_null() { request.send().await } else { request.json(body).send().await }
    }

    /// Sends a request that must succeed, and gives the answer's body.
    ///
    /// # Errors
    /// If none comes, or it is an error.
    pub async fn done(&self, method: &str, path: &str, body: &Value) -> Result<Value> {
        let answer = self.send(method, path, body).await?;
        let text = String::from_utf8_lossy(&answer.body).into_owned();
        if answer.status != 200 {
            return Err(Failure::new(format!("{method} {path}: {} {text}", answer.status)));
        }
        Ok(serde_json::from_str(&text).unwrap_or_default())
    }

    /// A flag, or what the server says instead.
    ///
    /// # Errors
    /// If there is none.
    pub async fn flag(&self, namespace: &str, key: &str) -> Result<Value> {
        self.done("GET", &format!("/api/v1/namespaces/{namespace}/flags/{key}"), &Value::Null).await
    }

    /// Makes a namespace with the boolean flag `banner` in it.
    ///
    /// # Errors
    /// If the server refuses.
    pub async fn make_banner(&self, namespace: &str, enabled: bool) -> Result<()> {
        self.done("POST", "/api/v1/namespaces", &json!({ "key": namespace, "name": namespace })).await?;
        let flag =
            json!({ "key": "banner", "name": "Banner", "type": "BOOLEAN_FLAG_TYPE", "enabled": enabled });
        self.done("POST", &format!("/api/v1/namespaces/{namespace}/flags"), &flag).await.map(drop)
    }

    /// Switches the flag `banner` as a UI does, which sends all of it, and gives the answer, whatever its status.
    ///
    /// # Errors
    /// If none comes, or there is no such flag.
    pub async fn switch(&self, namespace: &str, enabled: bool) -> Result<Answer> {
        let mut flag = self.flag(namespace, "banner").await?;
        flag["enabled"] = enabled.into();
        self.send("PUT", &format!("/api/v1/namespaces/{namespace}/flags/banner"), &flag).await
    }
}
