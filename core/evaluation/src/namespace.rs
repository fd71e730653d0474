//! A namespace whose flags are ready to be evaluated.

use std::sync::Arc;

use crate::flag::Flag;
use crate::keyed::{HasKey, Keyed};
use crate::segment::Segment;

/// A compiled namespace. Edited copies share everything that the edit does not touch.
#[derive(Debug, Clone, PartialEq)]
pub struct Namespace {
    key: Arc<str>,
    flags: Keyed<Flag>,
    segments: Keyed<Segment>,
}

impl HasKey for Namespace {
    fn key(&self) -> &Arc<str> {
        &self.key
    }
}

impl Namespace {
    /// Parses every constraint and resolves every reference, once.
    ///
    /// Of several flags or segments with the same key the last one counts, in the place of the first.
    #[must_use]
    pub fn compile(source: &flipt_model::Namespace) -> Self {
        let segments = Keyed::new(source.segments.iter().map(Segment::compile));
        let flags = Keyed::new(source.flags.iter().map(|flag| Flag::compile(flag, &segments)));
        Self { key: source.key.as_str().into(), flags, segments }
    }

    /// Key of the namespace.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// The flag with this key.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<&Arc<Flag>> {
        self.flags.get(key)
    }

    /// The flag with this key in any letter case, if there is none with exactly this key.
    #[must_use]
    pub fn flag_ignoring_case(&self, key: &str) -> Option<&Arc<Flag>> {
        self.flag(key).or_else(|| self.flags().find(|flag| flag.key().eq_ignore_ascii_case(key)))
    }

    /// The key of the segment with this key in any letter case, if there is none with exactly this key.
    #[must_use]
    pub fn segment_ignoring_case(&self, key: &str) -> Option<&str> {
        let exact = self.segments.get(key);
        let found = exact
            .or_else(|| self.segments.iter().find(|segment| segment.shared_key().eq_ignore_ascii_case(key)));
        found.map(|segment| segment.shared_key().as_ref())
    }

    /// All flags in list order.
    pub fn flags(&self) -> impl Iterator<Item = &Arc<Flag>> {
        self.flags.iter()
    }

    /// A copy in which this flag replaces the one with its key, or stands at the end.
    #[must_use]
    pub fn with_flag(&self, flag: &flipt_model::Flag) -> Self {
        let flag = Arc::new(Flag::compile(flag, &self.segments));
        Self { flags: self.flags.with(flag), ..self.clone() }
    }

    /// A copy without the flag of this key.
    #[must_use]
    pub fn without_flag(&self, key: &str) -> Self {
        Self { flags: self.flags.without(key), ..self.clone() }
    }

    /// A copy in which this segment replaces the one with its key, or stands at the end. Only the flags that
    /// name the segment are touched.
    #[must_use]
    pub fn with_segment(&self, segment: &flipt_model::Segment) -> Self {
        self.with_segments(self.segments.with(Arc::new(Segment::compile(segment))), &segment.key)
    }

    /// A copy without the segment of this key. For flags that still name it, nobody is in it.
    #[must_use]
    pub fn without_segment(&self, key: &str) -> Self {
        self.with_segments(self.segments.without(key), key)
    }

    /// A copy with these segments, which differ from the present ones in that of the key `changed`.
    fn with_segments(&self, segments: Keyed<Segment>, changed: &str) -> Self {
        let flags = self.flags.map(|flag| flag.uses(changed).then(|| Arc::new(flag.resolve(&segments))));
        Self { key: Arc::clone(&self.key), flags, segments }
    }
}
