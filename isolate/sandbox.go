package isolate

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// openOutput opens the sandbox file stdout or stderr for appending, mode 0644,
// owned by the task user (ISO-344). The directory may belong to that user, who
// may have put anything in its place: links are not followed and only an
// ordinary file with one name is taken (ISO-502).
func openOutput(dir, name string, owner *credential) (*os.File, error) {
	path := filepath.Join(dir, name)
	// O_NONBLOCK: opening a FIFO must not wait for its other end.
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_APPEND|unix.O_CREAT|unix.O_NOFOLLOW|unix.O_NONBLOCK|unix.O_CLOEXEC, 0o644)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	if err := checkOutput(fd, owner); err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func checkOutput(fd int, owner *credential) error {
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return err
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return errors.New("not an ordinary file")
	}
	if st.Nlink != 1 {
		return errors.New("file has several names")
	}
	if err := unix.Fchmod(fd, 0o644); err != nil {
		return err
	}
	if owner != nil {
		if err := unix.Fchown(fd, int(owner.UID), int(owner.GID)); err != nil {
			return err
		}
	}
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFL, 0)
	if err != nil {
		return err
	}
	_, err = unix.FcntlInt(uintptr(fd), unix.F_SETFL, flags&^unix.O_NONBLOCK)
	return err
}

// executeError is the line that stands in stderr when the executable cannot be
// started (EXE-49), in the words of strerror.
func executeError(path string, err error) string {
	text := err.Error()
	var errno syscall.Errno
	if errors.As(err, &errno) {
		text = errno.Error()
		text = string(text[0]-'a'+'A') + text[1:]
	}
	return fmt.Sprintf("Failed to execute '%s': %s\n", path, text)
}
