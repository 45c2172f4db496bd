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

// entryFormat is the first byte of an entry's data; the number of the proposal and the payload
// follow. The empty entry of a new leader has no data at all.
const entryFormat = 1

// Leadership says whether this peer leads.
type Leadership struct {
	// Leader is set once an entry of this term, in which the peer leads, was applied, and as long
	// as a quorum keeps it in office.
	Leader bool
	// Term is the newest term that the peer knows.
	Term uint64
}

// core is the protocol and the proposals under way. It is pure: it keeps no clock, file or
// goroutine (the library draws the election time-outs, nothing else). Not for concurrent use.
type core struct {
	id      uint64
	node    *etcdraft.RawNode
	conf    *raftpb.ConfState // as of the last applied entry
	waiting map[proposalKey]*proposal
	seq     uint64 // of the newest proposal
	ledTerm uint64 // in which all that waits was appended

	// As of the last turn.
	role        etcdraft.StateType
	leader      uint64
	term        uint64
	commit      uint64
	applied     uint64
	appliedTerm uint64
	handingOver bool // to another peer, which may lead at any moment

	// The lease of a leader with voters beside it (CLU-33).
	leaseTime time.Duration
	lease     time.Time // until then no other can be elected
	rounds    []round   // questions to the quorum that were not answered yet, the oldest first
	roundSeq  uint64
}

// round is one question to the voters whether they still follow.
type round struct {
	seq   uint64
	begun time.Time
}

// proposalKey names a proposal for ever: there is one leader in a term, and it counts.
type proposalKey struct{ term, seq uint64 }

// proposal is one caller's wish; a core hands it back, with its outcome, exactly once.
type proposal struct {
	data    []byte
	deliver func(index uint64, result any, err error) // must not block
}

// coreConfig is what a core starts from.
type coreConfig struct {
	id      uint64
	tick    time.Duration // how often tick is called
	storage etcdraft.Storage
	applied *raftpb.SnapshotMetadata // where the state machine stands
	pile    uint64                   // bytes that a leader without a quorum takes
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
		id: cfg.id, node: node, conf: raftpb.EnsureConfState(cfg.applied.GetConfState()),
		waiting: make(map[proposalKey]*proposal), leaseTime: leaseTicks * cfg.tick,
		applied: cfg.applied.GetIndex(), appliedTerm: cfg.applied.GetTerm(),
	}
	c.observe()
	return c, nil
}

// observe takes over the protocol's view of itself.
func (c *core) observe() {
	s := c.node.BasicStatus()
	if s.RaftState != etcdraft.StateLeader || s.GetTerm() != c.term {
		c.lease, c.rounds = time.Time{}, nil
	}
	c.role, c.leader, c.term, c.commit = s.RaftState, s.Lead, s.GetTerm(), s.GetCommit()
	c.handingOver = s.LeadTransferee != etcdraft.None
}

// alone says whether this member decides everything by itself.
func (c *core) alone() bool {
	voters := c.conf.GetVoters()
	return len(voters) == 1 && voters[0] == c.id && len(c.conf.GetVotersOutgoing()) == 0
}

// campaign starts an election if this member alone decides it.
func (c *core) campaign() error {
	if !c.alone() {
		return nil
	}
	return c.node.Campaign()
}

// tick lets one tick of the protocol's time pass. now is on the monotonic clock.
func (c *core) tick(now time.Time) {
	c.node.Tick()
	c.observe()
	c.giveUp()
	c.renew(now)
}

// renew asks the voters for a longer lease.
//
// A voter that hears from the leader does not vote for another, nor stand itself, for electionTicks
// ticks. So when a quorum has answered a heartbeat, no other can be elected for that long after the
// heartbeat was sent, less one tick because ticks are not aligned, less one that a ticker may
// deliver late. The lease is shorter by one more, for clocks that run at different speeds. The
// library's question for a safe read is such a heartbeat with an answer that can be told apart.
func (c *core) renew(now time.Time) {
	if c.role != etcdraft.StateLeader || c.appliedTerm != c.term || c.alone() {
		return
	}
	c.roundSeq++
	c.rounds = append(c.rounds, round{c.roundSeq, now})
	c.node.ReadIndex(binary.BigEndian.AppendUint64(nil, c.roundSeq))
}

// answered takes the quorum's answers to rounds.
func (c *core) answered(answers []etcdraft.ReadState) {
	for _, a := range answers {
		if len(a.RequestCtx) != 8 {
			continue
		}
		seq := binary.BigEndian.Uint64(a.RequestCtx)
		for len(c.rounds) > 0 && c.rounds[0].seq <= seq {
			c.lease = c.rounds[0].begun.Add(c.leaseTime)
			c.rounds = c.rounds[1:]
		}
	}
}

// step takes a message from another peer. Messages that make no sense, as from a member that was
// removed, are refused with an error and change nothing.
func (c *core) step(m *raftpb.Message) error { return c.node.Step(m) }

