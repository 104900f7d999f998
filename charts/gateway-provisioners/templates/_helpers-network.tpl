{{- /*
Who is who in a NetworkPolicy.
*/ -}}

{{- /* The gateway's pods, seen from the kernels' namespace. */ -}}
{{- define "gateway-provisioners.gateway.peer" -}}
podSelector:
  matchLabels:
    {{- include "gateway-provisioners.gateway.selectorLabels" . | nindent 4 }}
{{- if include "gateway-provisioners.kernels.apart" . }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Release.Namespace | quote }}
{{- end }}
{{- end -}}

{{- /* The kernels' pods, seen from the gateway's namespace. */ -}}
{{- define "gateway-provisioners.kernels.peer" -}}
podSelector:
  matchLabels:
    {{- include "gateway-provisioners.kernels.selectorLabels" . | nindent 4 }}
{{- if include "gateway-provisioners.kernels.apart" . }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ include "gateway-provisioners.kernels.namespace" . | quote }}
{{- end }}
{{- end -}}
