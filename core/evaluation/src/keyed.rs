//! List of shared values that are found by key in constant time.

use std::collections::HashMap;
use std::sync::Arc;

use ahash::RandomState;

/// A value that carries the key it is found by.
pub(crate) trait HasKey {
    fn key(&self) -> &Arc<str>;
}

/// Values in a chunk. A copy with one value replaced copies one chunk and the list of chunks: with ten thousand
/// values about two hundred pointers instead of all of them.
const CHUNK: usize = 128;

type Chunk<T> = Arc<[Arc<T>]>;

/// Values in list order, each key at most once. Clones and edited copies share the values.
#[derive(Debug)]
pub(crate) struct Keyed<T> {
    /// Every chunk but the last one is full.
    chunks: Arc<[Chunk<T>]>,
    // Kept apart from the values so that replacing a value in place can share it.
    positions: Arc<HashMap<Arc<str>, usize, RandomState>>,
}

impl<T> Clone for Keyed<T> {
    fn clone(&self) -> Self {
        Self { chunks: Arc::clone(&self.chunks), positions: Arc::clone(&self.positions) }
    }
}

impl<T> Default for Keyed<T> {
    fn default() -> Self {
        Self { chunks: Arc::from([]), positions: Arc::default() }
    }
}

impl<T: PartialEq> PartialEq for Keyed<T> {
    fn eq(&self, other: &Self) -> bool {
        self.chunks == other.chunks
    }
}

fn chunked<T>(values: &[Arc<T>]) -> Arc<[Chunk<T>]> {
    values.chunks(CHUNK).map(Arc::from).collect()
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
        Self { chunks: chunked(&list), positions: Arc::new(positions) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&Arc<T>> {
        let position = *self.positions.get(key)?;
        self.chunks.get(position / CHUNK)?.get(position % CHUNK)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = &Arc<T>> {
        self.chunks.iter().flat_map(|chunk| chunk.iter())
    }

    /// A copy in which this value stands in the place of the one with the same key, or at the end.
    pub(crate) fn with(&self, value: Arc<T>) -> Self {
        match self.positions.get(value.key()) {
            Some(&position) => {
                Self { chunks: self.placed(position, value), positions: Arc::clone(&self.positions) }
            }
            None => {
                let position = self.positions.len();
                let mut positions = HashMap::clone(&self.positions);
                positions.insert(Arc::clone(value.key()), position);
                Self { chunks: self.placed(position, value), positions: Arc::new(positions) }
            }
        }
    }

    /// The chunks with a value at a position, which is at most the one after the last.
    fn placed(&self, position: usize, value: Arc<T>) -> Arc<[Chunk<T>]> {
        let mut chunks = self.chunks.to_vec();
        let mut chunk = chunks.get(position / CHUNK).map(|chunk| chunk.to_vec()).unwrap_or_default();
        match chunk.get_mut(position % CHUNK) {
            Some(earlier) => *earlier = value,
            None => chunk.push(value),
        }
        match chunks.get_mut(position / CHUNK) {
            Some(earlier) => *earlier = chunk.into(),
            None => chunks.push(chunk.into()),
        }
        chunks.into()
    }

    /// A copy without the value of this key.
    pub(crate) fn without(&self, key: &str) -> Self {
        if !self.positions.contains_key(key) {
            return self.clone();
        }
        let values: Vec<Arc<T>> = self.iter().filter(|value| value.key().as_ref() != key).cloned().collect();
        let positions =
            values.iter().enumerate().map(|(position, value)| (Arc::clone(value.key()), position)).collect();
        Self { chunks: chunked(&values), positions: Arc::new(positions) }
    }

    /// A copy in which `replace` has put other values in place of some; the keys must stay.
    pub(crate) fn map(&self, replace: impl Fn(&Arc<T>) -> Option<Arc<T>>) -> Self {
        let chunks = self.chunks.iter().map(|chunk| {
            let replaced: Vec<Option<Arc<T>>> = chunk.iter().map(&replace).collect();
            if replaced.iter().all(Option::is_none) {
                return Arc::clone(chunk);
            }
            let values = replaced.into_iter().zip(chunk.iter());
            values.map(|(other, value)| other.unwrap_or_else(|| Arc::clone(value))).collect()
        });
        Self { chunks: chunks.collect(), positions: Arc::clone(&self.positions) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Entry(Arc<str>, usize);

    impl HasKey for Entry {
        fn key(&self) -> &Arc<str> {
            &self.0
        }
    }

    fn entry(key: usize, value: usize) -> Entry {
        Entry(format!("k{key}").into(), value)
    }

    #[test]
    fn edited_copies_equal_what_is_made_anew() {
        let count = 3 * CHUNK + 5;
        let mut list: Vec<usize> = (0..count).collect();
        let mut keyed = Keyed::new(list.iter().map(|key| entry(*key, 0)));
        for key in [0, 1, CHUNK - 1, CHUNK, 2 * CHUNK, count - 1] {
            keyed = keyed.with(Arc::new(entry(key, 1)));
        }
        for key in count..count + CHUNK {
            keyed = keyed.with(Arc::new(entry(key, 0)));
            list.push(key);
        }
        for key in [5, CHUNK, count + 3] {
            keyed = keyed.without(&format!("k{key}"));
            list.retain(|other| *other != key);
        }
        let changed = [0, 1, CHUNK - 1, 2 * CHUNK, count - 1];
        let anew = Keyed::new(list.iter().map(|key| entry(*key, usize::from(changed.contains(key)))));
        assert_eq!(keyed, anew);
        for key in &list {
            assert_eq!(keyed.get(&format!("k{key}")), anew.get(&format!("k{key}")));
        }
        assert_eq!(keyed.iter().count(), list.len());
        assert!(keyed.get("k5").is_none());
    }

    #[test]
    fn replacing_some_values_shares_the_chunks_of_the_others() {
        let keyed = Keyed::new((0..3 * CHUNK).map(|key| entry(key, 0)));
        let replaced = keyed.map(|value| (value.0.as_ref() == "k1").then(|| Arc::new(entry(1, 9))));
        assert_eq!(replaced.get("k1").map(|value| value.1), Some(9));
        assert!(!Arc::ptr_eq(&keyed.chunks[0], &replaced.chunks[0]));
        assert!(Arc::ptr_eq(&keyed.chunks[1], &replaced.chunks[1]));
    }
}
