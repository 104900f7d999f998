{{- /*
Serialization that is safe for values with any characters.
*/ -}}

{{- /*
JSON that is also valid YAML: escapes the characters that JSON allows but YAML forbids or treats as
line breaks.
*/ -}}
{{- define "gateway-provisioners.json" -}}
{{- $text := toPrettyJson . -}}
{{- range concat (untilStep 0x7f 0xa0 1) (list 0xfeff 0xfffe 0xffff) -}}
{{- $text = $text | replace (printf "%c" .) (printf "\\u%04x" .) -}}
{{- end -}}
{{- $text -}}
{{- end -}}

{{- /*
Readable YAML, or JSON if the object contains one of those characters, for which toYaml silently
returns nothing.
*/ -}}
{{- define "gateway-provisioners.yaml" -}}
{{- $json := include "gateway-provisioners.json" . -}}
{{- eq $json (toPrettyJson .) | ternary (toYaml .) $json -}}
{{- end -}}

{{- /* The non-empty fields of an object, as lines of YAML. */ -}}
{{- define "gateway-provisioners.fields" -}}
{{- $lines := list -}}
{{- range $name, $value := . -}}
{{- if $value -}}
{{- $lines = append $lines (printf "%s:\n  %s" $name (include "gateway-provisioners.yaml" $value | indent 2 | trim)) -}}
{{- end -}}
{{- end -}}
{{- join "\n" $lines -}}
{{- end -}}

{{- /* Resource requests and limits without empty quantities, which stand for none. */ -}}
{{- define "gateway-provisioners.resources" -}}
{{- $resources := dict -}}
{{- range $kind, $quantities := . -}}
{{- range $name, $quantity := $quantities -}}
{{- if not (or (kindIs "invalid" $quantity) (eq (toString $quantity) "")) -}}
{{- $_ := set $resources $kind (set (get $resources $kind | default dict) $name $quantity) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "gateway-provisioners.yaml" $resources -}}
{{- end -}}

{{- /* A quantity of memory as a number of bytes. */ -}}
{{- define "gateway-provisioners.bytes" -}}
{{- $text := toString . -}}
{{- $unit := regexFind "[A-Za-z]+$" $text -}}
{{- $units := dict "" 1 "m" 0.001 "k" 1e3 "M" 1e6 "G" 1e9 "T" 1e12 "P" 1e15 "E" 1e18 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "Pi" 1125899906842624 -}}
{{- mulf (trimSuffix $unit $text | float64) (get $units $unit | default 1) | int64 -}}
{{- end -}}
