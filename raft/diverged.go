package raft

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// condemnedName is the file that says why a directory must not be used again.
const condemnedName = "diverged"

// DivergedError: the state of this member at an index is not that of the leader, though both applied
// the same entries. The member has stopped and does not start again with this state (CLU-32).
type DivergedError struct {
	// Path is the file that says so; empty if the state is not kept in a directory.
	Path string `json:"-"`
	// Index is the log index after which the states were compared.
	Index uint64 `json:"index"`
	// Own and Leader are the hashes of both.
	Own    string `json:"own"`
	Leader string `json:"leader"`
}

func (e *DivergedError) Error() string {
	text := fmt.Sprintf("the state of this member at log index %d has the hash %s, that of the leader %s", e.Index, e.Own, e.Leader)
	if e.Path == "" {
		return text
	}
	return fmt.Sprintf("%s: %s: keep a copy of the directory to find out why, then empty it and join the cluster again as a new node", e.Path, text)
}

// condemn marks a directory as not to be used again.
func condemn(dir string, cause *DivergedError, noSync bool) error {
	cause.Path = filepath.Join(dir, condemnedName)
	text, err := json.Marshal(cause)
	if err != nil {
		return fmt.Errorf("encode %s: %w", cause.Path, err)
	}
	return writeAside(cause.Path, noSync, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}

// condemned returns the error that a directory is marked with.
func condemned(dir string) error {
	path := filepath.Join(dir, condemnedName)
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	if err != nil {
		return onDisk("read", path, err)
	}
	cause := &DivergedError{}
	if err := json.Unmarshal(text, cause); err != nil {
		return onDisk("read", path, fmt.Errorf("%w: %w", ErrCorrupt, err))
	}
	cause.Path = path
	return cause
}
