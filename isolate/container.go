package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// Container is a container that was launched here, by this daemon or by an
// earlier one. All methods may be called from any goroutine.
type Container struct {
	id      string
	runtime *Runtime
	done    chan struct{} // closed when nothing of the container runs any more

	mu      sync.Mutex // guards record.Limits and what follows; the rest of record never changes
	record  shimRecord
	exit    Exit
	child   bool // the shim is this process's child and must be reaped
	initPid int  // likewise the container's init, if not 0
	killed  bool // Destroy was asked for
}

// ID is Spec.ID.
func (c *Container) ID() string { return c.id }

// Dir is Spec.Dir.
func (c *Container) Dir() string { return c.record.Dir }

// Pid is the shim's process ID on the host.
func (c *Container) Pid() int { return c.record.Shim.Pid }

// Done is closed when all processes of the container have ended and its
// cgroups are gone. Exit is set then.
func (c *Container) Done() <-chan struct{} { return c.done }

// Exit says how the container ended; before Done its Status is -1.
func (c *Container) Exit() Exit {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.exit
}

func (c *Container) stateDir() string { return filepath.Join(c.runtime.stateDir, c.id) }

// Destroy kills everything in the container and waits until it is gone, with
// its cgroups. Destroying what has ended does nothing. If ctx ends first the
// work goes on; call again to wait for it.
func (c *Container) Destroy(ctx context.Context) error {
	c.mu.Lock()
	c.killed = true
	c.mu.Unlock()
	killed := make(chan error, 1)
	go func() { killed <- c.kill() }()
	for {
		select {
		case err := <-killed:
			if err != nil {
				return fmt.Errorf("destroy container %s: %w", c.id, err)
			}
			killed = nil
		case <-c.done:
			return c.leftover()
		case <-ctx.Done():
			return fmt.Errorf("destroy container %s: %w", c.id, ctx.Err())
		}
	}
}

// leftover reports what could not be removed.
func (c *Container) leftover() error {
	if c.record.Plain {
		return nil
	}
	if err := c.runtime.cgroups.destroy(c.id); err != nil {
		return fmt.Errorf("destroy container %s: %w", c.id, err)
	}
	return nil
}

// kill ends everything, the shim included.
func (c *Container) kill() error {
	select {
	case <-c.done:
		return nil
	default:
	}
	if !c.record.Plain {
		return c.runtime.cgroups.kill(c.id)
	}
	w, err := watchProcess(c.record.Shim)
	if errors.Is(err, syscall.ESRCH) {
		return nil // watch does the rest
	} else if err != nil {
		return err
	}
	// Stopped, the shim keeps what it adopted and starts nothing; killed first,
	// it would leave its tree to the machine's init.
	err = w.signal(syscall.SIGSTOP)
	if err == nil {
		err = killTree(c.record.Shim.Pid, c.task().Pid, time.Now().Add(destroyTimeout))
	}
	if err == nil {
		err = w.signal(syscall.SIGKILL)
	}
	if errors.Is(err, syscall.ESRCH) {
		err = nil
	}
	return errors.Join(err, w.close())
}

// task is the first process of a plain container, zero if there is none: not
// started, or just now, when it is still found below the shim.
func (c *Container) task() processRef {
	var task processRef
	if err := readRecord(c.stateDir(), taskFile, &task); err != nil {
		return processRef{}
	}
	return task
}

// Forget removes the state on disk; the ID may be used again. The container
// must have ended.
func (c *Container) Forget() error {
	select {
	case <-c.done:
	default:
		return fmt.Errorf("forget container %s: still running", c.id)
	}
	c.runtime.mu.Lock()
	defer c.runtime.mu.Unlock()
	if err := os.RemoveAll(c.stateDir()); err != nil {
		return fmt.Errorf("forget container %s: %w", c.id, err)
	}
	if c.runtime.containers[c.id] == c {
		delete(c.runtime.containers, c.id)
	}
	return nil
}

// Update changes the limits of a running container. A memory limit below what
// is in use is not written: an update never kills (ISO-58).
func (c *Container) Update(l Limits) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	record := c.record
	record.Limits = l
	if !c.record.Plain {
		if err := c.runtime.cgroups.update(c.id, l); err != nil {
			return fmt.Errorf("update container %s: %w", c.id, err)
		}
	}
	if err := writeRecord(c.stateDir(), shimFile, record, false); err != nil {
		return fmt.Errorf("update container %s: %w", c.id, err)
	}
	c.record.Limits = l
	return nil
}

// watch waits for the shim, then ends everything else of the container.
func (c *Container) watch(w *watchedExit) {
	defer close(c.done)
	log := c.runtime.log.With("container_id", c.id)
	if w != nil {
		if err := w.wait(); err != nil {
			log.Error("wait for shim", "error", err)
		}
	}
	shimStatus := -1
	if c.child {
		shimStatus = int(uint32(waitChild(c.record.Shim.Pid)))
	}
	exit, ok, err := readExit(c.stateDir())
	if err != nil {
		log.Error("read exit record", "error", err)
	}
	if !ok {
		exit.Err = joinText(exit.Err, errors.New("the container's shim ended without an exit record"))
		c.missingExit(&exit, shimStatus)
	}
	if err := c.killRest(); err != nil {
		log.Error("destroy what the container left", "error", err)
		exit.Err = joinText(exit.Err, err)
	}
	if c.initPid != 0 {
		waitChild(c.initPid)
	}
	c.mu.Lock()
	c.exit = exit
	c.mu.Unlock()
}

// missingExit fills in what is known without the shim's record.
func (c *Container) missingExit(exit *Exit, shimStatus int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if ws := syscall.WaitStatus(uint32(shimStatus)); shimStatus >= 0 && ws.Signaled() {
		exit.Status = shimStatus // and the container with it
	}
	if c.killed {
		exit.Status, exit.Err = int(syscall.SIGKILL), ""
	}
	if !c.record.Plain {
		use := c.runtime.cgroups.memoryUse(c.id)
		exit.OOM, exit.MaxMemoryBytes, exit.MemoryLimitBytes, exit.MemoryStat = use.OOM, use.MaxBytes, use.LimitBytes, use.Stat
	}
}

// killRest removes the cgroups and kills what outlived the shim: nothing,
// unless the shim was killed.
func (c *Container) killRest() error {
	if !c.record.Plain {
		return c.runtime.cgroups.destroy(c.id)
	}
	task := c.task()
	if task.Pid == 0 {
		return nil
	}
	// The session keeps its number as long as it has members, and the number
	// is not given out meanwhile: another process with it means that none is
	// left.
	if p, err := readProcess(task.Pid); err == nil && p.start != task.Start {
		return nil
	}
	return killTree(noProcess, task.Pid, time.Now().Add(destroyTimeout))
}

func joinText(have string, err error) string {
	if have == "" {
		return err.Error()
	}
	return have + "; " + err.Error()
}
