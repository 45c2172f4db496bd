package isolate

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, ppid, pgid, sid int
	start                uint64 // clock ticks since boot
	zombie               bool
	userTicks, sysTicks  uint64
	threads              int64
	rssPages             int64
}

// userHZ is the unit of times in /proc: fixed by the kernel's interface.
const userHZ = 100

func readProcess(pid int) (process, error) {
	data, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return process{}, err
	}
	return parseStat(data)
}

// parseStat reads /proc/<pid>/stat (proc(5)). The name in parentheses may hold
// anything, blanks and parentheses too: fields are counted from its last ')'.
func parseStat(data []byte) (process, error) {
	open, end := bytes.IndexByte(data, '('), bytes.LastIndexByte(data, ')')
	if open < 1 || end < open {
		return process{}, fmt.Errorf("stat %q: malformed", data)
	}
	var p process
	pid, err := strconv.Atoi(strings.TrimSpace(string(data[:open])))
	if err != nil {
		return process{}, fmt.Errorf("stat %q: %w", data, err)
	}
	p.pid = pid
	f := strings.Fields(string(data[end+1:]))
	if len(f) < 22 {
		return process{}, fmt.Errorf("stat %q: %d fields after the name", data, len(f))
	}
	// f[i] is field i+3 of proc(5).
	p.zombie = f[0] == "Z" || f[0] == "X"
	ints := []struct {
		dst   *int
		index int
	}{{&p.ppid, 1}, {&p.pgid, 2}, {&p.sid, 3}}
	for _, v := range ints {
		if *v.dst, err = strconv.Atoi(f[v.index]); err != nil {
			return process{}, fmt.Errorf("stat of %d: %w", pid, err)
		}
	}
	unsigned := []struct {
		dst   *uint64
		index int
	}{{&p.userTicks, 11}, {&p.sysTicks, 12}, {&p.start, 19}}
	for _, v := range unsigned {
		if *v.dst, err = strconv.ParseUint(f[v.index], 10, 64); err != nil {
			return process{}, fmt.Errorf("stat of %d: %w", pid, err)
		}
	}
	if p.threads, err = strconv.ParseInt(f[17], 10, 64); err != nil {
		return process{}, fmt.Errorf("stat of %d: %w", pid, err)
	}
	if p.rssPages, err = strconv.ParseInt(f[21], 10, 64); err != nil {
		return process{}, fmt.Errorf("stat of %d: %w", pid, err)
	}
	return p, nil
}

func (p process) cpu() (user, sys time.Duration) {
	return time.Duration(p.userTicks) * time.Second / userHZ, time.Duration(p.sysTicks) * time.Second / userHZ
}

func (p process) rssBytes() int64 { return p.rssPages * int64(os.Getpagesize()) }

// processTable lists all processes. One that ends meanwhile is left out.
func processTable() ([]process, error) {
	d, err := os.Open("/proc")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	table := make([]process, 0, len(names))
	for _, n := range names {
		pid, err := strconv.Atoi(n)
		if err != nil {
			continue
		}
		if p, err := readProcess(pid); err == nil {
			table = append(table, p)
		}
	}
	return table, nil
}

// bootID names this boot of the machine.
func bootID() (string, error) {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return "", fmt.Errorf("read boot id: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// adoptOrphans makes this process the parent of orphans below it, so that
// double-forked children stay in its tree.
func adoptOrphans() error {
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return fmt.Errorf("set child subreaper: %w", err)
	}
	return nil
}

// watchedExit waits for the end of a process that need not be a child.
type watchedExit struct{ f *os.File }

// watchProcess opens a process for waiting; ref guards against a reused pid.
// It fails with unix.ESRCH if the process is gone.
func watchProcess(ref processRef) (*watchedExit, error) {
	fd, err := unix.PidfdOpen(ref.Pid, unix.O_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("pidfd of %d: %w", ref.Pid, err)
	}
	f := os.NewFile(uintptr(fd), "pidfd")
	// The pidfd pins the process that has the pid now; the start time tells
	// whether that is the one meant.
	if p, err := readProcess(ref.Pid); err != nil || p.start != ref.Start {
		f.Close()
		return nil, fmt.Errorf("process %d: %w", ref.Pid, unix.ESRCH)
	}
	return &watchedExit{f: f}, nil
}

// wait parks the goroutine (no thread) until the process has ended.
func (w *watchedExit) wait() error {
	defer w.f.Close()
	rc, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var perr error
	err = rc.Read(func(fd uintptr) bool {
		for {
			fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			n, err := unix.Poll(fds, 0)
			if err == unix.EINTR {
				continue
			}
			perr = err
			return err != nil || n > 0
		}
	})
	if err == nil {
		err = perr
	}
	return err
}

// signal goes through the pidfd: never to a reused pid.
func (w *watchedExit) signal(sig syscall.Signal) error {
	rc, err := w.f.SyscallConn()
	if err != nil {
		return err
	}
	var kerr error
	if err := rc.Control(func(fd uintptr) {
		kerr = unix.PidfdSendSignal(int(fd), sig, nil, 0)
	}); err != nil {
		return err
	}
	return kerr
}

func (w *watchedExit) close() error { return w.f.Close() }
