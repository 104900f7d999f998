{{- /* The annotations of a hook that is deleted when it succeeds. Takes the weight; lower ones run first. */ -}}
{{- define "gateway-provisioners.imagePuller.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
