{{- /* Parts of the gateway's pod that need some logic. */ -}}

{{- define "gateway-provisioners.gateway.imageReference" -}}
{{- with .Values.gateway.image -}}
{{- $name := printf "%s:%s" .repository (.tag | default $.Chart.AppVersion) -}}
{{- if .digest -}}
{{- $name = printf "%s@%s" .repository .digest -}}
{{- end -}}
{{- include "gateway-provisioners.image" (list $ $name) -}}
{{- end -}}
{{- end -}}

{{- /*
The process reads the token and its configuration once, so changes to them must restart it. A generated
token does not change, and a token in an existingSecret is not visible here. Annotations are less secret than Secrets:
the token's is a slow hash (scrypt) with the release as its salt, and cut, so that guessing a token from it is in vain.
*/ -}}
{{- define "gateway-provisioners.gateway.podAnnotations" -}}
{{- $annotations := merge (deepCopy .Values.gateway.podAnnotations) .Values.commonAnnotations -}}
{{- if .Values.gateway.extraConfig -}}
{{- $_ := set $annotations "checksum/config" (include "gateway-provisioners.gateway.config" . | sha256sum) -}}
{{- end -}}
{{- with .Values.gateway.auth.token -}}
{{- $_ := set $annotations "checksum/token" (derivePassword 1 "long" . $.Release.Name $.Release.Namespace | sha256sum | trunc 8) -}}
{{- end -}}
{{- toJson $annotations -}}
{{- end -}}

{{- /* The security context of pods from the gateway's image, with only those ids that the operator chooses. */ -}}
{{- define "gateway-provisioners.gateway.podSecurityContext" -}}
{{- $context := .Values.gateway.podSecurityContext | default dict -}}
{{- range $key := list "runAsUser" "runAsGroup" "fsGroup" -}}
{{- if or $.Values.openshift (has (get $context $key) (list "" "image")) -}}
{{- $context = omit $context $key -}}
{{- end -}}
{{- end -}}
{{- include "gateway-provisioners.yaml" $context -}}
{{- end -}}

{{- /* Operators' labels must not override the selector labels. */ -}}
{{- define "gateway-provisioners.gateway.podLabels" -}}
{{- merge (include "gateway-provisioners.gateway.selectorLabels" . | fromYaml) .Values.gateway.podLabels .Values.commonLabels | toJson -}}
{{- end -}}

{{- /* The entries of extraConfig in the order of their names, each below its name. */ -}}
{{- define "gateway-provisioners.gateway.config" -}}
{{- range $name, $code := .Values.gateway.extraConfig }}
# {{ $name }}
{{ $code }}
{{ end -}}
{{- end -}}

{{- /* A constraint without a selector gets the gateway's, limited to pods of the same version: a rollout would count both. */ -}}
{{- define "gateway-provisioners.gateway.topologySpread" -}}
{{- $constraints := list -}}
{{- $pods := dict "labelSelector" (dict "matchLabels" (include "gateway-provisioners.gateway.selectorLabels" . | fromYaml)) "matchLabelKeys" (list "pod-template-hash") -}}
{{- range .Values.gateway.topologySpreadConstraints -}}
{{- $constraints = append $constraints (hasKey . "labelSelector" | ternary . (merge (deepCopy .) $pods)) -}}
{{- end -}}
{{- toJson $constraints -}}
{{- end -}}

