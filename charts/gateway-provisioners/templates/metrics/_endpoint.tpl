{{- /* How Prometheus asks a gateway: the same for both kinds of monitors. */ -}}
{{- define "gateway-provisioners.metrics.endpoint" -}}
port: http
path: /metrics
{{- with .Values.metrics.interval }}
interval: {{ . | quote }}
{{- end }}
{{- if include "gateway-provisioners.gateway.tlsSecretName" . }}
scheme: https
tlsConfig:
  # Prometheus dials the pod's address, which no certificate names. It sends no secret, and none is in the answer.
  insecureSkipVerify: true
{{- end }}
{{- end -}}
