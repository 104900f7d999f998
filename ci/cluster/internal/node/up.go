package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"gateway-provisioners/ci/cluster/internal/config"
	"gateway-provisioners/ci/cluster/internal/filelock"
	"gateway-provisioners/ci/cluster/internal/kube"
	"gateway-provisioners/ci/cluster/internal/netns"
	"gateway-provisioners/ci/cluster/internal/plan"
	"gateway-provisioners/ci/cluster/internal/preflight"
	"gateway-provisioners/ci/cluster/internal/proc"
	"gateway-provisioners/ci/cluster/internal/run"
	"gateway-provisioners/ci/cluster/internal/steps"
)

// readyTimeout is how long the node may take, from healthy components to the first answer of its DNS.
const readyTimeout = 2 * time.Minute

// objectsTimeout is how long the API server may refuse the first objects.
const objectsTimeout = 30 * time.Second

// Plan opens a cluster, or plans a new one on addresses that are free. Two runs at once do not choose the same.
func Plan(root, name, bin string, report *steps.Reporter) (*Node, error) {
	if err := plan.CheckName(name); err != nil {
		return nil, err
	}
	held, err := filelock.Hold(root)
	if err != nil {
		return nil, err
	}
	defer held.Close()
	existing, err := Open(root, name, report)
	if err == nil {
		return existing, existing.renewPrograms(bin)
	}
	if !errors.Is(err, ErrNone) {
		return nil, err
	}
	taken, err := netns.Taken()
	if err != nil {
		return nil, err
	}
	others, err := planned(root)
	if err != nil {
		return nil, err
	}
	for _, other := range others {
		taken = append(taken, other.LinkNet, other.PodCIDR, other.ServiceCIDR)
	}
	p, err := plan.New(name, root, taken)
	if err != nil {
		return nil, err
	}
	p.Bin = bin
	if p.CNIPlugins, err = preflight.CNIPlugins(); err != nil {
		return nil, err
	}
	if _, err := os.Stat(p.Netns()); err == nil {
		return nil, fmt.Errorf("a network namespace %s exists that no cluster in %s owns: choose another --name, or remove it with `ip netns del %[1]s`", name, root)
	}
	if err := recordHost(root); err != nil {
		return nil, err
	}
	n, err := with(p, report)
	if err != nil {
		return nil, err
	}
	if left := n.tree.Leftovers(); len(left) > 0 {
		return nil, fmt.Errorf("%s exists already: choose another --name", strings.Join(left, ", "))
	}
	return n, n.save()
}

// renewPrograms gives a cluster newly built programs where its own have been cleared from the cache, or none runs.
func (n *Node) renewPrograms(bin string) error {
	if _, err := os.Stat(n.Bin); err == nil && slices.ContainsFunc(config.Names(), n.runs) {
		return nil
	}
	n.Bin = bin
	return n.save()
}

// runs reports whether a component's process is there.
func (n *Node) runs(component string) bool {
	process, err := n.find(component)
	if err != nil {
		return false
	}
	process.Close()
	return true
}

// planned reads the plans of all clusters below a folder.
func planned(root string) ([]plan.Plan, error) {
	files, err := filepath.Glob(filepath.Join(root, "*", planFile))
	if err != nil {
		return nil, err
	}
	var all []plan.Plan
	for _, file := range files {
		raw, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		var p plan.Plan
		if err := json.Unmarshal(raw, &p); err != nil {
			return nil, fmt.Errorf("read %s: %w", file, err)
		}
		all = append(all, p)
	}
	return all, nil
}

// Up makes the cluster run, from whatever is there of it.
func (n *Node) Up(ctx context.Context) error {
	if err := n.prepare(ctx); err != nil {
		return err
	}
	g := newGuard(ctx)
	defer g.cancel(nil)
	return g.explain(n.up(g))
}

func (n *Node) up(g *guard) error {
	err := n.report.Run("make certificates; start containerd and etcd", func() error {
		return parallel(
			func() error { return n.certificates(g) },
			func() error { return n.ensure(g, "etcd") },
			func() error { return n.ensure(g, "containerd") },
		)
	})
	if err != nil {
		return err
	}
	err = n.report.Run("start kube-apiserver; make kubeconfigs; load the node's images", func() error {
		return parallel(
			func() error { return n.ensure(g, "kube-apiserver") },
			func() error { return n.kubeconfigs(g) },
			func() error { return n.loadOwnImages(g) },
		)
	})
	if err != nil {
		return err
	}
	err = n.report.Run("start the controllers, the scheduler, the proxy and the kubelet", func() error {
		return parallel(
			func() error { return n.applyObjects(g) },
			func() error { return n.ensure(g, "kube-controller-manager") },
			func() error { return n.ensure(g, "kube-scheduler") },
			func() error { return n.ensure(g, "kube-proxy") },
			func() error { return n.ensure(g, "kubelet") },
		)
	})
	if err != nil {
		return err
	}
	return n.report.Run("wait for the node, the default service account and DNS", func() error { return n.awaitReady(g) })
}

// prepare makes everything that is not a process.
func (n *Node) prepare(ctx context.Context) error {
	for _, dir := range []string{"run", "logs", "pki", "kubeconfigs", "etcd", "containerd", "images"} {
		if err := os.MkdirAll(n.Path(dir), 0o700); err != nil {
			return err
		}
	}
	if err := n.forgetLastBoot(); err != nil {
		return err
	}
	files, err := config.Files(n.Plan)
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := writeFile(file.Path, file.Content); err != nil {
			return err
		}
	}
	// Pods that run as any user read this one through a mount of their own.
	if err := os.Chmod(n.Path("resolv.conf"), 0o644); err != nil {
		return err
	}
	if err := n.tree.Ensure(); err != nil {
		return err
	}
	return netns.Ensure(ctx, n.Plan)
}

