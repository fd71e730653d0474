//! The traits that every kind of storage offers.

use std::sync::Arc;

use async_trait::async_trait;
use flipt_proto::{evaluation::EvaluationNamespaceSnapshot, flipt as pb};
use tokio::sync::watch;

use crate::{
    Edit, ImportMode, ImportedNamespace, Live, Ownership, SqlStore, StoreError, Version, constraints,
    distributions, flags, import, namespaces,
    place::in_default_environment,
    resources, rollouts, rules, segments, snapshot,
    state::{self, Scope},
    variants,
    writer::{looked_up, retried, written},
};

/// The flag state of one environment: compiled, versioned, and written as whole resources.
///
/// # Guarantees
/// - Every write is atomic; when it returns, [`Environment::live`] holds it.
/// - An empty namespace key in a request means the default namespace.
///
/// # Errors
/// Every method fails with [`StoreError`]; the texts are those of the API.
#[async_trait]
pub trait Environment: Ownership {
    /// The compiled state.
    fn live(&self) -> Arc<Live>;
    /// Tells every new revision of the state.
    fn revisions(&self) -> watch::Receiver<u64>;
    /// Whether reading from a namespace that does not exist fails, as in declarative storage; otherwise it reads
    /// as empty (api spec, section 10).
    fn knows_every_namespace(&self) -> bool {
        false
    }
    /// Text that changes with every write to a namespace, and never comes back; without asking anything but the
    /// compiled state.
    fn namespace_revision(&self, key: &str) -> String {
        self.live().namespace_revision(in_default_environment(key))
    }
    /// State with its version, read at one instant.
    async fn read_state(&self, part: Part<'_>) -> Result<(flipt_model::Snapshot, Version), StoreError>;
    /// Text that changes with every write to the namespace; empty if there was none yet.
    async fn namespace_version(&self, key: &str) -> Result<String, StoreError>;
    /// What client-side engines need of a namespace, with the namespace's version.
    async fn namespace_snapshot(
        &self,
        key: &str,
    ) -> Result<(EvaluationNamespaceSnapshot, String), StoreError>;
    /// Writes whole namespaces in one transaction, also what is owned: its owner will notice.
    async fn import(&self, namespaces: &[ImportedNamespace], mode: ImportMode) -> Result<(), StoreError>;
    /// Writes or deletes one whole resource, if it has not changed since the expected revision
    /// ([`Version::text`]; empty, all zero or not hexadecimal: whatever it is now). Gives the new version.
    async fn apply(&self, edit: &Edit, expected: &str) -> Result<Version, StoreError>;
}

/// Which part of an environment's state to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'a> {
    /// Everything.
    All,
    /// Every namespace, without what is in it.
    Namespaces,
    /// The flags of a namespace.
    Flags(&'a str),
    /// The segments of a namespace.
    Segments(&'a str),
    /// One flag of a namespace.
    Flag(&'a str, &'a str),
    /// One segment of a namespace.
    Segment(&'a str, &'a str),
}

/// Management of resources as clients of the v1 API do it, on the default environment.
///
/// # Errors
/// As those of [`Environment`].
#[async_trait]
pub trait Store: Environment {
    /// Reads a namespace.
    async fn get_namespace(&self, request: &pb::GetNamespaceRequest) -> Result<pb::Namespace, StoreError>;
    /// Lists namespaces.
    async fn list_namespaces(
        &self,
        request: &pb::ListNamespaceRequest,
    ) -> Result<pb::NamespaceList, StoreError>;
    /// Reads a flag.
    async fn get_flag(&self, request: &pb::GetFlagRequest) -> Result<pb::Flag, StoreError>;
    /// Lists flags.
    async fn list_flags(&self, request: &pb::ListFlagRequest) -> Result<pb::FlagList, StoreError>;
    /// Reads a segment.
    async fn get_segment(&self, request: &pb::GetSegmentRequest) -> Result<pb::Segment, StoreError>;
    /// Lists segments.
    async fn list_segments(&self, request: &pb::ListSegmentRequest) -> Result<pb::SegmentList, StoreError>;
    /// Reads a rule.
    async fn get_rule(&self, request: &pb::GetRuleRequest) -> Result<pb::Rule, StoreError>;
    /// Lists rules.
    async fn list_rules(&self, request: &pb::ListRuleRequest) -> Result<pb::RuleList, StoreError>;
    /// Reads a rollout.
    async fn get_rollout(&self, request: &pb::GetRolloutRequest) -> Result<pb::Rollout, StoreError>;
    /// Lists rollouts.
    async fn list_rollouts(&self, request: &pb::ListRolloutRequest) -> Result<pb::RolloutList, StoreError>;
    /// Creates a namespace.
    async fn create_namespace(
        &self,
        request: &pb::CreateNamespaceRequest,
    ) -> Result<pb::Namespace, StoreError>;
    /// Replaces the mutable fields of a namespace.
    async fn update_namespace(
        &self,
        request: &pb::UpdateNamespaceRequest,
    ) -> Result<pb::Namespace, StoreError>;
    /// Deletes a namespace.
    async fn delete_namespace(&self, request: &pb::DeleteNamespaceRequest) -> Result<(), StoreError>;
    /// Creates a flag.
    async fn create_flag(&self, request: &pb::CreateFlagRequest) -> Result<pb::Flag, StoreError>;
    /// Replaces the mutable fields of a flag.
    async fn update_flag(&self, request: &pb::UpdateFlagRequest) -> Result<pb::Flag, StoreError>;
    /// Deletes a flag; one that does not exist is deleted already.
    async fn delete_flag(&self, request: &pb::DeleteFlagRequest) -> Result<(), StoreError>;
    /// Creates a variant.
    async fn create_variant(&self, request: &pb::CreateVariantRequest) -> Result<pb::Variant, StoreError>;
    /// Replaces the mutable fields of a variant.
    async fn update_variant(&self, request: &pb::UpdateVariantRequest) -> Result<pb::Variant, StoreError>;
    /// Deletes a variant; one that does not exist is deleted already.
    async fn delete_variant(&self, request: &pb::DeleteVariantRequest) -> Result<(), StoreError>;
    /// Creates a segment.
    async fn create_segment(&self, request: &pb::CreateSegmentRequest) -> Result<pb::Segment, StoreError>;
    /// Replaces the mutable fields of a segment.
    async fn update_segment(&self, request: &pb::UpdateSegmentRequest) -> Result<pb::Segment, StoreError>;
    /// Deletes a segment; one that does not exist is deleted already.
    async fn delete_segment(&self, request: &pb::DeleteSegmentRequest) -> Result<(), StoreError>;
    /// Creates a constraint.
    async fn create_constraint(
        &self,
        request: &pb::CreateConstraintRequest,
    ) -> Result<pb::Constraint, StoreError>;
    /// Replaces the mutable fields of a constraint.
    async fn update_constraint(
        &self,
        request: &pb::UpdateConstraintRequest,
    ) -> Result<pb::Constraint, StoreError>;
    /// Deletes a constraint; one that does not exist is deleted already.
    async fn delete_constraint(&self, request: &pb::DeleteConstraintRequest) -> Result<(), StoreError>;
    /// Creates a rule.
    async fn create_rule(&self, request: &pb::CreateRuleRequest) -> Result<pb::Rule, StoreError>;
    /// Replaces the mutable fields of a rule.
    async fn update_rule(&self, request: &pb::UpdateRuleRequest) -> Result<pb::Rule, StoreError>;
    /// Ranks rules in the order given.
    async fn order_rules(&self, request: &pb::OrderRulesRequest) -> Result<(), StoreError>;
    /// Deletes a rule; one that does not exist is deleted already.
    async fn delete_rule(&self, request: &pb::DeleteRuleRequest) -> Result<(), StoreError>;
    /// Creates a distribution.
    async fn create_distribution(
        &self,
        request: &pb::CreateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError>;
    /// Replaces the mutable fields of a distribution.
    async fn update_distribution(
        &self,
        request: &pb::UpdateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError>;
    /// Deletes a distribution; one that does not exist is deleted already.
    async fn delete_distribution(&self, request: &pb::DeleteDistributionRequest) -> Result<(), StoreError>;
    /// Creates a rollout.
    async fn create_rollout(&self, request: &pb::CreateRolloutRequest) -> Result<pb::Rollout, StoreError>;
    /// Replaces the mutable fields of a rollout.
    async fn update_rollout(&self, request: &pb::UpdateRolloutRequest) -> Result<pb::Rollout, StoreError>;
    /// Ranks rollouts in the order given.
    async fn order_rollouts(&self, request: &pb::OrderRolloutsRequest) -> Result<(), StoreError>;
    /// Deletes a rollout; one that does not exist is deleted already.
    async fn delete_rollout(&self, request: &pb::DeleteRolloutRequest) -> Result<(), StoreError>;
}

#[async_trait]
impl Environment for SqlStore {
    fn live(&self) -> Arc<Live> {
        Self::live(self)
    }

    fn revisions(&self) -> watch::Receiver<u64> {
        Self::revisions(self)
    }

    async fn read_state(&self, part: Part<'_>) -> Result<(flipt_model::Snapshot, Version), StoreError> {
        let stored;
        let scope = match part {
            Part::All => Scope::All,
            Part::Namespaces => Scope::Namespaces,
            Part::Flags(namespace) => {
                stored = self.stored(namespace);
                Scope::Flags(&stored)
            }
            Part::Segments(namespace) => {
                stored = self.stored(namespace);
                Scope::Segments(&stored)
            }
            Part::Flag(namespace, key) => {
                stored = self.stored(namespace);
                Scope::Flag(&stored, key)
            }
            Part::Segment(namespace, key) => {
                stored = self.stored(namespace);
                Scope::Segment(&stored, key)
            }
        };
        state::read(&self.database, self.place(), &scope).await
    }

    async fn namespace_version(&self, key: &str) -> Result<String, StoreError> {
        let live = self.live();
        Ok(live.namespaces.get(in_default_environment(key)).copied().unwrap_or_default().text())
    }

    async fn namespace_snapshot(
        &self,
        key: &str,
    ) -> Result<(EvaluationNamespaceSnapshot, String), StoreError> {
        retried!({
            let mut transaction = self.database.read().await?;
            let version = state::namespace_version(&mut transaction, &self.stored(key)).await?;
            let snapshot = snapshot::read(&mut transaction, self.place(), key).await?;
            Ok((snapshot, version.unwrap_or_default().text()))
        })
    }

    async fn import(&self, namespaces: &[ImportedNamespace], mode: ImportMode) -> Result<(), StoreError> {
        written!(self, |writer| import::run(writer, namespaces, mode)).map(drop)
    }

    async fn apply(&self, edit: &Edit, expected: &str) -> Result<Version, StoreError> {
        written!(self, |writer| resources::apply(writer, edit, expected)).map(|((), version)| version)
    }
}

#[async_trait]
impl Store for SqlStore {
    async fn get_namespace(&self, request: &pb::GetNamespaceRequest) -> Result<pb::Namespace, StoreError> {
        looked_up!(self.database, |transaction| namespaces::get(transaction, request))
    }

    async fn list_namespaces(
        &self,
        request: &pb::ListNamespaceRequest,
    ) -> Result<pb::NamespaceList, StoreError> {
        looked_up!(self.database, |transaction| namespaces::list(transaction, request))
    }

    async fn get_flag(&self, request: &pb::GetFlagRequest) -> Result<pb::Flag, StoreError> {
        looked_up!(self.database, |transaction| flags::get(transaction, request))
    }

    async fn list_flags(&self, request: &pb::ListFlagRequest) -> Result<pb::FlagList, StoreError> {
        looked_up!(self.database, |transaction| flags::list(transaction, request))
    }

    async fn get_segment(&self, request: &pb::GetSegmentRequest) -> Result<pb::Segment, StoreError> {
        looked_up!(self.database, |transaction| segments::get(transaction, request))
    }

    async fn list_segments(&self, request: &pb::ListSegmentRequest) -> Result<pb::SegmentList, StoreError> {
        looked_up!(self.database, |transaction| segments::list(transaction, request))
    }

    async fn get_rule(&self, request: &pb::GetRuleRequest) -> Result<pb::Rule, StoreError> {
        looked_up!(self.database, |transaction| rules::get(transaction, request))
    }

    async fn list_rules(&self, request: &pb::ListRuleRequest) -> Result<pb::RuleList, StoreError> {
        looked_up!(self.database, |transaction| rules::list(transaction, request))
    }

    async fn get_rollout(&self, request: &pb::GetRolloutRequest) -> Result<pb::Rollout, StoreError> {
        looked_up!(self.database, |transaction| rollouts::get(transaction, request))
    }

    async fn list_rollouts(&self, request: &pb::ListRolloutRequest) -> Result<pb::RolloutList, StoreError> {
        looked_up!(self.database, |transaction| rollouts::list(transaction, request))
    }

    async fn create_namespace(
        &self,
        request: &pb::CreateNamespaceRequest,
    ) -> Result<pb::Namespace, StoreError> {
        written!(self, |writer| namespaces::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_namespace(
        &self,
        request: &pb::UpdateNamespaceRequest,
    ) -> Result<pb::Namespace, StoreError> {
        written!(self, |writer| namespaces::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_namespace(&self, request: &pb::DeleteNamespaceRequest) -> Result<(), StoreError> {
        written!(self, |writer| namespaces::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_flag(&self, request: &pb::CreateFlagRequest) -> Result<pb::Flag, StoreError> {
        written!(self, |writer| flags::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_flag(&self, request: &pb::UpdateFlagRequest) -> Result<pb::Flag, StoreError> {
        written!(self, |writer| flags::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_flag(&self, request: &pb::DeleteFlagRequest) -> Result<(), StoreError> {
        written!(self, |writer| flags::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_variant(&self, request: &pb::CreateVariantRequest) -> Result<pb::Variant, StoreError> {
        written!(self, |writer| variants::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_variant(&self, request: &pb::UpdateVariantRequest) -> Result<pb::Variant, StoreError> {
        written!(self, |writer| variants::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_variant(&self, request: &pb::DeleteVariantRequest) -> Result<(), StoreError> {
        written!(self, |writer| variants::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_segment(&self, request: &pb::CreateSegmentRequest) -> Result<pb::Segment, StoreError> {
        written!(self, |writer| segments::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_segment(&self, request: &pb::UpdateSegmentRequest) -> Result<pb::Segment, StoreError> {
        written!(self, |writer| segments::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_segment(&self, request: &pb::DeleteSegmentRequest) -> Result<(), StoreError> {
        written!(self, |writer| segments::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_constraint(
        &self,
        request: &pb::CreateConstraintRequest,
    ) -> Result<pb::Constraint, StoreError> {
        written!(self, |writer| constraints::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_constraint(
        &self,
        request: &pb::UpdateConstraintRequest,
    ) -> Result<pb::Constraint, StoreError> {
        written!(self, |writer| constraints::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_constraint(&self, request: &pb::DeleteConstraintRequest) -> Result<(), StoreError> {
        written!(self, |writer| constraints::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_rule(&self, request: &pb::CreateRuleRequest) -> Result<pb::Rule, StoreError> {
        written!(self, |writer| rules::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_rule(&self, request: &pb::UpdateRuleRequest) -> Result<pb::Rule, StoreError> {
        written!(self, |writer| rules::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn order_rules(&self, request: &pb::OrderRulesRequest) -> Result<(), StoreError> {
        written!(self, |writer| rules::order(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_rule(&self, request: &pb::DeleteRuleRequest) -> Result<(), StoreError> {
        written!(self, |writer| rules::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_distribution(
        &self,
        request: &pb::CreateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError> {
        written!(self, |writer| distributions::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_distribution(
        &self,
        request: &pb::UpdateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError> {
        written!(self, |writer| distributions::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_distribution(&self, request: &pb::DeleteDistributionRequest) -> Result<(), StoreError> {
        written!(self, |writer| distributions::delete(writer, request)).map(|(answer, _)| answer)
    }

    async fn create_rollout(&self, request: &pb::CreateRolloutRequest) -> Result<pb::Rollout, StoreError> {
        written!(self, |writer| rollouts::create(writer, request)).map(|(answer, _)| answer)
    }

    async fn update_rollout(&self, request: &pb::UpdateRolloutRequest) -> Result<pb::Rollout, StoreError> {
        written!(self, |writer| rollouts::update(writer, request)).map(|(answer, _)| answer)
    }

    async fn order_rollouts(&self, request: &pb::OrderRolloutsRequest) -> Result<(), StoreError> {
        written!(self, |writer| rollouts::order(writer, request)).map(|(answer, _)| answer)
    }

    async fn delete_rollout(&self, request: &pb::DeleteRolloutRequest) -> Result<(), StoreError> {
        written!(self, |writer| rollouts::delete(writer, request)).map(|(answer, _)| answer)
    }
}
