//! All calls of `environments.EnvironmentsService`, with their REST paths (v2 spec, section 4.1).

use flipt_proto::environments::{self as pb, environments_service_server::EnvironmentsService};

use crate::{
    calls::calls,
    v2::{environments, namespaces, resources},
};

calls! {
    impl EnvironmentsService as "environments.EnvironmentsService" below "api/v2/environments";

    list_environments(pb::ListEnvironmentsRequest) -> pb::ListEnvironmentsResponse = environments::list,
        query GET "";
    branch_environment(pb::BranchEnvironmentRequest) -> pb::Environment = environments::branch,
        body POST "/{environment_key}/branches";
    delete_branch_environment(pb::DeleteBranchEnvironmentRequest) -> () = environments::delete_branch,
        query DELETE "/{environment_key}/branches/{key}";
    list_environment_branches(pb::ListEnvironmentBranchesRequest) -> pb::ListEnvironmentBranchesResponse
        = environments::list_branches,
        query GET "/{environment_key}/branches";
    list_branched_environment_changes(pb::ListBranchedEnvironmentChangesRequest)
        -> pb::ListBranchedEnvironmentChangesResponse = environments::list_changes,
        query GET "/{environment_key}/branches/{key}/changes";
    propose_environment(pb::ProposeEnvironmentRequest) -> pb::EnvironmentProposalDetails
        = environments::propose,
        body POST "/{environment_key}/branches/{key}";

    get_namespace(pb::GetNamespaceRequest) -> pb::NamespaceResponse = namespaces::get,
        query GET "/{environment_key}/namespaces/{key}";
    list_namespaces(pb::ListNamespacesRequest) -> pb::ListNamespacesResponse = namespaces::list,
        query GET "/{environment_key}/namespaces";
    create_namespace(pb::UpdateNamespaceRequest) -> pb::NamespaceResponse = namespaces::create,
        body POST "/{environment_key}/namespaces";
    update_namespace(pb::UpdateNamespaceRequest) -> pb::NamespaceResponse = namespaces::update,
        body PUT "/{environment_key}/namespaces";
    delete_namespace(pb::DeleteNamespaceRequest) -> pb::DeleteNamespaceResponse = namespaces::delete,
        query DELETE "/{environment_key}/namespaces/{key}";

    get_resource(pb::GetResourceRequest) -> pb::ResourceResponse = resources::get,
        query GET "/{environment_key}/namespaces/{namespace_key}/resources/{type_url}/{key}";
    list_resources(pb::ListResourcesRequest) -> pb::ListResourcesResponse = resources::list,
        query GET "/{environment_key}/namespaces/{namespace_key}/resources/{type_url}";
    create_resource(pb::UpdateResourceRequest) -> pb::ResourceResponse = resources::create,
        body POST "/{environment_key}/namespaces/{namespace_key}/resources";
    update_resource(pb::UpdateResourceRequest) -> pb::ResourceResponse = resources::update,
        body PUT "/{environment_key}/namespaces/{namespace_key}/resources";
    delete_resource(pb::DeleteResourceRequest) -> pb::DeleteResourceResponse = resources::delete,
        query DELETE "/{environment_key}/namespaces/{namespace_key}/resources/{type_url}/{key}";
}
