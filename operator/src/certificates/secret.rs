//! The Secret of the webhook's certificate, as bytes and as what they mean.

use std::collections::{BTreeMap, BTreeSet};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _};
use x509_parser::parse_x509_certificate;

use super::step::{Authority, Contents, Instant, Pair};

/// Data of a Secret.
pub(crate) type Data = BTreeMap<String, Vec<u8>>;

/// Every key that we write.
pub(crate) const KEYS: [&str; 9] = [
    "ca.crt",
    "tls.crt",
    "tls.key",
    "next.ca.crt",
    "next.tls.crt",
    "next.tls.key",
    "next.trusted",
    "previous.ca.crt",
    "promoted",
];

/// Reads a Secret. What cannot be read is as if it were not there: it is made anew.
pub(crate) fn read(data: &Data) -> Contents {
    Contents {
        current: pair(data, ["ca.crt", "tls.crt", "tls.key"]),
        next: pair(data, ["next.ca.crt", "next.tls.crt", "next.tls.key"]),
        trusted: instant(data, "next.trusted"),
        previous: data.get("previous.ca.crt").map(|pem| authorities(pem)).unwrap_or_default(),
        promoted: instant(data, "promoted"),
    }
}

/// Writes a Secret.
pub(crate) fn write(contents: &Contents) -> Data {
    let mut data = Data::new();
    let mut put = |key: &str, text: &str| data.insert(key.to_owned(), text.as_bytes().to_vec());
    if let Some(pair) = &contents.current {
        put("ca.crt", &pair.authority);
        put("tls.crt", &pair.certificate);
        put("tls.key", &pair.key);
    }
    if let Some(pair) = &contents.next {
        put("next.ca.crt", &pair.authority);
        put("next.tls.crt", &pair.certificate);
        put("next.tls.key", &pair.key);
    }
    if let Some(trusted) = contents.trusted {
        put("next.trusted", &trusted.to_string());
    }
    if !contents.previous.is_empty() {
        put("previous.ca.crt", &bundle(&contents.previous));
    }
    if let Some(promoted) = contents.promoted {
        put("promoted", &promoted.to_string());
    }
    data
}

fn pair(data: &Data, [authority, certificate, key]: [&str; 3]) -> Option<Pair> {
    let authority = authorities(data.get(authority)?).into_iter().next()?;
    let certificate = data.get(certificate)?;
    let key = data.get(key)?;
    let (begins, ends) = validity(certificate)?;
    PrivateKeyDer::from_pem_slice(key).ok()?;
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
    Some(Pair { authority, certificate: text(certificate)?, key: text(key)?, begins, ends })
}

fn instant(data: &Data, key: &str) -> Option<Instant> {
    std::str::from_utf8(data.get(key)?).ok()?.trim().parse().ok()
}

/// From when until when the first certificate of a chain is valid.
pub(crate) fn validity(chain: &[u8]) -> Option<(Instant, Instant)> {
    let leaf = CertificateDer::from_pem_slice(chain).ok()?;
    let (_, parsed) = parse_x509_certificate(&leaf).ok()?;
    Some((parsed.validity.not_before.timestamp(), parsed.validity.not_after.timestamp()))
}

/// Certificates of a bundle, each spelled the one way in which we compare them.
pub(crate) fn authorities(bundle: &[u8]) -> BTreeSet<Authority> {
    CertificateDer::pem_slice_iter(bundle)
        .filter_map(Result::ok)
        .map(|certificate| pem(&certificate))
        .collect()
}

/// A bundle of certificates.
pub(crate) fn bundle(authorities: &BTreeSet<Authority>) -> String {
    authorities.iter().map(String::as_str).collect()
}

fn pem(certificate: &CertificateDer<'_>) -> Authority {
    use base64::{Engine as _, engine::general_purpose::STANDARD};

    let mut text = String::from("-----BEGIN CERTIFICATE-----\n");
    let encoded = STANDARD.encode(certificate);
    let mut rest = encoded.as_str();
    while !rest.is_empty() {
        let (line, further) = rest.split_at(rest.len().min(64));
        text.push_str(line);
        text.push('\n');
        rest = further;
    }
    text.push_str("-----END CERTIFICATE-----\n");
    text
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::certificates::issue::issue;

    #[test]
    fn what_is_written_is_read() {
        let issue = |now| {
            let mut pair =
                issue(&["flipt-webhook.flipt-system.svc".to_owned()], now, Duration::from_secs(60)).unwrap();
            pair.authority = authorities(pair.authority.as_bytes()).into_iter().next().unwrap();
            pair
        };
        let contents = Contents {
            current: Some(issue(1_000_000)),
            next: Some(issue(1_000_050)),
            trusted: Some(1_000_051),
            previous: [issue(1).authority, issue(2).authority].into(),
            promoted: Some(1_000_001),
        };
        let data = write(&contents);
        assert_eq!(read(&data), contents);
        assert!(data.keys().all(|key| KEYS.contains(&key.as_str())) && data.len() == KEYS.len());
        let current = contents.current.unwrap();
        assert_eq!((current.begins, current.ends), (999_999, 1_000_060));
    }

    #[test]
    fn what_cannot_be_read_is_not_there() {
        let mut data = write(&Contents {
            current: Some(issue(&["a".to_owned()], 1, Duration::from_secs(60)).unwrap()),
            ..Contents::default()
        });
        data.insert("tls.key".into(), b"rubbish".to_vec());
        data.insert("next.trusted".into(), b"soon".to_vec());
        assert_eq!(read(&data), Contents::default());
    }
}
