//! Objects: nothing makes the reader panic or take more memory than it may, and what it reads is written back to
//! the same.

#![no_main]

use std::io::Write as _;

use flate2::{Compression, write::GzEncoder};
use flipt_fuzz::format::{Digest, decode, encode};
use libfuzzer_sys::fuzz_target;

const LIMIT: u64 = 1024 * 1024;

fuzz_target!(|bytes: &[u8]| {
    // As compressed bytes, whose digest nobody can have guessed.
    assert!(decode(bytes, &Digest::of(b"something else"), LIMIT).is_err());
    // As the content of a genuine object.
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.try_finish()).expect("memory takes everything");
    let compressed = encoder.finish().expect("memory takes everything");
    let Ok(snapshot) = decode(&compressed, &Digest::of(bytes), LIMIT) else { return };
    let Ok(object) = encode(snapshot.clone()) else { return };
    let mut again = decode(&object.bytes, &object.digest, object.raw_size).expect("what is written is read");
    let mut snapshot = snapshot;
    snapshot.sort_by_key();
    again.sort_by_key();
    assert_eq!(again, snapshot);
});
