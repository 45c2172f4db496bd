package raft

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Leadership says whether this peer leads.
type Leadership struct {
	// Leader is set once an entry of this term, in which the peer leads, was applied, and as long
	// as a quorum keeps it in office.
	Leader bool
	// Term is the newest term that the peer knows.
	Term uint64
}

// Proposal is one entry for the log.
type Proposal struct {
	Data []byte
	// Ended is called once: with the index of the entry and what the state machine returned for it, or
	// with an error; the package comment says which errors leave the outcome open. It must neither
	// block nor call the member or its peer.
	Ended func(index uint64, result any, err error)
}

// core is the protocol and the proposals under way. It is pure: it keeps no clock, file or
// goroutine (the library draws the election time-outs, nothing else). Not for concurrent use.
type core struct {
	id      uint64
	node    *etcdraft.RawNode
	conf    *raftpb.ConfState // as of the last applied entry
	confs   uint64            // counts its changes
	member  bool              // it was in conf once
	removed bool              // and is not any more
	waiting map[proposalKey]*Proposal
	change  *change // of the members, appended by this leader and not applied yet
	seq     uint64  // of the newest proposal or change
	ledTerm uint64  // in which all that waits was appended
	ticks   uint64

	// As of the last turn.
	role        etcdraft.StateType
	leader      uint64
	term        uint64
	commit      uint64
	applied     uint64
	appliedTerm uint64
	target      uint64 // to which the library hands over, 0 if to none

	lease    lease
	handover handover
	reads    reads
	contact  contact
}

// proposalKey names a proposal for ever: there is one leader in a term, and it counts.
type proposalKey struct{ term, seq uint64 }

// coreConfig is what a core starts from.
type coreConfig struct {
	id      uint64
	tick    time.Duration // how often tick is called
	storage etcdraft.Storage
	applied *raftpb.SnapshotMetadata // where the state machine stands
	pile    uint64                   // bytes that a leader without a quorum takes
	nonce   uint64                   // differs in each life of the member
	logger  etcdraft.Logger
}

func newCore(cfg coreConfig) (*core, error) {
	node, err := etcdraft.NewRawNode(&etcdraft.Config{
		ID:                        cfg.id,
		ElectionTick:              electionTicks,
		HeartbeatTick:             heartbeatTicks,
		Storage:                   cfg.storage,
		Applied:                   cfg.applied.GetIndex(),
		MaxSizePerMsg:             maxMessageBytes,
		MaxCommittedSizePerReady:  maxApplyBytes,
		MaxUncommittedEntriesSize: cfg.pile,
		MaxInflightMsgs:           maxInflightMessages,
		CheckQuorum:               true,
		PreVote:                   true,
		StepDownOnRemoval:         true,
		// A proposal of a peer that does not lead would be appended under a number of the leader.
		DisableProposalForwarding: true,
		Logger:                    cfg.logger,
	})
	if err != nil {
		return nil, err
	}
	c := &core{
		id: cfg.id, node: node, waiting: make(map[proposalKey]*Proposal),
		applied: cfg.applied.GetIndex(), appliedTerm: cfg.applied.GetTerm(),
		lease: lease{time: leaseTicks * cfg.tick}, reads: reads{nonce: cfg.nonce}, contact: newContact(),
	}
	c.reconfigure(raftpb.EnsureConfState(cfg.applied.GetConfState()))
	c.observe()
	return c, nil
}

// observe takes over the protocol's view of itself.
func (c *core) observe() {
	s := c.node.BasicStatus()
	if s.RaftState != etcdraft.StateLeader || s.GetTerm() != c.term {
		c.lease.end()
	}
	if s.RaftState == etcdraft.StateLeader && (c.role != etcdraft.StateLeader || s.GetTerm() != c.term) {
		c.contact.elected(s.GetCommit())
	}
	c.role, c.leader, c.term, c.commit = s.RaftState, s.Lead, s.GetTerm(), s.GetCommit()
	c.target = s.LeadTransferee
}

// reconfigure takes over the members.
func (c *core) reconfigure(conf *raftpb.ConfState) {
	c.conf = conf
	c.confs++
	in := c.isMember(c.id)
	c.removed = c.member && !in
	c.member = c.member || in
	c.contact.forget(c.isMember)
}

func (c *core) isVoter(id uint64) bool {
	return slices.Contains(c.conf.GetVoters(), id) || slices.Contains(c.conf.GetVotersOutgoing(), id)
}

func (c *core) isLearner(id uint64) bool {
	return slices.Contains(c.conf.GetLearners(), id) || slices.Contains(c.conf.GetLearnersNext(), id)
}

func (c *core) isMember(id uint64) bool { return c.isVoter(id) || c.isLearner(id) }

// alone says whether this member decides everything by itself.
func (c *core) alone() bool {
	voters := c.conf.GetVoters()
	return len(voters) == 1 && voters[0] == c.id && len(c.conf.GetVotersOutgoing()) == 0
}

