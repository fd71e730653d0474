//! What every program says about itself: log records and metrics.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod format;
mod logging;
mod metrics;

pub use logging::{Encoding, Keys, Level, LogOptions, LoggingError, Output, init};
pub use metrics::Registry;
pub use prometheus;
