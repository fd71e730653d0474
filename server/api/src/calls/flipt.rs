//! All calls of `flipt.Flipt`, with their REST paths (api spec, section 2.3).

use flipt_proto::flipt::{self as pb, flipt_server::Flipt};

use crate::{
    calls::calls, constraints, distributions, evaluate, flags, namespaces, rollouts, rules, segments,
    variants,
};

calls! {
    impl Flipt as "flipt.Flipt" below "api/v1/";

    evaluate(pb::EvaluationRequest) -> pb::EvaluationResponse = evaluate::single;
    batch_evaluate(pb::BatchEvaluationRequest) -> pb::BatchEvaluationResponse = evaluate::batch;

    get_namespace(pb::GetNamespaceRequest) -> pb::Namespace = namespaces::get,
        query GET "namespaces/{key}";
    list_namespaces(pb::ListNamespaceRequest) -> pb::NamespaceList = namespaces::list,
        query GET "namespaces";
    create_namespace(pb::CreateNamespaceRequest) -> pb::Namespace = namespaces::create,
        body POST "namespaces";
    update_namespace(pb::UpdateNamespaceRequest) -> pb::Namespace = namespaces::update,
        body PUT "namespaces/{key}";
    delete_namespace(pb::DeleteNamespaceRequest) -> () = namespaces::delete,
        query DELETE "namespaces/{key}";

    get_flag(pb::GetFlagRequest) -> pb::Flag = flags::get,
        query GET "namespaces/{namespace_key}/flags/{key}" "flags/{key}";
    list_flags(pb::ListFlagRequest) -> pb::FlagList = flags::list,
        query GET "namespaces/{namespace_key}/flags" "flags";
    create_flag(pb::CreateFlagRequest) -> pb::Flag = flags::create,
        body POST "namespaces/{namespace_key}/flags" "flags";
    update_flag(pb::UpdateFlagRequest) -> pb::Flag = flags::update,
        body PUT "namespaces/{namespace_key}/flags/{key}" "flags/{key}";
    delete_flag(pb::DeleteFlagRequest) -> () = flags::delete,
        query DELETE "namespaces/{namespace_key}/flags/{key}" "flags/{key}";

    create_variant(pb::CreateVariantRequest) -> pb::Variant = variants::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/variants" "flags/{flag_key}/variants";
    update_variant(pb::UpdateVariantRequest) -> pb::Variant = variants::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/variants/{id}" "flags/{flag_key}/variants/{id}";
    delete_variant(pb::DeleteVariantRequest) -> () = variants::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/variants/{id}" "flags/{flag_key}/variants/{id}";

    get_rule(pb::GetRuleRequest) -> pb::Rule = rules::get,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rules/{id}" "flags/{flag_key}/rules/{id}";
    list_rules(pb::ListRuleRequest) -> pb::RuleList = rules::list,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rules" "flags/{flag_key}/rules";
    create_rule(pb::CreateRuleRequest) -> pb::Rule = rules::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/rules" "flags/{flag_key}/rules";
    update_rule(pb::UpdateRuleRequest) -> pb::Rule = rules::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rules/{id}" "flags/{flag_key}/rules/{id}";
    order_rules(pb::OrderRulesRequest) -> () = rules::order,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rules/order" "flags/{flag_key}/rules/order";
    delete_rule(pb::DeleteRuleRequest) -> () = rules::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/rules/{id}" "flags/{flag_key}/rules/{id}";

    create_distribution(pb::CreateDistributionRequest) -> pb::Distribution = distributions::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions"
            "flags/{flag_key}/rules/{rule_id}/distributions";
    update_distribution(pb::UpdateDistributionRequest) -> pb::Distribution = distributions::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions/{id}"
            "flags/{flag_key}/rules/{rule_id}/distributions/{id}";
    delete_distribution(pb::DeleteDistributionRequest) -> () = distributions::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions/{id}"
            "flags/{flag_key}/rules/{rule_id}/distributions/{id}";

    get_rollout(pb::GetRolloutRequest) -> pb::Rollout = rollouts::get,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rollouts/{id}";
    list_rollouts(pb::ListRolloutRequest) -> pb::RolloutList = rollouts::list,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rollouts";
    create_rollout(pb::CreateRolloutRequest) -> pb::Rollout = rollouts::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/rollouts";
    update_rollout(pb::UpdateRolloutRequest) -> pb::Rollout = rollouts::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rollouts/{id}";
    order_rollouts(pb::OrderRolloutsRequest) -> () = rollouts::order,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rollouts/order";
    delete_rollout(pb::DeleteRolloutRequest) -> () = rollouts::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/rollouts/{id}";

    get_segment(pb::GetSegmentRequest) -> pb::Segment = segments::get,
        query GET "namespaces/{namespace_key}/segments/{key}" "segments/{key}";
    list_segments(pb::ListSegmentRequest) -> pb::SegmentList = segments::list,
        query GET "namespaces/{namespace_key}/segments" "segments";
    create_segment(pb::CreateSegmentRequest) -> pb::Segment = segments::create,
        body POST "namespaces/{namespace_key}/segments" "segments";
    update_segment(pb::UpdateSegmentRequest) -> pb::Segment = segments::update,
        body PUT "namespaces/{namespace_key}/segments/{key}" "segments/{key}";
    delete_segment(pb::DeleteSegmentRequest) -> () = segments::delete,
        query DELETE "namespaces/{namespace_key}/segments/{key}" "segments/{key}";

    create_constraint(pb::CreateConstraintRequest) -> pb::Constraint = constraints::create,
        body POST "namespaces/{namespace_key}/segments/{segment_key}/constraints"
            "segments/{segment_key}/constraints";
    update_constraint(pb::UpdateConstraintRequest) -> pb::Constraint = constraints::update,
        body PUT "namespaces/{namespace_key}/segments/{segment_key}/constraints/{id}"
            "segments/{segment_key}/constraints/{id}";
    delete_constraint(pb::DeleteConstraintRequest) -> () = constraints::delete,
        query DELETE "namespaces/{namespace_key}/segments/{segment_key}/constraints/{id}"
            "segments/{segment_key}/constraints/{id}";
}
