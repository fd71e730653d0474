//! Storage that only reads: documents that somebody else keeps become the state that the server answers
//! from (storage spec, sections 9 and 10).
//!
//! A [`Source`] gives a tree of documents; everything behind it is the same whatever the source is. The
//! folder is one; others differ in nothing but how they come by the documents.
//!
//! ```text
//! Source --> Tree --> State --> DeclarativeStore (answers, compiled snapshot)
//!              ^--- Follower asks again and again
//! ```

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod answers;
mod client;
mod folder;
mod follower;
mod identifiers;
mod listing;
mod ownership;
mod paging;
mod source;
mod state;
mod store;

pub use folder::Folder;
pub use follower::Follower;
pub use listing::selected_files;
pub use source::{Fetched, Source, SourceError, Tree};
pub use state::LoadFailure;
pub use store::{DeclarativeStore, OpenError};
