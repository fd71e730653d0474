//! Rules of a variant flag.

use flipt_model::validation;
use flipt_proto::flipt as pb;
use flipt_serving::Error;

use crate::{Api, Fails as _};

pub(crate) async fn get(api: &Api, request: &pb::GetRuleRequest) -> Result<pb::Rule, Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    api.store.get_rule(request).await.or_refuse()
}

pub(crate) async fn list(api: &Api, request: &pb::ListRuleRequest) -> Result<pb::RuleList, Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    #[allow(deprecated)]
    validation::paging(request.limit, request.offset, &request.page_token).or_refuse()?;
    api.store.list_rules(request).await.or_refuse()
}

pub(crate) async fn create(api: &Api, request: &pb::CreateRuleRequest) -> Result<pb::Rule, Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    #[allow(deprecated)]
    validation::segment_keys(&request.segment_key, &request.segment_keys).or_refuse()?;
    validation::rank(request.rank).or_refuse()?;
    api.require_writable()?;
    api.store.create_rule(request).await.or_refuse()
}

pub(crate) async fn update(api: &Api, request: &pb::UpdateRuleRequest) -> Result<pb::Rule, Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    #[allow(deprecated)]
    validation::segment_keys(&request.segment_key, &request.segment_keys).or_refuse()?;
    api.require_writable()?;
    api.store.update_rule(request).await.or_refuse()
}

pub(crate) async fn order(api: &Api, request: &pb::OrderRulesRequest) -> Result<(), Error> {
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    validation::order_ids("ruleIds", &request.rule_ids).or_refuse()?;
    api.require_writable()?;
    api.store.order_rules(request).await.or_refuse()
}

pub(crate) async fn delete(api: &Api, request: &pb::DeleteRuleRequest) -> Result<(), Error> {
    validation::not_empty("id", &request.id).or_refuse()?;
    validation::not_empty("flagKey", &request.flag_key).or_refuse()?;
    api.require_writable()?;
    api.store.delete_rule(request).await.or_refuse()
}
