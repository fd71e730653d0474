//! Makes certificates: an authority that signs once and forgets its key, and what it signs.

use std::time::Duration;

use rcgen::{
    BasicConstraints, CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer,
    KeyPair, KeyUsagePurpose,
};

use super::step::{Instant, Pair};

/// How far the clock of an API server may be behind.
const BACKDATE: Duration = Duration::from_secs(300);
/// The last instant that a certificate can speak of, at the end of the year 9999.
const LAST: u64 = 253_402_300_799;
/// Life of the authority, in lives of what it signs.
const AUTHORITY_LIVES: i64 = 4;

/// Issues a certificate for these names, valid from now. Both keys are ECDSA P-256.
///
/// # Errors
/// The names are none, or the system gives no randomness.
pub(crate) fn issue(names: &[String], now: Instant, life: Duration) -> Result<Pair, rcgen::Error> {
    let seconds = i64::try_from(life.as_secs()).unwrap_or(i64::MAX / 8);
    let backdate = i64::try_from(BACKDATE.as_secs()).unwrap_or_default().min(seconds / 60);
    let begins = now - backdate;
    let ends = now + seconds;

    // From here to there calendars are sure of themselves.
    let at = |instant: Instant| {
        let seconds = u64::try_from(instant).unwrap_or_default().min(LAST);
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
    };

    let key = KeyPair::generate()?;
    let mut authority = CertificateParams::default();
    // A number in the name keeps authorities apart that are trusted at the same time.
    authority.distinguished_name = named(&format!("flipt-webhook-ca-{now}"));
    authority.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    (authority.not_before, authority.not_after) = (at(begins), at(now + AUTHORITY_LIVES * seconds));
    let root = authority.self_signed(&key)?;
    let issuer = Issuer::new(authority, key);

    let key = KeyPair::generate()?;
    let mut leaf = CertificateParams::new(names.to_vec())?;
    leaf.distinguished_name = named(names.first().map_or("flipt-webhook", String::as_str));
    leaf.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    leaf.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    leaf.use_authority_key_identifier_extension = true;
    (leaf.not_before, leaf.not_after) = (at(begins), at(ends));
    let certificate = leaf.signed_by(&key, &issuer)?;
    // The authority's key ends here, with `issuer`: nobody can ever sign with it again.
    Ok(Pair { authority: root.pem(), certificate: certificate.pem(), key: key.serialize_pem(), begins, ends })
}

fn named(name: &str) -> DistinguishedName {
    let mut distinguished = DistinguishedName::new();
    // X.509 allows 64 characters here; the names that count stand in the extension.
    let end = name.floor_char_boundary(64);
    distinguished.push(DnType::CommonName, &name[..end]);
    distinguished
}
