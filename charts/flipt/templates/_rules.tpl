{{/* Rules of access of one scope, with the names of this release in them: root, scope. */}}
{{- define "flipt.rules" -}}
{{ .root.Files.Get (printf "files/rbac/%s.yaml" .scope)
  | replace "@WEBHOOK@" (printf "%s-injector" (include "flipt.fullname" .root))
  | replace "@SERVICE_ACCOUNT@" (include "flipt.operatorAccount" .root)
  | trim }}
{{- end }}

{{/* Those of a watched namespace. */}}
{{- define "flipt.watchedRules" -}}
{{ include "flipt.rules" (dict "root" . "scope" "watched") }}
{{- if .Values.operator.evictMissed }}
{{ include "flipt.rules" (dict "root" . "scope" "evict") }}
{{- end }}
{{- end }}

{{- define "flipt.operatorAccount" -}}
{{ include "flipt.serviceAccount" (dict "root" . "component" "operator" "values" .Values.operator) }}
{{- end }}
