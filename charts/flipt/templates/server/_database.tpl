{{/* Where the server keeps flags. */}}
{{- define "flipt.databaseEnv" -}}
- name: FLIPT_DB_URL
{{- with .Values.server.database.existingSecret }}
{{- if .name }}
  valueFrom: {secretKeyRef: {{ toJson . }}}
{{- else }}
  value: file:/var/opt/flipt/flipt.db
{{- end }}
{{- end }}
{{- end }}
