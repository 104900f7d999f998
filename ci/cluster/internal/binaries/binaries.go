// Package binaries builds the cluster's programs and keeps them, filed under what they were built from.
package binaries

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"gateway-provisioners/ci/cluster/internal/filelock"
	"gateway-provisioners/ci/cluster/internal/image"
	"gateway-provisioners/ci/cluster/internal/run"
	"gateway-provisioners/ci/cluster/internal/steps"
)

// Versions of what the binaries module requires, as the programs must show them. A test compares them with go.mod.
const (
	Kubernetes = "1.34.4"
	Helm4      = "4.0.5"
	Helm3      = "3.19.5"
)

// Images that are made of the binaries.
const (
	PauseImage   = "localhost/cluster/pause:1"
	CoreDNSImage = "localhost/cluster/coredns:1"
)

// kubeNames are the programs that the one file kube acts as.
var kubeNames = []string{
	"etcd", "kube-apiserver", "kube-controller-manager", "kube-network-policies", "kube-proxy", "kube-scheduler", "kubeadm",
	"kubectl", "kubelet",
}

// builds are the calls of the compiler. Helm's two majors have a call each because both programs are called helm.
var builds = []struct {
	what     string
	output   string
	packages []string
}{
	{"build Kubernetes, etcd, CoreDNS and pause", "", []string{"./cmd/kube", "./cmd/coredns", "./cmd/pause", "./cmd/pod-security"}},
	{"build Helm 4", "helm4", []string{"helm.sh/helm/v4/cmd/helm"}},
	{"build Helm 3", "helm3", []string{"helm.sh/helm/v3/cmd/helm"}},
}

// Store is the folder of built binaries.
type Store struct {
	// Source is the folder of the binaries module.
	Source string
	// Cache is the folder, outside the checkout, that keeps the results.
	Cache string
}

// Key names everything that decides the result: the module's files, the flags, and the compiler.
func (s Store) Key(ctx context.Context) (string, error) {
	compiler, err := run.Command(s.command(ctx, "go", "env", "GOVERSION", "GOOS", "GOARCH"))
	if err != nil {
		return "", fmt.Errorf("ask the Go compiler for its version: %w", err)
	}
	sum := sha256.New()
	fmt.Fprintf(sum, "%s\n%q\n%q\n%q\n%q\n", compiler, flags(), environment, builds, []string{PauseImage, CoreDNSImage, image.Format})
	err = filepath.WalkDir(s.Source, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		name, err := filepath.Rel(s.Source, path)
		if err != nil {
			return err
		}
		return hashFile(sum, name, path)
	})
	if err != nil {
		return "", fmt.Errorf("read the sources of the binaries: %w", err)
	}
	return hex.EncodeToString(sum.Sum(nil))[:16], nil
}

// hashFile adds a file so that no two different trees give the same input.
func hashFile(sum io.Writer, name, path string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	fmt.Fprintf(sum, "%q %d\n", name, len(raw))
	_, err = sum.Write(raw)
	return err
}

// Ensure returns the folder of the binaries, and builds them where they are missing.
func (s Store) Ensure(ctx context.Context, report *steps.Reporter) (string, error) {
	key, err := s.Key(ctx)
	if err != nil {
		return "", err
	}
	dir := filepath.Join(s.Cache, "bin", key)
	if complete(dir) {
		return dir, nil
	}
	if err := os.MkdirAll(filepath.Dir(dir), 0o755); err != nil {
		return "", fmt.Errorf("make the cache folder: %w", err)
	}
	held, err := filelock.Hold(filepath.Dir(dir))
	if err != nil {
		return "", fmt.Errorf("lock the cache folder: %w", err)
	}
	defer held.Close()
	if complete(dir) { // while this run waited for the lock
		return dir, nil
	}
	if err := discardUnfinished(filepath.Dir(dir)); err != nil {
		return "", err
	}
	report.Say("      no binaries for key %s in %s yet", key, filepath.Dir(dir))
	return dir, s.build(ctx, report, dir)
}

// unfinishedPrefix begins the names of folders that are being built.
const unfinishedPrefix = "unfinished-"

