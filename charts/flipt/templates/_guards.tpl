{{/* What would only go wrong later is refused here, with what to do instead. */}}
{{- define "flipt.guards" -}}
{{- $server := .Values.server -}}
{{- if and $server.enabled (include "flipt.sqlite" .) -}}
  {{- if gt (int $server.replicas) 1 -}}
    {{- fail (printf "server.replicas is %v, but SQLite serves one pod: name a database in server.database.existingSecret, or set server.replicas to 1" $server.replicas) -}}
  {{- end -}}
  {{- if $server.autoscaling.enabled -}}
    {{- fail "server.autoscaling.enabled: SQLite serves one pod: name a database in server.database.existingSecret" -}}
  {{- end -}}
  {{- if eq $server.migrations "job" -}}
    {{- fail "server.migrations is job, but a Job cannot open the file that the server holds: name a database in server.database.existingSecret, or set server.migrations to auto" -}}
  {{- end -}}
{{- end -}}
{{- if $server.enabled -}}
  {{- if and $server.autoscaling.enabled (lt (int $server.autoscaling.maxReplicas) (int $server.autoscaling.minReplicas)) -}}
    {{- fail "server.autoscaling.maxReplicas is less than server.autoscaling.minReplicas" -}}
  {{- end -}}
  {{- if and $server.authentication.required (not $server.authentication.kubernetes.enabled) (not $server.authentication.token.enabled) (not (dig "authentication" "methods" dict $server.config)) -}}
    {{- fail "server.authentication.required is set, but no method is enabled: nobody could call. Enable server.authentication.kubernetes or server.authentication.token" -}}
  {{- end -}}
  {{- if and $server.authentication.required (not $server.authentication.kubernetes.enabled) (not $server.authentication.token.bootstrap.existingSecret.name) -}}
    {{- fail "server.authentication: the operator could not call the server: enable server.authentication.kubernetes, or name the first token in server.authentication.token.bootstrap.existingSecret" -}}
  {{- end -}}
  {{- if and $server.httpRoute.enabled (not $server.httpRoute.parentRefs) -}}
    {{- fail "server.httpRoute.enabled needs a gateway in server.httpRoute.parentRefs" -}}
  {{- end -}}
  {{- range $name := list "ingress" "grpcIngress" -}}
    {{- $ingress := get $server $name -}}
    {{- if and $ingress.enabled (not $ingress.hosts) -}}
      {{- fail (printf "server.%s.enabled needs a host in server.%s.hosts" $name $name) -}}
    {{- end -}}
  {{- end -}}
{{- else if .Values.profile.server -}}
  {{- fail "profile.server needs server.enabled: name the address of your server in profile.spec.source instead" -}}
{{- end -}}
{{- with .Values.webhook -}}
  {{- if and (eq .failurePolicy "Fail") (lt (int $.Values.operator.replicas) 2) -}}
    {{- fail "webhook.failurePolicy is Fail with a single operator: labelled pods could not start while it restarts. Set operator.replicas to 2 or more, or webhook.failurePolicy to Ignore" -}}
  {{- end -}}
  {{- if eq (int .port) (int $.Values.operator.healthPort) -}}
    {{- fail "webhook.port and operator.healthPort are the same: one pod listens on both" -}}
  {{- end -}}
  {{- if and .hostNetwork (eq (int .port) 10250) -}}
    {{- fail "webhook.port is 10250, which the kubelet has on every node: choose another one for webhook.hostNetwork" -}}
  {{- end -}}
  {{- if and (eq .certificates.mode "existingSecret") (not .certificates.secretName) -}}
    {{- fail "webhook.certificates.mode is existingSecret: name the Secret in webhook.certificates.secretName" -}}
  {{- end -}}
  {{- if and .certificates.caBundle (ne .certificates.mode "existingSecret") -}}
    {{- fail "webhook.certificates.caBundle belongs to webhook.certificates.mode existingSecret: others write it themselves" -}}
  {{- end -}}
{{- end -}}
{{- if and .Values.snapshots.publish (not .Values.snapshots.bucket) -}}
  {{- fail "snapshots.publish needs snapshots.bucket" -}}
{{- end -}}
{{- if and .Values.export.enabled (not .Values.snapshots.bucket) (not (dig "s3" "bucket" "" .Values.export.spec)) -}}
  {{- fail "export.enabled needs snapshots.bucket, where it publishes to" -}}
{{- end -}}
{{- if and .Values.export.enabled (not .Values.server.enabled) (not (dig "serverRef" dict .Values.export.spec)) -}}
  {{- fail "export.enabled without server.enabled needs the server that is published: export.spec.serverRef" -}}
{{- end -}}
{{- if and .Values.profile.enabled (not .Values.snapshots.bucket) (not .Values.export.enabled) (not .Values.profile.server) (not (get .Values.profile.spec "source")) -}}
  {{- fail "profile.enabled needs a source of snapshots: set snapshots.bucket, or profile.server, or profile.spec.source" -}}
{{- end -}}
{{- if and .Values.admissionPolicy.enabled (semverCompare "<1.30.0-0" .Capabilities.KubeVersion.Version) -}}
  {{- fail "admissionPolicy.enabled needs Kubernetes 1.30" -}}
{{- end -}}
{{- end }}
