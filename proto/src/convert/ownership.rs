//! Ownership: from the model to messages and back.

use flipt_model::ownership::{EditableField, Owner, ResourceKind};

use crate::flipt::ownership as pb;

impl From<Owner> for pb::Owner {
    fn from(owner: Owner) -> Self {
        Self { cluster: owner.cluster, namespace: owner.namespace, name: owner.name, uid: owner.uid }
    }
}

impl From<pb::Owner> for Owner {
    fn from(message: pb::Owner) -> Self {
        Self { cluster: message.cluster, namespace: message.namespace, name: message.name, uid: message.uid }
    }
}

impl From<EditableField> for pb::EditableField {
    fn from(field: EditableField) -> Self {
        match field {
            EditableField::Enabled => Self::Enabled,
            EditableField::Description => Self::Description,
            EditableField::Rules => Self::Rules,
            EditableField::Rollouts => Self::Rollouts,
            EditableField::Metadata => Self::Metadata,
        }
    }
}

impl pb::EditableField {
    /// The field that is meant; `None` if none was named.
    #[must_use]
    pub const fn to_model(self) -> Option<EditableField> {
        match self {
            Self::Enabled => Some(EditableField::Enabled),
            Self::Description => Some(EditableField::Description),
            Self::Rules => Some(EditableField::Rules),
            Self::Rollouts => Some(EditableField::Rollouts),
            Self::Metadata => Some(EditableField::Metadata),
            Self::Unspecified => None,
        }
    }
}

impl From<ResourceKind> for pb::ResourceKind {
    fn from(kind: ResourceKind) -> Self {
        match kind {
            ResourceKind::Namespace => Self::Namespace,
            ResourceKind::Flag => Self::Flag,
            ResourceKind::Segment => Self::Segment,
        }
    }
}

impl pb::ResourceKind {
    /// The kind that is meant; `None` if none was named.
    #[must_use]
    pub const fn to_model(self) -> Option<ResourceKind> {
        match self {
            Self::Namespace => Some(ResourceKind::Namespace),
            Self::Flag => Some(ResourceKind::Flag),
            Self::Segment => Some(ResourceKind::Segment),
            Self::Unspecified => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_comes_back_from_its_way_over_the_wire() {
        for field in EditableField::ALL {
            assert_eq!(pb::EditableField::from(field).to_model(), Some(field));
        }
        for kind in [ResourceKind::Namespace, ResourceKind::Flag, ResourceKind::Segment] {
            assert_eq!(pb::ResourceKind::from(kind).to_model(), Some(kind));
        }
        assert_eq!(pb::EditableField::Unspecified.to_model(), None);
        assert_eq!(pb::ResourceKind::Unspecified.to_model(), None);
    }
}