// established says whether this member leads and an entry of its term was applied: then it knows of
// all that was ever committed, and of all changes of members.
func (c *core) established() bool {
	return c.role == etcdraft.StateLeader && c.appliedTerm == c.term
}

// tick lets one tick of the protocol's time pass. now is on the monotonic clock.
func (c *core) tick(now time.Time) {
	c.ticks++
	c.node.Tick()
	c.observe()
	c.giveUp()
	c.contact.commits[c.ticks%electionTicks] = c.commit
	c.proceed()
	c.renew(now)
	c.ask()
}

// step takes a message from another peer. Messages that make no sense are refused with an error and
// change nothing.
func (c *core) step(m *raftpb.Message, now time.Time) error {
	if err := c.admit(m); err != nil {
		return err
	}
	if c.isMember(m.GetFrom()) {
		c.contact.heard[m.GetFrom()] = now
		if c.role == etcdraft.StateLeader && m.GetTerm() == c.term && etcdraft.IsResponseMsg(m.GetType()) {
			c.contact.answered[m.GetFrom()] = c.ticks
		}
	}
	return c.node.Step(m)
}

var (
	errStrangeMessage = errors.New("raft message that no peer sends")
	errNotForMe       = errors.New("raft message for another member")
	errTooEarly       = errors.New("raft vote refused: this member started too short a time ago")
)

// admit says whether a message may be given to the protocol library, which trusts what it gets.
func (c *core) admit(m *raftpb.Message) error {
	switch {
	case m.GetTo() != c.id:
		return fmt.Errorf("%w: %d", errNotForMe, m.GetTo())
	case m.GetFrom() == etcdraft.None || m.GetFrom() == c.id:
		return fmt.Errorf("%w: %v from %d", errStrangeMessage, m.GetType(), m.GetFrom())
	case (m.GetTerm() == 0) != (m.GetType() == raftpb.MsgReadIndex):
		return fmt.Errorf("%w: %v of term %d", errStrangeMessage, m.GetType(), m.GetTerm())
	}
	switch m.GetType() {
	case raftpb.MsgVote, raftpb.MsgPreVote:
		// A candidate that was called by the leader has its leave: see handover.
		if c.ticks < silentTicks && string(m.GetContext()) != transferContext {
			return errTooEarly
		}
	case raftpb.MsgHeartbeatResp:
		return c.lease.admit(m.GetContext())
	case raftpb.MsgReadIndex:
		// The library would answer the leader that is the only voter from before its own first entry,
		// and pass on what comes to another.
		if !c.established() || len(m.GetEntries()) != 1 {
			return &NotLeaderError{Leader: c.leader}
		}
		c.lease.asked(c)
	case raftpb.MsgApp:
		return admitEntries(m)
	case raftpb.MsgAppResp, raftpb.MsgVoteResp, raftpb.MsgPreVoteResp, raftpb.MsgSnap,
		raftpb.MsgHeartbeat, raftpb.MsgTimeoutNow, raftpb.MsgReadIndexResp:
	default:
		return fmt.Errorf("%w: %v", errStrangeMessage, m.GetType())
	}
	return nil
}

// admitEntries checks that the entries of a message follow each other.
func admitEntries(m *raftpb.Message) error {
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		if e.GetIndex() != index+1 || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("%w: entry %d of term %d follows %d of term %d, in term %d",
				errStrangeMessage, e.GetIndex(), e.GetTerm(), index, term, m.GetTerm())
		}
		index, term = e.GetIndex(), e.GetTerm()
	}
	return nil
}

// propose appends the batch as entries that follow each other, or ends all with an error.
func (c *core) propose(batch []Proposal) {
	c.observe()
	if c.role != etcdraft.StateLeader {
		refuse(batch, &NotLeaderError{Leader: c.leader})
		return
	}
	entries := make([]*raftpb.Entry, len(batch))
	for i, p := range batch {
		entries[i] = &raftpb.Entry{Data: encodeEntry(c.seq+uint64(i)+1, p.Data)}
	}
	if err := c.append(entries...); err != nil {
		refuse(batch, err)
		return
	}
	for i := range batch {
		c.seq++
		p := &batch[i]
		p.Data = nil
		c.waiting[proposalKey{c.term, c.seq}] = p
	}
}

// append appends entries to the log of this leader.
func (c *core) append(entries ...*raftpb.Entry) error {
	if c.handover.busy() {
		return &NotLeaderError{}
	}
	err := c.node.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(c.id), Entries: entries})
	switch {
	case errors.Is(err, etcdraft.ErrProposalDropped):
		return ErrBusy
	case err != nil:
		return fmt.Errorf("append proposal: %w", err)
	}
	c.giveUp()
	c.ledTerm = c.term
	return nil
}

func refuse(batch []Proposal, err error) {
	for _, p := range batch {
		p.Ended(0, nil, err)
	}
}

