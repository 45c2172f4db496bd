//go:build linux && cgo

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	libcgroups "github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	_ "github.com/opencontainers/runc/libcontainer/nsenter" // enters the namespaces before the Go runtime starts
	"golang.org/x/sys/unix"
)

// init is libcontainer's in a process that it made.
func init() {
	if len(os.Args) == 2 && os.Args[1] == "init" && os.Getenv("_LIBCONTAINER_INITPIPE") != "" {
		libcontainer.Init()
	}
}

// reference starts containers with libcontainer and nothing else: the namespaces, mounts, cgroups
// and limits of clusterd's containers, but no shim, no executor, no records, no scheduler. What can be
// done once is done once: the host's file system is mounted when a starter begins, not for each
// container.
type reference struct {
	dir     string // libcontainer's state
	rootfs  string // where the starters, and only they, see the host's file system
	cgroups referenceCgroups
	jobs    chan func()
	done    sync.WaitGroup
	made    atomic.Int64 // containers so far
}

// endGrace is what a start that is under way gets when it is all over.
const endGrace = 20 * time.Second

// newReference makes atOnce starters. There can be one reference in a process: libcontainer keeps the
// cgroup file system open as the first starter's mount namespace has it.
func newReference(atOnce int) (_ *reference, err error) {
	if os.Geteuid() != 0 {
		return nil, &noReferenceError{"containers need root"}
	}
	r := &reference{jobs: make(chan func())}
	if r.dir, err = os.MkdirTemp(stateParent(), "clusterd-reference-"); err != nil {
		return nil, err
	}
	if r.rootfs, err = os.MkdirTemp("", "clusterd-reference-root-"); err != nil {
		return nil, errors.Join(err, r.close())
	}
	if r.cgroups, err = findReferenceCgroups(filepath.Base(r.dir)); err != nil {
		return nil, errors.Join(err, r.close())
	}
	for range atOnce {
		ready := make(chan error, 1)
		r.done.Go(func() { r.starter(ready) })
		if err := <-ready; err != nil {
			return nil, errors.Join(fmt.Errorf("reference: %w", err), r.close())
		}
	}
	return r, nil
}

// stateParent is in memory, as clusterd keeps this state: disks say little about containers. And it
// must not be below the directory of this program: libcontainer would have to copy the program for
// each start, as it cannot overlay the one with the other.
func stateParent() string {
	const memory = "/dev/shm"
	var st unix.Statfs_t
	if err := unix.Statfs(memory, &st); err == nil && st.Type == unix.TMPFS_MAGIC {
		return memory
	}
	return os.TempDir()
}

// starter does jobs on a thread whose mount namespace has the host's file system at rootfs, because
// libcontainer cannot make "/" itself the root of a container. The thread ends with the starter, and
// with it the mounts.
func (r *reference) starter(ready chan<- error) {
	runtime.LockOSThread()
	if err := mountHost(r.rootfs); err != nil {
		ready <- err
		return
	}
	ready <- nil
	for job := range r.jobs {
		job()
	}
}

func mountHost(dir string) error {
	if err := unix.Unshare(unix.CLONE_NEWNS); err != nil {
		return os.NewSyscallError("unshare mount namespace", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_SLAVE|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "make mounts slaves of the host's", Path: "/", Err: err}
	}
	if err := unix.Mount("/", dir, "", unix.MS_BIND|unix.MS_REC, ""); err != nil {
		return &os.PathError{Op: "mount the host's root", Path: dir, Err: err}
	}
	return nil
}

// close ends the starters and removes what they left.
func (r *reference) close() error {
	close(r.jobs)
	r.done.Wait()
	errs := []error{r.cgroups.remove()}
	if r.dir != "" {
		errs = append(errs, os.RemoveAll(r.dir))
	}
	if r.rootfs != "" {
		errs = append(errs, os.Remove(r.rootfs)) // never more than the empty directory
	}
	return errors.Join(errs...)
}

