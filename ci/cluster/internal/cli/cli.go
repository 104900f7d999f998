// Package cli reads the command line, calls what it asks for, and turns errors into one line and an exit code.
package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"gateway-provisioners/ci/cluster/internal/binaries"
	"gateway-provisioners/ci/cluster/internal/node"
	"gateway-provisioners/ci/cluster/internal/plan"
	"gateway-provisioners/ci/cluster/internal/steps"
)

// Exit codes.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// verb is one command of the program.
type verb struct {
	name, arguments, help string
	// minimum and maximum number of arguments; maximum -1 means unlimited.
	minimum, maximum int
	do               func(*call) error
}

var verbs = []verb{
	{"up", "", "make the cluster run; start again what died", 0, 0, up},
	{"down", "", "stop the cluster and remove everything of it", 0, 0, down},
	{"status", "", "show the cluster's state; fails unless everything runs", 0, 0, status},
	{"load-image", "FILE...", "bring images to the node: archives as `docker save` or `buildah push docker-archive:` write them", 1, -1, loadImage},
	{"kubeconfig", "", "print the path of the kubeconfig file", 0, 0, kubeconfig},
	{"bin", "", "print the folder of kubectl, helm (4), helm3 and the other programs; build them if need be", 0, 0, bin},
	{"build", "", "build the programs and print their folder", 0, 0, bin},
	{"stop", "COMPONENT", "stop one component and wait until it is gone; with --force kill it", 1, 1, stop},
	{"start", "COMPONENT", "start one component and wait until it is healthy", 1, 1, start},
	{"logs", "COMPONENT", "print the end of a component's log", 1, 1, logs},
}

// call is one use of the program.
type call struct {
	ctx            context.Context
	stdout, stderr io.Writer
	arguments      []string

	name            string
	json            bool
	force           bool
	installPackages bool
}

// Run runs the program and returns its exit code.
func Run(arguments []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c := &call{ctx: ctx, stdout: stdout, stderr: stderr}
	chosen, err := c.parse(arguments)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage())
		return exitOK
	case err != nil:
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return exitUsage
	}
	if err := chosen.do(c); err != nil {
		fmt.Fprintf(stderr, "cluster: %v\n", err)
		return exitError
	}
	return exitOK
}

// parse reads the command line. Flags may stand before and after the verb and its arguments.
func (c *call) parse(arguments []string) (verb, error) {
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.Usage = func() {}
	flags.StringVar(&c.name, "name", plan.DefaultName, "")
	flags.BoolVar(&c.json, "json", false, "")
	flags.BoolVar(&c.force, "force", false, "")
	flags.BoolVar(&c.installPackages, "install-packages", false, "")
	var words []string
	for rest := arguments; ; {
		if err := flags.Parse(rest); err != nil {
			return verb{}, err
		}
		if rest = flags.Args(); len(rest) == 0 {
			break
		}
		words, rest = append(words, rest[0]), rest[1:]
	}
	if len(words) == 0 {
		return verb{}, fmt.Errorf("a verb is missing; use one of: %s (see --help)", strings.Join(verbNames(), ", "))
	}
	c.arguments = words[1:]
	if err := plan.CheckName(c.name); err != nil {
		return verb{}, err
	}
	for _, known := range verbs {
		if known.name != words[0] {
			continue
		}
		if n := len(c.arguments); n < known.minimum || known.maximum >= 0 && n > known.maximum {
			return verb{}, fmt.Errorf("use: cluster %s %s(got %d arguments)", known.name, spaced(known.arguments), n)
		}
		return known, nil
	}
	return verb{}, fmt.Errorf("no verb is called %q; use one of: %s", words[0], strings.Join(verbNames(), ", "))
}

func verbNames() []string {
	var names []string
	for _, known := range verbs {
		names = append(names, known.name)
	}
	return names
}

func spaced(text string) string {
	if text == "" {
		return ""
	}
	return text + " "
}

func usage() string {
	var out strings.Builder
	out.WriteString("A real single-node Kubernetes on this machine.\n\nUse: cluster [flags] VERB [arguments]\n\n")
	for _, known := range verbs {
		fmt.Fprintf(&out, "  %-22s %s\n", known.name+" "+known.arguments, known.help)
	}
	fmt.Fprintf(&out, `
Flags:
  --name NAME            which cluster (default %s)
  --json                 status: print JSON
  --force                stop: kill at once
  --install-packages     up: install the Debian packages that are missing

Environment:
  GP_CACHE               folder of built programs (default: gateway-provisioners in $XDG_CACHE_HOME or ~/.cache)
  GP_CLUSTER_STATE       folder of clusters (default %s); not on an overlay file system
`, plan.DefaultName, defaultState)
	return out.String()
}

const defaultState = "/var/lib/gateway-provisioners"

// stateRoot is the folder that holds a folder per cluster.
func stateRoot() (string, error) {
	return absolute("GP_CLUSTER_STATE", func() (string, error) { return defaultState, nil })
}

// cache is the folder that outlives clusters and checkouts.
func cache() (string, error) {
	return absolute("GP_CACHE", func() (string, error) {
		base, err := os.UserCacheDir()
		if err != nil {
			return "", fmt.Errorf("no place for built programs: set GP_CACHE: %w", err)
		}
		return filepath.Join(base, "gateway-provisioners"), nil
	})
}

func absolute(variable string, standard func() (string, error)) (string, error) {
	value := os.Getenv(variable)
	if value == "" {
		return standard()
	}
	if !filepath.IsAbs(value) {
		return "", fmt.Errorf("%s=%s: it must be an absolute path", variable, value)
	}
	return filepath.Clean(value), nil
}

// store finds the sources of the binaries beside this program's own.
func store() (binaries.Store, error) {
	folder, err := cache()
	if err != nil {
		return binaries.Store{}, err
	}
	source := os.Getenv("GP_CLUSTER_SOURCE")
	if source == "" {
		_, file, _, ok := runtime.Caller(0)
		if !ok || !filepath.IsAbs(file) {
			return binaries.Store{}, errors.New("this program does not know its sources: run it by ci/cluster/cluster.sh, or set GP_CLUSTER_SOURCE to the folder ci/cluster")
		}
		source = filepath.Dir(filepath.Dir(filepath.Dir(file)))
	}
	return binaries.Store{Source: filepath.Join(source, "binaries"), Cache: folder}, nil
}

// reporter prints progress to standard error, so that standard output carries answers only.
func (c *call) reporter() (*steps.Reporter, error) {
	folder, err := cache()
	if err != nil {
		return nil, err
	}
	return steps.New(c.stderr, filepath.Join(folder, "timings.json")), nil
}

// open opens the cluster that the call names.
func (c *call) open() (*node.Node, error) {
	root, err := stateRoot()
	if err != nil {
		return nil, err
	}
	report, err := c.reporter()
	if err != nil {
		return nil, err
	}
	return node.Open(root, c.name, report)
}
