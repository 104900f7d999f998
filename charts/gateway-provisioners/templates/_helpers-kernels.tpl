{{- /*
From `kernels` and `kernelDefaults` to kernelspecs. Helpers return JSON: text that a value of the
user's cannot break out of.
*/ -}}

{{- /*
Merges the second of two maps into the first. Unlike mergeOverwrite, which skips empty values, an
empty string, list or zero replaces what was there, so that a kernel can undo a default.
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

{{- /* The images that this project builds, by the kernel's name, in this chart's version. */ -}}
{{- define "gateway-provisioners.kernels.ownImage" -}}
{{- $images := dict "python3" "elyra/kernel-py" "r" "elyra/kernel-r" "scala" "elyra/kernel-scala" -}}
{{- with get $images .name -}}
{{- printf "%s:%s" . $.root.Chart.AppVersion -}}
{{- end -}}
{{- end -}}

{{- /* Every enabled kernel, by name, with the defaults merged in. */ -}}
{{- define "gateway-provisioners.kernels" -}}
{{- $kernels := dict -}}
{{- range $name, $values := .Values.kernels -}}
{{- if kindIs "map" $values -}}
{{- $kernel := include "gateway-provisioners.merge" (list $.Values.kernelDefaults $values) | fromJson -}}
{{- if dig "enabled" true $kernel -}}
{{- if not $kernel.image -}}
{{- $_ := set $kernel "image" (include "gateway-provisioners.kernels.ownImage" (dict "name" $name "root" $)) -}}
{{- end -}}
{{- if not $kernel.displayName -}}
{{- $_ := set $kernel "displayName" ($name | replace "_" " " | replace "-" " " | title) -}}
{{- end -}}
{{- if not $kernel.launchTimeout -}}
{{- $_ := set $kernel "launchTimeout" $.Values.gateway.launchTimeout -}}
{{- end -}}
{{- $_ := set $kernel "image" (include "gateway-provisioners.image" (list $ $kernel.image)) -}}
{{- $_ := set $kernel "pullSecrets" (include "gateway-provisioners.pullSecrets" (list $ $kernel.pullSecrets) | fromJsonArray) -}}
{{- $_ := set $kernels $name $kernel -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- toJson $kernels -}}
{{- end -}}

{{- /*
The kernel.json of one kernel, equal to what `jupyter k8s-spec install` writes for it. A key that
would only repeat the provisioner's default is left out.
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
-}}
{{- range $key, $value := dict
  "authorized_users" $kernel.authorizedUsers
  "unauthorized_users" $kernel.unauthorizedUsers
  "port_range" $kernel.portRange
  "image_pull_policy" $kernel.pullPolicy
  "image_pull_secrets" $kernel.pullSecrets
  "resources" $kernel.resources
  "node_selector" $kernel.nodeSelector
  "tolerations" $kernel.tolerations
  "transport_encryption" $kernel.transportEncryption
  "pod_template" $kernel.podTemplate
-}}
{{- if and $value (ne (toJson $value) (get $defaults $key | toJson)) -}}
{{- $_ := set $config $key $value -}}
{{- end -}}
{{- end -}}
{{- $metadata := dict "kernel_provisioner" (dict "provisioner_name" "kubernetes-provisioner" "config" $config) -}}
{{- if eq $kernel.language "python" -}}
{{- $_ := set $metadata "debugger" true -}}
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
