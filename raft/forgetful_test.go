package raft

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// errPowerLost is what a write gets during which the power fails.
var errPowerLost = errors.New("power lost")

// forgetful is a storage in memory that forgets at a power loss what was not synced.
type forgetful struct {
	durable image
	current image
	failed  error
	// fail is asked before each write that must be durable. With an error the power fails: during the
	// write if torn is set, and then the write itself may be on disk already.
	fail      func() (err error, torn bool)
	condemned *DivergedError
}

// image is the content of a disk.
type image struct {
	hard      *raftpb.HardState
	start     uint64 // index of the entry before the first
	startTerm uint64
	entries   []*raftpb.Entry
	snapshot  *raftpb.SnapshotMetadata // nil if there is none
	files     map[[2]uint64][]byte     // snapshots by index and term; written once
}

var _ Storage = (*forgetful)(nil)

// newForgetful is an empty disk, or one of a first voter.
func newForgetful(voters ...uint64) (*forgetful, error) {
	f := &forgetful{current: image{hard: &raftpb.HardState{}, files: map[[2]uint64][]byte{}}}
	if len(voters) > 0 {
		var err error
		if f.current.hard, f.current.entries, err = FirstEntries(voters); err != nil {
			return nil, err
		}
	}
	f.durable = f.current.clone()
	return f, nil
}

func (i image) clone() image {
	i.entries = slices.Clone(i.entries)
	files := make(map[[2]uint64][]byte)
	for k, v := range i.files {
		files[k] = v
	}
	i.files = files
	return i
}

func (i image) last() uint64 { return i.start + uint64(len(i.entries)) }

// lose drops what was not synced, as a power loss does; the disk can be used again then.
func (f *forgetful) lose() {
	f.current = f.durable.clone()
	f.failed = nil
}

// sync makes the current content durable, unless the power fails.
func (f *forgetful) sync() error {
	if f.failed != nil {
		return f.failed
	}
	if f.fail != nil {
		if err, torn := f.fail(); err != nil {
			if torn {
				f.durable = f.current.clone()
			}
			f.failed = err
			return err
		}
	}
	f.durable = f.current.clone()
	return nil
}

func (f *forgetful) Save(hard *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	if f.failed != nil {
		return f.failed
	}
	if !etcdraft.IsEmptyHardState(hard) {
		f.current.hard = proto.Clone(hard).(*raftpb.HardState)
	}
	if len(entries) > 0 {
		first := entries[0].GetIndex()
		if first <= f.current.start || first > f.current.last()+1 {
			return fmt.Errorf("entry %d does not follow %d to %d", first, f.current.start+1, f.current.last())
		}
		f.current.entries = append(slices.Clone(f.current.entries[:first-f.current.start-1]), entries...)
	}
	if !sync {
		return nil
	}
	return f.sync()
}

func (f *forgetful) Compact(meta *raftpb.SnapshotMetadata, keep uint64) error {
	if f.failed != nil {
		return f.failed
	}
	i := &f.current
	if i.snapshot != nil && meta.GetIndex() <= i.snapshot.GetIndex() {
		return nil
	}
	i.snapshot = meta
	if start := meta.GetIndex() - min(keep, meta.GetIndex()); start > i.start {
		term, err := f.Term(start)
		if err != nil {
			return err
		}
		i.entries = slices.Clone(i.entries[start-i.start:])
		i.start, i.startTerm = start, term
	}
	return f.sync()
}

func (f *forgetful) Install(meta *raftpb.SnapshotMetadata, hard *raftpb.HardState) error {
	if f.failed != nil {
		return f.failed
	}
	if _, ok := f.current.files[[2]uint64{meta.GetIndex(), meta.GetTerm()}]; !ok {
		return fmt.Errorf("snapshot at index %d, term %d was not received", meta.GetIndex(), meta.GetTerm())
	}
	i := &f.current
	if !etcdraft.IsEmptyHardState(hard) {
		i.hard = proto.Clone(hard).(*raftpb.HardState)
	}
	i.hard.Commit = new(max(i.hard.GetCommit(), meta.GetIndex()))
	i.start, i.startTerm, i.entries, i.snapshot = meta.GetIndex(), meta.GetTerm(), nil, meta
	return f.sync()
}

func (f *forgetful) WriteSnapshot(meta *raftpb.SnapshotMetadata, body func(io.Writer) error) error {
	var b bytes.Buffer
	if err := body(&b); err != nil {
		return err
	}
	return f.receive(meta.GetIndex(), meta.GetTerm(), b.Bytes())
}

// receive puts a snapshot beside the log, durably.
func (f *forgetful) receive(index, term uint64, body []byte) error {
	if f.failed != nil {
		return f.failed
	}
	// The file alone is synced, not the log.
	f.current.files[[2]uint64{index, term}] = body
	f.durable.files[[2]uint64{index, term}] = body
	return nil
}

func (f *forgetful) ReadSnapshot(index, term uint64, restore func(io.Reader) error) error {
	body, ok := f.current.files[[2]uint64{index, term}]
	if !ok {
		return fmt.Errorf("%w: index %d, term %d", ErrNoSnapshot, index, term)
	}
	return restore(bytes.NewReader(body))
}

func (f *forgetful) Condemn(cause *DivergedError) error {
	f.condemned = cause
	return nil
}

func (f *forgetful) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	return proto.Clone(f.current.hard).(*raftpb.HardState), raftpb.EnsureConfState(f.current.snapshot.GetConfState()), f.failed
}

func (f *forgetful) FirstIndex() (uint64, error) { return f.current.start + 1, f.failed }
func (f *forgetful) LastIndex() (uint64, error)  { return f.current.last(), f.failed }

func (f *forgetful) Term(i uint64) (uint64, error) {
	switch {
	case f.failed != nil:
		return 0, f.failed
	case i == f.current.start:
		return f.current.startTerm, nil
	case i < f.current.start:
		return 0, etcdraft.ErrCompacted
	case i > f.current.last():
		return 0, etcdraft.ErrUnavailable
	}
	return f.current.entries[i-f.current.start-1].GetTerm(), nil
}

func (f *forgetful) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	switch {
	case f.failed != nil:
		return nil, f.failed
	case lo <= f.current.start:
		return nil, etcdraft.ErrCompacted
	case hi > f.current.last()+1 || lo >= hi:
		return nil, etcdraft.ErrUnavailable
	}
	found := f.current.entries[lo-f.current.start-1 : hi-f.current.start-1]
	size := uint64(0)
	for i, e := range found {
		if size += uint64(proto.Size(e)); i > 0 && size > maxSize {
			return slices.Clone(found[:i]), nil
		}
	}
	return slices.Clone(found), nil
}

func (f *forgetful) Snapshot() (*raftpb.Snapshot, error) {
	if f.failed != nil {
		return nil, f.failed
	}
	if f.current.snapshot == nil {
		return nil, etcdraft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: f.current.snapshot}, nil
}
