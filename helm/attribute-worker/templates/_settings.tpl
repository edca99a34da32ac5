{{/* The worker's settings: its file, the files of secrets that it names, and the times that follow from the drain. */}}

{{- define "attribute-worker.tokenFolder" -}}
/run/secrets/attentive
{{- end -}}

{{- define "attribute-worker.propertiesFolder" -}}
/run/secrets/properties
{{- end -}}

{{/* The worker's file: `config`, and the paths of the token and of the properties that are mounted. */}}
{{- define "attribute-worker.file" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.token.existingSecret -}}
{{- $file := printf "%s/%s" (include "attribute-worker.tokenFolder" .) .Values.token.key -}}
{{- $_ := set $config "attentive" (mergeOverwrite (default dict $config.attentive) (dict "token_file" $file)) -}}
{{- end -}}
{{- with include "attribute-worker.propertyFiles" (list "kafka" .) | fromYaml -}}
{{- $_ := set $config.kafka "property_files" (merge . (default dict $config.kafka.property_files)) -}}
{{- end -}}
{{- with include "attribute-worker.propertyFiles" (list "registry" .) | fromYaml -}}
{{- $schemas := default dict $config.schemas -}}
{{- $files := merge . (default dict $schemas.registry_property_files) -}}
{{- $_ := set $config "schemas" (merge (dict "registry_property_files" $files) $schemas) -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* The paths of a client's properties that are mounted, by name. */}}
{{- define "attribute-worker.propertyFiles" -}}
{{- $client := index . 0 -}}
{{- $root := index . 1 -}}
{{- $names := keys (default dict (get $root.Values.secretProperties $client)) -}}
{{- if and (eq $client "kafka") $root.Values.staticMembership.enabled -}}
{{- $names = append $names "group.instance.id" -}}
{{- end -}}
{{- $files := dict -}}
{{- range $names -}}
{{- $_ := set $files . (printf "%s/%s/%s" (include "attribute-worker.propertiesFolder" $root) $client .) -}}
{{- end -}}
{{- toYaml $files -}}
{{- end -}}

{{/* What is mounted there: a file for each secret property, and the pod's name, by which a static member is known. */}}
{{- define "attribute-worker.propertySources" -}}
{{- $sources := list -}}
{{- range $client, $properties := .Values.secretProperties -}}
{{- range $name, $secret := $properties -}}
{{- $item := dict "key" $secret.key "path" (printf "%s/%s" $client $name) -}}
{{- $sources = append $sources (dict "secret" (dict "name" $secret.name "items" (list $item))) -}}
{{- end -}}
{{- end -}}
{{- if .Values.staticMembership.enabled -}}
{{- $item := dict "path" "kafka/group.instance.id" "fieldRef" (dict "fieldPath" "metadata.name") -}}
{{- $sources = append $sources (dict "downwardAPI" (dict "items" (list $item))) -}}
{{- end -}}
{{- if $sources -}}
{{- toYaml $sources -}}
{{- end -}}
{{- end -}}

{{/* The environment of every container that runs a command of the worker. */}}
{{- define "attribute-worker.env" -}}
- name: WORKER_CONFIG
  value: /etc/attribute-worker/worker.yaml
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{- define "attribute-worker.groupId" -}}
{{- dig "kafka" "group_id" "attribute-worker" .Values.config -}}
{{- end -}}

{{/* Closing takes up to 25 s beyond the drain when the brokers do not answer. */}}
{{- define "attribute-worker.graceSeconds" -}}
{{- .Values.terminationGracePeriodSeconds | default (add (ceil .Values.config.shutdown.drain_seconds) 30) -}}
{{- end -}}

{{/* The rebalance that a new member causes takes up to a drain of the others. */}}
{{- define "attribute-worker.minReadySeconds" -}}
{{- $given := .Values.rollout.minReadySeconds -}}
{{- ternary (add (ceil .Values.config.shutdown.drain_seconds) 10) $given (kindIs "invalid" $given) -}}
{{- end -}}

{{/*
Arguments: the chart's context, and what the user gave. Where no memory is given, it is the budget and 256 MiB for the process
and what librdkafka fetched.
*/}}
{{- define "attribute-worker.resources" -}}
{{- $memory := printf "%dMi" (add (ceil (divf (index . 0).Values.config.window.max_bytes 1048576)) 256) -}}
{{- $resources := dict -}}
{{- range $kind, $given := index . 1 -}}
{{- $amounts := dict "memory" $memory -}}
{{- range $name, $amount := $given -}}
{{- if not (kindIs "invalid" $amount) -}}
{{- $_ := set $amounts $name $amount -}}
{{- end -}}
{{- end -}}
{{- $_ := set $resources $kind $amounts -}}
{{- end -}}
{{- toYaml $resources -}}
{{- end -}}
