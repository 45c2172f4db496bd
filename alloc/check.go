package alloc

import (
	"errors"
	"fmt"
	"slices"
)

// Check verifies the invariants of the allocator: free + held = total on each
// agent, and every account, counter and order agrees with what it is derived
// from. It costs far more than a cycle: it is for tests and simulations.
func (a *Allocator) Check() error {
	var errs []error
	fail := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	holdings := make(map[*client]int)
	filters := make(map[*client]int)
	for i, g := range a.agentList {
		if g.index != i || a.agents[g.id] != g {
			fail("agent %s: not found in its place", g.id)
		}
		a.checkAgent(g, fail)
		for _, h := range g.holdings {
			holdings[h.client]++
		}
		for j := range g.filters {
			if f := &g.filters[j]; !f.void(&a.clients) {
				filters[a.clients.list[f.client]]++
			}
		}
	}
	active, minimum := 0, 0
	for number, c := range a.clients.list {
		if c == nil {
			continue
		}
		if int(c.number) != number || c.framework.byRole[c.role.name] != c || !slices.Contains(c.framework.clients, c) || !slices.Contains(c.role.clients, c) {
			fail("client %s of role %s: not found in its place", c.framework.id, c.role.name)
		}
		if !c.subscribed && c.holdings == 0 {
			fail("client %s of role %s: nothing needs it", c.framework.id, c.role.name)
		}
		if c.holdings != holdings[c] || c.filters != filters[c] {
			fail("client %s of role %s: %d holdings and %d filters, not %d and %d",
				c.framework.id, c.role.name, holdings[c], filters[c], c.holdings, c.filters)
		}
		if c.active != (c.subscribed && !c.suppressed && c.framework.active) {
			fail("client %s of role %s: active is %t", c.framework.id, c.role.name, c.active)
		}
		if c.active {
			active++
			if c.ownMinimum {
				minimum++
			}
		}
	}
	if active != a.clients.active || minimum != a.clients.ownMinimum {
		fail("%d active clients, %d with a minimum, not %d and %d", active, minimum, a.clients.active, a.clients.ownMinimum)
	}
	a.checkTree(fail)
	for i, g := range a.filterEnds {
		if g.heapIndex != i || (i > 0 && a.filterEnds[(i-1)/2].filterEnd > g.filterEnd) {
			fail("agent %s: wrong place in the order of filter ends", g.id)
		}
	}
	return errors.Join(errs...)
}

func (a *Allocator) checkAgent(g *agent, fail func(string, ...any)) {
	var used Resources
	for _, h := range g.holdings {
		if role, ok := h.resources.AllocationRole(); !ok || role != h.client.role.name {
			fail("agent %s: %s held in role %s", g.id, h.resources, h.client.role.name)
		}
		used = used.Add(h.resources.Unallocate())
	}
	if !used.Equal(g.used) {
		fail("agent %s: used %s, holdings are %s", g.id, g.used, used)
	}
	shared := g.total.Filter(Entry.Shared)
	regular := g.total.Filter(func(e Entry) bool { return !e.Shared() })
	if want := regular.Sub(used).Add(shared); !want.Equal(g.free) {
		fail("agent %s: free %s, want %s", g.id, g.free, want)
	}
	if regular.Contains(used.Filter(func(e Entry) bool { return !e.Shared() })) {
		if sum := g.free.Sub(shared).Add(used.Filter(func(e Entry) bool { return !e.Shared() })); !sum.Equal(regular) {
			fail("agent %s: free and used make %s, total is %s", g.id, sum, g.total)
		}
	}
	for i := range g.filters {
		if g.filters[i].end < g.filterEnd {
			fail("agent %s: a filter ends before the first end", g.id)
		}
	}
	if (g.heapIndex >= 0) != (g.filterEnd != never) || (g.heapIndex < 0 && len(g.filters) > 0) {
		fail("agent %s: filters and their order disagree", g.id)
	}
}

// checkTree compares accounts with the sum of what lies below, shared entries
// apart: these count once on each level.
func (a *Allocator) checkTree(fail func(string, ...any)) {
	a.sortRoles()
	held := make(map[*client]*account)
	for _, g := range a.agentList {
		for _, h := range g.holdings {
			if slices.ContainsFunc(h.resources.entries, Entry.Shared) {
				return
			}
			if held[h.client] == nil {
				held[h.client] = &account{}
			}
			held[h.client].add(a.amounts(nil, h.resources.entries), 1)
		}
	}
	checkNode(a.tree.root, held, fail)
}

// checkNode checks the subtree of n and returns the sum of what its clients hold.
func checkNode(n *node, held map[*client]*account, fail func(string, ...any)) account {
	var sum account
	if !slices.IsSortedFunc(n.children, compareNodes) {
		fail("role path %q: children are not in order", n.path)
	}
	for _, child := range n.children {
		below := checkNode(child, held, fail)
		sum.add(amountsOf(below.milli), 1)
	}
	if n.role != nil {
		if !slices.IsSortedFunc(n.role.clients, compareClients) {
			fail("role %s: clients are not in order", n.role.name)
		}
		for _, c := range n.role.clients {
			var own account
			if held[c] != nil {
				own = *held[c]
			}
			if !sameMilli(own.milli, c.account.milli) {
				fail("client %s of role %s: account %v, holdings are %v", c.framework.id, c.role.name, c.account.milli, own.milli)
			}
			sum.add(amountsOf(own.milli), 1)
		}
	}
	if !sameMilli(sum.milli, n.account.milli) {
		fail("role path %q: account %v, below it is %v", n.path, n.account.milli, sum.milli)
	}
	return sum
}

func amountsOf(milli []int64) []amount {
	amounts := make([]amount, len(milli))
	for id, x := range milli {
		amounts[id] = amount{id, x}
	}
	return amounts
}

// sameMilli compares accounts, of which one may lack trailing zeros.
func sameMilli(a, b []int64) bool {
	for i := range max(len(a), len(b)) {
		var x, y int64
		if i < len(a) {
			x = a[i]
		}
		if i < len(b) {
			y = b[i]
		}
		if x != y {
			return false
		}
	}
	return true
}
