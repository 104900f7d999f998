package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// hostFile, beside the clusters, keeps the state of the host before the first of them was made.
const hostFile = "host.json"

// sysctls are the whole machine's settings that a kubelet changes.
var sysctls = []string{
	"kernel/keys/root_maxbytes", "kernel/keys/root_maxkeys", "kernel/panic", "kernel/panic_on_oops", "vm/overcommit_memory", "vm/panic_on_oom",
}

// sharedFolders are the folders outside the state folder in which the kubelet, containerd and the CNI plugins file
// things, without a setting that would move them.
var sharedFolders = []string{
	"/run/containerd", "/run/containerd/s", "/run/containerd/fifo", "/var/lib/cni", "/var/lib/cni/results",
	"/var/lib/kubelet", "/var/lib/kubelet/device-plugins", "/var/log/containers",
}

// kubeletFiles are what the kubelet leaves in its shared folder, which only kubelets use.
var kubeletFiles = []string{"kubelet.sock", "kubelet_internal_checkpoint", "DEPRECATION"}

type host struct {
	Sysctls map[string]string `json:"sysctls"`
	// Made are the shared folders that were not there before.
	Made []string `json:"made"`
}

// recordHost stores the state of the host, unless an earlier cluster has done so.
func recordHost(root string) error {
	path := filepath.Join(root, hostFile)
	if _, err := os.Stat(path); err == nil {
		return nil
	}
	before := host{Sysctls: map[string]string{}}
	for _, name := range sysctls {
		value, err := os.ReadFile("/proc/sys/" + name)
		if err != nil {
			continue // this kernel has no such setting, so no component will change it
		}
		before.Sysctls[name] = strings.TrimSpace(string(value))
	}
	for _, folder := range sharedFolders {
		if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
			before.Made = append(before.Made, folder)
		}
	}
	raw, err := json.MarshalIndent(before, "", "  ")
	if err != nil {
		return err
	}
	return writeFile(path, raw)
}

// restoreHost restores what recordHost stored.
func restoreHost(root string) error {
	path := filepath.Join(root, hostFile)
	raw, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var before host
	if err := json.Unmarshal(raw, &before); err != nil {
		return fmt.Errorf("read %s: %w", path, err)
	}
	var problems []error
	for name, value := range before.Sysctls {
		problems = append(problems, os.WriteFile("/proc/sys/"+name, []byte(value), 0o644))
	}
	if slices.Contains(before.Made, "/var/lib/kubelet/device-plugins") {
		for _, file := range kubeletFiles {
			_ = os.Remove(filepath.Join("/var/lib/kubelet/device-plugins", file))
		}
	}
	// Longest first; a folder that other programs have since put something into stays.
	slices.Sort(before.Made)
	slices.Reverse(before.Made)
	for _, folder := range before.Made {
		_ = os.Remove(folder)
	}
	return errors.Join(append(problems, os.Remove(path))...)
}
