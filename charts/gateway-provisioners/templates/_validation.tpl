{{- /*
Checks that the schema cannot make: contradicting values, and values that are only known after the
defaults have been merged. All problems are reported at once, each with the value to change.
*/ -}}

{{- define "gateway-provisioners.problems.gateway" -}}
{{- $problems := list -}}
{{- if and (hasKey .Values "enabled") (not (get .Values "enabled")) -}}
{{- $problems = append $problems (printf "enabled: Helm leaves this chart out only if the parent chart has a condition for it; add `condition: %s.enabled` to its dependency, or remove enabled" .Chart.Name) -}}
{{- end -}}
{{- $gateway := .Values.gateway -}}
{{- if and $gateway.auth.token $gateway.auth.existingSecret -}}
{{- $problems = append $problems "gateway.auth: token and existingSecret are both set; set one of them" -}}
{{- end -}}
{{- if and $gateway.auth.token (not (regexMatch "^[!-~]{16,}$" $gateway.auth.token)) -}}
{{- $problems = append $problems "gateway.auth.token: must be at least 16 printable ASCII characters without spaces" -}}
{{- end -}}
{{- with get (get ($gateway.resources | default dict) "limits" | default dict) "memory" -}}
{{- $largest := max (int64 $gateway.maxMessageBytes.fromKernel) (int64 $gateway.maxMessageBytes.toKernel) -}}
{{- /* A message that passes through the gateway costs up to four times its size. */ -}}
{{- $needed := add 134217728 (int64 $gateway.bufferBytes) (mul 4 $largest) -}}
{{- if lt (include "gateway-provisioners.bytes" . | int64) $needed -}}
{{- $problems = append $problems (printf "gateway.resources.limits.memory: %v is less than the %dMi that the gateway may need (128Mi, bufferBytes, and 4 times the larger of maxMessageBytes); raise the limit, or lower gateway.bufferBytes or gateway.maxMessageBytes" (kindIs "string" . | ternary . (int64 .)) (div (add $needed 1048575) 1048576)) -}}
{{- end -}}
{{- end -}}
{{- if gt (int64 $gateway.clientBufferBytes) (int64 $gateway.bufferBytes) -}}
{{- $problems = append $problems (printf "gateway.clientBufferBytes: %d is more than gateway.bufferBytes, which is for all clients together; lower the one or raise the other" (int64 $gateway.clientBufferBytes)) -}}
{{- end -}}
{{- if and $gateway.shutdownKernelsOnExit (gt (int $gateway.replicas) 1) -}}
{{- $problems = append $problems "gateway.shutdownKernelsOnExit: with several gateways, any one that exits would shut down all kernels; set gateway.replicas to 1" -}}
{{- end -}}
{{- if and (not $gateway.serviceAccount.create) (not $gateway.serviceAccount.name) -}}
{{- $problems = append $problems "gateway.serviceAccount: create is false but name is empty; set name to an existing ServiceAccount" -}}
{{- end -}}
{{- if and (not .Values.kernelServiceAccount.create) (not .Values.kernelServiceAccount.name) -}}
{{- $problems = append $problems "kernelServiceAccount: create is false but name is empty; set name to an existing ServiceAccount" -}}
{{- end -}}
{{- $sameName := eq (include "gateway-provisioners.gateway.serviceAccountName" .) (include "gateway-provisioners.kernels.serviceAccountName" .) -}}
{{- if and $sameName (not (include "gateway-provisioners.kernels.haveOwnNamespace" .)) -}}
{{- $problems = append $problems "kernelServiceAccount.name: this is the gateway's ServiceAccount, which would give users all rights of the gateway; use another one" -}}
{{- end -}}
{{- if has (include "gateway-provisioners.gateway.serviceAccountName" .) ($gateway.clientPolicy.serviceAccounts | default list) -}}
{{- $problems = append $problems "gateway.clientPolicy.serviceAccounts: this includes the gateway's ServiceAccount, which would give users all rights of the gateway; remove it" -}}
{{- end -}}
{{- $problems = concat $problems (include "gateway-provisioners.problems.clientPolicy" (dict "where" "gateway" "policy" $gateway.clientPolicy) | fromJsonArray) -}}
{{- $sources := include "gateway-provisioners.gateway.envSources" . | fromYaml -}}
{{- range include "gateway-provisioners.gateway.env" . | fromYamlArray -}}
{{- if hasKey $gateway.extraEnv .name -}}
{{- $advice := printf "use %s" (get $sources .name) -}}
{{- $problems = append $problems (printf "gateway.extraEnv.%s: the chart sets this variable; %s" .name (hasKey $sources .name | ternary $advice "remove it")) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- /* The values from which the chart sets variables of the gateway. It sets the others itself. */ -}}
{{- define "gateway-provisioners.gateway.envSources" -}}
KG_PORT: gateway.service.port, which is the port that clients see
KG_BASE_URL: gateway.baseUrl
KG_HEALTH_PORT: gateway.healthPort
KG_AUTH_TOKEN: gateway.auth.existingSecret
KG_LIST_KERNELS: gateway.listKernels
KG_DEFAULT_KERNEL_NAME: gateway.defaultKernel
KG_CERTFILE: gateway.tls
KG_KEYFILE: gateway.tls
KG_CLIENT_CA: gateway.tls.clientCaConfigMap
GP_ALLOW_KERNELS: gateway.allowKernels
GP_TRUSTED_PROXIES: gateway.trustedProxies
GP_CLIENT_BUFFER_BYTES: gateway.clientBufferBytes
GP_BUFFER_BYTES: gateway.bufferBytes
GP_MAX_MESSAGE_FROM_KERNEL_BYTES: gateway.maxMessageBytes.fromKernel
GP_MAX_MESSAGE_TO_KERNEL_BYTES: gateway.maxMessageBytes.toKernel
GP_OUTPUT_BYTES_PER_SECOND: gateway.outputRate.bytesPerSecond
GP_OUTPUT_MESSAGES_PER_SECOND: gateway.outputRate.messagesPerSecond
GP_AUTH_HEADER: gateway.auth.header
GP_AUTH_METHODS: gateway.auth.methods
GP_STRICT_USERNAME: gateway.auth.strictUsername
GP_SHARING: gateway.auth.sharing
GP_USER_GROUPS_FILE: userGroups
GP_MAX_KERNELS: gateway.maxKernels
GP_MAX_KERNELS_PER_USER: gateway.maxKernelsPerUser
GP_MAX_STARTS_PER_USER: gateway.maxStartsPerUser
GP_QUOTAS: gateway.quotas
GP_CONTACT: gateway.contact
GP_AUDIT: gateway.audit
GP_SHUTDOWN_KERNELS_ON_EXIT: gateway.shutdownKernelsOnExit
GP_INSTANCE: fullnameOverride
GP_NAMESPACE: kernelNamespace
GP_DEFAULT_KERNEL_SERVICE_ACCOUNT_NAME: kernelServiceAccount.name
GP_LAUNCH_SCRIPTS: kernelspecs.launchScripts
GP_LAUNCH_TIMEOUT: gateway.launchTimeout
GP_WAIT_TIMEOUT: gateway.waitTimeout
GP_UNSCHEDULABLE_GRACE: gateway.unschedulableGraceSeconds
GP_CULL_IDLE_TIMEOUT: gateway.cull.idleTimeout
GP_CULL_INTERVAL: gateway.cull.interval
GP_CULL_CONNECTED: gateway.cull.connected
GP_AUTHORIZED_USERS: gateway.authorizedUsers
GP_UNAUTHORIZED_USERS: gateway.unauthorizedUsers
GP_CLIENT_ENVS: gateway.clientEnv
GP_ALLOWED_ORIGINS: gateway.cors.allowedOrigins
GP_MAX_CPUS: gateway.clientPolicy.maxCpus
GP_MAX_MEMORY: gateway.clientPolicy.maxMemory
GP_MAX_GPUS: gateway.clientPolicy.maxGpus
GP_CLIENT_IDS: gateway.clientPolicy.chooseIds
GP_PROHIBITED_UIDS: gateway.clientPolicy.prohibitedUids
GP_PROHIBITED_GIDS: gateway.clientPolicy.prohibitedGids
GP_CLIENT_SERVICE_ACCOUNTS: gateway.clientPolicy.serviceAccounts
GP_CLIENT_CLAIMS: gateway.clientPolicy.claims
GP_MIRROR_WORKING_DIRS: gateway.clientPolicy.workingDir
GP_CLIENT_SPARK_OPTIONS: gateway.clientPolicy.sparkOptions
GP_LOG_LEVEL: gateway.logLevel
{{- end -}}

