//! Several servers behind a load balancer, under a mixed load whose every answer is checked.
//!
//! The balancer does what those in front of a Kubernetes Service do: it asks each server now and then whether it
//! is ready, sends requests to those that are in turn, and tries another one if a connection breaks. A request
//! has failed if no server answered it well.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use http::{Method, Request, header};
use http_body_util::{BodyExt as _, Full};
use hyper::{
    body::Bytes,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::{net::TcpStream, task::JoinSet, time::MissedTickBehavior};

use crate::{Failure, PATIENCE, Result, Server, ServerOptions, until};

/// How often the balancer asks whether a server is ready.
const PROBE: Duration = Duration::from_millis(100);
/// How long a server that is ended politely goes on: longer than the balancer needs to notice.
const SHUTDOWN_DELAY: &str = "1s";
/// How long a server stays away.
const AWAY: Duration = Duration::from_secs(2);
/// Longest time that a single request may take on one server.
const PATIENCE_OF_REQUESTS: Duration = Duration::from_secs(10);
/// How often a request is tried, with a pause if no server was ready.
const TRIES: usize = 40;
/// How old an answer may be.
pub const STALENESS: Duration = Duration::from_secs(1);

/// What a load asks for.
#[derive(Debug, Clone, Copy)]
pub struct Load {
    /// For how long.
    pub duration: Duration,
    /// Evaluations per second.
    pub reads: u32,
    /// Writes per second.
    pub writes: u32,
    /// How often one of the servers is ended and started again; never if zero.
    pub restart_every: Duration,
}

/// What came of a load.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Evaluations that were answered.
    pub reads: u64,
    /// Writes that were acknowledged.
    pub writes: u64,
    /// Tries that broke with their connection and were made again elsewhere.
    pub retries: u64,
    /// Requests without a good answer; a sample of them in words.
    pub failures: Vec<String>,
    /// Servers ended by SIGTERM, by SIGKILL.
    pub restarts: (u32, u32),
    /// Answers that were older than a write acknowledged before they were asked for, by whatever time.
    pub behind: u64,
    /// The oldest of them, and the allowed age.
    pub stalest: Duration,
    /// Times of evaluations: median, 99th percentile, maximum.
    pub read_times: [Duration; 3],
    /// Times of writes.
    pub write_times: [Duration; 3],
}

/// Servers on one database.
pub struct Fleet {
    servers: Vec<Server>,
    balancer: Arc<Balancer>,
}

/// Which servers are ready.
struct Balancer {
    ports: Vec<u16>,
    ready: Vec<AtomicBool>,
    next: AtomicUsize,
    retries: AtomicU64,
}

/// The connections of one client, kept open.
struct Client {
    balancer: Arc<Balancer>,
    connections: HashMap<u16, SendRequest<Full<Bytes>>>,
    /// Whether a try of the last request broke off, and may have been carried out all the same.
    broke: bool,
}

/// A flag whose variant's attachment counts its writes.
struct Counter {
    key: String,
    variant: String,
    /// When each value was acknowledged; the first one at the start.
    acknowledged: Mutex<Vec<Instant>>,
}

impl Fleet {
    /// Starts this many servers, one after the other, with these settings.
    ///
    /// # Errors
    /// If one does not start.
    pub async fn start(count: usize, environment: &[(String, String)]) -> Result<Self> {
        let delay = ("FLIPT_SERVER_SHUTDOWN_DELAY".to_owned(), SHUTDOWN_DELAY.to_owned());
        let mut servers = Vec::new();
        for _ in 0..count {
            let settings = environment.iter().cloned().chain([delay.clone()]);
            servers.push(Server::start(ServerOptions::new().with_env(settings)).await?);
        }
        let balancer = Balancer {
            ports: servers.iter().map(Server::http_port).collect(),
            ready: servers.iter().map(|_| AtomicBool::new(true)).collect(),
            next: AtomicUsize::new(0),
            retries: AtomicU64::new(0),
        };
        Ok(Self { servers, balancer: Arc::new(balancer) })
    }

