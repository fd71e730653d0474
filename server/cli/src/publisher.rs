//! The publisher inside the server: publishes snapshots as the state changes (design, section 4.4).

use std::{future::Future, sync::Arc, time::Duration};

use flipt_config::Snapshots;
use flipt_model::{Snapshot, document};
use flipt_snapshots::{
    Location, SigningKey, Store as SnapshotStore,
    format::feature_file_is_valid,
    publish::{PublishError, PublishOptions, Version},
};
use flipt_store::{Environment, Environments, Part};
use flipt_telemetry::{
    Registry,
    prometheus::{IntCounterVec, IntGaugeVec, Opts},
};
use tokio::time::Instant;

/// How pointers name the program that wrote them.
pub(crate) const WRITER: &str = concat!("flipt ", env!("CARGO_PKG_VERSION"));

/// Pause after a first failed publication; it doubles up to the heartbeat.
const FIRST_RETRY: Duration = Duration::from_secs(1);

/// The files that a stock Flipt with object storage reads: one per namespace. A namespace whose key cannot
/// stand in a path is left out with a warning; it must not keep the others from being published.
pub(crate) fn feature_files(state: &Snapshot) -> Vec<(String, Vec<u8>)> {
    let mut namespaces = state.namespaces.clone();
    namespaces.sort_by(|a, b| a.key.cmp(&b.key));
    namespaces
        .iter_mut()
        .map(|namespace| {
            document::sort_by_key(namespace);
            let written = document::write(std::slice::from_ref(namespace), document::Encoding::Yaml);
            (format!("features/{}/features.yaml", namespace.key), written.text.into_bytes())
        })
        .filter(|(path, _)| {
            let valid = feature_file_is_valid(path);
            if !valid {
                tracing::warn!(path, "no feature file is written for a namespace with such a key");
            }
            valid
        })
        .collect()
}

/// Publishes until told to stop.
pub(crate) struct Publisher {
    key: String,
    environment: Arc<dyn Environment>,
    location: Location,
    settings: Snapshots,
    signing_key: Option<Arc<SigningKey>>,
    results: Option<IntCounterVec>,
    revision: Option<IntGaugeVec>,
}

impl Publisher {
    /// A publisher for each environment, if publishing is configured. They sign with this key.
    pub(crate) fn all(
        environments: &Environments,
        settings: &Snapshots,
        signing_key: Option<&Arc<SigningKey>>,
        registry: &Registry,
    ) -> Vec<Self> {
        let Some(location) = &settings.publish else { return Vec::new() };
        let results = IntCounterVec::new(
            Opts::new("flipt_publications_total", "Publications of snapshots, by result."),
            &["environment", "result"],
        );
        let revision = IntGaugeVec::new(
            Opts::new("flipt_published_revision", "Revision of the snapshot published last."),
            &["environment"],
        );
        let results = results.map(|metric| registry.add(metric)).ok();
        let revision = revision.map(|metric| registry.add(metric)).ok();
        environments
            .iter()
            .map(|(key, environment)| Self {
                key: key.to_owned(),
                environment,
                location: location.clone(),
                settings: Snapshots {
                    // A stock Flipt knows no environments: it reads the default one.
                    features: settings.features && key == environments.default_key(),
                    ..settings.clone()
                },
                signing_key: signing_key.cloned(),
                results: results.clone(),
                revision: revision.clone(),
            })
            .collect()
    }

