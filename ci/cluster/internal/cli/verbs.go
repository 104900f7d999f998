package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"
	"time"

	"gateway-provisioners/ci/cluster/internal/config"
	"gateway-provisioners/ci/cluster/internal/node"
	"gateway-provisioners/ci/cluster/internal/preflight"
	"gateway-provisioners/ci/cluster/internal/proc"
	"gateway-provisioners/ci/cluster/internal/steps"
)

// shownLog is how many lines `logs` prints.
const shownLog = 100

func up(c *call) error {
	if err := preflight.Root(); err != nil {
		return err
	}
	began := time.Now()
	report, err := c.reporter()
	if err != nil {
		return err
	}
	if n, err := c.open(); err == nil {
		if n.Status(c.ctx).Running {
			report.Say("cluster %s is up; kubeconfig %s", n.Name, n.Kubeconfig())
			return c.noteOtherPrograms(n, report)
		}
		if !n.Going() {
			n.ReportDeaths()
		}
	} else if !errors.Is(err, node.ErrNone) {
		return err
	}
	n, unlock, err := c.claim(report)
	if err != nil {
		return err
	}
	defer unlock()
	if err := n.Up(c.ctx); err != nil {
		return err
	}
	report.Say("cluster %s is up after %.1f s; kubeconfig %s", n.Name, time.Since(began).Seconds(), n.Kubeconfig())
	return report.Save()
}

// cannot makes one error of all that a machine lacks: one line each.
func cannot(problems []error) error {
	const what = "this machine cannot run a node"
	if len(problems) == 1 {
		return fmt.Errorf("%s: %w", what, problems[0])
	}
	return fmt.Errorf("%s:\n%w", what, errors.Join(problems...))
}

// noteOtherPrograms reports when a running cluster's programs are not those that this checkout would build.
func (c *call) noteOtherPrograms(n *node.Node, report *steps.Reporter) error {
	store, err := store()
	if err != nil {
		return err
	}
	key, err := store.Key(c.ctx)
	if err == nil && filepath.Base(n.Bin) != key {
		report.Say("note: its programs (%s) are not those of this checkout (%s); `down` and `up` would change them", filepath.Base(n.Bin), key)
	}
	return err
}

// claim plans the cluster and keeps other runs from changing it until unlock is called. What an interrupted `down` has
// left is removed first.
func (c *call) claim(report *steps.Reporter) (n *node.Node, unlock func(), err error) {
	for {
		if n, err = c.plan(report); err != nil {
			return nil, nil, err
		}
		if unlock, err = n.Lock(); err != nil {
			return nil, nil, err
		}
		if !n.Going() {
			return n, unlock, nil
		}
		report.Say("an earlier `down` of cluster %s was interrupted: it is finished now", n.Name)
		err = c.takeDown(n)
		unlock()
		if err != nil {
			return nil, nil, err
		}
	}
}

// takeDown removes a cluster that this run has locked.
func (c *call) takeDown(n *node.Node) error {
	root, err := stateRoot()
	if err != nil {
		return err
	}
	return n.Down(c.ctx, root)
}

// plan checks the machine, builds the binaries, and reads or makes the cluster's plan.
func (c *call) plan(report *steps.Reporter) (*node.Node, error) {
	root, err := stateRoot()
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(root, 0o711); err != nil {
		return nil, fmt.Errorf("make the folder of clusters: %w", err)
	}
	if missing := preflight.Missing(); c.installPackages && len(missing) > 0 {
		what := "install the Debian packages " + strings.Join(missing, " ")
		if err := report.Run(what, func() error { return preflight.Install(c.ctx, missing) }); err != nil {
			return nil, err
		}
	}
	if problems := preflight.Check(root); len(problems) > 0 {
		return nil, cannot(problems)
	}
	store, err := store()
	if err != nil {
		return nil, err
	}
	bin, err := store.Ensure(c.ctx, report)
	if err != nil {
		return nil, err
	}
	return node.Plan(root, c.name, bin, report)
}

