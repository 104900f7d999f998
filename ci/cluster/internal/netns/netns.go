// Package netns makes a network namespace that is connected to the host by one veth pair and that nothing can leave by
// another way: it has no default route, and the host translates and forwards nothing for it.
package netns

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"gateway-provisioners/ci/cluster/internal/plan"
	"gateway-provisioners/ci/cluster/internal/run"
)

// Ensure makes what is missing of the namespace, the veth pair and the host's routes.
//
// Addresses are set before anything runs in the namespace: an address that is not yet local would be dialled outside.
func Ensure(ctx context.Context, p plan.Plan) error {
	if !exists(p.Netns()) {
		if err := run.Quiet(ctx, "ip", "netns", "add", p.Name); err != nil {
			return fmt.Errorf("make the network namespace: %w", err)
		}
	}
	if !linkExists(p.HostLink) {
		if err := connect(ctx, p); err != nil {
			return fmt.Errorf("connect the network namespace: %w", err)
		}
	}
	for _, network := range []string{p.PodCIDR.String(), p.ServiceCIDR.String()} {
		if err := run.Quiet(ctx, "ip", "route", "replace", network, "via", p.NodeIP.String(), "dev", p.HostLink); err != nil {
			return fmt.Errorf("route %s to the cluster: %w", network, err)
		}
	}
	// Pods are routed, also between each other; the switch is the namespace's own, not the host's.
	return Do(p.Netns(), func() error {
		return os.WriteFile("/proc/sys/net/ipv4/ip_forward", []byte("1"), 0o644)
	})
}

func connect(ctx context.Context, p plan.Plan) error {
	bits := fmt.Sprintf("/%d", p.LinkNet.Bits())
	commands := [][]string{
		{"ip", "-n", p.Name, "link", "set", "lo", "up"},
		{"ip", "link", "add", p.HostLink, "type", "veth", "peer", "name", p.NodeLink, "netns", p.Name},
		{"ip", "-n", p.Name, "addr", "add", p.NodeIP.String() + bits, "dev", p.NodeLink},
		{"ip", "-n", p.Name, "link", "set", p.NodeLink, "up"},
		{"ip", "addr", "add", p.HostIP.String() + bits, "dev", p.HostLink},
		{"ip", "link", "set", p.HostLink, "up"},
	}
	for _, command := range commands {
		if err := run.Quiet(ctx, command...); err != nil {
			// The next run would take a pair without addresses for a complete one.
			_ = run.Quiet(context.WithoutCancel(ctx), "ip", "link", "del", p.HostLink)
			return err
		}
	}
	return nil
}

// Remove takes away what Ensure made. The routes go with the pair.
func Remove(ctx context.Context, p plan.Plan) error {
	var problems []error
	if linkExists(p.HostLink) {
		problems = append(problems, run.Quiet(ctx, "ip", "link", "del", p.HostLink))
	}
	if exists(p.Netns()) {
		problems = append(problems, run.Quiet(ctx, "ip", "netns", "del", p.Name))
	}
	return errors.Join(problems...)
}

// Leftovers names what is still there of what Ensure made.
func Leftovers(p plan.Plan) []string {
	var left []string
	if linkExists(p.HostLink) {
		left = append(left, "network interface "+p.HostLink)
	}
	if exists(p.Netns()) {
		left = append(left, "network namespace "+p.Name)
	}
	return left
}

// Do runs work inside a network namespace. Processes that it starts stay there.
//
// Entering here rather than by `ip netns exec` keeps /sys as it is; that command mounts another one, in which the
// kubelet does not find its cgroups.
func Do(path string, work func() error) error {
	inside, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("open the network namespace: %w", err)
	}
	defer inside.Close()
	outside, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return fmt.Errorf("open this network namespace: %w", err)
	}
	defer outside.Close()

	done := make(chan error, 1)
	go func() {
		// A thread that could not return is never unlocked, so it ends with this goroutine and no other work lands on it.
		runtime.LockOSThread()
		if err := unix.Setns(int(inside.Fd()), unix.CLONE_NEWNET); err != nil {
			runtime.UnlockOSThread()
			done <- fmt.Errorf("enter the network namespace: %w", err)
			return
		}
		result := work()
		if err := unix.Setns(int(outside.Fd()), unix.CLONE_NEWNET); err == nil {
			runtime.UnlockOSThread()
		}
		done <- result
	}()
	return <-done
}

// Probe checks whether this process may make network namespaces.
func Probe() error {
	done := make(chan error, 1)
	go func() {
		// Never unlocked: the thread dies, and the namespace with it.
		runtime.LockOSThread()
		done <- unix.Unshare(unix.CLONE_NEWNET)
	}()
	return <-done
}

func linkExists(name string) bool {
	_, err := net.InterfaceByName(name)
	return err == nil
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, fs.ErrNotExist)
}
