//! The keys by which sidecars verify tokens: what the API server shows, and what it showed not long ago.

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use thiserror::Error;

/// Longest life of a token that a sidecar accepts: so long, a key may have signed one that is still valid.
pub(crate) const KEPT: SignedDuration = SignedDuration::from_hours(25);

/// Most keys that are handed on. An API server has two or three.
const MAX_KEYS: usize = 64;

/// A key set that is none.
#[derive(Debug, Error)]
#[error("the key set cannot be read: {0}")]
pub(crate) struct InvalidKeySet(String);

/// A key, and whether it is still shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Key {
    jwk: Value,
    /// Since when it is not shown any more.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vanished: Option<Timestamp>,
}

/// All keys that may still be needed, in the order in which they were first seen.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyRing {
    keys: Vec<Key>,
}

impl KeyRing {
    /// Reads what [`KeyRing::to_state`] wrote. What cannot be read is as good as nothing: the API server shows its
    /// keys again.
    pub(crate) fn from_state(state: &str) -> Self {
        serde_json::from_str(state).unwrap_or_default()
    }

    /// To be kept until the next start.
    pub(crate) fn to_state(&self) -> String {
        json!({ "keys": self.keys }).to_string()
    }

    /// Takes over what is shown now. A key that is not shown any more stays for [`KEPT`].
    ///
    /// # Guarantees
    /// An answer without a single key changes nothing: it would make every token invalid.
    ///
    /// # Errors
    /// [`InvalidKeySet`]: the answer is no key set, or an empty one.
    pub(crate) fn merge(&mut self, shown: &[&str], now: Timestamp) -> Result<(), InvalidKeySet> {
        let mut current = Vec::new();
        for text in shown {
            for key in read(text)? {
                if !current.contains(&key) {
                    current.push(key);
                }
            }
        }
        if current.is_empty() {
            return Err(InvalidKeySet("it is empty".to_owned()));
        }
        current.truncate(MAX_KEYS);
        for key in &mut self.keys {
            if current.iter().any(|jwk| same(jwk, &key.jwk)) {
                key.vanished = None;
            } else if key.vanished.is_none_or(|since| since > now) {
                // Since now; and also after a clock that was ahead has been set back.
                key.vanished = Some(now);
            }
        }
        for jwk in current {
            match self.keys.iter_mut().find(|key| same(&jwk, &key.jwk)) {
                Some(key) => key.jwk = jwk,
                None => self.keys.push(Key { jwk, vanished: None }),
            }
        }
        self.keys.retain(|key| key.vanished.is_none_or(|since| now.duration_since(since) < KEPT));
        while self.keys.len() > MAX_KEYS {
            let Some(oldest) = self.keys.iter().position(|key| key.vanished.is_some()) else { break };
            self.keys.remove(oldest);
        }
        Ok(())
    }

    /// The key set for sidecars.
    pub(crate) fn jwks(&self) -> String {
        let keys: Vec<&Value> = self.keys.iter().map(|key| &key.jwk).collect();
        json!({ "keys": keys }).to_string()
    }
}

/// The same key: the same name of the same kind, or, for keys without names, the same content. A name whose content
/// has changed is a new key of that name.
fn same(one: &Value, other: &Value) -> bool {
    let content = |jwk: &Value| ["kty", "n", "e", "crv", "x", "y"].map(|member| jwk.get(member).cloned());
    one.get("kid") == other.get("kid") && content(one) == content(other)
}

