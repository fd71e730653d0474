//! The next step of a rotation, from nothing but what can be observed: whoever leads, and whenever the last leader
//! fell, the same observation gives the same step.
//!
//! What the API server trusts lags behind what is written, and so does what a replica serves. Hence three phases:
//! trust the next certificate beside the current one; serve it; forget the old one. Between two of them lies the
//! overlap, which is longer than either lags.

use std::{collections::BTreeSet, time::Duration};

/// A certificate of an authority, in PEM.
pub(crate) type Authority = String;

/// Time in seconds since 1970.
pub(crate) type Instant = i64;

/// Wait before a certificate is served that nobody served before: long enough for an API server to hear of it.
const FIRST_OVERLAP: Duration = Duration::from_secs(5);
/// Longest time without a look at what is.
const LOOK: Duration = Duration::from_secs(300);

/// A certificate that can be served, and who vouches for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The only authority that has signed it, whose key is gone.
    pub(crate) authority: Authority,
    /// Certificate, in PEM.
    pub(crate) certificate: String,
    /// Its key, in PEM.
    pub(crate) key: String,
    /// From when it is valid.
    pub(crate) begins: Instant,
    /// Until when.
    pub(crate) ends: Instant,
}

impl Pair {
    /// When the next one should be prepared: after two thirds of its life.
    fn is_due(&self, now: Instant) -> bool {
        now >= self.ends - (self.ends - self.begins) / 3
    }

    fn is_valid(&self, now: Instant) -> bool {
        now < self.ends
    }
}

/// What the Secret holds.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Contents {
    /// What replicas serve.
    pub(crate) current: Option<Pair>,
    /// What they will serve.
    pub(crate) next: Option<Pair>,
    /// Since when all entries of the webhook trust `next`.
    pub(crate) trusted: Option<Instant>,
    /// Authorities of what replicas may still serve.
    pub(crate) previous: BTreeSet<Authority>,
    /// Since when `current` is what it is.
    pub(crate) promoted: Option<Instant>,
}

/// Authorities that each entry of the webhook trusts.
pub(crate) type Bundles = Vec<BTreeSet<Authority>>;

/// What is to be done next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// Issue a pair, and write it into the Secret as the next one, with these authorities as previous ones.
    Prepare(BTreeSet<Authority>),
    /// Let every entry of the webhook trust exactly these.
    Trust(BTreeSet<Authority>),
    /// Write this into the Secret.
    Write(Box<Contents>),
    /// Nothing, for this long, unless something changes.
    Wait(Duration),
}

/// What is to be done next. `secret`: what it holds, if there is one that can be read.
pub(crate) fn next_step(
    now: Instant,
    secret: Option<&Contents>,
    bundles: &Bundles,
    overlap: Duration,
) -> Step {
    let none = Contents::default();
    let contents = secret.unwrap_or(&none);
    let Contents { current, next, trusted, previous, promoted } = contents;
    let wanted: BTreeSet<Authority> = [current, next]
        .into_iter()
        .flatten()
        .map(|pair| pair.authority.clone())
        .chain(previous.iter().cloned())
        .collect();
    let is_trusted = |pair: &Pair| bundles.iter().all(|bundle| bundle.contains(&pair.authority));

    if current.is_none() {
        // The Secret is gone, or somebody has changed it. Replicas go on serving what they have, which is something
        // that has been trusted so far.
        let unknown = bundles.iter().flatten().filter(|authority| !wanted.contains(*authority));
        let known: BTreeSet<Authority> = previous.iter().chain(unknown).cloned().collect();
        if next.is_none() {
            return Step::Prepare(known);
        }
        if known != *previous {
            return write(Contents { previous: known, ..contents.clone() });
        }
    }
    if let Some(next) = next {
        // A trust that was lost has to last for the overlap anew.
        if trusted.is_some() && !is_trusted(next) {
            return write(Contents { trusted: None, ..contents.clone() });
        }
    }
    if bundles.iter().any(|bundle| *bundle != wanted) {
        return Step::Trust(wanted);
    }
    if let Some(next) = next {
        if !next.is_valid(now) {
            return Step::Prepare(previous.clone());
        }
        let Some(trusted) = trusted else {
            return write(Contents { trusted: Some(now), ..contents.clone() });
        };
        // What is served has to be replaced before it ends.
        let left = current.as_ref().map_or(0, |current| current.ends - seconds(FIRST_OVERLAP) - trusted);
        let left = Duration::from_secs(u64::try_from(left).unwrap_or_default()).max(FIRST_OVERLAP);
        return match remaining(now, *trusted, overlap.min(left)) {
            Some(wait) => Step::Wait(wait),
            None => write(Contents {
                current: Some(next.clone()),
                next: None,
                trusted: None,
                previous: previous
                    .iter()
                    .cloned()
                    .chain(current.as_ref().map(|current| current.authority.clone()))
                    .collect(),
                promoted: Some(now),
            }),
        };
    }
    let Some(current) = current else { return Step::Wait(LOOK) };
    let lingering = promoted.and_then(|promoted| remaining(now, promoted, overlap));
    if !previous.is_empty() && lingering.is_none() {
        return write(Contents { previous: BTreeSet::new(), ..contents.clone() });
    }
    // Also while the one before is still trusted: a life may be shorter than the overlap if somebody has changed either.
    if current.is_due(now) {
        return Step::Prepare(previous.clone());
    }
    let due = current.ends - (current.ends - current.begins) / 3 - now;
    let due = Duration::from_secs(u64::try_from(due).unwrap_or_default()).min(LOOK);
    Step::Wait(if previous.is_empty() { due } else { lingering.unwrap_or(due).min(due) })
}

