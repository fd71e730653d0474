//! When a change of the server's state starts an export of its own: a pure decision.

use flipt_crds::Change;
use jiff::{SignedDuration, Timestamp};

/// What is known about one export.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Pending {
    /// Revision of the server's environment, as last heard of.
    seen: Option<String>,
    /// When the first change was heard of that no export has been started for.
    since: Option<Timestamp>,
    /// Revision for which the last export was started.
    started: Option<String>,
}

/// What to do about a change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Nothing has changed that is not published.
    Nothing,
    /// An export of this revision starts now.
    Start(String),
    /// Look again then.
    At(Timestamp),
    /// An export runs; its end is the next occasion.
    WhenFinished,
}

/// What Jobs tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Running {
    /// One of them goes on, whoever started it.
    pub(crate) running: bool,
    /// When the last one was started.
    pub(crate) last_start: Option<Timestamp>,
    /// Revision of what is published.
    pub(crate) published: Option<i64>,
}

impl Pending {
    /// The server's environment is at this revision.
    pub(crate) fn hear(&mut self, revision: &str, published: Option<i64>, now: Timestamp) {
        if self.seen.as_deref() == Some(revision) {
            return;
        }
        let first = self.seen.is_none();
        self.seen = Some(revision.to_owned());
        // What an operator finds at its start is a change only if it can tell that it is: it may have happened long
        // ago, and the schedule has its own way.
        let news = match (number(revision), published) {
            (Some(revision), Some(published)) => !first || revision > published,
            _ => !first,
        };
        if news && self.since.is_none() {
            self.since = Some(now);
        }
    }

    /// What to do now.
    ///
    /// # Guarantees
    /// - An export starts `debounce` after the first change that is not published, however many follow.
    /// - Two exports never run at once, and `min_interval` lies between their starts, whoever starts them.
    /// - A revision is tried once: whatever fails, the schedule tries again.
    pub(crate) fn decide(&mut self, change: &Change, known: &Running, now: Timestamp) -> Decision {
        let (Some(seen), Some(since)) = (&self.seen, self.since) else { return Decision::Nothing };
        let is_published = number(seen).is_some_and(|seen| known.published.is_some_and(|done| done >= seen));
        if is_published || self.started.as_ref() == Some(seen) {
            self.since = None;
            return Decision::Nothing;
        }
        if known.running {
            return Decision::WhenFinished;
        }
        let debounced = after(since, change.debounce.get());
        let spaced = known.last_start.and_then(|start| after(start, change.min_interval.get()));
        match debounced.max(spaced) {
            Some(moment) if moment > now => Decision::At(moment),
            _ => Decision::Start(seen.clone()),
        }
    }

    /// An export of this revision was started.
    pub(crate) fn started(&mut self, revision: &str) {
        self.started = Some(revision.to_owned());
        self.since = None;
    }
}

fn after(moment: Timestamp, pause: std::time::Duration) -> Option<Timestamp> {
    SignedDuration::try_from(pause).ok().and_then(|pause| moment.checked_add(pause).ok())
}

/// Digits of a revision as a server tells it: eight for the database, the rest for the count.
const DIGITS: usize = 40;
const DIGITS_OF_DATABASE: usize = 8;

/// The count in a revision, as exports report it.
pub(crate) fn number(revision: &str) -> Option<i64> {
    let count = revision.get(DIGITS_OF_DATABASE..).filter(|_| revision.len() == DIGITS)?;
    i64::from_str_radix(count, 16).ok().filter(|count| *count >= 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many seconds after the start of the tests.
    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + seconds).unwrap()
    }

    fn published(revision: i64) -> Running {
        Running { published: Some(revision), ..Running::default() }
    }

    /// A revision as a server tells it.
    fn revision(count: i64) -> String {
        format!("0a1b2c3d{count:032x}")
    }

    /// Debounce 5 s, interval 10 s.
    fn change() -> Change {
        Change::default()
    }

    #[test]
    fn a_change_starts_an_export_after_the_pause_for_further_ones() {
        let mut pending = Pending::default();
        pending.hear(&revision(7), Some(7), at(0));
        assert_eq!(pending.decide(&change(), &published(7), at(1)), Decision::Nothing);
        pending.hear(&revision(8), Some(7), at(2));
        pending.hear(&revision(9), Some(7), at(6));
        assert_eq!(
            pending.decide(&change(), &published(7), at(6)),
            Decision::At(at(7)),
            "from the first change"
        );
        assert_eq!(pending.decide(&change(), &published(7), at(7)), Decision::Start(revision(9)));
        pending.started(&revision(9));
        assert_eq!(
            pending.decide(&change(), &published(7), at(60)),
            Decision::Nothing,
            "the schedule tries again"
        );
    }

    #[test]
    fn two_never_run_at_once_and_keep_their_distance() {
        let mut pending = Pending::default();
        pending.hear(&revision(7), Some(7), at(0));
        pending.hear(&revision(8), Some(7), at(1));
        let mut known = Running { running: true, last_start: Some(at(3)), published: Some(7) };
        assert_eq!(pending.decide(&change(), &known, at(60)), Decision::WhenFinished);
        known.running = false;
        assert_eq!(pending.decide(&change(), &known, at(8)), Decision::At(at(13)));
        assert_eq!(pending.decide(&change(), &known, at(13)), Decision::Start(revision(8)));
        known.published = Some(8);
        assert_eq!(pending.decide(&change(), &known, at(13)), Decision::Nothing, "the schedule was first");
    }

    #[test]
    fn what_changed_while_no_operator_ran_is_exported_once() {
        let mut pending = Pending::default();
        pending.hear(&revision(9), Some(7), at(0));
        assert_eq!(pending.decide(&change(), &published(7), at(5)), Decision::Start(revision(9)));
        let mut pending = Pending::default();
        pending.hear(&revision(9), Some(9), at(0));
        assert_eq!(pending.decide(&change(), &published(9), at(5)), Decision::Nothing);
        let mut pending = Pending::default();
        pending.hear(&revision(9), None, at(0));
        assert_eq!(
            pending.decide(&change(), &Running::default(), at(5)),
            Decision::Nothing,
            "nobody can tell"
        );
    }

    #[test]
    fn the_count_stands_behind_the_database() {
        assert_eq!(number(&revision(18_231)), Some(18_231));
        for text in ["", "18231", "e:a", &"f".repeat(40), &"g".repeat(40)] {
            assert_eq!(number(text), None, "{text}");
        }
    }

    #[test]
    fn revisions_that_do_not_count_differ_all_the_same() {
        let mut pending = Pending::default();
        pending.hear("e:a", Some(7), at(0));
        assert_eq!(pending.decide(&change(), &published(7), at(5)), Decision::Nothing);
        pending.hear("e:b", Some(7), at(6));
        assert_eq!(pending.decide(&change(), &published(7), at(11)), Decision::Start("e:b".to_owned()));
    }
}
