{{- /*
Who may use the gateway: `gateway.auth.methods` and `gateway.quotas` as the gateway's own JSON. Secrets are in it only as
the paths of files.
*/ -}}

{{- /* The methods that are neither disabled nor null, by name. */ -}}
{{- define "gateway-provisioners.gateway.authMethods" -}}
{{- $methods := dict -}}
{{- range $name, $method := include "gateway-provisioners.withoutNulls" (.Values.gateway.auth.methods | default dict) | fromJson -}}
{{- if dig "enabled" true $method -}}
{{- $_ := set $methods $name (omit $method "enabled") -}}
{{- end -}}
{{- end -}}
{{- toJson $methods -}}
{{- end -}}

{{- /* The names of the methods in the order in which they are tried. */ -}}
{{- define "gateway-provisioners.gateway.authMethodNames" -}}
{{- $orders := dict "token" 10 "header" 20 "jwt" 30 "jupyterhub" 40 -}}
{{- $keys := list -}}
{{- range $name, $method := include "gateway-provisioners.gateway.authMethods" . | fromJson -}}
{{- $order := hasKey $method "order" | ternary $method.order (get $orders $method.type) -}}
{{- $keys = append $keys (printf "%04d %s" (int $order) $name) -}}
{{- end -}}
{{- $names := list -}}
{{- range sortAlpha $keys -}}
{{- $names = append $names (splitList " " . | last) -}}
{{- end -}}
{{- toJson $names -}}
{{- end -}}

{{- /* "true" if a method reports groups of its own, otherwise empty. */ -}}
{{- define "gateway-provisioners.gateway.authGroups" -}}
{{- $report := false -}}
{{- range include "gateway-provisioners.gateway.authMethods" . | fromJson -}}
{{- $report = or $report (ne .type "token") -}}
{{- end -}}
{{- if $report -}}
true
{{- end -}}
{{- end -}}

{{- /* The value of GP_AUTH_METHODS; empty without methods. */ -}}
{{- define "gateway-provisioners.gateway.authMethodsJson" -}}
{{- $methods := dict -}}
{{- range $name, $method := include "gateway-provisioners.gateway.authMethods" . | fromJson -}}
{{- $folder := printf "/run/auth/%s" $name -}}
{{- $settings := omit $method "existingSecret" "existingSecretKey" "caConfigMap" -}}
{{- if not $method.jwks -}}
{{- $settings = omit $settings "jwks" -}}
{{- end -}}
{{- if $method.caConfigMap -}}
{{- $_ := set $settings "caFile" (printf "%s/ca.crt" $folder) -}}
{{- end -}}
{{- if eq $method.type "token" -}}
{{- $_ := set $settings "tokensFolder" $folder -}}
{{- else if $method.existingSecret -}}
{{- $_ := set $settings "secretFile" (printf "%s/secret" $folder) -}}
{{- end -}}
{{- $_ := set $methods $name $settings -}}
{{- end -}}
{{- include "gateway-provisioners.variable" $methods -}}
{{- end -}}

{{- /* The volumes of the methods and where they are mounted: each method has at most one, a Secret or a CA. */ -}}
{{- define "gateway-provisioners.gateway.authVolumes" -}}
{{- $volumes := list -}}
{{- $mounts := list -}}
{{- range $name, $method := include "gateway-provisioners.gateway.authMethods" . | fromJson -}}
{{- /* Mode 0444: without an fsGroup, which would change the owner of all volumes, the files are root's. */ -}}
{{- $source := dict "defaultMode" 292 -}}
{{- if $method.existingSecret -}}
{{- $_ := set $source "secretName" $method.existingSecret -}}
{{- if eq $method.type "header" -}}
{{- $_ := set $source "items" (list (dict "key" ($method.existingSecretKey | default "secret") "path" "secret")) -}}
{{- end -}}
{{- $source = dict "secret" $source -}}
{{- else if $method.caConfigMap -}}
{{- $_ := set $source "name" $method.caConfigMap -}}
{{- $_ := set $source "items" (list (dict "key" "ca.crt" "path" "ca.crt")) -}}
{{- $source = dict "configMap" $source -}}
{{- else -}}
{{- $source = dict -}}
{{- end -}}
{{- if $source -}}
{{- $volume := printf "auth-%s" $name -}}
{{- $volumes = append $volumes (merge (dict "name" $volume) $source) -}}
{{- $mounts = append $mounts (dict "name" $volume "mountPath" (printf "/run/auth/%s" $name) "readOnly" true) -}}
{{- end -}}
{{- end -}}
{{- dict "volumes" $volumes "volumeMounts" $mounts | toJson -}}
{{- end -}}

{{- /* The value of GP_QUOTAS; empty without quotas. */ -}}
{{- define "gateway-provisioners.gateway.quotasJson" -}}
{{- $quotas := dict -}}
{{- range $key, $value := include "gateway-provisioners.withoutNulls" (.Values.gateway.quotas | default dict) | fromJson -}}
{{- if $value -}}
{{- $_ := set $quotas $key $value -}}
{{- end -}}
{{- end -}}
{{- include "gateway-provisioners.variable" $quotas -}}
{{- end -}}

{{- /* A map as JSON, without the values that are null, on any level. */ -}}
{{- define "gateway-provisioners.withoutNulls" -}}
{{- $kept := dict -}}
{{- range $key, $value := . -}}
{{- if kindIs "map" $value -}}
{{- $_ := set $kept $key (include "gateway-provisioners.withoutNulls" $value | fromJson) -}}
{{- else if not (kindIs "invalid" $value) -}}
{{- $_ := set $kept $key $value -}}
{{- end -}}
{{- end -}}
{{- toJson $kept -}}
{{- end -}}

{{- /* JSON for an environment variable, empty for an empty map. Kubernetes would replace `$(NAME)` in it. */ -}}
{{- define "gateway-provisioners.variable" -}}
{{- if . -}}
{{- toJson . | replace "$" "\\u0024" -}}
{{- end -}}
{{- end -}}

{{- /* One line of NOTES.txt: whom a method lets in. */ -}}
{{- define "gateway-provisioners.gateway.authMethodNote" -}}
{{- if eq .type "token" -}}
{{- if eq (.role | default "user") "admin" -}}
the tokens in Secret {{ .existingSecret }}, which are those of administrators
{{- else -}}
the tokens in Secret {{ .existingSecret }}, whose keys are the users' names
{{- end -}}
{{- else if eq .type "jwt" -}}
JWTs of {{ .issuer }} for {{ kindIs "string" .audience | ternary .audience (join " or " .audience) }}
{{- if .clusterKeys }}, with this cluster's keys: tokens of ServiceAccounts{{ end }}
{{- else if eq .type "jupyterhub" -}}
tokens of the JupyterHub at {{ .apiUrl }} with the scopes {{ .requiredScopes | default (list "access:servers!server=USER/") | join ", " }}
{{- else -}}
users that a proxy names in {{ .userHeader | default "X-Forwarded-User" }}
{{- if .existingSecret }}, with the secret in Secret {{ .existingSecret }}{{ end }}
{{- if .certificateNames }}, with a certificate of {{ join " or " .certificateNames }}{{ end }}
{{- end -}}
{{- end -}}
