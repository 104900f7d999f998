package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"gateway-provisioners/ci/cluster/internal/config"
	"gateway-provisioners/ci/cluster/internal/filelock"
	"gateway-provisioners/ci/cluster/internal/netns"
)

// cniResults is where the CNI library files what each plugin did for each pod, of all its users.
const cniResults = "/var/lib/cni/results"

// killTimeout is how long killed processes may take to leave their cgroups.
const killTimeout = 15 * time.Second

// Down removes the cluster from the machine, in whatever state it is, and checks that nothing is left.
func (n *Node) Down(ctx context.Context, root string) error {
	if err := writeFile(n.Path(goingFile), nil); err != nil {
		return err
	}
	work := []struct {
		what string
		do   func() error
	}{
		{"stop the components", n.stopAll},
		{"end the pods", func() error { return n.endPods(ctx) }},
		{"remove mounts, network, cgroups and files", func() error { return n.clear(ctx, root) }},
	}
	var problems []error
	for _, piece := range work {
		// A failure does not keep the rest from being cleared away; what is left is reported at the end.
		problems = append(problems, n.report.Run(piece.what, piece.do))
	}
	if left := n.leftovers(); len(left) > 0 {
		problems = append(problems, fmt.Errorf("left behind: %s", strings.Join(left, "; ")))
	}
	return errors.Join(problems...)
}

// stopAll stops the kubelet first, so that it does not start again what is being ended. Nothing has to be saved.
func (n *Node) stopAll() error {
	first := n.stop("kubelet", true)
	var rest []func() error
	for _, name := range config.Names() {
		if name != "kubelet" {
			rest = append(rest, func() error { return n.stop(name, true) })
		}
	}
	return errors.Join(first, parallel(rest...))
}

// endPods kills what is left in the cluster's cgroups: the pods' processes, containerd's shims, and whatever a
// component that died has left.
func (n *Node) endPods(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	return poll(ctx, func() error {
		pids, err := n.tree.Processes()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			if err := n.kill(pid); err != nil {
				return err
			}
		}
		if len(pids) > 0 {
			return fmt.Errorf("processes %v do not end", pids)
		}
		return nil
	})
}

// kill ends a process of the cluster's cgroups. The id is checked once more after the process is held, for it may have
// become that of another process since the cgroup was read.
func (n *Node) kill(pid int) error {
	fd, err := unix.PidfdOpen(pid, 0)
	if err != nil {
		return ignoreGone(err)
	}
	defer unix.Close(fd)
	cgroups, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "cgroup"))
	if err != nil || !strings.Contains(string(cgroups), ":/"+n.Cgroup()+"/") {
		return nil
	}
	return ignoreGone(unix.PidfdSendSignal(fd, unix.SIGKILL, nil, 0))
}

func ignoreGone(err error) error {
	if errors.Is(err, unix.ESRCH) {
		return nil
	}
	return err
}

// clear removes everything that is not a process.
func (n *Node) clear(ctx context.Context, root string) error {
	held, err := filelock.Hold(root)
	if err != nil {
		return err
	}
	defer held.Close()
	problems := []error{n.removeTraces(), n.unmountAll(), netns.Remove(ctx, n.Plan)}
	// The kernel frees the cgroup of a killed process a moment after the process is gone.
	limited, cancel := context.WithTimeout(ctx, killTimeout)
	defer cancel()
	problems = append(problems, poll(limited, n.tree.Remove))
	if len(n.mounts()) == 0 {
		problems = append(problems, n.removeFiles())
	}
	if others, err := planned(root); err == nil && len(others) == 0 {
		problems = append(problems, restoreHost(root))
	}
	return errors.Join(problems...)
}

// removeFiles removes the state folder. Its plan and the mark that it is going stay until the rest is gone, for a Down
// that has to be done again.
func (n *Node) removeFiles() error {
	entries, err := os.ReadDir(n.Dir)
	if err != nil {
		return err
	}
	var problems []error
	for _, entry := range entries {
		if name := entry.Name(); name != planFile && name != goingFile {
			problems = append(problems, os.RemoveAll(n.Path(name)))
		}
	}
	if err := errors.Join(problems...); err != nil {
		return err
	}
	return os.RemoveAll(n.Dir)
}

// removeTraces removes what the cluster's programs filed in folders that they share with others of their kind.
func (n *Node) removeTraces() error {
	var traces []string
	// Each shim's bundle names the socket that the shim was killed without removing.
	bundles, _ := filepath.Glob(n.Path("containerd", "state", "io.containerd.runtime.v2.task", "*", "*", "address"))
	for _, bundle := range bundles {
		address, err := os.ReadFile(bundle)
		if socket, ok := strings.CutPrefix(string(address), "unix:///run/containerd/s/"); err == nil && ok {
			traces = append(traces, filepath.Join("/run/containerd/s", filepath.Base(socket)))
		}
	}
	results, _ := filepath.Glob(filepath.Join(cniResults, n.CNINetwork()+"-*-eth0"))
	for _, result := range results {
		pod := strings.TrimSuffix(strings.TrimPrefix(filepath.Base(result), n.CNINetwork()+"-"), "-eth0")
		traces = append(traces, result, filepath.Join(cniResults, "cni-loopback-"+pod+"-lo"))
	}
	links, _ := filepath.Glob("/var/log/containers/*.log")
	for _, link := range links {
		if target, err := os.Readlink(link); err == nil && strings.HasPrefix(target, n.Dir+"/") {
			traces = append(traces, link)
		}
	}
	var problems []error
	for _, trace := range traces {
		if err := os.Remove(trace); !errors.Is(err, fs.ErrNotExist) {
			problems = append(problems, err)
		}
	}
	return errors.Join(problems...)
}

// unmountAll detaches every mount below the state folder, the innermost first.
func (n *Node) unmountAll() error {
	var problems []error
	mounts := n.mounts()
	slices.Reverse(mounts)
	for _, mount := range mounts {
		if err := unix.Unmount(mount, unix.MNT_DETACH|unix.UMOUNT_NOFOLLOW); err != nil && !errors.Is(err, unix.EINVAL) {
			problems = append(problems, fmt.Errorf("unmount %s: %w", mount, err))
		}
	}
	return errors.Join(problems...)
}

// mounts lists the mounts below the state folder.
func (n *Node) mounts() []string {
	raw, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil
	}
	return mountsBelow(string(raw), n.Dir)
}

func mountsBelow(mountinfo, dir string) []string {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	var below []string
	for line := range strings.Lines(mountinfo) {
		fields := strings.Fields(line)
		if len(fields) < 5 {
			continue
		}
		if point := unescape.Replace(fields[4]); strings.HasPrefix(point, dir+"/") {
			below = append(below, point)
		}
	}
	return below
}

// leftovers names everything of the cluster that is still on the machine.
func (n *Node) leftovers() []string {
	var left []string
	if pids, err := n.tree.Processes(); err != nil || len(pids) > 0 {
		left = append(left, fmt.Sprintf("processes %v", pids))
	}
	for _, mount := range n.mounts() {
		left = append(left, "mount "+mount)
	}
	left = append(left, netns.Leftovers(n.Plan)...)
	left = append(left, n.tree.Leftovers()...)
	if _, err := os.Stat(n.Dir); err == nil {
		left = append(left, "folder "+n.Dir)
	}
	return left
}
