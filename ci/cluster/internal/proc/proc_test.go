package proc

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

func start(t *testing.T, script string) (*Process, string) {
	t.Helper()
	dir := t.TempDir()
	record := filepath.Join(dir, "record.json")
	process, err := Start(Spec{
		Argv: []string{"/bin/sh", "-c", script}, Log: filepath.Join(dir, "log"), RecordFile: record,
		Launch: func(fork func() error) error { return fork() }, Adopt: func(int) error { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = process.Stop(0) })
	return process, record
}

func TestAProcessIsFoundAgainAndStopped(t *testing.T) {
	t.Parallel()
	started, record := start(t, "exec sleep 60")
	found, err := Open(record)
	if err != nil {
		t.Fatal(err)
	}
	if found.PID != started.PID || !found.Alive() {
		t.Fatalf("found %+v, started %+v", found.Record, started.Record)
	}
	if err := found.Stop(5 * time.Second); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(record); !errors.Is(err, ErrGone) {
		t.Errorf("after the stop: %v", err)
	}
}

func TestStopForcesAProcessThatDoesNotListen(t *testing.T) {
	t.Parallel()
	process, _ := start(t, `trap "" TERM; echo ready; while :; do sleep 60; done`)
	<-time.After(100 * time.Millisecond)
	if err := process.Stop(50 * time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if process.Alive() {
		t.Error("it lives")
	}
}

func TestARecycledIDIsNotOurs(t *testing.T) {
	t.Parallel()
	process, record := start(t, "exec sleep 60")
	stale := process.Record
	stale.StartTime--
	if err := writeRecord(record, stale); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(record); !errors.Is(err, ErrGone) {
		t.Errorf("a process with another start time was taken for ours: %v", err)
	}
}

func TestOpenWithoutRecord(t *testing.T) {
	t.Parallel()
	if _, err := Open(filepath.Join(t.TempDir(), "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("got %v", err)
	}
}

func TestExitAndLog(t *testing.T) {
	t.Parallel()
	process, record := start(t, "echo out; echo err >&2; exit 3")
	<-process.Gone()
	if got := process.Exit(); got != "exit status 3" {
		t.Errorf("exit %q", got)
	}
	if got := Tail(filepath.Join(filepath.Dir(record), "log"), 5); got != "  out\n  err" {
		t.Errorf("log %q", got)
	}
}

func TestParseStartTime(t *testing.T) {
	t.Parallel()
	got, err := parseStartTime("7 (a) b) (c) S 1 7 7 0 -1 4 5 6 7 8 9 10 11 12 20 0 1 0 4242 99 100")
	if err != nil || got != 4242 {
		t.Errorf("got %d, %v", got, err)
	}
	if _, err := parseStartTime("7 (a) S 1"); err == nil {
		t.Error("a short line passed")
	}
}

func TestTail(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log")
	if got := Tail(path, 3); !strings.Contains(got, "no log") {
		t.Errorf("missing file: %q", got)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Tail(path, 3); got != "  (it said nothing)" {
		t.Errorf("empty file: %q", got)
	}
	if err := os.WriteFile(path, []byte("a\nb\nc\nd\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := Tail(path, 2); got != "  c\n  d" {
		t.Errorf("got %q", got)
	}
}
