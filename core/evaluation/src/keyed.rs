//! List of shared values that are found by key in constant time.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

/// A value that carries the key it is found by.
pub(crate) trait HasKey {
    fn key(&self) -> &Arc<str>;
}

/// Values in list order, each key at most once. Clones and edited copies share the values.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    values: Arc<[Arc<T>]>,
    // Kept apart from the values so that replacing a value in place can share it.
    positions: Arc<HashMap<Arc<str>, usize, RandomState>>,
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self { values: Arc::clone(&self.values), positions: Arc::clone(&self.positions) }
    }
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { values: Arc::from([]), positions: Arc::default() }
    }
}

impl<T: PartialEq> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.values == other.values
    }
}

impl<T: HasKey> Keyed<T> {
    /// The list of these values. A key that comes again replaces the earlier value in place.
    pub(crate) fn new(values: impl IntoIterator<Item = T>) -> Self {
        let mut list: Vec<Arc<T>> = Vec::new();
        let mut positions: HashMap<Arc<str>, usize, RandomState> = HashMap::default();
        for value in values.into_iter().map(Arc::new) {
            match positions.get(value.key()).and_then(|&position| list.get_mut(position)) {
                Some(earlier) => *earlier = value,
                None => {
                    positions.insert(Arc::clone(value.key()), list.len());
                    list.push(value);
                }
            }
        }
        Self { values: list.into(), positions: Arc::new(positions) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<T>> {
        self.values.get(*self.positions.get(key)?)
    }

    pub(crate) fn iter(&self) -> std::slice::Iter<'_, Arc<T>> {
        self.values.iter()
    }

    /// A copy in which this value stands in the place of the one with the same key, or at the end.
    pub(crate) fn with(&self, value: Arc<T>) -> Self {
        let mut values = self.values.to_vec();
        match self.positions.get(value.key()).and_then(|&position| values.get_mut(position)) {
            Some(earlier) => {
                *earlier = value;
                Self { values: values.into(), positions: Arc::clone(&self.positions) }
            }
            None => {
                let mut positions = HashMap::clone(&self.positions);
                positions.insert(Arc::clone(value.key()), values.len());
                values.push(value);
                Self { values: values.into(), positions: Arc::new(positions) }
            }
        }
    }

    /// A copy without the value of this key.
    pub(crate) fn without(&self, key: &str) -> Self {
        if !self.positions.contains_key(key) {
            return self.clone();
        }
        let values: Arc<[Arc<T>]> =
            self.values.iter().filter(|value| value.key().as_ref() != key).cloned().collect();
        let positions =
            values.iter().enumerate().map(|(position, value)| (Arc::clone(value.key()), position)).collect();
        Self { values, positions: Arc::new(positions) }
    }

    /// A copy in which `replace` has put other values in place of some; the keys must stay.
    pub(crate) fn map(&self, replace: impl Fn(&Arc<T>) -> Arc<T>) -> Self {
        Self { values: self.values.iter().map(replace).collect(), positions: Arc::clone(&self.positions) }
    }
}
