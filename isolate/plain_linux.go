package isolate

import (
	"os"
	"os/signal"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

func plainAttr(owner *credential) *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setsid: true}
	if owner != nil {
		attr.Credential = &syscall.Credential{Uid: owner.UID, Gid: owner.GID, Groups: owner.Groups}
	}
	return attr
}

// reapOrphans reaps the processes that this shim adopted, and only those: not
// the one with pid main, and not children of the shim itself, which share its
// session. The returned function ends it.
func reapOrphans(main int) (stop func()) {
	ended := make(chan os.Signal, 1)
	signal.Notify(ended, syscall.SIGCHLD)
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		self := os.Getpid()
		session, err := unix.Getsid(self)
		if err != nil {
			return // cannot be: a process always has a session
		}
		for {
			select {
			case <-quit:
				return
			case <-ended:
			}
			table, err := processTable()
			if err != nil {
				continue // no process table: they stay until the shim ends
			}
			for _, p := range table {
				if p.zombie && p.ppid == self && p.pid != main && p.sid != session {
					var ws syscall.WaitStatus
					_, _ = syscall.Wait4(p.pid, &ws, syscall.WNOHANG, nil)
				}
			}
		}
	})
	return func() {
		signal.Stop(ended)
		close(quit)
		wg.Wait()
	}
}
