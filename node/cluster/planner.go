package cluster

import (
	"time"
)

const (
	// settleTime is how long a new leader waits for nodes to come back before it takes their absence for
	// the lack of them.
	settleTime = 5 * time.Second
	// learnerPatience is how long a learner may be unreachable before another is tried.
	learnerPatience = 30 * time.Second
	// catchUpPatience is how long a learner that is alive may take to catch up.
	catchUpPatience = 2 * time.Minute
	// failedTime is how long a node that did not catch up is not tried again.
	failedTime = 10 * time.Minute
	// improveInterval is the least time between two looks for a better choice of voters.
	improveInterval = time.Minute
	// firstRetry and lastRetry bound the pause after a step that failed; it doubles.
	firstRetry = 200 * time.Millisecond
	lastRetry  = 10 * time.Second
)

// Planner decides what a leader does about the voters, one step at a time. It remembers what only one
// time of office is concerned with: every new leader begins with a new one. The zero value is ready. It
// is not safe for concurrent use.
type Planner struct {
	fresh    uint64 // raft id assigned by this leader that was never in raft, 0 for none
	failures int
	retry    time.Time // not before, after a failure
	looked   time.Time // for a better choice

	behind map[uint64]time.Time // learners that are alive, since when they lack entries
	alive  map[string]presence  // nodes that could be masters, since when they are alive
	looks  uint64               // counts the calls of Plan
	failed map[string]time.Time // nodes that did not catch up
	uneven time.Time            // since when the number of voters is even for want of a node
}

// Plan returns the step to take now, and the next instant at which it might decide otherwise of the
// same picture: zero if never. After any step but None, [Planner.Done] must be called before Plan.
func (p *Planner) Plan(now time.Time, pic Picture) (Step, time.Time) {
	r := newRound(p, now, pic)
	p.observe(r)
	r.judge()
	if now.Before(p.retry) {
		return Step{}, p.retry
	}
	step := r.step()
	if step.Kind != None {
		return step, time.Time{}
	}
	return step, r.next
}

// Done tells how a step went. raftID is the result of Assign. After an error the outcome may be
// unknown: the next picture shows it.
func (p *Planner) Done(now time.Time, step Step, raftID uint64, err error) {
	switch {
	case err != nil:
		p.retry = now.Add(min(lastRetry, firstRetry<<min(p.failures, 10)))
		p.failures++
	case step.Kind == Assign:
		p.fresh = raftID
	}
	if err == nil {
		p.failures, p.retry = 0, time.Time{}
	}
}

// fail notes that a node did not become a voter.
func (p *Planner) fail(node string, now time.Time) {
	if p.failed == nil {
		p.failed = make(map[string]time.Time)
	}
	p.failed[node] = now
}

// presence is how long a node has been seen at every look.
type presence struct {
	since time.Time
	look  uint64 // the newest
}

// observe brings what is remembered up to date.
func (p *Planner) observe(r *round) {
	behind := make(map[uint64]time.Time)
	for _, l := range r.learners {
		if l.alive && !l.caughtUp {
			behind[l.raftID] = earliest(p.behind[l.raftID], r.now)
		}
	}
	p.behind = behind
	p.attend(r)
	for id, at := range p.failed {
		if !r.now.Before(at.Add(failedTime)) {
			delete(p.failed, id)
		}
	}
	// An id that has been in raft is never fresh again.
	if r.inRaft(p.fresh) {
		p.fresh = 0
	}
}

// attend notes which candidates are there. There may be very many, nearly all as before.
func (p *Planner) attend(r *round) {
	if p.alive == nil {
		p.alive = make(map[string]presence, len(r.candidates))
	}
	p.looks++
	for _, c := range r.candidates {
		at := presence{r.now, p.looks}
		if before, ok := p.alive[c.id]; ok {
			at.since = before.since
		}
		p.alive[c.id] = at
	}
	if len(p.alive) > len(r.candidates) {
		for id, at := range p.alive {
			if at.look != p.looks {
				delete(p.alive, id)
			}
		}
	}
}

// earliest is then, or now if that is zero.
func earliest(then, now time.Time) time.Time {
	if then.IsZero() {
		return now
	}
	return then
}
