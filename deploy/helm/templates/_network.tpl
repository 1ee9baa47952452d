{{/* Egress to the cluster's DNS. */}}
{{- define "shop.egressDns" -}}
- to:
    {{- toYaml .Values.networkPolicy.dns | nindent 4 }}
  ports:
    - {protocol: UDP, port: 53}
    - {protocol: TCP, port: 53}
{{- end }}

{{/* Egress to some of the three servers. */}}
{{- define "shop.egressServers" -}}
{{- $root := .root -}}
{{- range .servers }}
{{- with index $root.Values.servers . }}
- to:
    {{- toYaml .peers | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ int .port }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Egress to the payment company, or to its stand-in. */}}
{{- define "shop.egressProvider" -}}
{{- if include "shop.standIn" . }}
- to:
    - podSelector:
        matchLabels:
          {{- include "shop.selector" (dict "root" . "component" "provider") | nindent 10 }}
  ports:
    - {protocol: TCP, port: 8080}
{{- else }}
- to:
    {{- .Values.provider.peers | default .Values.networkPolicy.internet | toYaml | nindent 4 }}
  ports:
    - {protocol: TCP, port: {{ int .Values.provider.port }}}
{{- end }}
{{- end }}
