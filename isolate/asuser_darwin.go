package isolate

import (
	"errors"

	"golang.org/x/sys/unix"
)

// asUser: there are no rights for one thread here.
func asUser(c *credential, f func() error) error {
	if c != nil {
		return errors.New("fetching for another user is not supported on this system")
	}
	return f()
}

// freeBytes is what may be written to a file system: what is free, less a
// tenth for others.
func freeBytes(dir string) (int64, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return 0, err
	}
	return int64(st.Bavail) * int64(st.Bsize) / 10 * 9, nil
}
