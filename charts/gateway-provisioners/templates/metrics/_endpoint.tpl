{{- /* What both kinds of monitors scrape, besides the port. */ -}}
{{- define "gateway-provisioners.metrics.endpoint" -}}
path: /metrics
{{- with .Values.metrics.interval }}
interval: {{ . | quote }}
{{- end }}
{{- end -}}
