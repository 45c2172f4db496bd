// Package raft is one member of the consensus group: it keeps a replicated log and applies its
// committed entries to a [StateMachine] (CLU-30).
//
// # Parts
//
// core.go and its neighbours (lease.go, membership.go, handover.go, reads.go, marks.go, entries.go) are
// pure: the protocol (go.etcd.io/raft) and what waits for an outcome. [Member] (member.go) adds a
// [Storage] and a state machine and carries out what the protocol wants in this order: write, send,
// apply, advance. It has no goroutine, clock or network, so that a simulation can own thousands.
// [Peer] (peer.go, loop.go) is one on this machine: a loop that feeds a member with ticks, proposals and
// messages. log.go is its storage on disk, snapshot.go and exchange.go the snapshot files beside it,
// [Network] (network.go, transfer.go) its way to the other peers, offline.go what can be done with the
// files while nobody has them open.
//
// The loop owns the member, the log and the state machine; nobody else touches them. Other goroutines
// exist only while a snapshot is written, sent or received, or a state summed.
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
//	├── snapshot-<index>-<term>          header, conf state, bytes of the state machine, CRC-32C
//	├── received-<index>-<term>          the same from another peer, whole, until it is installed
//	├── received-<index>-<term>-<size>-<crc>.part      the same while it is being received
//	└── diverged                         why this directory must not be used any more
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
// Every SnapshotEntries entries all peers take the hash of their state after the same entry, and the
// leader appends its own: a peer that has another stops with a [*DivergedError] and does not start again
// with that state (CLU-32). It is the leader's that counts: a leader that is wrong stops all others, and
// then itself for want of a quorum.
//
// # Leadership
//
// [Leadership] with Leader set is given out only after an entry of the new leader's own term was
// applied: then all that earlier leaders committed is in the state machine. Pre-vote and
// check-quorum are on. A peer that is the only voter does not wait for an election time-out. With
// other voters, a leader acts on a lease that is shorter than the shortest time in which they can
// elect another; [Peer.Leading] tells whether it still runs. lease.go says why that holds also over
// restarts, changes of members and transfers (CLU-33).
//
// # Members
//
// The voters of a new group begin with the same log, which names them. Any other member begins with an
// empty one (Config.Join) and is added by the leader as a learner, gets a snapshot or the log, and is
// promoted when it is caught up: [Peer.Change]. Members are changed one at a time (CLU-37). The leader
// is not removed: it hands over first ([Peer.Transfer]).
//
// A change counts for a member when it applied the entry. A removed member mostly learns of it
// ([Peer.Removed]); one that was away does not, goes on asking for votes, and is refused: with pre-vote
// it cannot disturb the term, those who hear the leader do not answer it, and the transport does not let
// it in. Member ids are never used again for another member, nor for a member that lost its disk: a
// member that forgot what it acknowledged would be counted for entries that it does not have.
package raft
