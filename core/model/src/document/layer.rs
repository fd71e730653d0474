//! From feature files to the layers of a bundle: each document by itself, as compact JSON (documents spec,
//! section 12.2).

use crate::document::features::{LoadError, feature_encoding};
use crate::document::output::Output;
use crate::document::raw::{
    self, RawConstraint, RawDistribution, RawDocument, RawFlag, RawRollout, RawRolloutSegment, RawRule,
    RawSegment, RawSegments, RawVariant,
};
use crate::document::write::{Fields, metadata, native, texts};
use crate::document::{decode_text, json_reader, json_writer, read_nodes, schema};
use crate::{DEFAULT_NAMESPACE, namespace_or_default};

/// One document of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layer {
    /// Key of the namespace it is for.
    pub namespace: String,
    /// The document as compact JSON, without a line end.
    pub json: String,
}

/// The layers of feature files, in their order. Each document is checked against the schema; whether what it
/// refers to exists is not checked, because it may be in another bundle.
///
/// # Errors
/// The first file that cannot be read, or that the schema refuses.
pub fn feature_layers(files: &[(impl AsRef<str>, impl AsRef<[u8]>)]) -> Result<Vec<Layer>, LoadError> {
    let mut layers = Vec::new();
    for (name, text) in files {
        let name = name.as_ref();
        let encoding = feature_encoding(name)?;
        let failed = |source| LoadError::Document { file: name.to_owned(), source };
        let text = decode_text(text.as_ref(), encoding).map_err(failed)?;
        for (index, node) in read_nodes(&text, encoding).enumerate() {
            let node = node.map_err(failed)?;
            schema::one_object(index, &node, encoding).map_err(failed)?;
            let base = name.rsplit('/').next().unwrap_or(name);
            let issues = schema::check(&node, encoding, base).map_err(failed)?;
            if !issues.is_empty() {
                return Err(LoadError::Invalid { file: name.to_owned(), issues });
            }
            layers.push(layer(raw::document(&node, encoding).map_err(failed)?));
        }
    }
    Ok(layers)
}

fn layer(raw: RawDocument) -> Layer {
    let namespace = namespace_or_default(raw.namespace.as_ref().map_or("", |named| &named.key)).to_owned();
    let about = match &raw.namespace {
        None => Fields::default().text("key", DEFAULT_NAMESPACE).text("name", "Default").record(),
        Some(named) if named.name == named.key && named.description.is_empty() => {
            Output::Text(named.key.clone())
        }
        Some(named) => Fields::default()
            .text("key", &named.key)
            .text("name", &named.name)
            .text("description", &named.description)
            .record(),
    };
    let document = Fields::default()
        .text("version", &raw.version.0)
        .always("namespace", about)
        .list("flags", raw.flags.into_iter().map(flag).collect())
        .list("segments", raw.segments.into_iter().map(segment).collect())
        .record();
    let mut json = String::new();
    json_writer::push_document(&mut json, &document);
    json.truncate(json.trim_end().len());
    Layer { namespace, json }
}

fn flag(raw: RawFlag) -> Output {
    let mut fields = Fields::default()
        .text("key", &raw.key)
        .text("name", &raw.name)
        .text("type", &raw.flag_type.name)
        .text("description", &raw.description)
        .always("enabled", Output::Bool(raw.enabled));
    if !raw.metadata.is_empty() {
        fields = fields.always("metadata", metadata(&raw.metadata));
    }
    fields
        .list("variants", raw.variants.into_iter().map(variant).collect())
        .list("rules", raw.rules.into_iter().map(rule).collect())
        .list("rollouts", raw.rollouts.into_iter().map(rollout).collect())
        .record()
}

fn variant(raw: RawVariant) -> Output {
    let fields = Fields::default()
        .if_true("default", raw.default)
        .text("key", &raw.key)
        .text("name", &raw.name)
        .text("description", &raw.description);
    match json_reader::read_value(&raw.attachment) {
        Some(attachment) if !attachment.is_null() => fields.always("attachment", native(&attachment)),
        _ => fields,
    }
    .record()
}

fn rule(raw: RawRule) -> Output {
    let segment = match raw.segment {
        Some(RawSegments { keys, operator, .. }) if keys.len() == 1 && operator.name.is_empty() => {
            Output::Text(keys.into_iter().next().unwrap_or_default())
        }
        segment => {
            let (keys, operator) = segment
                .map_or_else(Default::default, |RawSegments { keys, operator, .. }| (keys, operator.name));
            Fields::default().list("keys", texts(&keys)).text("operator", &operator).record()
        }
    };
    let mut fields = Fields::default().always("segment", segment);
    if raw.rank != 0 {
        fields = fields.always("rank", Output::Number(f64::from(raw.rank)));
    }
    fields.list("distributions", raw.distributions.into_iter().map(distribution).collect()).record()
}

