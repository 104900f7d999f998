{{- /*
Values as text that no value can break out of, whatever characters it holds.
*/ -}}

{{- /*
JSON that is YAML too. A few characters that JSON lets stand as they are YAML forbids, or takes for
a line break.
*/ -}}
{{- define "gateway-provisioners.json" -}}
{{- $text := toPrettyJson . -}}
{{- range concat (untilStep 0x7f 0xa0 1) (list 0xfeff 0xfffe 0xffff) -}}
{{- $text = $text | replace (printf "%c" .) (printf "\\u%04x" .) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- /*
YAML, for people to read. Of an object that holds one of those characters toYaml makes nothing at
all, without an error: such a one becomes JSON.
*/ -}}
{{- define "gateway-provisioners.yaml" -}}
{{- $json := include "gateway-provisioners.json" . -}}
{{- eq $json (toPrettyJson .) | ternary (toYaml .) $json -}}
{{- end -}}

{{- /* The fields of an object that have a value, as lines of YAML. */ -}}
{{- define "gateway-provisioners.fields" -}}
{{- $lines := list -}}
{{- range $name, $value := . -}}
{{- if $value -}}
{{- $lines = append $lines (printf "%s:\n  %s" $name (include "gateway-provisioners.yaml" $value | indent 2 | trim)) -}}
{{- end -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}
