{{/* The worker's settings: its file, the few that must stand in the environment, and the times that follow from them. */}}

{{- define "attribute-worker.tokenFolder" -}}
/run/secrets/attentive
{{- end -}}

{{/* The worker's file: `config`, the path of the token, and no properties that the environment has to carry. */}}
{{- define "attribute-worker.file" -}}
{{- $config := deepCopy .Values.config -}}
{{- if .Values.token.existingSecret -}}
{{- $file := printf "%s/%s" (include "attribute-worker.tokenFolder" .) .Values.token.key -}}
{{- $_ := set $config "attentive" (mergeOverwrite (default dict $config.attentive) (dict "token_file" $file)) -}}
{{- end -}}
{{- if include "attribute-worker.kafkaEnv" . -}}
{{- $_ := set $config "kafka" (omit $config.kafka "properties") -}}
{{- end -}}
{{- if include "attribute-worker.registryEnv" . -}}
{{- $_ := set $config "schemas" (omit $config.schemas "registry_properties") -}}
{{- end -}}
{{- toYaml $config -}}
{{- end -}}

{{/* librdkafka's properties as variables, if one of them is a secret or differs from pod to pod. */}}
{{- define "attribute-worker.kafkaEnv" -}}
{{- $secrets := .Values.secretProperties.kafka -}}
{{- $further := dict -}}
{{- if .Values.staticMembership.enabled -}}
{{- $further = dict "group.instance.id" "$(POD_NAME)" -}}
{{- end -}}
{{- if or $secrets $further -}}
{{- $given := dig "kafka" "properties" dict .Values.config | default dict -}}
{{- include "attribute-worker.propertiesEnv" (dict "variable" "WORKER_KAFKA__PROPERTIES" "prefix" "KAFKA" "given" $given "secrets" $secrets "further" $further) -}}
{{- end -}}
{{- end -}}

{{/* The registry client's properties as variables, if one of them is a secret. */}}
{{- define "attribute-worker.registryEnv" -}}
{{- with .Values.secretProperties.registry -}}
{{- $given := dig "schemas" "registry_properties" dict $.Values.config | default dict -}}
{{- include "attribute-worker.propertiesEnv" (dict "variable" "WORKER_SCHEMAS__REGISTRY_PROPERTIES" "prefix" "REGISTRY" "given" $given "secrets" . "further" dict) -}}
{{- end -}}
{{- end -}}

{{/*
A variable for each secret, and one with all properties as JSON, in which the kubelet puts them: it replaces $(NAME) by the
variable that stands before, and $$ by $.
*/}}
{{- define "attribute-worker.propertiesEnv" -}}
{{- $env := list -}}
{{- $properties := dict -}}
{{- range $name, $value := .given -}}
{{- $text := ternary $value (toJson $value) (kindIs "string" $value) -}}
{{- $_ := set $properties $name ($text | replace "$" "$$") -}}
{{- end -}}
{{- range $name, $secret := .secrets -}}
{{- $variable := printf "%s_%s" $.prefix (regexReplaceAll "[^A-Z0-9]+" (upper $name) "_") -}}
{{- $env = append $env (dict "name" $variable "valueFrom" (dict "secretKeyRef" (dict "name" $secret.name "key" $secret.key))) -}}
{{- $_ := set $properties $name (printf "$(%s)" $variable) -}}
{{- end -}}
{{- toYaml (append $env (dict "name" .variable "value" (mergeOverwrite $properties .further | toJson))) -}}
{{- end -}}

{{/* The environment of every container that runs a command of the worker. */}}
{{- define "attribute-worker.env" -}}
{{- if .Values.staticMembership.enabled }}
- name: POD_NAME
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
{{- end }}
{{- with include "attribute-worker.kafkaEnv" . }}
{{ . }}
{{- end }}
{{- with include "attribute-worker.registryEnv" . }}
{{ . }}
{{- end }}
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

{{/* What the user gave, and where no memory is given: the budget and 256 MiB for the process and what librdkafka fetched. */}}
{{- define "attribute-worker.resources" -}}
{{- $memory := printf "%dMi" (add (ceil (divf .Values.config.window.max_bytes 1048576)) 256) -}}
{{- $resources := dict -}}
{{- range $kind, $given := .Values.resources -}}
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
