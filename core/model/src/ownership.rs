//! Who owns a resource of a server, and what the owner's wish does to it (kubernetes design, section 4.3).
//!
//! A resource that an object of a cluster owns is written by that object only, but for the fields that it leaves to
//! the UI. [`decide`] is the one place where it is decided what happens when an owner's wish meets what is stored: the
//! server asks it within the transaction that carries the decision out, and the operator asks it beforehand, to leave
//! alone what needs no write.

use std::{collections::BTreeSet, fmt};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use crate::{Flag, Namespace, Segment};

/// The object of a cluster that owns a resource.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Owner {
    /// The cluster: uid of its namespace `kube-system`.
    pub cluster: String,
    /// Namespace of the object.
    pub namespace: String,
    /// Name of the object.
    pub name: String,
    /// Uid of the object, which changes when it is deleted and created again.
    pub uid: String,
}

impl Owner {
    /// Whether both are the same object, or one that took its place under the same name.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        (&self.cluster, &self.namespace, &self.name) == (&other.cluster, &other.namespace, &other.name)
    }
}

/// `cluster/namespace/name`.
impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}", self.cluster, self.namespace, self.name)
    }
}

/// A field that an owner leaves to the UI: written when the resource is created, and not afterwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum EditableField {
    /// Whether a flag is enabled.
    Enabled,
    /// The description.
    Description,
    /// The rules of a variant flag.
    Rules,
    /// The rollouts of a boolean flag.
    Rollouts,
    /// The metadata of a flag.
    Metadata,
}

impl EditableField {
    /// Every field.
    pub const ALL: [Self; 5] =
        [Self::Enabled, Self::Description, Self::Rules, Self::Rollouts, Self::Metadata];

    /// As objects and tables spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Description => "description",
            Self::Rules => "rules",
            Self::Rollouts => "rollouts",
            Self::Metadata => "metadata",
        }
    }

    /// The field that is spelt like this.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.as_str() == text)
    }
}

/// Fields that an owner leaves to the UI.
pub type Editable = BTreeSet<EditableField>;

/// What happens when the server has the key already, and nobody owns it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Adoption {
    /// It is left alone.
    Never,
    /// It is taken over if it is the same; otherwise left alone.
    #[default]
    IfIdentical,
    /// It is overwritten.
    Force,
}

/// What happens when somebody changed owned content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Drift {
    /// It is written anew.
    #[default]
    Enforce,
    /// It stays as it is, and is reported.
    Report,
}

/// A resource that can be owned.
#[derive(Debug, Clone, PartialEq)]
pub enum Resource {
    /// A namespace, without what is in it.
    Namespace(Namespace),
    /// A flag with variants, rules and rollouts.
    Flag(Flag),
    /// A segment with its constraints.
    Segment(Segment),
}

/// Kind of a resource that can be owned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum ResourceKind {
    /// A namespace.
    Namespace,
    /// A flag.
    Flag,
    /// A segment.
    Segment,
}

impl ResourceKind {
    /// In texts and tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Namespace => "namespace",
            Self::Flag => "flag",
            Self::Segment => "segment",
        }
    }

    /// The kind that is spelt like this.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Namespace, Self::Flag, Self::Segment].into_iter().find(|kind| kind.as_str() == text)
    }
}

impl Resource {
    /// Its kind.
    #[must_use]
    pub const fn kind(&self) -> ResourceKind {
        match self {
            Self::Namespace(_) => ResourceKind::Namespace,
            Self::Flag(_) => ResourceKind::Flag,
            Self::Segment(_) => ResourceKind::Segment,
        }
    }

    /// Its key.
    #[must_use]
    pub fn key(&self) -> &str {
        match self {
            Self::Namespace(namespace) => &namespace.key,
            Self::Flag(flag) => &flag.key,
            Self::Segment(segment) => &segment.key,
        }
    }

