//! Enumerations of the model, with the numbers of the wire and the names of the documents.
//!
//! Numbers that no name exists for are representable on purpose: the API accepts and stores them, and the
//! engine has defined answers for them.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

macro_rules! open_enum {
    (
        $(#[$meta:meta])* $name:ident, default $default:ident,
        $( $(#[$variant_meta:meta])* $variant:ident = $number:literal, $text:literal; )+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name {
            $( $(#[$variant_meta])* $variant, )+
            /// A number without a name.
            Other(i32),
        }

        impl $name {
            /// The value with this wire number.
            #[must_use]
            pub const fn from_number(number: i32) -> Self {
                match number { $( $number => Self::$variant, )+ other => Self::Other(other) }
            }

            /// The wire number.
            #[must_use]
            pub const fn number(self) -> i32 {
                match self { $( Self::$variant => $number, )+ Self::Other(number) => number }
            }

            /// The value with this name, exactly as documents and JSON spell it.
            #[must_use]
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $( $text => Some(Self::$variant), )+ _ => None }
            }

            /// The name; `None` for a number without one.
            #[must_use]
            pub const fn name(self) -> Option<&'static str> {
                match self { $( Self::$variant => Some($text), )+ Self::Other(_) => None }
            }

            /// All named values.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];
        }

        impl Default for $name {
            fn default() -> Self { Self::$default }
        }

        /// The name, or the number where there is no name.
        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.name() {
                    Some(name) => f.write_str(name),
                    None => write!(f, "{}", self.number()),
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                match self.name() {
                    Some(name) => serializer.serialize_str(name),
                    None => serializer.serialize_i32(self.number()),
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;
                impl de::Visitor<'_> for Visitor {
                    type Value = $name;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("one of", $( " `", $text, "`", )+ " or its number"))
                    }
                    fn visit_str<E: de::Error>(self, value: &str) -> Result<$name, E> {
                        $name::from_name(value)
                            .ok_or_else(|| de::Error::unknown_variant(value, &[$( $text ),+]))
                    }
                    fn visit_i64<E: de::Error>(self, value: i64) -> Result<$name, E> {
                        i32::try_from(value).map($name::from_number).map_err(E::custom)
                    }
                    fn visit_u64<E: de::Error>(self, value: u64) -> Result<$name, E> {
                        i32::try_from(value).map($name::from_number).map_err(E::custom)
                    }
                }
                deserializer.deserialize_any(Visitor)
            }
        }
    };
}

open_enum! {
    /// What a flag evaluates to.
    FlagType, default Variant,
    /// Evaluates to one of its variants, or to none.
    Variant = 0, "VARIANT_FLAG_TYPE";
    /// Evaluates to true or false.
    Boolean = 1, "BOOLEAN_FLAG_TYPE";
}

open_enum! {
    /// How many constraints of a segment must match. A number without a name never matches.
    MatchType, default All,
    /// Every constraint.
    All = 0, "ALL_MATCH_TYPE";
    /// At least one constraint, or there is none.
    Any = 1, "ANY_MATCH_TYPE";
}

open_enum! {
    /// How many segments of a rule or rollout must match.
    SegmentOperator, default Or,
    /// At least one segment.
    Or = 0, "OR_SEGMENT_OPERATOR";
    /// Every segment.
    And = 1, "AND_SEGMENT_OPERATOR";
}

open_enum! {
    /// How a constraint reads the value under test. A number without a name fails the evaluation, as does
    /// [`ConstraintType::Unknown`].
    ConstraintType, default Unknown,
    /// No type: every evaluation that touches the constraint fails.
    Unknown = 0, "UNKNOWN_COMPARISON_TYPE";
    /// Text.
    String = 1, "STRING_COMPARISON_TYPE";
    /// 64-bit floating point number.
    Number = 2, "NUMBER_COMPARISON_TYPE";
    /// True or false.
    Boolean = 3, "BOOLEAN_COMPARISON_TYPE";
    /// Instant, or calendar day at midnight UTC.
    DateTime = 4, "DATETIME_COMPARISON_TYPE";
    /// The request's entity id, compared as text; the context is not consulted.
    EntityId = 5, "ENTITY_ID_COMPARISON_TYPE";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_numbers_agree_in_both_directions() {
        for value in ConstraintType::ALL {
            assert_eq!(ConstraintType::from_number(value.number()), *value);
            assert_eq!(value.name().and_then(ConstraintType::from_name), Some(*value));
        }
    }

    #[test]
    fn a_number_without_a_name_survives_json() {
        let json = serde_json::to_string(&FlagType::Other(3)).unwrap();
        assert_eq!(json, "3");
        assert_eq!(serde_json::from_str::<FlagType>(&json).unwrap(), FlagType::Other(3));
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = serde_json::from_str::<FlagType>("\"NOPE\"").unwrap_err().to_string();
        assert!(error.contains("VARIANT_FLAG_TYPE") && error.contains("BOOLEAN_FLAG_TYPE"), "{error}");
    }
}
