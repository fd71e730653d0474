{{/* What the server is told: what values ask for, and server.config over it. */}}
{{- define "flipt.serverConfig" -}}
{{- $server := .Values.server -}}
{{- $authentication := $server.authentication -}}
{{- $methods := dict -}}
{{- if $authentication.kubernetes.enabled -}}
{{- $_ := set $methods "kubernetes" (dict "enabled" true "allow" (include "flipt.allowed" .)) -}}
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

{{/* Who may call by a token of a service account: "namespace/account=permission;…". */}}
{{- define "flipt.allowed" -}}
{{- $name := include "flipt.fullname" . -}}
{{- $namespace := .Release.Namespace -}}
{{- $operator := include "flipt.operatorAccount" . -}}
{{- $allowed := list (printf "%s/%s=write" $namespace $operator) -}}
{{- if .Values.server.authentication.kubernetes.admin.create -}}
{{- $allowed = append $allowed (printf "%s/%s-admin=write" $namespace $name) -}}
{{- end -}}
{{- if .Values.export.enabled -}}
{{- $allowed = append $allowed (printf "%s/%s=read" $namespace (include "flipt.exporter" .)) -}}
{{- end -}}
{{- if and .Values.profile.enabled .Values.profile.server -}}
{{- range .Values.operator.watchNamespaces | default (list "*") -}}
{{- $allowed = append $allowed (printf "%s/*=read" .) -}}
{{- end -}}
{{- end -}}
{{- range .Values.server.authentication.kubernetes.allow -}}
{{- $allowed = append $allowed (printf "%s/%s=%s" .namespace .serviceAccount .permission) -}}
{{- end -}}
{{ join ";" $allowed }}
{{- end }}