fn seconds(time: Duration) -> Instant {
    i64::try_from(time.as_secs()).unwrap_or(Instant::MAX)
}

fn write(contents: Contents) -> Step {
    Step::Write(Box::new(contents))
}

/// What is left of a time that began then. A beginning in the future is that of another clock: it begins now.
fn remaining(now: Instant, since: Instant, time: Duration) -> Option<Duration> {
    let gone = Duration::from_secs(u64::try_from(now - since).unwrap_or_default());
    time.checked_sub(gone).filter(|rest| !rest.is_zero())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIFE: i64 = 600;
    const OVERLAP: i64 = 20;

    /// A cluster: what is stored, what the API server trusts by now, what replicas serve by now.
    struct World {
        now: Instant,
        life: i64,
        issued: u32,
        secret: Option<Contents>,
        bundles: Bundles,
        /// What the API server trusts: the bundles, some time ago.
        trusting: Vec<Bundles>,
        /// What each replica serves, and how far it lags.
        replicas: Vec<(usize, Option<Pair>)>,
        history: Vec<Option<Contents>>,
    }

    impl World {
        fn new(replicas: &[usize]) -> Self {
            Self {
                now: 1_000,
                life: LIFE,
                issued: 0,
                secret: None,
                bundles: vec![BTreeSet::new(), BTreeSet::new()],
                trusting: Vec::new(),
                replicas: replicas.iter().map(|lag| (*lag, None)).collect(),
                history: Vec::new(),
            }
        }

        fn issue(&mut self) -> Pair {
            self.issued += 1;
            let name = self.issued.to_string();
            Pair {
                authority: name.clone(),
                certificate: name.clone(),
                key: name,
                begins: self.now,
                ends: self.now + self.life,
            }
        }

        /// One step of whoever leads, or half of one: a leader that falls leaves what it has written.
        fn lead(&mut self) -> Step {
            let overlap = Duration::from_secs(OVERLAP.unsigned_abs());
            let step = next_step(self.now, self.secret.as_ref(), &self.bundles, overlap);
            match &step {
                Step::Prepare(previous) => {
                    let next = self.issue();
                    let contents = self.secret.take().unwrap_or_default();
                    self.secret = Some(Contents {
                        next: Some(next),
                        trusted: None,
                        previous: previous.clone(),
                        ..contents
                    });
                }
                Step::Trust(authorities) => {
                    self.bundles.iter_mut().for_each(|bundle| bundle.clone_from(authorities))
                }
                Step::Write(contents) => self.secret = Some((**contents).clone()),
                Step::Wait(_) => {}
            }
            step
        }

        fn pass(&mut self, seconds: i64) {
            for _ in 0..seconds {
                self.now += 1;
                self.trusting.push(self.bundles.clone());
                self.history.push(self.secret.clone());
                for (lag, served) in &mut self.replicas {
                    let seen =
                        self.history.len().checked_sub(*lag + 1).and_then(|at| self.history[at].as_ref());
                    if let Some(current) = seen.and_then(|contents| contents.current.clone()) {
                        *served = Some(current);
                    }
                }
                self.check();
            }
        }

        /// An API server, however far it lags, trusts whatever any replica serves.
        fn check(&self) {
            for lag in [0, 3] {
                let Some(bundles) = self.trusting.len().checked_sub(lag + 1).map(|at| &self.trusting[at])
                else {
                    continue;
                };
                for (_, served) in &self.replicas {
                    if let Some(served) = served {
                        assert!(served.ends > self.now, "an old certificate is served");
                        for bundle in bundles {
                            assert!(
                                bundle.contains(&served.authority),
                                "{served:?} is not trusted by {bundle:?}"
                            );
                        }
                    }
                }
            }
        }
    }

    /// Until the first certificate is served.
    fn settle(world: &mut World) {
        for _ in 0..10 {
            (0..3).for_each(|_| drop(world.lead()));
            world.pass(1);
        }
    }

    #[test]
    fn a_new_installation_serves_within_seconds() {
        let mut world = World::new(&[0]);
        settle(&mut world);
        let current = world.secret.as_ref().unwrap().current.clone().unwrap();
        assert_eq!(world.bundles, vec![BTreeSet::from([current.authority.clone()]); 2]);
        assert_eq!(world.replicas[0].1, Some(current));
    }

    #[test]
    fn a_rotation_comes_to_an_end_and_keeps_one_authority() {
        let mut world = World::new(&[0]);
        for _ in 0..LIFE * 3 {
            world.lead();
            world.pass(1);
        }
        assert!(world.issued >= 4, "{}", world.issued);
        for _ in 0..4 * OVERLAP {
            world.lead();
            world.pass(1);
        }
        let contents = world.secret.clone().unwrap();
        let known = contents.previous.len() + usize::from(contents.next.is_some()) + 1;
        assert_eq!(world.bundles[0].len(), known);
    }

    #[test]
    fn a_deleted_secret_is_made_anew_while_replicas_serve_what_they_have() {
        let mut world = World::new(&[0, 2]);
        settle(&mut world);
        world.pass(60);
        world.secret = None;
        let old = world.bundles[0].clone();
        for _ in 0..OVERLAP * 3 {
            world.lead();
            world.pass(1);
        }
        let contents = world.secret.unwrap();
        assert!(contents.current.is_some() && contents.previous.is_empty());
        assert!(world.bundles[0].is_disjoint(&old));
    }

    #[test]
    fn a_secret_full_of_rubbish_is_one_that_is_gone() {
        let mut world = World::new(&[0]);
        settle(&mut world);
        world.pass(60);
        for rubbish in [Contents::default(), Contents { current: None, ..world.secret.clone().unwrap() }] {
            world.secret = Some(rubbish);
            for _ in 0..OVERLAP * 3 {
                world.lead();
                world.pass(1);
            }
            assert!(world.secret.clone().unwrap().current.is_some());
        }
    }

    #[test]
    fn a_certificate_that_ends_within_the_overlap_is_replaced_before_it_ends() {
        for life in 30..=70 {
            let mut world = World::new(&[0, 2]);
            settle(&mut world);
            world.life = life;
            world.secret = None;
            // The one that is made now is served while the one before is still trusted, and lives but so long.
            let mut served = BTreeSet::new();
            for _ in 0..6 * life {
                world.lead();
                world.pass(1);
                served.extend(world.replicas[1].1.clone().map(|pair| pair.authority));
            }
            assert!(served.len() > 4, "life {life}: only {served:?} were served");
        }
    }

    #[test]
    fn a_wiped_bundle_is_written_again_at_once() {
        let mut world = World::new(&[0]);
        settle(&mut world);
        let wanted = world.bundles.clone();
        world.bundles[1].clear();
        assert!(matches!(world.lead(), Step::Trust(_)));
        assert_eq!(world.bundles, wanted);
    }

    #[test]
    fn without_entries_of_a_webhook_there_is_still_a_certificate_to_serve() {
        let mut world = World::new(&[0]);
        world.bundles.clear();
        settle(&mut world);
        assert!(world.secret.unwrap().current.is_some());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Between any two writes there may be no leader for a while: the one that comes next goes on.
        #[test]
        fn whatever_is_served_is_trusted_whenever_a_leader_falls(
            pauses in prop::collection::vec(0i64..25, 100..300),
            lags in prop::collection::vec(0usize..10, 1..4),
        ) {
            let mut world = World::new(&lags);
            for pause in pauses {
                world.lead();
                world.pass(pause);
            }
            prop_assert!(world.issued > 0);
        }

        /// People delete Secrets at any time, too.
        #[test]
        fn whatever_is_served_is_trusted_whenever_the_secret_is_deleted(
            events in prop::collection::vec((0i64..8, prop::bool::weighted(0.02)), 100..400),
        ) {
            let mut world = World::new(&[0, 1, 2]);
            for (pause, deleted) in events {
                if deleted {
                    world.secret = None;
                }
                world.lead();
                world.pass(pause);
            }
        }
    }
}
