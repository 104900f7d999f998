package node

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"gateway-provisioners/ci/cluster/internal/steps"
)

func TestMountsBelow(t *testing.T) {
	t.Parallel()
	mountinfo := `30 1 8:1 / / rw - ext4 /dev/vda rw
31 30 0:5 / /state/a/x rw - tmpfs t rw
32 30 0:5 / /state/ab/x rw - tmpfs t rw
33 30 0:5 / /state/a rw - tmpfs t rw
34 31 0:5 / /state/a/x/with\040space rw - tmpfs t rw
`
	got := mountsBelow(mountinfo, "/state/a")
	if want := []string{"/state/a/x", "/state/a/x/with space"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestHolds(t *testing.T) {
	t.Parallel()
	tests := map[string]bool{
		`{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`:    true,
		`{"status":{"conditions":[{"type":"Ready","status":"Unknown"}]}}`: false,
		`{"status":{"conditions":[{"type":"Other","status":"True"}]}}`:    false,
		`{"status":{}}`: false,
		`not JSON`:      false,
	}
	for object, want := range tests {
		if got := nodeReady([]byte(object)); got != want {
			t.Errorf("%s: %v", object, got)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	report := steps.New(os.Stderr, "")
	if _, err := Open(root, "none", report); !errors.Is(err, ErrNone) {
		t.Errorf("no cluster: %v", err)
	}
	if _, err := Open(root, "../etc", report); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("a name that is a path: %v", err)
	}
	if err := writeFile(filepath.Join(root, "broken", planFile), []byte("{")); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(root, "broken", report); err == nil || errors.Is(err, ErrNone) {
		t.Errorf("a damaged plan: %v", err)
	}
}

func TestPollEndsWithTheLastReason(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	reason := errors.New("port closed")
	if err := poll(ctx, func() error { return reason }); !errors.Is(err, reason) {
		t.Errorf("got %v", err)
	}
}

func TestGuardPrefersTheDeathToItsConsequences(t *testing.T) {
	t.Parallel()
	death, consequence := errors.New("etcd died"), errors.New("connection refused")
	g := newGuard(t.Context())
	if err := g.explain(consequence); !errors.Is(err, consequence) {
		t.Errorf("without a death: %v", err)
	}
	g.cancel(death)
	if err := g.explain(consequence); !errors.Is(err, death) {
		t.Errorf("with a death: %v", err)
	}
	if err := g.explain(nil); err != nil {
		t.Errorf("without an error: %v", err)
	}
}
