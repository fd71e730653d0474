//! Conditions of all kinds: which there are, why they are as they are, how one is set.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// Most conditions a status can hold.
pub(crate) const MAX_CONDITIONS: u32 = 16;

/// Longest message of a condition, in bytes.
pub const MAX_MESSAGE_BYTES: usize = 1024;

macro_rules! names {
    (
        $(#[$meta:meta])* $name:ident
        $( $(#[$variant_meta:meta])* $variant:ident, )+
    ) => {
        $(#[$meta])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
        pub enum $name { $( $(#[$variant_meta])* $variant, )+ }

        impl $name {
            /// All of them.
            pub const ALL: &'static [Self] = &[$( Self::$variant ),+];

            /// As it stands in a condition.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $( Self::$variant => stringify!($variant), )+ }
            }
        }
    };
}

names! {
    /// What a condition is about.
    ConditionType
    /// The sum of all others.
    Ready,
    /// The spec is valid, its author may do this, and everything it refers to exists.
    Accepted,
    /// The server holds our content.
    Synced,
    /// Somebody changed the content in the server. Present only while true.
    Drifted,
    /// Somebody switched the flag in an emergency, for a limited time. Present only while true.
    Overridden,
    /// The last export is not too old.
    Fresh,
}

names! {
    /// Why a condition is as it is. The list is closed: alerts and scripts may compare.
    Reason
    /// The server holds our content.
    Synced,
    /// There is no such `FliptServer`.
    ServerNotFound,
    /// The server does not answer.
    ServerUnavailable,
    /// The server does not allow this namespace.
    NotGranted,
    /// The spec is not valid.
    InvalidSpec,
    /// Something that the spec names does not exist.
    ReferenceNotFound,
    /// Another object owns the key.
    Conflict,
    /// The server has the key already, and it was not to be taken over.
    NotAdopted,
    /// Somebody changed the content in the server.
    DriftDetected,
    /// A change in the server was undone.
    DriftCorrected,
    /// Somebody switched the flag in an emergency.
    Overridden,
    /// Something else still uses it, so that it cannot be deleted.
    InUse,
    /// `spec.suspend` is set.
    Suspended,
    /// It is being deleted.
    Deleting,
    /// The server refuses the operator's credentials.
    Unauthorized,
    /// The server asks to wait.
    RateLimited,
    /// The last export is not too old.
    Published,
    /// No export has succeeded yet.
    NotPublished,
    /// So many exports in a row have not succeeded that what is published is too old.
    Stale,
}

/// Sets a condition, and says whether that changed anything. The time of the last transition moves only with the
/// status, and messages are cut at [`MAX_MESSAGE_BYTES`]: a status that says the same is the same, byte for byte,
/// and does not wake anybody.
pub fn set(
    conditions: &mut Vec<Condition>,
    type_: ConditionType,
    status: bool,
    reason: Reason,
    message: &str,
    observed_generation: Option<i64>,
    now: Time,
) -> bool {
    let status = if status { "True" } else { "False" };
    let mut condition = Condition {
        type_: type_.as_str().to_owned(),
        status: status.to_owned(),
        reason: reason.as_str().to_owned(),
        message: message[..message.floor_char_boundary(MAX_MESSAGE_BYTES)].to_owned(),
        observed_generation,
        last_transition_time: now,
    };
    match conditions.iter_mut().find(|known| known.type_ == condition.type_) {
        Some(known) => {
            if known.status == condition.status {
                condition.last_transition_time = known.last_transition_time.clone();
            }
            let changed = *known != condition;
            *known = condition;
            changed
        }
        None => {
            conditions.push(condition);
            true
        }
    }
}

/// Removes a condition that is present only while true, and says whether it was there.
pub fn remove(conditions: &mut Vec<Condition>, type_: ConditionType) -> bool {
    let before = conditions.len();
    conditions.retain(|condition| condition.type_ != type_.as_str());
    conditions.len() != before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Time {
        serde_json::from_value(format!("1970-01-01T00:00:{seconds:02}Z").into()).unwrap()
    }

    #[test]
    fn the_time_of_transition_moves_with_the_status_only() {
        let mut conditions = Vec::new();
        let mut say = |status, reason, message: &str, second| {
            let changed =
                set(&mut conditions, ConditionType::Ready, status, reason, message, Some(1), at(second));
            (changed, conditions[0].last_transition_time.clone())
        };
        assert_eq!(say(false, Reason::ServerNotFound, "none", 1), (true, at(1)));
        assert_eq!(say(false, Reason::ServerNotFound, "none", 2), (false, at(1)));
        assert_eq!(say(false, Reason::ServerUnavailable, "503", 3), (true, at(1)));
        assert_eq!(say(true, Reason::Synced, "", 4), (true, at(4)));
        assert_eq!(conditions.len(), 1);
        assert!(remove(&mut conditions, ConditionType::Ready) && conditions.is_empty());
        assert!(!remove(&mut conditions, ConditionType::Ready));
    }

    #[test]
    fn a_message_is_cut_between_characters() {
        let mut conditions = Vec::new();
        let long = "ä".repeat(MAX_MESSAGE_BYTES);
        set(&mut conditions, ConditionType::Synced, false, Reason::Conflict, &long, None, at(0));
        assert_eq!(conditions[0].message.len(), MAX_MESSAGE_BYTES);
        let odd = format!("x{long}");
        set(&mut conditions, ConditionType::Synced, false, Reason::Conflict, &odd, None, at(0));
        assert_eq!(conditions[0].message.len(), MAX_MESSAGE_BYTES - 1);
    }

    #[test]
    fn reasons_are_what_the_api_server_accepts() {
        for reason in Reason::ALL {
            assert!(reason.as_str().bytes().all(|byte| byte.is_ascii_alphabetic()), "{reason:?}");
        }
    }
}
