{{/* Values that the schema cannot refuse, or not in words that help. */}}
{{- define "attribute-worker.refusals" -}}
{{- $config := .Values.config -}}
{{- $kafka := default dict $config.kafka -}}
{{- $schemas := default dict $config.schemas -}}
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
{{- range $name, $value := default dict $kafka.properties -}}
{{- include "attribute-worker.refuseSecret" (list $name $value "config.kafka.properties" "secretProperties.kafka") -}}
{{- end -}}
{{- range $name, $value := default dict $schemas.registry_properties -}}
{{- include "attribute-worker.refuseSecret" (list $name $value "config.schemas.registry_properties" "secretProperties.registry") -}}
{{- end -}}
{{- if hasKey (default dict $kafka.properties) "group.instance.id" -}}
{{- fail "config.kafka.properties: group.instance.id would be the same in all replicas; set staticMembership.enabled instead" -}}
{{- end -}}
{{- if and .Values.staticMembership.enabled (eq (toString (get (default dict $kafka.properties) "group.protocol")) "consumer") -}}
{{- fail "staticMembership.enabled: under group.protocol=consumer, librdkafka leaves the group at every stop, so partitions would move all the same; keep one of the two" -}}
{{- end -}}
{{- range .Values.extraEnv -}}
{{- if hasPrefix "WORKER_" .name -}}
{{- fail (printf "extraEnv: %s is a setting; put it under config, or a secret property under secretProperties" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.autoscaling.enabled (gt (int .Values.autoscaling.minReplicas) (int .Values.autoscaling.maxReplicas)) -}}
{{- fail "autoscaling.minReplicas is above autoscaling.maxReplicas" -}}
{{- end -}}
{{- end -}}

{{/* The same words by which the worker masks a property. */}}
{{- define "attribute-worker.refuseSecret" -}}
{{- $name := index . 0 -}}
{{- $secret := and (regexMatch "passw|passphrase|secret|token|credential|jaas|user\\.?info|oauthbearer\\.config|\\bkey\\b" (lower $name)) (not (regexMatch "(location|url|file|name|type|ms)$" (lower $name))) -}}
{{- if or $secret (regexMatch "://[^/\\s]*@" (toString (index . 1))) -}}
{{- fail (printf "%s: %s is a secret, and a ConfigMap is not the place for one; name the key of a Secret under %s" (index . 2) $name (index . 3)) -}}
{{- end -}}
{{- end -}}