// apply carries out one committed entry: a change of members on the protocol, a proposal on the
// state machine. An error means that the peer must stop.
func (c *core) apply(e *raftpb.Entry, machine StateMachine, marks *marks) error {
	if want := c.applied + 1; e.GetIndex() != want {
		return fmt.Errorf("apply log index %d: %d is next", e.GetIndex(), want)
	}
	if err := c.applyData(e, machine, marks); err != nil {
		return fmt.Errorf("apply log index %d: %w", e.GetIndex(), err)
	}
	c.applied, c.appliedTerm = e.GetIndex(), e.GetTerm()
	return nil
}

func (c *core) applyData(e *raftpb.Entry, machine StateMachine, marks *marks) error {
	if e.GetType() != raftpb.EntryNormal {
		return c.applyChange(e)
	}
	if len(e.GetData()) == 0 {
		return nil
	}
	entry, err := decodeEntry(e.GetData())
	if err != nil {
		return err
	}
	switch entry.format {
	case entryMark:
		return marks.take(e.GetIndex())
	case entrySum:
		return marks.compare(entry.number, string(entry.payload))
	}
	result, err := machine.Apply(e.GetIndex(), entry.payload)
	if err != nil {
		return err
	}
	key := proposalKey{e.GetTerm(), entry.number}
	if p, ok := c.waiting[key]; ok {
		delete(c.waiting, key)
		p.Ended(e.GetIndex(), result, nil)
	}
	return nil
}

// restored tells the core that the state machine now stands at a snapshot.
func (c *core) restored(at *raftpb.SnapshotMetadata) {
	c.reconfigure(raftpb.EnsureConfState(at.GetConfState()))
	c.applied, c.appliedTerm = at.GetIndex(), at.GetTerm()
}

// advance ends a turn.
func (c *core) advance(rd etcdraft.Ready, now time.Time) {
	c.answered(rd.ReadStates)
	c.node.Advance(rd)
	c.observe()
	c.giveUp()
	c.proceed()
	c.lease.begin(c, now) // the first of a new leader need not wait for a tick
	c.ask()
	c.reads.finish(c.applied)
}

// answered takes the answers to rounds of the lease and to reads.
func (c *core) answered(answers []etcdraft.ReadState) {
	for _, a := range answers {
		switch len(a.RequestCtx) {
		case leaseContextBytes:
			c.lease.extend(binary.BigEndian.Uint64(a.RequestCtx))
		case readContextBytes:
			c.reads.answer(a.RequestCtx, a.Index)
		}
	}
}

// giveUp drops the proposals of a term in which the peer no longer leads: their entries may be
// replaced by those of another leader, or committed by it.
func (c *core) giveUp() {
	if c.role != etcdraft.StateLeader || c.ledTerm != c.term {
		c.abandon(ErrLeadershipLost)
	}
}

// abandon drops all proposals, the oldest first, and a change of members.
func (c *core) abandon(err error) {
	if change := c.change; change != nil {
		c.change = nil
		change.ended(err)
	}
	if len(c.waiting) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(c.waiting), func(a, b proposalKey) int { return cmp.Compare(a.seq, b.seq) })
	for _, key := range keys {
		p := c.waiting[key]
		delete(c.waiting, key)
		p.Ended(0, nil, err)
	}
}

// end drops all that anybody waits for.
func (c *core) end(err error) {
	c.abandon(err)
	c.handover.tell(err)
	c.reads.end(err)
}

// leadership says whether this peer may act as the leader.
func (c *core) leadership(now time.Time) Leadership {
	leads := c.established() && c.handover.term != c.term
	return Leadership{Leader: leads && (c.alone() || c.lease.holds(now)), Term: c.term}
}

// applyChange carries out a committed change of members.
func (c *core) applyChange(e *raftpb.Entry) error {
	var (
		next raftpb.ConfChangeI
		seq  uint64
	)
	switch e.GetType() {
	case raftpb.EntryConfChange:
		one := &raftpb.ConfChange{}
		if err := proto.Unmarshal(e.GetData(), one); err != nil {
			return fmt.Errorf("decode change of members: %w", err)
		}
		next = one
		if len(one.GetContext()) == changeContextBytes {
			seq = binary.BigEndian.Uint64(one.GetContext())
		}
	case raftpb.EntryConfChangeV2:
		several := &raftpb.ConfChangeV2{}
		if err := proto.Unmarshal(e.GetData(), several); err != nil {
			return fmt.Errorf("decode change of members: %w", err)
		}
		next = several
	default:
		return fmt.Errorf("entry type %v is unknown to this clusterd: start a newer version on this node", e.GetType())
	}
	c.reconfigure(c.node.ApplyConfChange(next))
	if change := c.change; change != nil && change.key == (proposalKey{e.GetTerm(), seq}) {
		c.change = nil
		change.ended(nil)
	}
	return nil
}
