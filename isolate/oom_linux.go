package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"
)

// watchMemory makes the shim end the whole container as soon as the kernel
// killed a part of it for its memory bound (ISO-61, ISO-65).
func (s *shim) watchMemory() error {
	g := s.order.Cgroup
	if g == nil || g.Memory == "" {
		return nil
	}
	events, err := openOOMEvents(g)
	if err != nil {
		return err
	}
	go func() {
		defer events.Close()
		buf := make([]byte, 4096)
		for {
			if _, err := events.Read(buf); err != nil {
				return // the end of the container finds the counters all the same
			}
			if s.ranOut(g) {
				return
			}
		}
	}()
	return nil
}

// ranOut looks at the counters after an event; the kernel raises them a moment
// later than it tells.
func (s *shim) ranOut(g *cgroup) bool {
	for range 100 {
		if !oomKilled(g.Memory, g.Version) {
			time.Sleep(5 * time.Millisecond)
			continue
		}
		use := readMemoryUse(g.Memory, g.Version)
		s.oom.CompareAndSwap(nil, &use)
		s.mu.Lock()
		p := s.process
		s.mu.Unlock()
		if p != nil {
			if err := p.Kill(); err != nil {
				fmt.Fprintf(os.Stderr, "kill container that is out of memory: %v\n", err)
			}
		}
		return true
	}
	return false
}

// memoryUse is what the container used, at the moment it ran out of memory or
// else now.
func (s *shim) memoryUse() memoryUse {
	if use := s.oom.Load(); use != nil {
		return *use
	}
	g := s.order.Cgroup
	if g == nil || g.Memory == "" {
		return memoryUse{}
	}
	return readMemoryUse(g.Memory, g.Version)
}

// openOOMEvents opens a file that becomes readable when the cgroup is out of
// memory: an eventfd in version 1, inotify on memory.events in version 2.
func openOOMEvents(g *cgroup) (*os.File, error) {
	if g.Version == 2 {
		fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
		if err != nil {
			return nil, os.NewSyscallError("inotify_init1", err)
		}
		if _, err := unix.InotifyAddWatch(fd, filepath.Join(g.Memory, "memory.events"), unix.IN_MODIFY); err != nil {
			unix.Close(fd)
			return nil, os.NewSyscallError("inotify_add_watch", err)
		}
		return os.NewFile(uintptr(fd), "memory.events"), nil
	}
	fd, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		return nil, os.NewSyscallError("eventfd", err)
	}
	f := os.NewFile(uintptr(fd), "memory.oom_control")
	control, err := os.Open(filepath.Join(g.Memory, "memory.oom_control"))
	if err == nil {
		err = writeCgroupFile(g.Memory, "cgroup.event_control", fmt.Sprintf("%d %d", fd, control.Fd()))
		control.Close()
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// protectShim keeps the kernel from choosing the shim when the container is
// out of memory: its share is small and the exit status is with it. A root
// without CAP_SYS_RESOURCE may not; then a shim that is chosen after all is
// reported from the counters of its cgroup.
func protectShim() error {
	err := os.WriteFile("/proc/self/oom_score_adj", []byte("-999"), 0)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	return err
}
