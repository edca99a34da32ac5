{{/* Values that the schema cannot refuse, or not in words that help. */}}
{{- define "attribute-worker.refusals" -}}
{{- $config := .Values.config -}}
{{- $kafka := default dict $config.kafka -}}
{{- $schemas := default dict $config.schemas -}}
{{- $fullname := include "attribute-worker.fullname" . -}}
{{- if not (regexMatch "^[a-z]([-a-z0-9]*[a-z0-9])?$" $fullname) -}}
{{- fail (printf "%q cannot name a Service: lower-case letters, digits and '-', beginning with a letter; set fullnameOverride" $fullname) -}}
{{- end -}}
{{- if not $kafka.bootstrap_servers -}}
{{- fail "config.kafka.bootstrap_servers is required: the brokers to connect to first, host:port,host:port" -}}
{{- end -}}
{{- $file := (default dict $config.attentive).token_file -}}
{{- if and .Values.token.existingSecret $file -}}
{{- fail "token.existingSecret and config.attentive.token_file are both set; keep one" -}}
{{- end -}}
{{- if not (or .Values.token.existingSecret $file) -}}
{{- fail "token.existingSecret is required: kubectl create secret generic attentive --from-file=token=FILE, then --set token.existingSecret=attentive" -}}
{{- end -}}
{{- $secrets := .Values.secretProperties -}}
{{- include "attribute-worker.refuseProperties" (list $kafka.properties "config.kafka.properties" $secrets.kafka "secretProperties.kafka") -}}
{{- include "attribute-worker.refuseProperties" (list $schemas.registry_properties "config.schemas.registry_properties" $secrets.registry "secretProperties.registry") -}}
{{- include "attribute-worker.refuseTwice" (list $kafka.property_files "config.kafka.property_files" $secrets.kafka "secretProperties.kafka") -}}
{{- include "attribute-worker.refuseTwice" (list $schemas.registry_property_files "config.schemas.registry_property_files" $secrets.registry "secretProperties.registry") -}}
{{- range $where, $given := dict "config.kafka.properties" $kafka.properties "config.kafka.property_files" $kafka.property_files "secretProperties.kafka" $secrets.kafka -}}
{{- if hasKey (default dict $given) "group.instance.id" -}}
{{- fail (printf "%s: group.instance.id would be the same in all replicas; set staticMembership.enabled instead" $where) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.staticMembership.enabled (eq (toString (get (default dict $kafka.properties) "group.protocol")) "consumer") -}}
{{- fail "staticMembership.enabled: under group.protocol=consumer, librdkafka leaves the group at every stop, so partitions would move all the same; keep one of the two" -}}
{{- end -}}
{{- range $setting, $url := dict "config.schemas.registry_url" $schemas.registry_url "config.attentive.base_url" (default dict $config.attentive).base_url -}}
{{- if regexMatch "://[^/\\s]*@" (toString $url) -}}
{{- fail (printf "%s: the password in it would stand in a ConfigMap; leave it out, and name the key of a Secret under secretProperties" $setting) -}}
{{- end -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "WORKER_" .name -}}
{{- fail (printf "extraEnv: %s is a setting; put it under config, or a secret property under secretProperties" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- include "attribute-worker.refuseResources" (list . .Values.resources "resources") -}}
{{- include "attribute-worker.refuseMounts" . -}}
{{- include "attribute-worker.refuseLabels" . -}}
{{- end -}}

{{/*
Limits below requests, which a cluster refuses, and a limit below the memory that the worker is told to use. Arguments: the
chart's context, what the user gave, and where.
*/}}
{{- define "attribute-worker.refuseResources" -}}
{{- $where := index . 2 -}}
{{- $resources := include "attribute-worker.resources" . | fromYaml -}}
{{- range $name, $request := $resources.requests -}}
{{- $least := include "attribute-worker.amount" (list $request (printf "%s.requests.%s" $where $name)) | float64 -}}
{{- with get $resources.limits $name -}}
{{- if lt (include "attribute-worker.amount" (list . (printf "%s.limits.%s" $where $name)) | float64) $least -}}
{{- fail (printf "%s.limits.%s: %v is below %s.requests.%s, %v" $where $name . $where $name $request) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $limit := $resources.limits.memory -}}
{{- $needed := add (ceil (divf (index . 0).Values.config.window.max_bytes 1048576)) 200 -}}
{{- if lt (include "attribute-worker.amount" (list $limit (printf "%s.limits.memory" $where)) | float64) (mulf $needed 1048576) -}}
{{- fail (printf "%s.limits.memory: the worker needs %dMi, config.window.max_bytes and 200Mi beside it, and would be killed at %v; raise the one or lower the other" $where $needed $limit) -}}
{{- end -}}
{{- end -}}

{{/* A quantity of Kubernetes as a number. */}}
{{- define "attribute-worker.amount" -}}
{{- $text := toString (index . 0) -}}
{{- if not (regexMatch "^[0-9]+([.][0-9]+)?(e[+]?[0-9]+|m|k|[MGTPE]|[KMGTPE]i)?$" $text) -}}
{{- fail (printf "%s: %q is no amount for Kubernetes: 512Mi, 2Gi, 250m" (index . 1) $text) -}}
{{- end -}}
{{- $unit := regexFind "[a-zA-Z]+$" $text -}}
{{- $factors := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 "Ei" 1152921504606846976 -}}
{{- mulf (float64 (trimSuffix $unit $text)) (get $factors $unit) -}}
{{- end -}}

{{/* Two things at one place of the worker's container. */}}
{{- define "attribute-worker.refuseMounts" -}}
{{- $taken := dict "/etc/attribute-worker" "the worker's settings" -}}
{{- if .Values.token.existingSecret -}}
{{- $_ := set $taken (include "attribute-worker.tokenFolder" .) "the token" -}}
{{- end -}}
{{- if include "attribute-worker.propertySources" . -}}
{{- $_ := set $taken (include "attribute-worker.propertiesFolder" .) "secretProperties" -}}
{{- end -}}
{{- $given := list -}}
{{- range .Values.mounts -}}
{{- $given = append $given (list "mounts" .path) -}}
{{- end -}}
{{- range .Values.extraVolumeMounts -}}
{{- $given = append $given (list "extraVolumeMounts" .mountPath) -}}
{{- end -}}
{{- range $given -}}
{{- $from := index . 0 -}}
{{- $place := clean (toString (index . 1)) -}}
{{- with get $taken $place -}}
{{- fail (printf "%s: %s is taken by %s; choose another path" $from $place .) -}}
{{- end -}}
{{- $_ := set $taken $place $from -}}
{{- end -}}
{{- end -}}

{{/* Labels and annotations that the chart sets itself would stand there twice. */}}
{{- define "attribute-worker.refuseLabels" -}}
{{- $values := .Values -}}
{{- $own := list "helm.sh/chart" "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/managed-by" "app.kubernetes.io/component" -}}
{{- include "attribute-worker.refuseKeys" (list $values.commonLabels "commonLabels" $own "the chart") -}}
{{- $labels := dict "podLabels" $values.podLabels "hookPodLabels" $values.hookPodLabels "service.labels" $values.service.labels "podMonitor.labels" $values.podMonitor.labels "prometheusRule.labels" $values.prometheusRule.labels "dashboards.labels" $values.dashboards.labels -}}
{{- range $where, $given := $labels -}}
{{- include "attribute-worker.refuseKeys" (list $given $where $own "the chart") -}}
{{- include "attribute-worker.refuseKeys" (list $given $where (keys (default dict $values.commonLabels)) "commonLabels") -}}
{{- end -}}
{{- $own = list "checksum/config" "helm.sh/hook" "helm.sh/hook-delete-policy" -}}
{{- range $where, $given := dict "podAnnotations" $values.podAnnotations "hookPodAnnotations" $values.hookPodAnnotations -}}
{{- include "attribute-worker.refuseKeys" (list $given $where $own "the chart") -}}
{{- end -}}
{{- end -}}

{{- define "attribute-worker.refuseKeys" -}}
{{- $where := index . 1 -}}
{{- $taken := index . 2 -}}
{{- $by := index . 3 -}}
{{- range $name, $_ := default dict (index . 0) -}}
{{- if has $name $taken -}}
{{- fail (printf "%s: %s is set by %s; remove it" $where $name $by) -}}
{{- end -}}
{{- end -}}
{{- end -}}

{{/* Properties in the ConfigMap that are secrets, by the same words by which the worker masks them, or in a Secret as well. */}}
{{- define "attribute-worker.refuseProperties" -}}
{{- $where := index . 1 -}}
{{- $instead := index . 3 -}}
{{- range $name, $value := default dict (index . 0) -}}
{{- $secret := and (regexMatch "pass|pwd|secret|token|credential|jaas|user[._-]?info|key|oauthbearer\\.config|\\bcmd\\b" (lower $name)) (not (regexMatch "\\.(location|url|file|source|keytab)$" (lower $name))) -}}
{{- if or $secret (regexMatch "://[^/\\s]*@|PRIVATE KEY-----" (toString $value)) -}}
{{- fail (printf "%s: %s is a secret, and a ConfigMap is not the place for one; name the key of a Secret under %s" $where $name $instead) -}}
{{- end -}}
{{- end -}}
{{- include "attribute-worker.refuseTwice" . -}}
{{- end -}}

{{- define "attribute-worker.refuseTwice" -}}
{{- $where := index . 1 -}}
{{- $secrets := index . 2 -}}
{{- $instead := index . 3 -}}
{{- range $name, $_ := default dict (index . 0) -}}
{{- if hasKey (default dict $secrets) $name -}}
{{- fail (printf "%s: %s is under %s as well; keep one" $where $name $instead) -}}
{{- end -}}
{{- end -}}
{{- end -}}