    /// The servers.
    #[must_use]
    pub fn servers(&self) -> &[Server] {
        &self.servers
    }

    /// Puts a load on the servers, and checks every answer; afterwards every server must show every acknowledged
    /// write, and nothing else.
    ///
    /// # Errors
    /// If the load cannot be prepared, or a server does not come back.
    pub async fn bear(&mut self, load: Load) -> Result<Outcome> {
        let counters = Arc::new(self.counters(20).await?);
        let stop = Arc::new(AtomicBool::new(false));
        let outcome = Arc::new(Mutex::new(Outcome::default()));
        let times = Arc::new(Mutex::new((Vec::new(), Vec::new())));
        let mut tasks = JoinSet::new();
        tasks.spawn(probe(Arc::clone(&self.balancer), Arc::clone(&stop)));
        let readers = load.reads.div_ceil(250).max(1);
        for _ in 0..readers {
            let pause = Duration::from_secs(1) * readers / load.reads.max(1);
            tasks.spawn(read(
                Client::new(&self.balancer),
                Arc::clone(&counters),
                pause,
                (Arc::clone(&stop), Arc::clone(&outcome), Arc::clone(&times)),
            ));
        }
        let created = Arc::new(Mutex::new(Vec::new()));
        for writer in 0..4 {
            let pause = Duration::from_secs(1) * 4 / load.writes.max(1);
            tasks.spawn(write(
                Client::new(&self.balancer),
                (Arc::clone(&counters), writer, Arc::clone(&created)),
                pause,
                (Arc::clone(&stop), Arc::clone(&outcome), Arc::clone(&times)),
            ));
        }
        let restarts = self.restart_in_turn(load).await;
        stop.store(true, Ordering::SeqCst);
        tasks.join_all().await;
        let mut outcome = outcome.lock().unwrap().clone();
        outcome.restarts = restarts?;
        outcome.retries = self.balancer.retries.load(Ordering::Relaxed);
        let (mut reads, mut writes) = std::mem::take(&mut *times.lock().unwrap());
        outcome.read_times = quantiles(&mut reads);
        outcome.write_times = quantiles(&mut writes);
        let created = created.lock().unwrap().clone();
        outcome.failures.extend(self.differences(&counters, &created).await);
        Ok(outcome)
    }

