package config

import (
	"gateway-provisioners/ci/cluster/internal/binaries"
	"gateway-provisioners/ci/cluster/internal/plan"
)

// Object is an API object and where it lives.
type Object struct {
	// Path is the collection's path in the API.
	Path string
	Name string
	Body map[string]any
}

// Corefile answers for the cluster's names. All others do not exist here: it answers so at once, instead of leaving
// callers to wait for servers that cannot be reached.
const Corefile = `.:53 {
    errors
    health
    ready
    cache 5
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        pods insecure
        ttl 5
    }
    template ANY ANY . {
        rcode NXDOMAIN
    }
}
`

// Objects are what the cluster holds from the start: the administrators' rights, which `kubeadm init` would have given,
// and the cluster's DNS under the names that every cluster has.
func Objects(p plan.Plan) []Object {
	const rbac = "/apis/rbac.authorization.k8s.io/v1/"
	const system = "/api/v1/namespaces/kube-system/"
	labels := object{"k8s-app": "kube-dns"}
	account := []object{{"kind": "ServiceAccount", "name": "coredns", "namespace": "kube-system"}}
	return []Object{
		binding("kubeadm:cluster-admins", "cluster-admin",
			[]object{{"kind": "Group", "name": "kubeadm:cluster-admins", "apiGroup": "rbac.authorization.k8s.io"}}),
		binding("system:coredns", "system:coredns", account),
		{rbac + "clusterroles", "system:coredns", object{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
			"rules": []object{
				{"apiGroups": []string{""}, "resources": []string{"services", "pods", "namespaces"}, "verbs": []string{"list", "watch"}},
				{"apiGroups": []string{"discovery.k8s.io"}, "resources": []string{"endpointslices"}, "verbs": []string{"list", "watch"}},
			},
		}},
		{system + "serviceaccounts", "coredns", object{"apiVersion": "v1", "kind": "ServiceAccount"}},
		{system + "configmaps", "coredns", object{
			"apiVersion": "v1", "kind": "ConfigMap", "data": object{"Corefile": Corefile},
		}},
		{system + "services", "kube-dns", object{
			"apiVersion": "v1", "kind": "Service",
			"metadata": object{"labels": object{
				"k8s-app": "kube-dns", "kubernetes.io/cluster-service": "true", "kubernetes.io/name": "CoreDNS",
			}},
			"spec": object{
				"selector": labels, "clusterIP": p.DNSIP.String(),
				"ports": []object{
					{"name": "dns", "port": 53, "protocol": "UDP", "targetPort": 53},
					{"name": "dns-tcp", "port": 53, "protocol": "TCP", "targetPort": 53},
				},
			},
		}},
		{"/apis/apps/v1/namespaces/kube-system/deployments", "coredns", object{
			"apiVersion": "apps/v1", "kind": "Deployment",
			"metadata": object{"labels": labels},
			"spec": object{
				"replicas": 1,
				"selector": object{"matchLabels": labels},
				"template": object{"metadata": object{"labels": labels}, "spec": dnsPod()},
			},
		}},
	}
}

func binding(name, role string, subjects []object) Object {
	return Object{"/apis/rbac.authorization.k8s.io/v1/clusterrolebindings", name, object{
		"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
		"roleRef":  object{"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
		"subjects": subjects,
	}}
}

func dnsPod() object {
	return object{
		"serviceAccountName": "coredns",
		"priorityClassName":  "system-cluster-critical",
		"dnsPolicy":          "Default",
		"tolerations":        []object{{"operator": "Exists"}},
		"volumes": []object{
			{"name": "config", "configMap": object{"name": "coredns"}},
		},
		"containers": []object{{
			"name":            "coredns",
			"image":           binaries.CoreDNSImage,
			"imagePullPolicy": "Never",
			"args":            []string{"-conf", "/etc/coredns/Corefile"},
			"volumeMounts":    []object{{"name": "config", "mountPath": "/etc/coredns", "readOnly": true}},
			"ports": []object{
				{"name": "dns", "containerPort": 53, "protocol": "UDP"},
				{"name": "dns-tcp", "containerPort": 53, "protocol": "TCP"},
			},
			"resources": object{"requests": object{"cpu": "50m", "memory": "32Mi"}, "limits": object{"memory": "170Mi"}},
			"securityContext": object{
				"allowPrivilegeEscalation": false,
				"readOnlyRootFilesystem":   true,
				"capabilities":             object{"add": []string{"NET_BIND_SERVICE"}, "drop": []string{"ALL"}},
			},
			"readinessProbe": object{"httpGet": object{"path": "/ready", "port": 8181}, "periodSeconds": 1},
			"livenessProbe":  object{"httpGet": object{"path": "/health", "port": 8080}, "failureThreshold": 5},
		}},
	}
}
