//! The format of published snapshots alone, from its own source.

#[path = "../../src/format/mod.rs"]
pub mod format;
