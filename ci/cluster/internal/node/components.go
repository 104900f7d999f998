package node

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"gateway-provisioners/ci/cluster/internal/config"
	"gateway-provisioners/ci/cluster/internal/kube"
	"gateway-provisioners/ci/cluster/internal/netns"
	"gateway-provisioners/ci/cluster/internal/preflight"
	"gateway-provisioners/ci/cluster/internal/proc"
)

const (
	// logLines is how much of a dead component's log is shown.
	logLines = 15
	// healthTimeout is how long a component may take from its start until it is healthy, on a busy machine.
	healthTimeout = 90 * time.Second
	// stopGrace is how long a component may take to end by itself. The API server and etcd would drain their clients'
	// watches for up to a minute, neither serving nor gone.
	stopGrace = 3 * time.Second
)

// guard watches processes: the death of one ends the work that needs it, and becomes its error.
type guard struct {
	context.Context
	cancel context.CancelCauseFunc
}

func newGuard(ctx context.Context) *guard {
	ctx, cancel := context.WithCancelCause(ctx)
	return &guard{ctx, cancel}
}

func (g *guard) watch(n *Node, component string, process *proc.Process) {
	gone := process.Gone()
	go func() {
		select {
		case <-gone:
			g.cancel(n.endOf(component, process))
		case <-g.Done():
		}
	}()
}

// explain prefers the death of a component to the errors that it caused elsewhere.
func (g *guard) explain(err error) error {
	if cause := context.Cause(g); err != nil && cause != nil && !errors.Is(cause, context.Canceled) {
		return cause
	}
	return err
}

// endOf describes a component's end: its name, how long it ran, and the last lines of its log.
func (n *Node) endOf(component string, process *proc.Process) error {
	return fmt.Errorf("%s (process %d, started %s) died (%s); the end of %s:\n%s", component, process.PID,
		process.Began.Format(time.TimeOnly), process.Exit(), n.Log(component), proc.Tail(n.Log(component), logLines))
}

// ensure starts a component unless it runs, and waits until it is healthy.
func (n *Node) ensure(g *guard, name string) error {
	component, err := n.component(name)
	if err != nil {
		return err
	}
	process, err := n.find(name)
	switch {
	case err == nil:
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, proc.ErrGone):
		if process, err = n.launch(component); err != nil {
			return fmt.Errorf("start %s: %w", name, err)
		}
	default:
		return fmt.Errorf("find %s: %w", name, err)
	}
	g.watch(n, name, process)
	return n.awaitHealth(g, component)
}

// launch starts a component in the cluster's network namespace and cgroup, with nothing of this program's
// environment: a proxy that the host uses could only mislead it.
func (n *Node) launch(component config.Component) (*proc.Process, error) {
	argv := component.Argv
	if !filepath.IsAbs(argv[0]) {
		path, err := preflight.Find(argv[0])
		if err != nil {
			return nil, err
		}
		argv = append([]string{path}, argv[1:]...)
	}
	if _, err := os.Stat(argv[0]); err != nil {
		return nil, fmt.Errorf("%w; `down` and `up` give cluster %s the programs of this checkout", err, n.Name)
	}
	// A socket that a killed process left behind would be taken for its successor's.
	if socket, ok := strings.CutPrefix(component.Health, "unix:"); ok {
		if err := os.Remove(socket); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	return proc.Start(proc.Spec{
		Argv:       argv,
		Env:        []string{"PATH=" + n.Bin + ":" + preflight.Path, "HOME=" + n.Dir, "LC_ALL=C.UTF-8"},
		Dir:        n.Dir,
		Log:        n.Log(component.Name),
		RecordFile: n.record(component.Name),
		Launch:     func(fork func() error) error { return netns.Do(n.Netns(), fork) },
		Adopt:      n.tree.Adopt,
	})
}

// awaitHealth waits until a component answers that it is ready.
func (n *Node) awaitHealth(ctx context.Context, component config.Component) error {
	ctx, cancel := context.WithTimeout(ctx, healthTimeout)
	defer cancel()
	err := poll(ctx, func() error { return healthy(ctx, component) })
	if err != nil && ctx.Err() != nil && errors.Is(context.Cause(ctx), context.DeadlineExceeded) {
		return fmt.Errorf("%s is not ready after %s: %w; the end of %s:\n%s", component.Name, healthTimeout, err,
			n.Log(component.Name), proc.Tail(n.Log(component.Name), logLines))
	}
	return err
}

// healthy asks a component once.
func healthy(ctx context.Context, component config.Component) error {
	if socket, ok := strings.CutPrefix(component.Health, "unix:"); ok {
		connection, err := (&net.Dialer{}).DialContext(ctx, "unix", socket)
		if err != nil {
			return err
		}
		return connection.Close()
	}
	return kube.Healthy(ctx, component.Health)
}

// poll tries until it works or the context ends. It is for what gives no event, such as a port that is not open yet.
func poll(ctx context.Context, try func() error) error {
	const longest = 250 * time.Millisecond
	for pause := 20 * time.Millisecond; ; pause = min(pause*3/2, longest) {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(pause):
		}
	}
}

// Start starts one component and waits until it is healthy.
func (n *Node) Start(ctx context.Context, name string) error {
	if _, err := n.component(name); err != nil {
		return err
	}
	if _, err := os.Stat(n.Netns()); err != nil {
		return fmt.Errorf("cluster %s has no network namespace (is the machine freshly booted?): run `up`", n.Name)
	}
	g := newGuard(ctx)
	defer g.cancel(nil)
	return n.report.Run("start "+name, func() error { return g.explain(n.ensure(g, name)) })
}

// Stop stops one component and waits until it is gone.
func (n *Node) Stop(name string, force bool) error {
	if _, err := n.component(name); err != nil {
		return err
	}
	return n.report.Run("stop "+name, func() error { return n.stop(name, force) })
}

func (n *Node) stop(name string, force bool) error {
	process, err := n.find(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, proc.ErrGone):
	case err != nil:
		return fmt.Errorf("find %s: %w", name, err)
	default:
		grace := stopGrace
		if force {
			grace = 0
		}
		if err := process.Stop(grace); err != nil {
			return err
		}
	}
	// Without a record it is known as stopped, not as dead.
	return os.Remove(n.record(name))
}
