package raft

import (
	"fmt"
	"os"
)

// CheckPages checks the structure of a bbolt file that no process has open: opening a damaged one ends
// the process. The error wraps [ErrCorrupt] if it is damaged.
func CheckPages(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := checkPages(f, info.Size()); err != nil {
		return fmt.Errorf("check %s: %w", path, err)
	}
	return nil
}
