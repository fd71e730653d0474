//! The object: canonical JSON of a whole snapshot, compressed.

use std::io::{Read, Write};

use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use flipt_model::Snapshot;

use super::{Counts, Digest, FormatError, MAX_OBJECT_BYTES, MAX_RAW_BYTES};

/// A snapshot as it is stored.
#[derive(Debug, Clone)]
pub struct EncodedObject {
    /// Compressed canonical bytes.
    pub bytes: Vec<u8>,
    /// Size of the canonical bytes before compression.
    pub raw_size: u64,
    /// Digest of the canonical bytes before compression.
    pub digest: Digest,
    /// What is in it.
    pub counts: Counts,
}

/// Brings a snapshot into its stored form.
///
/// # Guarantees
///
/// Equal state gives equal canonical bytes, thus an equal digest, whatever the order of namespaces, flags,
/// segments or metadata. (The compressed bytes may differ between releases; nothing depends on them.)
///
/// # Errors
///
/// [`FormatError::DuplicateKey`], because the order of equal keys would decide the bytes;
/// [`FormatError::TooLarge`] if no reader would accept the object.
pub fn encode(mut snapshot: Snapshot) -> Result<EncodedObject, FormatError> {
    snapshot.sort_by_key();
    refuse_duplicates("namespace", snapshot.namespaces.iter().map(|n| n.key.as_str()))?;
    for namespace in &mut snapshot.namespaces {
        refuse_duplicates("flag", namespace.flags.iter().map(|f| f.key.as_str()))?;
        refuse_duplicates("segment", namespace.segments.iter().map(|s| s.key.as_str()))?;
        for flag in &mut namespace.flags {
            // Without effect unless some crate of the program switches on serde_json's `preserve_order`, which
            // must not change digests.
            flag.metadata.values_mut().for_each(serde_json::Value::sort_all_objects);
        }
    }
    let raw = serde_json::to_vec(&snapshot)
        .map_err(|error| FormatError::Corrupt(format!("cannot be written as JSON: {error}")))?;
    if raw.len() as u64 > MAX_RAW_BYTES {
        return Err(FormatError::TooLarge { what: "the uncompressed snapshot", limit: MAX_RAW_BYTES });
    }
    let bytes =
        compress(&raw).map_err(|error| FormatError::Corrupt(format!("cannot be compressed: {error}")))?;
    if bytes.len() as u64 > MAX_OBJECT_BYTES {
        return Err(FormatError::TooLarge { what: "the compressed snapshot", limit: MAX_OBJECT_BYTES });
    }
    Ok(EncodedObject {
        bytes,
        raw_size: raw.len() as u64,
        digest: Digest::of(&raw),
        counts: Counts {
            namespaces: snapshot.namespaces.len() as u64,
            flags: snapshot.flag_count() as u64,
            segments: snapshot.segment_count() as u64,
        },
    })
}

fn compress(raw: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(raw.len() / 8), Compression::default());
    encoder.write_all(raw)?;
    encoder.finish()
}

fn refuse_duplicates<'a>(
    what: &'static str,
    sorted: impl Iterator<Item = &'a str>,
) -> Result<(), FormatError> {
    let mut previous = None;
    for key in sorted {
        if previous == Some(key) {
            return Err(FormatError::DuplicateKey { what, key: key.to_owned() });
        }
        previous = Some(key);
    }
    Ok(())
}

/// Reads an object's compressed bytes back.
///
/// # Guarantees
///
/// Never decompresses more than `max_raw` bytes, nor makes room for more. Nothing is parsed before the digest
/// is right.
///
/// # Errors
///
/// [`FormatError::TooLarge`] beyond `max_raw`; [`FormatError::WrongDigest`]; [`FormatError::Corrupt`] for
/// truncated or damaged compression and for content that is no snapshot.
pub fn decode(compressed: &[u8], expected: &Digest, max_raw: u64) -> Result<Snapshot, FormatError> {
    let raw = decompress(compressed, max_raw)?;
    let actual = Digest::of(&raw);
    if actual != *expected {
        return Err(FormatError::WrongDigest { expected: *expected, actual });
    }
    serde_json::from_slice(&raw)
        .map_err(|error| FormatError::Corrupt(format!("the object is no snapshot: {error}")))
}

