{{- /*
Peers in NetworkPolicies.
*/ -}}

{{- /* The gateway's pods, as a peer in the kernels' namespace. */ -}}
{{- define "gateway-provisioners.gateway.peer" -}}
podSelector:
  matchLabels:
    {{- include "gateway-provisioners.gateway.selectorLabels" . | nindent 4 }}
{{- if include "gateway-provisioners.kernels.haveOwnNamespace" . }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Release.Namespace | quote }}
{{- end }}
{{- end -}}

{{- /* Kernel pods, as a peer in the gateway's namespace. */ -}}
{{- define "gateway-provisioners.kernels.peer" -}}
podSelector:
  matchLabels:
    {{- include "gateway-provisioners.kernels.selectorLabels" . | nindent 4 }}
{{- if include "gateway-provisioners.kernels.haveOwnNamespace" . }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ include "gateway-provisioners.kernels.namespace" . | quote }}
{{- end }}
{{- end -}}
