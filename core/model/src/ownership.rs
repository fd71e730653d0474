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
            (Self::Namespace(wanted), Self::Namespace(stored)) if keeps(EditableField::Description) => {
                wanted.description.clone_from(&stored.description);
            }
            (Self::Segment(wanted), Self::Segment(stored)) if keeps(EditableField::Description) => {
                wanted.description.clone_from(&stored.description);
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{Distribution, Rollout, RolloutRule, Rule, Variant};

    fn owner(name: &str, uid: &str) -> Owner {
        Owner {
            cluster: "c1".to_owned(),
            namespace: "shop".to_owned(),
            name: name.to_owned(),
            uid: uid.to_owned(),
        }
    }

    fn claim(of: Owner, written: &str) -> Claim {
        Claim { owner: of, written_hash: written.to_owned(), editable: Editable::new() }
    }

    /// What happens to a wish for content `d`.
    fn decided(adoption: Adoption, drift: Drift, stored: Option<&str>, claim: Option<&Claim>) -> Decision {
        let editable = Editable::new();
        let owner = owner("banner", "1");
        let wish = Wish { owner: &owner, editable: &editable, hash: "d", adoption, drift };
        decide(&wish, stored.map(|hash| Stored { hash, claimed_hash: hash }), claim)
    }

    #[test]
    fn every_row_of_the_table_is_decided_as_it_says() {
        use Adoption::{Force, IfIdentical, Never};
        use Drift::{Enforce, Report};
        let ours = |written: &str| Some(claim(owner("banner", "1"), written));
        let successor = |written: &str| Some(claim(owner("banner", "0"), written));
        let other = Some(claim(owner("footer", "1"), "d"));
        let rows = [
            // Nobody owns it.
            (Never, Enforce, None, None, Decision::Create),
            (IfIdentical, Report, None, None, Decision::Create),
            (Never, Enforce, Some("d"), None, Decision::NotAdopted),
            (IfIdentical, Enforce, Some("d"), None, Decision::Claim),
            (Force, Enforce, Some("d"), None, Decision::Claim),
            (Never, Enforce, Some("x"), None, Decision::NotAdopted),
            (IfIdentical, Enforce, Some("x"), None, Decision::NotAdopted),
            (Force, Report, Some("x"), None, Decision::Adopt),
            // We own it.
            (Never, Enforce, None, ours("d"), Decision::Recreate),
            (Never, Report, None, ours("d"), Decision::ReportDrift),
            (Never, Enforce, Some("d"), ours("d"), Decision::Nothing),
            (Never, Report, Some("d"), ours("old"), Decision::Claim),
            (Never, Enforce, Some("old"), ours("old"), Decision::Write),
            (Never, Report, Some("old"), ours("old"), Decision::Write),
            (Never, Enforce, Some("x"), ours("d"), Decision::CorrectDrift),
            (Never, Report, Some("x"), ours("d"), Decision::ReportDrift),
            (Never, Enforce, Some("x"), ours("old"), Decision::CorrectDrift),
            (Never, Report, Some("x"), ours("old"), Decision::ReportDrift),
            // An object of the same name owned it, which is gone.
            (Never, Enforce, Some("d"), successor("d"), Decision::Claim),
            (Never, Enforce, Some("old"), successor("old"), Decision::Write),
            (Never, Enforce, None, successor("d"), Decision::Recreate),
            (Never, Report, Some("x"), successor("d"), Decision::ReportDrift),
            // Another object owns it.
            (Force, Enforce, Some("d"), other.clone(), Decision::Conflict),
            (Force, Enforce, Some("x"), other.clone(), Decision::Conflict),
            (Force, Enforce, None, other, Decision::Conflict),
        ];
        for (adoption, drift, stored, claim, expected) in rows {
            let decision = decided(adoption, drift, stored, claim.as_ref());
            assert_eq!(decision, expected, "{adoption:?} {drift:?} {stored:?} {claim:?}");
        }
    }

    #[test]
    fn fields_that_were_left_to_the_ui_come_back_to_their_owner_without_being_drift() {
        let wanted = owner("banner", "1");
        let left = Editable::from([EditableField::Enabled]);
        let known = Claim { editable: left, ..claim(wanted.clone(), "without") };
        let (editable, adoption) = (Editable::new(), Adoption::Never);
        let wish = Wish { owner: &wanted, editable: &editable, hash: "d", adoption, drift: Drift::Report };
        let stored = Stored { hash: "switched", claimed_hash: "without" };
        assert_eq!(decide(&wish, Some(stored), Some(&known)), Decision::Write);
        let stored = Stored { hash: "d", claimed_hash: "without" };
        assert_eq!(decide(&wish, Some(stored), Some(&known)), Decision::Claim);
    }

    fn text() -> impl Strategy<Value = String> {
        "[a-c]{0,2}"
    }

    fn flag() -> impl Strategy<Value = Flag> {
        let rule = (prop::collection::vec("[a-c]", 1..3), prop::collection::vec(("[v-x]", 0..100_u8), 0..3));
        let rollout = (text(), 0..100_u8, any::<bool>());
        (
            (text(), text(), any::<bool>()),
            prop::collection::btree_map("[m-o]", any::<i32>().prop_map(Value::from), 0..2),
            prop::collection::btree_set("[v-x]", 0..3),
            prop::collection::vec(rule, 0..3),
            prop::collection::vec(rollout, 0..3),
        )
            .prop_map(|((name, description, enabled), metadata, variants, rules, rollouts)| {
                type Parts = (Vec<String>, Vec<(String, u8)>);
                let rule = |(rank, (segments, shares)): (i32, Parts)| Rule {
                    rank,
                    segments,
                    distributions: shares
                        .into_iter()
                        .filter(|(variant, _)| variants.contains(variant))
                        .map(|(variant, share)| Distribution { variant, rollout: share.into() })
                        .collect(),
                    ..Rule::default()
                };
                let rollout = |(rank, (description, share, value)): (i32, (String, u8, bool))| Rollout {
                    rank,
                    description,
                    rule: RolloutRule::Threshold { percentage: share.into(), value },
                };
                Flag {
                    key: "banner".to_owned(),
                    name,
                    description,
                    enabled,
                    metadata,
                    rules: (1..).zip(rules).map(rule).collect(),
                    rollouts: (1..).zip(rollouts).map(rollout).collect(),
                    variants: variants
                        .iter()
                        .map(|key| Variant { key: key.clone(), ..Variant::default() })
                        .collect(),
                    ..Flag::default()
                }
            })
    }

    fn editable() -> impl Strategy<Value = Editable> {
        prop::sample::subsequence(EditableField::ALL.to_vec(), 0..=EditableField::ALL.len())
            .prop_map(|fields| fields.into_iter().collect())
    }

    proptest! {
        #[test]
        fn hashes_ignore_what_is_left_to_the_ui(stored in flag(), wanted in flag(), editable in editable()) {
            let (stored, wanted) = (Resource::Flag(stored), Resource::Flag(wanted));
            let mut target = wanted.clone();
            target.keep(&stored, &editable);
            prop_assert_eq!(target.content_hash(&editable), wanted.content_hash(&editable));
            // And nothing else.
            let same = stored.content_hash(&editable) == wanted.content_hash(&editable);
            prop_assert_eq!(stored.difference(&wanted, &editable).is_empty(), same);
            prop_assert_eq!(stored.compared(&editable) == wanted.compared(&editable), same);
        }

        #[test]
        fn hashes_ignore_gaps_between_ranks(flag in flag(), gap in 1..9_i32) {
            let mut gaps = flag.clone();
            for rule in &mut gaps.rules {
                rule.rank *= gap;
            }
            for rollout in &mut gaps.rollouts {
                rollout.rank += gap;
            }
            let none = Editable::new();
            let (dense, gaps) = (Resource::Flag(flag), Resource::Flag(gaps));
            prop_assert_eq!(dense.content_hash(&none), gaps.content_hash(&none));
        }

        #[test]
        fn a_wish_that_was_carried_out_is_fulfilled(
            wanted in flag(),
            stored in prop::option::of(flag()),
            known in prop::option::of((0..3_usize, editable(), flag())),
            editable in editable(),
            force in any::<bool>(),
            enforce in any::<bool>(),
        ) {
            let wanted = Resource::Flag(wanted);
            let mut stored = stored.map(Resource::Flag);
            let mut known = known.map(|(who, editable, written)| Claim {
                owner: [owner("banner", "1"), owner("banner", "0"), owner("footer", "1")][who].clone(),
                written_hash: Resource::Flag(written).content_hash(&editable),
                editable,
            });
            let (us, hash) = (owner("banner", "1"), wanted.content_hash(&editable));
            let wish = Wish {
                owner: &us,
                editable: &editable,
                hash: &hash,
                adoption: if force { Adoption::Force } else { Adoption::IfIdentical },
                drift: if enforce { Drift::Enforce } else { Drift::Report },
            };
            let mut decisions = Vec::new();
            for _ in 0..2 {
                let hashes = stored.as_ref().map(|stored| {
                    let fields = known.as_ref().map_or(&editable, |known| &known.editable);
                    (stored.content_hash(&editable), stored.content_hash(fields))
                });
                let hashes = hashes.as_ref().map(|(hash, claimed)| Stored { hash, claimed_hash: claimed });
                let decision = decide(&wish, hashes, known.as_ref());
                decisions.push(decision);
                if decision.is_idle() {
                    continue;
                }
                known = Some(Claim {
                    owner: us.clone(),
                    written_hash: hash.clone(),
                    editable: editable.clone(),
                });
                if decision != Decision::Claim {
                    let mut target = wanted.clone();
                    if let Some(stored) = &stored {
                        target.keep(stored, &editable);
                    }
                    stored = Some(target);
                }
            }
            if decisions[0].is_idle() {
                prop_assert_eq!(decisions[0], decisions[1]);
            } else {
                prop_assert_eq!(decisions[1], Decision::Nothing);
            }
        }
    }

    #[test]
    fn a_difference_names_fields_and_is_bounded() {
        let stored = Flag { key: "banner".to_owned(), description: "ä".repeat(5_000), ..Flag::default() };
        let wanted = Flag { enabled: true, description: "short".to_owned(), ..stored.clone() };
        let (stored, wanted) = (Resource::Flag(stored), Resource::Flag(wanted));
        let text = stored.difference(&wanted, &Editable::new());
        assert!(text.contains("enabled: false → true") && text.contains("→ \"short\""), "{text}");
        let variants = (0..100).map(|n| Variant { key: format!("variant-{n}"), ..Variant::default() });
        let many = Resource::Flag(Flag { variants: variants.collect(), ..Flag::default() });
        let other = (0..100).map(|n| Variant { key: format!("other-{n}"), ..Variant::default() });
        let others = Resource::Flag(Flag { variants: other.collect(), ..Flag::default() });
        assert!(many.difference(&others, &Editable::new()).len() <= 1_000);
    }

    #[test]
    fn rules_of_the_ui_lose_variants_that_the_owner_took_away() {
        let share = |variant: &str| Distribution { variant: variant.to_owned(), rollout: 50.0 };
        let variant = |key: &str| Variant { key: key.to_owned(), ..Variant::default() };
        let rule = Rule { distributions: vec![share("a"), share("b")], ..Rule::default() };
        let stored =
            Flag { variants: vec![variant("a"), variant("b")], rules: vec![rule], ..Flag::default() };
        let mut wanted = Resource::Flag(Flag { variants: vec![variant("b")], ..Flag::default() });
        wanted.keep(&Resource::Flag(stored), &Editable::from([EditableField::Rules]));
        let Resource::Flag(flag) = wanted else { panic!("a flag") };
        assert_eq!(flag.rules[0].distributions, [share("b")]);
    }
}
