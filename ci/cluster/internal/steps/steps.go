// Package steps shows the user each step: what is done, how long it has taken so far, and how long it took the
// last time.
package steps

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"sync"
	"time"
)

// interval is how often a long step is reported.
const interval = 10 * time.Second

// Reporter prints the progress of steps, which may run side by side.
type Reporter struct {
	out     io.Writer
	history string

	mu   sync.Mutex
	last map[string]float64
	now  map[string]float64
}

// New makes a reporter. The history file keeps how many seconds each step took; it may be missing.
func New(out io.Writer, history string) *Reporter {
	r := &Reporter{out: out, history: history, last: map[string]float64{}, now: map[string]float64{}}
	if raw, err := os.ReadFile(history); err == nil {
		// A damaged history costs only a hint.
		_ = json.Unmarshal(raw, &r.last)
	}
	return r
}

// Run does one step. Quick steps are reported once, when they are done.
func (r *Reporter) Run(what string, step func() error) error {
	began := time.Now()
	done := make(chan struct{})
	var ticker sync.WaitGroup
	ticker.Add(1)
	go func() {
		defer ticker.Done()
		tick := time.NewTicker(interval)
		defer tick.Stop()
		for {
			select {
			case <-done:
				return
			case <-tick.C:
				r.print("...   %s: %s so far%s\n", what, short(time.Since(began)), r.lastTime(what))
			}
		}
	}()
	err := step()
	close(done)
	ticker.Wait()
	took := time.Since(began)
	if err != nil {
		r.print("FAIL  %s, after %s\n", what, short(took))
		return fmt.Errorf("%s: %w", what, err)
	}
	r.remember(what, took)
	r.print("ok    %s (%s)\n", what, short(took))
	return nil
}

// remember keeps a step's time. A step that found its work done says nothing about how long the work takes.
func (r *Reporter) remember(what string, took time.Duration) {
	if took < time.Second {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now[what] = took.Seconds()
}

// Say prints a line between steps.
func (r *Reporter) Say(format string, arguments ...any) {
	r.print(format+"\n", arguments...)
}

// Save keeps how long the steps took, for the next time.
func (r *Reporter) Save() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.Copy(r.last, r.now)
	raw, err := json.MarshalIndent(r.last, "", "  ")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(r.history), 0o755); err != nil {
		return fmt.Errorf("keep how long it took: %w", err)
	}
	return os.WriteFile(r.history, append(raw, '\n'), 0o644)
}

func (r *Reporter) print(format string, arguments ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fmt.Fprintf(r.out, format, arguments...)
}

func (r *Reporter) lastTime(what string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if seconds, known := r.last[what]; known {
		return ", last time it took " + short(time.Duration(seconds*float64(time.Second)))
	}
	return ""
}

// short renders a duration for people.
func short(d time.Duration) string {
	switch {
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < 2*time.Minute:
		return fmt.Sprintf("%.0f s", d.Seconds())
	default:
		return fmt.Sprintf("%d min %02d s", int(d.Minutes()), int(d.Seconds())%60)
	}
}
