//! The format of published snapshots alone, from its own source.

#[path = "../../../core/snapshots/src/format/mod.rs"]
pub mod format;
