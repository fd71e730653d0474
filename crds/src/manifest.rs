//! The definitions of all kinds, as they are installed.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::CustomResourceExt;

use crate::{
    ClusterFliptSidecarProfile, FliptFlag, FliptNamespace, FliptSegment, FliptServer, FliptSidecarProfile,
    FliptSnapshotExport, schema,
};

/// The definition of one kind.
#[derive(Debug, Clone)]
pub struct Manifest {
    /// Name of its file: the plural name of the kind.
    pub file_name: String,
    /// What is installed.
    pub definition: CustomResourceDefinition,
}

impl Manifest {
    fn of<K: CustomResourceExt>() -> Self {
        let mut definition = K::crd();
        schema::publish(&mut definition);
        Self { file_name: format!("{}.yaml", definition.spec.names.plural), definition }
    }

    /// The definition as a YAML document.
    ///
    /// # Errors
    /// The definition cannot be written as YAML, which no definition of ours is.
    pub fn to_yaml(&self) -> Result<String, yaml_serde::Error> {
        yaml_serde::to_string(&self.definition)
    }
}

/// The definitions of all kinds, in the order in which they are best read.
///
/// They differ from `CustomResourceExt::crd` of the kinds: optional fields are not nullable, descriptions of
/// embedded Kubernetes types are cut. Install these.
#[must_use]
pub fn manifests() -> Vec<Manifest> {
    vec![
        Manifest::of::<FliptServer>(),
        Manifest::of::<FliptNamespace>(),
        Manifest::of::<FliptFlag>(),
        Manifest::of::<FliptSegment>(),
        Manifest::of::<FliptSnapshotExport>(),
        Manifest::of::<FliptSidecarProfile>(),
        Manifest::of::<ClusterFliptSidecarProfile>(),
    ]
}
