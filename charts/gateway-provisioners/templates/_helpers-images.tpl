{{- /*
Image names and pull secrets.
*/ -}}

{{- /*
An image name, with `global.imageRegistry` in front if the name does not include a registry. Takes a
list of the chart's context and the name. As in every container runtime, the first part of a name is
a registry if it contains a dot or a port, or is `localhost`.
*/ -}}
{{- define "gateway-provisioners.image" -}}
{{- $registry := dig "imageRegistry" "" (default dict (first .).Values.global) -}}
{{- $host := splitList "/" (last .) | first -}}
{{- $named := and (contains "/" (last .)) (or (contains "." $host) (contains ":" $host) (eq $host "localhost")) -}}
{{- if and $registry (last .) (not $named) -}}
{{- printf "%s/%s" (trimSuffix "/" $registry) (last .) -}}
{{- else -}}
{{- last . -}}
{{- end -}}
{{- end -}}

{{- /* The names of pull secrets, global ones first, as a JSON list. Takes a list of the chart's context and the image's own. */ -}}
{{- define "gateway-provisioners.pullSecrets" -}}
{{- $names := list -}}
{{- range dig "imagePullSecrets" list (default dict (first .).Values.global) -}}
{{- $names = append $names (pluck "name" (kindIs "map" . | ternary . (dict "name" .)) | first) -}}
{{- end -}}
{{- concat $names (default list (last .)) | uniq | toJson -}}
{{- end -}}
