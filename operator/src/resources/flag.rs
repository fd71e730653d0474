//! Flags.

use std::collections::BTreeSet;

use flipt_crds::{FliptFlag, GrantedKind, Management, ResourceStatus, flag_of};
use flipt_model::{
    ownership::{Resource, ResourceKind},
    resource::InvalidResource,
};

use super::Managed;
use crate::feed::Key;

impl Managed for FliptFlag {
    const KIND: &'static str = "FliptFlag";
    const CONTENT: ResourceKind = ResourceKind::Flag;
    const GRANT: GrantedKind = GrantedKind::FliptFlag;

    fn management(&self) -> &Management {
        &self.spec.management
    }

    fn flipt_namespace(&self) -> String {
        self.spec.flipt_namespace.clone()
    }

    fn content(&self) -> Result<Resource, InvalidResource> {
        flag_of(self).map(Resource::Flag)
    }

    fn needs(&self) -> Vec<Key> {
        let rules = self.spec.rules.iter().flat_map(|rule| &rule.segments);
        let rollouts = self.spec.rollouts.iter().filter_map(|rollout| rollout.segment.as_ref());
        let segments: BTreeSet<&String> = rules.chain(rollouts.flat_map(|segment| &segment.keys)).collect();
        let namespace = &self.spec.flipt_namespace;
        let mut needs = vec![Key::of_namespace(namespace)];
        needs.extend(segments.into_iter().map(|segment| Key::of_segment(namespace, segment)));
        needs
    }

    fn status(&self) -> Option<&ResourceStatus> {
        self.status.as_ref()
    }
}
