package steps

import (
	"bytes"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func TestRunReportsAndRemembers(t *testing.T) {
	t.Parallel()
	history := filepath.Join(t.TempDir(), "new", "times.json")
	var out bytes.Buffer
	first := New(&out, history)
	if err := first.Run("dig", func() error { return nil }); err != nil {
		t.Fatal(err)
	}
	first.remember("dig", 90*time.Second)
	first.remember("dig", time.Millisecond)
	if err := first.Save(); err != nil {
		t.Fatal(err)
	}
	if got := out.String(); got != "ok    dig (0.0 s)\n" {
		t.Errorf("printed %q", got)
	}
	if got := New(&out, history).lastTime("dig"); got != ", last time it took 90 s" {
		t.Errorf("remembered %q", got)
	}
}

func TestRunNamesTheStepThatFailed(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	cause := errors.New("rock")
	err := New(&out, "").Run("dig", func() error { return cause })
	if !errors.Is(err, cause) || err.Error() != "dig: rock" {
		t.Errorf("got %v", err)
	}
	if !strings.HasPrefix(out.String(), "FAIL  dig") {
		t.Errorf("printed %q", out.String())
	}
}

func TestShort(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0.3 s": 300 * time.Millisecond, "12 s": 12 * time.Second, "119 s": 119 * time.Second, "5 min 07 s": 307 * time.Second,
	} {
		if got := short(d); got != want {
			t.Errorf("%v: got %q, want %q", d, got, want)
		}
	}
}
