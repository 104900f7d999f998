{{- /* The scrape endpoint of both kinds of monitors. */ -}}
{{- define "gateway-provisioners.metrics.endpoint" -}}
port: http
path: /metrics
{{- with .Values.metrics.interval }}
interval: {{ . | quote }}
{{- end }}
{{- if include "gateway-provisioners.gateway.tlsSecretName" . }}
scheme: https
tlsConfig:
  # Prometheus connects to the pod's address, which is not in the certificate. Neither side sends a secret.
  insecureSkipVerify: true
{{- end }}
{{- end -}}
