// Package node brings one cluster up, takes it down, and reports its state.
package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"gateway-provisioners/ci/cluster/internal/cgroup"
	"gateway-provisioners/ci/cluster/internal/config"
	"gateway-provisioners/ci/cluster/internal/filelock"
	"gateway-provisioners/ci/cluster/internal/image"
	"gateway-provisioners/ci/cluster/internal/plan"
	"gateway-provisioners/ci/cluster/internal/proc"
	"gateway-provisioners/ci/cluster/internal/steps"
)

// ErrNone says that there is no cluster of that name.
var ErrNone = errors.New("there is no such cluster; make it with `up`")

// Node is one cluster that has been planned.
type Node struct {
	plan.Plan
	tree   cgroup.Tree
	report *steps.Reporter
}

// Open reads the plan of a cluster that exists, whole or in part.
func Open(root, name string, report *steps.Reporter) (*Node, error) {
	if err := plan.CheckName(name); err != nil {
		return nil, err
	}
	raw, err := os.ReadFile(filepath.Join(root, name, planFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("cluster %s: %w", name, ErrNone)
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, fmt.Errorf("cluster %s belongs to root: run this as root", name)
	}
	if err != nil {
		return nil, err
	}
	var p plan.Plan
	if err := json.Unmarshal(raw, &p); err != nil {
		return nil, fmt.Errorf("read the plan of cluster %s: %w", name, err)
	}
	return with(p, report)
}

func with(p plan.Plan, report *steps.Reporter) (*Node, error) {
	tree, err := cgroup.Open(p.Cgroup())
	if err != nil {
		return nil, err
	}
	return &Node{Plan: p, tree: tree, report: report}, nil
}

const (
	planFile = "cluster.json"
	// goingFile is there from the moment that Down begins.
	goingFile = "going"
)

// Going reports whether a Down has begun that did not come to its end. What is left of the cluster is of no use: call
// Down again.
func (n *Node) Going() bool {
	_, err := os.Stat(n.Path(goingFile))
	return err == nil
}

// save stores the plan.
func (n *Node) save() error {
	raw, err := json.MarshalIndent(n.Plan, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(n.Path(planFile), append(raw, '\n'))
}

// Lock keeps other runs from changing the cluster until unlock is called. It fails where the folder is taken away
// meanwhile: then there is no cluster any more.
func (n *Node) Lock() (unlock func(), err error) {
	folder, err := filelock.Hold(n.Dir)
	if err != nil {
		return nil, fmt.Errorf("lock cluster %s: %w", n.Name, err)
	}
	held, errHeld := folder.Stat()
	current, errCurrent := os.Stat(n.Dir)
	if errHeld != nil || errCurrent != nil || !os.SameFile(held, current) {
		folder.Close()
		return nil, fmt.Errorf("cluster %s was taken down by another run just now: %w", n.Name, ErrNone)
	}
	return func() { folder.Close() }, nil
}

// Images loads images into this cluster.
func (n *Node) Images() image.Loader {
	return image.Loader{Socket: n.ContainerdSocket(), Records: n.Path("images")}
}

func (n *Node) record(component string) string { return n.Path("run", component+".json") }

// find returns a component's process: fs.ErrNotExist where it was not started, or was stopped on purpose, and
// proc.ErrGone where it has died.
func (n *Node) find(component string) (*proc.Process, error) {
	return proc.Open(n.record(component))
}

// component looks a component up.
func (n *Node) component(name string) (config.Component, error) {
	return config.Lookup(n.Plan, name)
}

// onDemand reports whether the cluster is whole without a component.
func (n *Node) onDemand(name string) bool {
	component, err := n.component(name)
	return err == nil && component.OnDemand
}

// writeFile writes a file that only root can read, whole or not at all.
func writeFile(path string, content []byte) error {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", content, 0o600); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
