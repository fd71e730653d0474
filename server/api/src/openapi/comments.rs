//! Comments of the `.proto` files, which describe what they stand before.

use std::collections::HashMap;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, MessageDescriptor, MethodDescriptor,
};

/// Comments by file and place in it.
pub(super) struct Comments {
    pool: DescriptorPool,
    texts: HashMap<(String, Vec<i32>), String>,
}

impl Comments {
    /// The comments of all files.
    pub(super) fn of(pool: &DescriptorPool) -> Self {
        let mut texts = HashMap::new();
        for file in pool.files() {
            let Some(information) = &file.file_descriptor_proto().source_code_info else { continue };
            for location in &information.location {
                if let Some(comment) = &location.leading_comments {
                    let text = comment.lines().map(str::trim).collect::<Vec<_>>().join("\n");
                    texts.insert((file.name().to_owned(), location.path.clone()), text.trim().to_owned());
                }
            }
        }
        Self { pool: pool.clone(), texts }
    }

    fn at(&self, file: &FileDescriptor, path: &[i32]) -> &str {
        self.texts.get(&(file.name().to_owned(), path.to_vec())).map_or("", String::as_str)
    }

    pub(super) fn of_message(&self, message: &MessageDescriptor) -> &str {
        self.at(&message.parent_file(), message.path())
    }

    pub(super) fn of_enum(&self, kind: &EnumDescriptor) -> &str {
        self.at(&kind.parent_file(), kind.path())
    }

    pub(super) fn of_field(&self, field: &FieldDescriptor) -> &str {
        self.at(&field.parent_file(), field.path())
    }

    pub(super) fn of_method(&self, method: &MethodDescriptor) -> &str {
        self.at(&method.parent_file(), method.path())
    }

    pub(super) fn of_service(&self, name: &str) -> &str {
        self.pool
            .get_service_by_name(name)
            .map_or("", |service| self.at(&service.parent_file(), service.path()))
    }

    /// The method of a service; letter case and underscores of its name make no difference.
    pub(super) fn method(&self, service: &str, call: &str) -> Option<MethodDescriptor> {
        let call = call.replace('_', "");
        self.pool
            .get_service_by_name(service)?
            .methods()
            .find(|method| method.name().eq_ignore_ascii_case(&call))
    }

    /// The message with this full name.
    pub(super) fn message(&self, name: &str) -> Option<MessageDescriptor> {
        self.pool.get_message_by_name(name)
    }
}
