{{/* The traffic of all pods of the release. */}}
{{- define "attribute-worker.networkPolicySpec" -}}
{{- $egress := .Values.networkPolicy.egress -}}
podSelector:
  matchLabels:
    {{- include "attribute-worker.releaseLabels" . | nindent 4 }}
policyTypes: [Ingress, Egress]
ingress:
  - ports:
      - port: http
    {{- with .Values.networkPolicy.ingressFrom }}
    from:
      {{- toYaml . | nindent 6 }}
      {{- include "attribute-worker.ownPods" $ | nindent 6 }}
    {{- end }}
egress:
  # `helm test` asks the worker's pods.
  - ports:
      - port: http
    to:
      {{- include "attribute-worker.ownPods" . | nindent 6 }}
  {{- $kafka := default dict .Values.config.kafka }}
  {{- $schemas := default dict .Values.config.schemas }}
  {{- $attentive := default dict .Values.config.attentive }}
  {{- include "attribute-worker.egress" (dict "rule" $egress.dns "udp" true) | nindent 2 }}
  {{- include "attribute-worker.egress" (dict "rule" $egress.brokers "urls" (default "" $kafka.bootstrap_servers) "port" 9092) | nindent 2 }}
  {{- include "attribute-worker.egress" (dict "rule" $egress.registry "urls" (default "" $schemas.registry_url)) | nindent 2 }}
  {{- include "attribute-worker.egress" (dict "rule" $egress.attentive "urls" (default "https://" $attentive.base_url)) | nindent 2 }}
  {{- include "attribute-worker.egress" (dict "rule" $egress.otlp) | nindent 2 }}
  {{- with $egress.extra }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "attribute-worker.ownPods" -}}
- podSelector:
    matchLabels:
      {{- include "attribute-worker.releaseLabels" . | nindent 6 }}
{{- end -}}

{{/*
One rule. Its ports: those that the user gave, else those of `urls` (comma-separated). A URL without one has `port`, or its
scheme's. No port, no rule.
*/}}
{{- define "attribute-worker.egress" -}}
{{- $ports := list -}}
{{- range .rule.ports -}}
{{- $ports = append $ports (int .) -}}
{{- end -}}
{{- if not $ports -}}
{{- range compact (splitList "," (default "" .urls)) -}}
{{- $default := ternary 80 443 (hasPrefix "http://" (trim .)) -}}
{{- $authority := regexReplaceAll "^([A-Za-z_]+://)?([^/]*).*$" (trim .) "${2}" -}}
{{- $port := regexFind ":[0-9]+$" $authority | trimPrefix ":" -}}
{{- $ports = append $ports (int (default (default $default $.port) $port)) -}}
{{- end -}}
{{- end -}}
{{- with uniq $ports }}
- ports:
    {{- range . }}
    - port: {{ . }}
    {{- if $.udp }}
    - port: {{ . }}
      protocol: UDP
    {{- end }}
    {{- end }}
  {{- with $.rule.to }}
  to:
    {{- toYaml . | nindent 4 }}
  {{- end }}
{{- end }}
{{- end -}}
