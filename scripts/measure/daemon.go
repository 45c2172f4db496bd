package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"time"
)

const (
	startTimeout = 30 * time.Second // for a daemon to be ready
	stopTimeout  = 90 * time.Second // for a daemon to end its tasks and itself
	quietTimeout = 60 * time.Second // for the shims of ended tasks to be gone
)

// daemon is a clusterd dev with ports, data directory and cgroups of its own.
type daemon struct {
	cmd     *exec.Cmd
	dir     string
	cgroups string        // name of the cgroup above its containers
	ended   chan struct{} // closed when it has been waited for

	mu        sync.Mutex
	waitErr   error
	master    string // HOST:PORT of the scheduler API
	isolation string // what it says about itself
	ready     chan struct{}
}

// startDaemon starts the binary and waits until it is ready. stderr gets what it logs.
func startDaemon(ctx context.Context, binary string, stderr io.Writer, flags ...string) (*daemon, error) {
	dir, err := os.MkdirTemp("", "clusterd-measure-")
	if err != nil {
		return nil, err
	}
	d := &daemon{dir: dir, cgroups: filepath.Base(dir), ended: make(chan struct{}), ready: make(chan struct{})}
	if err := os.Chmod(dir, 0o755); err != nil {
		return nil, errors.Join(err, d.removeDir())
	}
	d.cmd = exec.Command(binary, append([]string{
		"dev", "--listen", "127.0.0.1:0", "--agent-listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0",
		"--data-dir", dir, "--cgroups-root", d.cgroups,
	}, flags...)...)
	d.cmd.Stdout = &lines{each: d.heard}
	d.cmd.Stderr = &lines{each: func(line string) { fmt.Fprintln(stderr, "clusterd:", line) }}
	d.cmd.WaitDelay = 5 * time.Second
	// Ctrl-C is for us: we end it, and it ends its tasks. If we are killed, so is it.
	d.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	endWithParent(d.cmd.SysProcAttr)
	started := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // the end of the parent is the end of the thread that forked
		defer runtime.UnlockOSThread()
		err := d.cmd.Start()
		started <- err
		if err == nil {
			err = d.cmd.Wait()
			d.mu.Lock()
			d.waitErr = err
			d.mu.Unlock()
		}
		close(d.ended)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(fmt.Errorf("start %s: %w", binary, err), d.removeDir())
	}
	ctx, cancel := context.WithTimeoutCause(ctx, startTimeout, fmt.Errorf("not ready after %v", startTimeout))
	defer cancel()
	select {
	case <-d.ready:
		return d, nil
	case <-d.ended:
		err = fmt.Errorf("start clusterd dev: it ended: %w", d.result())
	case <-ctx.Done():
		err = fmt.Errorf("start clusterd dev: %w", context.Cause(ctx))
	}
	return nil, errors.Join(err, d.stop())
}

// heard reads the welcome of clusterd dev.
func (d *daemon) heard(line string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	what, value, _ := strings.Cut(strings.TrimSpace(line), " ")
	switch value = strings.TrimSpace(value); what {
	case "dashboard":
		d.master = strings.TrimPrefix(value, "http://")
	case "isolation":
		if d.isolation == "" {
			d.isolation = value
			close(d.ready)
		}
	}
}

func (d *daemon) pid() int { return d.cmd.Process.Pid }

// result says how the daemon ended.
func (d *daemon) result() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.waitErr == nil {
		return errors.New("exit status 0")
	}
	return d.waitErr
}

// stop ends the daemon with all its tasks and removes its data. What does not end is killed, and
// that is an error: clusterd dev has to clean up itself.
func (d *daemon) stop() error {
	var errs []error
	select {
	case <-d.ended:
		errs = append(errs, fmt.Errorf("clusterd dev ended early: %w", d.result()))
	default:
		if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil && !errors.Is(err, os.ErrProcessDone) {
			errs = append(errs, fmt.Errorf("stop clusterd dev: %w", err))
		}
	}
	shims, err := shimsOf(d.pid())
	errs = append(errs, err)
	select {
	case <-d.ended:
	case <-time.After(stopTimeout):
		errs = append(errs, fmt.Errorf("clusterd dev did not end within %v", stopTimeout), d.cmd.Process.Kill())
		<-d.ended
	}
	errs = append(errs, endAll(shims), removeCgroups(d.cgroups), d.removeDir())
	return errors.Join(errs...)
}

// endAll kills what is left of shims; their containers end with them.
func endAll(shims []process) error {
	var errs []error
	for _, s := range shims {
		if now, err := readProcess(s.pid); err != nil || now.start != s.start {
			continue // it has ended
		}
		errs = append(errs, fmt.Errorf("shim %d outlived clusterd dev", s.pid))
		if err := syscall.Kill(s.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill shim %d: %w", s.pid, err))
		}
	}
	return errors.Join(errs...)
}

// removeDir removes the data, but never through a mount: a host file system that is still mounted
// below would be emptied.
func (d *daemon) removeDir() error {
	mounts, err := mountsBelow(d.dir)
	if err != nil {
		return fmt.Errorf("%s is not removed: %w", d.dir, err)
	}
	if len(mounts) > 0 {
		return fmt.Errorf("%s is not removed: still mounted: %s", d.dir, strings.Join(mounts, ", "))
	}
	return os.RemoveAll(d.dir)
}

// quiet waits until all shims have gone, so that the next sample starts on an idle daemon.
func (d *daemon) quiet(ctx context.Context) error {
	ctx, cancel := context.WithTimeoutCause(ctx, quietTimeout, fmt.Errorf("shims of ended tasks are still there after %v", quietTimeout))
	defer cancel()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		shims, err := shimsOf(d.pid())
		if err != nil || len(shims) == 0 {
			return err
		}
		select {
		case <-tick.C:
		case <-d.ended:
			return fmt.Errorf("clusterd dev ended: %w", d.result())
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// lines is a writer that hands on whole lines.
type lines struct {
	each func(string)
	rest []byte
}

func (l *lines) Write(p []byte) (int, error) {
	l.rest = append(l.rest, p...)
	for {
		line, rest, ok := bytes.Cut(l.rest, []byte("\n"))
		if !ok {
			return len(p), nil
		}
		l.each(string(line))
		l.rest = rest
	}
}
