//! The standard gRPC health service, in the reference's words.

use tonic::{Request, Response, Status};
use tonic_health::{
    pb::{
        HealthCheckRequest, HealthCheckResponse,
        health_server::{Health, HealthServer},
    },
    server::{HealthReporter, HealthService},
};

/// Health whose failures read as the api spec, section 1.10, has them.
pub(crate) struct ServerHealth(HealthService);

/// The service, with the reporter that feeds it.
pub(crate) fn service() -> (HealthReporter, HealthServer<ServerHealth>) {
    let reporter = HealthReporter::new();
    let service = ServerHealth(HealthService::from_health_reporter(reporter.clone()));
    (reporter, HealthServer::new(service))
}

fn reworded(status: Status) -> Status {
    match status.code() {
        tonic::Code::NotFound => Status::not_found("unknown service"),
        _ => status,
    }
}

#[tonic::async_trait]
impl Health for ServerHealth {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        self.0.check(request).await.map_err(reworded)
    }

    type WatchStream = <HealthService as Health>::WatchStream;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        self.0.watch(request).await.map_err(reworded)
    }
}