    /// Publishes at once, after every change (waiting a moment for further ones), and as a heartbeat.
    /// Failures are retried and never stop the server.
    pub(crate) async fn run(self, shutdown: impl Future<Output = ()>) {
        let mut shutdown = std::pin::pin!(shutdown);
        let mut revisions = self.environment.revisions();
        let mut target: Option<Box<dyn SnapshotStore>> = None;
        let mut failure: Option<String> = None;
        let mut retry = FIRST_RETRY;
        loop {
            revisions.mark_unchanged();
            let published = self.publish(&mut target).await;
            let pause = match &published {
                Ok(()) => {
                    if failure.is_some() {
                        tracing::info!(location = %self.location, "snapshots are published again");
                    }
                    retry = FIRST_RETRY;
                    self.settings.heartbeat
                }
                Err(error) => {
                    if failure.as_ref() != Some(error) {
                        tracing::error!(environment = self.key, location = %self.location, error, "snapshot not published; trying again");
                    }
                    let pause = retry;
                    retry = (retry * 2).min(self.settings.heartbeat.max(FIRST_RETRY));
                    pause
                }
            };
            failure = published.err();
            let next = Instant::now() + pause;
            tokio::select! {
                () = &mut shutdown => break,
                () = tokio::time::sleep_until(next) => {}
                changed = revisions.changed(), if failure.is_none() => {
                    if changed.is_err() {
                        return;
                    }
                    revisions.mark_changed();
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = tokio::time::sleep(self.settings.debounce) => {}
                    }
                }
            }
        }
        // What was acknowledged a moment ago must not wait for the next start.
        if revisions.has_changed().unwrap_or(false)
            && let Err(error) = self.publish(&mut target).await
        {
            tracing::error!(location = %self.location, error, "last change before the shutdown not published");
        }
    }

    async fn publish(&self, target: &mut Option<Box<dyn SnapshotStore>>) -> Result<(), String> {
        let result = self.try_publish(target).await;
        if let Some(results) = &self.results {
            results
                .with_label_values(&[self.key.as_str(), if result.is_ok() { "ok" } else { "failed" }])
                .inc();
        }
        result
    }

    async fn try_publish(&self, target: &mut Option<Box<dyn SnapshotStore>>) -> Result<(), String> {
        let opened = match target {
            Some(opened) => opened,
            None => {
                let opened =
                    flipt_snapshots::open(&self.location).await.map_err(|error| error.to_string())?;
                target.insert(opened)
            }
        };
        let (state, version) =
            self.environment.read_state(Part::All).await.map_err(|error| error.to_string())?;
        let options = PublishOptions {
            writer: WRITER.to_owned(),
            features: if self.settings.features { feature_files(&state) } else { Vec::new() },
            signing_key: self.signing_key.clone(),
            ..Default::default()
        };
        let revision = version.revision;
        let version = Version { epoch: version.epoch, revision };
        let published = flipt_snapshots::publish(&**opened, &self.key, state, version, options).await;
        let published = match published {
            Ok(published) => published,
            // Another publisher of this database was faster with a newer state: what we wanted is done.
            Err(PublishError::RevisionRegressed { current, .. })
                if current <= self.environment.live().version.revision =>
            {
                return Ok(());
            }
            Err(error) => return Err(error.to_string()),
        };
        for warning in &published.warnings {
            tracing::warn!(warning, "publication is not complete");
        }
        if published.changed {
            tracing::info!(
                snapshot.revision = published.pointer.revision,
                snapshot.digest = %published.pointer.digest,
                snapshot.size_bytes = published.pointer.size,
                snapshot.flags = published.pointer.counts.flags,
                "snapshot published"
            );
        }
        if let Some(gauge) = &self.revision {
            gauge.with_label_values(&[&self.key]).set(i64::try_from(revision).unwrap_or(i64::MAX));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_feature_file_per_namespace_that_reads_back() {
        let state = Snapshot {
            namespaces: ["b", "a"]
                .into_iter()
                .map(|key| flipt_model::Namespace { key: key.into(), name: key.into(), ..Default::default() })
                .collect(),
        };
        let files = feature_files(&state);
        let paths: Vec<&str> = files.iter().map(|(path, _)| path.as_str()).collect();
        assert_eq!(paths, ["features/a/features.yaml", "features/b/features.yaml"]);
        let loaded = document::load_features(&files).unwrap();
        assert!(loaded.namespace("a").is_some() && loaded.namespace("b").is_some());
    }
}
