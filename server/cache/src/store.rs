//! Management of resources through a cache: single resources and pages of lists are cached, writes are not.

use async_trait::async_trait;
use flipt_proto::flipt as pb;
use flipt_store::{Store, StoreError};

use crate::{
    Cached,
    key::{OfEnvironment, OfNamespace, Page},
};

const fn page(limit: i32, offset: i32, token: &str) -> Page<'_> {
    Page { limit, offset, token }
}

#[async_trait]
impl<T: Store + ?Sized> Store for Cached<T> {
    async fn get_namespace(&self, request: &pb::GetNamespaceRequest) -> Result<pb::Namespace, StoreError> {
        self.of_namespace(&request.key, OfNamespace::Namespace, self.inner.get_namespace(request)).await
    }

    async fn list_namespaces(
        &self,
        request: &pb::ListNamespaceRequest,
    ) -> Result<pb::NamespaceList, StoreError> {
        #[allow(deprecated)]
        let offset = request.offset;
        let page = page(request.limit, offset, &request.page_token);
        self.of_environment(OfEnvironment::Namespaces(page), self.inner.list_namespaces(request)).await
    }

    async fn get_flag(&self, request: &pb::GetFlagRequest) -> Result<pb::Flag, StoreError> {
        let what = OfNamespace::Flag(&request.key);
        self.of_namespace(&request.namespace_key, what, self.inner.get_flag(request)).await
    }

    async fn list_flags(&self, request: &pb::ListFlagRequest) -> Result<pb::FlagList, StoreError> {
        #[allow(deprecated)]
        let offset = request.offset;
        let what = OfNamespace::Flags(page(request.limit, offset, &request.page_token));
        self.of_namespace(&request.namespace_key, what, self.inner.list_flags(request)).await
    }

    async fn get_segment(&self, request: &pb::GetSegmentRequest) -> Result<pb::Segment, StoreError> {
        let what = OfNamespace::Segment(&request.key);
        self.of_namespace(&request.namespace_key, what, self.inner.get_segment(request)).await
    }

    async fn list_segments(&self, request: &pb::ListSegmentRequest) -> Result<pb::SegmentList, StoreError> {
        #[allow(deprecated)]
        let offset = request.offset;
        let what = OfNamespace::Segments(page(request.limit, offset, &request.page_token));
        self.of_namespace(&request.namespace_key, what, self.inner.list_segments(request)).await
    }

    async fn get_rule(&self, request: &pb::GetRuleRequest) -> Result<pb::Rule, StoreError> {
        let what = OfNamespace::Rule { flag: &request.flag_key, id: &request.id };
        self.of_namespace(&request.namespace_key, what, self.inner.get_rule(request)).await
    }

    async fn list_rules(&self, request: &pb::ListRuleRequest) -> Result<pb::RuleList, StoreError> {
        #[allow(deprecated)]
        let offset = request.offset;
        let page = page(request.limit, offset, &request.page_token);
        let what = OfNamespace::Rules { flag: &request.flag_key, page };
        self.of_namespace(&request.namespace_key, what, self.inner.list_rules(request)).await
    }

    async fn get_rollout(&self, request: &pb::GetRolloutRequest) -> Result<pb::Rollout, StoreError> {
        let what = OfNamespace::Rollout { flag: &request.flag_key, id: &request.id };
        self.of_namespace(&request.namespace_key, what, self.inner.get_rollout(request)).await
    }

    async fn list_rollouts(&self, request: &pb::ListRolloutRequest) -> Result<pb::RolloutList, StoreError> {
        let page = page(request.limit, 0, &request.page_token);
        let what = OfNamespace::Rollouts { flag: &request.flag_key, page };
        self.of_namespace(&request.namespace_key, what, self.inner.list_rollouts(request)).await
    }

    async fn create_namespace(
        &self,
        request: &pb::CreateNamespaceRequest,
    ) -> Result<pb::Namespace, StoreError> {
        self.inner.create_namespace(request).await
    }

    async fn update_namespace(
        &self,
        request: &pb::UpdateNamespaceRequest,
    ) -> Result<pb::Namespace, StoreError> {
        self.inner.update_namespace(request).await
    }

