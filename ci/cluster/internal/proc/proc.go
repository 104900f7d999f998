// Package proc starts long-running programs, finds them again in a later run, and ends them.
//
// A process is known by its id and its start time together, and is signalled through a pidfd that was opened before
// the start time was compared: an id that has been given to another process is never signalled.
package proc

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// ErrGone says that a recorded process has ended.
var ErrGone = errors.New("the process has ended")

// Record is what is remembered of a process that was started.
type Record struct {
	PID int `json:"pid"`
	// StartTime is in clock ticks since boot, as the kernel gives it.
	StartTime uint64    `json:"startTime"`
	Boot      string    `json:"boot"`
	Began     time.Time `json:"began"`
}

// Process is a handle on a living or just ended process that was started by Start.
type Process struct {
	Record
	pidfd int
	// ended is closed when a process started by this very run has been reaped; exit then says how it ended.
	ended chan struct{}
	exit  string
}

// Spec is a program to start, and the file of its output.
type Spec struct {
	Argv []string
	Env  []string
	Dir  string
	// Log takes standard output and error. The log of the time before is kept beside it, with ".1" appended.
	Log string
	// RecordFile is where the Record goes.
	RecordFile string
	// Launch runs the function that forks; it decides the namespaces that the process is born in.
	Launch func(fork func() error) error
	// Adopt is called with the new process's id before it has had time to do much.
	Adopt func(pid int) error
}

// Start starts a program in a session of its own.
func Start(spec Spec) (*Process, error) {
	if err := os.Rename(spec.Log, spec.Log+".1"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("keep the previous log: %w", err)
	}
	log, err := os.OpenFile(spec.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log: %w", err)
	}
	defer log.Close()

	command := &exec.Cmd{Path: spec.Argv[0], Args: spec.Argv, Env: spec.Env, Dir: spec.Dir, Stdout: log, Stderr: log}
	command.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := spec.Launch(command.Start); err != nil {
		return nil, err
	}
	process := &Process{ended: make(chan struct{})}
	process.PID, process.Began = command.Process.Pid, time.Now()
	if err := process.identify(); err != nil {
		_ = command.Process.Kill()
		return nil, err
	}
	go func() {
		_ = command.Wait()
		process.exit = command.ProcessState.String()
		close(process.ended)
	}()
	if err := errors.Join(spec.Adopt(process.PID), writeRecord(spec.RecordFile, process.Record)); err != nil {
		return nil, errors.Join(err, process.Stop(0))
	}
	return process, nil
}

// identify fills in what distinguishes this process from a later one with the same id.
func (p *Process) identify() error {
	fd, err := unix.PidfdOpen(p.PID, 0)
	if err != nil {
		return fmt.Errorf("open process %d: %w", p.PID, err)
	}
	p.pidfd = fd
	if p.StartTime, err = startTime(p.PID); err != nil {
		return err
	}
	p.Boot, err = bootID()
	return err
}

// Open finds a recorded process. It returns fs.ErrNotExist where none was recorded and ErrGone where it has ended.
func Open(recordFile string) (*Process, error) {
	raw, err := os.ReadFile(recordFile)
	if err != nil {
		return nil, err
	}
	var recorded Record
	if err := json.Unmarshal(raw, &recorded); err != nil {
		return nil, fmt.Errorf("read %s: %w", recordFile, err)
	}
	found := &Process{Record: Record{PID: recorded.PID, Began: recorded.Began}}
	if err := found.identify(); err != nil || found.StartTime != recorded.StartTime || found.Boot != recorded.Boot {
		found.Close()
		return &Process{Record: recorded}, ErrGone
	}
	if found.waitFor(0) {
		found.Close()
		return found, ErrGone
	}
	return found, nil
}

// Close closes the handle; the process goes on.
func (p *Process) Close() {
	if p.pidfd > 0 {
		_ = unix.Close(p.pidfd)
		p.pidfd = 0
	}
}

// Alive reports whether the process still runs.
func (p *Process) Alive() bool { return p.pidfd > 0 && !p.waitFor(0) }

// Exit says how the process ended, where this run can know that.
func (p *Process) Exit() string {
	if p.ended == nil {
		return "how is not known, since an earlier run started it"
	}
	<-p.ended
	return p.exit
}

// Stop asks the process to end, waits for as long as grace, then ends it by force. It returns when it is gone.
func (p *Process) Stop(grace time.Duration) error {
	defer p.Close()
	if !p.Alive() {
		return nil
	}
	if grace > 0 {
		if err := p.signal(unix.SIGTERM); err != nil {
			return err
		}
		if p.waitFor(grace) {
			return nil
		}
	}
	if err := p.signal(unix.SIGKILL); err != nil {
		return err
	}
	if !p.waitFor(killTimeout) {
		return fmt.Errorf("process %d is still there %s after SIGKILL", p.PID, killTimeout)
	}
	return nil
}

// killTimeout is how long the kernel may take to tear down a killed process.
const killTimeout = 10 * time.Second

func (p *Process) signal(signal unix.Signal) error {
	err := unix.PidfdSendSignal(p.pidfd, signal, nil, 0)
	if err != nil && !errors.Is(err, unix.ESRCH) {
		return fmt.Errorf("send %s to process %d: %w", unix.SignalName(signal), p.PID, err)
	}
	return nil
}

// waitFor reports whether the process ends within the time. The kernel wakes it; nothing is polled in a loop.
func (p *Process) waitFor(timeout time.Duration) bool {
	deadline := time.Now().Add(timeout)
	for {
		left := max(time.Until(deadline), 0)
		events := []unix.PollFd{{Fd: int32(p.pidfd), Events: unix.POLLIN}}
		n, err := unix.Poll(events, int(left.Milliseconds()))
		if err == nil {
			return n > 0
		}
		if !errors.Is(err, unix.EINTR) {
			return false
		}
	}
}

// Gone is closed when the process has ended.
func (p *Process) Gone() <-chan struct{} {
	if p.ended != nil {
		return p.ended
	}
	gone := make(chan struct{})
	go func() {
		for !p.waitFor(time.Hour) {
		}
		close(gone)
	}()
	return gone
}

func writeRecord(path string, record Record) error {
	raw, err := json.Marshal(record)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", raw, 0o600); err != nil {
		return fmt.Errorf("record process %d: %w", record.PID, err)
	}
	return os.Rename(path+".new", path)
}

func startTime(pid int) (uint64, error) {
	raw, err := os.ReadFile(filepath.Join("/proc", strconv.Itoa(pid), "stat"))
	if err != nil {
		return 0, fmt.Errorf("read the start time of process %d: %w", pid, err)
	}
	return parseStartTime(string(raw))
}

// parseStartTime takes field 22. The program's name before it may hold spaces and brackets, so counting begins after
// the last bracket.
func parseStartTime(stat string) (uint64, error) {
	after := strings.Fields(stat[strings.LastIndexByte(stat, ')')+1:])
	const field = 22 - 3
	if len(after) <= field {
		return 0, fmt.Errorf("process status %q has too few fields", stat)
	}
	return strconv.ParseUint(after[field], 10, 64)
}

func bootID() (string, error) {
	raw, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	return strings.TrimSpace(string(raw)), err
}
