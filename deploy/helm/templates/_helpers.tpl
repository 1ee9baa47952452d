{{/* The prefix of all names. */}}
{{- define "shop.prefix" -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* The services and the gateway, as a JSON list. */}}
{{- define "shop.components" -}}
{{- append (keys .Values.services | sortAlpha) "gateway" | toJson -}}
{{- end }}

{{/* The settings of one component, as JSON: the defaults with its own. */}}
{{- define "shop.settings" -}}
{{- $own := dict -}}
{{- if eq .component "gateway" -}}
{{- $own = omit .root.Values.gateway "service" -}}
{{- else -}}
{{- $own = index .root.Values.services .component | default dict -}}
{{- end -}}
{{- mergeOverwrite (deepCopy .root.Values.defaults) (deepCopy $own) | toJson -}}
{{- end }}

{{/* The labels by which the pods of a component are selected. They never change. */}}
{{- define "shop.selector" -}}
app.kubernetes.io/name: wingbeat
app.kubernetes.io/instance: {{ .root.Release.Name }}
app.kubernetes.io/component: {{ .component }}
{{- end }}

{{- define "shop.labels" -}}
{{ include "shop.selector" . }}
app.kubernetes.io/version: {{ .root.Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .root.Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .root.Chart.Name .root.Chart.Version }}
{{- end }}

{{- define "shop.metadata" -}}
name: {{ include "shop.prefix" .root }}-{{ .component }}
namespace: {{ .root.Release.Namespace }}
labels:
  {{- include "shop.labels" . | nindent 2 }}
{{- end }}

{{- define "shop.image" -}}
{{- with .Values.image -}}
{{- if .digest -}}
{{ printf "%s@%s" .repository .digest }}
{{- else -}}
{{ printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) }}
{{- end -}}
{{- end -}}
{{- end }}

{{/* What every pod of the chart has. `.component` is its name. */}}
{{- define "shop.pod" -}}
serviceAccountName: {{ include "shop.prefix" .root }}-{{ .component }}
automountServiceAccountToken: false
# Variables that Kubernetes derives from Services, such as WINGBEAT_ORDERS_PORT, are no settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: {type: RuntimeDefault}
{{- with .root.Values.image.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- end }}

{{/* What every container of the chart has. */}}
{{- define "shop.container" -}}
image: {{ include "shop.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
{{- end }}

{{/* The keys of a component's Secret. Each is a file, and no pod has the keys of another. */}}
{{- define "shop.secretKeys" -}}
{{- $keys := list "broker_url" "store_url" "cache_url" "signing_key" -}}
{{- if eq .component "identity" -}}
{{- $keys = append $keys "admin_password" -}}
{{- end -}}
{{- if and (eq .component "notifications") (not .root.Values.dev) -}}
{{- $keys = append $keys "smtp_url" -}}
{{- end -}}
{{- $keys | toJson -}}
{{- end }}

{{/* The volumes: files of a Secret, certificates. Modes are decimal: 288 is 0440. */}}
{{- define "shop.volumes" -}}
- name: tmp
  emptyDir: {medium: Memory, sizeLimit: 16Mi}
- name: secrets
  secret:
    secretName: {{ .secret }}
    defaultMode: 288
    items:
      {{- range .keys }}
      - {key: {{ . }}, path: {{ . }}}
      {{- end }}
{{- with .root.Values.tls.ca }}
{{- if .configMap }}
- name: tls-ca
  configMap: {name: {{ .configMap }}, items: [{key: {{ .key }}, path: ca.crt}]}
{{- end }}
{{- end }}
{{- with .root.Values.tls.clientSecret }}
- name: tls-client
  secret: {secretName: {{ . }}, defaultMode: 288}
{{- end }}
{{- end }}

{{- define "shop.mounts" -}}
- {name: tmp, mountPath: /tmp}
- {name: secrets, mountPath: /run/secrets/wingbeat, readOnly: true}
{{- if .Values.tls.ca.configMap }}
- {name: tls-ca, mountPath: /etc/wingbeat/tls/ca, readOnly: true}
{{- end }}
{{- if .Values.tls.clientSecret }}
- {name: tls-client, mountPath: /etc/wingbeat/tls/client, readOnly: true}
{{- end }}
{{- end }}

{{/* The settings for TLS with the servers. */}}
{{- define "shop.tls" -}}
{{- if .Values.tls.ca.configMap }}
- {name: WINGBEAT_TLS_CA, value: /etc/wingbeat/tls/ca/ca.crt}
{{- end }}
{{- if .Values.tls.clientSecret }}
- {name: WINGBEAT_TLS_CERT, value: /etc/wingbeat/tls/client/tls.crt}
- {name: WINGBEAT_TLS_KEY, value: /etc/wingbeat/tls/client/tls.key}
{{- end }}
{{- end }}

{{/* The environment of a component. Secrets are files, named by variables. */}}
{{- define "shop.environment" -}}
{{- $root := .root -}}
{{- $prefix := include "shop.prefix" .root -}}
{{- $files := dict "broker_url" "WINGBEAT_BROKER_FILE" "store_url" "WINGBEAT_STORE_FILE"
  "cache_url" "WINGBEAT_CACHE_FILE" "signing_key" "WINGBEAT_SIGNING_KEY_FILE"
  "admin_password" "SHOP_ADMIN_PASSWORD_FILE" "smtp_url" "WINGBEAT_SMTP_FILE" -}}
{{- range include "shop.secretKeys" . | fromJsonArray }}
- {name: {{ index $files . }}, value: /run/secrets/wingbeat/{{ . }}}
{{- end }}
- {name: WINGBEAT_TRUSTED_KEYS, value: /etc/wingbeat/trusted}
- {name: WINGBEAT_DRAIN_DELAY, value: {{ printf "%ds" (int .root.Values.drainDelaySeconds) }}}
{{- if .root.Values.secureCookies }}
- {name: WINGBEAT_SECURE_COOKIES, value: "on"}
{{- end }}
{{- if .root.Values.dev }}
- {name: WINGBEAT_DEV, value: "on"}
{{- end }}
{{- if has .component (list "payments" "gateway") }}
- {name: WINGBEAT_PROVIDER, value: {{ include "shop.provider" .root | quote }}}
{{- end }}
{{- if and (eq .component "notifications") (not .root.Values.dev) }}
- {name: WINGBEAT_MAIL_FROM, value: {{ .root.Values.mail.from | quote }}}
{{- end }}
{{- if eq .component "gateway" }}
{{- range keys .root.Values.services | sortAlpha }}
- {name: WINGBEAT_URL_{{ upper . }}, value: "http://{{ $prefix }}-{{ . }}:8080"}
{{- end }}
{{- end }}
{{- include "shop.tls" .root }}
{{- range $name, $value := .settings.env }}
- {name: {{ $name }}, value: {{ $value | toString | quote }}}
{{- end }}
{{- end }}

{{/* The URL of the payment company, or of its stand-in. */}}
{{- define "shop.provider" -}}
{{- $message := "provider.url is missing: set the payment company, or dev=true for a trial" -}}
{{- if .Values.dev -}}
{{- .Values.provider.url | default (printf "http://%s-provider:8080" (include "shop.prefix" .)) -}}
{{- else -}}
{{- required $message .Values.provider.url -}}
{{- end -}}
{{- end }}

{{/* Whether the stand-in for the payment company runs: "true" or nothing. */}}
{{- define "shop.standIn" -}}
{{- if and .Values.dev (not .Values.provider.url) -}}true{{- end -}}
{{- end }}
