{{/*
The template of every pod that runs a command of the worker: the worker itself, the check, and jobs. Arguments:
  root            the chart's context
  component       names the pod's purpose in its labels
  args            the command and its options
  configMap       holds the worker's file
  serviceAccount  the pod's ServiceAccount
  labels, annotations   further ones of the pod
  serves          whether it runs on, and serves health: then it has a port, probes, sidecars and is spread over nodes
  watched         whether it has the port, but none of the others
  resources       those of the container; without them, the worker's
  grace           seconds from SIGTERM to SIGKILL; without them, the worker's
*/}}
{{- define "attribute-worker.podTemplate" -}}
{{- $values := .root.Values -}}
metadata:
  labels:
    {{- with $values.commonLabels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- include "attribute-worker.releaseLabels" .root | nindent 4 }}
    app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
    app.kubernetes.io/component: {{ .component }}
    {{- with .labels }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
  annotations:
    checksum/config: {{ include "attribute-worker.file" .root | sha256sum }}
    {{- with .annotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  # A Service named "worker" would otherwise make variables that look like settings.
  enableServiceLinks: false
  automountServiceAccountToken: false
  serviceAccountName: {{ .serviceAccount }}
  terminationGracePeriodSeconds: {{ .grace | default (include "attribute-worker.graceSeconds" .root) }}
  {{- if not .serves }}
  restartPolicy: Never
  {{- else }}
  {{- with $values.topologySpreadConstraints }}
  topologySpreadConstraints:
    {{- include "attribute-worker.spread" $.root | nindent 4 }}
  {{- end }}
  {{- end }}
  {{- range $key := list "nodeSelector" "tolerations" "affinity" "priorityClassName" "runtimeClassName" "dnsConfig" "hostAliases" "imagePullSecrets" "initContainers" }}
  {{- with get $values $key }}
  {{- toYaml (dict $key .) | nindent 2 }}
  {{- end }}
  {{- end }}
  securityContext:
    {{- toYaml $values.podSecurityContext | nindent 4 }}
  containers:
    - name: {{ .component }}
      image: {{ include "attribute-worker.image" .root }}
      imagePullPolicy: {{ $values.image.pullPolicy }}
      args:
        {{- toYaml .args | nindent 8 }}
      env:
        {{- include "attribute-worker.env" .root | trim | nindent 8 }}
      {{- with $values.extraEnvFrom }}
      envFrom:
        {{- toYaml . | nindent 8 }}
      {{- end }}
      {{- if or .serves .watched }}
      ports:
        - name: http
          containerPort: {{ $values.config.http.port }}
      {{- end }}
      {{- if .serves }}
      startupProbe:
        {{- include "attribute-worker.probe" (dict "path" "/livez" "times" $values.probes.startup) | nindent 8 }}
      livenessProbe:
        {{- include "attribute-worker.probe" (dict "path" "/livez" "times" $values.probes.liveness) | nindent 8 }}
      readinessProbe:
        {{- include "attribute-worker.probe" (dict "path" "/readyz" "times" $values.probes.readiness) | nindent 8 }}
      {{- end }}
      resources:
        {{- include "attribute-worker.resources" (list .root (.resources | default $values.resources)) | nindent 8 }}
      securityContext:
        {{- toYaml $values.securityContext | nindent 8 }}
      volumeMounts:
        - name: settings
          mountPath: /etc/attribute-worker
          readOnly: true
        {{- if $values.token.existingSecret }}
        - name: token
          mountPath: {{ include "attribute-worker.tokenFolder" .root }}
          readOnly: true
        {{- end }}
        {{- if include "attribute-worker.propertySources" .root }}
        - name: properties
          mountPath: {{ include "attribute-worker.propertiesFolder" .root }}
          readOnly: true
        {{- end }}
        {{- range $number, $mount := $values.mounts }}
        - name: mount-{{ $number }}
          mountPath: {{ $mount.path }}
          readOnly: true
        {{- end }}
        {{- with $values.extraVolumeMounts }}
        {{- toYaml . | nindent 8 }}
        {{- end }}
    {{- if .serves }}
    {{- with $values.sidecars }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- end }}
  volumes:
    - name: settings
      configMap:
        name: {{ .configMap }}
    {{- with $values.token.existingSecret }}
    - name: token
      secret:
        secretName: {{ . }}
        defaultMode: 0440
    {{- end }}
    {{- with include "attribute-worker.propertySources" .root }}
    - name: properties
      projected:
        defaultMode: 0440
        sources:
          {{- . | nindent 10 }}
    {{- end }}
    {{- range $number, $mount := $values.mounts }}
    - name: mount-{{ $number }}
      {{- if $mount.secret }}
      secret:
        secretName: {{ $mount.secret }}
        defaultMode: 0440
      {{- else }}
      configMap:
        name: {{ $mount.configMap }}
      {{- end }}
    {{- end }}
    {{- with $values.extraVolumes }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
{{- end -}}

{{- define "attribute-worker.probe" -}}
httpGet:
  path: {{ .path }}
  port: http
{{ toYaml .times }}
{{- end -}}

{{/* Where a constraint says not what to spread, it is the worker's pods; in a Deployment, those of each revision. */}}
{{- define "attribute-worker.spread" -}}
{{- $constraints := list -}}
{{- range .Values.topologySpreadConstraints -}}
{{- $constraint := deepCopy . -}}
{{- if not .labelSelector -}}
{{- $_ := set $constraint "labelSelector" (dict "matchLabels" (include "attribute-worker.selectorLabels" $ | fromYaml)) -}}
{{- if not $.Values.staticMembership.enabled -}}
{{- $_ := set $constraint "matchLabelKeys" (list "pod-template-hash") -}}
{{- end -}}
{{- end -}}
{{- $constraints = append $constraints $constraint -}}
{{- end -}}
{{- toYaml $constraints -}}
{{- end -}}
