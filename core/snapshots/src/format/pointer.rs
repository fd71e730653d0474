//! The pointer: the small document that names the current object.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::keys::object_path_is_safe;
use super::{Digest, EncodedObject, FormatError, Keys, MAX_POINTER_BYTES, SCHEMA_VERSION};

/// Names the current snapshot of one environment. Stored as JSON; unknown fields are ignored on reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Pointer {
    /// Tells this document from others.
    pub kind: PointerKind,
    /// Version of the content of the object at `path`.
    pub schema_version: u32,
    /// Oldest reader that may use the object at `path`.
    pub min_reader: u32,
    /// Identifies the database that the revision counts in.
    pub epoch: String,
    /// Revision of the state; grows within an epoch.
    pub revision: u64,
    /// Digest of the object's uncompressed bytes.
    pub digest: Digest,
    /// The object, relative to the environment's folder.
    pub path: String,
    /// How the object is compressed.
    pub encoding: Encoding,
    /// Size of the stored object in bytes.
    pub size: u64,
    /// Size of the object before compression in bytes.
    pub raw_size: u64,
    /// What is in the object.
    pub counts: Counts,
    /// When this revision was first published.
    pub created_at: DateTime<Utc>,
    /// When a publisher last found this revision to be the current state. The age of the flags counts from
    /// here: without it nobody could tell "nothing changed" from "the publisher died".
    pub verified_at: DateTime<Utc>,
    /// Program and version that wrote this.
    pub writer: String,
    /// The same revision in older schema versions.
    #[serde(default)]
    pub alternates: Vec<Alternate>,
    /// Signature over this document without `sig`; see [`crate::signature`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sig: Option<Signature>,
}

/// The kind of document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PointerKind {
    /// A pointer to a snapshot.
    #[default]
    #[serde(rename = "flipt-snapshot")]
    Snapshot,
}

/// How an object is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Encoding {
    /// One gzip member.
    #[default]
    Gzip,
}

/// What a snapshot contains.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Counts {
    /// Number of namespaces.
    pub namespaces: u64,
    /// Number of flags in all namespaces.
    pub flags: u64,
    /// Number of segments in all namespaces.
    pub segments: u64,
}

/// The pointer's revision in an older schema version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alternate {
    /// Version of the content of the object at `path`.
    pub schema_version: u32,
    /// Digest of the object's uncompressed bytes.
    pub digest: Digest,
    /// The object, relative to the environment's folder.
    pub path: String,
    /// How the object is compressed.
    #[serde(default)]
    pub encoding: Encoding,
    /// Size of the stored object in bytes.
    pub size: u64,
    /// Size of the object before compression in bytes.
    pub raw_size: u64,
}

/// A signature over the pointer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Signature {
    /// Algorithm.
    pub alg: String,
    /// Identifies the key.
    pub kid: String,
    /// Base64 text of the signature.
    pub value: String,
}

/// The object that a reader of this build takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ObjectRef {
    /// Digest of the object's uncompressed bytes.
    pub digest: Digest,
    /// The object, relative to the environment's folder.
    pub path: String,
    /// Size of the stored object in bytes.
    pub size: u64,
    /// Size of the object before compression in bytes.
    pub raw_size: u64,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Probe {
    kind: PointerKind,
    schema_version: u32,
}

impl Pointer {
    /// Names an object that holds this revision of the database `epoch`, found to be current at `at`. Not signed.
    #[must_use]
    pub fn of(
        object: &EncodedObject,
        epoch: impl Into<String>,
        revision: u64,
        at: DateTime<Utc>,
        writer: impl Into<String>,
    ) -> Self {
        Self {
            kind: PointerKind::Snapshot,
            schema_version: SCHEMA_VERSION,
            min_reader: SCHEMA_VERSION,
            epoch: epoch.into(),
            revision,
            digest: object.digest,
            path: Keys::object_path(&object.digest),
            encoding: Encoding::Gzip,
            size: object.bytes.len() as u64,
            raw_size: object.raw_size,
            counts: object.counts,
            created_at: at,
            verified_at: at,
            writer: writer.into(),
            alternates: Vec::new(),
            sig: None,
        }
    }

    /// Reads a pointer.
    ///
    /// # Errors
    ///
    /// [`FormatError::Corrupt`] for anything that is no pointer; [`FormatError::TooLarge`] beyond
    /// [`MAX_POINTER_BYTES`]; [`FormatError::SchemaTooNew`] for a newer document that has not even the fields
    /// known here.
    pub fn parse(bytes: &[u8]) -> Result<Self, FormatError> {
        if bytes.len() as u64 > MAX_POINTER_BYTES {
            return Err(FormatError::TooLarge { what: "the pointer", limit: MAX_POINTER_BYTES });
        }
        serde_json::from_slice(bytes).map_err(|error| match serde_json::from_slice::<Probe>(bytes) {
            Ok(Probe { kind: PointerKind::Snapshot, schema_version }) if schema_version > SCHEMA_VERSION => {
                FormatError::SchemaTooNew { found: schema_version }
            }
            _ => FormatError::Corrupt(format!("no snapshot pointer: {error}")),
        })
    }

