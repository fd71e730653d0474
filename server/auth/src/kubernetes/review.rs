//! The API server's word on a token that has verified offline: it also knows of deleted pods and service accounts.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, SystemTime},
};

use flipt_identity::{AuthError, Caller};
use reqwest::Method;
use serde::Deserialize;
use serde_json::json;
use sha2::{Digest as _, Sha256};
use tokio::{sync::Semaphore, time::Instant};

use super::api_server::HttpsClient;

/// How long a refusal is good.
const REFUSED: Duration = Duration::from_secs(2);
/// Number of answers to remember.
const CAPACITY: usize = 64 * 1024;
/// Number of questions at a time.
const AT_ONCE: usize = 16;

/// Asks the API server about tokens.
pub(crate) struct Review {
    client: Arc<HttpsClient>,
    url: String,
    cache: Duration,
    answers: Mutex<HashMap<[u8; 32], Answer>>,
    asking: Semaphore,
}

#[derive(Clone, Copy)]
struct Answer {
    good: bool,
    until: Instant,
}

#[derive(Deserialize)]
struct TokenReview {
    #[serde(default)]
    status: Status,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Status {
    authenticated: bool,
    audiences: Vec<String>,
    user: User,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct User {
    username: String,
}

impl Review {
    pub(crate) fn new(client: Arc<HttpsClient>, api_server: &str, cache: Duration) -> Self {
        let url = format!("{api_server}/apis/authentication.k8s.io/v1/tokenreviews");
        Self { client, url, cache, answers: Mutex::default(), asking: Semaphore::new(AT_ONCE) }
    }

    /// Whether a token is still good.
    ///
    /// # Errors
    /// [`AuthError::Revoked`]; [`AuthError::ReviewUnavailable`] while the API server does not say.
    pub(crate) async fn ask(
        &self,
        token: &str,
        caller: &Caller,
        audiences: &[String],
    ) -> Result<(), AuthError> {
        let fingerprint: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(good) = self.known(&fingerprint) {
            return verdict(good);
        }
        // Many requests with one new token wait for one answer, more or less.
        let _permit = self.asking.acquire().await.map_err(|_| AuthError::ReviewUnavailable)?;
        if let Some(good) = self.known(&fingerprint) {
            return verdict(good);
        }
        let good = self.review(token, caller, audiences).await.map_err(|problem| {
            tracing::error!(
                error = problem,
                "token not reviewed; the server's service account needs the cluster role system:auth-delegator"
            );
            AuthError::ReviewUnavailable
        })?;
        let left = caller.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        let until = Instant::now() + if good { self.cache.min(left) } else { REFUSED };
        self.remember(fingerprint, Answer { good, until });
        verdict(good)
    }

    async fn review(&self, token: &str, caller: &Caller, audiences: &[String]) -> Result<bool, String> {
        let body = json!({
            "apiVersion": "authentication.k8s.io/v1",
            "kind": "TokenReview",
            "spec": { "token": token, "audiences": audiences },
        });
        let answer = self.client.ask(Method::POST, &self.url, Some(body.to_string().into_bytes()));
        let answer = answer.await.map_err(|error| error.to_string())?;
        let TokenReview { status } =
            serde_json::from_slice(&answer).map_err(|_| "the answer is no TokenReview".to_owned())?;
        let subject = format!("system:serviceaccount:{}:{}", caller.namespace, caller.service_account);
        // An authenticator that knows no audiences answers without any: then nobody has checked them.
        let is_for_us = status.audiences.iter().any(|audience| audiences.contains(audience));
        Ok(status.authenticated && is_for_us && status.user.username == subject)
    }

    fn known(&self, fingerprint: &[u8; 32]) -> Option<bool> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = answers.get(fingerprint)?;
        (Instant::now() < answer.until).then_some(answer.good)
    }

    fn remember(&self, fingerprint: [u8; 32], answer: Answer) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if answers.len() >= CAPACITY {
            let now = Instant::now();
            answers.retain(|_, answer| now < answer.until);
        }
        // Still full: they are asked about again.
        if answers.len() < CAPACITY {
            answers.insert(fingerprint, answer);
        }
    }
}

const fn verdict(good: bool) -> Result<(), AuthError> {
    if good { Ok(()) } else { Err(AuthError::Revoked) }
}
