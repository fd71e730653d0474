{{/* What the server is told: what values ask for, and server.config over it. */}}
{{- define "flipt.serverConfig" -}}
{{- $server := .Values.server -}}
{{- $authentication := $server.authentication -}}
{{- $methods := dict -}}
{{- if $authentication.kubernetes.enabled -}}
{{- $_ := set $methods "kubernetes" (dict "enabled" true "allow" (include "flipt.allowed" . | fromYamlArray)) -}}
{{- end -}}
{{- if $authentication.token.enabled -}}
{{- $_ := set $methods "token" (dict "enabled" true) -}}
{{- end -}}
{{- $config := dict -}}
{{- $_ := set $config "authentication" (dict "required" $authentication.required "methods" $methods) -}}
{{- $_ := set $config "log" (dict "encoding" "json") -}}
{{- $_ := set $config "server" (dict "shutdown_delay" (printf "%ds" (int $server.drainSeconds))) -}}
{{- if .Values.snapshots.publish -}}
{{- $_ := set $config "snapshots" (dict "publish" (dict "url" (include "flipt.snapshotsUrl" .))) -}}
{{- end -}}
{{ toYaml (mergeOverwrite $config (deepCopy $server.config)) }}
{{- end }}

{{/* Who may call by a token of a service account, in YAML. */}}
{{- define "flipt.allowed" -}}
{{- $name := include "flipt.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
- {namespace: {{ $namespace }}, service_account: {{ include "flipt.operatorAccount" . }}, permission: write}
{{- if .Values.server.authentication.kubernetes.admin.create }}
- {namespace: {{ $namespace }}, service_account: {{ $name }}-admin, permission: write}
{{- end }}
{{- if .Values.export.enabled }}
- {namespace: {{ $namespace }}, service_account: {{ include "flipt.exporter" . }}, permission: read}
{{- end }}
{{- if and .Values.profile.enabled .Values.profile.server }}
{{- range .Values.operator.watchNamespaces | default (list "*") }}
- {namespace: {{ . | quote }}, service_account: "*", permission: evaluate}
{{- end }}
{{- end }}
{{- range .Values.server.authentication.kubernetes.allow }}
- namespace: {{ .namespace | quote }}
  service_account: {{ .serviceAccount | quote }}
  permission: {{ .permission }}
  {{- with .fliptNamespaces }}
  flipt_namespaces: {{ toJson . }}
  {{- end }}
{{- end }}
{{- end }}
