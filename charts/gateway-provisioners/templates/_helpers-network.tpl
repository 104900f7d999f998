{{- /*
Peers and rules in NetworkPolicies, and the path of the gateway's URLs.
*/ -}}

{{- /* The path that routes to the gateway match: `/`, or without a slash at its end. */ -}}
{{- define "gateway-provisioners.gateway.basePath" -}}
{{- .Values.gateway.baseUrl | trimSuffix "/" | default "/" -}}
{{- end -}}

{{- /* The gateway's pods, as a peer in the kernels' namespace. */ -}}
{{- define "gateway-provisioners.gateway.peer" -}}
podSelector:
  matchLabels:
    {{- include "gateway-provisioners.gateway.selectorLabels" . | nindent 4 }}
{{- if include "gateway-provisioners.kernels.haveOwnNamespace" . }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ .Release.Namespace | quote }}
{{- end }}
{{- end -}}

{{- /* Kernel pods, as a peer in the gateway's namespace. */ -}}
{{- define "gateway-provisioners.kernels.peer" -}}
podSelector:
  matchLabels:
    {{- include "gateway-provisioners.kernels.selectorLabels" . | nindent 4 }}
{{- if include "gateway-provisioners.kernels.haveOwnNamespace" . }}
namespaceSelector:
  matchLabels:
    kubernetes.io/metadata.name: {{ include "gateway-provisioners.kernels.namespace" . | quote }}
{{- end }}
{{- end -}}

{{- /* The egress rules of kernels besides the gateway and DNS, as a YAML list. */ -}}
{{- define "gateway-provisioners.kernels.egress" -}}
{{- $policy := .Values.networkPolicy.kernels -}}
{{- $rules := list -}}
{{- if kindIs "string" $policy.egress -}}
{{- $rules = include (printf "gateway-provisioners.kernels.egress.%s" $policy.egress) . | fromYamlArray -}}
{{- else -}}
{{- $rules = $policy.egress | default list -}}
{{- end -}}
{{- $identity := $policy.cloudIdentity | default "none" -}}
{{- if and (eq $identity "none") (hasKey (.Values.kernelServiceAccount.annotations | default dict) "iam.gke.io/gcp-service-account") -}}
{{- $identity = "gke" -}}
{{- end -}}
{{- $identities := include "gateway-provisioners.kernels.egress.identities" . | fromYaml -}}
{{- concat $rules ($policy.extraEgress | default list) (get $identities $identity | default list) | toYaml -}}
{{- end -}}

{{- /*
Everything except the addresses from which clouds serve metadata and the node's credentials: the link-local ones of
most (AWS's other services, such as ECS and EKS Pod Identity, included), Azure's wire server, Alibaba's and Oracle's, and in
IPv6 those of AWS and Google.
*/ -}}
{{- define "gateway-provisioners.kernels.egress.anywhere" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          - 169.254.0.0/16
          - 168.63.129.16/32
          - 100.100.100.200/32
          - 192.0.0.192/32
    - ipBlock:
        cidr: ::/0
        except:
          - fe80::/10
          - fd00:ec2::/32
          - fd20:ce::254/128
          # The IPv4 ones through NAT64 (RFC 6052).
          - 64:ff9b::a9fe:0/112
          - 64:ff9b::a83f:8110/128
          - 64:ff9b::6464:64c8/128
          - 64:ff9b::c000:c0/128
    # With some network plugins, an ipBlock does not match pods.
    - namespaceSelector: {}
{{- end -}}

{{- /*
Public addresses. Left out are those of private networks and of providers (RFC 1918 and 6598), link-local, multicast and
reserved ones, which some clusters give to pods, and a public one at which Azure serves metadata. All public IPv6
addresses are in 2000::/3, but for those of NAT64.
*/ -}}
{{- define "gateway-provisioners.kernels.egress.internetOnly" -}}
- to:
    - ipBlock:
        cidr: 0.0.0.0/0
        except:
          - 10.0.0.0/8
          - 100.64.0.0/10
          - 127.0.0.0/8
          - 168.63.129.16/32
          - 169.254.0.0/16
          - 172.16.0.0/12
          - 192.0.0.0/24
          - 192.168.0.0/16
          - 198.18.0.0/15
          - 224.0.0.0/3
    - ipBlock:
        cidr: 2000::/3
    # Public IPv4 addresses from clusters of IPv6 alone, through NAT64 (RFC 6052).
    - ipBlock:
        cidr: 64:ff9b::/96
        except:
          - 64:ff9b::a00:0/104
          - 64:ff9b::6440:0/106
          - 64:ff9b::7f00:0/104
          - 64:ff9b::a83f:8110/128
          - 64:ff9b::a9fe:0/112
          - 64:ff9b::ac10:0/108
          - 64:ff9b::c000:0/120
          - 64:ff9b::c0a8:0/112
          - 64:ff9b::c612:0/111
          - 64:ff9b::e000:0/99
{{- end -}}

{{- /*
The services that give pods credentials of their own, by `cloudIdentity`. Of GKE's metadata server some networks see the
address on the node, others the one that the pod connects to.
https://cloud.google.com/kubernetes-engine/docs/how-to/workload-identity
https://docs.aws.amazon.com/eks/latest/userguide/pod-id-agent-setup.html
*/ -}}
{{- define "gateway-provisioners.kernels.egress.identities" -}}
gke:
  - to:
      - ipBlock:
          cidr: 169.254.169.252/32
    ports:
      - {port: 987, protocol: TCP}
      - {port: 988, protocol: TCP}
  - to:
      - ipBlock:
          cidr: 169.254.169.254/32
    ports:
      - {port: 80, protocol: TCP}
eks-pod-identity:
  - to:
      - ipBlock:
          cidr: 169.254.170.23/32
      - ipBlock:
          cidr: fd00:ec2::23/128
    ports:
      - {port: 80, protocol: TCP}
{{- end -}}
