//! The health listener: probes and metrics, for the kubelet and for scrapers (design, section 4.7).

use std::{
    future::Future,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use chrono::Utc;
use flipt_serving::{Body, HttpService, http::text_reply};
use flipt_snapshots::{
    follow::{LoadResult, PollResult},
    store::Source,
};
use flipt_telemetry::{
    Registry,
    prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts},
};
use http::{HeaderValue, Request, Response, StatusCode, header::CONTENT_TYPE};
use http_body_util::{Either, Full};
use hyper::body::{Bytes, Incoming};

use crate::{
    config::{Ages, StartPolicy},
    holder::Holder,
};

/// How long the runtime may be stuck before liveness fails.
const STUCK: Duration = Duration::from_secs(10);
/// How often the watchdog shows that the runtime runs.
const TICK: Duration = Duration::from_secs(1);

/// Answers on the health listener.
pub(crate) struct Health {
    holder: Arc<Holder>,
    start: Instant,
    policy: StartPolicy,
    ages: Ages,
    registry: Registry,
    metrics: Option<Metrics>,
    opened: AtomicBool,
    /// Whether the log was told that the snapshot is stale.
    told_stale: AtomicBool,
    /// When the watchdog ticked last, in milliseconds after the start.
    ticked: AtomicU64,
}

struct Metrics {
    loaded: IntGauge,
    age: Gauge,
    stale: IntGauge,
    revision: IntGauge,
    bytes: IntGauge,
    polls: IntCounterVec,
    loads: IntCounterVec,
    cache_failures: IntCounter,
    opened: IntCounter,
}

impl Metrics {
    fn new(registry: &Registry) -> Result<Self, flipt_telemetry::prometheus::Error> {
        let info = IntGaugeVec::new(
            Opts::new("flipt_sidecar_info", "Version of the sidecar; always 1."),
            &["version"],
        )?;
        info.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        registry.add(info);
        Ok(Self {
            loaded: registry.add(IntGauge::new(
                "flipt_snapshot_loaded",
                "1 once there is a snapshot in force; until then, evaluations are refused.",
            )?),
            age: registry.add(Gauge::new(
                "flipt_snapshot_age_seconds",
                "Time since the writer last confirmed the snapshot in force.",
            )?),
            stale: registry.add(IntGauge::new(
                "flipt_snapshot_stale",
                "1 while the snapshot in force is older than --stale-after.",
            )?),
            revision: registry
                .add(IntGauge::new("flipt_snapshot_revision", "Revision of the snapshot in force.")?),
            bytes: registry
                .add(IntGauge::new("flipt_snapshot_bytes", "Uncompressed size of the snapshot in force.")?),
            polls: registry.add(IntCounterVec::new(
                Opts::new("flipt_snapshot_poll_total", "Looks at the source, by result."),
                &["result"],
            )?),
            loads: registry.add(IntCounterVec::new(
                Opts::new("flipt_snapshot_loads_total", "Loads of snapshots, by source and result."),
                &["source", "result"],
            )?),
            cache_failures: registry.add(IntCounter::new(
                "flipt_snapshot_cache_write_failures_total",
                "Failures to keep the last known good snapshot on disk.",
            )?),
            opened: registry.add(IntCounter::new(
                "flipt_startup_opened_total",
                "Starts that went on without a snapshot.",
            )?),
        })
    }
}

impl Health {
    pub(crate) fn new(holder: Arc<Holder>, policy: StartPolicy, ages: Ages, registry: Registry) -> Self {
        let metrics = Metrics::new(&registry)
            .map_err(|error| tracing::error!(error = %error, "metrics not created"))
            .ok();
        Self {
            holder,
            start: Instant::now(),
            policy,
            ages,
            registry,
            metrics,
            opened: AtomicBool::new(false),
            told_stale: AtomicBool::new(false),
            ticked: AtomicU64::new(0),
        }
    }

    /// Shows that the runtime runs, until dropped.
    pub(crate) async fn watchdog(&self) {
        loop {
            self.ticked.store(self.uptime_ms(), Ordering::Relaxed);
            self.tell_staleness();
            tokio::time::sleep(TICK).await;
        }
    }

