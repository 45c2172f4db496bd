package sim

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"

	"clusterd/raft"
)

// raftDisk is the model of raft's files in one directory: the log, written in transactions of which
// each is there as a whole or not at all, and snapshots beside it.
type raftDisk struct {
	d  *nodeDisk
	id uint64

	disk    logImage // durable
	seen    logImage // as the running member reads it
	writes  []write  // made but not synced, oldest first
	busy    time.Duration
	failed  error
	ours    map[snapshotName][]byte // snapshots of this member's own, durable
	arrived map[snapshotName][]byte // received from others, durable
}

// logImage is what a log says.
type logImage struct {
	term, vote, commit uint64
	snap               *raftpb.SnapshotMetadata // nil: none
	start, startTerm   uint64                   // of the entry before the first
	entries            []*raftpb.Entry
}

// write is one transaction that becomes durable when its sync has ended.
type write struct {
	at time.Duration
	do func(*logImage)
}

type snapshotName struct{ index, term uint64 }

var _ raft.Storage = (*raftDisk)(nil)

func newRaftDisk(d *nodeDisk, id uint64) *raftDisk {
	return &raftDisk{d: d, id: id, ours: make(map[snapshotName][]byte), arrived: make(map[snapshotName][]byte)}
}

// transact makes a write. A sync that fails leaves open whether it will be there after the next start.
func (r *raftDisk) transact(do func(*logImage)) error {
	if r.failed != nil {
		return r.failed
	}
	w := r.d.m.w
	took, fault := r.d.sync(w.flaw.earlySync)
	done := max(r.busy, w.now) + took
	if fault != "" {
		r.failed = errors.New(fault)
		r.writes = append(r.writes, write{1 << 62, do})
		return r.failed
	}
	do(&r.seen)
	r.writes = append(r.writes, write{done, do})
	if !w.flaw.earlySync {
		r.busy = done
	}
	r.settle()
	return nil
}

// settle makes durable what was synced by now.
func (r *raftDisk) settle() {
	now := r.d.m.w.now
	for len(r.writes) > 0 && r.writes[0].at <= now {
		r.writes[0].do(&r.disk)
		r.writes = r.writes[1:]
	}
	r.clean()
}

// clean removes snapshots that are of no more use.
func (r *raftDisk) clean() {
	for name := range r.ours {
		if name.index < r.disk.snap.GetIndex() {
			delete(r.ours, name)
		}
	}
	for name := range r.arrived {
		if name.index <= r.disk.snap.GetIndex() {
			delete(r.arrived, name)
		}
	}
}

// crash forgets what was not synced, but for some of the oldest.
func (r *raftDisk) crash() {
	r.settle()
	for range r.d.m.w.rng.IntN(len(r.writes) + 1) {
		r.writes[0].do(&r.disk)
		r.writes = r.writes[1:]
	}
	r.writes, r.busy, r.failed = nil, 0, nil
	r.seen = r.disk
	r.seen.entries = slices.Clip(r.seen.entries)
	r.disk.entries = slices.Clip(r.disk.entries)
	r.clean()
}

// Save implements raft.Storage.
func (r *raftDisk) Save(hard *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	if r.failed != nil {
		return r.failed
	}
	if !etcdraft.IsEmptyHardState(hard) && !sync {
		r.seen.commit = hard.GetCommit() // it goes with the next write
	}
	if !sync && len(entries) == 0 {
		return nil
	}
	term, vote, commit := r.seen.term, r.seen.vote, r.seen.commit
	if !etcdraft.IsEmptyHardState(hard) {
		term, vote, commit = hard.GetTerm(), hard.GetVote(), hard.GetCommit()
	}
	return r.transact(func(l *logImage) {
		l.term, l.vote, l.commit = term, vote, commit
		l.append(entries)
	})
}

func (l *logImage) append(entries []*raftpb.Entry) {
	if len(entries) == 0 {
		return
	}
	keep := entries[0].GetIndex() - l.start - 1
	l.entries = append(l.entries[:keep:keep], entries...)
}

func (l *logImage) last() uint64 { return l.start + uint64(len(l.entries)) }

func (l *logImage) termOf(i uint64) uint64 {
	if i == l.start {
		return l.startTerm
	}
	return l.entries[i-l.start-1].GetTerm()
}

