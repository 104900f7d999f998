// Package config builds the arguments and the files of the cluster's programs. It does no I/O; files are
// built as data and written as JSON, which every reader of YAML reads.
package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"text/template"

	"gateway-provisioners/ci/cluster/internal/binaries"
	"gateway-provisioners/ci/cluster/internal/plan"
)

type object = map[string]any

// File is a file to write before anything starts.
type File struct {
	Path    string
	Content []byte
}

// Files are all files of the cluster that are made by hand; kubeadm makes the rest from the first of them.
func Files(p plan.Plan) ([]File, error) {
	containerd, err := containerdConfig(p)
	if err != nil {
		return nil, err
	}
	kubeadm, err := documents(initConfiguration(p), clusterConfiguration(p))
	if err != nil {
		return nil, err
	}
	files := []File{
		{p.Path("kubeadm.yaml"), kubeadm},
		{p.Path("containerd.toml"), containerd},
		// Pods that ask for the node's name resolution get the cluster's: the host's servers cannot be reached.
		{p.Path("resolv.conf"), []byte("nameserver " + p.DNSIP.String() + "\n")},
	}
	for path, data := range map[string]object{
		p.Path("cni", "10-pods.conflist"): network(p),
		p.Path("kubelet.yaml"):            kubelet(p),
		p.Path("kube-proxy.yaml"):         kubeProxy(p),
	} {
		content, err := documents(data)
		if err != nil {
			return nil, err
		}
		files = append(files, File{path, content})
	}
	return files, nil
}

// documents renders a stream of YAML documents.
func documents(all ...object) ([]byte, error) {
	var out bytes.Buffer
	for i, document := range all {
		if i > 0 {
			out.WriteString("---\n")
		}
		encoder := json.NewEncoder(&out)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(document); err != nil {
			return nil, fmt.Errorf("render %v: %w", document["kind"], err)
		}
	}
	return out.Bytes(), nil
}

func initConfiguration(p plan.Plan) object {
	return object{
		"apiVersion":       "kubeadm.k8s.io/v1beta4",
		"kind":             "InitConfiguration",
		"localAPIEndpoint": object{"advertiseAddress": p.NodeIP.String(), "bindPort": 6443},
		"nodeRegistration": object{"name": p.NodeName()},
	}
}

func clusterConfiguration(p plan.Plan) object {
	return object{
		"apiVersion":        "kubeadm.k8s.io/v1beta4",
		"kind":              "ClusterConfiguration",
		"clusterName":       p.Name,
		"kubernetesVersion": "v" + binaries.Kubernetes,
		"certificatesDir":   p.Path("pki"),
		// Made in a tenth of the time of RSA keys.
		"encryptionAlgorithm": "ECDSA-P256",
		"networking":          object{"podSubnet": p.PodCIDR.String(), "serviceSubnet": p.ServiceCIDR.String()},
		"apiServer":           object{"certSANs": []string{"127.0.0.1", "localhost"}},
	}
}

// network routes pods one by one instead of bridging them: so all their traffic passes the node's address translation,
// also between two pods, without the kernel's bridge filter. Addresses are not masked towards the host, which has a
// route back.
func network(p plan.Plan) object {
	return object{
		"cniVersion": "1.0.0",
		"name":       p.CNINetwork(),
		"plugins": []object{
			{
				"type":   "ptp",
				"ipMasq": false,
				"ipam": object{
					"type":    "host-local",
					"ranges":  [][]object{{{"subnet": p.PodCIDR.String()}}},
					"routes":  []object{{"dst": "0.0.0.0/0"}},
					"dataDir": p.Path("cni-ipam"),
				},
			},
			{"type": "portmap", "capabilities": object{"portMappings": true}},
		},
	}
}

func kubelet(p plan.Plan) object {
	return object{
		"apiVersion": "kubelet.config.k8s.io/v1beta1",
		"kind":       "KubeletConfiguration",
		"authentication": object{
			"anonymous": object{"enabled": false},
			"webhook":   object{"enabled": true},
			"x509":      object{"clientCAFile": p.PKI("ca.crt")},
		},
		"authorization":            object{"mode": "Webhook"},
		"containerRuntimeEndpoint": "unix://" + p.ContainerdSocket(),
		"clusterDNS":               []string{p.DNSIP.String()},
		"clusterDomain":            "cluster.local",
		"resolvConf":               p.Path("resolv.conf"),
		"podLogsDir":               p.Path("pod-logs"),
		"volumePluginDir":          p.Path("volume-plugins"),
		"healthzBindAddress":       p.NodeIP.String(),

		"cgroupDriver":   "cgroupfs",
		"cgroupRoot":     "/" + p.Cgroup(),
		"failCgroupV1":   false,
		"failSwapOn":     false,
		"maxPods":        250,
		"podPidsLimit":   4096,
		"kubeAPIQPS":     200,
		"kubeAPIBurst":   400,
		"eventRecordQPS": 0,

		// Images are loaded by hand: none may be collected, and a pull can only fail, which it may do at once.
		"imageGCHighThresholdPercent": 100,
		"serializeImagePulls":         false,
		"registryPullQPS":             0,
		"evictionHard": object{
			"memory.available": "100Mi", "nodefs.available": "1%", "nodefs.inodesFree": "1%", "imagefs.available": "1%",
		},
	}
}

func kubeProxy(p plan.Plan) object {
	return object{
		"apiVersion":       "kubeproxy.config.k8s.io/v1alpha1",
		"kind":             "KubeProxyConfiguration",
		"mode":             "nftables",
		"clusterCIDR":      p.PodCIDR.String(),
		"hostnameOverride": p.NodeName(),
		"clientConnection": object{"kubeconfig": p.Conf("kube-proxy.conf")},
		// Tests change endpoints all the time; the default gathers changes for a second.
		"nftables": object{"minSyncPeriod": "100ms", "syncPeriod": "30s"},
		// The limits of connection tracking are the whole machine's and not ours to change.
		"conntrack": object{"maxPerCore": 0, "min": 0, "tcpEstablishedTimeout": "0s", "tcpCloseWaitTimeout": "0s"},
	}
}

// containerdTemplate moves every path that containerd would share with another one into the state folder.
//
// restrict_oom_score_adj: without CAP_SYS_RESOURCE no pod would start, with "can't get final child's PID from pipe".
var containerdTemplate = template.Must(template.New("containerd").Parse(`version = 2
root = {{printf "%q" (.Path "containerd" "root")}}
state = {{printf "%q" (.Path "containerd" "state")}}
[grpc]
  address = {{printf "%q" .ContainerdSocket}}
[plugins."io.containerd.internal.v1.opt"]
  path = {{printf "%q" (.Path "containerd" "opt")}}
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = {{printf "%q" .PauseImage}}
  restrict_oom_score_adj = true
  netns_mounts_under_state_dir = true
  [plugins."io.containerd.grpc.v1.cri".cni]
    bin_dir = {{printf "%q" .CNIPlugins}}
    conf_dir = {{printf "%q" (.Path "cni")}}
  [plugins."io.containerd.grpc.v1.cri".containerd]
    snapshotter = "overlayfs"
  [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
      SystemdCgroup = false
      Root = {{printf "%q" (.Path "runc")}}
`))

func containerdConfig(p plan.Plan) ([]byte, error) {
	var out bytes.Buffer
	err := containerdTemplate.Execute(&out, struct {
		plan.Plan
		PauseImage string
	}{p, binaries.PauseImage})
	if err != nil {
		return nil, fmt.Errorf("render containerd's configuration: %w", err)
	}
	return out.Bytes(), nil
}
