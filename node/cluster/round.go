package cluster

import (
	"slices"
	"time"

	"clusterd/raft/registry"
)

// round is one look at a picture.
type round struct {
	p    *Planner
	pic  Picture
	now  time.Time
	next time.Time // when the same picture may mean something else

	voters     []*seat
	learners   []*seat
	loose      []*seat // with a raft id that is not in raft
	candidates []*seat // alive, could be made learners
	leader     *seat   // nil if the leader is not in the picture
}

// seat is a raft member, or a node that has a raft id or could get one.
type seat struct {
	id     string // of the node, empty for a stray
	raftID uint64
	node   *registry.Node // nil for a stray

	voter, alive, caughtUp, leader bool
	// doomed: it is to leave raft as soon as that can be; why says the reason.
	doomed bool
	why    string
	// gone: a voter that has been unreachable for too long.
	gone bool
	// slow: a learner that did not catch up.
	slow bool
}

func (s *seat) bad() bool       { return s.doomed || s.gone }
func (s *seat) preferred() bool { return s.node.GetPlacement() == registry.Node_PREFERRED }

// named says whether the node's role names a master.
func (s *seat) named() bool {
	return s.node.GetRole() == registry.Node_MASTER || s.node.GetRole() == registry.Node_BOTH
}

// newRound sorts the nodes of a picture.
func newRound(p *Planner, now time.Time, pic Picture) *round {
	r := &round{p: p, pic: pic, now: now}
	seats := make([]seat, len(pic.Nodes))
	for i := range pic.Nodes {
		m, s := &pic.Nodes[i], &seats[i]
		*s = seat{
			id: m.Node.GetId(), raftID: m.Node.GetRaftId(), node: m.Node,
			voter: m.Voter, alive: (m.Alive || m.Leader) && !m.Lost, caughtUp: m.CaughtUp || m.Leader, leader: m.Leader,
		}
		if m.Leader {
			r.leader = s
		}
		switch {
		case m.Voter:
			r.voters = append(r.voters, s)
		case m.Learner:
			r.learners = append(r.learners, s)
		case s.raftID != 0:
			r.loose = append(r.loose, s)
		case s.alive && r.fit(s):
			r.candidates = append(r.candidates, s)
		}
		if m.Voter || m.Learner {
			r.doom(s, m)
		}
	}
	for _, stray := range pic.Strays {
		s := &seat{raftID: stray.RaftID, voter: stray.Voter, alive: stray.Alive, doomed: true, why: "it belongs to no node"}
		if stray.Voter {
			r.voters = append(r.voters, s)
		} else {
			r.learners = append(r.learners, s)
		}
	}
	r.supersede()
	return r
}

// fit says whether a node may become a master now.
func (r *round) fit(s *seat) bool {
	return s.node.MayLead() && s.node.GetPlacement() != registry.Node_BARRED &&
		(r.pic.Requires == "" || registry.CompareVersions(s.node.GetVersion(), r.pic.Requires) >= 0)
}

// doom marks a raft member that is to leave.
func (r *round) doom(s *seat, m *Member) {
	switch {
	case m.Lost:
		s.doomed, s.why = true, "its log is gone"
	case !s.node.MayLead():
		s.doomed, s.why = true, "it may not be a master"
	case s.node.GetPlacement() == registry.Node_BARRED:
		s.doomed, s.why = true, "it was demoted"
	}
	if s.doomed || !s.voter || s.alive {
		return
	}
	if end := r.silentSince(m.LastHeard).Add(r.pic.ReplaceAfter); r.now.Before(end) {
		r.wake(end)
	} else {
		s.gone, s.why = true, "it has been unreachable for "+r.now.Sub(r.silentSince(m.LastHeard)).Round(time.Second).String()
	}
}

// silentSince is the instant from which the silence of a node counts: a new leader has not listened
// before its election.
func (r *round) silentSince(heard time.Time) time.Time {
	if heard.Before(r.pic.Since) {
		return r.pic.Since
	}
	return heard
}

// supersede dooms raft members that are not alive and whose address another node has now: that machine
// was wiped and has joined again.
func (r *round) supersede() {
	for _, s := range slices.Concat(r.voters, r.learners) {
		if s.alive || s.doomed {
			continue
		}
		for i := range r.pic.Nodes {
			m := &r.pic.Nodes[i]
			if m.Alive && m.Node.GetId() != s.id && m.Node.GetPeerAddress() == s.node.GetPeerAddress() {
				s.doomed, s.why = true, "node "+m.Node.GetName()+" has its address now"
				break
			}
		}
	}
}

// judge drops the learners and candidates that have failed.
func (r *round) judge() {
	for _, l := range r.learners {
		if l.doomed {
			continue
		}
		if at, ok := r.p.failed[l.id]; ok {
			l.doomed, l.slow, l.why = true, true, "it did not catch up"
			r.wake(at.Add(failedTime))
			continue
		}
		if since, ok := r.p.behind[l.raftID]; ok {
			r.giveUp(l, since.Add(catchUpPatience), "it did not catch up within "+catchUpPatience.String())
			l.slow = l.doomed
		}
		if !l.alive {
			r.giveUp(l, r.silentSince(r.heard(l)).Add(learnerPatience), "it has been unreachable for "+learnerPatience.String())
		}
	}
	r.candidates = slices.DeleteFunc(r.candidates, func(c *seat) bool {
		at, ok := r.p.failed[c.id]
		if ok {
			r.wake(at.Add(failedTime))
		}
		return ok
	})
	if !r.lacking() {
		r.p.uneven = time.Time{}
	} else if r.p.uneven.IsZero() {
		r.p.uneven = r.now
	}
}

// giveUp dooms a learner if its time is over.
func (r *round) giveUp(l *seat, end time.Time, why string) {
	if r.now.Before(end) {
		r.wake(end)
		return
	}
	l.doomed, l.why = true, why
}

// heard is when a node was last heard of.
func (r *round) heard(s *seat) time.Time {
	for i := range r.pic.Nodes {
		if r.pic.Nodes[i].Node.GetId() == s.id {
			return r.pic.Nodes[i].LastHeard
		}
	}
	return time.Time{}
}

// wake sees to it that the planner is asked again at an instant to come.
func (r *round) wake(at time.Time) {
	if at.After(r.now) && (r.next.IsZero() || at.Before(r.next)) {
		r.next = at
	}
}

func (r *round) inRaft(raftID uint64) bool {
	has := func(s *seat) bool { return s.raftID == raftID }
	return raftID != 0 && (slices.ContainsFunc(r.voters, has) || slices.ContainsFunc(r.learners, has))
}

// alive is how many of the seats are alive.
func alive(seats []*seat) int {
	n := 0
	for _, s := range seats {
		if s.alive {
			n++
		}
	}
	return n
}

func quorum(voters int) int { return voters/2 + 1 }

// good are the voters that are to stay.
func (r *round) good() []*seat {
	return slices.DeleteFunc(slices.Clone(r.voters), (*seat).bad)
}

// useful are the learners that may become voters.
func (r *round) useful() []*seat {
	return slices.DeleteFunc(slices.Clone(r.learners), func(l *seat) bool { return l.doomed })
}
