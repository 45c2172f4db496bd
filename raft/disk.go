package raft

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime/debug"
	"syscall"
)

// DiskError is a file of the peer that cannot be used. The peer stops with it, or does not start
// (CLU-32).
type DiskError struct {
	Path string
	Op   string // what was being done
	Err  error
}

func (e *DiskError) Error() string {
	return fmt.Sprintf("%s %s: %v: %s", e.Op, e.Path, e.Err, e.advice())
}

func (e *DiskError) Unwrap() error { return e.Err }

// advice is what the operator can do about the error.
func (e *DiskError) advice() string {
	switch {
	case errors.Is(e.Err, ErrLocked):
		return "stop the other process, or choose another directory"
	case errors.Is(e.Err, ErrCorrupt):
		return "check the disk; then restore a backup, or empty the directory and join the cluster again as a new node"
	case errors.Is(e.Err, syscall.ENOSPC), errors.Is(e.Err, syscall.EDQUOT), errors.Is(e.Err, syscall.EFBIG):
		return "make room on the file system and start the node again, nothing acknowledged is lost"
	case errors.Is(e.Err, os.ErrPermission):
		return "give the user of clusterd the right to read and write it"
	default:
		return "check the disk and start the node again"
	}
}

// onDisk wraps an error of a file; it keeps a DiskError as it is.
func onDisk(op, path string, err error) error {
	if err == nil {
		return nil
	}
	if inner := (*DiskError)(nil); errors.As(err, &inner) {
		return err
	}
	return &DiskError{Path: path, Op: op, Err: err}
}

// guard turns a panic of the database, or the fault of a memory-mapped file that cannot be read,
// into an error. To be deferred by each function that uses the database.
func guard(op, path string, err *error) func() {
	old := debug.SetPanicOnFault(true)
	return func() {
		debug.SetPanicOnFault(old)
		if r := recover(); r != nil {
			*err = fmt.Errorf("%w: %v", ErrCorrupt, r)
		}
		*err = onDisk(op, path, *err)
	}
}

// makeDir makes the directory of a peer durably, if there is none, for its user only.
func makeDir(dir string, noSync bool) error {
	_, err := os.Stat(dir)
	missing := errors.Is(err, os.ErrNotExist)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return onDisk("make", dir, err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		return onDisk("restrict", dir, err)
	}
	if !missing || noSync {
		return nil
	}
	return syncDir(filepath.Dir(dir))
}

// syncDir makes the names in a directory durable.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return onDisk("sync", dir, err)
	}
	err = d.Sync()
	if cerr := d.Close(); err == nil {
		err = cerr
	}
	return onDisk("sync", dir, err)
}