    /// The stored form.
    ///
    /// # Errors
    ///
    /// [`FormatError::TooLarge`] if no reader would accept it.
    pub fn to_bytes(&self) -> Result<Vec<u8>, FormatError> {
        let bytes = serde_json::to_vec(self)
            .map_err(|error| FormatError::Corrupt(format!("cannot be written as JSON: {error}")))?;
        if bytes.len() as u64 > MAX_POINTER_BYTES {
            return Err(FormatError::TooLarge { what: "the pointer", limit: MAX_POINTER_BYTES });
        }
        Ok(bytes)
    }

    /// The object to read: the pointer's own, or else the newest alternate that this build understands.
    ///
    /// # Errors
    ///
    /// [`FormatError::SchemaTooNew`] if there is none; [`FormatError::Corrupt`] if its path leaves the place
    /// where objects are.
    pub fn readable(&self) -> Result<ObjectRef, FormatError> {
        let own = self.schema_version <= SCHEMA_VERSION && self.min_reader <= SCHEMA_VERSION;
        let object = if own {
            ObjectRef {
                digest: self.digest,
                path: self.path.clone(),
                size: self.size,
                raw_size: self.raw_size,
            }
        } else {
            self.alternates
                .iter()
                .filter(|alternate| alternate.schema_version <= SCHEMA_VERSION)
                .max_by_key(|alternate| alternate.schema_version)
                .map(|alternate| ObjectRef {
                    digest: alternate.digest,
                    path: alternate.path.clone(),
                    size: alternate.size,
                    raw_size: alternate.raw_size,
                })
                .ok_or(FormatError::SchemaTooNew { found: self.schema_version.max(self.min_reader) })?
        };
        if object_path_is_safe(&object.path) {
            Ok(object)
        } else {
            Err(FormatError::Corrupt("the pointer names an object outside of `objects/`".to_owned()))
        }
    }

    /// Paths of all objects that belong to this revision, relative to the environment's folder.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.path.as_str())
            .chain(self.alternates.iter().map(|alternate| alternate.path.as_str()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const EXAMPLE: &str = r#"{"kind":"flipt-snapshot","schemaVersion":1,"minReader":1,"epoch":"6f1c","revision":18231,"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","path":"objects/sha256/e3/e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855.json.gz","encoding":"gzip","size":18311,"rawSize":92311,"counts":{"namespaces":3,"flags":214,"segments":31},"createdAt":"2026-11-21T10:00:03Z","verifiedAt":"2026-11-21T10:07:00Z","writer":"flipt-export 0.1.0","alternates":[],"sig":{"alg":"Ed25519","kid":"k1","value":"AA=="}}"#;

    #[test]
    fn the_documented_example_survives_byte_for_byte() {
        let pointer = Pointer::parse(EXAMPLE.as_bytes()).unwrap();
        assert_eq!(String::from_utf8(pointer.to_bytes().unwrap()).unwrap(), EXAMPLE);
    }

    #[test]
    fn a_newer_document_with_other_fields_is_too_new_not_corrupt() {
        let error = Pointer::parse(br#"{"kind":"flipt-snapshot","schemaVersion":7}"#).unwrap_err();
        assert_eq!(error, FormatError::SchemaTooNew { found: 7 });
        let error = Pointer::parse(br#"{"kind":"flipt-snapshot","schemaVersion":1}"#).unwrap_err();
        assert!(matches!(error, FormatError::Corrupt(_)));
    }

    #[test]
    fn a_path_out_of_the_objects_is_refused() {
        let mut pointer = Pointer::parse(EXAMPLE.as_bytes()).unwrap();
        pointer.path = "objects/../../secret".into();
        assert!(matches!(pointer.readable(), Err(FormatError::Corrupt(_))));
    }

    #[test]
    fn a_reader_below_the_minimum_takes_an_alternate() {
        let mut pointer = Pointer::parse(EXAMPLE.as_bytes()).unwrap();
        pointer.min_reader = SCHEMA_VERSION + 1;
        assert!(matches!(pointer.readable(), Err(FormatError::SchemaTooNew { .. })));
        pointer.alternates.push(Alternate {
            schema_version: SCHEMA_VERSION,
            digest: Digest::of(b"old"),
            path: "objects/old.json.gz".into(),
            encoding: Encoding::Gzip,
            size: 1,
            raw_size: 3,
        });
        assert_eq!(pointer.readable().unwrap().digest, Digest::of(b"old"));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
            prop_assert!(Pointer::parse(&bytes).is_err());
        }

        #[test]
        fn a_damaged_pointer_never_panics(at in 0..EXAMPLE.len(), byte in any::<u8>()) {
            let mut bytes = EXAMPLE.as_bytes().to_vec();
            bytes[at] = byte;
            if let Ok(pointer) = Pointer::parse(&bytes) {
                let _ = pointer.readable();
            }
        }
    }
}
