//! What the server says about itself (api spec, sections 11.3 and 11.4).

use flipt_proto::{google::api::HttpBody, meta::metadata_service_server::MetadataService};
use hyper::body::Bytes;
use tonic::{Request, Response, Status};

use crate::Api;

/// Full name of the service.
pub(crate) const SERVICE: &str = "flipt.meta.MetadataService";

/// Documents about the server, as JSON texts. They do not change while it runs.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Version, platform, and what user interfaces need to know.
    pub info: Bytes,
    /// The effective configuration without secrets.
    pub configuration: Bytes,
}

fn body(document: &Bytes) -> Response<HttpBody> {
    Response::new(HttpBody {
        content_type: "application/json".to_owned(),
        data: document.to_vec(),
        extensions: Vec::new(),
    })
}

#[tonic::async_trait]
impl MetadataService for Api {
    async fn get_configuration(&self, _: Request<()>) -> Result<Response<HttpBody>, Status> {
        Ok(body(&self.about.configuration))
    }

    async fn get_info(&self, _: Request<()>) -> Result<Response<HttpBody>, Status> {
        Ok(body(&self.about.info))
    }
}
