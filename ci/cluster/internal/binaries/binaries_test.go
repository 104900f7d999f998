package binaries

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersionsAreThoseOfTheModule(t *testing.T) {
	t.Parallel()
	raw, err := os.ReadFile(filepath.Join("..", "..", "binaries", "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{
		"\tk8s.io/kubernetes v" + Kubernetes, "\thelm.sh/helm/v4 v" + Helm4 + " ", "\thelm.sh/helm/v3 v" + Helm3 + " ",
	} {
		if !strings.Contains(string(raw), line) {
			t.Errorf("go.mod does not say %q", strings.TrimSpace(line))
		}
	}
}

func TestKeyFollowsTheSources(t *testing.T) {
	t.Parallel()
	source := t.TempDir()
	store := Store{Source: source}
	key := func() string {
		t.Helper()
		key, err := store.Key(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return key
	}
	write := func(name, text string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(source, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module a\n")
	first := key()
	if again := key(); again != first {
		t.Errorf("the same sources gave %s and %s", first, again)
	}
	write("main.go", "package main\n")
	second := key()
	if second == first {
		t.Error("a new file did not change the key")
	}
	write("main.go", "package main\n\n")
	if key() == second {
		t.Error("a changed file did not change the key")
	}
}
