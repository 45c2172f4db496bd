package raft

import (
	"errors"
	"fmt"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/tracker"
)

// transferContext marks the votes of an election that the leader called for.
const transferContext = "CampaignTransfer"

const (
	// drainTicks is how long a leader that hands over waits for the proposals under way.
	drainTicks = electionTicks / 2
	// handoverTicks is how long it waits for another to lead.
	handoverTicks = 3 * electionTicks
)

// ErrNotTaken: no other peer took the leadership over.
var ErrNotTaken = errors.New("raft leadership was not taken over")

// handover is the leader giving its office to another voter. New proposals are refused at once, those
// under way are waited for, then the other is told to stand without waiting for a time-out. Members are
// not changed meanwhile: a leader that is not to act any more must have somebody to take over.
//
// From then on the voters may elect the other at any moment, even when the message reaches it late: they
// make an exception from the lease for an election that the leader called for. So the old leader does not
// act again in this term, and if the other does not take over within an election time-out, it tells the
// next, until one does or the term ends otherwise. In a newer term a late message has no effect: whoever
// was told in term t stands for t+1, in which each voter votes once.
type handover struct {
	to    uint64 // 0 if there is none
	since uint64 // tick
	told  bool   // the other may stand
	from  uint64 // term
	term  uint64 // in which another was told to stand; stays
	ended func(error)
}

// busy says whether this member hands over, or waits to see who took over.
func (h *handover) busy() bool { return h.to != 0 }

// tell answers the caller, if there still is one.
func (h *handover) tell(err error) {
	if ended := h.ended; ended != nil {
		h.ended = nil
		ended(err)
	}
}

// transfer hands the leadership to a voter, or to the one that is best up to date if to is 0.
func (c *core) transfer(to uint64, ended func(error)) {
	c.observe()
	switch {
	case to == c.id && c.leader == c.id, to != etcdraft.None && to != c.id && c.leader == to:
		ended(nil)
		return
	case !c.established():
		ended(&NotLeaderError{Leader: c.otherLeader()})
		return
	case c.handover.busy():
		ended(fmt.Errorf("%w: it is being handed to peer %d", ErrNotTaken, c.handover.to))
		return
	case to == etcdraft.None:
		to = c.heir(c.id)
	}
	switch {
	case to == etcdraft.None:
		ended(fmt.Errorf("%w: no other voter answers", ErrNoMember))
	case !c.isVoter(to):
		ended(fmt.Errorf("%w: peer %d does not vote", ErrNoMember, to))
	case !c.answers(to):
		ended(fmt.Errorf("%w: peer %d does not answer", ErrNotCaughtUp, to))
	default:
		c.handover = handover{to: to, since: c.ticks, from: c.term, term: c.handover.term, ended: ended}
		c.proceed()
	}
}

// heir is the voter other than but and this member whose log reaches farthest of those that answer.
func (c *core) heir(but uint64) uint64 {
	best, reach := uint64(etcdraft.None), uint64(0)
	c.node.WithProgress(func(id uint64, kind etcdraft.ProgressType, pr tracker.Progress) {
		if id == c.id || id == but || kind != etcdraft.ProgressTypePeer || !c.answers(id) {
			return
		}
		if best == etcdraft.None || pr.Match > reach {
			best, reach = id, pr.Match
		}
	})
	return best
}

// proceed takes the next step of a handover.
func (c *core) proceed() {
	h := &c.handover
	if !h.busy() {
		return
	}
	late := c.ticks-h.since >= handoverTicks
	if c.role == etcdraft.StateLeader && c.term == h.from {
		switch {
		case !h.told && (len(c.waiting) > 0 || c.change != nil) && c.ticks-h.since < drainTicks:
		case !h.told && c.change != nil:
			h.to = etcdraft.None
			h.tell(ErrChangePending)
		case !h.told && !c.isVoter(h.to):
			h.tell(fmt.Errorf("%w: peer %d does not vote any more", ErrNoMember, h.to))
			h.to = etcdraft.None
		case !h.told:
			h.told, h.term = true, c.term
			c.call(h.to)
		case c.target == etcdraft.None: // the library gave up
			if next := c.heir(h.to); next != etcdraft.None {
				h.to = next
			}
			c.call(h.to)
		}
		if late {
			h.tell(fmt.Errorf("%w: peer %d was told to stand and did not, or was not elected", ErrNotTaken, h.to))
		}
		return
	}
	switch {
	case c.leader == c.id && !c.established():
	case c.leader == c.id:
		h.to = etcdraft.None
		h.tell(fmt.Errorf("%w: this peer was elected again", ErrNotTaken))
	case c.leader != etcdraft.None:
		h.to = etcdraft.None
		h.tell(nil)
	case late:
		h.to = etcdraft.None
		h.tell(fmt.Errorf("%w: no leader is known", ErrNotTaken))
	}
}

// call tells a voter to stand.
func (c *core) call(id uint64) {
	c.node.TransferLeader(id)
	c.observe()
}
