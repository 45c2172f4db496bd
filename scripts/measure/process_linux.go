package main

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	shimName = "clusterd-shim" // argv[0] of a shim
	initName = "clusterd-init" // process name of a container's process 1
	userHZ   = 100             // clock ticks a second in /proc
)

// process is a line of the process list.
type process struct {
	pid, parent int
	start       uint64        // with pid it names one process for ever
	name        string        // as the process names itself
	own         time.Duration // cpu time
	reaped      time.Duration // cpu time of its ended children and theirs
}

func endWithParent(attr *syscall.SysProcAttr) { attr.Pdeathsig = syscall.SIGTERM }

func readProcess(pid int) (process, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return process{}, err
	}
	return parseStat(text)
}

// parseStat reads /proc/<pid>/stat: see proc(5). The name may contain anything.
func parseStat(text []byte) (process, error) {
	open, end := bytes.IndexByte(text, '('), bytes.LastIndexByte(text, ')')
	if open < 1 || end < open {
		return process{}, errors.New("process status: no name in parentheses")
	}
	p := process{name: string(text[open+1 : end])}
	rest := strings.Fields(string(text[end+1:]))
	if len(rest) < 20 {
		return process{}, fmt.Errorf("process status: %d fields after the name, want 20", len(rest))
	}
	var ticks [4]uint64
	var errs [7]error
	p.pid, errs[0] = strconv.Atoi(strings.TrimSpace(string(text[:open])))
	p.parent, errs[1] = strconv.Atoi(rest[1])
	p.start, errs[2] = strconv.ParseUint(rest[19], 10, 64)
	for i := range ticks {
		ticks[i], errs[3+i] = strconv.ParseUint(rest[11+i], 10, 64)
	}
	p.own = time.Duration(ticks[0]+ticks[1]) * time.Second / userHZ
	p.reaped = time.Duration(ticks[2]+ticks[3]) * time.Second / userHZ
	return p, errors.Join(errs[:]...)
}

// childrenOf lists the children of processes, zombies included.
func childrenOf(parents ...int) ([]process, error) {
	wanted := make(map[int]bool, len(parents))
	for _, pid := range parents {
		wanted[pid] = true
	}
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var children []process
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil {
			continue
		}
		p, err := readProcess(pid)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it ended meanwhile
		}
		if err != nil {
			return nil, err
		}
		if wanted[p.parent] {
			children = append(children, p)
		}
	}
	return children, nil
}

// shimsOf lists the shims that a daemon has started.
func shimsOf(daemon int) ([]process, error) {
	children, err := childrenOf(daemon)
	if err != nil {
		return nil, err
	}
	var shims []process
	for _, p := range children {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue
		}
		if err != nil {
			return nil, err
		}
		// The command line of a zombie is empty; before exec it is the daemon's.
		if name, _, _ := bytes.Cut(line, []byte{0}); string(name) == shimName || len(line) == 0 {
			shims = append(shims, p)
		}
	}
	return shims, nil
}

// proportionalBytes is the memory of a process, shared pages divided by the number of their users.
func proportionalBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
	if err != nil {
		return 0, err
	}
	kb, err := kilobytes(text, "Pss")
	return kb << 10, err
}

// residentBytes is the memory that a process has mapped and that is in RAM.
func residentBytes(pid int) (int64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	kb, err := kilobytes(text, "VmRSS")
	return kb << 10, err
}

// mountsBelow lists the mount points in dir.
func mountsBelow(dir string) ([]string, error) {
	text, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	var below []string
	for line := range strings.Lines(string(text)) {
		if f := strings.Fields(line); len(f) > 4 && (f[4] == dir || strings.HasPrefix(f[4], dir+"/")) {
			below = append(below, f[4])
		}
	}
	return below, nil
}

// removeCgroups kills what is in the cgroups with this name, and removes them. That there are any is
// an error.
func removeCgroups(name string) error {
	var errs []error
	for _, pattern := range []string{"/sys/fs/cgroup/*/" + name, "/sys/fs/cgroup/" + name} {
		roots, err := filepath.Glob(pattern)
		if err != nil {
			return err
		}
		for _, root := range roots {
			errs = append(errs, fmt.Errorf("cgroup %s was left behind", root), removeCgroup(root))
		}
	}
	return errors.Join(errs...)
}

// removeCgroup removes a tree of cgroups bottom up. The kernel lags a little behind the end of the
// last process.
func removeCgroup(dir string) error {
	deadline := time.Now().Add(10 * time.Second)
	for {
		err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
			if err == nil && e.IsDir() {
				err = killAll(path)
			}
			if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
				return nil
			}
			return err
		})
		if err != nil {
			return fmt.Errorf("end all in cgroup: %w", err)
		}
		if err = removeDirs(dir); err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("remove cgroup: %w", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func killAll(cgroup string) error {
	text, err := os.ReadFile(filepath.Join(cgroup, "cgroup.procs"))
	if err != nil {
		return err
	}
	for _, f := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(f)
		if err != nil || pid <= 1 {
			return fmt.Errorf("process %q in %s", f, cgroup)
		}
		if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("kill process %d: %w", pid, err)
		}
	}
	return nil
}

func removeDirs(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.IsDir() {
			if err := removeDirs(filepath.Join(dir, e.Name())); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return err
			}
		}
	}
	return os.Remove(dir)
}
