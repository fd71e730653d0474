{{/* Names, labels, images: what several objects share. Most take a dict with `root` and `component`. */}}

{{- define "flipt.name" -}}
{{ .Values.nameOverride | default .Chart.Name | trunc 40 | trimSuffix "-" }}
{{- end }}

{{/* Short enough for what is appended, such as -grpc or -migration. */}}
{{- define "flipt.fullname" -}}
{{- $name := include "flipt.name" . -}}
{{- if .Values.fullnameOverride -}}
{{ .Values.fullnameOverride | trunc 40 | trimSuffix "-" }}
{{- else if contains $name .Release.Name -}}
{{ .Release.Name | trunc 40 | trimSuffix "-" }}
{{- else -}}
{{ printf "%s-%s" .Release.Name $name | trunc 40 | trimSuffix "-" }}
{{- end -}}
{{- end }}

{{- define "flipt.selectorLabels" -}}
app.kubernetes.io/name: {{ include "flipt.name" .root }}
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "flipt.labels" -}}
{{ include "flipt.selectorLabels" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version | replace "+" "_" }}
{{- with merge dict (.labels | default dict) .root.Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of an object: root, component, name; labels and annotations if it has its own; cluster if it has no namespace. */}}
{{- define "flipt.metadata" -}}
name: {{ .name }}
{{- if not .cluster }}
namespace: {{ .namespace | default .root.Release.Namespace }}
{{- end }}
labels:
  {{- include "flipt.labels" . | nindent 2 }}
{{- with merge dict (.annotations | default dict) .root.Values.commonAnnotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* A reference of an image: root, image. */}}
{{- define "flipt.image" -}}
{{- $global := .root.Values.global.image -}}
{{- $registry := .image.registry | default $global.registry -}}
{{- with $registry }}{{ . | trimSuffix "/" }}/{{ end -}}
{{ .image.repository }}
{{- if .image.digest -}}
@{{ .image.digest }}
{{- else -}}
:{{ .image.tag | default $global.tag | default .root.Chart.AppVersion }}
{{- end -}}
{{- end }}

{{/* The name of a component's service account: root, component, values. */}}
{{- define "flipt.serviceAccount" -}}
{{- with .values.serviceAccount -}}
{{ .name | default (ternary (printf "%s-%s" (include "flipt.fullname" $.root) $.component) "default" .create) }}
{{- end -}}
{{- end }}

{{/* Where a pod may run: root, component, values. */}}
{{- define "flipt.placement" -}}
{{- with .root.Values.imagePullSecrets }}
imagePullSecrets:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
topologySpreadConstraints:
{{- with .values.topologySpreadConstraints }}
  {{- toYaml . | nindent 2 }}
{{- else }}
  - maxSkew: 1
    topologyKey: kubernetes.io/hostname
    whenUnsatisfiable: ScheduleAnyway
    labelSelector:
      matchLabels:
        {{- include "flipt.selectorLabels" . | nindent 8 }}
{{- end }}
{{- end }}

{{/* Labels of a pod: root, component, values. Our own pods never get a sidecar. */}}
{{- define "flipt.podLabels" -}}
{{- $own := dict "flipt.io/inject" "false" -}}
{{ include "flipt.labels" (dict "root" .root "component" .component "labels" (merge dict $own .values.podLabels)) }}
{{- end }}

{{/* Where programs find authorities that they trust: those of the image, and extraCaBundle. */}}
{{- define "flipt.caEnv" -}}
{{- if .Values.extraCaBundle }}
- name: SSL_CERT_FILE
  value: /etc/ssl/certs/ca-certificates.crt
- name: SSL_CERT_DIR
  value: /etc/flipt/authorities
{{- end }}
{{- end }}

{{- define "flipt.caMount" -}}
{{- if .Values.extraCaBundle }}
- name: authorities
  mountPath: /etc/flipt/authorities
  readOnly: true
{{- end }}
{{- end }}

{{- define "flipt.caVolume" -}}
{{- if .Values.extraCaBundle }}
- name: authorities
  configMap:
    name: {{ include "flipt.fullname" . }}-authorities
    # A hook may run before it is there.
    optional: true
{{- end }}
{{- end }}

{{/* Whether the server uses SQLite: "true" or nothing. */}}
{{- define "flipt.sqlite" -}}
{{- if not .Values.server.database.existingSecret.name -}}true{{- end -}}
{{- end }}

{{/* The server's address within the cluster. */}}
{{- define "flipt.serverUrl" -}}
http://{{ include "flipt.fullname" . }}-server.{{ .Release.Namespace }}.svc:{{ .Values.server.service.httpPort }}
{{- end }}

{{/* The Secret with the webhook's certificate. */}}
{{- define "flipt.webhookSecret" -}}
{{ .Values.webhook.certificates.secretName | default (printf "%s-webhook-tls" (include "flipt.fullname" .)) }}
{{- end }}

{{/* The bucket as a location that the server publishes to. */}}
{{- define "flipt.snapshotsUrl" -}}
{{- with .Values.snapshots -}}
{{- $parameters := list -}}
{{- with .region }}{{ $parameters = append $parameters (printf "region=%s" .) }}{{ end -}}
{{- with .endpoint }}{{ $parameters = append $parameters (printf "endpoint=%s" .) }}{{ end -}}
{{- if .forcePathStyle }}{{ $parameters = append $parameters "pathStyle=true" }}{{ end -}}
s3://{{ .bucket }}{{ with .prefix }}/{{ . | trimAll "/" }}{{ end }}{{ with $parameters }}?{{ join "&" . }}{{ end }}
{{- end -}}
{{- end }}

{{/* The bucket as custom resources write it, in YAML. */}}
{{- define "flipt.bucket" -}}
{{- with .Values.snapshots -}}
bucket: {{ .bucket }}
{{- with .prefix }}
prefix: {{ . | trimAll "/" }}
{{- end }}
{{- with .region }}
region: {{ . }}
{{- end }}
{{- with .endpoint }}
endpoint: {{ . }}
{{- end }}
{{- if .forcePathStyle }}
forcePathStyle: true
{{- end }}
{{- with .existingSecret }}
credentialsSecretRef:
  name: {{ . }}
{{- end }}
{{- end -}}
{{- end }}

{{/* The name of the account that exports: root. */}}
{{- define "flipt.exporter" -}}
{{ dig "serviceAccount" "name" "" .Values.export.spec | default (printf "%s-export" (include "flipt.fullname" .)) }}
{{- end }}

{{/* Watched namespaces, as JSON; none: all. That of the release holds the chart's own resources. */}}
{{- define "flipt.watched" -}}
{{- with .Values.operator.watchNamespaces -}}
{{ append . $.Release.Namespace | uniq | sortAlpha | toJson }}
{{- else -}}
[]
{{- end -}}
{{- end }}

{{/* Who makes the certificate of the webhook, as the operator names it. */}}
{{- define "flipt.certificates" -}}
{{- get (dict "self" "self" "certManager" "cert-manager" "existingSecret" "existing") .Values.webhook.certificates.mode -}}
{{- end }}
