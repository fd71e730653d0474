//! Namespaces.

use flipt_crds::{FliptNamespace, GrantedKind, Management, ResourceStatus, namespace_of};
use flipt_model::{
    ownership::{Resource, ResourceKind},
    resource::InvalidResource,
};
use kube::ResourceExt as _;

use super::Managed;
use crate::feed::Key;

impl Managed for FliptNamespace {
    const KIND: &'static str = "FliptNamespace";
    const CONTENT: ResourceKind = ResourceKind::Namespace;
    const GRANT: GrantedKind = GrantedKind::FliptNamespace;

    fn management(&self) -> &Management {
        &self.spec.management
    }

    fn flipt_namespace(&self) -> String {
        self.spec.management.key.clone().unwrap_or_else(|| self.name_any())
    }

    fn content(&self) -> Result<Resource, InvalidResource> {
        namespace_of(self).map(Resource::Namespace)
    }

    fn needs(&self) -> Vec<Key> {
        Vec::new()
    }

    fn status(&self) -> Option<&ResourceStatus> {
        self.status.as_ref()
    }
}