{{- define "gateway-provisioners.problems.auth" -}}
{{- $problems := list -}}
{{- $gateway := .Values.gateway -}}
{{- $tls := include "gateway-provisioners.gateway.tlsSecretName" . -}}
{{- if and $gateway.tls.clientCaConfigMap (not $tls) -}}
{{- $problems = append $problems "gateway.tls.clientCaConfigMap: clients show certificates only to a gateway with TLS of its own; set gateway.tls.existingSecret or gateway.tls.certManager" -}}
{{- end -}}
{{- if and $gateway.tls.testSecret (not $gateway.tls.clientCaConfigMap) -}}
{{- $problems = append $problems "gateway.tls.testSecret: clients need no certificate, because clientCaConfigMap is not set; set both or neither" -}}
{{- end -}}
{{- $issuers := dict -}}
{{- range $name, $method := include "gateway-provisioners.gateway.authMethods" . | fromJson -}}
{{- $where := printf "gateway.auth.methods.%s" $name -}}
{{- if eq ($method.existingSecret | default "") (include "gateway-provisioners.gateway.tokenSecretName" $) -}}
{{- $problems = append $problems (printf "%s.existingSecret: this Secret has the administrators' token; use another Secret" $where) -}}
{{- end -}}
{{- range $key := list "issuer" "jwksUrl" "apiUrl" -}}
{{- if regexMatch "^https?://[^/]*@" (get $method $key | default "") -}}
{{- $problems = append $problems (printf "%s.%s: the URL must not contain a user or a password; remove it, and change the password" $where $key) -}}
{{- end -}}
{{- end -}}
{{- if eq $method.type "jwt" -}}
{{- $keys := list $method.jwksUrl $method.jwks $method.clusterKeys | compact | len -}}
{{- if gt $keys 1 -}}
{{- $problems = append $problems (printf "%s: more than one of jwksUrl, jwks and clusterKeys is set; the keys must come from one of them" $where) -}}
{{- end -}}
{{- if and (eq $keys 0) (not (regexMatch "^(https://|http://(localhost|127\\.0\\.0\\.1|\\[::1\\])[:/])" $method.issuer)) -}}
{{- $problems = append $problems (printf "%s.issuer: its keys would be fetched from there, so it must begin with https://; or set jwksUrl, jwks or clusterKeys" $where) -}}
{{- end -}}
{{- with get $issuers $method.issuer -}}
{{- $problems = append $problems (printf "%s.issuer: gateway.auth.methods.%s has the same issuer; list all audiences in one method" $where .) -}}
{{- end -}}
{{- $_ := set $issuers $method.issuer $name -}}
{{- range dig "keys" list ($method.jwks | default dict) -}}
{{- if or (hasKey . "d") (hasKey . "k") -}}
{{- $problems = append $problems (printf "%s.jwks: this includes a private or symmetric key; use only public ones, and replace this one" $where) -}}
{{- end -}}
{{- end -}}
{{- else if eq $method.type "header" -}}
{{- if not (or $method.existingSecret $method.certificateNames) -}}
{{- $problems = append $problems (printf "%s: any client could send the header; set existingSecret to a Secret that only the proxy knows, or certificateNames" $where) -}}
{{- end -}}
{{- if and $method.certificateNames (not (and $tls (or $gateway.tls.clientCaConfigMap (hasKey $gateway.extraEnv "KG_CLIENT_CA")))) -}}
{{- $problems = append $problems (printf "%s.certificateNames: the gateway does not ask clients for certificates; set gateway.tls.existingSecret or gateway.tls.certManager, and gateway.tls.clientCaConfigMap" $where) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := $gateway.quotas.groups -}}
{{- if not (or (hasKey $.Values.userGroups $name) (include "gateway-provisioners.gateway.authGroups" $)) -}}
{{- $problems = append $problems (printf "gateway.quotas.groups: group %q does not exist; add it to userGroups" $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "gateway-provisioners.problems.other" -}}
{{- $problems := list -}}
{{- $gateway := .Values.gateway -}}
{{- if and $gateway.tls.existingSecret $gateway.tls.certManager.issuerRef -}}
{{- $problems = append $problems "gateway.tls: existingSecret and certManager.issuerRef are both set; set one of them" -}}
{{- end -}}
{{- if and $gateway.tls.certManager.issuerRef (not (get $gateway.tls.certManager.issuerRef "name")) -}}
{{- $problems = append $problems "gateway.tls.certManager.issuerRef: name is missing; set it to the issuer's name" -}}
{{- end -}}
{{- if and $gateway.tls.certManager.dnsNames (not $gateway.tls.certManager.issuerRef) -}}
{{- $problems = append $problems "gateway.tls.certManager.dnsNames: certManager.issuerRef is not set, so there is no certificate; set it too" -}}
{{- end -}}
{{- $own := include "gateway-provisioners.gateway.volumes" . | fromYaml -}}
{{- $volumes := list "tls" "client-ca" "config" "kernelspecs" -}}
{{- range $own.volumes -}}
{{- $volumes = append $volumes .name -}}
{{- end -}}
{{- range $gateway.extraVolumes -}}
{{- if has .name $volumes -}}
{{- $problems = append $problems (printf "gateway.extraVolumes: the chart already has a volume %q; use another name" .name) -}}
{{- end -}}
{{- end -}}
{{- range $mount := $gateway.extraVolumeMounts -}}
{{- range $own.volumeMounts -}}
{{- if eq .mountPath (default "" $mount.mountPath) -}}
{{- $problems = append $problems (printf "gateway.extraVolumeMounts: the chart already mounts a volume at %s; use another path" .mountPath) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range concat $gateway.extraContainers $gateway.extraInitContainers -}}
{{- if has .name (list "gateway" "kernelspecs") -}}
{{- $problems = append $problems (printf "gateway: the chart already has a container %q; use another name in extraContainers or extraInitContainers" .name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.kernelspecs.existingClaim .Values.kernelspecs.image -}}
{{- $problems = append $problems "kernelspecs: existingClaim and image are both set; set one of them" -}}
{{- end -}}
{{- if and .Values.kernelspecs.subPath (not .Values.kernelspecs.existingClaim) -}}
{{- $problems = append $problems "kernelspecs.subPath: this is a folder of existingClaim, which is not set; set both or neither" -}}
{{- end -}}
{{- if and .Values.imagePuller.hook.enabled (not .Values.rbac.create) -}}
{{- $problems = append $problems "imagePuller.hook: it needs its own Role, but rbac.create is false; use imagePuller.continuous instead" -}}
{{- end -}}
{{- if and .Values.httpRoute.enabled (not .Values.httpRoute.parentRefs) -}}
{{- $problems = append $problems "httpRoute.parentRefs: an HTTPRoute needs a Gateway; name one, such as [{name: public, namespace: gateways}]" -}}
{{- end -}}
{{- if and .Values.metrics.serviceMonitor.enabled .Values.metrics.podMonitor.enabled -}}
{{- $problems = append $problems "metrics: serviceMonitor and podMonitor would scrape everything twice; enable only one of them" -}}
{{- end -}}
{{- range $name, $_ := .Values.commonLabels -}}
{{- if or (hasPrefix "app.kubernetes.io/" $name) (eq $name "helm.sh/chart") -}}
{{- $problems = append $problems (printf "commonLabels: the chart sets %s itself; use another label" $name) -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "gateway-provisioners.problems.kernels" -}}
{{- $problems := list -}}
{{- /* https://github.com/distribution/reference/blob/main/regexp.go */ -}}
{{- $hostPart := "[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?" -}}
{{- $host := printf "(%s(\\.%s)*|\\[[a-fA-F0-9:]+\\])(:[0-9]+)?" $hostPart $hostPart -}}
{{- $pathPart := "[a-z0-9]+(([._]|__|-+)[a-z0-9]+)*" -}}
{{- $tag := "(:[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?" -}}
{{- $digest := "(@[A-Za-z][A-Za-z0-9]*([-_+.][A-Za-z][A-Za-z0-9]*)*:[0-9a-fA-F]{32,})?" -}}
{{- $image := printf "^(%s/)?%s(/%s)*%s%s$" $host $pathPart $pathPart $tag $digest -}}
{{- $kernels := include "gateway-provisioners.kernels" . | fromJson -}}
{{- range $name, $kernel := $kernels -}}
{{- $where := get $kernel "places" | last -}}
{{- range get $kernel "places" | initial -}}
{{- $problems = append $problems (printf "%s: this kernel and %s would have the same name %s; rename one of them" . $where $name) -}}
{{- end -}}
{{- if eq $name "python" -}}
{{- $problems = append $problems "kernels.python: Jupyter treats this name as python3; rename the kernel to python3" -}}
{{- end -}}
{{- if not $kernel.image -}}
{{- $problems = append $problems (printf "%s: image is missing; set %s.image, or set %s.enabled to false" $where $where $where) -}}
{{- else if not (regexMatch $image $kernel.image) -}}
{{- $problems = append $problems (printf "%s.image: %q is not a valid image name; use the form [registry[:port]/]path[:tag][@digest], the path in lower case" $where $kernel.image) -}}
{{- end -}}
{{- if and (not (has $kernel.language (list "python" "r" "scala"))) (eq $kernel.image (include "gateway-provisioners.kernels.defaultImage" (dict "name" (index (splitList "." $where) 1) "root" $))) -}}
{{- $problems = append $problems (printf "%s.language: the default image has no launcher for %q; set %s.image to an image that has one" $where $kernel.language $where) -}}
{{- end -}}
{{- $bounds := splitList ".." $kernel.portRange -}}
{{- $lowest := first $bounds | int -}}
{{- $highest := last $bounds | int -}}
{{- if and (ne $kernel.portRange "0..0") (or (lt $lowest 1024) (gt $highest 65535) (lt (sub $highest $lowest) 1000)) -}}
{{- $problems = append $problems (printf "%s.portRange: %s is not valid; use a range of at least 1000 ports from 1024 to 65535, or 0..0 for any port" $where $kernel.portRange) -}}
{{- end -}}
{{- if and (ne $kernel.language "python") (hasKey (get $.Values.kernels $name | default dict) "kernelClassName") -}}
{{- $problems = append $problems (printf "%s.kernelClassName: this value only applies to Python kernels, not to %s; remove it" $where $kernel.language) -}}
{{- end -}}
{{- $unauthorized := $kernel.unauthorizedUsers | default $.Values.gateway.unauthorizedUsers -}}
{{- range $kernel.authorizedUsers | default $.Values.gateway.authorizedUsers -}}
{{- if has . $unauthorized -}}
{{- $problems = append $problems (printf "%s: user %q is in both authorizedUsers and unauthorizedUsers; remove it from one of them" $where .) -}}
{{- end -}}
{{- end -}}
{{- $problems = concat $problems (include "gateway-provisioners.problems.kernelOptions" (dict "where" $where "kernel" $kernel "root" $) | fromJsonArray) -}}
{{- end -}}
{{- /* The kernelspecs in a volume or an image are not known here. */ -}}
{{- $others := or .Values.kernelspecs.existingClaim .Values.kernelspecs.image -}}
{{- if and $kernels (not $others) (not (hasKey $kernels .Values.gateway.defaultKernel)) -}}
{{- $problems = append $problems (printf "gateway.defaultKernel: %q is not an enabled kernel; set it to one of: %s" .Values.gateway.defaultKernel (keys $kernels | sortAlpha | join ", ")) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "gateway-provisioners.problems.clientPolicy" -}}
{{- $problems := list -}}
{{- range .policy.claims | default list -}}
{{- if not (replace "{username}" "" .) -}}
{{- $problems = append $problems (printf "%s.clientPolicy.claims: %s lets users mount any claim that has their name, whatever it is for; write for example home-{username}" $.where .) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "prohibitedUids" "prohibitedGids" -}}
{{- range get $.policy $key | default list -}}
{{- $bounds := include "gateway-provisioners.number" . | splitList "-" -}}
{{- if gt (first $bounds | int64) (last $bounds | int64) -}}
{{- $problems = append $problems (printf "%s.clientPolicy.%s: %s must begin with the lower id; write %s-%s" $.where $key . (last $bounds) (first $bounds)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "gateway-provisioners.problems.kernelOptions" -}}
{{- $problems := list -}}
{{- $where := .where -}}
{{- $kernel := .kernel -}}
{{- $problems = concat $problems (include "gateway-provisioners.problems.clientPolicy" (dict "where" $where "policy" $kernel.clientPolicy) | fromJsonArray) -}}
{{- /* Groups that a method reports are not known here. */ -}}
{{- $anyGroup := include "gateway-provisioners.gateway.authGroups" .root -}}
{{- range $kernel.authorizedGroups -}}
{{- if not (or $anyGroup (hasKey $.root.Values.userGroups .)) -}}
{{- $problems = append $problems (printf "%s.authorizedGroups: group %q does not exist; add it to userGroups" $where .) -}}
{{- end -}}
{{- end -}}
{{- if and $kernel.authorizedGroups (not $anyGroup) (not (get $kernel "users")) -}}
{{- $problems = append $problems (printf "%s.authorizedGroups: these groups have no members, so that no user may start the kernel; add some, or set %s.enabled to false" $where $where) -}}
{{- end -}}
{{- $names := list -}}
{{- range concat $kernel.volumes (get (get $kernel.podTemplate "spec" | default dict) "volumes" | default list) -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $kernel.volumeMounts -}}
{{- if not (has .name $names) -}}
{{- $problems = append $problems (printf "%s.volumeMounts: volume %q does not exist; add it to %s.volumes" $where .name $where) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "volumes" "volumeMounts" -}}
{{- range regexFindAll "\\{\\w+\\}" (get $kernel $key | toJson) -1 | uniq -}}
{{- if ne . "{username}" -}}
{{- $problems = append $problems (printf "%s.%s: %s is not a known placeholder; use {username}" $where $key .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $gateway := include "gateway-provisioners.gateway.serviceAccountName" .root -}}
{{- if eq $kernel.serviceAccountName $gateway -}}
{{- $problems = append $problems (printf "%s.serviceAccountName: this is the gateway's ServiceAccount, which would give users all rights of the gateway; use another one" $where) -}}
{{- end -}}
{{- $template := get $kernel.podTemplate "spec" | default dict -}}
{{- /* Kubernetes has an old and a new name for it. */ -}}
{{- range $key := list "serviceAccountName" "serviceAccount" -}}
{{- if eq (get $template $key | default "") $gateway -}}
{{- $problems = append $problems (printf "%s.podTemplate.spec.%s: this is the gateway's ServiceAccount, which would give users all rights of the gateway; use another one" $where $key) -}}
{{- end -}}
{{- end -}}
{{- if has $gateway ($kernel.clientPolicy.serviceAccounts | default list) -}}
{{- $problems = append $problems (printf "%s.clientPolicy.serviceAccounts: this includes the gateway's ServiceAccount, which would give users all rights of the gateway; remove it" $where) -}}
{{- end -}}
{{- toJson $problems -}}
{{- end -}}

{{- define "gateway-provisioners.validate" -}}
{{- $problems := concat
  (include "gateway-provisioners.problems.gateway" . | fromJsonArray)
  (include "gateway-provisioners.problems.auth" . | fromJsonArray)
  (include "gateway-provisioners.problems.other" . | fromJsonArray)
  (include "gateway-provisioners.problems.kernels" . | fromJsonArray)
-}}
{{- if $problems -}}
{{- fail (printf "\n\nThese values cannot work:\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
