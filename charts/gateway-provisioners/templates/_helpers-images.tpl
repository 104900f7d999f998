{{- /*
Images, and the Secrets with which nodes may pull them.
*/ -}}

{{- /*
An image where the site has it: `global.imageRegistry` goes before a name that names no registry.
Takes a list of the chart's context and the name. The first part of a name is a registry if it has a
dot or a port, or is `localhost`; so says every container runtime.
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

{{- /* The names of pull secrets, those for all images first, as a JSON list. Takes a list of the chart's context and the image's own. */ -}}
{{- define "gateway-provisioners.pullSecrets" -}}
{{- $global := dig "imagePullSecrets" list (default dict (first .).Values.global) -}}
{{- concat (default list $global) (default list (last .)) | uniq | toJson -}}
{{- end -}}
