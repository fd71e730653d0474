//! The list of all calls of `flipt.Flipt`: handler, gRPC method and REST paths (api spec, section 2.3).

use std::time::Instant;

use flipt_proto::flipt::{self as pb, flipt_server::Flipt};
use http::Method;
use tonic::{Request, Response, Status};

use crate::{
    Api, constraints, distributions, evaluate, flags, log_call, namespaces,
    rest::{Binding, Bindings, Invoke},
    rollouts, rules, segments, transcode, variants,
};

/// Writes both transports of every call from one list.
///
/// `body` calls take their message from the JSON body, `query` calls from the query string.
macro_rules! calls {
    ($(
        $method:ident($request:ident) -> $response:ty = $module:ident::$handler:ident
        $(, $source:ident $verb:ident $($path:literal)+ )? ;
    )+) => {
        #[tonic::async_trait]
        impl Flipt for Api {
            $(
                async fn $method(
                    &self,
                    request: Request<pb::$request>,
                ) -> Result<Response<$response>, Status> {
                    let start = Instant::now();
                    let result = $module::$handler(self, request.get_ref()).await;
                    log_call(stringify!($method), start, &result);
                    Ok(Response::new(result.map_err(Status::from)?))
                }
            )+
        }

        /// The REST bindings of every call that has some.
        pub(crate) fn bindings() -> Bindings {
            let mut bindings = Vec::new();
            $($(
                let invoke: Invoke = |api, body, parameters| {
                    Box::pin(async move {
                        let start = Instant::now();
                        let result = async {
                            let request: pb::$request = calls!(@read $source body parameters);
                            $module::$handler(api, &request).await
                        }
                        .await;
                        log_call(stringify!($method), start, &result);
                        transcode::to_json(&result?)
                    })
                };
                for path in [$($path),+] {
                    bindings.push(Binding {
                        method: Method::$verb,
                        path,
                        invoke,
                        answer: <$response as prost::Name>::full_name,
                    });
                }
            )?)+
            Bindings::new(bindings)
        }
    };
    (@read body $body:ident $parameters:ident) => { transcode::from_body($body, $parameters)? };
    (@read query $body:ident $parameters:ident) => {{
        let _ = $body;
        transcode::from_query($parameters)?
    }};
}

