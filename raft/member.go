package raft

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// MemberConfig is what a member is made of. Zero fields get the default that is named.
type MemberConfig struct {
	// ID names the member. It is never 0 and never used again for another.
	ID uint64
	// TickInterval is how often Tick is called. Default 100 ms.
	TickInterval time.Duration
	// Storage holds the log: an empty one for a member that joins a group, [FirstEntries] for one of a
	// new group.
	Storage Storage
	// Machine is new: the member restores it.
	Machine StateMachine
	// Send takes messages of one turn, after what they promise is durable. It must neither change
	// them nor call the member. Default: they are lost.
	Send func([]*raftpb.Message)
	// Aside runs work where it does not hold up the member, and later calls done with what it returned,
	// where the methods of the member are called. Default: both at once.
	Aside func(work func() error, done func(error))
	// Nonce is different each time this member starts.
	Nonce uint64
	// Logger gets what the protocol library has to say. Default: discard.
	Logger *slog.Logger
	// SnapshotEntries, KeepEntries and SnapshotBytes: see [Config]. SnapshotBytes is how many bytes are
	// applied between snapshots at most, by default 64 MiB.
	SnapshotEntries, KeepEntries, SnapshotBytes uint64
}

// withDefaults fills in what was left out.
func (c MemberConfig) withDefaults() MemberConfig {
	if c.TickInterval == 0 {
		c.TickInterval = 100 * time.Millisecond
	}
	if c.Send == nil {
		c.Send = func([]*raftpb.Message) {}
	}
	if c.Aside == nil {
		c.Aside = func(work func() error, done func(error)) { done(work()) }
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	c.SnapshotEntries = cmp.Or(c.SnapshotEntries, 10000)
	c.KeepEntries = cmp.Or(c.KeepEntries, 5000)
	c.SnapshotBytes = cmp.Or(c.SnapshotBytes, maxLogBytes)
	return c
}

// FirstEntries is the log with which each of the first voters of a new group begins, as if a leader of
// term 1 had committed it. All must be given the same voters.
func FirstEntries(voters []uint64) (*raftpb.HardState, []*raftpb.Entry, error) {
	var entries []*raftpb.Entry
	for i, voter := range slices.Sorted(slices.Values(voters)) {
		data, err := proto.Marshal(&raftpb.ConfChange{Type: raftpb.ConfChangeAddNode.Enum(), NodeId: new(voter)})
		if err != nil {
			return nil, nil, fmt.Errorf("encode member %d: %w", voter, err)
		}
		entries = append(entries, &raftpb.Entry{
			Type: raftpb.EntryConfChange.Enum(), Term: new(uint64(1)), Index: new(uint64(i + 1)), Data: data,
		})
	}
	return &raftpb.HardState{Term: new(uint64(1)), Vote: new(uint64(0)), Commit: new(uint64(len(entries)))}, entries, nil
}

// Member is one member of a group, without goroutine, clock, network or lock: its owner gives it time,
// messages and proposals, one at a time, and has it work with Settle. [Peer] is such an owner. What
// "ended" functions are told happens inside these calls; the functions must not call the member.
//
// After an error of Settle nothing but Stop, Status and Err does anything.
type Member struct {
	cfg    MemberConfig
	core   *core
	marks  marks
	office office

	snapshot uint64            // index of the newest in the log
	covered  *raftpb.ConfState // the members in it
	wanted   bool              // another is, by a member that is not in it
	grown    uint64            // bytes applied since it was begun
	writing  bool              // one is being written
	installs uint64            // snapshots of other peers taken over
	changes  uint64            // of the leader
	leader   uint64            // as of the last turn
	err      error
}

// NewMember restores the machine from the storage and applies what is known to be committed. A member
// that decides alone stands for election; its first entry is written by the first Settle.
func NewMember(cfg MemberConfig) (*Member, error) {
	m := &Member{cfg: cfg.withDefaults()}
	m.marks.aside, m.marks.fail = m.aside, m.stopWith
	m.marks.machine, _ = cfg.Machine.(Hasher)
	at := &raftpb.SnapshotMetadata{}
	snap, err := cfg.Storage.Snapshot()
	if err == nil {
		at = snap.GetMetadata()
		err = cfg.Storage.ReadSnapshot(at.GetIndex(), at.GetTerm(), cfg.Machine.Restore)
	}
	if err != nil && !errors.Is(err, etcdraft.ErrSnapshotTemporarilyUnavailable) {
		return nil, err
	}
	m.snapshot, m.covered = at.GetIndex(), at.GetConfState()
	m.guard(func() (err error) {
		m.core, err = newCore(coreConfig{
			id: cfg.ID, tick: m.cfg.TickInterval, storage: coveringStorage{cfg.Storage, m}, applied: at, pile: maxUncommittedBytes,
			nonce: cfg.Nonce, logger: protocolLogger{m.cfg.Logger},
		})
		if err != nil {
			return err
		}
		if err := m.turns(time.Time{}); err != nil || !m.core.alone() {
			return err
		}
		return m.core.node.Campaign()
	})
	if m.err != nil {
		return nil, m.err
	}
	return m, nil
}

// guard runs fn unless the member has stopped, and stops it if fn returns an error, or if the protocol
// library panics about a broken invariant or an error of the storage. Other panics go on.
func (m *Member) guard(fn func() error) {
	if m.err != nil {
		return
	}
	defer func() {
		var err error
		switch r := recover().(type) {
		case nil:
			return
		case brokenInvariant:
			err = r
		case error:
			if _, failed := m.cfg.Storage.LastIndex(); failed == nil {
				panic(r)
			}
			err = r
		default:
			panic(r)
		}
		m.stopWith(err)
	}()
	m.stopWith(fn())
}

// stopWith stops the member if there is an error.
func (m *Member) stopWith(err error) {
	if err == nil || m.err != nil {
		return
	}
	if _, failed := m.cfg.Storage.LastIndex(); failed != nil {
		err = failed // the cause, of which the library keeps the text at best
	}
	if diverged := (*DivergedError)(nil); errors.As(err, &diverged) {
		err = errors.Join(err, m.cfg.Storage.Condemn(diverged))
	}
	m.err = err
}

// aside is the owner's, and drops what comes back after the member has stopped.
func (m *Member) aside(work func() error, done func(error)) {
	m.cfg.Aside(work, func(err error) {
		m.guard(func() error {
			done(err)
			return nil
		})
	})
}

// Tick lets one tick interval of the protocol's time pass. now is on the monotonic clock.
func (m *Member) Tick(now time.Time) {
	m.guard(func() error {
		m.core.tick(now)
		return nil
	})
}

// Step takes a message from another peer. Messages that are not for this member or make no sense are
// refused with an error, and change nothing: the network may lose, repeat, delay and reorder messages,
// and keep old ones. The snapshot that a MsgSnap names must stand in the storage.
func (m *Member) Step(message *raftpb.Message, now time.Time) error {
	var refused error
	m.guard(func() error {
		refused = m.core.step(message, now)
		return nil
	})
	return refused
}

// Submit appends proposals as entries that follow each other; many at once take one message for each
// other peer.
func (m *Member) Submit(batch ...Proposal) {
	if m.err != nil {
		refuse(batch, m.err)
		return
	}
	m.guard(func() error {
		m.core.propose(batch)
		return nil
	})
}

// Change changes the members of the group: see [Peer.Change].
func (m *Member) Change(change MemberChange, ended func(error)) {
	if m.err != nil {
		ended(m.err)
		return
	}
	m.guard(func() error {
		m.core.changeMembers(change, ended)
		return nil
	})
}

// Transfer hands the leadership over: see [Peer.Transfer].
func (m *Member) Transfer(to uint64, ended func(error)) {
	if m.err != nil {
		ended(m.err)
		return
	}
	m.guard(func() error {
		m.core.transfer(to, ended)
		return nil
	})
}

// ReadIndex ends when this member has applied all that was acknowledged to anybody before the call: see
// [Peer.ReadIndex]. Several at once take one question to the quorum.
func (m *Member) ReadIndex(ended ...func(index uint64, err error)) {
	if m.err != nil {
		for _, end := range ended {
			end(0, m.err)
		}
		return
	}
	m.guard(func() error {
		m.core.readIndex(ended...)
		return nil
	})
}

// Campaign has a voter stand for election without waiting for its time-out. The others still refuse it
// while they hear a leader.
func (m *Member) Campaign() {
	m.guard(func() error { return m.core.node.Campaign() })
}

// ReportUnreachable says that a message to a peer could not be delivered.
func (m *Member) ReportUnreachable(id uint64) {
	m.guard(func() error {
		m.core.node.ReportUnreachable(id)
		return nil
	})
}

// ReportSnapshot says whether the snapshot of a MsgSnap reached a peer. Each must be reported.
func (m *Member) ReportSnapshot(id uint64, delivered bool) {
	status := etcdraft.SnapshotFailure
	if delivered {
		status = etcdraft.SnapshotFinish
	}
	m.guard(func() error {
		m.core.node.ReportSnapshot(id, status)
		return nil
	})
}

// Settle carries out what the calls before have led to, until nothing is left: in each turn it writes,
// sends, applies and advances. An error stops the member for good.
func (m *Member) Settle(now time.Time) error {
	m.guard(func() error {
		for {
			if err := m.turns(now); err != nil {
				return err
			}
			if err := m.beginSnapshot(); err != nil {
				return err
			}
			if !m.compareStates() {
				return nil
			}
		}
	})
	return m.err
}

// turns carries out all that is ready.
func (m *Member) turns(now time.Time) error {
	for m.core.node.HasReady() {
		if err := m.turn(now); err != nil {
			return err
		}
	}
	return nil
}

// turn carries out one Ready: write, send, apply, advance. What a leader tells its followers goes out
// before it writes, so that all of them write at the same time: see [Member.split].
func (m *Member) turn(now time.Time) error {
	rd := m.core.node.Ready()
	m.core.observe() // who sees a message sent must not see this member lead after it gave way
	if !etcdraft.IsEmptySnap(rd.Snapshot) {
		if err := m.install(rd.Snapshot.GetMetadata(), rd.HardState); err != nil {
			return err
		}
	}
	free, bound := m.split(rd)
	if len(free) > 0 {
		m.cfg.Send(free)
	}
	if err := m.cfg.Storage.Save(rd.HardState, rd.Entries, rd.MustSync); err != nil {
		return err
	}
	if len(bound) > 0 {
		m.cfg.Send(bound)
	}
	for _, e := range rd.CommittedEntries {
		if err := m.core.apply(e, m.cfg.Machine, &m.marks); err != nil {
			return err
		}
		m.grown += uint64(len(e.GetData()))
	}
	m.core.advance(rd, now)
	if m.core.leader != m.leader {
		if m.leader = m.core.leader; m.leader != etcdraft.None {
			m.changes++
		}
	}
	return nil
}

// split tells the messages that promise nothing about this member's disk from those that must wait until
// it has written. Free are a leader's appends and heartbeats (raft thesis, 10.2.1): its term and vote are
// on disk since before it was elected, and it counts itself among those who have an entry only when the
// turn ends, after the write. If the write fails, the followers hold entries that were never
// acknowledged, as after any crash of a leader.
func (m *Member) split(rd etcdraft.Ready) (free, bound []*raftpb.Message) {
	if m.core.role != etcdraft.StateLeader || len(rd.Entries) == 0 {
		return nil, rd.Messages
	}
	for _, message := range rd.Messages {
		switch message.GetType() {
		case raftpb.MsgApp, raftpb.MsgHeartbeat:
			free = append(free, message)
		default:
			bound = append(bound, message)
		}
	}
	return free, bound
}

// install takes over a snapshot of the leader in place of the log.
func (m *Member) install(meta *raftpb.SnapshotMetadata, hard *raftpb.HardState) error {
	if err := m.cfg.Storage.ReadSnapshot(meta.GetIndex(), meta.GetTerm(), m.cfg.Machine.Restore); err != nil {
		return err
	}
	if err := m.cfg.Storage.Install(meta, hard); err != nil {
		return err
	}
	m.core.restored(meta)
	m.marks.restored()
	m.snapshot, m.covered = meta.GetIndex(), meta.GetConfState()
	m.installs++
	return nil
}

// beginSnapshot starts to write a snapshot if it is time.
func (m *Member) beginSnapshot() error {
	entries := m.core.applied - m.snapshot
	due := entries >= m.cfg.SnapshotEntries || m.grown >= m.cfg.SnapshotBytes || m.wanted
	if m.writing || entries == 0 || !due {
		return nil
	}
	body, err := m.cfg.Machine.Snapshot()
	if err != nil {
		return err
	}
	meta := &raftpb.SnapshotMetadata{
		Index: new(m.core.applied), Term: new(m.core.appliedTerm),
		ConfState: proto.Clone(m.core.conf).(*raftpb.ConfState),
	}
	keep := min(m.cfg.KeepEntries, entries*m.cfg.SnapshotBytes/max(m.grown, 1))
	m.grown, m.writing, m.wanted = 0, true, false
	m.aside(func() error {
		return m.cfg.Storage.WriteSnapshot(meta, body)
	}, func(err error) {
		m.writing = false
		if err == nil {
			err = m.cfg.Storage.Compact(meta, keep)
		}
		if err == nil && meta.GetIndex() > m.snapshot {
			m.snapshot, m.covered = meta.GetIndex(), meta.GetConfState()
		}
		m.stopWith(err)
	})
	return nil
}

// coveringStorage is the storage as the protocol library sees it. A member takes only a snapshot that has
// it among the members. The newest may be from before a member was added, and the next far away: then the
// next is asked for, and none is there until it is written.
type coveringStorage struct {
	etcdraft.Storage
	m *Member
}

func (s coveringStorage) Snapshot() (*raftpb.Snapshot, error) {
	if c := s.m.core; c != nil && !covers(s.m.covered, c.conf) {
		s.m.wanted = true
		return nil, etcdraft.ErrSnapshotTemporarilyUnavailable
	}
	return s.Storage.Snapshot()
}

// covers says whether all members are in a snapshot.
func covers(in, all *raftpb.ConfState) bool {
	there := slices.Concat(in.GetVoters(), in.GetVotersOutgoing(), in.GetLearners())
	return !slices.ContainsFunc(slices.Concat(all.GetVoters(), all.GetLearners()), func(id uint64) bool {
		return !slices.Contains(there, id)
	})
}

// compareStates has a leader append what is due for the comparison of states, and says whether it did.
func (m *Member) compareStates() bool {
	c := m.core
	if !c.established() || c.handover.busy() || len(c.conf.GetVoters())+len(c.conf.GetLearners()) < 2 {
		return false
	}
	before := m.office
	data := m.office.due(c.term, c.applied, m.cfg.SnapshotEntries, &m.marks)
	if data == nil {
		return false
	}
	if err := c.append(&raftpb.Entry{Data: data}); err != nil {
		m.office = before // too much is under way: later
		return false
	}
	return true
}

// Leadership says whether this member may act as the leader now.
func (m *Member) Leadership(now time.Time) Leadership {
	if m.err != nil {
		return Leadership{Term: m.core.term}
	}
	return m.core.leadership(now)
}

// Lease is until when the member may act if it leads, should nothing more happen; zero if it decides
// alone.
func (m *Member) Lease() time.Time {
	if m.core.alone() {
		return time.Time{}
	}
	return m.core.lease.until
}

// Removed says whether this member learned that it was removed from the group.
func (m *Member) Removed() bool { return m.core.removed }

// Err is the error that stopped the member.
func (m *Member) Err() error { return m.err }

// Stop ends all that is under way with an error. Nothing else may be called after it.
func (m *Member) Stop(err error) {
	if m.err == nil {
		m.err = err
	}
	m.core.end(err)
}

// Status returns the figures of this member.
func (m *Member) Status(now time.Time) Status {
	s := Status{}
	m.figures(&s, now)
	m.others(&s)
	return s
}

// figures fills in what is cheap to look up.
func (m *Member) figures(s *Status, now time.Time) {
	// An error of the log has stopped or will stop the member; the figures then do not matter.
	s.First, _ = m.cfg.Storage.FirstIndex()
	s.Last, _ = m.cfg.Storage.LastIndex()
	c := m.core
	s.ID, s.Leader, s.Leading = c.id, c.leader, m.Leadership(now).Leader
	s.Term, s.Commit, s.Applied = c.term, c.commit, c.applied
	s.Snapshot, s.SnapshotUnderWay, s.SnapshotsReceived = m.snapshot, m.writing, m.installs
	s.Proposals, s.Waiting, s.LeaderChanges = c.seq, len(c.waiting), m.changes
	s.Removed, s.ChangePending = c.removed, c.change != nil
	s.HandingOver = c.role == etcdraft.StateLeader && c.handover.term == c.term
}

// others fills in what is about members.
func (m *Member) others(s *Status) {
	c := m.core
	s.Voters = slices.Sorted(slices.Values(c.conf.GetVoters()))
	s.Learners = slices.Sorted(slices.Values(c.conf.GetLearners()))
	s.Peers = nil
	last, _ := m.cfg.Storage.LastIndex() // see figures
	peers := make(map[uint64]*PeerStatus)
	for _, id := range append(slices.Clone(s.Voters), s.Learners...) {
		if id != c.id {
			peers[id] = &PeerStatus{ID: id, Voter: c.isVoter(id), Learner: c.isLearner(id), LastHeard: c.contact.heard[id]}
		}
	}
	if c.role == etcdraft.StateLeader {
		c.node.WithProgress(func(id uint64, _ etcdraft.ProgressType, pr tracker.Progress) {
			if p, ok := peers[id]; ok {
				p.Match, p.Lag = pr.Match, last-min(pr.Match, last)
				p.Active, p.CaughtUp = c.answers(id), c.answers(id) && c.keepsUp(pr)
				p.SnapshotUnderWay = pr.State == tracker.StateSnapshot
			}
		})
	}
	for _, p := range peers {
		s.Peers = append(s.Peers, *p)
	}
	slices.SortFunc(s.Peers, func(a, b PeerStatus) int { return cmp.Compare(a.ID, b.ID) })
}