// discardUnfinished removes what a killed build left. The caller holds the lock, so no other process builds there.
func discardUnfinished(dir string) error {
	left, err := filepath.Glob(filepath.Join(dir, unfinishedPrefix+"*"))
	for _, folder := range left {
		err = errors.Join(err, os.RemoveAll(folder))
	}
	return err
}

func complete(dir string) bool {
	_, err := os.Stat(dir)
	return err == nil
}

// build makes the folder in one move, so that it is never there in part.
func (s Store) build(ctx context.Context, report *steps.Reporter, dir string) (err error) {
	unfinished, err := os.MkdirTemp(filepath.Dir(dir), unfinishedPrefix)
	if err != nil {
		return fmt.Errorf("make a folder to build in: %w", err)
	}
	defer func() { err = errors.Join(err, os.RemoveAll(unfinished)) }()
	if err := os.Chmod(unfinished, 0o755); err != nil {
		return err
	}
	for _, build := range builds {
		err := report.Run(build.what, func() error {
			arguments := append([]string{"go", "build"}, flags()...)
			arguments = append(arguments, "-o", filepath.Join(unfinished, build.output)+trailing(build.output))
			return quietly(s.command(ctx, append(arguments, build.packages...)...))
		})
		if err != nil {
			return err
		}
	}
	for _, name := range kubeNames {
		if err := os.Symlink("kube", filepath.Join(unfinished, name)); err != nil {
			return err
		}
	}
	if err := os.Symlink("helm4", filepath.Join(unfinished, "helm")); err != nil {
		return err
	}
	if err := images(unfinished); err != nil {
		return err
	}
	return os.Rename(unfinished, dir)
}

// trailing marks an output without a name as a folder, for the compiler.
func trailing(output string) string {
	if output == "" {
		return string(filepath.Separator)
	}
	return ""
}

// images makes the images that the node itself needs, so that they need no registry.
func images(dir string) error {
	for program, name := range map[string]string{"pause": PauseImage, "coredns": CoreDNSImage} {
		err := image.WriteArchive(filepath.Join(dir, program+".tar"), name, filepath.Join(dir, program))
		if err != nil {
			return fmt.Errorf("make the image of %s: %w", program, err)
		}
	}
	return nil
}

// environment keeps the binaries static and independent of the machine's own settings.
var environment = []string{"CGO_ENABLED=0", "GOWORK=off"}

func flags() []string {
	version := strings.SplitN(Kubernetes, ".", 3)
	values := [][2]string{
		{"k8s.io/component-base/version.gitVersion", "v" + Kubernetes},
		{"k8s.io/component-base/version.gitMajor", version[0]},
		{"k8s.io/component-base/version.gitMinor", version[1]},
		{"k8s.io/component-base/version.gitTreeState", "clean"},
		{"helm.sh/helm/v4/internal/version.version", "v" + Helm4},
		{"helm.sh/helm/v4/internal/version.kubeClientVersionMajor", version[0]},
		{"helm.sh/helm/v4/internal/version.kubeClientVersionMinor", version[1]},
		{"helm.sh/helm/v3/internal/version.version", "v" + Helm3},
	}
	// Without these, `helm template` and `helm lint` take Kubernetes for 1.20 and refuse charts that ask for more.
	for _, variable := range []string{
		"helm.sh/helm/v4/pkg/chart/common", "helm.sh/helm/v4/pkg/chart/v2/lint/rules", "helm.sh/helm/v4/internal/chart/v3/lint/rules",
		"helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules",
	} {
		values = append(values, [2]string{variable + ".k8sVersionMajor", version[0]}, [2]string{variable + ".k8sVersionMinor", version[1]})
	}
	linker := "-s -w"
	for _, value := range values {
		linker += " -X " + value[0] + "=" + value[1]
	}
	return []string{"-trimpath", "-buildvcs=false", "-ldflags", linker}
}

func (s Store) command(ctx context.Context, argv ...string) *exec.Cmd {
	command := exec.CommandContext(ctx, argv[0], argv[1:]...)
	command.Dir = s.Source
	command.Env = append(os.Environ(), environment...)
	return command
}

func quietly(command *exec.Cmd) error {
	_, err := run.Command(command)
	return err
}
