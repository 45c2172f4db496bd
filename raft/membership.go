package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// ChangeKind is what becomes of a member.
type ChangeKind int

const (
	// AddLearner adds a member that gets the log and does not vote. Its id must never have been used.
	AddLearner ChangeKind = iota + 1
	// Promote makes a learner a voter.
	Promote
	// Demote makes a voter a learner.
	Demote
	// Remove removes a voter or a learner for ever.
	Remove
)

func (k ChangeKind) String() string {
	switch k {
	case AddLearner:
		return "add learner"
	case Promote:
		return "promote"
	case Demote:
		return "demote"
	case Remove:
		return "remove"
	}
	return fmt.Sprintf("change %d", int(k))
}

// MemberChange is one change of the members of a group.
type MemberChange struct {
	Kind ChangeKind
	ID   uint64
}

var (
	// ErrChangePending: another change of members is under way; only one is at a time.
	ErrChangePending = errors.New("another change of raft members is under way")
	// ErrNotCaughtUp: the learner to promote, or the peer to lead, lacks entries or does not answer.
	ErrNotCaughtUp = errors.New("raft member is not caught up")
	// ErrNoMember: the change or the transfer is about a peer that is not such a member.
	ErrNoMember = errors.New("no such raft member")
	// ErrLeaderStays: the leader can be removed or demoted only after it handed over to another.
	ErrLeaderStays = errors.New("raft member leads: hand over first")
	// ErrNoQuorum: after the change too few of the voters would answer.
	ErrNoQuorum = errors.New("too few raft voters would be left that answer")
)

// changeContextBytes is the length of the number that a change carries.
const changeContextBytes = 8

// change is a change of members that was appended.
type change struct {
	key   proposalKey
	ended func(error)
}

// changeMembers appends a change of members, or ends it with an error. What is as wanted already ends
// well at once, so that a change whose outcome was left open can be tried again.
func (c *core) changeMembers(wish MemberChange, ended func(error)) {
	c.observe()
	kind, err := c.checkChange(wish)
	if err != nil || kind == nil {
		ended(err)
		return
	}
	key := proposalKey{c.term, c.seq + 1}
	data, err := proto.Marshal(&raftpb.ConfChange{
		Type: kind, NodeId: new(wish.ID), Context: binary.BigEndian.AppendUint64(nil, key.seq),
	})
	if err != nil {
		ended(fmt.Errorf("encode change of members: %w", err))
		return
	}
	if err := c.append(&raftpb.Entry{Type: raftpb.EntryConfChange.Enum(), Data: data}); err != nil {
		ended(err)
		return
	}
	c.seq++
	c.change = &change{key, ended}
}

// checkChange says how a change is written in the log; nil without an error if there is nothing to
// change.
func (c *core) checkChange(wish MemberChange) (*raftpb.ConfChangeType, error) {
	refused := func(err error) (*raftpb.ConfChangeType, error) {
		return nil, fmt.Errorf("%v of raft member %d: %w", wish.Kind, wish.ID, err)
	}
	// A leader that did not apply an entry of its term may miss a change that is committed already.
	if !c.established() || c.handover.busy() {
		return nil, &NotLeaderError{Leader: c.otherLeader()}
	}
	if c.change != nil {
		return refused(ErrChangePending)
	}
	voter, learner := c.isVoter(wish.ID), c.isLearner(wish.ID)
	after := slices.Clone(c.conf.GetVoters())
	without := func() []uint64 {
		return slices.DeleteFunc(after, func(id uint64) bool { return id == wish.ID })
	}
	switch {
	case wish.ID == etcdraft.None:
		return refused(ErrNoMember)
	case wish.Kind == AddLearner && voter:
		return refused(errors.New("it votes already: demote it"))
	case wish.Kind == AddLearner && learner, wish.Kind == Promote && voter,
		wish.Kind == Demote && learner, wish.Kind == Remove && !voter && !learner:
		return nil, nil
	case wish.Kind == AddLearner:
		return raftpb.ConfChangeAddLearnerNode.Enum(), nil
	case wish.Kind == Promote && learner:
		if !c.caughtUp(wish.ID) {
			return refused(ErrNotCaughtUp)
		}
		if err := c.keepsQuorum(append(after, wish.ID)); err != nil {
			return refused(err)
		}
		return raftpb.ConfChangeAddNode.Enum(), nil
	case wish.Kind == Remove && learner:
		return raftpb.ConfChangeRemoveNode.Enum(), nil
	case (wish.Kind == Demote || wish.Kind == Remove) && voter:
		if wish.ID == c.id {
			return refused(ErrLeaderStays)
		}
		if err := c.keepsQuorum(without()); err != nil {
			return refused(err)
		}
		if wish.Kind == Demote {
			return raftpb.ConfChangeAddLearnerNode.Enum(), nil
		}
		return raftpb.ConfChangeRemoveNode.Enum(), nil
	case wish.Kind == Promote, wish.Kind == Demote:
		return refused(ErrNoMember)
	}
	return refused(errors.New("unknown kind of change"))
}

// keepsQuorum refuses voters of whom too few answer: the group would stand still with them.
func (c *core) keepsQuorum(voters []uint64) error {
	answer := 0
	for _, id := range voters {
		if c.answers(id) {
			answer++
		}
	}
	if answer <= len(voters)/2 {
		return fmt.Errorf("%w: %d of %d", ErrNoQuorum, answer, len(voters))
	}
	return nil
}

// otherLeader is who leads, if it is not this member.
func (c *core) otherLeader() uint64 {
	if c.leader == c.id {
		return etcdraft.None
	}
	return c.leader
}

// contact is what a member knows of how well it reaches the others.
type contact struct {
	heard    map[uint64]time.Time  // when the last message came
	answered map[uint64]uint64     // the tick at which a member answered this leader last
	commits  [electionTicks]uint64 // commit index at each of the last ticks
}

func newContact() contact {
	return contact{heard: make(map[uint64]time.Time), answered: make(map[uint64]uint64)}
}

// elected begins anew: what was known as the leader of another term does not count.
func (c *contact) elected(commit uint64) {
	clear(c.answered)
	for i := range c.commits {
		c.commits[i] = commit
	}
}

// forget drops those that are not members.
func (c *contact) forget(member func(uint64) bool) {
	for id := range c.heard {
		if !member(id) {
			delete(c.heard, id)
		}
	}
	for id := range c.answered {
		if !member(id) {
			delete(c.answered, id)
		}
	}
}

// answers says whether a member answered this leader within the last election time-out.
func (c *core) answers(id uint64) bool {
	at, ok := c.contact.answered[id]
	return id == c.id || ok && c.ticks-at < electionTicks
}

// caughtUp says whether a member answers and had everything that was committed an election time-out
// ago: as a voter it then holds up no commit for longer than an election would.
func (c *core) caughtUp(id uint64) bool {
	if !c.answers(id) {
		return false
	}
	ok := false
	c.node.WithProgress(func(at uint64, _ etcdraft.ProgressType, pr tracker.Progress) {
		if at == id {
			ok = c.keepsUp(pr)
		}
	})
	return ok
}

func (c *core) keepsUp(pr tracker.Progress) bool {
	return pr.State == tracker.StateReplicate && pr.Match >= c.contact.commits[(c.ticks+1)%electionTicks]
}
