//! From the schemas that types describe to what the API server should hold.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};

/// Longest description of an embedded Kubernetes type; some are whole manuals.
const MAX_DESCRIPTION: usize = 600;

/// Adapts every schema of a definition.
pub(crate) fn publish(definition: &mut CustomResourceDefinition) {
    for version in &mut definition.spec.versions {
        if let Some(schema) =
            version.schema.as_mut().and_then(|validation| validation.open_api_v3_schema.as_mut())
        {
            adapt(schema);
        }
    }
}

fn adapt(schema: &mut JSONSchemaProps) {
    // Optional fields are left out, not null. A null would be a value of its own to server-side apply, and hides
    // from rules whether the field is there. Free-form values may hold one.
    if schema.x_kubernetes_preserve_unknown_fields != Some(true) {
        schema.nullable = None;
    }
    if let Some(description) = &mut schema.description
        && description.len() > MAX_DESCRIPTION
    {
        let end = description.find(". ").map_or(0, |end| end + 1);
        description.truncate(end.min(MAX_DESCRIPTION));
    }
    let children = schema
        .properties
        .iter_mut()
        .flat_map(|properties| properties.values_mut())
        .chain(schema.all_of.iter_mut().flatten())
        .chain(schema.any_of.iter_mut().flatten())
        .chain(schema.one_of.iter_mut().flatten());
    children.for_each(adapt);
    match &mut schema.items {
        Some(JSONSchemaPropsOrArray::Schema(items)) => adapt(items),
        Some(JSONSchemaPropsOrArray::Schemas(all)) => all.iter_mut().for_each(adapt),
        None => {}
    }
    if let Some(JSONSchemaPropsOrBool::Schema(additional)) = &mut schema.additional_properties {
        adapt(additional);
    }
}

/// Any JSON value.
pub(crate) fn anything(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "x-kubernetes-preserve-unknown-fields": true, "nullable": true })
}

/// Any JSON object.
pub(crate) fn any_object(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true })
}
