package config

import (
	"fmt"
	"slices"
	"strings"

	"gateway-provisioners/ci/cluster/internal/plan"
)

// Component is one long-running program of the cluster.
type Component struct {
	Name string
	Argv []string
	// Health answers with 200 when the program is ready; or it is the path of a socket, after "unix:".
	Health string
	// OnDemand says that the cluster is complete without it: it runs when the user starts it by its name.
	OnDemand bool
}

// order is the order of starting; it is stopped in reverse.
var order = []string{
	"containerd", "etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kube-proxy", "kubelet",
	"kube-network-policies",
}

// Names lists all components in the order of starting.
func Names() []string { return slices.Clone(order) }

// Lookup finds a component by its name.
func Lookup(p plan.Plan, name string) (Component, error) {
	build, known := components[name]
	if !known {
		return Component{}, fmt.Errorf("no component is called %q; use one of: %s", name, strings.Join(order, ", "))
	}
	component := build(p)
	component.Name = name
	return component, nil
}

var components = map[string]func(plan.Plan) Component{
	"containerd":              containerdComponent,
	"etcd":                    etcd,
	"kube-apiserver":          apiServer,
	"kube-controller-manager": controllerManager,
	"kube-scheduler":          scheduler,
	"kube-proxy":              kubeProxyComponent,
	"kubelet":                 kubeletComponent,
	"kube-network-policies":   networkPolicies,
}

func containerdComponent(p plan.Plan) Component {
	return Component{
		Argv:   []string{"containerd", "--config", p.Path("containerd.toml")},
		Health: "unix:" + p.ContainerdSocket(),
	}
}

// etcd does not wait for the disk: nothing of a test cluster has to survive the machine's death.
func etcd(p plan.Plan) Component {
	metrics := fmt.Sprintf("http://%s:2381", p.NodeIP)
	return Component{
		Argv: []string{
			p.Program("etcd"),
			"--name=" + p.NodeName(),
			"--data-dir=" + p.Path("etcd"),
			"--unsafe-no-fsync",
			"--listen-client-urls=http://127.0.0.1:2379",
			"--advertise-client-urls=http://127.0.0.1:2379",
			"--listen-peer-urls=http://127.0.0.1:2380",
			"--initial-advertise-peer-urls=http://127.0.0.1:2380",
			"--initial-cluster=" + p.NodeName() + "=http://127.0.0.1:2380",
			"--listen-metrics-urls=" + metrics,
		},
		Health: metrics + "/readyz",
	}
}

func apiServer(p plan.Plan) Component {
	return Component{
		Argv: []string{
			p.Program("kube-apiserver"),
			"--advertise-address=" + p.NodeIP.String(),
			"--secure-port=6443",
			"--etcd-servers=http://127.0.0.1:2379",
			"--service-cluster-ip-range=" + p.ServiceCIDR.String(),
			"--allow-privileged=true",
			"--authorization-mode=Node,RBAC",
			// The second shows an owner that a Role would not allow on stricter clusters, such as OpenShift.
			"--enable-admission-plugins=NodeRestriction,OwnerReferencesPermissionEnforcement",
			"--client-ca-file=" + p.PKI("ca.crt"),
			"--tls-cert-file=" + p.PKI("apiserver.crt"),
			"--tls-private-key-file=" + p.PKI("apiserver.key"),
			"--kubelet-client-certificate=" + p.PKI("apiserver-kubelet-client.crt"),
			"--kubelet-client-key=" + p.PKI("apiserver-kubelet-client.key"),
			// No DNS server knows the node's name.
			"--kubelet-preferred-address-types=InternalIP",
			"--service-account-key-file=" + p.PKI("sa.pub"),
			"--service-account-signing-key-file=" + p.PKI("sa.key"),
			"--service-account-issuer=https://kubernetes.default.svc",
			"--requestheader-client-ca-file=" + p.PKI("front-proxy-ca.crt"),
			"--requestheader-allowed-names=front-proxy-client",
			"--requestheader-extra-headers-prefix=X-Remote-Extra-",
			"--requestheader-group-headers=X-Remote-Group",
			"--requestheader-username-headers=X-Remote-User",
			"--proxy-client-cert-file=" + p.PKI("front-proxy-client.crt"),
			"--proxy-client-key-file=" + p.PKI("front-proxy-client.key"),
		},
		Health: p.APIServer() + "/readyz",
	}
}

func controllerManager(p plan.Plan) Component {
	return Component{
		Argv: append([]string{
			p.Program("kube-controller-manager"),
			"--use-service-account-credentials=true",
			"--service-account-private-key-file=" + p.PKI("sa.key"),
			"--root-ca-file=" + p.PKI("ca.crt"),
			"--cluster-signing-cert-file=" + p.PKI("ca.crt"),
			"--cluster-signing-key-file=" + p.PKI("ca.key"),
			"--cluster-name=" + p.Name,
			"--cluster-cidr=" + p.PodCIDR.String(),
			"--service-cluster-ip-range=" + p.ServiceCIDR.String(),
		}, client(p, "controller-manager.conf")...),
		Health: fmt.Sprintf("https://%s:10257/healthz", p.NodeIP),
	}
}

func scheduler(p plan.Plan) Component {
	return Component{
		Argv:   append([]string{p.Program("kube-scheduler")}, client(p, "scheduler.conf")...),
		Health: fmt.Sprintf("https://%s:10259/healthz", p.NodeIP),
	}
}

// client is what the controller manager and the scheduler have in common. There is one of each, so there is no leader
// to elect, and a restart need not wait for the old lease to run out.
func client(p plan.Plan, conf string) []string {
	return []string{
		"--kubeconfig=" + p.Conf(conf),
		"--authentication-kubeconfig=" + p.Conf(conf),
		"--authorization-kubeconfig=" + p.Conf(conf),
		"--leader-elect=false",
		"--kube-api-qps=200",
		"--kube-api-burst=400",
	}
}

func kubeletComponent(p plan.Plan) Component {
	return Component{
		Argv: []string{
			p.Program("kubelet"),
			"--config=" + p.Path("kubelet.yaml"),
			"--kubeconfig=" + p.Conf("kubelet.conf"),
			"--hostname-override=" + p.NodeName(),
			"--node-ip=" + p.NodeIP.String(),
			"--root-dir=" + p.Path("kubelet"),
			"--cert-dir=" + p.Path("kubelet", "pki"),
		},
		Health: fmt.Sprintf("http://%s:10248/healthz", p.NodeIP),
	}
}

func kubeProxyComponent(p plan.Plan) Component {
	return Component{
		Argv:   []string{p.Program("kube-proxy"), "--config=" + p.Path("kube-proxy.yaml")},
		Health: fmt.Sprintf("http://%s:10256/healthz", p.NodeIP),
	}
}

// networkPolicies runs on demand: it learns a pod's address from the API, up to a second after the pod has begun to
// talk, which would spoil what is measured.
func networkPolicies(p plan.Plan) Component {
	address := fmt.Sprintf("%s:10260", p.NodeIP)
	return Component{
		Argv: []string{
			p.Program("kube-network-policies"),
			"--kubeconfig=" + p.Conf("admin.conf"),
			"--hostname-override=" + p.NodeName(),
			"--health-address=" + address,
		},
		Health:   "http://" + address + "/healthz",
		OnDemand: true,
	}
}
