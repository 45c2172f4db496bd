package alloc

import (
	"clusterd/node/mesos"
)

// Stats are the figures behind the allocator/mesos/... metrics.
type Stats struct {
	Runs      uint64             // cycles so far (RES-246)
	Total     Quantities         // scalars of all agents (RES-247)
	Allocated Quantities         // offered or in use (RES-247)
	Shares    map[string]float64 // dominant share over weight of each role with clients, sub-roles included (RES-248)
	Filters   map[string]int     // filters in force of each role with clients (RES-249)
}

// Stats returns fresh figures.
func (a *Allocator) Stats() Stats {
	a.sortRoles() // brings shares up to date
	s := Stats{
		Runs:      a.runs,
		Total:     a.quantities(a.totals),
		Allocated: a.quantities(a.tree.root.account.milli),
		Shares:    make(map[string]float64, len(a.tree.roles)),
		Filters:   make(map[string]int, len(a.tree.roles)),
	}
	for name, r := range a.tree.roles {
		s.Shares[name] = r.leaf.parent.account.share
		for _, c := range r.clients {
			s.Filters[name] += c.filters
		}
	}
	return s
}

func (a *Allocator) quantities(milli []int64) Quantities {
	q := make(Quantities, len(milli))
	for id, amount := range milli {
		if amount != 0 {
			q[a.names.names[id]] = amount
		}
	}
	return q
}

// Free returns what is neither offered nor in use on an agent, and what is
// shared there.
func (a *Allocator) Free(id mesos.AgentID) Resources {
	if g := a.agents[id]; g != nil {
		return g.free
	}
	return Resources{}
}

// Held returns what a framework was offered or uses on an agent, with
// allocation roles.
func (a *Allocator) Held(id mesos.FrameworkID, agent mesos.AgentID) Resources {
	var sum Resources
	if g := a.agents[agent]; g != nil {
		for _, h := range g.holdings {
			if h.client.framework.id == id {
				sum = sum.Add(h.resources)
			}
		}
	}
	return sum
}
