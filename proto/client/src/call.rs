//! The calls of the API that tools make: gRPC method and REST path of each (api spec, sections 2.3 and 6.5).

use flipt_proto::{evaluation, flipt as pb, ownership};
use prost::{Message, Name};

/// An HTTP verb, and with it where the fields go that the path does not name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verb {
    /// Fields go into the query.
    Get,
    /// Fields go into the query.
    Delete,
    /// Fields go into the body.
    Post,
    /// Fields go into the body.
    Put,
}

/// A call of the API.
pub trait Call {
    /// What is asked.
    type Request: Message + Name + Default + Clone + 'static;
    /// What is answered.
    type Answer: Message + Name + Default + 'static;
    /// Name of the call.
    const NAME: &'static str;
    /// Path of the gRPC method.
    const METHOD: &'static str;
    /// Verb of the REST binding.
    const VERB: Verb;
    /// Path of the REST binding; `{name}` stands for a field.
    const PATH: &'static str;
}

macro_rules! calls {
    (
        $service:literal below $prefix:literal;
        $($(#[$doc:meta])+ $name:ident($request:ty) -> $answer:ty = $verb:ident $path:literal;)+
    ) => {
        $(
            $(#[$doc])+
            #[derive(Debug, Clone, Copy)]
            pub enum $name {}

            impl Call for $name {
                type Request = $request;
                type Answer = $answer;
                const NAME: &'static str = stringify!($name);
                const METHOD: &'static str = concat!("/", $service, "/", stringify!($name));
                const VERB: Verb = Verb::$verb;
                const PATH: &'static str = concat!($prefix, $path);
            }
        )+
    };
}

calls! {
    "flipt.Flipt" below "/api/v1/";

    /// One namespace.
    GetNamespace(pb::GetNamespaceRequest) -> pb::Namespace = Get "namespaces/{key}";
    /// A page of namespaces.
    ListNamespaces(pb::ListNamespaceRequest) -> pb::NamespaceList = Get "namespaces";
    /// Makes a namespace.
    CreateNamespace(pb::CreateNamespaceRequest) -> pb::Namespace = Post "namespaces";
    /// Removes a namespace; with `force` also one that is not empty.
    DeleteNamespace(pb::DeleteNamespaceRequest) -> () = Delete "namespaces/{key}";
    /// One flag.
    GetFlag(pb::GetFlagRequest) -> pb::Flag = Get "namespaces/{namespace_key}/flags/{key}";
    /// A page of flags.
    ListFlags(pb::ListFlagRequest) -> pb::FlagList = Get "namespaces/{namespace_key}/flags";
    /// Makes a flag.
    CreateFlag(pb::CreateFlagRequest) -> pb::Flag = Post "namespaces/{namespace_key}/flags";
    /// Changes a flag; absent metadata stay as they are.
    UpdateFlag(pb::UpdateFlagRequest) -> pb::Flag = Put "namespaces/{namespace_key}/flags/{key}";
    /// Removes a flag with all that belongs to it.
    DeleteFlag(pb::DeleteFlagRequest) -> () = Delete "namespaces/{namespace_key}/flags/{key}";
    /// Makes a variant of a flag.
    CreateVariant(pb::CreateVariantRequest) -> pb::Variant
        = Post "namespaces/{namespace_key}/flags/{flag_key}/variants";
    /// The rules of a flag, by rank.
    ListRules(pb::ListRuleRequest) -> pb::RuleList
        = Get "namespaces/{namespace_key}/flags/{flag_key}/rules";
    /// Makes a rule of a flag.
    CreateRule(pb::CreateRuleRequest) -> pb::Rule
        = Post "namespaces/{namespace_key}/flags/{flag_key}/rules";
    /// Makes a distribution of a rule.
    CreateDistribution(pb::CreateDistributionRequest) -> pb::Distribution
        = Post "namespaces/{namespace_key}/flags/{flag_key}/rules/{rule_id}/distributions";
    /// The rollouts of a flag, by rank.
    ListRollouts(pb::ListRolloutRequest) -> pb::RolloutList
        = Get "namespaces/{namespace_key}/flags/{flag_key}/rollouts";
    /// Makes a rollout of a flag.
    CreateRollout(pb::CreateRolloutRequest) -> pb::Rollout
        = Post "namespaces/{namespace_key}/flags/{flag_key}/rollouts";
    /// A page of segments.
    ListSegments(pb::ListSegmentRequest) -> pb::SegmentList = Get "namespaces/{namespace_key}/segments";
    /// Makes a segment.
    CreateSegment(pb::CreateSegmentRequest) -> pb::Segment = Post "namespaces/{namespace_key}/segments";
    /// Removes a segment that no rule uses.
    DeleteSegment(pb::DeleteSegmentRequest) -> () = Delete "namespaces/{namespace_key}/segments/{key}";
    /// Makes a constraint of a segment.
    CreateConstraint(pb::CreateConstraintRequest) -> pb::Constraint
        = Post "namespaces/{namespace_key}/segments/{segment_key}/constraints";
}

calls! {
    "flipt.evaluation.EvaluationService" below "/evaluate/v1/";

    /// Evaluates a boolean flag.
    Boolean(evaluation::EvaluationRequest) -> evaluation::BooleanEvaluationResponse = Post "boolean";
    /// Evaluates a variant flag.
    Variant(evaluation::EvaluationRequest) -> evaluation::VariantEvaluationResponse = Post "variant";
}

calls! {
    "flipt.ownership.OwnershipService" below "/ownership/v1/environments/{environment_key}/";

    /// Makes a resource what its owner wants it to be, and claims it.
    Apply(ownership::ApplyRequest) -> ownership::ApplyResponse = Post "apply";
    /// Gives up a claim, and deletes the resource if asked to.
    Release(ownership::ReleaseRequest) -> ownership::ReleaseResponse = Post "release";
    /// What the objects of a cluster own.
    ListManaged(ownership::ListManagedRequest) -> ownership::ListManagedResponse = Get "managed";
    /// Waits until something has changed, and tells what.
    Changes(ownership::ChangesRequest) -> ownership::ChangesResponse = Get "changes";
    /// Switches an owned flag in an emergency, for a limited time.
    Override(ownership::OverrideRequest) -> ownership::Managed
        = Put "namespaces/{namespace_key}/flags/{key}/override";
    /// Ends an override before its time.
    EndOverride(ownership::EndOverrideRequest) -> ownership::Managed
        = Delete "namespaces/{namespace_key}/flags/{key}/override";
}