func down(c *call) error {
	if err := preflight.Root(); err != nil {
		return err
	}
	n, err := c.open()
	if errors.Is(err, node.ErrNone) {
		fmt.Fprintf(c.stderr, "cluster %s is not there; nothing to do\n", c.name)
		return nil
	}
	if err != nil {
		return err
	}
	unlock, err := n.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return c.takeDown(n)
}

func status(c *call) error {
	n, err := c.open()
	if err != nil {
		return err
	}
	s := n.Status(c.ctx)
	if c.json {
		encoder := json.NewEncoder(c.stdout)
		encoder.SetIndent("", "  ")
		if err := encoder.Encode(s); err != nil {
			return err
		}
	} else {
		c.table(s)
	}
	if !s.Running {
		return fmt.Errorf("cluster %s does not run: %s", n.Name, s.Problem)
	}
	return nil
}

func (c *call) table(s node.Status) {
	table := tabwriter.NewWriter(c.stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "COMPONENT\tSTATE\tPID\tSINCE")
	for _, component := range s.Components {
		pid, since := "-", "-"
		if component.Since != nil {
			pid, since = fmt.Sprint(component.PID), component.Since.Format(time.DateTime)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%s\n", component.Name, component.State, pid, since)
	}
	table.Flush()
	for _, component := range s.Components {
		if component.Detail != "" {
			fmt.Fprintf(c.stdout, "\n%s\n", component.Detail)
		}
	}
	version := s.Kubernetes
	if version == "" {
		version = "not known"
	}
	fmt.Fprintf(c.stdout, "\nnode        %s, Kubernetes %s, %s\nAPI server  %s\npods        %s\nservices    %s (DNS %s)\nhost        %s, as pods see it\nprograms    %s\nlogs        %s\nkubeconfig  %s\n",
		s.Node, version, s.NodeIP, s.APIServer, s.PodCIDR, s.ServiceCIDR, s.DNSIP, s.HostIP, s.Bin, filepath.Join(s.Dir, "logs"), s.Kubeconfig)
}

func loadImage(c *call) error {
	if err := preflight.Root(); err != nil {
		return err
	}
	n, err := c.open()
	if err != nil {
		return err
	}
	for _, file := range c.arguments {
		began := time.Now()
		images, already, err := n.Images().Load(c.ctx, file)
		if err != nil {
			return err
		}
		how := "loaded"
		if already {
			how = "was loaded before"
		}
		for _, image := range images {
			fmt.Fprintf(c.stdout, "%s %s from %s (%.1f s)\n", image.Name, how, file, time.Since(began).Seconds())
		}
	}
	return nil
}

func kubeconfig(c *call) error {
	n, err := c.open()
	if err != nil {
		return err
	}
	if _, err := os.Stat(n.Kubeconfig()); err != nil {
		return fmt.Errorf("cluster %s has no kubeconfig yet: run `up`: %w", n.Name, err)
	}
	fmt.Fprintln(c.stdout, n.Kubeconfig())
	return nil
}

func bin(c *call) error {
	report, err := c.reporter()
	if err != nil {
		return err
	}
	store, err := store()
	if err != nil {
		return err
	}
	folder, err := store.Ensure(c.ctx, report)
	if err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, folder)
	return report.Save()
}

func stop(c *call) error {
	return c.change(func(n *node.Node) error { return n.Stop(c.arguments[0], c.force) })
}

func start(c *call) error {
	return c.change(func(n *node.Node) error { return n.Start(c.ctx, c.arguments[0]) })
}

// change does something to a cluster under its lock, so that no other process changes it meanwhile.
func (c *call) change(do func(*node.Node) error) error {
	if err := preflight.Root(); err != nil {
		return err
	}
	n, err := c.open()
	if err != nil {
		return err
	}
	unlock, err := n.Lock()
	if err != nil {
		return err
	}
	defer unlock()
	return do(n)
}

func logs(c *call) error {
	n, err := c.open()
	if err != nil {
		return err
	}
	if _, err := config.Lookup(n.Plan, c.arguments[0]); err != nil {
		return err
	}
	fmt.Fprintln(c.stdout, proc.Tail(n.Log(c.arguments[0]), shownLog))
	return nil
}
