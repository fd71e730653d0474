//! Why an evaluation gave the value it gave.

use std::fmt;

/// Why an evaluation gave the value it gave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Reason {
    /// Nothing decided: no rule applied, there is no default variant.
    #[default]
    Unknown,
    /// The variant flag is off.
    FlagDisabled,
    /// A rule or rollout decided.
    Match,
    /// The default variant, or the boolean flag's own value, applied.
    Default,
}

impl Reason {
    /// The name on the wire; the same in the evaluation API and in the legacy one, whose numbers differ.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "UNKNOWN_EVALUATION_REASON",
            Self::FlagDisabled => "FLAG_DISABLED_EVALUATION_REASON",
            Self::Match => "MATCH_EVALUATION_REASON",
            Self::Default => "DEFAULT_EVALUATION_REASON",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
