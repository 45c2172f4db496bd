package cluster

import (
	"cmp"
	"slices"
	"strings"

	"clusterd/raft/registry"
)

// levels are the fault domains that voters are spread over, the widest first: region, zone, rack, host.
const levels = 4

// spread counts, for each level, the pairs of nodes that share a fault domain. The fewer, the more even:
// the sum of the squares of the numbers of nodes in each domain is twice that and the number of nodes.
type spread [levels]int

// shared is how many levels two nodes have in common. A node that does not say shares with those that do
// not say either.
func shared(a, b *registry.Node) int {
	x, y := a.GetDomain().GetFaultDomain(), b.GetDomain().GetFaultDomain()
	switch {
	case x.GetRegion().GetName() != y.GetRegion().GetName():
		return 0
	case x.GetZone().GetName() != y.GetZone().GetName():
		return 1
	case rack(a) != rack(b):
		return 2
	case host(a) != host(b):
		return 3
	}
	return levels
}

func rack(n *registry.Node) string {
	for _, a := range n.GetAttributes() {
		if a.GetName() == "rack" {
			return a.GetText().GetValue()
		}
	}
	return ""
}

// host is the machine in the node's address.
func host(n *registry.Node) string {
	if end := strings.LastIndexByte(n.GetPeerAddress(), ':'); end >= 0 {
		return n.GetPeerAddress()[:end]
	}
	return n.GetPeerAddress()
}

// with counts the pairs that a node makes with others.
func with(s *seat, others []*seat) (pairs spread) {
	for _, o := range others {
		if o == s || o.node == nil || s.node == nil {
			continue
		}
		for level := range shared(s.node, o.node) {
			pairs[level]++
		}
	}
	return pairs
}

// choice is what counts in comparing two sets of voters: more is better, but for pairs.
type choice struct {
	preferred, named int
	pairs            spread
}

func chosen(seats []*seat) choice {
	var c choice
	for i, s := range seats {
		if s.preferred() {
			c.preferred++
		}
		if s.named() {
			c.named++
		}
		pairs := with(s, seats[:i])
		for level := range pairs {
			c.pairs[level] += pairs[level]
		}
	}
	return c
}

// better says whether one set of voters is better than another of the same size.
func (c choice) better(than choice) bool {
	return cmp.Or(
		cmp.Compare(c.preferred, than.preferred),
		cmp.Compare(c.named, than.named),
		slices.Compare(than.pairs[:], c.pairs[:]),
	) > 0
}

// best is the seat that suits a set of voters best, nil if there is none to choose from.
func best(from, base []*seat) *seat {
	var found *seat
	var pairs spread
	for _, s := range from {
		ps := with(s, base)
		if found == nil || cmp.Or(
			compareBool(s.alive, found.alive),
			compareBool(s.preferred(), found.preferred()),
			compareBool(s.named(), found.named()),
			slices.Compare(pairs[:], ps[:]),
			compareBool(s.caughtUp, found.caughtUp),
			older(s, found),
		) > 0 {
			found, pairs = s, ps
		}
	}
	return found
}

// worst is the seat that a set of voters can spare best.
func worst(voters []*seat) *seat {
	var found *seat
	var pairs spread
	for _, s := range voters {
		ps := with(s, voters)
		if found == nil || cmp.Or(
			cmp.Compare(found.worth(), s.worth()),
			compareBool(found.preferred(), s.preferred()),
			compareBool(found.leader, s.leader),
			compareBool(found.named(), s.named()),
			slices.Compare(ps[:], pairs[:]),
			compareBool(found.caughtUp, s.caughtUp),
			older(found, s),
		) > 0 {
			found, pairs = s, ps
		}
	}
	return found
}

// worth ranks voters by how much they are needed as voters.
func (s *seat) worth() int {
	switch {
	case s.doomed && !s.alive:
		return 0
	case s.gone:
		return 1
	case s.doomed:
		return 2
	case !s.alive:
		return 3
	}
	return 4
}

// compareBool is positive if a holds and b does not.
func compareBool(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

// older is positive if a was admitted before b; of two at the same instant the lesser id is the older.
func older(a, b *seat) int {
	return cmp.Or(cmp.Compare(b.node.GetAdmitted(), a.node.GetAdmitted()), cmp.Compare(b.id, a.id), cmp.Compare(b.raftID, a.raftID))
}
