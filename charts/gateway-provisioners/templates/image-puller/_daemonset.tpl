{{- /*
Nodes pull an image because a container of it runs there. Its pod needs no more than a kernel pod:
no socket of the container runtime, no root, the same pull secrets. There is one DaemonSet for all
kernels that may run on the same nodes.
*/ -}}

{{- /*
Groups of kernels by a hash of the nodes they may run on: `scheduling`, `images` and `pullSecrets`. Kernels
with the pull policy `Never` are left out.
*/ -}}
{{- define "gateway-provisioners.imagePuller.groups" -}}
{{- $groups := dict -}}
{{- range $kernel := include "gateway-provisioners.kernels" . | fromJson -}}
{{- if ne $kernel.pullPolicy "Never" -}}
{{- $scheduling := pick $kernel "nodeSelector" "tolerations" "affinity" -}}
{{- $key := toJson $scheduling | sha256sum | trunc 8 -}}
{{- $group := get $groups $key | default (dict "scheduling" $scheduling "images" dict "pullSecrets" list) -}}
{{- /* If kernels with the same image have different pull policies, `Always` takes precedence. */ -}}
{{- if ne (get $group.images $kernel.image) "Always" -}}
{{- $_ := set $group.images $kernel.image $kernel.pullPolicy -}}
{{- end -}}
{{- $_ := set $group "pullSecrets" (concat $group.pullSecrets $kernel.pullSecrets | uniq) -}}
{{- $_ := set $groups $key $group -}}
{{- end -}}
{{- end -}}
{{- toJson $groups -}}
{{- end -}}

{{- define "gateway-provisioners.imagePuller.selectorLabels" -}}
app.kubernetes.io/name: {{ include "gateway-provisioners.name" .root | quote }}
app.kubernetes.io/instance: {{ .root.Release.Name | quote }}
app.kubernetes.io/component: {{ .name }}
{{- end -}}

{{- /* A pod's labels: those above, which commonLabels cannot override, and those of `more`. */ -}}
{{- define "gateway-provisioners.imagePuller.podLabels" -}}
{{- $own := include "gateway-provisioners.imagePuller.selectorLabels" . | fromYaml -}}
{{- include "gateway-provisioners.yaml" (merge $own (default dict .more) .root.Values.commonLabels) -}}
{{- end -}}

{{- /*
All DaemonSets of one kind. Takes a dict of `root` (the chart's context), `name` (the component) and,
for the hook, `annotations`.
*/ -}}
{{- define "gateway-provisioners.imagePuller.daemonSets" -}}
{{- $root := .root -}}
{{- $name := .name -}}
{{- $annotations := .annotations -}}
{{- range $key, $group := include "gateway-provisioners.imagePuller.groups" $root | fromJson }}
---
apiVersion: apps/v1
kind: DaemonSet
metadata:
  {{- include "gateway-provisioners.metadata" (dict "root" $root "component" $name
    "name" (include "gateway-provisioners.imagePuller.daemonSetName" (dict "root" $root "name" $name "group" $key))
    "namespace" (include "gateway-provisioners.kernels.namespace" $root)
    "annotations" $annotations) | nindent 2 }}
spec:
  selector:
    matchLabels:
      {{- include "gateway-provisioners.imagePuller.selectorLabels" (dict "root" $root "name" $name) | nindent 6 }}
      gateway-provisioners/nodes: {{ $key | quote }}
  # All nodes pull at once: losing idle pods is harmless.
  updateStrategy:
    rollingUpdate:
      maxUnavailable: 100%
  template:
    metadata:
      labels:
        {{- include "gateway-provisioners.imagePuller.podLabels" (dict "root" $root "name" $name "more" (dict "gateway-provisioners/nodes" $key)) | nindent 8 }}
      {{- with $root.Values.commonAnnotations }}
      annotations:
        {{- include "gateway-provisioners.yaml" . | nindent 8 }}
      {{- end }}
    spec:
      {{- with $group.pullSecrets }}
      imagePullSecrets:
        {{- range . }}
        - name: {{ . | quote }}
        {{- end }}
      {{- end }}
      automountServiceAccountToken: false
      enableServiceLinks: false
      # `sleep` ignores SIGTERM as process 1, so do not wait for it.
      terminationGracePeriodSeconds: 0
      securityContext:
        runAsNonRoot: true
        {{- range $key := list "runAsUser" "runAsGroup" }}
        {{- with include "gateway-provisioners.kernels.id" (list $root $root.Values.kernelDefaults $key) }}
        {{ $key }}: {{ . }}
        {{- end }}
        {{- end }}
        seccompProfile:
          type: RuntimeDefault
      initContainers:
        {{- $number := 0 }}
        {{- range $image, $pullPolicy := $group.images }}
        {{- $number = add1 $number }}
        - name: {{ printf "image-%d" $number }}
          image: {{ $image | quote }}
          imagePullPolicy: {{ $pullPolicy | quote }}
          command: ["true"]
          {{- include "gateway-provisioners.imagePuller.container" $root | nindent 10 }}
        {{- end }}
      containers:
        # Reuse one of the images for the idle container, so that no other one is needed.
        - name: done
          image: {{ keys $group.images | sortAlpha | first | quote }}
          imagePullPolicy: IfNotPresent
          command: [sleep, infinity]
          {{- include "gateway-provisioners.imagePuller.container" $root | nindent 10 }}
      {{- with include "gateway-provisioners.fields" $group.scheduling }}
      {{- . | nindent 6 }}
      {{- end }}
{{- end }}
{{- end -}}

{{- define "gateway-provisioners.imagePuller.container" -}}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop:
      - ALL
resources:
  {{- include "gateway-provisioners.resources" .Values.imagePuller.resources | nindent 2 }}
{{- end -}}
