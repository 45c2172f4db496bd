package alloc

import (
	"math"
	"slices"
	"time"
)

// filter is a refusal of resources of one agent by one client (RES-216). It is
// void when the client's generation has moved on.
type filter struct {
	client     int32
	generation uint32
	end        instant
	refused    Resources // not allocated
	blocksAt   uint64    // version of the agent at which it was found to block, 0 unknown
}

// void reports whether the filter was cleared.
func (f *filter) void(t *clientTable) bool { return t.generations[f.client] != f.generation }

// refuse installs a filter. It never ends before the interval has passed, so
// that at least one batch sees it (RES-215).
func (a *Allocator) refuse(now instant, g *agent, c *client, refused Resources, d time.Duration) {
	end := now + instant(max(d, a.interval))
	if end < now {
		end = math.MaxInt64
	}
	// One of two filters may be superfluous; that also bounds their number, as
	// does dropping void ones here: inactive agents are not visited otherwise.
	for i := 0; i < len(g.filters); i++ {
		f := &g.filters[i]
		if f.client != c.number {
			continue
		}
		live := !f.void(&a.clients)
		if live && f.end >= end && f.refused.Contains(refused) {
			return
		}
		if live && (f.end > end || !refused.Contains(f.refused)) {
			continue
		}
		if live {
			c.filters--
		}
		g.dropFilter(i)
		i--
	}
	c.filters++
	g.filters = append(g.filters, filter{
		client:     c.number,
		generation: a.clients.generations[c.number],
		end:        end,
		refused:    g.intern(refused),
	})
	a.filterEnds.update(g, min(g.filterEnd, end))
}

// dropFilter removes one filter; their order means nothing.
func (g *agent) dropFilter(i int) {
	last := len(g.filters) - 1
	g.filters[i] = g.filters[last]
	g.filters[last] = filter{}
	g.filters = g.filters[:last]
}

// intern returns resources equal to r that are likely to be there already:
// frameworks refuse one after the other what is free on an agent.
func (g *agent) intern(r Resources) Resources {
	if g.free.Equal(r) {
		return g.free
	}
	if n := len(g.filters); n > 0 && g.filters[n-1].refused.Equal(r) {
		return g.filters[n-1].refused
	}
	return r
}

// dropFilters removes all filters of an agent.
func (a *Allocator) dropFilters(g *agent) {
	for i := range g.filters {
		if f := &g.filters[i]; !f.void(&a.clients) {
			a.clients.list[f.client].filters--
		}
	}
	g.filters = nil
	a.filterEnds.update(g, never)
}

// expireFilters removes the filters that have ended and makes their agents due
// (RES-179).
func (a *Allocator) expireFilters(now instant) {
	for len(a.filterEnds) > 0 && a.filterEnds[0].filterEnd <= now {
		g := a.filterEnds[0]
		end := never
		for i := 0; i < len(g.filters); i++ {
			f := &g.filters[i]
			live := !f.void(&a.clients)
			if live && f.end > now {
				end = min(end, f.end)
				continue
			}
			if live {
				a.clients.list[f.client].filters--
				a.makeDue(g)
			}
			g.dropFilter(i)
			i--
		}
		a.filterEnds.update(g, end)
	}
}

// markBlocked stamps the clients whose filters block what is free on the agent
// now, and forgets void filters.
func (a *Allocator) markBlocked(g *agent) {
	s := &a.scratch
	s.stamp++
	for len(s.blocked) < len(a.clients.list) {
		s.blocked = append(s.blocked, 0)
	}
	for i := 0; i < len(g.filters); i++ {
		f := &g.filters[i]
		if f.void(&a.clients) {
			g.dropFilter(i)
			i--
			continue
		}
		if f.blocksAt != g.version {
			if !a.blocks(f, g) {
				continue
			}
			f.blocksAt = g.version
		}
		s.blocked[f.client] = s.stamp
	}
}

// blocks reports whether what the client could be offered holds nothing beyond
// the refused resources (SCH-134).
func (a *Allocator) blocks(f *filter, g *agent) bool {
	if f.refused.same(g.free) {
		return true
	}
	if g.plain {
		return f.refused.Contains(g.free)
	}
	c := a.clients.list[f.client]
	for i := range g.free.entries {
		if c.mayGet(&g.free.entries[i]) && !f.refused.holds(g.free.entries, i) {
			return false
		}
	}
	return true
}

const never instant = math.MaxInt64

// agentHeap orders agents with filters by the end of the first one.
type agentHeap []*agent

// update sets the end of the agent's first filter; never takes it out.
func (h *agentHeap) update(g *agent, end instant) {
	g.filterEnd = end
	switch {
	case g.heapIndex >= 0 && end == never:
		h.remove(g)
	case g.heapIndex >= 0:
		h.down(h.up(g.heapIndex))
	case end != never:
		*h = append(*h, g)
		h.up(len(*h) - 1)
	}
}

func (h *agentHeap) remove(g *agent) {
	i, last := g.heapIndex, len(*h)-1
	(*h)[i] = (*h)[last]
	(*h)[i].heapIndex = i
	*h = slices.Delete(*h, last, last+1)
	g.heapIndex = -1
	if i < last {
		h.down(h.up(i))
	}
}

func (h agentHeap) up(i int) int {
	g := h[i]
	for i > 0 {
		parent := (i - 1) / 2
		if h[parent].filterEnd <= g.filterEnd {
			break
		}
		h[i] = h[parent]
		h[i].heapIndex = i
		i = parent
	}
	h[i] = g
	g.heapIndex = i
	return i
}

func (h agentHeap) down(i int) {
	g := h[i]
	for {
		child := 2*i + 1
		if child >= len(h) {
			break
		}
		if child+1 < len(h) && h[child+1].filterEnd < h[child].filterEnd {
			child++
		}
		if h[child].filterEnd >= g.filterEnd {
			break
		}
		h[i] = h[child]
		h[i].heapIndex = i
		i = child
	}
	h[i] = g
	g.heapIndex = i
}
