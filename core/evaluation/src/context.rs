//! Where the properties of an evaluation request come from.

use std::borrow::Borrow;
use std::collections::{BTreeMap, HashMap};
use std::hash::{BuildHasher, Hash};

/// The properties that constraints look at.
///
/// An absent property and an empty one are the same thing to every constraint, so an implementation may use
/// either answer for "not there".
pub trait Context {
    /// The value of this property. Names are compared byte for byte.
    fn get(&self, property: &str) -> Option<&str>;
}

impl<T: Context + ?Sized> Context for &T {
    fn get(&self, property: &str) -> Option<&str> {
        (**self).get(property)
    }
}

/// No properties at all.
impl Context for () {
    fn get(&self, _: &str) -> Option<&str> {
        None
    }
}

impl<K: Borrow<str> + Eq + Hash, V: AsRef<str>, S: BuildHasher> Context for HashMap<K, V, S> {
    fn get(&self, property: &str) -> Option<&str> {
        self.get(property).map(V::as_ref)
    }
}

impl<K: Borrow<str> + Ord, V: AsRef<str>> Context for BTreeMap<K, V> {
    fn get(&self, property: &str) -> Option<&str> {
        self.get(property).map(V::as_ref)
    }
}

/// Pairs of name and value; of several with the same name the last one counts, as if read into a map.
impl<K: AsRef<str>, V: AsRef<str>> Context for [(K, V)] {
    fn get(&self, property: &str) -> Option<&str> {
        self.iter().rev().find(|(name, _)| name.as_ref() == property).map(|(_, value)| value.as_ref())
    }
}

impl<K: AsRef<str>, V: AsRef<str>, const N: usize> Context for [(K, V); N] {
    fn get(&self, property: &str) -> Option<&str> {
        Context::get(self.as_slice(), property)
    }
}

impl<K: AsRef<str>, V: AsRef<str>> Context for Vec<(K, V)> {
    fn get(&self, property: &str) -> Option<&str> {
        Context::get(self.as_slice(), property)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answers(context: impl Context) {
        assert_eq!(context.get("plan"), Some("pro"));
        assert_eq!(context.get("Plan"), None);
    }

    #[test]
    fn every_kind_of_map_answers_alike() {
        answers(HashMap::from([("plan".to_owned(), "pro".to_owned())]));
        answers(BTreeMap::from([("plan", "pro")]));
        answers([("plan", "free"), ("plan", "pro")]);
        answers(vec![("plan".to_owned(), "pro")]);
        assert_eq!(().get("plan"), None);
    }
}