calls! {
    evaluate(EvaluationRequest) -> pb::EvaluationResponse = evaluate::single;
    batch_evaluate(BatchEvaluationRequest) -> pb::BatchEvaluationResponse = evaluate::batch;

    get_namespace(GetNamespaceRequest) -> pb::Namespace = namespaces::get,
        query GET "namespaces/{key}";
    list_namespaces(ListNamespaceRequest) -> pb::NamespaceList = namespaces::list,
        query GET "namespaces";
    create_namespace(CreateNamespaceRequest) -> pb::Namespace = namespaces::create,
        body POST "namespaces";
    update_namespace(UpdateNamespaceRequest) -> pb::Namespace = namespaces::update,
        body PUT "namespaces/{key}";
    delete_namespace(DeleteNamespaceRequest) -> () = namespaces::delete,
        query DELETE "namespaces/{key}";

    get_flag(GetFlagRequest) -> pb::Flag = flags::get,
        query GET "namespaces/{namespace_key}/flags/{key}" "flags/{key}";
    list_flags(ListFlagRequest) -> pb::FlagList = flags::list,
        query GET "namespaces/{namespace_key}/flags" "flags";
    create_flag(CreateFlagRequest) -> pb::Flag = flags::create,
        body POST "namespaces/{namespace_key}/flags" "flags";
    update_flag(UpdateFlagRequest) -> pb::Flag = flags::update,
        body PUT "namespaces/{namespace_key}/flags/{key}" "flags/{key}";
    delete_flag(DeleteFlagRequest) -> () = flags::delete,
        query DELETE "namespaces/{namespace_key}/flags/{key}" "flags/{key}";

    create_variant(CreateVariantRequest) -> pb::Variant = variants::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/variants" "flags/{flag_key}/variants";
    update_variant(UpdateVariantRequest) -> pb::Variant = variants::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/variants/{id}" "flags/{flag_key}/variants/{id}";
    delete_variant(DeleteVariantRequest) -> () = variants::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/variants/{id}" "flags/{flag_key}/variants/{id}";

    get_rule(GetRuleRequest) -> pb::Rule = rules::get,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rules/{id}" "flags/{flag_key}/rules/{id}";
    list_rules(ListRuleRequest) -> pb::RuleList = rules::list,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rules" "flags/{flag_key}/rules";
    create_rule(CreateRuleRequest) -> pb::Rule = rules::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/rules" "flags/{flag_key}/rules";
    update_rule(UpdateRuleRequest) -> pb::Rule = rules::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rules/{id}" "flags/{flag_key}/rules/{id}";
    order_rules(OrderRulesRequest) -> () = rules::order,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rules/order" "flags/{flag_key}/rules/order";
    delete_rule(DeleteRuleRequest) -> () = rules::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/rules/{id}" "flags/{flag_key}/rules/{id}";

    create_distribution(CreateDistributionRequest) -> pb::Distribution = distributions::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions"
            "flags/{flag_key}/rules/{rule_id}/distributions";
    update_distribution(UpdateDistributionRequest) -> pb::Distribution = distributions::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions/{id}"
            "flags/{flag_key}/rules/{rule_id}/distributions/{id}";
    delete_distribution(DeleteDistributionRequest) -> () = distributions::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions/{id}"
            "flags/{flag_key}/rules/{rule_id}/distributions/{id}";

    get_rollout(GetRolloutRequest) -> pb::Rollout = rollouts::get,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rollouts/{id}";
    list_rollouts(ListRolloutRequest) -> pb::RolloutList = rollouts::list,
        query GET "namespaces/{namespace_key}/flags/{flag_key}/rollouts";
    create_rollout(CreateRolloutRequest) -> pb::Rollout = rollouts::create,
        body POST "namespaces/{namespace_key}/flags/{flag_key}/rollouts";
    update_rollout(UpdateRolloutRequest) -> pb::Rollout = rollouts::update,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rollouts/{id}";
    order_rollouts(OrderRolloutsRequest) -> () = rollouts::order,
        body PUT "namespaces/{namespace_key}/flags/{flag_key}/rollouts/order";
    delete_rollout(DeleteRolloutRequest) -> () = rollouts::delete,
        query DELETE "namespaces/{namespace_key}/flags/{flag_key}/rollouts/{id}";

    get_segment(GetSegmentRequest) -> pb::Segment = segments::get,
        query GET "namespaces/{namespace_key}/segments/{key}" "segments/{key}";
    list_segments(ListSegmentRequest) -> pb::SegmentList = segments::list,
        query GET "namespaces/{namespace_key}/segments" "segments";
    create_segment(CreateSegmentRequest) -> pb::Segment = segments::create,
        body POST "namespaces/{namespace_key}/segments" "segments";
    update_segment(UpdateSegmentRequest) -> pb::Segment = segments::update,
        body PUT "namespaces/{namespace_key}/segments/{key}" "segments/{key}";
    delete_segment(DeleteSegmentRequest) -> () = segments::delete,
        query DELETE "namespaces/{namespace_key}/segments/{key}" "segments/{key}";

    create_constraint(CreateConstraintRequest) -> pb::Constraint = constraints::create,
        body POST "namespaces/{namespace_key}/segments/{segment_key}/constraints"
            "segments/{segment_key}/constraints";
    update_constraint(UpdateConstraintRequest) -> pb::Constraint = constraints::update,
        body PUT "namespaces/{namespace_key}/segments/{segment_key}/constraints/{id}"
            "segments/{segment_key}/constraints/{id}";
    delete_constraint(DeleteConstraintRequest) -> () = constraints::delete,
        query DELETE "namespaces/{namespace_key}/segments/{segment_key}/constraints/{id}"
            "segments/{segment_key}/constraints/{id}";
}
