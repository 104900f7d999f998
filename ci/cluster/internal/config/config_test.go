package config

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"gateway-provisioners/ci/cluster/internal/plan"
)

func example(t *testing.T) plan.Plan {
	t.Helper()
	// The first addresses are taken, so that a fixed address in a file would show.
	p, err := plan.New("example", "/state", []netip.Prefix{netip.MustParsePrefix("10.250.0.0/30")})
	if err != nil {
		t.Fatal(err)
	}
	p.Bin, p.CNIPlugins = "/cache/bin/key", "/usr/lib/cni"
	return p
}

func TestFilesAreWellFormedAndOfThisCluster(t *testing.T) {
	t.Parallel()
	p := example(t)
	files, err := Files(p)
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasPrefix(file.Path, p.Dir+"/") {
			t.Errorf("%s is outside the state folder", file.Path)
		}
		text := string(file.Content)
		if strings.Contains(text, "10.250.0.") || strings.Contains(text, "10.96.0.") || strings.Contains(text, "10.244.0.") {
			t.Errorf("%s has an address of another cluster:\n%s", file.Path, text)
		}
		if strings.HasSuffix(file.Path, ".toml") || strings.HasSuffix(file.Path, "resolv.conf") {
			continue
		}
		for document := range strings.SplitSeq(text, "---\n") {
			if !json.Valid([]byte(document)) {
				t.Errorf("%s is not JSON:\n%s", file.Path, document)
			}
		}
	}
}

func TestEveryComponentIsComplete(t *testing.T) {
	t.Parallel()
	if len(order) != len(components) {
		t.Fatalf("%d components are ordered, %d exist", len(order), len(components))
	}
	p := example(t)
	for _, name := range Names() {
		component, err := Lookup(p, name)
		if err != nil {
			t.Fatal(err)
		}
		if component.Name != name || len(component.Argv) == 0 || component.Health == "" {
			t.Errorf("%s is incomplete: %+v", name, component)
		}
	}
	if _, err := Lookup(p, "nginx"); err == nil || !strings.Contains(err.Error(), "kubelet") {
		t.Errorf("an unknown component: %v", err)
	}
}

func TestObjectsLiveWhereTheyAreApplied(t *testing.T) {
	t.Parallel()
	p := example(t)
	var paths []string
	for _, object := range Objects(p) {
		path := object.Path + "/" + object.Name
		if slices.Contains(paths, path) {
			t.Errorf("%s is there twice", path)
		}
		paths = append(paths, path)
		version := object.Body["apiVersion"].(string)
		if !strings.Contains(object.Path, "/"+version+"/") {
			t.Errorf("%s is of version %s", path, version)
		}
		if _, err := json.Marshal(object.Body); err != nil {
			t.Errorf("%s: %v", path, err)
		}
	}
	if want := "/api/v1/namespaces/kube-system/services/kube-dns"; !slices.Contains(paths, want) {
		t.Errorf("%s is missing", want)
	}
}
