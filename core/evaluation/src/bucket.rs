//! Which share of the entities an entity belongs to.
//!
//! The order in which flag key and entity id enter the hash differs between the two uses, so an entity's bucket
//! and its residue are unrelated. There is no separator and no other salt (section 3.1).

use crc32fast::Hasher;

/// CRC of a flag key: where the hash of a bucket starts.
pub(crate) fn seed(flag: &str) -> u32 {
    crc32fast::hash(flag.as_bytes())
}

/// Bucket, 0 to 999, of an entity for the flag with this [`seed`].
pub(crate) fn bucket(seed: u32, entity: &str) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(entity.as_bytes());
    hasher.finalize() % 1000
}

/// Residue, 0 to 99, of an entity for this flag.
pub(crate) fn residue(entity: &str, flag: &str) -> u32 {
    let mut hasher = Hasher::new();
    hasher.update(entity.as_bytes());
    hasher.update(flag.as_bytes());
    hasher.finalize() % 100
}

/// Number of buckets that a distribution owns.
///
/// The product stays in 32 bits on purpose: 0.7 is 6.9999998 in 64 bits and would lose a bucket
/// (section 3.2).
pub(crate) fn width(rollout: f32) -> u32 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "truncation is the rule")]
    let width = (rollout * 10.0_f32) as u32;
    width
}

/// Whether a threshold takes the entity with this residue.
pub(crate) fn below(residue: u32, percentage: f32) -> bool {
    #[expect(clippy::cast_precision_loss, reason = "0 to 99 is exact in 32 bits")]
    let residue = residue as f32;
    residue < percentage
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_is_the_crc_of_gzip() {
        assert_eq!(seed("123456789"), 0xcbf4_3926);
    }

    #[test]
    fn every_decimal_with_two_places_owns_its_whole_tenths() {
        for hundredths in 0..=10_000_u32 {
            let decimal = format!("{}.{:02}", hundredths / 100, hundredths % 100);
            assert_eq!(width(decimal.parse().unwrap()), hundredths / 10, "{decimal}");
        }
    }

    #[test]
    fn a_fractional_percentage_acts_as_the_next_whole_one() {
        for (percentage, admitted) in [(0.0, 0), (0.5, 1), (1.0, 1), (50.5, 51), (100.0, 100), (f32::NAN, 0)]
        {
            assert_eq!((0..100).filter(|&residue| below(residue, percentage)).count(), admitted);
        }
    }
}
