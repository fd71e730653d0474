//! What a follower holds and how it stands with its source, for whoever serves or watches it.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use chrono::{DateTime, Utc};

use crate::format::{Counts, Digest};
use crate::store::Source;

macro_rules! names {
    ($(#[$meta:meta])* $name:ident { $( $(#[$variant_meta:meta])* $variant:ident = $text:literal, )+ }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// All values.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// The name in status documents and metric labels.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $( Self::$variant => $text, )+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.name())
            }
        }
    };
}

names! {
    /// How the source answered the last time.
    Upstream {
        /// As it should.
        Ok = "ok",
        /// No answer: network, timeout, overload.
        Unreachable = "unreachable",
        /// Access denied or credentials not accepted; with S3 also a missing key.
        Forbidden = "forbidden",
        /// No bucket, no pointer, or no object.
        Missing = "missing",
        /// Damaged, or refused by the program that follows.
        Corrupt = "corrupt",
        /// Written by a newer release, without an alternate for this one.
        SchemaTooNew = "schema_too_new",
        /// The clocks are too far apart.
        ClockSkew = "clock_skew",
        /// A revision older than the one loaded.
        RevisionRegressed = "revision_regressed",
        /// Another database publishes there, and that is not trusted.
        EpochChanged = "epoch_changed",
        /// Beyond a limit, or more than memory can hold.
        TooLarge = "too_large",
        /// Not signed, though signatures are asked for.
        Unsigned = "unsigned",
        /// Signed by nobody who is trusted, or the signature does not fit.
        BadSignature = "bad_signature",
    }
}

names! {
    /// How a poll ended.
    PollResult {
        /// The pointer has not been rewritten.
        NotModified = "not_modified",
        /// The pointer has been rewritten and names the content loaded.
        Unchanged = "unchanged",
        /// New content was loaded.
        Loaded = "loaded",
        /// See [`Upstream::Unreachable`].
        Unreachable = "unreachable",
        /// See [`Upstream::Forbidden`].
        Forbidden = "forbidden",
        /// See [`Upstream::Missing`].
        Missing = "missing",
        /// See [`Upstream::Corrupt`].
        Corrupt = "corrupt",
        /// See [`Upstream::SchemaTooNew`].
        SchemaTooNew = "schema_too_new",
        /// See [`Upstream::ClockSkew`].
        ClockSkew = "clock_skew",
        /// See [`Upstream::RevisionRegressed`].
        RevisionRegressed = "revision_regressed",
        /// See [`Upstream::EpochChanged`].
        EpochChanged = "epoch_changed",
        /// See [`Upstream::TooLarge`].
        TooLarge = "too_large",
        /// See [`Upstream::Unsigned`].
        Unsigned = "unsigned",
        /// See [`Upstream::BadSignature`].
        BadSignature = "bad_signature",
    }
}

impl PollResult {
    /// The result of a poll that failed like this.
    pub(super) const fn failed(upstream: Upstream) -> Self {
        match upstream {
            Upstream::Ok => Self::Unchanged,
            Upstream::Unreachable => Self::Unreachable,
            Upstream::Forbidden => Self::Forbidden,
            Upstream::Missing => Self::Missing,
            Upstream::Corrupt => Self::Corrupt,
            Upstream::SchemaTooNew => Self::SchemaTooNew,
            Upstream::ClockSkew => Self::ClockSkew,
            Upstream::RevisionRegressed => Self::RevisionRegressed,
            Upstream::EpochChanged => Self::EpochChanged,
            Upstream::TooLarge => Self::TooLarge,
            Upstream::Unsigned => Self::Unsigned,
            Upstream::BadSignature => Self::BadSignature,
        }
    }
}

names! {
    /// How the loading of an object ended. Polls that never get to an object are not counted.
    LoadResult {
        /// Accepted.
        Ok = "ok",
        /// Could not be fetched.
        Failed = "failed",
        /// Damaged.
        Corrupt = "corrupt",
        /// Beyond a limit.
        TooLarge = "too_large",
        /// The program that follows refused it.
        Rejected = "rejected",
    }
}