    /// Takes over from `stored` what is left to the UI. What is of another kind stays as it is.
    pub fn keep(&mut self, stored: &Self, editable: &Editable) {
        let keeps = |field| editable.contains(&field);
        match (self, stored) {
            (Self::Namespace(wanted), Self::Namespace(stored)) => {
                if keeps(EditableField::Description) {
                    wanted.description.clone_from(&stored.description);
                }
            }
            (Self::Segment(wanted), Self::Segment(stored)) => {
                if keeps(EditableField::Description) {
                    wanted.description.clone_from(&stored.description);
                }
            }
            (Self::Flag(wanted), Self::Flag(stored)) => {
                if keeps(EditableField::Enabled) {
                    wanted.enabled = stored.enabled;
                }
                if keeps(EditableField::Description) {
                    wanted.description.clone_from(&stored.description);
                }
                if keeps(EditableField::Rules) {
                    wanted.rules.clone_from(&stored.rules);
                    // Variants are the owner's alone: what is gone cannot be given out any more.
                    let variants: BTreeSet<&str> =
                        wanted.variants.iter().map(|variant| variant.key.as_str()).collect();
                    for rule in &mut wanted.rules {
                        rule.distributions.retain(|share| variants.contains(share.variant.as_str()));
                    }
                }
                if keeps(EditableField::Rollouts) {
                    wanted.rollouts.clone_from(&stored.rollouts);
                }
                if keeps(EditableField::Metadata) {
                    wanted.metadata.clone_from(&stored.metadata);
                }
            }
            _ => {}
        }
    }

    /// SHA-256 of the content without what is left to the UI, in hexadecimal digits. Equal content gives equal
    /// hashes in every process of the same release; ranks count by their order only.
    ///
    /// Content is hashed as it is. Whoever compares what is stored with what was sent must hash both in the form
    /// that they have after a way over the wire.
    #[must_use]
    pub fn content_hash(&self, editable: &Editable) -> String {
        let digest = Sha256::digest(self.compared(editable).to_string());
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// How this differs from what is wanted, for people: a line of at most 1 kB that names fields with their value
    /// here and the wanted one. Empty if they are the same without what is left to the UI.
    #[must_use]
    pub fn difference(&self, wanted: &Self, editable: &Editable) -> String {
        let mut found = Vec::new();
        differences("", &self.compared(editable), &wanted.compared(editable), &mut found);
        let mut text = found.join("; ");
        if text.len() > DIFFERENCE_BYTES {
            let end = text.floor_char_boundary(DIFFERENCE_BYTES - '…'.len_utf8());
            text.truncate(end);
            text.push('…');
        }
        text
    }

    /// What counts in comparisons.
    fn compared(&self, editable: &Editable) -> Value {
        let mut content = self.clone();
        let blank = match &content {
            Self::Namespace(_) => Self::Namespace(Namespace::default()),
            Self::Flag(_) => Self::Flag(Flag::default()),
            Self::Segment(_) => Self::Segment(Segment::default()),
        };
        content.keep(&blank, editable);
        let json = match &mut content {
            Self::Namespace(namespace) => {
                namespace.flags.clear();
                namespace.segments.clear();
                serde_json::to_value(namespace)
            }
            Self::Flag(flag) => {
                for (rank, rule) in (1..).zip(&mut flag.rules) {
                    rule.rank = rank;
                }
                for (rank, rollout) in (1..).zip(&mut flag.rollouts) {
                    rollout.rank = rank;
                }
                serde_json::to_value(flag)
            }
            Self::Segment(segment) => serde_json::to_value(segment),
        };
        // These types always serialise: no maps with keys other than text.
        json.unwrap_or_default()
    }
}

/// Longest text about a difference.
const DIFFERENCE_BYTES: usize = 1_000;
/// Longest text about one value in it.
const VALUE_CHARACTERS: usize = 80;

/// Adds a text for each place where two values differ.
fn differences(place: &str, here: &Value, wanted: &Value, found: &mut Vec<String>) {
    match (here, wanted) {
        _ if here == wanted => {}
        (Value::Object(here), Value::Object(wanted)) => {
            let keys: BTreeSet<&String> = here.keys().chain(wanted.keys()).collect();
            for key in keys {
                let inner = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                let value = |object: &serde_json::Map<String, Value>| object.get(key).cloned();
                differences(
                    &inner,
                    &value(here).unwrap_or_default(),
                    &value(wanted).unwrap_or_default(),
                    found,
                );
            }
        }
        (Value::Array(here), Value::Array(wanted)) if here.len() == wanted.len() => {
            for (at, (here, wanted)) in here.iter().zip(wanted).enumerate() {
                differences(&format!("{place}[{at}]"), here, wanted, found);
            }
        }
        (here, wanted) => found.push(format!("{place}: {} → {}", shortened(here), shortened(wanted))),
    }
}

fn shortened(value: &Value) -> String {
    if value.is_null() {
        return "nothing".to_owned();
    }
    let text = value.to_string();
    match text.char_indices().nth(VALUE_CHARACTERS) {
        Some((end, _)) => format!("{}…", text.get(..end).unwrap_or_default()),
        None => text,
    }
}

/// What the server knows about the ownership of a resource.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Who owns it.
    pub owner: Owner,
    /// Hash of what the owner wrote last.
    pub written_hash: String,
    /// What the owner left to the UI when it wrote last.
    pub editable: Editable,
}

