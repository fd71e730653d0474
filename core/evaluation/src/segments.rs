//! Keys of the segments that an entity was found in.

use crate::targeting::Target;

/// Keys of the segments that decided an evaluation, in the order in which the rule or rollout lists them.
#[derive(Debug, Clone, Default)]
pub struct Segments<'a> {
    targets: &'a [Target],
    hits: Hits,
}

impl<'a> Segments<'a> {
    pub(crate) const fn new(targets: &'a [Target], hits: Hits) -> Self {
        Self { targets, hits }
    }

    /// The keys.
    pub fn iter(&self) -> impl Iterator<Item = &'a str> {
        self.targets
            .iter()
            .enumerate()
            .filter(|&(position, _)| self.hits.contains(position))
            .map(|(_, target)| target.key())
    }

    /// Number of keys.
    #[must_use]
    pub fn len(&self) -> usize {
        self.hits.len()
    }

    /// Whether there is no key.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Positions in a list of targets, as a bit set: no allocation unless a rule lists more than 64 segments.
#[derive(Debug, Clone, Default)]
pub(crate) struct Hits {
    first: u64,
    further: Vec<u64>,
}

impl Hits {
    pub(crate) fn insert(&mut self, position: usize) {
        let bit = 1 << (position % 64);
        match (position / 64).checked_sub(1) {
            None => self.first |= bit,
            Some(word) => {
                if self.further.len() <= word {
                    self.further.resize(word + 1, 0);
                }
                if let Some(bits) = self.further.get_mut(word) {
                    *bits |= bit;
                }
            }
        }
    }

    fn contains(&self, position: usize) -> bool {
        let bits = match (position / 64).checked_sub(1) {
            None => self.first,
            Some(word) => self.further.get(word).copied().unwrap_or_default(),
        };
        bits >> (position % 64) & 1 == 1
    }

    pub(crate) fn len(&self) -> usize {
        let words = std::iter::once(&self.first).chain(&self.further);
        words.map(|bits| bits.count_ones() as usize).sum()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_beyond_the_first_word_are_kept_apart() {
        let mut hits = Hits::default();
        for position in [0, 63, 64, 200] {
            hits.insert(position);
        }
        assert_eq!(
            (0..300).filter(|&position| hits.contains(position)).collect::<Vec<_>>(),
            [0, 63, 64, 200]
        );
        assert_eq!(hits.len(), 4);
    }
}
