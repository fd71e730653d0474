//! Feature files: nothing makes validation or loading panic, and whatever validates loads.

#![no_main]

use flipt_model::document::{DEFAULT_INCLUDE, Encoding, Glob, Index, load_features, validate_features};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for (encoding, name) in [(Encoding::Yaml, "features.yaml"), (Encoding::Json, "features.json")] {
        _ = validate_features(bytes, encoding, name);
        // Two files of the same content: keys collide.
        _ = load_features(&[(name, bytes)]);
        _ = load_features(&[("a.yml", bytes), (name, bytes)]);
    }
    if let Ok(index) = Index::read(bytes) {
        for path in ["features.yml", "a/features.yaml", ".flipt.yml", ""].iter().chain(&DEFAULT_INCLUDE) {
            _ = index.selects(path);
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        _ = Glob::new(text);
    }
});