// Compact implements raft.Storage.
func (r *raftDisk) Compact(meta *raftpb.SnapshotMetadata, keep uint64) error {
	if meta.GetIndex() <= r.seen.snap.GetIndex() {
		return r.failed
	}
	commit := r.seen.commit
	return r.transact(func(l *logImage) {
		l.snap, l.commit = meta, commit
		if start := meta.GetIndex() - min(keep, meta.GetIndex()); start > l.start {
			term := l.termOf(start)
			l.entries = slices.Clone(l.entries[start-l.start:])
			l.start, l.startTerm = start, term
		}
	})
}

// Install implements raft.Storage.
func (r *raftDisk) Install(meta *raftpb.SnapshotMetadata, hard *raftpb.HardState) error {
	if r.failed != nil {
		return r.failed
	}
	name := snapshotName{meta.GetIndex(), meta.GetTerm()}
	data, ok := r.arrived[name]
	if !ok {
		return fmt.Errorf("snapshot %v is not there", name)
	}
	r.ours[name] = data
	term, vote, commit := r.seen.term, r.seen.vote, r.seen.commit
	if !etcdraft.IsEmptyHardState(hard) {
		term, vote, commit = hard.GetTerm(), hard.GetVote(), hard.GetCommit()
	}
	return r.transact(func(l *logImage) {
		*l = logImage{
			term: term, vote: vote, commit: max(commit, meta.GetIndex()), snap: meta, start: meta.GetIndex(), startTerm: meta.GetTerm(),
		}
	})
}

// WriteSnapshot implements raft.Storage.
func (r *raftDisk) WriteSnapshot(meta *raftpb.SnapshotMetadata, body func(io.Writer) error) error {
	if _, fault := r.d.sync(false); fault != "" {
		return errors.New(fault)
	}
	var b bytes.Buffer
	if err := body(&b); err != nil {
		return err
	}
	r.ours[snapshotName{meta.GetIndex(), meta.GetTerm()}] = b.Bytes()
	return nil
}

// ReadSnapshot implements raft.Storage.
func (r *raftDisk) ReadSnapshot(index, term uint64, restore func(io.Reader) error) error {
	from := r.ours
	if index != r.seen.snap.GetIndex() {
		from = r.arrived
	}
	data, ok := from[snapshotName{index, term}]
	if !ok {
		return fmt.Errorf("snapshot at %d of term %d is not there", index, term)
	}
	return restore(bytes.NewReader(data))
}

// Condemn implements raft.Storage.
func (r *raftDisk) Condemn(cause *raft.DivergedError) error {
	r.d.m.w.failf("%s: %v", r.d.m.name, cause)
	return nil
}

// InitialState implements etcdraft.Storage.
func (r *raftDisk) InitialState() (*raftpb.HardState, *raftpb.ConfState, error) {
	l := &r.seen
	return &raftpb.HardState{Term: proto.Uint64(l.term), Vote: proto.Uint64(l.vote), Commit: proto.Uint64(l.commit)},
		raftpb.EnsureConfState(l.snap.GetConfState()), r.failed
}

// FirstIndex implements etcdraft.Storage.
func (r *raftDisk) FirstIndex() (uint64, error) { return r.seen.start + 1, r.failed }

// LastIndex implements etcdraft.Storage.
func (r *raftDisk) LastIndex() (uint64, error) { return r.seen.last(), r.failed }

// Term implements etcdraft.Storage.
func (r *raftDisk) Term(i uint64) (uint64, error) {
	switch {
	case r.failed != nil:
		return 0, r.failed
	case i < r.seen.start:
		return 0, etcdraft.ErrCompacted
	case i > r.seen.last():
		return 0, etcdraft.ErrUnavailable
	}
	return r.seen.termOf(i), nil
}

// Entries implements etcdraft.Storage.
func (r *raftDisk) Entries(lo, hi, maxSize uint64) ([]*raftpb.Entry, error) {
	l := &r.seen
	switch {
	case r.failed != nil:
		return nil, r.failed
	case lo <= l.start:
		return nil, etcdraft.ErrCompacted
	case hi > l.last()+1 || lo >= hi:
		return nil, etcdraft.ErrUnavailable
	}
	found := l.entries[lo-l.start-1 : hi-l.start-1]
	size := uint64(0)
	for i, e := range found {
		if size += uint64(proto.Size(e)); i > 0 && size > maxSize {
			found = found[:i]
			break
		}
	}
	return slices.Clone(found), nil
}

// Snapshot implements etcdraft.Storage.
func (r *raftDisk) Snapshot() (*raftpb.Snapshot, error) {
	switch {
	case r.failed != nil:
		return nil, r.failed
	case r.seen.snap == nil:
		return nil, etcdraft.ErrSnapshotTemporarilyUnavailable
	}
	return &raftpb.Snapshot{Metadata: r.seen.snap}, nil
}
