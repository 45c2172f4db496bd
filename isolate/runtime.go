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
	engine      *engine

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
	r.engine = newEngine(dir)
	if err := r.engine.clean(); err != nil {
		return nil, fmt.Errorf("open containers: %w", err)
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
	// Not reaped yet, the shim is found even if it has ended.
	w, err := watchProcess(c.record.Shim)
	if err != nil {
		return nil, err
	}
	c.initPid = l.init.Pid
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

// load finds what earlier daemons left.
func (r *Runtime) load() error {
	entries, err := os.ReadDir(r.stateDir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Name() == rootfsName || e.Name() == runcName || !e.IsDir() || validateID(e.Name()) != nil {
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
			if err := r.cgroups.destroy(id); err != nil {
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
	if c.record.BootID == r.bootID && c.record.Shim.alive() {
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
