//! The reader: keeps a program at the current snapshot.

mod cache;
mod follower;
mod pace;
mod status;

pub use cache::{CacheDir, CacheError};
pub use follower::{CacheOutcome, FollowError, FollowOptions, Follower, Limits, PollOutcome};
pub use pace::seed_from;
pub use status::{LoadResult, PollResult, State, Status, Upstream};
