{{- /* What makes an object a hook that is gone when all went well. Takes the weight: the lower ones come first. */ -}}
{{- define "gateway-provisioners.imagePuller.hook" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation,hook-succeeded
{{- end -}}