{{- /* The chart's own volumes and volumeMounts, as a YAML object of two lists. */ -}}
{{- define "gateway-provisioners.gateway.volumes" -}}
{{- $auth := include "gateway-provisioners.gateway.authVolumes" . | fromJson -}}
{{- $logos := include "gateway-provisioners.kernels.logoSources" . | fromJsonArray -}}
volumes:
  - name: tmp
    emptyDir:
      sizeLimit: 64Mi
  - name: runtime
    emptyDir:
      medium: Memory
      sizeLimit: 16Mi
  # What automountServiceAccountToken would mount into all containers, the operator's own included.
  - name: api-token
    projected:
      sources:
        - serviceAccountToken:
            path: token
            expirationSeconds: 3600
        - configMap:
            name: kube-root-ca.crt
            items:
              - key: ca.crt
                path: ca.crt
  {{- with include "gateway-provisioners.gateway.tlsSecretName" . }}
  - name: tls
    secret:
      secretName: {{ . | quote }}
  {{- end }}
  {{- with .Values.gateway.tls.clientCaConfigMap }}
  - name: client-ca
    configMap:
      name: {{ . | quote }}
  {{- end }}
  - name: user-groups
    configMap:
      name: {{ include "gateway-provisioners.gateway.userGroupsName" . | quote }}
  {{- with $logos }}
  - name: logos
    projected:
      sources:
        {{- include "gateway-provisioners.yaml" . | nindent 8 }}
  {{- end }}
  {{- with $auth.volumes }}
  {{- include "gateway-provisioners.yaml" . | nindent 2 }}
  {{- end }}
  {{- if .Values.gateway.extraConfig }}
  - name: config
    configMap:
      name: {{ include "gateway-provisioners.gateway.configMapName" . | quote }}
  {{- end }}
  {{- if .Values.kernelspecs.existingClaim }}
  - name: kernelspecs
    persistentVolumeClaim:
      claimName: {{ .Values.kernelspecs.existingClaim | quote }}
      readOnly: true
  {{- else if .Values.kernelspecs.image }}
  - name: kernelspecs
    emptyDir:
      sizeLimit: 64Mi
  {{- end }}
volumeMounts:
  - name: tmp
    mountPath: /tmp
  - name: runtime
    mountPath: /run/jupyter
  - name: api-token
    mountPath: /var/run/secrets/kubernetes.io/serviceaccount
    readOnly: true
  {{- if include "gateway-provisioners.gateway.tlsSecretName" . }}
  # The directory and not its files, which would not be updated on renewal.
  - name: tls
    mountPath: /run/tls
    readOnly: true
  {{- end }}
  {{- if .Values.gateway.tls.clientCaConfigMap }}
  - name: client-ca
    mountPath: /run/client-ca
    readOnly: true
  {{- end }}
  # Directories here too.
  - name: user-groups
    mountPath: /run/user-groups
    readOnly: true
  {{- if $logos }}
  - name: logos
    mountPath: /run/logos
    readOnly: true
  {{- end }}
  {{- with $auth.volumeMounts }}
  {{- include "gateway-provisioners.yaml" . | nindent 2 }}
  {{- end }}
  {{- if .Values.gateway.extraConfig }}
  - name: config
    mountPath: /etc/jupyter/jupyter_gateway_config.py
    subPath: jupyter_gateway_config.py
    readOnly: true
  {{- end }}
  {{- if or .Values.kernelspecs.existingClaim .Values.kernelspecs.image }}
  - name: kernelspecs
    mountPath: /usr/local/share/jupyter/kernels
    readOnly: true
    {{- with .Values.kernelspecs.subPath }}
    subPath: {{ . | quote }}
    {{- end }}
  {{- end }}
{{- end -}}

{{- /*
The gateway's environment, as a YAML list. It must not depend on `kernels`, because any change restarts
the gateway.
*/ -}}
{{- define "gateway-provisioners.gateway.env" -}}
# Of both families, whichever the cluster has.
- name: KG_IP
  value: "*"
- name: KG_PORT
  value: "8888"
# Fail if the port is taken: the Service would not find the gateway on another one.
- name: KG_PORT_RETRIES
  value: "0"
- name: KG_BASE_URL
  value: {{ include "gateway-provisioners.gateway.basePath" . | quote }}
- name: KG_HEALTH_PORT
  value: {{ int .Values.gateway.healthPort | quote }}
- name: GP_ALLOW_KERNELS
  value: {{ .Values.gateway.allowKernels | toString | title | quote }}
- name: GP_TRUSTED_PROXIES
  value: {{ join "," .Values.gateway.trustedProxies | quote }}
- name: GP_CLIENT_BUFFER_BYTES
  value: {{ int64 .Values.gateway.clientBufferBytes | quote }}
