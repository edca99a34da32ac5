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
