package master

import (
	"errors"
	"fmt"
	"maps"

	"clusterd/alloc"
	"clusterd/node/mesos"
)

// Check looks for broken invariants and names all it finds: free (by the allocator), used and offered
// make the total of each agent, and are what its tasks, executors and offers hold; no offer outlives its agent
// or framework; a terminal task holds nothing; every list agrees with its counterparts.
//
// It is for tests and simulations: it walks everything.
func (m *Master) Check() error {
	var errs []error
	report := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	for f := range m.frameworks.values() {
		m.checkFramework(f, report)
	}
	for a := range m.agents.values() {
		m.checkAgent(a, report)
	}
	for o := range m.offers.values() {
		m.checkOffer(o, report)
	}
	for s, f := range m.streams {
		if f.stream != s || !m.frameworks.has(f.id) {
			report("stream %d belongs to no connected framework", s)
		}
	}
	for id, c := range m.conns {
		if a := c.agent; a != nil && (a.conn != id || !m.agents.has(a.id)) {
			report("connection %d belongs to no connected agent", id)
		}
	}
	m.checkGauges(report)
	return errors.Join(append(errs, m.alloc.Check())...)
}

func (m *Master) checkGauges(report func(string, ...any)) {
	found := gauges{}
	for a := range m.agents.values() {
		found.have(a.total, 1)
		found.use(a.used, 1)
		found.connected += toInt(a.connected())
		found.active += toInt(a.active)
	}
	kept := m.gauges
	if !maps.Equal(kept.consumed, found.consumed) {
		report("roles consume %v, by the gauges %v", found.consumed, kept.consumed)
	}
	kept.consumed, found.consumed = nil, nil
	if fmt.Sprint(kept) != fmt.Sprint(found) {
		report("the agents make the gauges %v, they are %v", found, kept)
	}
}

func (m *Master) checkFramework(f *framework, report func(string, ...any)) {
	var used, offered holdings
	for t := range f.tasks.values() {
		if t.holds {
			used.add(t.agent, t.resources)
		}
		if t.agent == nil || !m.agents.has(t.agent.id) || !t.agent.tasks.has(taskKey{f.id, t.id}) {
			report("task %s of framework %s is on no agent", t.id, f.id)
		}
		if mesos.Terminal(t.state) == t.holds {
			report("task %s of framework %s is %s and holds resources: %t", t.id, f.id, t.state, t.holds)
		}
	}
	var states tally
	for t := range f.tasks.values() {
		states[t.state]++
	}
	for t := range f.unreachable.values() {
		states[t.state]++
		if t.holds || t.agent != nil {
			report("unreachable task %s of framework %s holds resources", t.id, f.id)
		}
	}
	for e := range f.executors.values() {
		used.add(e.agent, e.resources)
		if !e.agent.executors.has(e.key()) || !m.agents.has(e.agent.id) {
			report("executor %s of framework %s is on no agent", e.id, f.id)
		}
	}
	for o := range f.offers.values() {
		offered.add(o.agent, o.resources)
		if !m.offers.has(o.id) {
			report("offer %s of framework %s is not in the list of all", o.id, f.id)
		}
	}
	if states != f.states {
		report("framework %s has %v tasks by state and counts %v", f.id, states, f.states)
	}
	checkHoldings(f, "used", &f.used, &used, report)
	checkHoldings(f, "offered", &f.offered, &offered, report)
	if f.active != f.connected() || (m.streams[f.stream] == f) != f.connected() {
		report("framework %s: active %t, connected %t, stream %d", f.id, f.active, f.connected(), f.stream)
	}
}

func checkHoldings(f *framework, what string, kept, found *holdings, report func(string, ...any)) {
	for _, list := range []*holdings{kept, found} {
		for id := range list.index {
			a, _ := kept.get(id)
			b, _ := found.get(id)
			if !a.Equal(b) {
				report("framework %s on agent %s: %s is %s, but its tasks, executors and offers hold %s", f.id, id, what, a, b)
			}
		}
	}
}

func heldBy(t *task) alloc.Resources {
	if !t.holds {
		return alloc.Resources{}
	}
	return t.resources
}

func (m *Master) checkAgent(a *agent, report func(string, ...any)) {
	used, offered := alloc.Resources{}, alloc.Resources{}
	for t := range a.tasks.values() {
		used = used.Add(heldBy(t))
		if t.agent != a || !m.frameworks.has(t.framework.id) || !t.framework.tasks.has(t.id) {
			report("task %s on agent %s is of no framework", t.id, a.id)
		}
	}
	for e := range a.executors.values() {
		used = used.Add(e.resources)
		if !m.frameworks.has(e.framework.id) || !e.framework.executors.has(e.key()) {
			report("executor %s on agent %s is of no framework", e.id, a.id)
		}
	}
	for o := range a.offers.values() {
		offered = offered.Add(o.resources)
		if !m.offers.has(o.id) {
			report("offer %s of agent %s is not in the list of all", o.id, a.id)
		}
	}
	if !a.used.Equal(used) || !a.offered.Equal(offered) {
		report("agent %s: used %s and offered %s, but its tasks and offers hold %s and %s", a.id, a.used, a.offered, used, offered)
	}
	held := used.Add(offered).Unallocate()
	if !a.total.Contains(held) {
		report("agent %s: used %s and offered %s do not fit into %s", a.id, used, offered, a.total)
	}
	if free := m.alloc.Free(a.id); !free.Add(held).Equal(a.total.Unallocate()) {
		report("agent %s: free %s, used %s and offered %s do not make %s", a.id, free, used, offered, a.total)
	}
	if m.away.has(a.id) == a.connected() && !a.leaving {
		report("agent %s is connected: %t, and listed as away: %t", a.id, a.connected(), m.away.has(a.id))
	}
	if a.active && !a.connected() && !a.leaving {
		report("agent %s is active and not connected", a.id)
	}
	if d, _ := m.registry.Drain(string(a.id)); d != a.drain || a.draining != isDraining(d) || a.active && d != nil {
		report("agent %s: active %t, draining %t, and drained as %v, the registry has %v", a.id, a.active, a.draining, a.drain, d)
	}
	if a.draining && a.connected() && a.tasks.len() == 0 && !a.settling && !a.leaving {
		report("agent %s has nothing left and is not drained", a.id)
	}
}

func (m *Master) checkOffer(o *offer, report func(string, ...any)) {
	if !m.frameworks.has(o.framework.id) || !o.framework.active || !o.framework.offers.has(o.id) {
		report("offer %s outlives its framework %s", o.id, o.framework.id)
	}
	if !m.agents.has(o.agent.id) || !o.agent.active || !o.agent.offers.has(o.id) {
		report("offer %s outlives its agent %s", o.id, o.agent.id)
	}
	if role, one := o.resources.AllocationRole(); !one || role != o.role {
		report("offer %s for role %s holds %s", o.id, o.role, o.resources)
	}
}