fn distribution(raw: RawDistribution) -> Output {
    Fields::default()
        .text("variant", &raw.variant)
        .always("rollout", Output::Percentage(raw.rollout))
        .record()
}

fn rollout(raw: RawRollout) -> Output {
    let mut fields = Fields::default().text("description", &raw.description);
    if let Some(RawRolloutSegment { key, keys, operator, value, .. }) = raw.segment {
        let segment = Fields::default().text("key", &key).list("keys", texts(&keys));
        fields = fields
            .always("segment", segment.text("operator", &operator.name).if_true("value", value).record());
    }
    if let Some(threshold) = raw.threshold {
        let percentage = Output::Percentage(threshold.percentage);
        let threshold =
            Fields::default().always("percentage", percentage).if_true("value", threshold.value).record();
        fields = fields.always("threshold", threshold);
    }
    fields.record()
}

fn segment(raw: RawSegment) -> Output {
    Fields::default()
        .text("key", &raw.key)
        .text("name", &raw.name)
        .text("description", &raw.description)
        .list("constraints", raw.constraints.into_iter().map(constraint).collect())
        .text("match_type", &raw.match_type.name)
        .record()
}

fn constraint(raw: RawConstraint) -> Output {
    Fields::default()
        .text("type", &raw.constraint_type.name)
        .text("property", &raw.property)
        .text("operator", &raw.operator)
        .text("value", &raw.value)
        .text("description", &raw.description)
        .record()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::load_features;

    fn jsons(name: &str, text: &str) -> Vec<(String, String)> {
        let layers = feature_layers(&[(name, text)]).unwrap();
        layers.into_iter().map(|layer| (layer.namespace, layer.json)).collect()
    }

    #[test]
    fn every_document_is_a_layer_with_its_namespace() {
        let text =
            "flags: []\n---\nnamespace: other\nversion: \"1.3\"\n---\nnamespace: {key: third, name: T}\n";
        let expected = [
            ("default", r#"{"namespace":{"key":"default","name":"Default"}}"#),
            ("other", r#"{"version":"1.3","namespace":"other"}"#),
            ("third", r#"{"namespace":{"key":"third","name":"T"}}"#),
        ];
        let expected = expected.map(|(namespace, json)| (namespace.to_owned(), json.to_owned()));
        assert_eq!(jsons("features.yml", text), expected);
    }

    #[test]
    fn a_layer_means_what_its_file_means() {
        let text = r#"
version: "1.4"
flags:
- key: v
  name: V
  enabled: true
  metadata: {owner: a, n: 1.5}
  variants: [{key: a, attachment: {z: [1, null, "<"]}}, {key: b, default: true}]
  rules:
  - segment: s
    rank: 3
    distributions: [{variant: a, rollout: 33.33}, {variant: b, rollout: 66.67}]
  - segment: {keys: [s, t], operator: AND_SEGMENT_OPERATOR}
- key: b
  name: B
  type: BOOLEAN_FLAG_TYPE
  rollouts:
  - {description: d, segment: {keys: [s, t], operator: AND_SEGMENT_OPERATOR, value: true}}
  - {segment: {key: s}}
  - {threshold: {percentage: 12.5, value: true}}
segments:
- key: s
  name: S
  description: D
  match_type: ANY_MATCH_TYPE
  constraints: [{type: STRING_COMPARISON_TYPE, property: p, operator: eq, value: x, description: y}]
- {key: t, name: T, match_type: ALL_MATCH_TYPE}
"#;
        let layers = jsons("features.yml", text);
        assert_eq!(layers.len(), 1);
        let again = load_features(&[("layer.json", &layers[0].1)]).unwrap();
        assert_eq!(again, load_features(&[("features.yml", text)]).unwrap());
        // And packing what was packed changes nothing any more.
        assert_eq!(jsons("layer.json", &layers[0].1), layers);
    }

    #[test]
    fn what_the_schema_refuses_makes_no_layer() {
        assert!(matches!(
            feature_layers(&[("features.yml", "flags: [{key: f}]\n")]),
            Err(LoadError::Invalid { .. })
        ));
        // A reference to another bundle's segment is fine.
        let text = "flags: [{key: f, name: F, rules: [{segment: elsewhere}]}]\n";
        assert_eq!(jsons("features.yml", text).len(), 1);
    }
}