/// What is loaded, and how the source answered last.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct State {
    /// Whether a snapshot is loaded. Once true, it stays so.
    pub loaded: bool,
    /// Revision loaded.
    pub revision: u64,
    /// Epoch loaded.
    pub epoch: String,
    /// Digest of the content loaded.
    pub digest: Option<Digest>,
    /// Size of the content loaded before compression, in bytes.
    pub raw_size: u64,
    /// What the content loaded counts.
    pub counts: Counts,
    /// Where the content loaded came from.
    pub source: Option<Source>,
    /// When a publisher last found this revision to be current.
    pub verified_at: Option<DateTime<Utc>>,
    /// How the source answered the last time; `None` before the first poll ended.
    pub upstream: Option<Upstream>,
    /// Text of the last failure; `None` once a poll succeeded again.
    pub last_error: Option<String>,
    /// Polls that failed since the last that did not.
    pub consecutive_failures: u32,
}

impl State {
    /// How old the loaded state may be: the time since a publisher last confirmed it. Never negative, whatever
    /// the clocks say; `None` if nothing is loaded.
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        let verified_at = self.verified_at?;
        Some(now.signed_duration_since(verified_at).to_std().unwrap_or_default())
    }
}

/// Shared view of a follower. Reading takes no lock.
#[derive(Debug)]
pub struct Status {
    state: ArcSwap<State>,
    polls: [AtomicU64; PollResult::ALL.len()],
    loads: [[AtomicU64; LoadResult::ALL.len()]; Source::ALL.len()],
    cache_write_failures: AtomicU64,
}

impl Default for Status {
    fn default() -> Self {
        Self {
            state: ArcSwap::from_pointee(State::default()),
            polls: [const { AtomicU64::new(0) }; PollResult::ALL.len()],
            loads: [const { [const { AtomicU64::new(0) }; LoadResult::ALL.len()] }; Source::ALL.len()],
            cache_write_failures: AtomicU64::new(0),
        }
    }
}

impl Status {
    /// The state as of now.
    #[must_use]
    pub fn state(&self) -> Arc<State> {
        self.state.load_full()
    }

    /// How old the loaded state may be; see [`State::age`].
    #[must_use]
    pub fn age(&self, now: DateTime<Utc>) -> Option<Duration> {
        self.state.load().age(now)
    }

    /// Number of polls that ended so.
    #[must_use]
    pub fn polls(&self, result: PollResult) -> u64 {
        self.polls[result as usize].load(Ordering::Relaxed)
    }

    /// Number of loads from this source that ended so.
    #[must_use]
    pub fn loads(&self, source: Source, result: LoadResult) -> u64 {
        self.loads[source as usize][result as usize].load(Ordering::Relaxed)
    }

    /// How often the last known good snapshot could not be written to disk.
    #[must_use]
    pub fn cache_write_failures(&self) -> u64 {
        self.cache_write_failures.load(Ordering::Relaxed)
    }

    pub(super) fn update(&self, change: impl FnOnce(&mut State)) {
        // Only the follower writes, so nothing is lost between reading and storing.
        let mut state = State::clone(&self.state.load());
        change(&mut state);
        self.state.store(Arc::new(state));
    }

    pub(super) fn count_poll(&self, result: PollResult) {
        self.polls[result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_load(&self, source: Source, result: LoadResult) {
        self.loads[source as usize][result as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn count_cache_write_failure(&self) -> u64 {
        self.cache_write_failures.fetch_add(1, Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_age_is_never_negative() {
        let now = Utc::now();
        let at = |seconds| State {
            verified_at: Some(now + chrono::TimeDelta::seconds(seconds)),
            ..State::default()
        };
        assert_eq!(at(-90).age(now), Some(Duration::from_secs(90)));
        assert_eq!(at(90).age(now), Some(Duration::ZERO));
        assert_eq!(State::default().age(now), None);
    }

    #[test]
    fn every_source_and_result_has_a_counter_of_its_own() {
        let status = Status::default();
        for source in Source::ALL {
            for result in LoadResult::ALL {
                assert_eq!(status.loads(*source, *result), 0);
                status.count_load(*source, *result);
                assert_eq!(status.loads(*source, *result), 1);
            }
        }
        for result in PollResult::ALL {
            status.count_poll(*result);
            assert_eq!(status.polls(*result), 1);
        }
    }
}