- name: GP_BUFFER_BYTES
  value: {{ int64 .Values.gateway.bufferBytes | quote }}
- name: GP_MAX_MESSAGE_FROM_KERNEL_BYTES
  value: {{ int64 .Values.gateway.maxMessageBytes.fromKernel | quote }}
- name: GP_MAX_MESSAGE_TO_KERNEL_BYTES
  value: {{ int64 .Values.gateway.maxMessageBytes.toKernel | quote }}
- name: GP_OUTPUT_BYTES_PER_SECOND
  value: {{ int64 .Values.gateway.outputRate.bytesPerSecond | quote }}
- name: GP_OUTPUT_MESSAGES_PER_SECOND
  value: {{ int64 .Values.gateway.outputRate.messagesPerSecond | quote }}
- name: KG_AUTH_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ include "gateway-provisioners.gateway.tokenSecretName" . | quote }}
      key: {{ include "gateway-provisioners.gateway.tokenSecretKey" . | quote }}
- name: GP_AUTH_HEADER
  value: {{ .Values.gateway.auth.header | quote }}
- name: GP_AUTH_METHODS
  value: {{ include "gateway-provisioners.gateway.authMethodsJson" . | quote }}
- name: GP_STRICT_USERNAME
  value: {{ .Values.gateway.auth.strictUsername | default false | toString | title | quote }}
- name: GP_SHARING
  value: {{ .Values.gateway.auth.sharing | toString | title | quote }}
- name: GP_USER_GROUPS_FILE
  value: /run/user-groups/groups.json
- name: KG_LIST_KERNELS
  value: {{ .Values.gateway.listKernels | toString | title | quote }}
- name: KG_DEFAULT_KERNEL_NAME
  value: {{ .Values.gateway.defaultKernel | quote }}
- name: GP_MAX_KERNELS
  value: {{ int .Values.gateway.maxKernels | quote }}
- name: GP_MAX_KERNELS_PER_USER
  value: {{ int .Values.gateway.maxKernelsPerUser | quote }}
- name: GP_MAX_STARTS_PER_USER
  value: {{ int .Values.gateway.maxStartsPerUser | quote }}
- name: GP_QUOTAS
  value: {{ include "gateway-provisioners.gateway.quotasJson" . | quote }}
- name: GP_CONTACT
  value: {{ .Values.gateway.contact | quote }}
- name: GP_AUDIT
  value: {{ .Values.gateway.audit | quote }}
- name: GP_SHUTDOWN_KERNELS_ON_EXIT
  value: {{ .Values.gateway.shutdownKernelsOnExit | toString | title | quote }}
- name: GP_LEASE
  value: {{ include "gateway-provisioners.gateway.leaseName" . | quote }}
# This gateway's pod, and a selector for the pods of all gateways.
- name: GP_GATEWAY_POD
  valueFrom:
    fieldRef:
      fieldPath: metadata.name
- name: GP_GATEWAY_SERVICE_ACCOUNT
  valueFrom:
    fieldRef:
      fieldPath: spec.serviceAccountName
- name: GP_GATEWAY_SELECTOR
  value: {{ include "gateway-provisioners.gateway.selector" . | quote }}
- name: GP_INSTANCE
  value: {{ include "gateway-provisioners.fullname" . | quote }}
- name: GP_NAMESPACE
  {{- if include "gateway-provisioners.kernels.haveOwnNamespace" . }}
  value: {{ include "gateway-provisioners.kernels.namespace" . | quote }}
- name: GP_GATEWAY_NAMESPACE
  {{- end }}
  valueFrom:
    fieldRef:
      fieldPath: metadata.namespace
- name: GP_RESPONSE_IP
  valueFrom:
    fieldRef:
      fieldPath: status.podIP
- name: GP_RESPONSE_PORT
  value: "8877"
{{- if include "gateway-provisioners.kernels.haveOwnNamespace" . }}
- name: GP_OWNER_CONFIGMAP
  value: {{ include "gateway-provisioners.kernels.ownerName" . | quote }}
{{- else }}
- name: GP_OWNER_DEPLOYMENT
  value: {{ include "gateway-provisioners.gateway.deploymentName" . | quote }}
{{- end }}
- name: GP_KERNELSPECS_CONFIGMAP
  value: {{ include "gateway-provisioners.kernels.configMapName" . | quote }}
