package raft

import (
	"io"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// Storage is where a [Member] keeps its log and its snapshots. One goroutine at a time may use it,
// but for WriteSnapshot. An error of any method stops the member: what it promised is in doubt.
//
// Of the protocol library's part, InitialState returns the members as of the newest snapshot, and
// Snapshot only its metadata, without data: the state itself goes from peer to peer as a file, see
// [Transport]. Without a snapshot it returns etcdraft.ErrSnapshotTemporarilyUnavailable.
type Storage interface {
	etcdraft.Storage
	// Save makes the outcome of one turn of the protocol durable before it returns: term and vote, if
	// hard is not empty, and entries that replace all from the first of them on. If sync is false
	// nothing in it must outlive a crash; then it may only be remembered.
	Save(hard *raftpb.HardState, entries []*raftpb.Entry, sync bool) error
	// Compact records that the snapshot at meta was written, and drops all but keep entries before it.
	Compact(meta *raftpb.SnapshotMetadata, keep uint64) error
	// Install replaces the whole log by a snapshot that came from another peer and stands checked and
	// durable beside the log; term and vote as for Save.
	Install(meta *raftpb.SnapshotMetadata, hard *raftpb.HardState) error
	// WriteSnapshot makes a snapshot durable before it returns. It changes nothing that the other
	// methods see, until Compact. It is called where [MemberConfig].Aside runs it.
	WriteSnapshot(meta *raftpb.SnapshotMetadata, body func(io.Writer) error) error
	// ReadSnapshot gives the state in the snapshot at an index to read: the one of Snapshot, or one
	// that is about to be installed. All of it is checked before restore is called.
	ReadSnapshot(index, term uint64, restore func(io.Reader) error) error
	// Condemn records durably that this state differs from that of the leader, so that it is never used
	// again (CLU-32).
	Condemn(cause *DivergedError) error
}
