{{/* The entries of `jobs`. Arguments of all of these: the chart's context, the entry's name, the entry. */}}

{{/*
The name of a CronJob, and the beginning of a Job's: it leaves room for what Kubernetes and the chart add. A replay is known
by it, so that the next pod goes on where the one before it stopped.
*/}}
{{- define "attribute-worker.jobName" -}}
{{- printf "%s-%s" (include "attribute-worker.fullname" (index . 0)) (index . 1) -}}
{{- end -}}

{{- define "attribute-worker.jobArgs" -}}
{{- $job := index . 2 -}}
{{- $args := splitList " " $job.command -}}
{{- if eq $job.command "replay" -}}
{{- $args = append $args (printf "--name=%s" (include "attribute-worker.jobName" .)) -}}
{{- end -}}
{{- range $option, $given := default dict $job.options -}}
{{- if kindIs "bool" $given -}}
{{- if $given -}}
{{- $args = append $args (printf "--%s" $option) -}}
{{- end -}}
{{- else -}}
{{- range ternary $given (list $given) (kindIs "slice" $given) -}}
{{- $args = append $args (printf "--%s=%s" $option (ternary . (toJson .) (kindIs "string" .))) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toYaml (append $args (printf "--metrics-port=%d" (int (index . 0).Values.config.http.port))) -}}
{{- end -}}

{{- define "attribute-worker.jobResources" -}}
{{- toYaml (mergeOverwrite (deepCopy (index . 0).Values.resources) (deepCopy (default dict (index . 2).resources))) -}}
{{- end -}}

{{- define "attribute-worker.jobPod" -}}
{{- $root := index . 0 -}}
{{- $job := index . 2 -}}
{{- include "attribute-worker.podTemplate" (dict
  "root" $root
  "component" "job"
  "args" (include "attribute-worker.jobArgs" . | fromYamlArray)
  "configMap" (include "attribute-worker.fullname" $root)
  "serviceAccount" (include "attribute-worker.serviceAccountName" $root)
  "labels" (merge (dict "attribute-worker/job" (index . 1)) (default dict $job.podLabels))
  "annotations" $job.podAnnotations
  "resources" (include "attribute-worker.jobResources" . | fromYaml)
  "grace" 30
  "serves" false
  "watched" true
) -}}
{{- end -}}

{{/* The spec of a Job, of its own or under a CronJob. A run that is suspended as a CronJob starts none, so its Jobs are not. */}}
{{- define "attribute-worker.jobSpec" -}}
{{- $job := index . 2 -}}
{{- if and $job.suspend (not $job.schedule) -}}
suspend: true
{{ end -}}
backoffLimit: {{ ternary $job.backoffLimit (ternary 0 6 (eq $job.command "verify")) (hasKey $job "backoffLimit") | int }}
{{- with $job.activeDeadlineSeconds }}
activeDeadlineSeconds: {{ int . }}
{{- end }}
{{- if hasKey $job "ttlSecondsAfterFinished" }}
ttlSecondsAfterFinished: {{ int $job.ttlSecondsAfterFinished }}
{{- end }}
podFailurePolicy:
  rules:
    # An evicted pod ends in order, with status 1. The next one goes on.
    - action: Ignore
      onPodConditions:
        - type: DisruptionTarget
          status: "True"
    # Bad usage or configuration: it would be the same again.
    - action: FailJob
      onExitCodes:
        containerName: job
        operator: In
        values: [2]
template:
  {{- include "attribute-worker.jobPod" . | nindent 2 }}
{{- end -}}

{{- define "attribute-worker.jobRefusals" -}}
{{- $name := include "attribute-worker.jobName" . -}}
{{- $job := index . 2 -}}
{{- $where := printf "jobs.%s" (index . 1) -}}
{{- if gt (len $name) 52 -}}
{{- fail (printf "%s: %s is longer than 52 characters; choose a shorter name" $where $name) -}}
{{- end -}}
{{- $values := (index . 0).Values -}}
{{- include "attribute-worker.refuseResources" (list (index . 0) (include "attribute-worker.jobResources" . | fromYaml) (printf "%s.resources" $where)) -}}
{{- $own := list "app.kubernetes.io/name" "app.kubernetes.io/instance" "app.kubernetes.io/version" "app.kubernetes.io/component" "attribute-worker/job" -}}
{{- $labels := printf "%s.podLabels" $where -}}
{{- include "attribute-worker.refuseKeys" (list $job.podLabels $labels $own "the chart") -}}
{{- include "attribute-worker.refuseKeys" (list $job.podLabels $labels (keys (default dict $values.commonLabels)) "commonLabels") -}}
{{- include "attribute-worker.refuseKeys" (list $job.podAnnotations (printf "%s.podAnnotations" $where) (list "checksum/config") "the chart") -}}
{{- if and (eq $job.command "replay") (not $job.schedule) -}}
{{- $options := default dict $job.options -}}
{{- if not (or $options.to (index $options "to-offsets")) -}}
{{- fail (printf "%s: a replay without a schedule needs options.to (or to-offsets): an upgrade may make the Job again, and with the same range it says that it is finished" $where) -}}
{{- end -}}
{{- range $option := list "from" "to" -}}
{{- $given := toString (default "" (get $options $option)) -}}
{{- if or (hasPrefix "-" $given) (eq $given "latest") -}}
{{- fail (printf "%s: options.%s is %s, another time at every start: an upgrade may make the Job again, so give a time, as 2026-03-01T12:00, or a schedule" $where $option $given) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (not $job.schedule) (or $job.timeZone $job.startingDeadlineSeconds (hasKey $job "successfulJobsHistoryLimit") (hasKey $job "failedJobsHistoryLimit")) -}}
{{- fail (printf "%s: timeZone, startingDeadlineSeconds and the limits of the history belong to a schedule" $where) -}}
{{- end -}}
{{- end -}}