// each spreads n jobs over the starters and waits for all of them.
func (r *reference) each(ctx context.Context, n int, f func(i int) error) error {
	errs := make(chan error, n)
	sent := 0
	for ; sent < n && ctx.Err() == nil; sent++ {
		i := sent
		select {
		case r.jobs <- func() { errs <- f(i) }:
		case <-ctx.Done():
			return r.drain(errs, sent, context.Cause(ctx))
		}
	}
	return r.drain(errs, sent, context.Cause(ctx))
}

func (r *reference) drain(results <-chan error, n int, cause error) error {
	errs := []error{cause}
	timeout := time.NewTimer(eventTimeout)
	if cause != nil {
		timeout.Reset(endGrace)
	}
	defer timeout.Stop()
	for range n {
		select {
		case err := <-results:
			errs = append(errs, err)
		case <-timeout.C:
			return errors.Join(append(errs, errors.New("libcontainer does not come to an end"))...)
		}
	}
	return errors.Join(errs...)
}

// start starts n containers that stay, returns how long that took, and ends them.
func (r *reference) start(ctx context.Context, n int) (time.Duration, error) {
	made := make([]*referenceContainer, n)
	began := time.Now()
	err := r.each(ctx, n, func(i int) (err error) {
		made[i], err = r.launch(sleepArgv)
		return err
	})
	took := time.Since(began)
	end := r.each(context.WithoutCancel(ctx), n, func(i int) error {
		if made[i] == nil {
			return nil
		}
		return made[i].end(unix.SIGKILL)
	})
	return took, errors.Join(err, end)
}

// run runs n containers to their end, and says how much cpu time all processes used for that.
func (r *reference) run(ctx context.Context, n int) (took, cpu time.Duration, err error) {
	before, err := cpuTime()
	if err != nil {
		return 0, 0, err
	}
	began := time.Now()
	err = r.each(ctx, n, func(int) error {
		c, err := r.launch(trueArgv)
		if err != nil {
			return err
		}
		return c.end(0)
	})
	took = time.Since(began)
	after, cerr := cpuTime()
	return took, after - before, errors.Join(err, cerr)
}

// cpuTime is what this process and those that it has waited for have used.
func cpuTime() (time.Duration, error) {
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			return 0, os.NewSyscallError("getrusage", err)
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total, nil
}

// referenceContainer is one container with one process.
type referenceContainer struct {
	r       *reference
	id      string
	process *libcontainer.Process
}

// launch returns when the container's init is about to become argv.
func (r *reference) launch(argv []string) (_ *referenceContainer, err error) {
	c := &referenceContainer{r: r, id: "c" + strconv.FormatInt(r.made.Add(1), 10)}
	defer func() {
		if err != nil {
			err = errors.Join(err, c.remove())
		}
	}()
	paths, err := r.cgroups.create(c.id)
	if err != nil {
		return nil, err
	}
	container, err := r.load(c.id, paths)
	if err != nil {
		return nil, err
	}
	c.process = &libcontainer.Process{Args: argv, Env: []string{"PATH=/bin:/usr/bin"}, Cwd: "/", Init: true}
	return c, container.Run(c.process)
}

