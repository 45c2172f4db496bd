package isolate

import (
	"errors"
	"fmt"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// process is one line of the process table.
type process struct {
	pid, ppid, pgid, sid int
	start                uint64 // microseconds since the epoch
	zombie               bool
	userTime, sysTime    time.Duration
	threads              int64
	rss                  int64
}

// zombieState is SZOMB of <sys/proc.h>.
const zombieState = 5

func fromKinfo(k *unix.KinfoProc) process {
	return process{
		pid:    int(k.Proc.P_pid),
		ppid:   int(k.Eproc.Ppid),
		pgid:   int(k.Eproc.Pgid),
		start:  uint64(k.Proc.P_starttime.Sec)*1e6 + uint64(k.Proc.P_starttime.Usec),
		zombie: k.Proc.P_stat == zombieState,
	}
}

func readProcess(pid int) (process, error) {
	k, err := unix.SysctlKinfoProc("kern.proc.pid", pid)
	if err != nil {
		return process{}, fmt.Errorf("process %d: %w", pid, err)
	}
	if int(k.Proc.P_pid) != pid {
		return process{}, fmt.Errorf("process %d: %w", pid, unix.ESRCH)
	}
	return fromKinfo(k), nil
}

func (p process) cpu() (user, sys time.Duration) { return p.userTime, p.sysTime }

func (p process) rssBytes() int64 { return p.rss }

func processTable() ([]process, error) {
	ks, err := unix.SysctlKinfoProcSlice("kern.proc.all")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	table := make([]process, 0, len(ks))
	for i := range ks {
		table = append(table, fromKinfo(&ks[i]))
	}
	return table, nil
}

func bootID() (string, error) {
	tv, err := unix.SysctlTimeval("kern.boottime")
	if err != nil {
		return "", fmt.Errorf("read boot time: %w", err)
	}
	return fmt.Sprintf("%d.%06d", tv.Sec, tv.Usec), nil
}

// adoptOrphans: Darwin has no subreaper; orphans are found by process group.
func adoptOrphans() error { return nil }

// watchedExit waits for the end of a process that need not be a child.
type watchedExit struct {
	kq  int
	ref processRef
}

func watchProcess(ref processRef) (*watchedExit, error) {
	kq, err := unix.Kqueue()
	if err != nil {
		return nil, fmt.Errorf("kqueue: %w", err)
	}
	unix.CloseOnExec(kq)
	change := unix.Kevent_t{Ident: uint64(ref.Pid), Filter: unix.EVFILT_PROC, Flags: unix.EV_ADD | unix.EV_ONESHOT, Fflags: unix.NOTE_EXIT}
	if _, err := unix.Kevent(kq, []unix.Kevent_t{change}, nil, nil); err != nil {
		unix.Close(kq)
		return nil, fmt.Errorf("watch process %d: %w", ref.Pid, err)
	}
	if p, err := readProcess(ref.Pid); err != nil || p.start != ref.Start {
		unix.Close(kq)
		return nil, fmt.Errorf("process %d: %w", ref.Pid, unix.ESRCH)
	}
	return &watchedExit{kq: kq, ref: ref}, nil
}

func (w *watchedExit) wait() error {
	defer unix.Close(w.kq)
	events := make([]unix.Kevent_t, 1)
	for {
		n, err := unix.Kevent(w.kq, nil, events, nil)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil || n > 0 {
			return err
		}
	}
}

func (w *watchedExit) signal(sig syscall.Signal) error {
	if !w.ref.alive() {
		return unix.ESRCH
	}
	return unix.Kill(w.ref.Pid, sig)
}

func (w *watchedExit) close() error { return unix.Close(w.kq) }
