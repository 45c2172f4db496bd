package isolate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strconv"
	"sync"
	"syscall"
)

// Runtime launches containers and keeps track of them. All methods may be
// called from any goroutine.
type Runtime struct {
	stateDir    string
	executable  string
	bootID      string
	memoryBytes int64 // of the machine; 0: not known
	log         *slog.Logger
	isolation   Isolation
	plain       bool
	cgroups     *cgroups

	mu         sync.Mutex
	containers map[string]*Container
}

// Open looks at what the machine allows, finds the containers of an earlier
// daemon and removes what half-done launches left.
func Open(cfg Config) (*Runtime, error) {
	if cfg.StateDir == "" {
		return nil, errors.New("open containers: no state directory")
	}
	dir, err := filepath.Abs(cfg.StateDir)
	if err != nil {
		return nil, fmt.Errorf("open containers: %w", err)
	}
	r := &Runtime{stateDir: dir, executable: cfg.Executable, log: cfg.Logger, containers: map[string]*Container{}}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if r.executable == "" {
		if r.executable, err = selfExecutable(); err != nil {
			return nil, fmt.Errorf("open containers: %w", err)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, rootfsName), 0o711); err != nil {
		return nil, fmt.Errorf("open containers: %w", err)
	}
	if r.bootID, err = bootID(); err != nil {
		return nil, fmt.Errorf("open containers: %w", err)
	}
	r.memoryBytes = machineMemory()
	if cfg.CgroupRoot == "" {
		cfg.CgroupRoot = "clusterd"
	}
	r.cgroups, r.isolation = detect(cfg, dir)
	r.plain = !r.isolation.Containers
	if err := r.load(); err != nil {
		return nil, fmt.Errorf("open containers: %w", err)
	}
	return r, nil
}

// Isolation says what is enforced.
func (r *Runtime) Isolation() Isolation { return r.isolation }

// Containers returns all that are known, running or ended but not forgotten,
// sorted by ID.
func (r *Runtime) Containers() ([]*Container, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	all := make([]*Container, 0, len(r.containers))
	for _, c := range r.containers {
		all = append(all, c)
	}
	sort.Slice(all, func(i, j int) bool { return all[i].id < all[j].id })
	return all, nil
}

// Launch starts a container and returns when its shim runs the supervisor or
// has started the first process. On failure nothing is left of it.
func (r *Runtime) Launch(ctx context.Context, spec Spec) (*Container, error) {
	c, err := r.launch(ctx, &spec)
	if err != nil {
		return nil, fmt.Errorf("launch container %s: %w", spec.ID, err)
	}
	return c, nil
}

func (r *Runtime) launch(ctx context.Context, spec *Spec) (_ *Container, err error) {
	if err := spec.validate(); err != nil {
		return nil, err
	}
	owner, err := lookupUser(spec.User)
	if err != nil {
		return nil, err
	}
	c := &Container{id: spec.ID, runtime: r, done: make(chan struct{}), exit: Exit{Status: -1}, child: true}
	if err := r.reserve(c); err != nil {
		return nil, err
	}
	l := &launch{runtime: r, container: c, spec: spec, owner: owner}
	defer func() {
		if err != nil {
			err = errors.Join(err, l.undo())
		}
	}()
	if err := l.start(ctx); err != nil {
		return nil, err
	}
	w, err := watchProcess(c.record.Shim)
	if errors.Is(err, syscall.ESRCH) {
		err = nil // it has ended already; it is not reaped yet
	} else if err != nil {
		return nil, err
	}
	go c.watch(w)
	return c, nil
}

// reserve takes the ID and its directory.
func (r *Runtime) reserve(c *Container) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[c.id] != nil {
		return ErrExists
	}
	if err := os.Mkdir(c.stateDir(), 0o711); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return ErrExists
		}
		return err
	}
	r.containers[c.id] = c
	return nil
}

// launch is one launch under way and what must be undone if it fails.
type launch struct {
	runtime   *Runtime
	container *Container
	spec      *Spec
	owner     *credential
	cgroup    *cgroup
	pid       int
}