fn decompress(compressed: &[u8], max_raw: u64) -> Result<Vec<u8>, FormatError> {
    let too_large = FormatError::TooLarge { what: "the uncompressed object", limit: max_raw };
    let mut raw = Vec::new();
    let mut decoder = GzDecoder::new(compressed);
    let mut chunk = [0; 16 * 1024];
    loop {
        let read = decoder.read(&mut chunk).map_err(|error| {
            FormatError::Corrupt(match error.kind() {
                std::io::ErrorKind::UnexpectedEof => {
                    "the object ends in the middle (truncated gzip)".to_owned()
                }
                _ => format!("the object cannot be decompressed: {error}"),
            })
        })?;
        if read == 0 {
            return Ok(raw);
        }
        if (raw.len() + read) as u64 > max_raw {
            return Err(too_large);
        }
        if raw.capacity() - raw.len() < read {
            // Doubles as a Vec would, but never past the limit. The sum fits: it was just compared.
            let room = (max_raw - raw.len() as u64).min(raw.len().max(4 * chunk.len()) as u64);
            raw.reserve_exact(room as usize);
        }
        raw.extend_from_slice(&chunk[..read]);
    }
}

#[cfg(test)]
mod tests {
    use flipt_model::{Flag, Namespace};
    use proptest::prelude::*;

    use super::*;

    fn snapshot() -> Snapshot {
        Snapshot {
            namespaces: vec![Namespace {
                key: "default".into(),
                flags: vec![Flag { key: "a".into(), ..Flag::default() }],
                ..Namespace::default()
            }],
        }
    }

    #[test]
    fn what_is_encoded_decodes_to_the_same() {
        let object = encode(snapshot()).unwrap();
        assert_eq!(decode(&object.bytes, &object.digest, object.raw_size).unwrap(), snapshot());
        assert_eq!(object.counts, Counts { namespaces: 1, flags: 1, segments: 0 });
    }

    #[test]
    fn a_truncated_object_is_corrupt_at_every_length() {
        let object = encode(snapshot()).unwrap();
        for length in 0..object.bytes.len() {
            let error = decode(&object.bytes[..length], &object.digest, MAX_RAW_BYTES).unwrap_err();
            assert!(matches!(error, FormatError::Corrupt(_)), "{length}: {error}");
        }
    }

    #[test]
    fn no_flipped_bit_gets_through() {
        let object = encode(snapshot()).unwrap();
        for bit in 0..object.bytes.len() * 8 {
            let mut bytes = object.bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            // Some header bits carry no meaning; then the content is still the right one.
            if let Ok(decoded) = decode(&bytes, &object.digest, MAX_RAW_BYTES) {
                assert_eq!(decoded, snapshot());
            }
        }
    }

    #[test]
    fn a_bomb_is_refused_before_it_is_unpacked() {
        let bomb = compress(&vec![b' '; 80 * 1024 * 1024]).unwrap();
        assert!(bomb.len() < 1024 * 1024);
        let error = decode(&bomb, &Digest::of(b""), MAX_RAW_BYTES).unwrap_err();
        assert_eq!(error, FormatError::TooLarge { what: "the uncompressed object", limit: MAX_RAW_BYTES });
    }

    #[test]
    fn equal_keys_are_refused() {
        let mut twice = snapshot();
        twice.namespaces.push(twice.namespaces[0].clone());
        assert!(matches!(encode(twice), Err(FormatError::DuplicateKey { what: "namespace", .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode(&bytes, &Digest::of(b""), 4096);
            // Valid compression around arbitrary content gets as far as the parser.
            let packed = compress(&bytes).unwrap();
            prop_assert!(decode(&packed, &Digest::of(&bytes), 4096).is_err());
        }
    }
}
