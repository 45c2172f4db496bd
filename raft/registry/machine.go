package registry

import (
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// Machine is the registry behind the raft log. One goroutine at a time, the loop of the raft peer,
// may call Apply, Snapshot and Restore; View and Hash may be called from any.
type Machine struct {
	view    atomic.Pointer[State]
	version string
}

// NewMachine returns a machine with the empty state. version is that of this clusterd, for the texts
// of errors.
func NewMachine(version string) *Machine {
	m := &Machine{version: version}
	m.view.Store(New())
	return m
}

// Apply carries out the operation encoded in one log entry and returns its [Result]. An error means
// that the peer must stop: the entry is damaged, or newer than this version (*UnknownOpError).
func (m *Machine) Apply(index uint64, data []byte) (any, error) {
	op, err := Decode(data)
	if err != nil {
		return nil, fmt.Errorf("log index %d: %w", index, err)
	}
	next := m.view.Load().Clone()
	result, err := next.Apply(index, op)
	if err != nil {
		return nil, err
	}
	m.view.Store(next)
	return result, nil
}

// View returns a copy of the state as it is now, the caller's own.
func (m *Machine) View() *State { return m.view.Load().Clone() }

// Hash returns a function that sums the state as it is now, from any goroutine and while later
// operations are applied: see [State.Hash] (CLU-32).
func (m *Machine) Hash() func() string { return m.View().Hash }

// Snapshot returns a function that writes the state as it is now, from any goroutine and while
// later operations are applied.
func (m *Machine) Snapshot() (func(io.Writer) error, error) {
	return m.View().Write, nil
}

// Restore replaces the state by a snapshot. On an error the old state stays.
func (m *Machine) Restore(r io.Reader) error {
	s, err := Read(r)
	if err != nil {
		if newer, ok := errors.AsType[*NewerError](err); ok {
			newer.Version = m.version
		}
		return err
	}
	m.view.Store(s)
	return nil
}