/// The public keys of a key set.
///
/// # Errors
/// [`InvalidKeySet`]: it is none.
pub(super) fn read(text: &str) -> Result<Vec<Value>, InvalidKeySet> {
    let set: Value = serde_json::from_str(text).map_err(|error| InvalidKeySet(error.to_string()))?;
    let Some(keys) = set.get("keys").and_then(Value::as_array) else {
        return Err(InvalidKeySet("it has no member keys".to_owned()));
    };
    // Secrets have no place in a ConfigMap, whoever shows them.
    let public = |key: &&Value| {
        key.get("kty").and_then(Value::as_str).is_some_and(|kind| kind != "oct") && key.get("d").is_none()
    };
    Ok(keys.iter().filter(public).cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(names: &[&str]) -> String {
        let keys: Vec<Value> = names
            .iter()
            .map(|name| json!({"kid": name, "kty": "RSA", "alg": "RS256", "use": "sig", "n": name, "e": "AQAB"}))
            .collect();
        json!({ "keys": keys }).to_string()
    }

    fn names(ring: &KeyRing) -> Vec<String> {
        let jwks: Value = serde_json::from_str(&ring.jwks()).unwrap();
        jwks["keys"].as_array().unwrap().iter().map(|key| key["kid"].as_str().unwrap().to_owned()).collect()
    }

    fn hours(hours: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + 3600 * hours).unwrap()
    }

    #[test]
    fn a_key_that_is_rotated_out_stays_as_long_as_its_tokens() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a"])], hours(0)).unwrap();
        ring.merge(&[&set(&["b", "a"])], hours(1)).unwrap();
        assert_eq!(names(&ring), ["a", "b"]);
        ring.merge(&[&set(&["b"])], hours(2)).unwrap();
        ring.merge(&[&set(&["b"])], hours(26)).unwrap();
        assert_eq!(names(&ring), ["a", "b"], "24 hours later");
        ring.merge(&[&set(&["b"])], hours(27)).unwrap();
        assert_eq!(names(&ring), ["b"]);
    }

    #[test]
    fn a_key_that_comes_back_counts_from_anew() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a", "b"])], hours(0)).unwrap();
        ring.merge(&[&set(&["b"])], hours(1)).unwrap();
        ring.merge(&[&set(&["a", "b"])], hours(20)).unwrap();
        ring.merge(&[&set(&["b"])], hours(30)).unwrap();
        ring.merge(&[&set(&["b"])], hours(50)).unwrap();
        assert_eq!(names(&ring), ["a", "b"]);
    }

    #[test]
    fn a_restart_forgets_nothing_and_changes_nothing() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a", "b"])], hours(0)).unwrap();
        ring.merge(&[&set(&["b"])], hours(1)).unwrap();
        let mut restarted = KeyRing::from_state(&ring.to_state());
        assert_eq!(restarted, ring);
        restarted.merge(&[&set(&["b"])], hours(2)).unwrap();
        assert_eq!(restarted.to_state(), ring.to_state(), "nothing to write");
        assert_eq!(KeyRing::from_state("{"), KeyRing::default());
    }

    #[test]
    fn an_answer_without_keys_takes_none_away() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a"])], hours(0)).unwrap();
        for bad in ["", "{}", "[]", "<html>", &set(&[])] {
            assert!(ring.merge(&[bad], hours(40)).is_err(), "{bad}");
        }
        assert_eq!(names(&ring), ["a"]);
    }

    #[test]
    fn a_clock_that_was_ahead_and_is_set_back_keeps_no_key_for_ever() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a", "b"])], hours(0)).unwrap();
        ring.merge(&[&set(&["b"])], hours(9_000)).unwrap();
        ring.merge(&[&set(&["b"])], hours(1)).unwrap();
        ring.merge(&[&set(&["b"])], hours(27)).unwrap();
        assert_eq!(names(&ring), ["b"]);
    }

    #[test]
    fn a_name_with_new_content_is_a_new_key() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a"])], hours(0)).unwrap();
        ring.merge(&[&set(&["a"]).replace("\"n\":\"a\"", "\"n\":\"other\"")], hours(1)).unwrap();
        assert_eq!(names(&ring), ["a", "a"]);
    }

    #[test]
    fn private_and_symmetric_keys_are_not_handed_on() {
        let mut ring = KeyRing::default();
        let shown = r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"EC","kid":"p","d":"x"},{"kty":"EC","kid":"a"}]}"#;
        ring.merge(&[shown], hours(0)).unwrap();
        assert_eq!(names(&ring), ["a"]);
    }

    #[test]
    fn keys_of_two_places_are_one_set() {
        let mut ring = KeyRing::default();
        ring.merge(&[&set(&["a", "b"]), &set(&["b", "c"])], hours(0)).unwrap();
        assert_eq!(names(&ring), ["a", "b", "c"]);
    }
}
