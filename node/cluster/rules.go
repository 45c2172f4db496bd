package cluster

import (
	"fmt"
	"slices"
)

// want is how many learners there are to be, and for what.
type want struct {
	learners int
	ready    int    // that must have caught up before one becomes a voter
	only     *seat  // nobody else will do
	why      string // a learner is wanted
}

// step returns the first step that a rule asks for.
func (r *round) step() Step {
	switch {
	case r.pic.Changing:
		return Step{Why: "a change of members is under way"}
	case r.leader == nil || !r.leader.voter:
		return Step{Why: "the leader is not among the voters"}
	case alive(r.voters) < quorum(len(r.voters)):
		return Step{Why: fmt.Sprintf("%d of %d voters are reachable: no quorum", alive(r.voters), len(r.voters))}
	}
	w := r.want()
	// Voters first: what is left over can wait until their number is odd again.
	for _, rule := range []func(want) Step{r.promote, r.remove, r.drop, r.add, r.shrink} {
		if step := rule(w); step.Kind != None {
			return step
		}
	}
	return Step{}
}

// of makes a step of a kind that concerns a seat.
func of(kind Kind, s *seat, why string) Step {
	return Step{Kind: kind, NodeID: s.id, RaftID: s.raftID, Why: why}
}

// masters is the number of voters to keep; it is odd.
func (r *round) masters() int { return max(1, (r.pic.Masters-1)|1) }

// want decides about the learners.
func (r *round) want() want {
	voters, masters := len(r.voters), r.masters()
	bad := slices.DeleteFunc(slices.Clone(r.voters), func(s *seat) bool { return !s.bad() })
	switch {
	case voters > masters:
		return want{}
	case voters%2 == 0:
		return want{learners: 1, ready: 1, why: fmt.Sprintf("%d masters are an even number", voters)}
	case len(bad) > 0:
		out := worst(bad)
		return want{learners: 1, ready: 1, why: fmt.Sprintf("in place of %s: %s", out, out.why)}
	case voters+2 <= masters:
		return want{learners: 2, ready: 2, why: fmt.Sprintf("%d of %d masters", voters, masters)}
	}
	if s := r.improve(); s != nil {
		return want{learners: 1, ready: 1, only: s, why: "it suits the cluster better than one of the masters"}
	}
	return want{}
}

// String names a seat to people.
func (s *seat) String() string {
	if s.node == nil {
		return fmt.Sprintf("raft member %d", s.raftID)
	}
	return "node " + s.node.GetName()
}

// held is the node that has a raft id of this leader under which no log was begun, if it is still fit.
func (r *round) held() *seat {
	for _, s := range r.loose {
		if s.raftID == r.p.fresh && s.alive && r.fit(s) {
			return s
		}
	}
	return nil
}

// prospects is how many nodes could still become voters.
func (r *round) prospects() int {
	n := len(r.useful()) + len(r.candidates)
	if r.held() != nil {
		n++
	}
	return n
}

// drop releases raft ids that came to nothing and removes learners that are of no use.
func (r *round) drop(w want) Step {
	useful := r.useful()
	held := r.held()
	if held != nil && (len(useful) >= w.learners || w.only != nil && w.only != held) {
		held = nil
	}
	for _, s := range r.loose {
		if s != held {
			return of(Release, s, "its raft id is not in use")
		}
	}
	for _, l := range r.learners {
		if l.doomed {
			if l.slow {
				r.p.fail(l.id, r.now)
			}
			return of(Remove, l, l.why)
		}
	}
	if w.only != nil {
		for _, l := range useful {
			if l != w.only {
				return of(Remove, l, "no master is needed in its place")
			}
		}
	}
	if len(useful) > w.learners {
		keep := best(useful, r.good())
		for _, l := range useful {
			if l != keep || w.learners == 0 {
				return of(Remove, l, "no more masters are needed")
			}
		}
	}
	return Step{}
}

// promote makes a learner a voter when enough of them are ready.
func (r *round) promote(w want) Step {
	ready := slices.DeleteFunc(r.useful(), func(l *seat) bool {
		return !l.alive || !l.caughtUp || w.only != nil && w.only != l
	})
	switch {
	case w.ready == 0 || len(ready) < w.ready:
		return Step{}
	case w.only != nil && alive(r.voters) < len(r.voters):
		return Step{} // what is only better can wait
	}
	// With a quorum before there is one after: one more voter needs at most one more that is alive.
	return of(Promote, best(ready, r.good()), w.why)
}

