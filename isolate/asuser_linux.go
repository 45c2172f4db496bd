package isolate

import (
	"fmt"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// asUser calls f on a thread that has the rights of another user to files: it
// reads what the user may read, and what it makes belongs to the user. f must
// use files in its own goroutine only. Nil means our own user.
func asUser(c *credential, f func() error) error {
	if c == nil {
		return f()
	}
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with its rights
		if err := becomeUser(c); err != nil {
			result <- fmt.Errorf("become user %d: %w", c.UID, err)
			return
		}
		result <- f()
	}()
	return <-result
}

// becomeUser changes groups and file system user of this thread alone; leaving
// user 0 takes the capabilities over files away (capabilities(7)). The
// functions of package syscall would change all threads.
func becomeUser(c *credential) error {
	var groups unsafe.Pointer
	if len(c.Groups) > 0 {
		groups = unsafe.Pointer(&c.Groups[0])
	}
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, uintptr(len(c.Groups)), uintptr(groups), 0); errno != 0 {
		return errno
	}
	for _, id := range []struct {
		set func(int) (int, error)
		id  int
	}{{unix.SetfsgidRetGid, int(c.GID)}, {unix.SetfsuidRetUid, int(c.UID)}} {
		if _, err := id.set(id.id); err != nil {
			return err
		}
		// These calls report no failure: asking again tells.
		if now, err := id.set(-1); err != nil || now != id.id {
			return unix.EPERM
		}
	}
	return nil
}

// freeBytes is what may be written to a file system: what is free, less a
// tenth for others.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * st.Bsize / 10 * 9, nil
}