    async fn counters(&self, count: usize) -> Result<Vec<Counter>> {
        let server = self.servers.first().ok_or_else(|| Failure::new("no server"))?;
        let mut counters = Vec::new();
        for number in 0..count {
            let key = format!("counter-{number}");
            let flag = json!({ "key": key, "name": key, "enabled": true });
            server.change("POST", "/api/v1/namespaces/default/flags", flag).await?;
            let variant = json!({ "key": "v", "attachment": r#"{"n":0}"# });
            let path = format!("/api/v1/namespaces/default/flags/{key}");
            let variant = server.change("POST", &format!("{path}/variants"), variant).await?;
            let variant = variant["id"].as_str().unwrap_or_default().to_owned();
            let update = json!({ "name": key, "enabled": true, "defaultVariantId": variant });
            server.change("PUT", &path, update).await?;
            counters.push(Counter { key, variant, acknowledged: Mutex::new(vec![Instant::now()]) });
        }
        // Every server has heard of them before the load begins.
        for server in &self.servers {
            for counter in &counters {
                until("every server knows the flag", PATIENCE, || async {
                    server
                        .call("POST", "/evaluate/v1/variant", &evaluation(&counter.key))
                        .await
                        .is_ok_and(|answer| answer.json()["variantAttachment"] == r#"{"n":0}"#)
                })
                .await?;
            }
        }
        Ok(counters)
    }

    /// Ends one server after the other, politely and by force in turn, and starts it again.
    async fn restart_in_turn(&mut self, load: Load) -> Result<(u32, u32)> {
        let start = Instant::now();
        let (mut terminated, mut killed) = (0, 0);
        let count = self.servers.len();
        while start.elapsed() < load.duration {
            let rest = load.duration.saturating_sub(start.elapsed());
            if load.restart_every.is_zero() || rest < load.restart_every + AWAY {
                tokio::time::sleep(rest).await;
                break;
            }
            tokio::time::sleep(load.restart_every).await;
            let turn = (terminated + killed) as usize;
            let server = &mut self.servers[turn % count];
            if turn.is_multiple_of(2) {
                let status = server.process().terminate(PATIENCE).await?;
                if !status.success() {
                    return Err(Failure::new(format!("ended with {status}:\n{}", server.logs())));
                }
                terminated += 1;
            } else {
                server.kill();
                killed += 1;
            }
            tokio::time::sleep(AWAY).await;
            server.restart().await?;
        }
        Ok((terminated, killed))
    }

    /// The differences that stay for however long the servers are given.
    async fn differences(&self, counters: &[Counter], created: &[String]) -> Vec<String> {
        let start = Instant::now();
        loop {
            tokio::time::sleep(STALENESS).await;
            let compared = self.compare(counters, created).await;
            let differences = compared.unwrap_or_else(|failure| vec![failure.to_string()]);
            if differences.is_empty() || start.elapsed() > PATIENCE {
                return differences;
            }
        }
    }

    /// What the servers show that was not acknowledged, or do not show that was.
    async fn compare(&self, counters: &[Counter], created: &[String]) -> Result<Vec<String>> {
        let mut differences = Vec::new();
        for (number, server) in self.servers.iter().enumerate() {
            for counter in counters {
                let last = counter.acknowledged.lock().unwrap().len() - 1;
                let answer = server.call("POST", "/evaluate/v1/variant", &evaluation(&counter.key)).await?;
                if value(&answer.json()) != Some(last) {
                    differences.push(format!(
                        "server {number}: {} is not at {last}: {}",
                        counter.key,
                        answer.text()
                    ));
                }
            }
            let list = server.change("GET", "/api/v1/namespaces/default/flags", json!({})).await?;
            let mut keys: Vec<&str> = list["flags"]
                .as_array()
                .into_iter()
                .flatten()
                .filter_map(|flag| flag["key"].as_str())
                .collect();
            let listed = keys.len();
            keys.sort_unstable();
            keys.dedup();
            let expected = counters.len() + created.len();
            if listed != keys.len() || listed != expected {
                let text =
                    format!("server {number}: {listed} flags, {} different ones, not {expected}", keys.len());
                differences.push(text);
            }
            for key in created.iter().filter(|key| keys.binary_search(&key.as_str()).is_err()) {
                differences.push(format!("server {number}: {key} was acknowledged and is not there"));
            }
        }
        Ok(differences)
    }
}

impl Balancer {
    /// The next server that is ready.
    fn choose(&self) -> Option<usize> {
        let first = self.next.fetch_add(1, Ordering::Relaxed);
        (0..self.ports.len())
            .map(|offset| (first + offset) % self.ports.len())
            .find(|server| self.ready[*server].load(Ordering::Relaxed))
    }
}

/// Keeps asking every server whether it is ready.
async fn probe(balancer: Arc<Balancer>, stop: Arc<AtomicBool>) {
    while !stop.load(Ordering::SeqCst) {
        for (port, ready) in balancer.ports.iter().zip(&balancer.ready) {
            let asking = crate::http::get(format!("http://127.0.0.1:{port}/readyz"));
            let answer = tokio::time::timeout(Duration::from_secs(1), asking).await;
            ready.store(
                answer.is_ok_and(|answer| answer.is_ok_and(|answer| answer.status == 200)),
                Ordering::Relaxed,
            );
        }
        tokio::time::sleep(PROBE).await;
    }
}

impl Client {
    fn new(balancer: &Arc<Balancer>) -> Self {
        Self { balancer: Arc::clone(balancer), connections: HashMap::new(), broke: false }
    }

    /// Sends a request to a server that is ready; to another one if the connection breaks. What is asked for must
    /// bear being done twice.
    async fn send(
        &mut self,
        method: &Method,
        path: &str,
        body: &Value,
    ) -> std::result::Result<(u16, Value), String> {
        self.broke = false;
        let mut last = "no server was ready".to_owned();
        for _ in 0..TRIES {
            let Some(server) = self.balancer.choose() else {
                tokio::time::sleep(PROBE).await;
                continue;
            };
            let port = self.balancer.ports[server];
            let trying = self.try_once(port, method, path, body.to_string());
            match tokio::time::timeout(PATIENCE_OF_REQUESTS, trying).await {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(error)) => last = error.to_string(),
                Err(_) => last = "no answer in time".to_owned(),
            }
            self.broke = true;
            self.connections.remove(&port);
            self.balancer.retries.fetch_add(1, Ordering::Relaxed);
        }
        Err(format!("{method} {path}: {last}"))
    }

    async fn try_once(
        &mut self,
        port: u16,
        method: &Method,
        path: &str,
        body: String,
    ) -> std::result::Result<(u16, Value), Box<dyn std::error::Error + Send + Sync>> {
        let mut connection = match self.connections.remove(&port) {
            // One that the server has closed meanwhile is no failure of anything.
            Some(connection) if connection.is_ready() => connection,
            _ => {
                let stream = TcpStream::connect(("127.0.0.1", port)).await?;
                stream.set_nodelay(true)?;
                let (connection, driving) = http1::handshake(TokioIo::new(stream)).await?;
                tokio::spawn(driving);
                connection
            }
        };
        let request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, "fleet")
            .header(header::CONTENT_TYPE, "application/json")
            .body(Full::new(Bytes::from(body)))?;
        let response = connection.send_request(request).await?;
        let (head, body) = response.into_parts();
        let body = body.collect().await?.to_bytes();
        self.connections.insert(port, connection);
        Ok((head.status.as_u16(), serde_json::from_slice(&body).unwrap_or_default()))
    }
}

/// Times of reads, and of writes.
type Times = (Vec<Duration>, Vec<Duration>);
/// Keys of the flags that were created.
type Keys = Arc<Mutex<Vec<String>>>;
/// When to stop, and where to put what came of it.
type Shared = (Arc<AtomicBool>, Arc<Mutex<Outcome>>, Arc<Mutex<Times>>);

fn evaluation(flag: &str) -> Value {
    json!({ "namespaceKey": "default", "flagKey": flag, "entityId": "e" })
}

/// The value that an evaluation shows.
fn value(answer: &Value) -> Option<usize> {
    let attachment: Value = serde_json::from_str(answer["variantAttachment"].as_str()?).ok()?;
    usize::try_from(attachment["n"].as_u64()?).ok()
}

async fn read(
    mut client: Client,
    counters: Arc<Vec<Counter>>,
    pause: Duration,
    (stop, outcome, times): Shared,
) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    for turn in 0.. {
        ticks.tick().await;
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let counter: &Counter = &counters[turn % counters.len()];
        let start = Instant::now();
        let answer = client.send(&Method::POST, "/evaluate/v1/variant", &evaluation(&counter.key)).await;
        let time = start.elapsed();
        times.lock().unwrap().0.push(time);
        let mut outcome = outcome.lock().unwrap();
        match answer {
            Ok((200, body)) => {
                outcome.reads += 1;
                let Some(seen) = value(&body) else {
                    outcome.failures.push(format!("an answer without a value: {body}"));
                    continue;
                };
                // The first write that the answer does not know: how long before the question was it acknowledged?
                let missed = counter.acknowledged.lock().unwrap().get(seen + 1).copied();
                if let Some(age) = missed.and_then(|missed| start.checked_duration_since(missed)) {
                    outcome.behind += 1;
                    outcome.stalest = outcome.stalest.max(age);
                }
            }
            Ok((status, body)) => outcome.failures.push(format!("evaluation answers {status}: {body}")),
            Err(error) => outcome.failures.push(error),
        }
    }
}