// remove takes a voter out that is too many, or that is to leave and cannot be replaced.
func (r *round) remove(want) Step {
	voters := len(r.voters)
	if voters > r.masters() {
		return r.out(worst(r.voters), "there are more masters than wanted")
	}
	bad := slices.DeleteFunc(slices.Clone(r.voters), func(s *seat) bool { return !s.bad() })
	if len(bad) == 0 {
		return Step{}
	}
	alone := r.prospects() == 0
	if settled := r.pic.Since.Add(settleTime); alone && r.now.Before(settled) {
		r.wake(settled)
		alone = false
	}
	switch doomed := slices.ContainsFunc(bad, func(s *seat) bool { return s.doomed }); {
	case voters%2 == 0 && (voters > 2 || alone):
	case voters%2 == 1 && alone && (doomed || len(bad) > 1):
	default:
		return Step{}
	}
	return r.out(worst(bad), "")
}

// out removes a voter if a quorum remains; leadership goes elsewhere first.
func (r *round) out(s *seat, why string) Step {
	if s.why != "" {
		why = s.why
	}
	here, left := alive(r.voters), len(r.voters)-1
	if s.alive {
		here--
	}
	if left == 0 || here < quorum(left) {
		return Step{}
	}
	if !s.leader {
		return of(Remove, s, why)
	}
	others := slices.DeleteFunc(slices.Clone(r.voters), func(o *seat) bool { return o == s || !o.alive || !o.caughtUp || o.node == nil })
	stay := slices.DeleteFunc(slices.Clone(others), func(o *seat) bool { return o.doomed })
	if len(stay) == 0 {
		stay = others
	}
	if to := best(stay, nil); to != nil {
		return of(Transfer, to, fmt.Sprintf("%s is to be removed: %s", s, why))
	}
	return Step{}
}

// add brings a learner in.
func (r *round) add(w want) Step {
	useful := r.useful()
	if len(useful) >= w.learners {
		return Step{}
	}
	if held := r.held(); held != nil { // drop has released what is not wanted
		return of(AddLearner, held, w.why)
	}
	from := r.candidates
	if w.only != nil {
		from = slices.DeleteFunc(slices.Clone(from), func(c *seat) bool { return c != w.only })
	}
	if c := best(from, slices.Concat(r.good(), useful)); c != nil {
		return of(Assign, c, w.why)
	}
	return Step{}
}

// lacking says whether the number of voters is even and no node is there to make it odd.
func (r *round) lacking() bool {
	return len(r.voters)%2 == 0 && len(r.voters) < r.masters() && len(r.good()) == len(r.voters) && r.prospects() == 0
}

// shrink makes a voter of an even number a learner when no node has come for long to make it odd.
func (r *round) shrink(want) Step {
	if r.p.uneven.IsZero() {
		return Step{}
	}
	if end := r.p.uneven.Add(r.pic.ReplaceAfter); r.now.Before(end) {
		r.wake(end)
		return Step{}
	}
	s := worst(slices.DeleteFunc(slices.Clone(r.voters), func(s *seat) bool { return s.leader }))
	step := r.out(s, fmt.Sprintf("%d masters are an even number, and there is no node to make it odd", len(r.voters)))
	if step.Kind == Remove && s.alive {
		step.Kind = Demote
	}
	return step
}

// improve finds a node that suits the cluster better than one of its voters, of which there are as many
// as wanted; nil if there is none.
func (r *round) improve() *seat {
	// What was begun is carried on, also while a voter is away.
	begun := r.useful()
	if held := r.held(); held != nil {
		begun = append(begun, held)
	}
	for _, s := range begun {
		if r.improves(s) {
			return s
		}
	}
	if alive(r.voters) < len(r.voters) {
		return nil
	}
	wished := slices.DeleteFunc(slices.Clone(r.candidates), func(c *seat) bool { return !c.preferred() })
	if s := best(wished, r.voters); s != nil && r.improves(s) {
		return s
	}
	if again := r.p.looked.Add(improveInterval); r.now.Before(again) && !r.p.looked.IsZero() {
		r.wake(again)
		return nil
	}
	r.p.looked = r.now
	return r.improveSteady()
}

// improveSteady looks among the nodes that have been alive for as long as a voter may be away: nothing
// is gained by a node that comes and goes.
func (r *round) improveSteady() *seat {
	steady := slices.DeleteFunc(slices.Clone(r.candidates), func(c *seat) bool {
		end := r.p.alive[c.id].since.Add(r.pic.ReplaceAfter)
		r.wake(end)
		return r.now.Before(end)
	})
	for _, v := range r.voters {
		others := slices.DeleteFunc(slices.Clone(r.voters), func(o *seat) bool { return o == v })
		if s := best(steady, others); s != nil && r.improves(s) {
			return s
		}
	}
	return nil
}

// improves says whether the voters would be better with a node than without it.
func (r *round) improves(s *seat) bool {
	all := append(slices.Clone(r.voters), s)
	victim := worst(all)
	if victim == s {
		return false
	}
	after := slices.DeleteFunc(all, func(o *seat) bool { return o == victim })
	return chosen(after).better(chosen(r.voters))
}
