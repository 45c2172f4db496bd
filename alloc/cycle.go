package alloc

import (
	"cmp"
	"slices"
	"time"

	v1 "clusterd/node/mesos/v1"
)

// cycleScratch is memory that cycles reuse.
type cycleScratch struct {
	order   []*agent
	blocked []uint64 // by client number: stamp of the agent for which its filter blocks
	stamp   uint64
	amounts []amount
	given   []Entry // shared entries of the agent offered in this cycle (RES-124)
}

// Allocate runs the cycle that is due at now and returns the offers to be made,
// which are charged already: all agents if Options.Interval has passed since the
// last such batch, else the agents that events made due, if Options.MinInterval
// has passed since any cycle. If nothing is due it returns nil; it may be called
// at any time.
func (a *Allocator) Allocate(now time.Time) []Allocation {
	t := a.at(now)
	a.expireFilters(t)
	switch {
	case t-a.lastBatch >= instant(a.interval):
		a.lastBatch = t
		a.selectAgents(a.agentList)
	case t-a.lastRun < instant(a.minInterval):
		return nil
	case a.pendingAll:
		a.selectAgents(a.agentList)
	case len(a.pending) > 0:
		slices.SortFunc(a.pending, func(x, y *agent) int { return cmp.Compare(x.index, y.index) })
		a.selectAgents(a.pending)
	default:
		return nil
	}
	a.lastRun = t
	a.runs++
	return a.cycle(a.scratch.order)
}

// selectAgents makes the list of agents for a cycle and forgets what was due: a
// cycle over all agents covers the single ones.
func (a *Allocator) selectAgents(list []*agent) {
	order := a.scratch.order[:0]
	for _, g := range list {
		if g.active && !g.free.Empty() {
			order = append(order, g)
		}
	}
	clear(a.scratch.order[min(len(order), len(a.scratch.order)):])
	a.scratch.order = order
	for _, g := range a.pending {
		g.due = false
	}
	clear(a.pending)
	a.pending = a.pending[:0]
	a.pendingAll = false
}

// Deadline returns the next instant at which Allocate has something to do, the
// zero time for at once. It is false while no framework can get offers or there
// is no agent.
func (a *Allocator) Deadline() (time.Time, bool) {
	if a.clients.active == 0 || len(a.agentList) == 0 {
		return time.Time{}, false
	}
	if !a.started {
		return time.Time{}, true
	}
	due := a.lastBatch + instant(a.interval)
	event := a.lastRun + instant(a.minInterval)
	if a.pendingAll || len(a.pending) > 0 {
		due = min(due, event)
	}
	if len(a.filterEnds) > 0 {
		due = min(due, max(event, a.filterEnds[0].filterEnd))
	}
	return a.time(due), true
}

// cycle offers the agents in random order, each to the clients in the order of
// their shares (RES-184, RES-187, RES-207).
func (a *Allocator) cycle(agents []*agent) []Allocation {
	if a.clients.active == 0 {
		return nil
	}
	a.rand.Shuffle(len(agents), func(i, j int) { agents[i], agents[j] = agents[j], agents[i] })
	var out []Allocation
	for _, g := range agents {
		out = a.offer(g, out)
	}
	return out
}

// offer gives what is free on the agent to the first clients that may have it.
func (a *Allocator) offer(g *agent, out []Allocation) []Allocation {
	if !g.enough && a.clients.ownMinimum == 0 {
		return out
	}
	s := &a.scratch
	s.given = s.given[:0]
	a.markBlocked(g)
	for _, r := range a.sortRoles() {
		for _, c := range r.clients {
			if !c.active || s.blocked[c.number] == s.stamp || !a.offerable(g, c) {
				continue
			}
			resources := a.candidate(g, c)
			out = append(out, Allocation{c.framework.id, r.name, g.id, resources})
			a.charge(g, c, resources)
			for _, e := range resources.entries {
				if e.Shared() {
					e.role = ""
					s.given = append(s.given, e)
				}
			}
			if g.free.Empty() || (!g.enough && a.clients.ownMinimum == 0) {
				return out
			}
			a.markBlocked(g)
		}
	}
	return out
}

// offerable reports whether the client may get an offer of the agent, filters
// apart. Further conditions of eligibility belong here.
func (a *Allocator) offerable(g *agent, c *client) bool {
	f := c.framework
	if (g.gpus && a.filterGPU && !f.gpu) || (g.remote && !f.regions) {
		return false
	}
	if g.plain {
		if c.ownMinimum {
			return meets(c.minimum, g.free, nil)
		}
		return g.enough
	}
	needs := a.minimum
	if c.ownMinimum {
		needs = c.minimum
	}
	return meets(needs, g.free, func(e *Entry) bool { return a.mayOffer(e, c) })
}

// candidate returns what the client is offered of what is free, allocated to its
// role: first what quota never cuts (reserved, revocable and unscalar entries),
// then unreserved scalars, as Mesos orders them (golden 10, 51).
func (a *Allocator) candidate(g *agent, c *client) Resources {
	out := make([]Entry, 0, len(g.free.entries))
	for _, uncut := range []bool{true, false} {
		for i := range g.free.entries {
			e := &g.free.entries[i]
			if e.uncut() == uncut && (g.plain || a.mayOffer(e, c)) {
				out = append(out, *e)
				out[len(out)-1].role = c.role.name
			}
		}
	}
	return Resources{out}
}

func (e *Entry) uncut() bool {
	return e.kind != v1.Value_SCALAR || e.Revocable() || e.ReservationRole() != ""
}

// mayOffer reports whether the entry can be part of an offer to the client in
// this cycle.
func (a *Allocator) mayOffer(e *Entry, c *client) bool {
	if !c.mayGet(e) {
		return false
	}
	if e.shared() {
		for i := range a.scratch.given {
			if sameIdentity(&a.scratch.given[i], e) {
				return false
			}
		}
	}
	return true
}

// mayGet reports whether role and capabilities allow the client the entry
// (RES-192, RES-194).
func (c *client) mayGet(e *Entry) bool {
	m := e.meta
	if m == nil {
		return true
	}
	f := c.framework
	if (m.shared && !f.shared) || (m.revocable && !f.revocable) || (len(m.reservations) > 1 && !f.refinement) {
		return false
	}
	if len(m.reservations) == 0 {
		return true
	}
	return allocatableTo(m.reservations[len(m.reservations)-1].GetRole(), c.role.name)
}
