//! Evaluation of flags: which value an entity gets, for which reason, through which segments.
//!
//! The state of all flags is compiled once into a [`Snapshot`]; evaluating then needs no parsing, no lock and,
//! on the usual path, no allocation. The semantics are those of a Flipt v1 server, quirks included, so that the
//! same entity gets the same variant. The numbered rules the code follows are those of the evaluation
//! specification; "section" in comments refers to it.
//!
//! ```
//! use flipt_evaluation::{Namespace, Reason, Request, Snapshot};
//! use flipt_model::{Flag, FlagType, Rollout, RolloutRule};
//!
//! let flag = Flag {
//!     key: "checkout".into(),
//!     flag_type: FlagType::Boolean,
//!     rollouts: vec![Rollout {
//!         rank: 1,
//!         rule: RolloutRule::Threshold { percentage: 100.0, value: true },
//!         ..Rollout::default()
//!     }],
//!     ..Flag::default()
//! };
//! let source = flipt_model::Namespace { key: "default".into(), ..Default::default() };
//! let snapshot = Snapshot::default().with_namespace(Namespace::compile(&source).with_flag(&flag));
//!
//! let context = [("plan", "pro")];
//! let request = Request { namespace: "default", flag: "checkout", entity: "user-1", context: &context };
//! let result = snapshot.boolean(&request)?;
//! assert!(result.enabled);
//! assert_eq!(result.reason, Reason::Match);
//! # Ok::<(), flipt_evaluation::EvaluationError>(())
//! ```
//!
//! This crate is pure: no I/O, no async, no clock. Server, sidecar and command line all evaluate through it.

#![forbid(unsafe_code)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod boolean;
mod bucket;
mod constraint;
mod context;
mod datetime;
mod error;
mod flag;
mod keyed;
mod list;
mod namespace;
mod number;
mod reason;
mod request;
mod segment;
mod segments;
mod snapshot;
mod targeting;
mod variant;

pub use boolean::BooleanResult;
pub use context::Context;
pub use error::EvaluationError;
pub use flag::Flag;
pub use namespace::Namespace;
pub use reason::Reason;
pub use request::Request;
pub use segments::Segments;
pub use snapshot::Snapshot;
pub use variant::VariantResult;