async fn write(
    mut client: Client,
    (counters, writer, created): (Arc<Vec<Counter>>, usize, Keys),
    pause: Duration,
    (stop, outcome, times): Shared,
) {
    let mut ticks = tokio::time::interval(pause);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    // Each writer has counters of its own, so that the values of a counter are written one after the other.
    let own: Vec<&Counter> = counters.iter().skip(writer).step_by(4).collect();
    for turn in 0.. {
        ticks.tick().await;
        if stop.load(Ordering::SeqCst) {
            return;
        }
        let start = Instant::now();
        // Three of four writes change something, the fourth creates something.
        let failure = if turn % 4 == 3 {
            let key = format!("made-{writer}-{turn}");
            let body = json!({ "key": key, "name": key, "type": "BOOLEAN_FLAG_TYPE" });
            match client.send(&Method::POST, "/api/v1/namespaces/default/flags", &body).await {
                Ok((200, _)) => {
                    created.lock().unwrap().push(key);
                    None
                }
                // A try that broke off had succeeded.
                Ok((400, body))
                    if client.broke
                        && body["message"].as_str().is_some_and(|text| text.contains("is not unique")) =>
                {
                    created.lock().unwrap().push(key);
                    None
                }
                Ok((status, body)) => Some(format!("creating {key} answers {status}: {body}")),
                Err(error) => Some(error),
            }
        } else {
            let counter = own[turn % own.len()];
            let next = counter.acknowledged.lock().unwrap().len();
            let body = json!({ "key": "v", "attachment": format!("{{\"n\":{next}}}") });
            let path =
                format!("/api/v1/namespaces/default/flags/{}/variants/{}", counter.key, counter.variant);
            match client.send(&Method::PUT, &path, &body).await {
                Ok((200, _)) => {
                    counter.acknowledged.lock().unwrap().push(Instant::now());
                    None
                }
                Ok((status, body)) => Some(format!("writing {} answers {status}: {body}", counter.key)),
                Err(error) => Some(error),
            }
        };
        times.lock().unwrap().1.push(start.elapsed());
        let mut outcome = outcome.lock().unwrap();
        match failure {
            None => outcome.writes += 1,
            Some(failure) => outcome.failures.push(failure),
        }
    }
}

