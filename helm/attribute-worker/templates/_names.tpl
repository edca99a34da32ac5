{{- define "attribute-worker.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 52 | trimSuffix "-" -}}
{{- end -}}

{{/* At most 52 characters: pods of a StatefulSet carry its name and a hash in a label of at most 63. */}}
{{- define "attribute-worker.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride -}}
{{- else -}}
{{- $name := include "attribute-worker.name" . -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name $name) (contains $name .Release.Name) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "attribute-worker.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (ternary (include "attribute-worker.fullname" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{/* What all objects of the release have in common, and nothing else has. */}}
{{- define "attribute-worker.releaseLabels" -}}
app.kubernetes.io/name: {{ include "attribute-worker.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
{{- end -}}

{{/* The worker's own pods. They never change: selectors are immutable. */}}
{{- define "attribute-worker.selectorLabels" -}}
{{ include "attribute-worker.releaseLabels" . }}
app.kubernetes.io/component: worker
{{- end -}}

{{/* The metadata's labels of an object. */}}
{{- define "attribute-worker.labels" -}}
{{- with .Values.commonLabels }}
{{- toYaml . }}
{{ end -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "attribute-worker.releaseLabels" . }}
{{- end -}}

{{- define "attribute-worker.image" -}}
{{- with .Values.image -}}
{{- $name := ternary (printf "%s/%s" .registry .repository) .repository (ne .registry "") -}}
{{- if .digest -}}
{{- printf "%s@%s" $name .digest -}}
{{- else -}}
{{- printf "%s:%s" $name (default $.Chart.AppVersion .tag) -}}
{{- end -}}
{{- end -}}
{{- end -}}
