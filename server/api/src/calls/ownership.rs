//! All calls of `flipt.ownership.OwnershipService`, with their REST paths (kubernetes design, section 4.3).

use flipt_proto::ownership::{self as pb, ownership_service_server::OwnershipService};

use crate::{calls::calls, ownership};

calls! {
    impl OwnershipService as "flipt.ownership.OwnershipService" below "ownership/v1/environments/{environment_key}";

    apply(pb::ApplyRequest) -> pb::ApplyResponse = ownership::apply,
        body POST "/apply";
    release(pb::ReleaseRequest) -> pb::ReleaseResponse = ownership::release,
        body POST "/release";
    list_managed(pb::ListManagedRequest) -> pb::ListManagedResponse = ownership::list_managed,
        query GET "/managed";
    changes(pb::ChangesRequest) -> pb::ChangesResponse = ownership::changes,
        query GET "/changes";
    r#override(pb::OverrideRequest) -> pb::Managed = ownership::begin_override(caller),
        body PUT "/namespaces/{namespace_key}/flags/{key}/override";
    end_override(pb::EndOverrideRequest) -> pb::Managed = ownership::end_override(caller),
        query DELETE "/namespaces/{namespace_key}/flags/{key}/override";
}
