// Package preflight finds out whether a machine can run a cluster, before anything is made. Each problem is one line
// that says what to do.
package preflight

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"gateway-provisioners/ci/cluster/internal/netns"
	"gateway-provisioners/ci/cluster/internal/run"
)

// Path is where programs of the system are looked for, by the checks and by the daemons alike.
const Path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// programs maps what must be installed to the Debian package that gives it.
var programs = map[string]string{
	"conntrack":               "conntrack",
	"containerd":              "containerd",
	"containerd-shim-runc-v2": "containerd",
	"ctr":                     "containerd",
	"ip":                      "iproute2",
	"iptables":                "iptables",
	"mount":                   "mount",
	"nft":                     "nftables",
	"runc":                    "runc",
}

const pluginsPackage = "containernetworking-plugins"

// pluginFolders are where distributions and the CNI project put the plugins.
var pluginFolders = []string{"/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni"}

var plugins = []string{"host-local", "loopback", "portmap", "ptp"}

// Root checks for the rights that everything else needs.
func Root() error {
	if os.Geteuid() != 0 {
		return errors.New("not root: a node makes namespaces, mounts and cgroups; run this as root")
	}
	return nil
}

// CNIPlugins finds the folder of the CNI plugins.
func CNIPlugins() (string, error) {
	for _, folder := range pluginFolders {
		if !slices.ContainsFunc(plugins, func(plugin string) bool { return !executable(filepath.Join(folder, plugin)) }) {
			return folder, nil
		}
	}
	return "", fmt.Errorf("the CNI plugins %s are in none of %s: install the Debian package %s, or pass --install-packages",
		strings.Join(plugins, ", "), strings.Join(pluginFolders, ", "), pluginsPackage)
}

// Missing lists the Debian packages that would give the programs that are not there.
func Missing() []string {
	var missing []string
	for program, pkg := range programs {
		if _, err := Find(program); err != nil {
			missing = append(missing, pkg)
		}
	}
	if _, err := CNIPlugins(); err != nil {
		missing = append(missing, pluginsPackage)
	}
	slices.Sort(missing)
	return slices.Compact(missing)
}

// Install installs Debian packages.
func Install(ctx context.Context, packages []string) error {
	if _, err := Find("apt-get"); err != nil {
		return fmt.Errorf("--install-packages works where apt-get is; install %s by hand", strings.Join(packages, " "))
	}
	argv := append([]string{"apt-get", "install", "--yes", "--no-install-recommends"}, packages...)
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	_, err := run.Command(command)
	return err
}

// Check tries what a node needs in the folder that will hold its state, and returns all problems at once.
func Check(dir string) []error {
	var problems []error
	for _, program := range sortedPrograms() {
		if _, err := Find(program); err != nil {
			problems = append(problems, fmt.Errorf("the program %s is missing: install the Debian package %s, or pass --install-packages", program, programs[program]))
		}
	}
	if _, err := CNIPlugins(); err != nil {
		problems = append(problems, err)
	}
	if err := overlay(dir); err != nil {
		problems = append(problems, fmt.Errorf("no overlay file system can be mounted in %s (%w): set GP_CLUSTER_STATE to a folder on a plain disk, and in a container ask for CAP_SYS_ADMIN", dir, err))
	}
	if err := netns.Probe(); err != nil {
		problems = append(problems, fmt.Errorf("no network namespace can be made (%w): in a container ask for CAP_SYS_ADMIN and CAP_NET_ADMIN", err))
	}
	return problems
}

// overlay mounts one, as containerd will for every container.
func overlay(dir string) (err error) {
	probe, err := os.MkdirTemp(dir, "overlay-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(probe)) }()
	for _, name := range []string{"lower", "upper", "work", "merged"} {
		if err := os.Mkdir(filepath.Join(probe, name), 0o700); err != nil {
			return err
		}
	}
	options := fmt.Sprintf("lowerdir=%[1]s/lower,upperdir=%[1]s/upper,workdir=%[1]s/work", probe)
	merged := filepath.Join(probe, "merged")
	if err := unix.Mount("overlay", merged, "overlay", 0, options); err != nil {
		return err
	}
	return unix.Unmount(merged, 0)
}

// Find looks a program up where the daemons will.
func Find(program string) (string, error) {
	for _, folder := range filepath.SplitList(Path) {
		if path := filepath.Join(folder, program); executable(path) {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in %s", program, Path)
}

func executable(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0
}

func sortedPrograms() []string {
	names := make([]string, 0, len(programs))
	for name := range programs {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}
