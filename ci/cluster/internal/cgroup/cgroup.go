// Package cgroup gives a cluster a cgroup of its own in every hierarchy, so that all its processes can be named, and
// two clusters do not take each other's pods for orphans.
package cgroup

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// daemons is the cgroup, beside that of the pods, which holds the programs that run the node, and by inheritance
// whatever they start outside pods, such as containerd's shims.
const daemons = "daemons"

// joined are the version 1 controllers that daemons are moved into. pids finds processes again; the kubelet wants to
// see itself in one and the same cgroup of the others.
var joined = []string{"pids", "memory", "cpu", "cpuacct"}

// Tree is one cluster's cgroup in all hierarchies.
type Tree struct {
	// hierarchies are the mount points of all cgroup hierarchies.
	hierarchies []string
	// primary are those of them that daemons are moved into.
	primary []string
	name    string
}

// Open finds the hierarchies of this machine.
func Open(name string) (Tree, error) {
	mounts, err := os.ReadFile("/proc/self/mounts")
	if err != nil {
		return Tree{}, fmt.Errorf("find the cgroups: %w", err)
	}
	all, primary := parseMounts(string(mounts))
	if len(primary) == 0 {
		return Tree{}, errors.New("no cgroup hierarchy is mounted")
	}
	return Tree{hierarchies: all, primary: primary, name: name}, nil
}

// parseMounts finds the hierarchies. Where version 1 is mounted, the kubelet and runc use that.
func parseMounts(mounts string) (all, primary []string) {
	var unified []string
	for line := range strings.Lines(mounts) {
		fields := strings.Fields(line)
		if len(fields) < 4 {
			continue
		}
		switch fields[2] {
		case "cgroup2":
			unified = append(unified, fields[1])
		case "cgroup":
			all = append(all, fields[1])
			for _, option := range strings.Split(fields[3], ",") {
				if slices.Contains(joined, option) && !slices.Contains(primary, fields[1]) {
					primary = append(primary, fields[1])
				}
			}
		}
	}
	if len(primary) == 0 {
		primary = unified
	}
	return append(all, unified...), primary
}

// Ensure makes the cgroups that daemons and pods go into.
func (t Tree) Ensure() error {
	for _, hierarchy := range t.hierarchies {
		if err := os.MkdirAll(filepath.Join(hierarchy, t.name), 0o755); err != nil {
			return fmt.Errorf("make a cgroup: %w", err)
		}
	}
	for _, hierarchy := range t.primary {
		if err := os.MkdirAll(filepath.Join(hierarchy, t.name, daemons), 0o755); err != nil {
			return fmt.Errorf("make a cgroup: %w", err)
		}
	}
	return nil
}

// Adopt moves a process into the daemons' cgroup.
func (t Tree) Adopt(pid int) error {
	for _, hierarchy := range t.primary {
		file := filepath.Join(hierarchy, t.name, daemons, "cgroup.procs")
		if err := os.WriteFile(file, []byte(strconv.Itoa(pid)), 0o644); err != nil {
			return fmt.Errorf("move process %d into its cgroup: %w", pid, err)
		}
	}
	return nil
}

// Processes lists every process in the cluster's cgroups, of daemons and pods alike.
func (t Tree) Processes() ([]int, error) {
	seen := map[int]bool{}
	for _, hierarchy := range t.hierarchies {
		err := t.walk(hierarchy, func(dir string) error {
			raw, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
			if err != nil {
				return ignoreVanished(err)
			}
			for _, text := range strings.Fields(string(raw)) {
				pid, err := strconv.Atoi(text)
				if err != nil {
					return fmt.Errorf("cgroup %s lists process %q: %w", dir, text, err)
				}
				// Zero is a process of another PID namespace; it cannot be one that was started from here.
				if pid > 0 {
					seen[pid] = true
				}
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	pids := make([]int, 0, len(seen))
	for pid := range seen {
		pids = append(pids, pid)
	}
	slices.Sort(pids)
	return pids, nil
}

// Remove removes the cgroups. They must hold no processes.
func (t Tree) Remove() error {
	var problems []error
	for _, hierarchy := range t.hierarchies {
		var dirs []string
		if err := t.walk(hierarchy, func(dir string) error { dirs = append(dirs, dir); return nil }); err != nil {
			problems = append(problems, err)
		}
		slices.Reverse(dirs)
		for _, dir := range dirs {
			problems = append(problems, ignoreVanished(os.Remove(dir)))
		}
	}
	return errors.Join(problems...)
}

// Leftovers names the cgroups that are still there.
func (t Tree) Leftovers() []string {
	var left []string
	for _, hierarchy := range t.hierarchies {
		dir := filepath.Join(hierarchy, t.name)
		if _, err := os.Stat(dir); err == nil {
			left = append(left, "cgroup "+dir)
		}
	}
	return left
}

// walk visits the cluster's cgroups of one hierarchy, parents first.
func (t Tree) walk(hierarchy string, visit func(dir string) error) error {
	return filepath.WalkDir(filepath.Join(hierarchy, t.name), func(path string, entry fs.DirEntry, err error) error {
		if err != nil {
			return ignoreVanished(err)
		}
		if !entry.IsDir() {
			return nil
		}
		return visit(path)
	})
}

func ignoreVanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
