package raft

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

// StateMachine is what the log is applied to. The loop of the peer calls Apply, Snapshot and
// Restore, one at a time.
type StateMachine interface {
	// Apply carries out one committed entry. It must be a function of the entries before it. The
	// result goes to the proposer, if it is on this peer. An error stops the peer.
	//
	// Apply must not change data, nor keep it after it returns.
	Apply(index uint64, data []byte) (any, error)
	// Snapshot returns a function that writes the state as it is now. It is called once, from
	// another goroutine, while later entries are applied.
	Snapshot() (func(io.Writer) error, error)
	// Restore replaces the state by what such a function wrote.
	Restore(io.Reader) error
}

// Config is how a peer runs. Zero fields get the default that is named.
type Config struct {
	// Dir holds all files of the peer; it is made if it does not exist.
	Dir string
	// ID names the member. It is never 0 and never used again for another.
	ID uint64
	// Voters are the first members of a new group, all of which must be opened with the same list.
	// Default: only ID. It is ignored when Dir holds a log.
	Voters []uint64
	// Join opens a member that begins with an empty log and waits until the leader of an existing group
	// has added it: see [Peer.Change]. It is ignored when Dir holds a log.
	Join bool
	// Transport carries messages to the other peers. Default: there are none.
	Transport Transport
	// Logger gets changes of leader, snapshots and the end of the peer. Default: discard.
	Logger *slog.Logger
	// TickInterval is the unit of the protocol's time: a heartbeat each tick, an election after 10
	// to 20 ticks without a leader. Default 100 ms.
	TickInterval time.Duration
	// SnapshotEntries is how many entries are applied between snapshots, and between comparisons of
	// the states of the peers. Default 10000; snapshots come earlier if they are over 64 MiB together,
	// or if a new member needs one.
	SnapshotEntries uint64
	// KeepEntries is how many entries before a snapshot stay in the log. Default 5000; less if they
	// are likely to be over 64 MiB together.
	KeepEntries uint64
	// NoSync leaves out all syncing: for tests only, a power cut may destroy the log.
	NoSync bool

	logBytes uint64 // applied between snapshots at most; 64 MiB but in tests
}

const (
	electionTicks  = 10
	heartbeatTicks = 1
	// leaseTicks is how long after the last word of a quorum a leader may act: see [lease].
	leaseTicks = electionTicks - 3
	// silentTicks is how long after its start a member does not vote: until each lease has run out that
	// it helped to give before.
	silentTicks = electionTicks - 1

	// maxProposalBytes is above the largest request that the API accepts.
	maxProposalBytes = 32 << 20
	// maxUncommittedBytes bounds what a leader without a quorum piles up.
	maxUncommittedBytes = 128 << 20
	maxMessageBytes     = 1 << 20
	maxApplyBytes       = 16 << 20
	maxInflightMessages = 256
	maxLogBytes         = 64 << 20

	// maxBatch and maxBatchBytes bound what is appended in one turn of the loop.
	maxBatch      = 1024
	maxBatchBytes = 4 << 20
)

var (
	// ErrNotLeader: the proposal was not appended, because this peer does not lead. The error may
	// be a [*NotLeaderError] that names the leader.
	ErrNotLeader = errors.New("not the raft leader")
	// ErrLeadershipLost: the proposal was appended, but this peer ceased to lead before it was
	// applied. It may still be applied.
	ErrLeadershipLost = errors.New("raft leadership lost while the proposal was under way")
	// ErrClosed: the peer was closed. A proposal under way may still be applied after a restart.
	ErrClosed = errors.New("raft peer is closed")
	// ErrBusy: the proposal was not appended, because too much waits for a quorum.
	ErrBusy = errors.New("raft log has too many uncommitted bytes")
	// ErrTooLarge: the proposal is over 32 MiB.
	ErrTooLarge = errors.New("raft proposal is too large")
	// ErrLocked: another process has the directory open.
	ErrLocked = errors.New("in use by another process")
	// ErrCorrupt: a file is not what was written to it.
	ErrCorrupt = errors.New("file is corrupt")
)

// NotLeaderError is [ErrNotLeader] with the leader.
type NotLeaderError struct {
	Leader uint64 // 0 if none is known
}

func (e *NotLeaderError) Error() string {
	if e.Leader == 0 {
		return ErrNotLeader.Error() + ", none is known"
	}
	return fmt.Sprintf("%s, peer %d is", ErrNotLeader, e.Leader)
}

// Is makes the error an [ErrNotLeader].
func (e *NotLeaderError) Is(target error) bool { return target == ErrNotLeader }

// withDefaults returns the configuration with its defaults, or every fault of it at once.
func (c Config) withDefaults() (Config, error) {
	var faults []error
	if c.Dir == "" {
		faults = append(faults, errors.New("no directory (Dir)"))
	}
	if c.ID == 0 {
		faults = append(faults, errors.New("no member id (ID)"))
	}
	if c.TickInterval < 0 {
		faults = append(faults, fmt.Errorf("tick interval (TickInterval) is %v", c.TickInterval))
	}
	if c.Join && len(c.Voters) > 0 {
		faults = append(faults, fmt.Errorf("voters (Voters) are %v, but a member that joins (Join) learns them from the leader", c.Voters))
	}
	if len(c.Voters) == 0 && !c.Join {
		c.Voters = []uint64{c.ID}
	}
	c.Voters = slices.Sorted(slices.Values(c.Voters))
	if slices.Contains(c.Voters, 0) || len(slices.Compact(slices.Clone(c.Voters))) != len(c.Voters) {
		faults = append(faults, fmt.Errorf("voters (Voters) are %v: each must be other than 0 and occur once", c.Voters))
	}
	if c.Transport == nil {
		c.Transport = alone{}
		if c.Join {
			faults = append(faults, errors.New("no transport (Transport) to join (Join) with"))
		}
		if len(c.Voters) > 1 {
			faults = append(faults, fmt.Errorf("no transport (Transport) with %d voters", len(c.Voters)))
		}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	if c.TickInterval == 0 {
		c.TickInterval = 100 * time.Millisecond
	}
	if c.SnapshotEntries == 0 {
		c.SnapshotEntries = 10000
	}
	if c.KeepEntries == 0 {
		c.KeepEntries = 5000
	}
	if c.logBytes == 0 {
		c.logBytes = maxLogBytes
	}
	if len(faults) > 0 {
		return c, fmt.Errorf("raft configuration: %w", errors.Join(faults...))
	}
	return c, nil
}
