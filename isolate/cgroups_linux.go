package isolate

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cgroups makes and removes the containers' cgroups (doc.go draws them).
type cgroups struct {
	version     int
	root        string // the name below each hierarchy's mount point
	owner       string // state directory: marks which cgroups are ours
	hierarchies []hierarchy
}

// hierarchy is a mounted tree of cgroups: one for each group of controllers in
// version 1, a single one in version 2.
type hierarchy struct {
	mount       string
	controllers []string
	// leaf: processes are in children of the container's cgroup.
	leaf bool
	// taskOnly: the container's processes are in it, not the shim.
	taskOnly bool
}

// cgroup is one container's, as the shim needs to know it.
type cgroup struct {
	Version int `json:"version"`
	// Path is relative to the hierarchies, Memory the directory of the
	// memory controller's files, empty without that controller.
	Path   string `json:"path"`
	Memory string `json:"memory"`
	// Join is what libcontainer puts the container's init into: controller
	// (version 2: empty) to directory.
	Join map[string]string `json:"join"`

	enterDirs []string // where the shim's pid is written to
	forkDir   string   // where the shim is forked into
}

const (
	shimLeaf = "shim"
	taskLeaf = "task"
)

// ownerMark is the extended attribute that names the state directory a cgroup
// belongs to: daemons with the same root do not take each other's for orphans.
const ownerMark = "trusted.clusterd"

func (m *cgroups) dir(h hierarchy, id string) string { return filepath.Join(h.mount, m.root, id) }

// controller finds the directory of a container's files of one controller.
func (m *cgroups) controller(name, id string) (string, bool) {
	for _, h := range m.hierarchies {
		if slices.Contains(h.controllers, name) {
			return m.dir(h, id), true
		}
	}
	return "", false
}

// create makes the cgroups of a container and sets its limits. One that exists
// already is an error, never joined (ISO-34).
func (m *cgroups) create(id string, l Limits) (_ *cgroup, err error) {
	g := &cgroup{Version: m.version, Path: "/" + filepath.Join(m.root, id), Join: map[string]string{}}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.remove(id))
		}
	}()
	for i, h := range m.hierarchies {
		if err := m.makeDir(h, id); err != nil {
			if errors.Is(err, fs.ErrExist) {
				m = &cgroups{version: m.version, root: m.root, hierarchies: m.hierarchies[:i]} // undo only what is ours
			}
			return nil, fmt.Errorf("create cgroup: %w", err)
		}
		dir := m.dir(h, id)
		switch {
		case h.leaf:
			g.forkDir, g.Join[""] = filepath.Join(dir, shimLeaf), filepath.Join(dir, taskLeaf)
		default:
			g.Join[h.controllers[0]] = dir
			if !h.taskOnly {
				g.enterDirs = append(g.enterDirs, dir)
			}
		}
	}
	g.Memory, _ = m.controller("memory", id)
	return g, m.write(id, m.settings(l))
}

// makeDir makes <root>/<id> and, where processes live in leaves, those.
func (m *cgroups) makeDir(h hierarchy, id string) error {
	dir := m.dir(h, id)
	err := os.Mkdir(dir, 0o755)
	for try := 0; errors.Is(err, fs.ErrNotExist) && try < 10; try++ {
		// The root is removed with its last container, perhaps just now.
		if err = m.makeRoot(h); err == nil {
			err = os.Mkdir(dir, 0o755)
		}
	}
	if err != nil {
		return err
	}
	if err := unix.Setxattr(dir, ownerMark, []byte(m.owner), 0); err != nil {
		return &os.PathError{Op: "mark", Path: dir, Err: err}
	}
	if !h.leaf {
		return nil
	}
	if err := enableControllers(dir, h.controllers); err != nil {
		return err
	}
	for _, leaf := range []string{shimLeaf, taskLeaf} {
		if err := os.Mkdir(filepath.Join(dir, leaf), 0o755); err != nil {
			return err
		}
	}
	if !slices.Contains(h.controllers, "memory") {
		return nil
	}
	// The kernel ends all of a task or nothing (ISO-69), since Linux 4.19.
	err = writeCgroupFile(filepath.Join(dir, taskLeaf), "memory.oom.group", "1")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

func (m *cgroups) makeRoot(h hierarchy) error {
	dir := m.dir(h, "")
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	if m.version != 2 {
		return nil
	}
	return enableControllers(dir, h.controllers)
}

func enableControllers(dir string, controllers []string) error {
	return writeCgroupFile(dir, "cgroup.subtree_control", "+"+strings.Join(controllers, " +"))
}

func writeCgroupFile(dir, name, value string) error {
	f, err := os.OpenFile(filepath.Join(dir, name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// enterAtFork makes a new process start inside (version 2).
func (g *cgroup) enterAtFork(attr *syscall.SysProcAttr) (done func(), err error) {
	if g == nil || g.forkDir == "" {
		return func() {}, nil
	}
	fd, err := unix.Open(g.forkDir, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: g.forkDir, Err: err}
	}
	attr.UseCgroupFD, attr.CgroupFD = true, fd
	return func() { unix.Close(fd) }, nil
}

// enter moves a process inside (version 1); its children inherit.
func (g *cgroup) enter(pid int) error {
	if g == nil {
		return nil
	}
	for _, dir := range g.enterDirs {
		if err := writeCgroupFile(dir, "cgroup.procs", strconv.Itoa(pid)); err != nil {
			return fmt.Errorf("enter cgroup: %w", err)
		}
	}
	return nil
}

// destroy ends a container and removes its cgroups. What is gone already is no
// error.
func (m *cgroups) destroy(id string) error {
	// Mostly everything has ended, and looking for processes costs more than
	// to try: a cgroup that has any cannot be removed.
	busy := false
	for _, h := range m.hierarchies {
		dir := m.dir(h, id)
		if h.leaf {
			_ = unix.Rmdir(filepath.Join(dir, shimLeaf))
			_ = unix.Rmdir(filepath.Join(dir, taskLeaf))
		}
		if err := unix.Rmdir(dir); err != nil && !errors.Is(err, unix.ENOENT) {
			busy = true
		}
	}
	if busy {
		if err := m.kill(id); err != nil {
			return err
		}
	}
	return m.remove(id)
}

// kill ends every process of a container, shim included (ISO-399). It returns
// when none is left.
func (m *cgroups) kill(id string) error {
	deadline := time.Now().Add(destroyTimeout)
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		left, err := m.killOnce(id)
		if err != nil || left == 0 {
			return err
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("kill all processes in the container: %d are left", left)
		}
		time.Sleep(pause)
	}
}

func (m *cgroups) killOnce(id string) (left int, err error) {
	seen := map[int]bool{}
	for _, h := range m.hierarchies {
		dir := m.dir(h, id)
		pids, err := processesIn(dir)
		if err != nil {
			return 0, err
		}
		if len(pids) > 0 && m.version == 2 {
			// Since Linux 5.14; before that, one by one.
			if err := writeCgroupFile(dir, "cgroup.kill", "1"); err == nil {
				return len(pids), nil
			} else if !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
		}
		for _, pid := range pids {
			if seen[pid] {
				continue
			}
			seen[pid] = true
			// Killing the PID namespace's init or the shim is enough; the
			// rest is for what moved itself or was never inside.
			if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
				return 0, fmt.Errorf("kill process %d: %w", pid, err)
			}
		}
		if len(pids) > 0 && slices.Contains(h.controllers, "freezer") {
			// A frozen process of version 1 dies only when thawed.
			if err := writeCgroupFile(dir, "freezer.state", "THAWED"); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return 0, err
			}
		}
	}
	return len(seen), nil
}

