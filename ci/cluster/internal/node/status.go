package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"gateway-provisioners/ci/cluster/internal/config"
	"gateway-provisioners/ci/cluster/internal/kube"
	"gateway-provisioners/ci/cluster/internal/proc"
)

// statusTimeout bounds the questions that Status asks.
const statusTimeout = 3 * time.Second

// Status is a cluster's state, for people and for programs.
type Status struct {
	Name string `json:"name"`
	// Running says that everything runs and answers, up to the cluster's DNS.
	Running    bool              `json:"running"`
	Problem    string            `json:"problem,omitempty"`
	Components []ComponentStatus `json:"components"`
	Node       string            `json:"node"`
	Kubernetes string            `json:"kubernetes,omitempty"`
	Kubeconfig string            `json:"kubeconfig"`
	APIServer  string            `json:"apiServer"`
	Bin        string            `json:"bin"`
	Dir        string            `json:"dir"`
	// HostIP is the host as pods see it.
	HostIP      string `json:"hostIP"`
	NodeIP      string `json:"nodeIP"`
	PodCIDR     string `json:"podCIDR"`
	ServiceCIDR string `json:"serviceCIDR"`
	DNSIP       string `json:"dnsIP"`
}

// ComponentStatus is one component's state.
type ComponentStatus struct {
	Name string `json:"name"`
	// State is running, unhealthy, died or stopped.
	State  string     `json:"state"`
	PID    int        `json:"pid,omitempty"`
	Since  *time.Time `json:"since,omitempty"`
	Detail string     `json:"detail,omitempty"`
}

// Status asks every component and, if all are healthy, the node and its DNS.
func (n *Node) Status(ctx context.Context) Status {
	ctx, cancel := context.WithTimeout(ctx, statusTimeout)
	defer cancel()
	names := config.Names()
	status := Status{
		Name: n.Name, Components: make([]ComponentStatus, len(names)), Node: n.NodeName(),
		Kubeconfig: n.Kubeconfig(), APIServer: n.APIServer(), Bin: n.Bin, Dir: n.Dir,
		HostIP: n.HostIP.String(), NodeIP: n.NodeIP.String(),
		PodCIDR: n.PodCIDR.String(), ServiceCIDR: n.ServiceCIDR.String(), DNSIP: n.DNSIP.String(),
	}
	var questions []func() error
	for i, name := range names {
		questions = append(questions, func() error {
			status.Components[i] = n.componentStatus(ctx, name)
			return nil
		})
	}
	_ = parallel(questions...)
	if n.Going() {
		status.Problem = "it is being taken down, or a `down` was interrupted"
		return status
	}
	for _, component := range status.Components {
		if component.State == "stopped" && n.onDemand(component.Name) {
			continue
		}
		if component.State != "running" {
			status.Problem = component.Name + ": " + component.State
			return status
		}
	}
	version, err := n.nodeStatus(ctx)
	if err == nil {
		err = n.askDNS(ctx)
	}
	status.Kubernetes = version
	if err != nil {
		status.Problem = err.Error()
	}
	status.Running = err == nil
	return status
}

func (n *Node) componentStatus(ctx context.Context, name string) ComponentStatus {
	process, err := n.find(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return ComponentStatus{Name: name, State: "stopped"}
	case errors.Is(err, proc.ErrGone):
		return ComponentStatus{Name: name, State: "died", Detail: n.endOf(name, process).Error()}
	case err != nil:
		return ComponentStatus{Name: name, State: "unknown", Detail: err.Error()}
	}
	defer process.Close()
	status := ComponentStatus{Name: name, State: "running", PID: process.PID, Since: &process.Began}
	component, err := n.component(name)
	if err == nil {
		err = healthy(ctx, component)
	}
	if err != nil {
		status.State, status.Detail = "unhealthy", err.Error()
	}
	return status
}

// nodeStatus returns the version that the node runs, or why it is not ready.
func (n *Node) nodeStatus(ctx context.Context) (string, error) {
	client, err := kube.Open(n.Kubeconfig())
	if err != nil {
		return "", err
	}
	var node struct {
		Status struct {
			NodeInfo   struct{ KubeletVersion string }
			Conditions []struct{ Type, Status, Message string }
		}
	}
	if err := client.Get(ctx, "/api/v1/nodes/"+n.NodeName(), &node); err != nil {
		return "", err
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == "Ready" && condition.Status != "True" {
			return node.Status.NodeInfo.KubeletVersion, fmt.Errorf("node %s is not ready: %s", n.NodeName(), condition.Message)
		}
	}
	return node.Status.NodeInfo.KubeletVersion, nil
}
