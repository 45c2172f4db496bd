package alloc

import (
	"maps"
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// agent is one machine. Invariant: free = total - what the holdings hold, and
// what is shared in total is always free.
type agent struct {
	id         mesos.AgentID
	index      int // in agentList
	active     bool
	due        bool // in pending
	total      Resources
	attributes []string // canonical, sorted
	holdings   []holding
	used       Resources // sum of the holdings, not allocated
	free       Resources
	version    uint64 // grows whenever free changes or a framework's capabilities do
	enough     bool   // free meets the cluster's minimum
	plain      bool   // total is neither reserved, revocable nor shared: all of it may go to anyone
	shares     bool   // total has shared entries
	gpus       bool
	remote     bool // in another region than the master
	filters    []filter
	filterEnd  instant // no filter ends before
	heapIndex  int     // in filterEnds, -1 if not there
}

// holding is what one client was offered or uses on an agent.
type holding struct {
	client    *client
	resources Resources // allocated to the client's role
}

// AddAgent adds an agent, active, with the resources in use on it by framework,
// each allocated to a role. Frameworks that were not added yet are charged all
// the same. The agent is due for allocation (RES-178). An agent of the same id
// is replaced.
func (a *Allocator) AddAgent(spec Agent, used map[mesos.FrameworkID]Resources) {
	a.RemoveAgent(spec.ID)
	g := &agent{
		id:         spec.ID,
		index:      len(a.agentList),
		active:     true,
		attributes: canonicalAttributes(spec.Attributes),
		filterEnd:  never,
		heapIndex:  -1,
	}
	a.agents[g.id] = g
	a.agentList = append(a.agentList, g)
	a.setTotal(g, spec)
	for _, id := range slices.Sorted(maps.Keys(used)) {
		a.Charge(id, g.id, used[id])
	}
	a.makeDue(g)
}

// UpdateAgent replaces total resources, attributes and domain. Changed
// attributes, compared as sets, end all filters for the agent (RES-49). The
// agent is due for allocation (RES-178). An unknown agent is ignored.
func (a *Allocator) UpdateAgent(spec Agent) {
	g := a.agents[spec.ID]
	if g == nil {
		return
	}
	if attributes := canonicalAttributes(spec.Attributes); !slices.Equal(attributes, g.attributes) {
		g.attributes = attributes
		a.dropFilters(g)
	}
	a.addTotal(g.total, -1)
	a.setTotal(g, spec)
	a.makeDue(g)
}

func (a *Allocator) setTotal(g *agent, spec Agent) {
	g.total = spec.Total.Unallocate()
	g.gpus = g.total.Scalar("gpus") > 0
	g.remote = remote(a.domain, spec.Domain)
	g.plain, g.shares = true, false
	for i := range g.total.entries {
		e := &g.total.entries[i]
		if len(e.Reservations()) > 0 || e.Revocable() || e.Shared() {
			g.plain = false
		}
		g.shares = g.shares || e.Shared()
	}
	a.addTotal(g.total, 1)
	a.refresh(g)
}

// remote reports whether the domains name different regions. What has no domain
// counts as local (RES-191).
func remote(master, agent *v1.DomainInfo) bool {
	if master.GetFaultDomain() == nil || agent.GetFaultDomain() == nil {
		return false
	}
	return master.GetFaultDomain().GetRegion().GetName() != agent.GetFaultDomain().GetRegion().GetName()
}

func canonicalAttributes(list []*v1.Attribute) []string {
	canonical := make([]string, len(list))
	for i, attribute := range list {
		encoded, err := proto.MarshalOptions{Deterministic: true, AllowPartial: true}.Marshal(attribute)
		if err != nil {
			panic("alloc: attribute cannot be encoded: " + err.Error())
		}
		canonical[i] = string(encoded)
	}
	slices.Sort(canonical)
	return slices.Compact(canonical)
}

// RemoveAgent removes an agent with everything held on it and all filters for it
// (RES-239). An unknown agent is ignored.
func (a *Allocator) RemoveAgent(id mesos.AgentID) {
	g := a.agents[id]
	if g == nil {
		return
	}
	for len(g.holdings) > 0 {
		last := g.holdings[len(g.holdings)-1]
		a.release(g, last.client, last.resources)
		a.collect(last.client)
	}
	a.dropFilters(g)
	a.addTotal(g.total, -1)
	delete(a.agents, id)
	last := len(a.agentList) - 1
	a.agentList[g.index] = a.agentList[last]
	a.agentList[g.index].index = g.index
	a.agentList = slices.Delete(a.agentList, last, last+1)
	if g.due {
		a.pending = without(a.pending, g)
	}
}

// ActivateAgent makes an agent eligible for offers again; it is due for
// allocation (RES-179).
func (a *Allocator) ActivateAgent(id mesos.AgentID) {
	if g := a.agents[id]; g != nil && !g.active {
		g.active = true
		a.makeDue(g)
	}
}

// DeactivateAgent excludes an agent from offers. It still counts in the totals
// of the cluster, and what is held on it stays held (RES-188).
func (a *Allocator) DeactivateAgent(id mesos.AgentID) {
	if g := a.agents[id]; g != nil {
		g.active = false
	}
}

// Trigger makes agents due for the next event-driven cycle: those whose
// resources came back from ended tasks or as leftovers of an ACCEPT, not those of
// declined or rescinded offers (RES-179). Unknown agents are ignored.
func (a *Allocator) Trigger(ids ...mesos.AgentID) {
	for _, id := range ids {
		if g := a.agents[id]; g != nil {
			a.makeDue(g)
		}
	}
}

func (a *Allocator) makeDue(g *agent) {
	if g.active && !g.due {
		g.due = true
		a.pending = append(a.pending, g)
	}
}

// Charge accounts resources to a framework that are known to be in use from
// elsewhere. They are allocated to a role; entries that are not count as
// allocated to "*". An unknown agent is ignored.
func (a *Allocator) Charge(id mesos.FrameworkID, agent mesos.AgentID, r Resources) {
	g := a.agents[agent]
	if g == nil || r.Empty() {
		return
	}
	f := a.ensureFramework(id)
	forEachRole(r, func(role string, part Resources) {
		a.charge(g, a.ensureClient(f, role), part)
	})
}

// Recover takes back resources that a framework was offered or used; what it
// does not hold is ignored, and so are unknown frameworks and agents. With
// refuse above 0 the framework's roles refuse these resources of the agent for
// that time, at least for Options.Interval (SCH-132..135). Recover makes nothing
// due: see Trigger.
func (a *Allocator) Recover(now time.Time, id mesos.FrameworkID, agent mesos.AgentID, r Resources, refuse time.Duration) {
	g, f := a.agents[agent], a.frameworks[id]
	if g == nil || f == nil || r.Empty() {
		return
	}
	t := a.at(now)
	forEachRole(r, func(role string, part Resources) {
		c := f.byRole[role]
		if c == nil {
			return
		}
		a.release(g, c, part)
		if refuse > 0 && c.subscribed && f.active {
			a.refuse(t, g, c, part.Unallocate(), refuse)
		}
		a.collect(c)
	})
}

// forEachRole calls do for the part of r of each allocation role, "*" for none.
func forEachRole(r Resources, do func(role string, part Resources)) {
	if role, one := r.AllocationRole(); one {
		do(role, r)
		return
	}
	for _, role := range r.AllocationRoles() {
		part := r.Filter(func(e Entry) bool { return e.role == role })
		if role == "" {
			role = mesos.DefaultRole
			part = part.Allocate(role)
		}
		do(role, part)
	}
}

// charge adds r, allocated to the client's role, to what the client holds.
func (a *Allocator) charge(g *agent, c *client, r Resources) {
	a.account(g, c, r, 1)
	if h := g.holding(c); h != nil {
		h.resources = h.resources.Add(r)
	} else {
		g.holdings = append(g.holdings, holding{c, r})
		c.holdings++
	}
	g.used = g.used.Add(r.Unallocate())
	a.refresh(g)
}

// release takes r away from what the client holds, as far as it holds it.
func (a *Allocator) release(g *agent, c *client, r Resources) {
	h := g.holding(c)
	if h == nil {
		return
	}
	rest := h.resources.Sub(r)
	if !h.resources.Contains(r) {
		r = h.resources.Sub(rest)
	}
	h.resources = rest
	if rest.Empty() {
		i := slices.IndexFunc(g.holdings, func(h holding) bool { return h.client == c })
		g.holdings = slices.Delete(g.holdings, i, i+1)
		c.holdings--
	}
	g.used = g.used.Sub(r.Unallocate())
	a.account(g, c, r, -1)
	a.refresh(g)
}

// releaseFramework takes everything of a framework back and returns how many
// holdings that ended.
func (a *Allocator) releaseFramework(g *agent, f *framework) int {
	ended := 0
	for i := len(g.holdings) - 1; i >= 0; i-- {
		if h := g.holdings[i]; h.client.framework == f {
			a.release(g, h.client, h.resources)
			ended++
		}
	}
	return ended
}

func (g *agent) holding(c *client) *holding {
	for i := range g.holdings {
		if g.holdings[i].client == c {
			return &g.holdings[i]
		}
	}
	return nil
}

// refresh works out what is free.
func (a *Allocator) refresh(g *agent) {
	g.version++
	if g.shares {
		regular := g.total.Filter(func(e Entry) bool { return !e.Shared() })
		g.free = regular.Sub(g.used).Add(g.total.Filter(Entry.Shared))
	} else {
		g.free = g.total.Sub(g.used)
	}
	g.enough = meets(a.minimum, g.free, nil)
}

// account adds r to the accounts of the client and of every node above it, or
// takes it away. A shared entry counts once for each of them, however many
// copies are held below it (RES-126); the holdings of the agent are those
// without r.
func (a *Allocator) account(g *agent, c *client, r Resources, sign int64) {
	regular := r.entries
	var shared []Entry
	if slices.ContainsFunc(r.entries, Entry.Shared) {
		regular = r.Filter(func(e Entry) bool { return !e.Shared() }).entries
		shared = r.Filter(Entry.Shared).entries
	}
	amounts := a.amounts(a.scratch.amounts[:0], regular)
	a.scratch.amounts = amounts
	a.book(&c.account, 1, amounts, sign)
	if len(shared) > 0 {
		a.book(&c.account, 1, a.firstCopies(g, shared, func(other *client) bool { return other == c }), sign)
	}
	a.tree.clientMoved(c.role)
	for n := c.role.leaf; n.parent != nil; n = n.parent {
		a.book(&n.account, n.weight, amounts, sign)
		if len(shared) > 0 {
			a.book(&n.account, n.weight, a.firstCopies(g, shared, func(other *client) bool { return n.covers(other.role) }), sign)
		}
		a.tree.nodeMoved(n)
		if sign > 0 {
			n.account.count++
		}
	}
	a.book(&a.tree.root.account, 1, amounts, sign)
	if sign > 0 {
		c.account.count++
	}
}

func (a *Allocator) book(c *account, weight float64, amounts []amount, sign int64) {
	c.add(amounts, sign)
	a.updateShare(c, weight)
}

// firstCopies returns the amounts of the shared entries of which none of the
// selected clients holds a copy on the agent.
func (a *Allocator) firstCopies(g *agent, shared []Entry, selected func(*client) bool) []amount {
	var first []Entry
	for i := range shared {
		if !slices.ContainsFunc(g.holdings, func(h holding) bool {
			return selected(h.client) && slices.ContainsFunc(h.resources.entries, func(e Entry) bool {
				return e.name == shared[i].name && sameMeta(e.meta, shared[i].meta)
			})
		}) {
			first = append(first, shared[i])
		}
	}
	return a.amounts(nil, first)
}

// covers reports whether the role is in the subtree of n.
func (n *node) covers(r *role) bool {
	return n.role == r || (n.role == nil && (r.name == n.path || subrole(r.name, n.path)))
}