func (l *launch) start(ctx context.Context) error {
	stdout, err := openOutput(l.spec.Dir, "stdout", l.owner)
	if err != nil {
		return err
	}
	defer stdout.Close()
	stderr, err := openOutput(l.spec.Dir, "stderr", l.owner)
	if err != nil {
		return err
	}
	defer stderr.Close()
	if !l.runtime.plain {
		if l.cgroup, err = l.runtime.cgroups.create(l.spec.ID, l.spec.Limits); err != nil {
			return err
		}
	}
	conn, err := l.startShim(stdout, stderr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := l.recordShim(); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.instruct(ctx, conn)
}

// startShim starts the shim, which waits for its order.
func (l *launch) startShim(stdout, stderr *os.File) (*os.File, error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   append([]string{shimMark + "=1"}, shimEnv...),
		Files: []uintptr{null.Fd(), stdout.Fd(), stderr.Fd(), theirs.Fd()},
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	closeCgroup, err := l.cgroup.enterAtFork(attr.Sys)
	if err != nil {
		ours.Close()
		return nil, err
	}
	l.pid, err = syscall.ForkExec(l.runtime.executable, []string{shimName, l.spec.ID}, attr)
	closeCgroup()
	if err != nil {
		ours.Close()
		return nil, fmt.Errorf("start shim: %w", err)
	}
	if err := l.cgroup.enter(l.pid); err != nil {
		ours.Close()
		return nil, err
	}
	return ours, nil
}

// recordShim makes the shim known to later daemons, before it gets its order:
// a shim without a record never starts anything.
func (l *launch) recordShim() error {
	p, err := readProcess(l.pid)
	if err != nil {
		return fmt.Errorf("read start time of shim: %w", err)
	}
	c := l.container
	c.record = shimRecord{
		BootID: l.runtime.bootID,
		Shim:   processRef{Pid: l.pid, Start: p.start},
		Plain:  l.runtime.plain,
		Dir:    l.spec.Dir,
		Limits: l.spec.Limits,
	}
	if err := writeRecord(c.stateDir(), shimFile, c.record, false); err != nil {
		return fmt.Errorf("record shim: %w", err)
	}
	return nil
}

// instruct gives the shim its order and waits for the answer.
func (l *launch) instruct(ctx context.Context, conn *os.File) error {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	o := order{
		ID:         l.spec.ID,
		StateDir:   l.container.stateDir(),
		Command:    Command{Path: l.spec.Path, Args: l.spec.Args, Env: l.spec.Env, Dir: l.spec.Dir, User: l.spec.User},
		User:       l.owner,
		Supervised: l.spec.Supervised,
		Plain:      l.runtime.plain,
		Cgroup:     l.cgroup,

		OOMScoreAdj: l.runtime.oomScoreAdj(l.spec.Limits),
	}
	var r reply
	err := writeMessage(conn, o)
	if err == nil {
		err = readMessage(conn, &r)
	}
	if cerr := ctx.Err(); cerr != nil {
		return cerr
	}
	if err != nil {
		return fmt.Errorf("talk to shim: %w", err)
	}
	if r.Err != "" {
		return errors.New(r.Err)
	}
	return nil
}

// undo removes all traces of a failed launch.
func (l *launch) undo() error {
	var errs []error
	if l.pid != 0 {
		if err := syscall.Kill(l.pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill shim: %w", err))
		}
		errs = append(errs, l.container.killRest())
		waitChild(l.pid)
	}
	if l.cgroup != nil {
		errs = append(errs, l.runtime.cgroups.kill(l.spec.ID), l.runtime.cgroups.remove(l.spec.ID))
	}
	close(l.container.done)
	errs = append(errs, l.container.Forget())
	return errors.Join(errs...)
}

// load finds what earlier daemons left.
func (r *Runtime) load() error {
	entries, err := os.ReadDir(r.stateDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == rootfsName || !e.IsDir() || validateID(e.Name()) != nil {
			continue
		}
		if err := r.loadContainer(e.Name()); err != nil {
			return fmt.Errorf("recover container %s: %w", e.Name(), err)
		}
	}
	if r.cgroups == nil {
		return nil
	}
	return r.cgroups.removeOrphans(func(id string) bool { return r.containers[id] != nil }, r.log)
}

func (r *Runtime) loadContainer(id string) error {
	c := &Container{id: id, runtime: r, done: make(chan struct{}), exit: Exit{Status: -1}}
	err := readRecord(c.stateDir(), shimFile, &c.record)
	if errors.Is(err, fs.ErrNotExist) {
		r.log.Warn("removed a half-launched container", "container_id", id)
		if r.cgroups != nil {
			if err := errors.Join(r.cgroups.kill(id), r.cgroups.remove(id)); err != nil {
				return err
			}
		}
		return os.RemoveAll(c.stateDir())
	} else if err != nil {
		return err
	}
	if !c.record.Plain && r.cgroups == nil {
		r.log.Warn("container has cgroups that this daemon cannot manage", "container_id", id)
		c.record.Plain = true
	}
	r.containers[id] = c
	var w *watchedExit
	if c.record.BootID == r.bootID {
		w, err = watchProcess(c.record.Shim)
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	if w != nil {
		go c.watch(w)
		return nil
	}
	c.watch(nil)
	return nil
}

// socketPair is the connection between daemon and shim. Our end is not
// inherited.
func socketPair() (ours, theirs *os.File, err error) {
	syscall.ForkLock.RLock()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err == nil {
		syscall.CloseOnExec(fds[0])
		syscall.CloseOnExec(fds[1])
	}
	syscall.ForkLock.RUnlock()
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	if err := syscall.SetNonblock(fds[0], true); err != nil {
		syscall.Close(fds[0])
		syscall.Close(fds[1])
		return nil, nil, os.NewSyscallError("fcntl", err)
	}
	return os.NewFile(uintptr(fds[0]), "shim"), os.NewFile(uintptr(fds[1]), "daemon-"+strconv.Itoa(fds[1])), nil
}
