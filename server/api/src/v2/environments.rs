//! Environments and their branches. Branches are git branches: the databases here have none.

use flipt_proto::environments as pb;
use flipt_serving::{Code, Error};

use crate::Api;

pub(crate) async fn list(
    api: &Api,
    _request: &pb::ListEnvironmentsRequest,
) -> Result<pb::ListEnvironmentsResponse, Error> {
    let default = api.environments.default_key();
    let environments = api
        .environments
        .iter()
        .map(|(key, _)| pb::Environment {
            key: key.to_owned(),
            name: key.to_owned(),
            default: Some(key == default),
            configuration: None,
        })
        .collect();
    Ok(pb::ListEnvironmentsResponse { environments })
}

pub(crate) async fn list_branches(
    api: &Api,
    request: &pb::ListEnvironmentBranchesRequest,
) -> Result<pb::ListEnvironmentBranchesResponse, Error> {
    api.environment(&request.environment_key)?;
    Ok(pb::ListEnvironmentBranchesResponse::default())
}

pub(crate) async fn branch(
    api: &Api,
    request: &pb::BranchEnvironmentRequest,
) -> Result<pb::Environment, Error> {
    without_branches(api, &request.environment_key)
}

pub(crate) async fn delete_branch(
    api: &Api,
    request: &pb::DeleteBranchEnvironmentRequest,
) -> Result<(), Error> {
    without_branches(api, &request.environment_key)
}

pub(crate) async fn list_changes(
    api: &Api,
    request: &pb::ListBranchedEnvironmentChangesRequest,
) -> Result<pb::ListBranchedEnvironmentChangesResponse, Error> {
    without_branches(api, &request.environment_key)
}

pub(crate) async fn propose(
    api: &Api,
    request: &pb::ProposeEnvironmentRequest,
) -> Result<pb::EnvironmentProposalDetails, Error> {
    without_branches(api, &request.environment_key)
}

fn without_branches<T>(api: &Api, environment: &str) -> Result<T, Error> {
    api.environment(environment)?;
    Err(Error::new(Code::Unimplemented, "branches need git storage, which this environment does not have"))
}
