//! `analytics`: counts of evaluations over time (observability spec, section 5.1).

use std::time::Duration;

use crate::{Secret, SecretHeaders, Wording, reader::Reader, storage::shown_if};

/// `analytics`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Analytics {
    /// Where counts are kept, if anywhere. Of two that are on, ClickHouse wins.
    pub storage: Option<AnalyticsStorage>,
    /// How often counts are written.
    pub flush_period: Duration,
}

/// Where counts are kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnalyticsStorage {
    /// In ClickHouse.
    ClickHouse {
        /// URL with credentials.
        url: Secret,
    },
    /// In a Prometheus that scrapes this server.
    Prometheus {
        /// URL of its query API.
        url: Option<Secret>,
        /// Sent with each query.
        headers: SecretHeaders,
    },
}

impl Analytics {
    pub(crate) fn read(reader: &mut Reader<'_>) -> Self {
        let clickhouse = reader.bool("analytics.storage.clickhouse.enabled", false);
        let clickhouse_url = reader.secret("analytics.storage.clickhouse.url");
        let prometheus = reader.bool("analytics.storage.prometheus.enabled", false);
        let url = reader.secret("analytics.storage.prometheus.url");
        let headers = SecretHeaders::read(reader, "analytics.storage.prometheus.headers");
        let least = Duration::from_secs(10);
        let flush_period = shown_if(reader, clickhouse, |reader| {
            reader.integer("analytics.buffer.capacity", 0);
            reader.span("analytics.buffer.flush_period", least)
        });
        let url_is_set = clickhouse_url.as_ref().is_some_and(|url| !url.expose().is_empty());
        if clickhouse && !url_is_set {
            let key = "analytics.storage.clickhouse.url";
            let remedy = "clickhouse://<host>:9000/<database>";
            reader.refuse(Wording::Fixed, key, "clickhouse url not provided", remedy);
        } else if flush_period < least {
            let problem = "flush period below 10 seconds";
            reader.refuse(Wording::Fixed, "analytics.buffer.flush_period", problem, "10s or more");
        }
        for (key, is_on) in [
            ("analytics.storage.clickhouse.enabled", clickhouse),
            ("analytics.storage.prometheus.enabled", prometheus),
        ] {
            if is_on {
                reader.without_effect(key, "evaluations are counted on /metrics only");
            }
        }
        // Whatever else stands there is ignored (config spec, section 3.16).
        reader.accept_all("analytics");
        let storage = match clickhouse_url {
            Some(url) if clickhouse => Some(AnalyticsStorage::ClickHouse { url }),
            _ if prometheus => Some(AnalyticsStorage::Prometheus { url, headers }),
            _ => None,
        };
        Self { storage, flush_period }
    }
}
