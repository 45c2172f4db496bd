//go:build linux && cgo

package isolate

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"syscall"

	libcgroups "github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

var errConnReset = syscall.ECONNRESET

// startContained makes the container: mount, PID, IPC and UTS namespaces of
// its own on the host's file system (ISO-28, ISO-103, ISO-128), with the
// host's /dev and /sys, and /proc of its own.
func (s *shim) startContained(cmd Command, owner *credential) (*Process, error) {
	if err := s.watchMemory(); err != nil {
		return nil, fmt.Errorf("watch memory: %w", err)
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	lp := &libcontainer.Process{
		Args:       []string{"clusterd-init"},
		Env:        []string{initMark},
		Cwd:        cmd.Dir,
		Stdout:     os.Stdout,
		Stderr:     os.Stderr,
		ExtraFiles: []*os.File{theirs},
		Init:       true,
	}
	// The init replaces itself by this program, the sealed copy of it that
	// libcontainer runs; what it does then is init_linux.c.
	lp.Args[0] = "/proc/self/exe"
	if owner != nil {
		lp.UID, lp.GID = int(owner.UID), int(owner.GID)
		for _, g := range owner.Groups {
			lp.AdditionalGroups = append(lp.AdditionalGroups, int(g))
		}
	}
	c, err := s.loadContainer()
	if err != nil {
		ours.Close()
		return nil, err
	}
	if err := inHostRoot(s.rootfs(), func() error { return runProcess(c, lp) }); err != nil {
		ours.Close()
		return nil, err
	}
	return s.follow(lp, ours, cmd)
}

func (s *shim) rootfs() string { return filepath.Join(filepath.Dir(s.order.StateDir), rootfsName) }

// follow tells the init what to run and waits for it.
func (s *shim) follow(lp *libcontainer.Process, conn *os.File, cmd Command) (*Process, error) {
	pid, err := lp.Pid()
	if err != nil {
		conn.Close()
		return nil, err
	}
	p := &Process{
		pid:    pid,
		done:   make(chan struct{}),
		signal: func(sig syscall.Signal) error { return signalTree(pid, 0, sig) },
		kill: func() error {
			err := lp.Signal(unix.SIGKILL)
			if errors.Is(err, os.ErrProcessDone) || errors.Is(err, unix.ESRCH) {
				return nil
			}
			return err
		},
	}
	if _, err := conn.Write(encodeTask(cmd)); err != nil && !errors.Is(err, syscall.EPIPE) {
		conn.Close()
		return nil, errors.Join(fmt.Errorf("tell the container's init: %w", err), p.kill())
	}
	go func() {
		defer close(p.done)
		status, told, err := readStatus(conn)
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
		conn.Close()
		// Waiting for the init is waiting for all of its PID namespace.
		state, werr := lp.Wait()
		if !told {
			status = -1
			if state != nil {
				status = int(uint32(state.Sys().(syscall.WaitStatus)))
			} else if werr != nil {
				fmt.Fprintf(os.Stderr, "wait for the container's init: %v\n", werr)
			}
		}
		p.exit = ProcessExit{Status: status, Limited: s.memoryUse().OOM}
	}()
	return p, nil
}

// config describes the container to libcontainer.
func (s *shim) config() *configs.Config {
	score := s.order.OOMScoreAdj
	return &configs.Config{
		Rootfs: s.rootfs(),
		Namespaces: configs.Namespaces{
			{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWIPC}, {Type: configs.NEWUTS},
		},
		Mounts: []*configs.Mount{
			// A bind mount of /dev keeps libcontainer from making its own
			// device nodes, which here would be the host's.
			{Source: "/dev", Destination: "/dev", Device: "bind", Flags: unix.MS_BIND | unix.MS_REC},
			{Source: "proc", Destination: "/proc", Device: "proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		},
		OomScoreAdj: &score,
		Cgroups:     &libcgroups.Cgroup{Path: s.order.Cgroup.Path, Resources: &libcgroups.Resources{}},
	}
}

// loadContainer gives libcontainer a container that is stopped and has the
// cgroups we made. Creating one would join every hierarchy of the machine;
// a loaded one joins those its state names.
func (s *shim) loadContainer() (*libcontainer.Container, error) {
	root := filepath.Join(s.order.StateDir, runcDir)
	if err := os.MkdirAll(filepath.Join(root, s.order.ID), 0o711); err != nil {
		return nil, err
	}
	state, err := json.Marshal(libcontainer.State{
		BaseState:   libcontainer.BaseState{ID: s.order.ID, Config: *s.config()},
		CgroupPaths: s.order.Cgroup.Join,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(root, s.order.ID, "state.json"), state, 0o600); err != nil {
		return nil, err
	}
	return libcontainer.Load(root, s.order.ID)
}

// runProcess starts the container. What libcontainer logs about a failure is
// part of the error.
func runProcess(c *libcontainer.Container, lp *libcontainer.Process) error {
	var log boundedLog
	logrus.SetOutput(&log)
	defer logrus.SetOutput(io.Discard)
	if err := c.Run(lp); err != nil {
		if text := bytes.TrimSpace(log.Bytes()); len(text) > 0 {
			return fmt.Errorf("%w (%s)", err, text)
		}
		return err
	}
	return nil
}

// boundedLog keeps the first kilobytes.
type boundedLog struct{ bytes.Buffer }

func (b *boundedLog) Write(p []byte) (int, error) {
	if room := 4096 - b.Len(); room > 0 {
		b.Buffer.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

// inHostRoot calls f on a thread with a mount namespace of its own in which
// the host's file system is mounted at dir as well: libcontainer cannot pivot
// to "/" itself. Host mounts made later are still seen, ours are not seen by
// the host. The thread ends afterwards, and with it the namespace.
func inHostRoot(dir string, f func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is not fit for anything else
		result <- func() error {
			if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
				return os.NewSyscallError("unshare mount namespace", err)
			}
			if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
				return &os.PathError{Op: "make mounts slaves of the host's", Path: "/", Err: err}
			}
			if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
				return &os.PathError{Op: "mount the host's root", Path: dir, Err: err}
			}
			return f()
		}()
	}()
	return <-result
}
