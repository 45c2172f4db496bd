package alloc

import (
	"slices"

	v1 "clusterd/node/mesos/v1"
)

// nameTable gives the names of scalar resources dense numbers, so that accounts
// are arrays.
type nameTable struct {
	ids      map[string]int
	names    []string
	excluded []bool // left out of shares
}

func (n *nameTable) id(name string, excluded []string) int {
	if id, known := n.ids[name]; known {
		return id
	}
	if n.ids == nil {
		n.ids = make(map[string]int)
	}
	id := len(n.names)
	n.ids[name] = id
	n.names = append(n.names, name)
	n.excluded = append(n.excluded, slices.Contains(excluded, name))
	return id
}

// amount is a quantity of one scalar name, in thousandths.
type amount struct {
	id    int
	milli int64
}

// amounts appends the scalars among the entries to dst. Sums over many agents
// may wrap around, which undoes itself when the amounts are taken away again.
func (a *Allocator) amounts(dst []amount, entries []Entry) []amount {
	for i := range entries {
		if e := &entries[i]; e.kind == v1.Value_SCALAR {
			dst = append(dst, amount{a.names.id(e.name, a.excluded), e.milli})
		}
	}
	return dst
}

// account is what a client or a node of the role tree holds.
type account struct {
	milli []int64 // by scalar name
	count uint64  // times that resources were given (RES-205)
	share float64 // dominant share by weight
}

func (c *account) add(amounts []amount, sign int64) {
	for _, x := range amounts {
		for x.id >= len(c.milli) {
			c.milli = append(c.milli, 0)
		}
		c.milli[x.id] += sign * x.milli
	}
}

// updateShare sets the dominant share (RES-201). The order of operations is
// part of the behaviour: shares are compared without tolerance (RES-336).
func (a *Allocator) updateShare(c *account, weight float64) {
	var dominant float64
	for id, milli := range c.milli {
		if id >= len(a.totals) || a.totals[id] <= 0 || a.names.excluded[id] {
			continue
		}
		dominant = max(dominant, float64(milli)/float64(a.totals[id]))
	}
	c.share = dominant / weight
}

// addTotal adds the agent's resources to the totals of the cluster or, with
// sign -1, takes them away. Every share changes with them.
func (a *Allocator) addTotal(total Resources, sign int64) {
	a.scratch.amounts = a.amounts(a.scratch.amounts[:0], total.entries)
	totals := account{milli: a.totals}
	totals.add(a.scratch.amounts, sign)
	a.totals = totals.milli
	a.tree.sharesStale = true
}

// need is a minimum of which every part must be met.
type need []struct {
	name  string
	milli int64
}

func needsOf(sets []Quantities) []need {
	needs := make([]need, 0, len(sets))
	for _, q := range sets {
		var n need
		for _, name := range q.Names() {
			n = append(n, struct {
				name  string
				milli int64
			}{name, q[name]})
		}
		needs = append(needs, n)
	}
	return needs
}

// meets reports whether the part of r that keep selects (nil: all of it) is not
// empty and meets one of the needs, if there are any (RES-195). It does not
// allocate.
func meets(needs []need, r Resources, keep func(*Entry) bool) bool {
	if !r.some(keep) {
		return false
	}
	for _, n := range needs {
		if n.met(r, keep) {
			return true
		}
	}
	return len(needs) == 0
}

func (r Resources) some(keep func(*Entry) bool) bool {
	for i := range r.entries {
		if keep == nil || keep(&r.entries[i]) {
			return true
		}
	}
	return false
}

func (n need) met(r Resources, keep func(*Entry) bool) bool {
	for _, part := range n {
		var sum int64
		for i := range r.entries {
			if e := &r.entries[i]; e.name == part.name && (keep == nil || keep(e)) {
				sum = addMilli(sum, e.Milli())
			}
		}
		if sum < part.milli {
			return false
		}
	}
	return true
}
