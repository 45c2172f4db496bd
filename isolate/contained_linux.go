//go:build linux && cgo

package isolate

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"

	libcgroups "github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"github.com/sirupsen/logrus"
	"golang.org/x/sys/unix"
)

// libcontainer's errors say what its log says.
func init() { logrus.SetOutput(io.Discard) }

// start makes a container: mount, PID, IPC and UTS namespaces of its own on the
// host's file system (ISO-28, ISO-103, ISO-128), with the host's /dev and
// /sys, and /proc of its own. Its process 1 waits for a task from the shim. It
// is a child of this process, but ends with the shim. With an error, a process
// that was started nevertheless is returned as well.
func (e *engine) start(ctx context.Context, l *launch) (processRef, error) {
	p := &libcontainer.Process{
		// The init replaces itself by this program, the sealed copy of it
		// that libcontainer runs; what it does then is init_linux.c.
		Args:       []string{"/proc/self/exe"},
		Env:        []string{initMark},
		Cwd:        l.spec.Dir,
		Stdout:     l.stdout,
		Stderr:     l.stderr,
		ExtraFiles: []*os.File{l.initEnd},
		Init:       true,
	}
	if l.owner != nil {
		p.UID, p.GID = int(l.owner.UID), int(l.owner.GID)
		for _, g := range l.owner.Groups {
			p.AdditionalGroups = append(p.AdditionalGroups, int(g))
		}
	}
	dir := filepath.Join(e.runcRoot, l.spec.ID)
	c, err := e.load(dir, l)
	if err == nil {
		err = inHostRoot(e.rootfs, func() error { return c.Run(p) })
	}
	var started processRef
	if err == nil {
		if started.Pid, err = p.Pid(); err == nil {
			started, err = findProcess(started.Pid)
		}
	}
	// Its state was for the start only: from here on we know the process.
	if rerr := os.RemoveAll(dir); err == nil {
		err = rerr
	}
	_ = os.Remove(e.runcRoot) // unless others are starting
	return started, err
}

// load gives libcontainer a container that is stopped and has the cgroups we
// made. Creating one would join every hierarchy of the machine; a loaded one
// joins those that its state names.
func (e *engine) load(dir string, l *launch) (*libcontainer.Container, error) {
	if err := e.makeDir(dir); err != nil {
		return nil, err
	}
	state, err := json.Marshal(libcontainer.State{
		BaseState:   libcontainer.BaseState{ID: l.spec.ID, Config: *e.config(l)},
		CgroupPaths: l.cgroup.Join,
	})
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(dir, "state.json"), state, 0o600); err != nil {
		return nil, err
	}
	return libcontainer.Load(e.runcRoot, l.spec.ID)
}

// makeDir makes a directory in runcRoot, which is there only while containers
// start.
func (e *engine) makeDir(dir string) error {
	err := os.Mkdir(dir, 0o711)
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
		if err = os.Mkdir(e.runcRoot, 0o700); err == nil || errors.Is(err, fs.ErrExist) {
			err = os.Mkdir(dir, 0o711)
		}
	}
	return err
}

// config describes the container to libcontainer.
func (e *engine) config(l *launch) *configs.Config {
	score := l.runtime.oomScoreAdj(l.spec.Limits)
	return &configs.Config{
		Rootfs: e.rootfs,
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
		Cgroups:     &libcgroups.Cgroup{Path: l.cgroup.Path, Resources: &libcgroups.Resources{}},
	}
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