// forgetLastBoot drops what described processes and mounts that ended with the machine's last run.
func (n *Node) forgetLastBoot() error {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return err
	}
	last, err := os.ReadFile(n.Path("boot"))
	if err == nil && string(last) != string(boot) {
		for _, stale := range []string{"run", "runc", "cni-ipam", filepath.Join("containerd", "state")} {
			if err := os.RemoveAll(n.Path(stale)); err != nil {
				return err
			}
		}
		if err := os.MkdirAll(n.Path("run"), 0o700); err != nil {
			return err
		}
	}
	return writeFile(n.Path("boot"), boot)
}

// certificates has kubeadm make the cluster's keys. It keeps those that are there.
func (n *Node) certificates(ctx context.Context) error {
	if _, err := os.Stat(n.Kubeconfig()); err == nil {
		return nil
	}
	return n.kubeadm(ctx, "init", "phase", "certs", "all")
}

// kubeconfigs has kubeadm write what the components and the user log in with. The user's file comes last and so shows
// that all of them are there.
func (n *Node) kubeconfigs(ctx context.Context) error {
	if _, err := os.Stat(n.Kubeconfig()); err == nil {
		return nil
	}
	if err := n.kubeadm(ctx, "init", "phase", "kubeconfig", "all", "--kubeconfig-dir="+n.Path("kubeconfigs")); err != nil {
		return err
	}
	proxy, err := run.Output(ctx, n.Program("kubeadm"), "kubeconfig", "user", "--config="+n.Path("kubeadm.yaml"), "--client-name=system:kube-proxy")
	if err != nil {
		return err
	}
	if err := writeFile(n.Conf("kube-proxy.conf"), []byte(proxy)); err != nil {
		return err
	}
	admin, err := os.ReadFile(n.Conf("admin.conf"))
	if err != nil {
		return err
	}
	return writeFile(n.Kubeconfig(), admin)
}

func (n *Node) kubeadm(ctx context.Context, arguments ...string) error {
	argv := append([]string{n.Program("kubeadm")}, arguments...)
	return run.Quiet(ctx, append(argv, "--config="+n.Path("kubeadm.yaml"))...)
}

func (n *Node) loadOwnImages(ctx context.Context) error {
	load := func(program string) func() error {
		return func() error {
			_, _, err := n.Images().Load(ctx, n.Program(program+".tar"))
			return err
		}
	}
	return parallel(load("pause"), load("coredns"))
}

func (n *Node) applyObjects(ctx context.Context) error {
	client, err := kube.Open(n.Conf("super-admin.conf"))
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, objectsTimeout)
	defer cancel()
	for _, object := range config.Objects(n.Plan) {
		// The API server says that it is ready a little before it has made the system's namespaces.
		err := poll(ctx, func() error { return client.Apply(ctx, object.Path, object.Name, object.Body) })
		if err != nil {
			return err
		}
	}
	return nil
}

// awaitReady waits for what the first user of a cluster needs.
func (n *Node) awaitReady(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, readyTimeout, fmt.Errorf("not ready after %s", readyTimeout))
	defer cancel()
	client, err := kube.Open(n.Kubeconfig())
	if err != nil {
		return err
	}
	hint := "see `kubectl describe` and the logs in " + n.Path("logs")
	exists := func([]byte) bool { return true }
	awaits := []struct {
		what, collection, name string
		done                   func([]byte) bool
	}{
		{"node " + n.NodeName(), "/api/v1/nodes", n.NodeName(), nodeReady},
		{"the default service account", "/api/v1/namespaces/default/serviceaccounts", "default", exists},
		{"deployment kube-system/coredns", "/apis/apps/v1/namespaces/kube-system/deployments", "coredns", available},
	}
	for _, await := range awaits {
		if err := client.Await(ctx, await.collection, await.name, await.done); err != nil {
			return fmt.Errorf("wait for %s: %w (%w); %s", await.what, err, context.Cause(ctx), hint)
		}
	}
	if err := poll(ctx, func() error { return n.askDNS(ctx) }); err != nil {
		return fmt.Errorf("wait for an answer of the cluster's DNS, deployment kube-system/coredns: %w; %s", err, hint)
	}
	return nil
}

// askDNS resolves a name as a pod would. The way there is the Service's address, from the host, so that an answer
// also shows that the routes and the service proxy work.
func (n *Node) askDNS(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	resolver := &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(n.DNSIP.String(), "53"))
	}}
	_, err := resolver.LookupHost(ctx, "kubernetes.default.svc.cluster.local.")
	if failed := new(net.DNSError); errors.As(err, &failed) {
		// It names the host's name server, which was not asked.
		failed.Server = ""
	}
	return err
}

// conditions is what a node's and a deployment's status have in common.
type conditions struct {
	Status struct {
		Conditions []struct{ Type, Status string }
	}
}

func nodeReady(object []byte) bool { return holds(object, "Ready") }
func available(object []byte) bool { return holds(object, "Available") }

func holds(object []byte, condition string) bool {
	var read conditions
	if json.Unmarshal(object, &read) != nil {
		return false
	}
	for _, given := range read.Status.Conditions {
		if given.Type == condition {
			return given.Status == "True"
		}
	}
	return false
}

// ReportDeaths says which components died since the cluster was brought up, with the ends of their logs.
func (n *Node) ReportDeaths() {
	for _, name := range config.Names() {
		if process, err := n.find(name); errors.Is(err, proc.ErrGone) {
			n.report.Say("%v", n.endOf(name, process))
		}
	}
}
