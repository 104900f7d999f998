{{- /*
The name of every object in the release, and the labels they carry. Templates, NOTES.txt and the
gateway's environment take names from here, so that no other place spells one.
*/ -}}

{{- /* What `app.kubernetes.io/name` says. A label holds 63 characters. */ -}}
{{- define "gateway-provisioners.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /*
The stem of all names. A Service's name, and the label that every kernel pod carries, hold 63
characters; a release's name has at most 53, so what is cut off is the chart's part and two
releases never meet. The other kinds may have 253, so that a suffix always fits.
A Service's name starts with a letter, a release's may start with a digit.
*/ -}}
{{- define "gateway-provisioners.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := include "gateway-provisioners.name" . -}}
{{- $name = contains $chart .Release.Name | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) -}}
{{- if regexMatch "^[0-9]" $name -}}
{{- $name = printf "gp-%s" $name -}}
{{- end -}}
{{- end -}}
{{- $name | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "gateway-provisioners.gateway.deploymentName" -}}
{{- include "gateway-provisioners.fullname" . -}}
{{- end -}}

{{- define "gateway-provisioners.gateway.serviceName" -}}
{{- include "gateway-provisioners.fullname" . -}}
{{- end -}}

{{- define "gateway-provisioners.gateway.serviceAccountName" -}}
{{- .Values.gateway.serviceAccount.name | default (printf "%s-gateway" (include "gateway-provisioners.fullname" .)) -}}
{{- end -}}

{{- define "gateway-provisioners.gateway.roleName" -}}
{{- include "gateway-provisioners.fullname" . }}-gateway
{{- end -}}

{{- /* The Secret with the token: the operator's own, or the one that the chart makes. */ -}}
{{- define "gateway-provisioners.gateway.tokenSecretName" -}}
{{- .Values.gateway.auth.existingSecret | default (printf "%s-token" (include "gateway-provisioners.fullname" .)) -}}
{{- end -}}

{{- define "gateway-provisioners.gateway.tokenSecretKey" -}}
{{- empty .Values.gateway.auth.existingSecret | ternary "token" .Values.gateway.auth.existingSecretKey -}}
{{- end -}}

{{- /* The namespace of kernels, of what makes them, and of their Secrets. */ -}}
{{- define "gateway-provisioners.kernels.namespace" -}}
{{- .Values.kernelNamespace | default .Release.Namespace -}}
{{- end -}}

{{- /* Whether that is another one than the gateway's: "true", or nothing. */ -}}
{{- define "gateway-provisioners.kernels.apart" -}}
{{- if ne (include "gateway-provisioners.kernels.namespace" .) .Release.Namespace -}}
true
{{- end -}}
{{- end -}}

{{- /* What owns kernels that run apart from the gateway: an owner has to be in the same namespace. */ -}}
{{- define "gateway-provisioners.kernels.ownerName" -}}
{{- include "gateway-provisioners.fullname" . }}-kernels
{{- end -}}

{{- define "gateway-provisioners.kernels.configMapName" -}}
{{- include "gateway-provisioners.fullname" . }}-kernelspecs
{{- end -}}

{{- define "gateway-provisioners.kernels.serviceAccountName" -}}
{{- .Values.kernelServiceAccount.name | default (printf "%s-kernel" (include "gateway-provisioners.fullname" .)) -}}
{{- end -}}

{{- define "gateway-provisioners.kernels.networkPolicyName" -}}
{{- include "gateway-provisioners.fullname" . }}-kernels
{{- end -}}

{{- define "gateway-provisioners.kernels.quotaName" -}}
{{- include "gateway-provisioners.fullname" . }}-kernels
{{- end -}}

{{- define "gateway-provisioners.gateway.networkPolicyName" -}}
{{- include "gateway-provisioners.fullname" . }}-gateway
{{- end -}}

{{- define "gateway-provisioners.gateway.configMapName" -}}
{{- include "gateway-provisioners.fullname" . }}-config
{{- end -}}

{{- /* The Secret with the certificate: the operator's own, or the one that cert-manager keeps; "" without TLS. */ -}}
{{- define "gateway-provisioners.gateway.tlsSecretName" -}}
{{- with .Values.gateway.tls -}}
{{- if .existingSecret -}}
{{- .existingSecret -}}
{{- else if .certManager.issuerRef -}}
{{- include "gateway-provisioners.fullname" $ }}-tls
{{- end -}}
{{- end -}}
{{- end -}}

{{- define "gateway-provisioners.test.podName" -}}
{{- include "gateway-provisioners.fullname" . }}-test
{{- end -}}

{{- /* Takes a dict of `root` (the chart's context), `name` (the component) and `group`. */ -}}
{{- define "gateway-provisioners.imagePuller.daemonSetName" -}}
{{- printf "%s-%s-%s" (include "gateway-provisioners.fullname" .root) .name .group -}}
{{- end -}}

{{- define "gateway-provisioners.imagePuller.awaiterName" -}}
{{- include "gateway-provisioners.fullname" . }}-hook-image-awaiter
{{- end -}}

{{- define "gateway-provisioners.metrics.dashboardName" -}}
{{- include "gateway-provisioners.fullname" . }}-dashboard
{{- end -}}

{{- /*
An object's metadata. Takes a dict of `root` (the chart's context), `name`, `component`, and where
there are any `namespace`, `labels` and `annotations` of the object's own.
*/ -}}
{{- define "gateway-provisioners.metadata" -}}
name: {{ .name | quote }}
{{- with .namespace }}
namespace: {{ . | quote }}
{{- end }}
labels:
  {{- include "gateway-provisioners.yaml" (merge (dict "app.kubernetes.io/component" .component)
    (default dict .labels) (include "gateway-provisioners.labels" .root | fromYaml)) | nindent 2 }}
{{- with merge (dict) (default dict .annotations) .root.Values.commonAnnotations }}
annotations:
  {{- include "gateway-provisioners.yaml" . | nindent 2 }}
{{- end }}
{{- end -}}

{{- /* The labels of every object in the release. */ -}}
{{- define "gateway-provisioners.labels" -}}
{{- with .Values.commonLabels }}
{{- include "gateway-provisioners.yaml" . }}
{{ end -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
app.kubernetes.io/name: {{ include "gateway-provisioners.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
app.kubernetes.io/part-of: gateway-provisioners
{{- end -}}

{{- /* What the Service and the Deployment find the gateway's pod by: this may never change. */ -}}
{{- define "gateway-provisioners.gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gateway-provisioners.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- /* What its kernels' pods are found by: model/pod/manifest.py gives them these labels. */ -}}
{{- define "gateway-provisioners.kernels.selectorLabels" -}}
app.kubernetes.io/name: gateway-provisioners-kernel
app.kubernetes.io/instance: {{ include "gateway-provisioners.fullname" . | quote }}
{{- end -}}

{{- /* The gateway's labels, as a label selector in one line. */ -}}
{{- define "gateway-provisioners.gateway.selector" -}}
{{- $labels := list -}}
{{- range $name, $value := include "gateway-provisioners.gateway.selectorLabels" . | fromYaml -}}
{{- $labels = append $labels (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- join "," $labels -}}
{{- end -}}

{{- /* The Lease of whichever gateway looks after dead and idle kernels. */ -}}
{{- define "gateway-provisioners.gateway.leaseName" -}}
{{- include "gateway-provisioners.fullname" . }}-leader
{{- end -}}