- name: GP_LOGOS_DIR
  value: /run/logos
- name: GP_LAUNCH_SCRIPTS
  value: {{ .Values.kernelspecs.launchScripts | default false | toString | title | quote }}
{{- if .Values.kernelspecs.launchScripts }}
# No folder: in the image's own, below /tmp, a script could leave configuration that runs with the token when the
# container starts again.
- name: JUPYTER_CONFIG_DIR
  value: /dev/null
{{- end }}
- name: GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME
  value: {{ include "gateway-provisioners.kernels.serviceAccountName" . | quote }}
- name: GP_LAUNCH_TIMEOUT
  value: {{ int .Values.gateway.launchTimeout | quote }}
- name: GP_WAIT_TIMEOUT
  value: {{ int .Values.gateway.waitTimeout | quote }}
- name: GP_UNSCHEDULABLE_GRACE
  value: {{ int .Values.gateway.unschedulableGraceSeconds | quote }}
- name: GP_CULL_IDLE_TIMEOUT
  value: {{ int .Values.gateway.cull.idleTimeout | quote }}
- name: GP_CULL_INTERVAL
  value: {{ int .Values.gateway.cull.interval | quote }}
- name: GP_CULL_CONNECTED
  value: {{ .Values.gateway.cull.connected | toString | title | quote }}
- name: GP_AUTHORIZED_USERS
  value: {{ join "," .Values.gateway.authorizedUsers | quote }}
# A comma alone is an empty list; an empty value would mean the default.
- name: GP_UNAUTHORIZED_USERS
  value: {{ join "," .Values.gateway.unauthorizedUsers | default "," | quote }}
- name: GP_CLIENT_ENVS
  value: {{ join "," .Values.gateway.clientEnv | quote }}
- name: GP_ALLOWED_ORIGINS
  value: {{ join "," .Values.gateway.cors.allowedOrigins | quote }}
{{- if include "gateway-provisioners.gateway.tlsSecretName" . }}
- name: KG_CERTFILE
  value: /run/tls/tls.crt
- name: KG_KEYFILE
  value: /run/tls/tls.key
{{- end }}
{{- if .Values.gateway.tls.clientCaConfigMap }}
- name: KG_CLIENT_CA
  value: /run/client-ca/ca.crt
{{- end }}
{{- $policy := include "gateway-provisioners.clientPolicy" .Values.gateway.clientPolicy | fromJson }}
- name: GP_MAX_CPUS
  value: {{ $policy.max_cpus | default "" | quote }}
- name: GP_MAX_MEMORY
  value: {{ $policy.max_memory | default "" | quote }}
- name: GP_MAX_GPUS
  value: {{ $policy.max_gpus | default "" | quote }}
- name: GP_CLIENT_IDS
  value: {{ $policy.client_ids | default false | toString | title | quote }}
- name: GP_PROHIBITED_UIDS
  value: {{ join "," $policy.prohibited_uids | default "," | quote }}
- name: GP_PROHIBITED_GIDS
  value: {{ join "," $policy.prohibited_gids | default "," | quote }}
- name: GP_CLIENT_SERVICE_ACCOUNTS
  value: {{ join "," $policy.client_service_accounts | quote }}
- name: GP_CLIENT_CLAIMS
  value: {{ join "," $policy.client_claims | quote }}
- name: GP_MIRROR_WORKING_DIRS
  value: {{ $policy.mirror_working_dirs | default false | toString | title | quote }}
- name: GP_CLIENT_SPARK_OPTIONS
  value: {{ $policy.client_spark_options | default false | toString | title | quote }}
- name: GP_LOG_LEVEL
  value: {{ .Values.gateway.logLevel }}
# Connection files contain kernels' keys, so they stay in memory.
- name: JUPYTER_RUNTIME_DIR
  value: /run/jupyter
{{- end -}}