/// What an owner wants a resource to be.
#[derive(Debug, Clone, Copy)]
pub struct Wish<'a> {
    /// Who wants it.
    pub owner: &'a Owner,
    /// What is left to the UI.
    pub editable: &'a Editable,
    /// Hash of the wanted content without that.
    pub hash: &'a str,
    /// What happens if it exists and nobody owns it.
    pub adoption: Adoption,
    /// What happens if it was changed.
    pub drift: Drift,
}

/// Hashes of what is stored.
#[derive(Debug, Clone, Copy)]
pub struct Stored<'a> {
    /// Without what the wish leaves to the UI.
    pub hash: &'a str,
    /// Without what the claim leaves to the UI; the same as `hash` if there is no claim.
    pub claimed_hash: &'a str,
}

/// What a wish does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Create the resource and claim it.
    Create,
    /// Create again what somebody deleted.
    Recreate,
    /// Claim what is there, without a change of it.
    Claim,
    /// Write and claim what is there.
    Adopt,
    /// Nothing: it is as wanted, and claimed.
    Nothing,
    /// Write: the wish has changed.
    Write,
    /// Write: somebody changed it.
    CorrectDrift,
    /// Leave it, and report that somebody changed or deleted it.
    ReportDrift,
    /// Leave it: nobody owns it, and it was not to be taken over.
    NotAdopted,
    /// Leave it: another object owns it.
    Conflict,
}

impl Decision {
    /// Whether it leaves the server's tables as they are.
    #[must_use]
    pub const fn is_idle(self) -> bool {
        matches!(self, Self::Nothing | Self::ReportDrift | Self::NotAdopted | Self::Conflict)
    }
}

/// Decides what a wish does to what is stored and claimed.
#[must_use]
pub fn decide(wish: &Wish<'_>, stored: Option<Stored<'_>>, claim: Option<&Claim>) -> Decision {
    let Some(claim) = claim else {
        return match (stored, wish.adoption) {
            (None, _) => Decision::Create,
            (Some(stored), Adoption::IfIdentical | Adoption::Force) if stored.hash == wish.hash => {
                Decision::Claim
            }
            (Some(_), Adoption::Force) => Decision::Adopt,
            (Some(_), Adoption::Never | Adoption::IfIdentical) => Decision::NotAdopted,
        };
    };
    if !claim.owner.is(wish.owner) {
        return Decision::Conflict;
    }
    let drifted = stored.is_none_or(|stored| stored.claimed_hash != claim.written_hash);
    match stored {
        None if wish.drift == Drift::Enforce => Decision::Recreate,
        Some(stored) if stored.hash == wish.hash => {
            // An object that took the place of another one takes its claim; so does one that leaves other fields to
            // the UI, and one whose wish has become what somebody had made of it.
            let same = claim.owner.uid == wish.owner.uid
                && claim.editable == *wish.editable
                && claim.written_hash == wish.hash;
            if same { Decision::Nothing } else { Decision::Claim }
        }
        Some(_) if !drifted => Decision::Write,
        Some(_) if wish.drift == Drift::Enforce => Decision::CorrectDrift,
        None | Some(_) => Decision::ReportDrift,
    }
}
