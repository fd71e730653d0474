//! Segments.

use flipt_crds::{FliptSegment, GrantedKind, Management, ResourceStatus, segment_of};
use flipt_model::{
    ownership::{Resource, ResourceKind},
    resource::InvalidResource,
};

use super::Managed;
use crate::feed::Key;

impl Managed for FliptSegment {
    const KIND: &'static str = "FliptSegment";
    const CONTENT: ResourceKind = ResourceKind::Segment;
    const GRANT: GrantedKind = GrantedKind::FliptSegment;

    fn management(&self) -> &Management {
        &self.spec.management
    }

    fn flipt_namespace(&self) -> String {
        self.spec.flipt_namespace.clone()
    }

    fn content(&self) -> Result<Resource, InvalidResource> {
        segment_of(self).map(Resource::Segment)
    }

    fn needs(&self) -> Vec<Key> {
        vec![Key::of_namespace(&self.spec.flipt_namespace)]
    }

    fn status(&self) -> Option<&ResourceStatus> {
        self.status.as_ref()
    }
}