// load gives libcontainer a container that is stopped and has the cgroups that we made: one that it
// creates itself would join every hierarchy of the machine, which clusterd's do not.
func (r *reference) load(id string, paths map[string]string) (*libcontainer.Container, error) {
	config := configs.Config{
		Rootfs: r.rootfs,
		Namespaces: configs.Namespaces{
			{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWIPC}, {Type: configs.NEWUTS},
		},
		Mounts: []*configs.Mount{
			{Source: "/dev", Destination: "/dev", Device: "bind", Flags: unix.MS_BIND | unix.MS_REC},
			{Source: "proc", Destination: "/proc", Device: "proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		},
		// The thread that starts it lives as long as we do: killed, we leave no processes behind.
		ParentDeathSignal: int(unix.SIGKILL),

		Cgroups: &libcgroups.Cgroup{Path: "/" + filepath.Join(r.cgroups.root, id), Resources: &libcgroups.Resources{}},
	}
	state, err := json.Marshal(libcontainer.State{BaseState: libcontainer.BaseState{ID: id, Config: config}, CgroupPaths: paths})
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(filepath.Join(r.dir, id), 0o711); err != nil {
		return nil, err
	}
	if err := os.WriteFile(filepath.Join(r.dir, id, "state.json"), state, 0o600); err != nil {
		return nil, err
	}
	return libcontainer.Load(r.dir, id)
}

// end waits for the end of the container, after sending sig if there is one, and removes it.
func (c *referenceContainer) end(sig unix.Signal) error {
	var errs []error
	if sig != 0 {
		errs = append(errs, c.process.Signal(sig))
	}
	state, err := c.process.Wait()
	if state == nil || sig == 0 { // a signal's victim is an error of Wait
		errs = append(errs, err)
	}
	return errors.Join(append(errs, c.remove())...)
}

func (c *referenceContainer) remove() error {
	return errors.Join(c.r.cgroups.removeOne(c.id), os.RemoveAll(filepath.Join(c.r.dir, c.id)))
}

// referenceCgroups are those that clusterd uses for containers.
type referenceCgroups struct {
	root   string
	mounts map[string]string // controller to mount point; version 2: "" to the only one
}

// v1Controllers and v2Controllers limit or count clusterd's containers.
var (
	v1Controllers = []string{"cpu", "cpuacct", "memory", "pids", "freezer"}
	v2Controllers = "+cpu +memory +pids"
)

func findReferenceCgroups(root string) (referenceCgroups, error) {
	g := referenceCgroups{root: root, mounts: map[string]string{}}
	if libcgroups.IsCgroup2UnifiedMode() {
		g.mounts[""] = "/sys/fs/cgroup"
		for _, dir := range []string{g.mounts[""], filepath.Join(g.mounts[""], root)} {
			if err := os.MkdirAll(dir, 0o755); err != nil {
				return g, err
			}
			if err := os.WriteFile(filepath.Join(dir, "cgroup.subtree_control"), []byte(v2Controllers), 0); err != nil {
				return g, fmt.Errorf("enable cgroup controllers: %w", err)
			}
		}
		return g, nil
	}
	for _, c := range v1Controllers {
		mount, err := libcgroups.FindCgroupMountpoint("", c)
		if libcgroups.IsNotFound(err) {
			continue
		}
		if err != nil {
			return g, fmt.Errorf("find cgroup hierarchy of %s: %w", c, err)
		}
		g.mounts[c] = mount
		if err := os.MkdirAll(filepath.Join(mount, root), 0o755); err != nil {
			return g, err
		}
	}
	return g, nil
}

// create makes the cgroups of a container, with the limits of a task.
func (g referenceCgroups) create(id string) (map[string]string, error) {
	paths := make(map[string]string, len(g.mounts))
	for controller, mount := range g.mounts {
		dir := filepath.Join(mount, g.root, id)
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) { // two may share a hierarchy
			return nil, err
		}
		paths[controller] = dir
	}
	memory := strconv.Itoa(taskMemMB << 20)
	limits := []struct{ controller, file, value string }{
		{"cpu", "cpu.cfs_period_us", "100000"},
		{"cpu", "cpu.cfs_quota_us", "-1"},
		{"cpu", "cpu.shares", strconv.Itoa(taskMilliCPUs * 1024 / 1000)},
		{"memory", "memory.limit_in_bytes", memory},
		{"memory", "memory.soft_limit_in_bytes", memory},
		{"", "cpu.weight", strconv.Itoa(taskMilliCPUs / 10)},
		{"", "memory.max", memory},
		{"", "memory.low", memory},
	}
	for _, l := range limits {
		dir, ok := paths[l.controller]
		if !ok {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, l.file), []byte(l.value), 0); err != nil {
			return nil, err
		}
	}
	return paths, nil
}

func (g referenceCgroups) removeOne(id string) error {
	var errs []error
	for _, mount := range g.mounts {
		dir := filepath.Join(mount, g.root, id)
		if unix.Rmdir(dir) != nil { // nearly always it works at once
			errs = append(errs, removeCgroup(dir))
		}
	}
	return errors.Join(errs...)
}

// remove ends all that may be left, and the cgroup above.
func (g referenceCgroups) remove() error {
	var errs []error
	for _, mount := range g.mounts {
		errs = append(errs, removeCgroup(filepath.Join(mount, g.root)))
	}
	return errors.Join(errs...)
}