    fn uptime_ms(&self) -> u64 {
        u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Whether the snapshot in force is older than it should become. It is served all the same.
    pub(crate) fn is_stale(&self) -> bool {
        let age = self.holder.status().age(Utc::now());
        self.ages.stale.zip(age).is_some_and(|(limit, age)| age > limit)
    }

    /// Says in the log when the snapshot becomes stale, and when it is fresh again: once each.
    fn tell_staleness(&self) {
        let stale = self.is_stale();
        if stale == self.told_stale.swap(stale, Ordering::Relaxed) {
            return;
        }
        let state = self.holder.status().state();
        let age_s = state.age(Utc::now()).map(|age| age.as_secs());
        if stale {
            tracing::warn!(
                age_s,
                snapshot.revision = state.revision,
                upstream = state.upstream.map(|upstream| upstream.name()),
                error = state.last_error,
                "snapshot is stale: nobody has confirmed it for longer than --stale-after; it is served all the same"
            );
        } else {
            tracing::info!(age_s, snapshot.revision = state.revision, "snapshot is fresh again");
        }
    }

    /// Whether containers after this one may start.
    fn is_started(&self) -> bool {
        if self.holder.is_loaded() {
            return true;
        }
        let StartPolicy::OpenAfter(patience) = self.policy else { return false };
        if self.start.elapsed() < patience {
            return false;
        }
        if !self.opened.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                patience_s = patience.as_secs(),
                "no snapshot yet; starting without, evaluations answer 503 until there is one"
            );
            if let Some(metrics) = &self.metrics {
                metrics.opened.inc();
            }
        }
        true
    }

    /// Whether requests should come. Age counts only if that was asked for.
    fn readiness(&self) -> Result<(), String> {
        if !self.is_started() {
            return Err("no snapshot loaded yet".to_owned());
        }
        let Some(max_stale) = self.ages.not_ready else { return Ok(()) };
        match self.holder.status().age(Utc::now()) {
            Some(age) if age > max_stale => Err(format!(
                "snapshot is {} s old, more than the {} s allowed",
                age.as_secs(),
                max_stale.as_secs()
            )),
            _ => Ok(()),
        }
    }

    fn is_alive(&self) -> bool {
        let since = self.uptime_ms().saturating_sub(self.ticked.load(Ordering::Relaxed));
        Duration::from_millis(since) < STUCK
    }

    fn metrics(&self) -> Vec<u8> {
        if let Some(metrics) = &self.metrics {
            let status = self.holder.status();
            let state = status.state();
            metrics.loaded.set(self.holder.is_loaded().into());
            metrics.age.set(state.age(Utc::now()).map_or(0.0, |age| age.as_secs_f64()));
            metrics.stale.set(self.is_stale().into());
            metrics.revision.set(i64::try_from(state.revision).unwrap_or(i64::MAX));
            metrics.bytes.set(i64::try_from(state.raw_size).unwrap_or(i64::MAX));
            // The follower counts; a scrape brings the counters up to its numbers.
            let raise = |counter: &IntCounter, to: u64| counter.inc_by(to.saturating_sub(counter.get()));
            for result in PollResult::ALL {
                raise(&metrics.polls.with_label_values(&[result.name()]), status.polls(*result));
            }
            for source in Source::ALL {
                for result in LoadResult::ALL {
                    let labels = [source.name(), result.name()];
                    raise(&metrics.loads.with_label_values(&labels), status.loads(*source, *result));
                }
            }
            raise(&metrics.cache_failures, status.cache_write_failures());
        }
        self.registry.render()
    }

    fn answer(&self, path: &str) -> Response<Full<Bytes>> {
        let verdict = |good: bool, reason: &str| {
            if good {
                text_reply(StatusCode::OK, "ok\n")
            } else {
                text_reply(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
            }
        };
        match path {
            "/startupz" => verdict(self.is_started(), "no snapshot loaded yet"),
            "/readyz" => match self.readiness() {
                Ok(()) => verdict(true, ""),
                Err(reason) => verdict(false, &reason),
            },
            "/livez" => verdict(self.is_alive(), "the runtime is stuck"),
            "/metrics" => {
                let mut response = Response::new(Full::new(self.metrics().into()));
                let content_type = HeaderValue::from_static(Registry::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, content_type);
                response
            }
            _ => text_reply(StatusCode::NOT_FOUND, "404 page not found\n"),
        }
    }
}

impl HttpService for Health {
    fn call(
        self: Arc<Self>,
        request: Request<Incoming>,
    ) -> Pin<Box<dyn Future<Output = Response<Body>> + Send>> {
        Box::pin(async move { self.answer(request.uri().path()).map(Either::Left) })
    }
}
