// Package plan decides a cluster's names, addresses and paths. It does no I/O.
package plan

import (
	"errors"
	"fmt"
	"net/netip"
	"path/filepath"
	"regexp"
)

// DefaultName is the name of the cluster when the user gives none.
const DefaultName = "gateway-provisioners"

// slots is how many clusters can share a machine: each has its own addresses, which the host routes to it.
const slots = 16

// maxDir leaves room below a state folder for the longest socket path a daemon makes in it: the kernel takes 107 bytes.
const maxDir = 64

// legalName is short because the name also becomes part of a node's name and of a network's.
var legalName = regexp.MustCompile(`^[a-z]([-a-z0-9]{0,22}[a-z0-9])?$`)

// Plan is everything about a cluster that is decided before anything of it exists. It is stored in the state folder,
// so that a cluster is taken down as it was made, whatever the checkout says by then.
type Plan struct {
	Name string `json:"name"`
	// Dir is the state folder: all files of the cluster but the binaries.
	Dir string `json:"dir"`
	// Bin holds the binaries that it runs.
	Bin string `json:"bin"`
	// CNIPlugins is the folder of the CNI plugin programs.
	CNIPlugins string `json:"cniPlugins"`

	HostLink    string       `json:"hostLink"`
	NodeLink    string       `json:"nodeLink"`
	HostIP      netip.Addr   `json:"hostIP"`
	NodeIP      netip.Addr   `json:"nodeIP"`
	LinkNet     netip.Prefix `json:"linkNet"`
	PodCIDR     netip.Prefix `json:"podCIDR"`
	ServiceCIDR netip.Prefix `json:"serviceCIDR"`
	DNSIP       netip.Addr   `json:"dnsIP"`
}

// New plans a cluster on the first set of addresses that does not touch any of taken.
func New(name, root string, taken []netip.Prefix) (Plan, error) {
	if err := CheckName(name); err != nil {
		return Plan{}, err
	}
	dir := filepath.Join(root, name)
	if len(dir) > maxDir {
		return Plan{}, fmt.Errorf("state folder %s is %d bytes long; sockets are made in it, so at most %d are allowed", dir, len(dir), maxDir)
	}
	for slot := range slots {
		p := at(slot)
		if overlaps(taken, p.LinkNet) || overlaps(taken, p.PodCIDR) || overlaps(taken, p.ServiceCIDR) {
			continue
		}
		p.Name, p.Dir = name, dir
		return p, nil
	}
	return Plan{}, errors.New("no free addresses: the host already uses or routes all of 10.250.0-15.0/30, 10.244.0.0/18 and 10.96.0.0/16 in some part")
}

// at lays out the addresses of one slot.
func at(slot int) Plan {
	n := byte(slot)
	return Plan{
		HostLink:    fmt.Sprintf("gp%dhost", slot),
		NodeLink:    fmt.Sprintf("gp%dnode", slot),
		HostIP:      netip.AddrFrom4([4]byte{10, 250, n, 1}),
		NodeIP:      netip.AddrFrom4([4]byte{10, 250, n, 2}),
		LinkNet:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 250, n, 0}), 30),
		PodCIDR:     netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 244, n * 4, 0}), 22),
		ServiceCIDR: netip.PrefixFrom(netip.AddrFrom4([4]byte{10, 96, n * 16, 0}), 20),
		DNSIP:       netip.AddrFrom4([4]byte{10, 96, n * 16, 10}),
	}
}

func overlaps(taken []netip.Prefix, wanted netip.Prefix) bool {
	for _, prefix := range taken {
		// The default route covers everything and occupies nothing.
		if prefix.Bits() > 0 && prefix.Overlaps(wanted) {
			return true
		}
	}
	return false
}

// CheckName returns an error for a name that a cluster cannot have.
func CheckName(name string) error {
	if !legalName.MatchString(name) {
		return fmt.Errorf("cluster name %q: use 1 to 24 lower-case letters, digits and dashes, beginning with a letter and not ending with a dash", name)
	}
	return nil
}

// Path is a path below the state folder.
func (p Plan) Path(elements ...string) string {
	return filepath.Join(append([]string{p.Dir}, elements...)...)
}

// NodeName is the node's name in the API.
func (p Plan) NodeName() string { return p.Name + "-node" }

// Netns is the path by which the network namespace is entered.
func (p Plan) Netns() string { return "/run/netns/" + p.Name }

// Cgroup is the cgroup, relative to each hierarchy's root, that holds everything of the cluster.
func (p Plan) Cgroup() string { return p.Name }

// CNINetwork is the name under which CNI plugins file what they remember.
func (p Plan) CNINetwork() string { return "pods-" + p.Name }

// ContainerdSocket is where containerd listens.
func (p Plan) ContainerdSocket() string { return p.Path("containerd", "containerd.sock") }

// APIServer is the API server's address, from the host and from inside alike.
func (p Plan) APIServer() string { return fmt.Sprintf("https://%s:6443", p.NodeIP) }

// Kubeconfig is the file for users of the cluster.
func (p Plan) Kubeconfig() string { return p.Path("kubeconfig") }

// PKI is the folder of the certificates.
func (p Plan) PKI(file string) string { return p.Path("pki", file) }

// Conf is a component's own kubeconfig.
func (p Plan) Conf(file string) string { return p.Path("kubeconfigs", file) }

// Program is the path of one of the cluster's binaries.
func (p Plan) Program(name string) string { return filepath.Join(p.Bin, name) }

// Log is where a component's output goes.
func (p Plan) Log(component string) string { return p.Path("logs", component+".log") }
