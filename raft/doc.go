// Package raft is one member of the consensus group: it keeps a replicated log and applies its
// committed entries to a [StateMachine] (CLU-30).
//
// # Parts
//
// core.go is pure: the protocol (go.etcd.io/raft) and the table of proposals that wait for their
// entry. peer.go is the one loop that feeds it with ticks, proposals and messages, and carries out
// what it wants in this order: write, send, apply, advance. log.go is the log on disk, snapshot.go
// the snapshot files beside it, transport.go what a way to the other peers must offer.
//
// The loop owns the core, the log and the state machine; nobody else touches them. A second
// goroutine exists only while a snapshot is written.
//
// # Proposals
//
// An entry carries the number of its proposal, counted by the leader that appended it. Leader and
// term being one, term and number name a proposal for ever; the caller gets the result of applying
// exactly its own entry. [Peer.Submit] takes many without waiting for each.
//
// A proposal ends in one of three ways: applied; never appended ([ErrNotLeader], [ErrBusy],
// [ErrTooLarge]), safe to try again; or unknown ([ErrLeadershipLost], [ErrClosed], the end of the
// caller's context, the error that stopped the peer), in which case it may still be applied, now or
// after a restart.
//
// # What is durable
//
// A proposal that was answered is on disk on a quorum (CLU-31).
//
//	DIR                                  0700, one process at a time
//	├── lock                             held by the process that has the directory open
//	├── log.db                           bbolt, 0600
//	│   ├── meta
//	│   │   └── state                    CRC-32C, member id, term, vote, commit, and the index and
//	│   │                                term of: the entry before the first, the last, the snapshot
//	│   └── entries
//	│       └── <index, 8 bytes>         CRC-32C, raftpb.Entry
//	└── snapshot-<index>-<term>          header, conf state, bytes of the state machine, CRC-32C
//
// All that one turn of the protocol wants written goes into one transaction, which also rewrites
// the state, so that a lost or cut-off tail of the log is noticed. The commit index alone is not
// worth a write: it goes with the next one. A snapshot is written under another name, synced,
// renamed, the directory synced; then one transaction names it and cuts the log, which keeps
// KeepEntries entries before it for slow followers.
//
// When a peer is opened, every page, entry and the snapshot are checked before anything is applied.
// Damage and disk errors are a [*DiskError] that names the file and says what to do; while running,
// they stop the peer: [Peer.Done], [Peer.Err]. Nothing is repaired silently and nothing passed over
// (CLU-32).
//
// # Leadership
//
// [Leadership] with Leader set is given out only after an entry of the new leader's own term was
// applied: then all that earlier leaders committed is in the state machine. Pre-vote and
// check-quorum are on. A peer that is the only voter does not wait for an election time-out. With
// other voters, a leader acts on a lease that is shorter than the shortest time in which they can
// elect another; [Peer.Leading] tells whether it still runs (CLU-33).
//
// Member ids are never used again for another member, nor for a member that lost its disk.
package raft
