package alloc

import (
	"slices"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// framework is a framework that is subscribed or holds resources.
type framework struct {
	id      mesos.FrameworkID
	known   bool // added and not removed
	active  bool // connected
	clients []*client
	byRole  map[string]*client
	capabilities
}

// capabilities are those of a framework that decide what it may be offered.
type capabilities struct {
	gpu        bool
	shared     bool
	revocable  bool
	refinement bool
	regions    bool
}

// client is one framework in one role: the unit that gets offers, has a share,
// and refuses (RES-204, RES-216).
type client struct {
	framework  *framework
	role       *role
	number     int32 // place in clientTable
	account    account
	subscribed bool
	suppressed bool
	active     bool // subscribed, not suppressed, framework active
	holdings   int  // agents on which it holds something
	filters    int
	minimum    []need // used if ownMinimum
	ownMinimum bool
}

// clientTable numbers the clients. The generation of a number grows when its
// filters are cleared, which ends them all without visiting the agents.
type clientTable struct {
	list        []*client // nil where free
	generations []uint32
	free        []int32
	active      int
	ownMinimum  int // active clients with a minimum of their own
}

func (t *clientTable) insert(c *client) {
	if n := len(t.free); n > 0 {
		c.number = t.free[n-1]
		t.free = t.free[:n-1]
		t.list[c.number] = c
		return
	}
	c.number = int32(len(t.list))
	t.list = append(t.list, c)
	t.generations = append(t.generations, 0)
}

func (t *clientTable) clearFilters(c *client) {
	t.generations[c.number]++
	c.filters = 0
}

func (t *clientTable) remove(c *client) {
	t.clearFilters(c)
	t.list[c.number] = nil
	t.free = append(t.free, c.number)
}

// ensureFramework returns the framework of the id, which it creates if needed.
func (a *Allocator) ensureFramework(id mesos.FrameworkID) *framework {
	f := a.frameworks[id]
	if f == nil {
		f = &framework{id: id, byRole: make(map[string]*client)}
		a.frameworks[id] = f
	}
	return f
}

// ensureClient returns the framework's client of the role, which it creates if
// needed.
func (a *Allocator) ensureClient(f *framework, name string) *client {
	if c := f.byRole[name]; c != nil {
		return c
	}
	c := &client{framework: f, role: a.tree.ensure(name)}
	f.clients = append(f.clients, c)
	f.byRole[name] = c
	a.clients.insert(c)
	c.role.clients = append(c.role.clients, c)
	a.tree.clientMoved(c.role)
	return c
}

// collect drops the client if nothing needs it any more.
func (a *Allocator) collect(c *client) {
	if c.subscribed || c.holdings > 0 {
		return
	}
	a.clients.remove(c)
	c.framework.clients = without(c.framework.clients, c)
	delete(c.framework.byRole, c.role.name)
	c.role.clients = without(c.role.clients, c)
	if len(c.role.clients) == 0 {
		a.tree.remove(c.role)
	}
	if f := c.framework; !f.known && len(f.clients) == 0 {
		delete(a.frameworks, f.id)
	}
}

func without[T comparable](list []T, x T) []T {
	i := slices.Index(list, x)
	return slices.Delete(list, i, i+1)
}

// activate works out whether the client may get offers. It reports whether it
// may now and might not before.
func (a *Allocator) activate(c *client) bool {
	was, is := c.active, c.subscribed && !c.suppressed && c.framework.active
	if was == is {
		return false
	}
	c.active = is
	step := 1
	if was {
		step = -1
	}
	a.clients.active += step
	c.role.active += step
	if c.ownMinimum {
		a.clients.ownMinimum += step
	}
	a.tree.orderStale = true
	return is
}

// setMinimum sets the client's own minimum, nil for none.
func (a *Allocator) setMinimum(c *client, sets []Quantities, own bool) {
	if c.active && c.ownMinimum != own {
		if own {
			a.clients.ownMinimum++
		} else {
			a.clients.ownMinimum--
		}
	}
	c.ownMinimum, c.minimum = own, nil
	if own {
		c.minimum = needsOf(sets)
	}
}

// AddFramework adds a framework, active. All agents are due for allocation
// (RES-178). For a framework that was added before it is UpdateFramework and
// ActivateFramework.
func (a *Allocator) AddFramework(spec Framework) {
	f := a.ensureFramework(spec.ID)
	f.known, f.active = true, true
	a.configure(f, spec)
	a.pendingAll = true
}

// UpdateFramework replaces what is known of a framework. Resources that it holds
// in roles it left stay accounted to these (RES-67); a role that was suppressed
// and is no longer loses its filters (RES-223). All agents are due if a role
// became eligible (RES-179). An unknown framework is ignored.
func (a *Allocator) UpdateFramework(spec Framework) {
	if f := a.frameworks[spec.ID]; f != nil && f.known && a.configure(f, spec) {
		a.pendingAll = true
	}
}

// configure applies spec and reports whether a client became active.
func (a *Allocator) configure(f *framework, spec Framework) bool {
	before := f.capabilities
	f.capabilities = capabilities{
		gpu:        spec.Capabilities[v1.FrameworkInfo_Capability_GPU_RESOURCES],
		shared:     spec.Capabilities[v1.FrameworkInfo_Capability_SHARED_RESOURCES],
		revocable:  spec.Capabilities[v1.FrameworkInfo_Capability_REVOCABLE_RESOURCES],
		refinement: spec.Capabilities[v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT],
		regions:    spec.Capabilities[v1.FrameworkInfo_Capability_REGION_AWARE],
	}
	if f.capabilities != before {
		for _, g := range a.agentList {
			g.version++ // what filters were found to block depends on capabilities
		}
	}
	suppress := setOf(spec.Suppressed)
	activated := false
	for _, name := range spec.Roles {
		c := a.ensureClient(f, name)
		c.subscribed = true
		if c.suppressed && !suppress[name] {
			a.clients.clearFilters(c)
		}
		c.suppressed = suppress[name]
		sets, own := spec.MinAllocatable[name]
		a.setMinimum(c, sets, own)
		if a.activate(c) {
			activated = true
		}
	}
	roles := setOf(spec.Roles)
	for _, c := range slices.Clone(f.clients) {
		if c.subscribed && !roles[c.role.name] {
			a.unsubscribe(c)
		}
	}
	return activated
}

func setOf(names []string) map[string]bool {
	set := make(map[string]bool, len(names))
	for _, name := range names {
		set[name] = true
	}
	return set
}

// unsubscribe ends the client's offers and filters and drops it unless it holds
// resources.
func (a *Allocator) unsubscribe(c *client) {
	c.subscribed, c.suppressed = false, false
	a.activate(c)
	a.clients.clearFilters(c)
	a.setMinimum(c, nil, false)
	a.collect(c)
}

// RemoveFramework removes a framework; everything it was offered or uses is
// free again (RES-245). An unknown framework is ignored.
func (a *Allocator) RemoveFramework(id mesos.FrameworkID) {
	f := a.frameworks[id]
	if f == nil {
		return
	}
	held := 0
	for _, c := range f.clients {
		held += c.holdings
	}
	for i := 0; i < len(a.agentList) && held > 0; i++ {
		held -= a.releaseFramework(a.agentList[i], f)
	}
	f.known, f.active = false, false
	for _, c := range slices.Clone(f.clients) {
		a.unsubscribe(c)
	}
	delete(a.frameworks, id)
}

// ActivateFramework lets a framework get offers again after DeactivateFramework.
// All agents are due (RES-178).
func (a *Allocator) ActivateFramework(id mesos.FrameworkID) {
	f := a.frameworks[id]
	if f == nil || !f.known {
		return
	}
	f.active = true
	for _, c := range f.clients {
		a.activate(c)
	}
	a.pendingAll = true
}

// DeactivateFramework stops offers to a framework, as when it is disconnected.
// Its filters and suppressed roles are forgotten (RES-218, SCH-79). What it
// holds stays with it until Recover.
func (a *Allocator) DeactivateFramework(id mesos.FrameworkID) {
	f := a.frameworks[id]
	if f == nil {
		return
	}
	f.active = false
	for _, c := range f.clients {
		c.suppressed = false
		a.activate(c)
		a.clients.clearFilters(c)
	}
}

// Revive un-suppresses roles and ends their filters (RES-221); no roles means
// all. All agents are due. A role to which the framework is not subscribed makes
// the whole call ineffective (RES-222).
func (a *Allocator) Revive(id mesos.FrameworkID, roles []string) {
	list, ok := a.subscribed(id, roles)
	if !ok {
		return
	}
	for _, c := range list {
		c.suppressed = false
		a.activate(c)
		a.clients.clearFilters(c)
	}
	a.pendingAll = true
}

// Suppress stops offers for roles until Revive (RES-220); no roles means all.
// A role to which the framework is not subscribed makes the whole call
// ineffective (RES-222).
func (a *Allocator) Suppress(id mesos.FrameworkID, roles []string) {
	list, ok := a.subscribed(id, roles)
	if !ok {
		return
	}
	for _, c := range list {
		c.suppressed = true
		a.activate(c)
	}
}

// subscribed returns the framework's clients of these roles, of all roles if
// none is named; false if one is not subscribed.
func (a *Allocator) subscribed(id mesos.FrameworkID, roles []string) ([]*client, bool) {
	f := a.frameworks[id]
	if f == nil || !f.known {
		return nil, false
	}
	var list []*client
	if len(roles) == 0 {
		for _, c := range f.clients {
			if c.subscribed {
				list = append(list, c)
			}
		}
		return list, true
	}
	for _, name := range roles {
		c := f.byRole[name]
		if c == nil || !c.subscribed {
			return nil, false
		}
		list = append(list, c)
	}
	return list, true
}
