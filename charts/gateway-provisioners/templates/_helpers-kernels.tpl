{{- /*
Builds kernelspecs from `kernels` and `kernelDefaults`. Helpers return JSON, so that values cannot
change the structure.
*/ -}}

{{- /*
Merges the second of two maps into the first. Unlike with mergeOverwrite, an empty string, list or
zero replaces the previous value, so that a kernel can undo a default.
*/ -}}
{{- define "gateway-provisioners.merge" -}}
{{- $merged := deepCopy (first .) -}}
{{- range $key, $value := last . -}}
{{- $old := get $merged $key -}}
{{- if and (kindIs "map" $old) (kindIs "map" $value) -}}
{{- $value = include "gateway-provisioners.merge" (list $old $value) | fromJson -}}
{{- end -}}
{{- $_ := set $merged $key $value -}}
{{- end -}}
{{- toJson $merged -}}
{{- end -}}

{{- /* The default image of a kernel with one of these names, in this chart's version. */ -}}
{{- define "gateway-provisioners.kernels.defaultImage" -}}
{{- $images := dict "python3" "elyra/kernel-py" "r" "elyra/kernel-r" "scala" "elyra/kernel-scala" -}}
{{- with get $images .name -}}
{{- printf "%s:%s" . $.root.Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{- /* Every enabled kernel and its profiles, by name, with the defaults merged in. */ -}}
{{- define "gateway-provisioners.kernels" -}}
{{- $kernels := dict -}}
{{- range $name, $values := .Values.kernels -}}
{{- if kindIs "map" $values -}}
{{- $kernel := include "gateway-provisioners.merge" (list $.Values.kernelDefaults $values) | fromJson -}}
{{- if dig "enabled" true $kernel -}}
{{- if not $kernel.image -}}
{{- $_ := set $kernel "image" (include "gateway-provisioners.kernels.defaultImage" (dict "name" $name "root" $)) -}}
{{- end -}}
{{- if not $kernel.displayName -}}
{{- $_ := set $kernel "displayName" ($name | replace "_" " " | replace "-" " " | title) -}}
{{- end -}}
{{- include "gateway-provisioners.kernels.add" (dict "kernels" $kernels "name" $name "kernel" $kernel "where" (printf "kernels.%s" $name) "root" $) -}}
{{- range $profile, $changes := $kernel.profiles -}}
{{- if and (kindIs "map" $changes) (dig "enabled" true ($changes | default dict)) -}}
{{- $variant := set (deepCopy $kernel) "displayName" (printf "%s (%s)" $kernel.displayName $profile) -}}
{{- $variant = include "gateway-provisioners.merge" (list $variant $changes) | fromJson -}}
{{- $_ := set $variant "profileOf" $name -}}
{{- $where := printf "kernels.%s.profiles.%s" $name $profile -}}
{{- include "gateway-provisioners.kernels.add" (dict "kernels" $kernels "name" (printf "%s-%s" $name $profile) "kernel" $variant "where" $where "root" $) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $kernels -}}
{{- end -}}

{{- /*
Adds a kernel to `kernels`, with its values resolved. `places` collects the values that define a kernel
of this name: more than one is a problem.
*/ -}}
{{- define "gateway-provisioners.kernels.add" -}}
{{- $kernel := deepCopy .kernel -}}
{{- if not $kernel.launchTimeout -}}
{{- $_ := set $kernel "launchTimeout" .root.Values.gateway.launchTimeout -}}
{{- end -}}
{{- $_ := set $kernel "image" (include "gateway-provisioners.image" (list .root $kernel.image)) -}}
{{- $_ := set $kernel "pullSecrets" (include "gateway-provisioners.pullSecrets" (list .root $kernel.pullSecrets) | fromJsonArray) -}}
{{- $_ := set $kernel "resources" (include "gateway-provisioners.resources" $kernel.resources | fromYaml) -}}
{{- if $kernel.gpus -}}
{{- $gpus := dict "limits" (dict $kernel.gpuResource (int $kernel.gpus)) -}}
{{- $_ := set $kernel "resources" (include "gateway-provisioners.merge" (list $kernel.resources $gpus) | fromJson) -}}
{{- end -}}
{{- $users := $kernel.authorizedUsers -}}
{{- range $kernel.authorizedGroups -}}
{{- $users = concat $users (get $.root.Values.userGroups . | default list) -}}
{{- end -}}
{{- $_ := set $kernel "users" (uniq $users) -}}
{{- $_ := set $kernel "places" (append (dig .name "places" list .kernels) .where) -}}
{{- $_ := set .kernels .name $kernel -}}
{{- end -}}

{{- /*
The `runAsUser` or `runAsGroup` of a kernel as a number; empty if the image or the cluster chooses it. Takes a list of
the chart's context, the kernel, and the value's name.
*/ -}}
{{- define "gateway-provisioners.kernels.id" -}}
{{- $id := get (index . 1) (last .) -}}
{{- if and (empty $id) (not (kindIs "float64" $id)) -}}
{{- if not (first .).Values.openshift -}}
{{- get (dict "runAsUser" 1000 "runAsGroup" 100) (last .) -}}
{{- end -}}
{{- else if ne (toString $id) "image" -}}
{{- include "gateway-provisioners.number" $id -}}
{{- end -}}
{{- end -}}

{{- /* A client policy, by the names of the provisioner's traits. */ -}}
{{- define "gateway-provisioners.clientPolicy" -}}
{{- $settings := dict -}}
{{- range $key := list "maxCpus" "maxMemory" "maxGpus" -}}
{{- if hasKey $ $key -}}
{{- $_ := set $settings (snakecase $key) (include "gateway-provisioners.number" (get $ $key)) -}}
{{- end -}}
{{- end -}}
{{- range $key := list "prohibitedUids" "prohibitedGids" -}}
{{- if hasKey $ $key -}}
{{- $ids := list -}}
{{- range get $ $key -}}
{{- $ids = append $ids (include "gateway-provisioners.number" .) -}}
{{- end -}}
{{- $_ := set $settings (snakecase $key) $ids -}}
{{- end -}}
{{- end -}}
{{- range $key, $setting := dict
  "chooseIds" "client_ids"
  "serviceAccounts" "client_service_accounts"
  "claims" "client_claims"
  "workingDir" "mirror_working_dirs"
  "sparkOptions" "client_spark_options"
-}}
{{- if hasKey $ $key -}}
{{- $_ := set $settings $setting (get $ $key) -}}
{{- end -}}
{{- end -}}
{{- toJson $settings -}}
{{- end -}}

{{- /* A number in plain notation: Helm reads whole numbers as floats and would print 1e+09. */ -}}
{{- define "gateway-provisioners.number" -}}
{{- if kindIs "string" . -}}
{{- . -}}
{{- else if eq (float64 .) (float64 (int64 .)) -}}
{{- int64 . -}}
{{- else -}}
{{- . -}}
{{- end -}}
{{- end -}}

{{- /* A logo as the gateway knows it: the name of one of ours, or the path below GP_LOGOS_DIR of one in a ConfigMap. */ -}}
{{- define "gateway-provisioners.kernels.logoName" -}}
{{- if kindIs "string" . -}}
{{- . -}}
{{- else -}}
{{- printf "%s/%s" .configMap .key -}}
{{- end -}}
{{- end -}}

{{- /* The sources of a projected volume with all logos from ConfigMaps. A missing one keeps no gateway from starting. */ -}}
{{- define "gateway-provisioners.kernels.logoSources" -}}
{{- $maps := dict -}}
{{- range $name, $kernel := include "gateway-provisioners.kernels" . | fromJson -}}
{{- if kindIs "map" $kernel.logo -}}
{{- $items := get $maps $kernel.logo.configMap | default dict -}}
{{- $_ := set $items $kernel.logo.key (include "gateway-provisioners.kernels.logoName" $kernel.logo) -}}
{{- $_ := set $maps $kernel.logo.configMap $items -}}
{{- end -}}
{{- end -}}
{{- $sources := list -}}
{{- range $name, $paths := $maps -}}
{{- $items := list -}}
{{- range $key, $path := $paths -}}
{{- $items = append $items (dict "key" $key "path" $path) -}}
{{- end -}}
{{- $sources = append $sources (dict "configMap" (dict "name" $name "optional" true "items" $items)) -}}
{{- end -}}
{{- toJson $sources -}}
{{- end -}}

{{- /*
The kernel.json of one kernel, identical to the output of `jupyter k8s-spec install`. Settings that
equal the provisioner's defaults are omitted.
*/ -}}
{{- define "gateway-provisioners.kernels.spec" -}}
{{- $kernel := .kernel -}}
{{- $argv := list
  "python" (printf "/usr/local/share/jupyter/kernels/%s/scripts/launch_kubernetes.py" .name)
  "--kernel-id" "{kernel_id}"
  "--port-range" "{port_range}"
  "--response-address" "{response_address}"
  "--public-key" "{public_key}"
-}}
{{- if eq $kernel.language "python" -}}
{{- $argv = concat $argv (list "--kernel-class-name" $kernel.kernelClassName) -}}
{{- end -}}
{{- $config := dict "image_name" $kernel.image "launch_timeout" (int $kernel.launchTimeout) -}}
{{- $defaults := dict
  "port_range" "0..0"
  "image_pull_policy" "IfNotPresent"
  "transport_encryption" "auto"
  "oldest_protocol" 1
  "gpu_resource" "nvidia.com/gpu"
-}}
{{- $settings := dict
  "authorized_users" (get $kernel "users")
  "image_pull_policy" $kernel.pullPolicy
  "image_pull_secrets" $kernel.pullSecrets
-}}
{{- range list
  "affinity" "authorizedGroups" "envFrom" "evictable" "gpuResource" "nodeSelector" "oldestProtocol" "podTemplate" "portRange" "priorityClassName" "resources"
  "runtimeClassName" "serviceAccountName" "tolerations" "transportEncryption" "unauthorizedUsers" "volumeMounts"
  "volumes"
-}}
{{- $_ := set $settings (snakecase .) (get $kernel .) -}}
{{- end -}}
{{- range $key, $value := $settings -}}
{{- if and $value (ne (toJson $value) (get $defaults $key | toJson)) -}}
{{- $_ := set $config $key $value -}}
{{- end -}}
{{- end -}}
{{- range $key, $usual := dict "runAsUser" 1000 "runAsGroup" 100 -}}
{{- $id := include "gateway-provisioners.kernels.id" (list $.root $kernel $key) -}}
{{- if ne $id (toString $usual) -}}
{{- $_ := set $config (snakecase $key) (eq $id "" | ternary nil (int64 $id)) -}}
{{- end -}}
{{- end -}}
{{- if and $kernel.authorizedGroups (not (get $kernel "users")) -}}
{{- /* Only members of these groups, and not the users of gateway.authorizedUsers, who are the default. */ -}}
{{- $_ := set $config "authorized_users" list -}}
{{- end -}}
{{- $config = merge $config (include "gateway-provisioners.clientPolicy" $kernel.clientPolicy | fromJson) -}}
{{- $metadata := dict "kernel_provisioner" (dict "provisioner_name" "kubernetes-provisioner" "config" $config) -}}
{{- if eq $kernel.language "python" -}}
{{- $_ := set $metadata "debugger" true -}}
{{- end -}}
{{- with get $kernel "profileOf" -}}
{{- $_ := set $metadata "profile_of" . -}}
{{- end -}}
{{- if ge (int $kernel.idleTimeout) 0 -}}
{{- $_ := set $metadata "cull_idle_timeout" (int $kernel.idleTimeout) -}}
{{- end -}}
{{- with $kernel.logo -}}
{{- $_ := set $metadata "logo" (include "gateway-provisioners.kernels.logoName" .) -}}
{{- end -}}
{{- if $kernel.maxLifetime -}}
{{- $_ := set $metadata "max_lifetime" (int $kernel.maxLifetime) -}}
{{- end -}}
{{- include "gateway-provisioners.json" (dict
  "argv" $argv
  "env" $kernel.env
  "display_name" $kernel.displayName
  "language" (eq $kernel.language "r" | ternary "R" $kernel.language)
  "interrupt_mode" "signal"
  "metadata" $metadata
) -}}
{{- end -}}
