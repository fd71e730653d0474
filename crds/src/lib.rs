//! Custom resources of the group [`GROUP`]: what people write into a cluster, and what it means in the flag model.
//!
//! | Kind | Purpose |
//! |---|---|
//! | [`FliptServer`] | a server, run by the operator or elsewhere, and who may put flags into it |
//! | [`FliptNamespace`] | a namespace of a server |
//! | [`FliptFlag`] | a flag with its variants, rules and rollouts |
//! | [`FliptSegment`] | a segment with its constraints |
//! | [`FliptSnapshotExport`] | publication of a server's state to S3, on a schedule |
//! | [`FliptSidecarProfile`] | how sidecars are injected into pods of a namespace |
//! | [`ClusterFliptSidecarProfile`] | the same for the whole cluster |
//!
//! This crate is pure: types, schemas, conversions. It never talks to a cluster. What the API server refuses by
//! schema or rule never reaches the operator; what only a conversion can tell, it reports as
//! [`Reason::InvalidSpec`].

#![forbid(unsafe_code)]
// `KubeSchema` describes a copy of each type, which nobody can reach.
#![allow(unreachable_pub)]
// Printer columns of one kind have types and prefixes in common.
#![allow(clippy::duplicated_attributes)]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod cluster_profile;
pub mod condition;
mod convert;
mod duration;
mod export;
mod flag;
mod image;
mod management;
mod manifest;
mod namespace;
mod profile;
mod reference;
mod rule;
mod s3;
mod schema;
mod segment;
mod server;
mod status;

pub use cluster_profile::{ClusterFliptSidecarProfile, ClusterFliptSidecarProfileSpec};
pub use condition::{ConditionType, Reason};
pub use convert::{MAX_ATTACHMENT_BYTES, flag_of, namespace_of, segment_of};
pub use duration::{Duration, InvalidDuration};
pub use export::{
    Change, CronHistory, ExportFailure, ExportJob, ExportedSnapshot, FliptSnapshotExport,
    FliptSnapshotExportSpec, FliptSnapshotExportStatus, Format, Guard, Retention, ServiceAccount, Signing,
};
pub use flag::{
    Distribution, FlagRule, FlagType, FliptFlag, FliptFlagSpec, Rollout, RolloutSegment, RolloutThreshold,
    SegmentOperator, Variant,
};
pub use image::{Image, PullPolicy, Resources};
pub use management::{AdoptionPolicy, DeletionPolicy, DriftPolicy, EditableField, Management};
pub use manifest::{Manifest, manifests};
pub use namespace::{FliptNamespace, FliptNamespaceSpec};
pub use profile::{
    AllowedCaller, AuthMode, Authentication, Aws, Cache, CacheMedium, ConfigMapRef, ExportRef,
    FliptSidecarProfile, FliptSidecarProfileSpec, FliptSidecarProfileStatus, Overridable, Ports,
    ServerSource, Source, Trust,
};
pub use reference::{SecretKeyRef, SecretRef, ServerRef};
pub use s3::{Bucket, ConditionalWrites, Encryption, EncryptionMode};
pub use segment::{
    Constraint, ConstraintOperator, ConstraintType, FliptSegment, FliptSegmentSpec, MatchType,
};
pub use server::{
    AllowedNamespaces, Database, ExternalServer, FliptServer, FliptServerSpec, FliptServerStatus,
    GrantedKind, ManagedServer, NamespacesFrom, ServerAuthentication, Service, ServiceAccountToken,
    ServiceType,
};
pub use status::ResourceStatus;

/// API group of every kind. The derive of a kind takes a literal only; a test holds each against this.
pub const GROUP: &str = "flipt.io";

/// API version of every kind.
pub const VERSION: &str = "v1alpha1";

/// Category of every kind: `kubectl get flipt -A` lists all of them.
pub const CATEGORY: &str = "flipt";

/// Finalizer of resources whose content lies in a server.
pub const FINALIZER: &str = "flipt.io/cleanup";
