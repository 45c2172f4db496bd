package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// destroyTimeout bounds the killing of one container's processes
// (cgroups_destroy_timeout, ISO-42).
const destroyTimeout = time.Minute

// startPlain starts a process without namespaces: in a session of its own,
// below this shim, which adopts its orphans.
func startPlain(o *order, cmd Command) (*Process, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	attr := &syscall.ProcAttr{
		Dir:   cmd.Dir,
		Env:   cmd.Env,
		Files: []uintptr{null.Fd(), os.Stdout.Fd(), os.Stderr.Fd()},
		Sys:   plainAttr(o.User),
	}
	path, err := findExecutable(cmd)
	pid := 0
	if err == nil {
		pid, err = syscall.ForkExec(path, argv(cmd), attr)
	}
	if err != nil {
		return notExecuted(cmd, err)
	}
	start, serr := readProcess(pid)
	if serr == nil {
		serr = writeRecord(o.StateDir, taskFile, processRef{Pid: pid, Start: start.start}, false)
	}
	p := &Process{
		pid:    pid,
		done:   make(chan struct{}),
		signal: func(sig syscall.Signal) error { return signalTree(os.Getpid(), pid, sig, os.Getpid()) },
		kill:   func() error { return killTree(os.Getpid(), pid, time.Now().Add(destroyTimeout)) },
	}
	stop := reapOrphans(pid)
	go func() {
		defer close(p.done)
		ws := waitChild(pid)
		p.exit.Status = int(uint32(ws))
		stop()
	}()
	if serr != nil {
		return nil, errors.Join(fmt.Errorf("record process %d: %w", pid, serr), p.kill())
	}
	return p, nil
}

// waitChild reaps one child.
func waitChild(pid int) syscall.WaitStatus {
	var ws syscall.WaitStatus
	for {
		if _, err := syscall.Wait4(pid, &ws, 0, nil); !errors.Is(err, syscall.EINTR) {
			return ws
		}
	}
}

// notExecuted stands in for a process whose executable could not be started
// (EXE-49): a line in stderr and exit status 1.
func notExecuted(cmd Command, cause error) (*Process, error) {
	if _, err := os.Stderr.WriteString(executeError(executableName(cmd), cause)); err != nil {
		return nil, fmt.Errorf("write stderr: %w", err)
	}
	p := &Process{
		done:   make(chan struct{}),
		exit:   ProcessExit{Status: 1 << 8},
		signal: func(syscall.Signal) error { return nil },
		kill:   func() error { return nil },
	}
	close(p.done)
	return p, nil
}

func executableName(cmd Command) string {
	if cmd.Path != "" || len(cmd.Args) == 0 {
		return cmd.Path
	}
	return cmd.Args[0]
}

// argv is what the process sees; without arguments it is the executable alone
// (EXE-43).
func argv(cmd Command) []string {
	if len(cmd.Args) == 0 {
		return []string{cmd.Path}
	}
	return cmd.Args
}

// findExecutable resolves a name without a slash in the task's PATH, then in
// the working directory; other relative names in the working directory
// (EXE-45).
func findExecutable(cmd Command) (string, error) {
	name := executableName(cmd)
	if strings.Contains(name, "/") {
		return name, nil // the kernel resolves it after the change of directory
	}
	path := defaultPath
	for _, kv := range cmd.Env {
		if v, ok := strings.CutPrefix(kv, "PATH="); ok {
			path = v
		}
	}
	var denied error = syscall.ENOENT
	for _, dir := range append(filepath.SplitList(path), cmd.Dir) {
		if dir == "" {
			dir = cmd.Dir
		} else if !filepath.IsAbs(dir) {
			dir = filepath.Join(cmd.Dir, dir)
		}
		full := filepath.Join(dir, name)
		st, err := os.Stat(full)
		switch {
		case err == nil && st.Mode().IsRegular() && st.Mode()&0o111 != 0:
			return full, nil
		case err == nil || errors.Is(err, fs.ErrPermission):
			denied = syscall.EACCES
		}
	}
	return "", denied
}

// defaultPath is searched when the task has no PATH (EXE-39).
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
