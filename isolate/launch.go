package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
)

// engine makes containers.
type engine struct {
	rootfs   string // where the host's file system gets mounted, per container
	runcRoot string // libcontainer's state while it starts one
}

// launch is one launch under way and what must be undone if it fails.
type launch struct {
	runtime        *Runtime
	container      *Container
	spec           *Spec
	owner          *credential
	stdout, stderr *os.File
	cgroup         *cgroup
	initEnd        *os.File // the container init's socket to the shim
	shimPid        int
	init           processRef
}

// atStep is called between the steps of a launch; tests die there.
var atStep = func(string) {}

func (l *launch) start(ctx context.Context) (err error) {
	atStep("reserved")
	if l.stdout, err = openOutput(l.spec.Dir, "stdout", l.owner); err != nil {
		return err
	}
	defer l.stdout.Close()
	if l.stderr, err = openOutput(l.spec.Dir, "stderr", l.owner); err != nil {
		return err
	}
	defer l.stderr.Close()
	if !l.runtime.plain {
		if l.cgroup, err = l.runtime.cgroups.create(l.spec.ID, l.spec.Limits); err != nil {
			return err
		}
	}
	atStep("cgroups")
	conn, err := l.startShim()
	if err != nil {
		return err
	}
	defer conn.Close()
	atStep("shim")
	if !l.runtime.plain {
		l.init, err = l.runtime.engine.start(ctx, l)
		l.initEnd.Close()
		if err != nil {
			return err
		}
	}
	atStep("container")
	if err := l.record(); err != nil {
		return err
	}
	atStep("recorded")
	if err := ctx.Err(); err != nil {
		return err
	}
	return l.instruct(ctx, conn)
}

// startShim starts the shim, which waits for its order.
func (l *launch) startShim() (conn *os.File, err error) {
	null, err := os.Open(os.DevNull)
	if err != nil {
		return nil, err
	}
	defer null.Close()
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	defer func() {
		if err != nil {
			conn.Close()
		}
	}()
	files := []uintptr{null.Fd(), l.stdout.Fd(), l.stderr.Fd(), theirs.Fd()} // the last is orderFD
	if !l.runtime.plain {
		shimEnd, initEnd, err := socketPair()
		if err != nil {
			return nil, err
		}
		defer shimEnd.Close()
		l.initEnd = initEnd
		files = append(files, shimEnd.Fd()) // taskFD
	}
	attr := &syscall.ProcAttr{
		Dir:   "/",
		Env:   append([]string{shimMark + "=1"}, shimEnv...),
		Files: files,
		Sys:   &syscall.SysProcAttr{Setsid: true},
	}
	closeCgroup, err := l.cgroup.enterAtFork(attr.Sys)
	if err != nil {
		return nil, err
	}
	l.shimPid, err = syscall.ForkExec(l.runtime.executable, []string{shimName, l.spec.ID}, attr)
	closeCgroup()
	if err != nil {
		return nil, fmt.Errorf("start shim: %w", err)
	}
	return conn, l.cgroup.enter(l.shimPid)
}

// record makes the container known to later daemons, before the shim gets its
// order: a shim without a record never starts anything.
func (l *launch) record() error {
	shim, err := findProcess(l.shimPid)
	if err != nil {
		return fmt.Errorf("record shim: %w", err)
	}
	c := l.container
	c.record = shimRecord{
		BootID: l.runtime.bootID,
		Shim:   shim,
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
		Init:       l.init,
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
	if l.initEnd != nil {
		_ = l.initEnd.Close() // closed already, but for a launch that failed early
	}
	if l.shimPid != 0 {
		if err := syscall.Kill(l.shimPid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			errs = append(errs, fmt.Errorf("kill shim: %w", err))
		}
	}
	if l.cgroup != nil {
		errs = append(errs, l.runtime.cgroups.destroy(l.spec.ID))
	} else if l.shimPid != 0 {
		errs = append(errs, l.container.killRest())
	}
	if l.shimPid != 0 {
		waitChild(l.shimPid)
	}
	if l.init.Pid != 0 {
		waitChild(l.init.Pid)
	}
	close(l.container.done)
	errs = append(errs, l.container.Forget())
	return errors.Join(errs...)
}
