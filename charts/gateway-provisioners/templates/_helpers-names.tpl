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

{{- define "gateway-provisioners.kernels.configMapName" -}}
{{- include "gateway-provisioners.fullname" . }}-kernelspecs
{{- end -}}

{{- define "gateway-provisioners.kernels.serviceAccountName" -}}
{{- .Values.kernelServiceAccount.name | default (printf "%s-kernel" (include "gateway-provisioners.fullname" .)) -}}
{{- end -}}

{{- /* The labels of every object in the release. */ -}}
{{- define "gateway-provisioners.labels" -}}
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

{{- /* The same, as a label selector in one line. */ -}}
{{- define "gateway-provisioners.gateway.selector" -}}
{{- $labels := list -}}
{{- range $name, $value := include "gateway-provisioners.gateway.selectorLabels" . | fromYaml -}}
{{- $labels = append $labels (printf "%s=%s" $name $value) -}}
{{- end -}}
{{- join "," $labels -}}
{{- end -}}

{{- /* The Lease of whichever gateway looks after dead and idle kernels. */ -}}
{{- define "gateway-provisioners.gateway.leaseName" -}}
{{- include "gateway-provisioners.fullname" . }}-upkeep
{{- end -}}