    async fn delete_namespace(&self, request: &pb::DeleteNamespaceRequest) -> Result<(), StoreError> {
        self.inner.delete_namespace(request).await
    }

    async fn create_flag(&self, request: &pb::CreateFlagRequest) -> Result<pb::Flag, StoreError> {
        self.inner.create_flag(request).await
    }

    async fn update_flag(&self, request: &pb::UpdateFlagRequest) -> Result<pb::Flag, StoreError> {
        self.inner.update_flag(request).await
    }

    async fn delete_flag(&self, request: &pb::DeleteFlagRequest) -> Result<(), StoreError> {
        self.inner.delete_flag(request).await
    }

    async fn create_variant(&self, request: &pb::CreateVariantRequest) -> Result<pb::Variant, StoreError> {
        self.inner.create_variant(request).await
    }

    async fn update_variant(&self, request: &pb::UpdateVariantRequest) -> Result<pb::Variant, StoreError> {
        self.inner.update_variant(request).await
    }

    async fn delete_variant(&self, request: &pb::DeleteVariantRequest) -> Result<(), StoreError> {
        self.inner.delete_variant(request).await
    }

    async fn create_segment(&self, request: &pb::CreateSegmentRequest) -> Result<pb::Segment, StoreError> {
        self.inner.create_segment(request).await
    }

    async fn update_segment(&self, request: &pb::UpdateSegmentRequest) -> Result<pb::Segment, StoreError> {
        self.inner.update_segment(request).await
    }

    async fn delete_segment(&self, request: &pb::DeleteSegmentRequest) -> Result<(), StoreError> {
        self.inner.delete_segment(request).await
    }

    async fn create_constraint(
        &self,
        request: &pb::CreateConstraintRequest,
    ) -> Result<pb::Constraint, StoreError> {
        self.inner.create_constraint(request).await
    }

    async fn update_constraint(
        &self,
        request: &pb::UpdateConstraintRequest,
    ) -> Result<pb::Constraint, StoreError> {
        self.inner.update_constraint(request).await
    }

    async fn delete_constraint(&self, request: &pb::DeleteConstraintRequest) -> Result<(), StoreError> {
        self.inner.delete_constraint(request).await
    }

    async fn create_rule(&self, request: &pb::CreateRuleRequest) -> Result<pb::Rule, StoreError> {
        self.inner.create_rule(request).await
    }

    async fn update_rule(&self, request: &pb::UpdateRuleRequest) -> Result<pb::Rule, StoreError> {
        self.inner.update_rule(request).await
    }

    async fn order_rules(&self, request: &pb::OrderRulesRequest) -> Result<(), StoreError> {
        self.inner.order_rules(request).await
    }

    async fn delete_rule(&self, request: &pb::DeleteRuleRequest) -> Result<(), StoreError> {
        self.inner.delete_rule(request).await
    }

    async fn create_distribution(
        &self,
        request: &pb::CreateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError> {
        self.inner.create_distribution(request).await
    }

    async fn update_distribution(
        &self,
        request: &pb::UpdateDistributionRequest,
    ) -> Result<pb::Distribution, StoreError> {
        self.inner.update_distribution(request).await
    }

    async fn delete_distribution(&self, request: &pb::DeleteDistributionRequest) -> Result<(), StoreError> {
        self.inner.delete_distribution(request).await
    }

    async fn create_rollout(&self, request: &pb::CreateRolloutRequest) -> Result<pb::Rollout, StoreError> {
        self.inner.create_rollout(request).await
    }

    async fn update_rollout(&self, request: &pb::UpdateRolloutRequest) -> Result<pb::Rollout, StoreError> {
        self.inner.update_rollout(request).await
    }

    async fn order_rollouts(&self, request: &pb::OrderRolloutsRequest) -> Result<(), StoreError> {
        self.inner.order_rollouts(request).await
    }

    async fn delete_rollout(&self, request: &pb::DeleteRolloutRequest) -> Result<(), StoreError> {
        self.inner.delete_rollout(request).await
    }
}
