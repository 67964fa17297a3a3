{{/* Labels that every object carries. */}}
{{- define "o2ims.labels" -}}
app.kubernetes.io/name: o2ims
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service | quote }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end }}

{{/* Labels by which the manager's pods are found; they never change. */}}
{{- define "o2ims.managerSelector" -}}
app.kubernetes.io/name: o2ims
app.kubernetes.io/component: manager
{{- end }}

{{- define "o2ims.image" -}}
{{ printf "%s:%s" .Values.image.repository (.Values.image.tag | default .Chart.AppVersion) }}
{{- end }}

{{- define "o2ims.agentImage" -}}
{{ .Values.agent.image | default (include "o2ims.image" .) }}
{{- end }}

{{/* Where an SMO finds the API. */}}
{{- define "o2ims.externalUrl" -}}
{{ .Values.manager.externalUrl | default (printf "https://o2ims.%s.svc%s" .Release.Namespace (eq (int .Values.service.port) 443 | ternary "" (printf ":%d" (int .Values.service.port)))) }}
{{- end }}

{{/* nonResourceURLs below a base path, for each version: base, versions, paths.
     A wildcard in RBAC stands only at the end, so a collection takes two entries. */}}
{{- define "o2ims.urls" -}}
{{- $base := .base -}}
{{- range $version := .versions }}
{{- range $path := $.paths }}
- {{ printf "%s/%s%s" $base $version $path }}
{{- end }}
{{- end }}
{{- end }}
