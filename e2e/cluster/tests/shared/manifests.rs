//! Custom resources as people write them.

/// A namespace, a segment and a boolean flag `banner` that is on for the segment, all in one Flipt namespace.
pub(crate) fn shop(flipt_namespace: &str, enabled: bool) -> String {
    format!(
        "
apiVersion: flipt.io/v1alpha1
kind: FliptNamespace
metadata: {{ name: {flipt_namespace} }}
spec: {{ serverRef: {{ name: main, namespace: flipt-system }}, description: Of a test }}
---
apiVersion: flipt.io/v1alpha1
kind: FliptSegment
metadata: {{ name: nordic }}
spec:
  serverRef: {{ name: main, namespace: flipt-system }}
  fliptNamespace: {flipt_namespace}
  matchType: ANY
  constraints: [{{ type: STRING, property: country, operator: isoneof, value: '[\"SE\",\"NO\"]' }}]
---
{}",
        banner(flipt_namespace, enabled, "")
    )
}

/// The boolean flag `banner`, on for the segment `nordic` and else as it is enabled; with further lines of its spec.
pub(crate) fn banner(flipt_namespace: &str, enabled: bool, further: &str) -> String {
    format!(
        "
apiVersion: flipt.io/v1alpha1
kind: FliptFlag
metadata: {{ name: banner }}
spec:
  serverRef: {{ name: main, namespace: flipt-system }}
  fliptNamespace: {flipt_namespace}
  type: BOOLEAN
  enabled: {enabled}
  rollouts: [{{ segment: {{ keys: [nordic], value: true }} }}]
  {further}
"
    )
}