// propose appends the batch as entries that follow each other, or delivers an error to all.
func (c *core) propose(batch []*proposal) {
	c.observe()
	if c.role != etcdraft.StateLeader {
		refuse(batch, &NotLeaderError{Leader: c.leader})
		return
	}
	entries := make([]*raftpb.Entry, len(batch))
	for i, p := range batch {
		entries[i] = &raftpb.Entry{Data: encodeEntry(c.seq+uint64(i)+1, p.data)}
	}
	err := c.node.Step(&raftpb.Message{Type: raftpb.MsgProp.Enum(), From: new(c.id), Entries: entries})
	switch {
	case errors.Is(err, etcdraft.ErrProposalDropped) && c.handingOver:
		refuse(batch, &NotLeaderError{})
		return
	case errors.Is(err, etcdraft.ErrProposalDropped):
		refuse(batch, ErrBusy)
		return
	case err != nil:
		refuse(batch, fmt.Errorf("append proposal: %w", err))
		return
	}
	c.giveUp()
	c.ledTerm = c.term
	for _, p := range batch {
		c.seq++
		p.data = nil
		c.waiting[proposalKey{c.term, c.seq}] = p
	}
}

func refuse(batch []*proposal, err error) {
	for _, p := range batch {
		p.deliver(0, nil, err)
	}
}

// apply carries out one committed entry: a change of members on the protocol, a proposal on the
// state machine. An error means that the peer must stop.
func (c *core) apply(e *raftpb.Entry, machine StateMachine) error {
	if want := c.applied + 1; e.GetIndex() != want {
		return fmt.Errorf("apply log index %d: %d is next", e.GetIndex(), want)
	}
	if err := c.applyData(e, machine); err != nil {
		return fmt.Errorf("apply log index %d: %w", e.GetIndex(), err)
	}
	c.applied, c.appliedTerm = e.GetIndex(), e.GetTerm()
	return nil
}

func (c *core) applyData(e *raftpb.Entry, machine StateMachine) error {
	switch e.GetType() {
	case raftpb.EntryConfChange:
		change := &raftpb.ConfChange{}
		if err := proto.Unmarshal(e.GetData(), change); err != nil {
			return fmt.Errorf("decode change of members: %w", err)
		}
		c.conf = c.node.ApplyConfChange(change)
		return nil
	case raftpb.EntryConfChangeV2:
		change := &raftpb.ConfChangeV2{}
		if err := proto.Unmarshal(e.GetData(), change); err != nil {
			return fmt.Errorf("decode change of members: %w", err)
		}
		c.conf = c.node.ApplyConfChange(change)
		return nil
	}
	if len(e.GetData()) == 0 {
		return nil
	}
	seq, data, err := decodeEntry(e.GetData())
	if err != nil {
		return err
	}
	result, err := machine.Apply(e.GetIndex(), data)
	if err != nil {
		return err
	}
	key := proposalKey{e.GetTerm(), seq}
	if p, ok := c.waiting[key]; ok {
		delete(c.waiting, key)
		p.deliver(e.GetIndex(), result, nil)
	}
	return nil
}

// restored tells the core that the state machine now stands at a snapshot.
func (c *core) restored(at *raftpb.SnapshotMetadata) {
	c.conf = raftpb.EnsureConfState(at.GetConfState())
	c.applied, c.appliedTerm = at.GetIndex(), at.GetTerm()
}

// advance ends a turn.
func (c *core) advance(rd etcdraft.Ready, now time.Time) {
	c.answered(rd.ReadStates)
	c.node.Advance(rd)
	c.observe()
	c.giveUp()
	if c.lease.IsZero() && len(c.rounds) == 0 {
		c.renew(now) // the first of a new leader need not wait for a tick
	}
}

// giveUp drops the proposals of a term in which the peer no longer leads: their entries may be
// replaced by those of another leader, or committed by it.
func (c *core) giveUp() {
	if c.role != etcdraft.StateLeader || c.ledTerm != c.term {
		c.abandon(ErrLeadershipLost)
	}
}

// abandon drops all proposals, the oldest first.
func (c *core) abandon(err error) {
	if len(c.waiting) == 0 {
		return
	}
	keys := slices.SortedFunc(maps.Keys(c.waiting), func(a, b proposalKey) int { return cmp.Compare(a.seq, b.seq) })
	for _, key := range keys {
		p := c.waiting[key]
		delete(c.waiting, key)
		p.deliver(0, nil, err)
	}
}

// leadership says whether this peer may act as the leader.
func (c *core) leadership(now time.Time) Leadership {
	leads := c.role == etcdraft.StateLeader && c.appliedTerm == c.term && !c.handingOver
	return Leadership{Leader: leads && (c.alone() || now.Before(c.lease)), Term: c.term}
}

func encodeEntry(seq uint64, data []byte) []byte {
	out := make([]byte, 0, 1+binary.MaxVarintLen64+len(data))
	out = binary.AppendUvarint(append(out, entryFormat), seq)
	return append(out, data...)
}

func decodeEntry(data []byte) (seq uint64, payload []byte, err error) {
	if data[0] != entryFormat {
		return 0, nil, fmt.Errorf("entry format %d is unknown to this clusterd: start a newer version on this node", data[0])
	}
	seq, n := binary.Uvarint(data[1:])
	if n <= 0 {
		return 0, nil, errors.New("entry has no proposal number")
	}
	return seq, data[1+n:], nil
}