fn quantiles(times: &mut [Duration]) -> [Duration; 3] {
    times.sort_unstable();
    let at =
        |share: usize| times.get((times.len().saturating_sub(1)) * share / 100).copied().unwrap_or_default();
    [at(50), at(99), at(100)]
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let [read, read_99, read_max] = self.read_times;
        let [write, write_99, write_max] = self.write_times;
        writeln!(
            f,
            "evaluations  {:>9}   median {read:.2?}, p99 {read_99:.2?}, max {read_max:.2?}",
            self.reads
        )?;
        writeln!(
            f,
            "writes       {:>9}   median {write:.2?}, p99 {write_99:.2?}, max {write_max:.2?}",
            self.writes
        )?;
        let (terminated, killed) = self.restarts;
        writeln!(
            f,
            "restarts     {:>9}   {terminated} by SIGTERM, {killed} by SIGKILL",
            terminated + killed
        )?;
        writeln!(
            f,
            "retries      {:>9}   tries that broke with their connection, made again elsewhere",
            self.retries
        )?;
        writeln!(
            f,
            "behind       {:>9}   answers that missed an acknowledged write; the oldest by {:.2?}",
            self.behind, self.stalest
        )?;
        writeln!(f, "failures     {:>9}", self.failures.len())?;
        for failure in self.failures.iter().take(10) {
            writeln!(f, "  {failure}")?;
        }
        Ok(())
    }
}
