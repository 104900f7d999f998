{{- /*
The names and labels of all objects in the release. Templates, NOTES.txt and the gateway's
environment take them from here, so that each name is defined once.
*/ -}}

{{- /* The value of `app.kubernetes.io/name`. A label holds 63 characters. */ -}}
{{- define "gateway-provisioners.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- /*
The prefix of all names. A Service's name and the label on every kernel pod hold 63 characters. A
release's name has at most 53, so only the chart's part is cut off, and names of two releases never
collide. Other kinds allow 253 characters, so a suffix always fits. A Service's name must start with
a letter, but a release's may start with a digit.

A parent chart can have this one several times in a release, under aliases: they must stay distinct where the release's
name contains several of them, and where they are cut off. An alias may contain upper-case letters and underscores.
*/ -}}
{{- define "gateway-provisioners.fullname" -}}
{{- $name := .Values.fullnameOverride -}}
{{- if not $name -}}
{{- $chart := include "gateway-provisioners.name" . -}}
{{- $alias := ne .Chart.Name "gateway-provisioners" -}}
{{- $named := $alias | ternary (eq $chart .Release.Name) (contains $chart .Release.Name) -}}
{{- $name = $named | ternary .Release.Name (printf "%s-%s" .Release.Name $chart) | lower | replace "_" "-" -}}
{{- if and $alias (gt (len $name) 60) -}}
{{- $name = printf "%s-%s" (trunc 51 $name | trimSuffix "-") (sha256sum $name | trunc 8) -}}
{{- end -}}
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

{{- /* The Secret with the token: an existing one, or the chart's. */ -}}
{{- define "gateway-provisioners.gateway.tokenSecretName" -}}
{{- .Values.gateway.auth.existingSecret | default (printf "%s-token" (include "gateway-provisioners.fullname" .)) -}}
{{- end -}}

{{- define "gateway-provisioners.gateway.tokenSecretKey" -}}
{{- empty .Values.gateway.auth.existingSecret | ternary "token" .Values.gateway.auth.existingSecretKey -}}
{{- end -}}

{{- /* The namespace of kernels and of everything that belongs to them. */ -}}
{{- define "gateway-provisioners.kernels.namespace" -}}
{{- .Values.kernelNamespace | default .Release.Namespace -}}
{{- end -}}

{{- /* "true" if kernels have a namespace of their own, otherwise empty. */ -}}
{{- define "gateway-provisioners.kernels.haveOwnNamespace" -}}
{{- if ne (include "gateway-provisioners.kernels.namespace" .) .Release.Namespace -}}
true
{{- end -}}
{{- end -}}

{{- /* The owner of kernels in a namespace of their own: Kubernetes requires an owner in the same namespace. */ -}}
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

{{- define "gateway-provisioners.gateway.userGroupsName" -}}
{{- include "gateway-provisioners.fullname" . }}-user-groups
{{- end -}}

{{- /* The Secret with the certificate: an existing one, or cert-manager's; empty without TLS. */ -}}
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
An object's metadata. Takes a dict of `root` (the chart's context), `name`, `component` and, optionally,
the object's own `namespace`, `labels` and `annotations`.
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

{{- /* The labels by which the Service and the Deployment select the gateway's pods. They must never change. */ -}}
{{- define "gateway-provisioners.gateway.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gateway-provisioners.name" . | quote }}
app.kubernetes.io/instance: {{ .Release.Name | quote }}
app.kubernetes.io/component: gateway
{{- end -}}

{{- /* The labels that select kernel pods, which model/pod/manifest.py sets. */ -}}
{{- define "gateway-provisioners.kernels.selectorLabels" -}}
app.kubernetes.io/name: gateway-provisioners-kernel
app.kubernetes.io/instance: {{ include "gateway-provisioners.fullname" . | quote }}
{{- end -}}

{{- /* The gateway's selector labels as a string. */ -}}
{{- define "gateway-provisioners.gateway.selector" -}}
{{- $labels := list -}}
{{- range $name, $value := include "gateway-provisioners.gateway.selectorLabels" . | fromYaml -}}
{{- $labels = append $labels (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- join "," $labels -}}
{{- end -}}

{{- /* The Lease of the leader: the gateway that restarts dead kernels and culls idle ones. */ -}}
{{- define "gateway-provisioners.gateway.leaseName" -}}
{{- include "gateway-provisioners.fullname" . }}-leader
{{- end -}}