// processesIn lists the living processes of a cgroup and those below it; a
// cgroup that is gone has none. Zombies stay listed until they are reaped, but
// hold nothing.
func processesIn(dir string) ([]int, error) {
	var pids []int
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			return nil
		}
		var data []byte
		if err == nil {
			data, err = os.ReadFile(filepath.Join(path, "cgroup.procs"))
		}
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENODEV) {
			return nil
		}
		if err != nil {
			return err
		}
		for _, f := range strings.Fields(string(data)) {
			pid, err := strconv.Atoi(f)
			if err != nil {
				return fmt.Errorf("cgroup.procs of %s: %w", path, err)
			}
			if p, err := readProcess(pid); pid > 0 && err == nil && !p.zombie {
				pids = append(pids, pid)
			}
		}
		return nil
	})
	return pids, err
}

// remove removes a container's cgroups, bottom up, and the root with the last
// one. What is gone already is no error.
func (m *cgroups) remove(id string) error {
	deadline := time.Now().Add(destroyTimeout)
	var errs []error
	for _, h := range m.hierarchies {
		if err := removeTree(m.dir(h, id), deadline); err != nil {
			errs = append(errs, fmt.Errorf("remove cgroup: %w", err))
			continue
		}
		for dir := m.dir(h, ""); dir != h.mount; dir = filepath.Dir(dir) {
			if unix.Rmdir(dir) != nil {
				break // others are in it
			}
		}
	}
	return errors.Join(errs...)
}

func removeTree(dir string, deadline time.Time) error {
	for pause := time.Millisecond; ; pause = min(2*pause, 50*time.Millisecond) {
		err := unix.Rmdir(dir)
		if err == nil || errors.Is(err, unix.ENOENT) {
			return nil
		}
		if !errors.Is(err, unix.EBUSY) && !errors.Is(err, unix.ENOTEMPTY) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		entries, rerr := os.ReadDir(dir)
		if rerr != nil && !errors.Is(rerr, fs.ErrNotExist) {
			return rerr
		}
		children := false
		for _, e := range entries {
			if e.IsDir() {
				children = true
				if err := removeTree(filepath.Join(dir, e.Name()), deadline); err != nil {
					return err
				}
			}
		}
		if children {
			continue
		}
		// The kernel lags a little behind the end of the last process.
		if time.Now().After(deadline) {
			return &os.PathError{Op: "rmdir", Path: dir, Err: err}
		}
		time.Sleep(pause)
	}
}

// removeOrphans destroys cgroups that bear our mark but belong to no known
// container (ISO-36). Others are left alone.
func (m *cgroups) removeOrphans(known func(id string) bool, log *slog.Logger) error {
	ids := map[string]bool{}
	for _, h := range m.hierarchies {
		entries, err := os.ReadDir(m.dir(h, ""))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		for _, e := range entries {
			if e.IsDir() && validateID(e.Name()) == nil && !known(e.Name()) && m.ours(m.dir(h, e.Name())) {
				ids[e.Name()] = true
			}
		}
	}
	var errs []error
	for id := range ids {
		log.Warn("destroy orphan container", "container_id", id)
		errs = append(errs, m.destroy(id))
	}
	return errors.Join(errs...)
}

func (m *cgroups) ours(dir string) bool {
	b := make([]byte, 4096)
	n, err := unix.Getxattr(dir, ownerMark, b)
	return err == nil && string(b[:n]) == m.owner
}
