//! Single values: attachments, times, quoted texts, keys.

#![no_main]

use flipt_model::validation::{self, compact_json, go_quote, is_key};
use flipt_model::{resource, time};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Some(compact) = compact_json(text) {
        assert_eq!(compact_json(&compact).as_deref(), Some(compact.as_str()), "compact stays compact");
        assert!(compact.len() <= text.len(), "compact is not longer");
    }
    assert_eq!(
        validation::attachment(text).is_ok(),
        text.is_empty() || compact_json(text).is_some() && text.len() <= validation::MAX_ATTACHMENT_BYTES
    );
    let quoted = go_quote(text);
    assert!(quoted.starts_with('"') && quoted.ends_with('"') && quoted.len() >= 2);
    assert!(!quoted.contains(['\n', '\0']), "what stands in an error is one line");
    if let Some(instant) = time::parse_instant(text) {
        let canonical = instant.to_string();
        match time::parse_instant(&canonical) {
            Some(again) => assert_eq!(again.seconds, instant.seconds, "{canonical}"),
            // An offset can lead out of the years that four digits can tell, which are all that is read.
            None => assert_ne!(canonical.len(), "0000-01-01T00:00:00Z".len(), "{canonical}"),
        }
    }
    _ = time::parse_date(text);
    assert_eq!(validation::key(text).is_ok(), is_key(text));
    _ = resource::is_environment_key(text);
});
