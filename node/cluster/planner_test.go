package cluster

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/raft/registry"
)

// wipe lets a machine lose its disk and join again as a new node at the same address.
func (w *world) wipe(id string) {
	old, _ := w.state.Node(id)
	w.kill(id)
	fresh := w.join(func(n *registry.Node) {
		n.PeerAddress, n.MasterAddress, n.Domain, n.Attributes = old.PeerAddress, old.MasterAddress, old.Domain, old.Attributes
	})
	w.note("%s is %s now", id, fresh)
}

// remove takes a node out of the registry if it is no raft member.
func (w *world) remove(id string) {
	op := &registry.RemoveNode{NodeId: &id, Time: proto.Int64(w.now.UnixNano()), Until: proto.Int64(w.now.UnixNano())}
	if w.apply(&registry.Op{Op: &registry.Op_RemoveNode{RemoveNode: op}}).Refused == "" {
		w.note("%s is removed", id)
		delete(w.nodes, id)
	}
}

// event lets something happen.
func (w *world) event() {
	ids := slices.Sorted(maps.Keys(w.nodes))
	id := ids[w.r.IntN(len(ids))]
	m := w.nodes[id]
	switch w.r.IntN(16) {
	case 0, 1, 2:
		if len(ids) < 12 {
			w.join(func(n *registry.Node) {
				switch w.r.IntN(8) {
				case 0:
					n.Role = registry.Node_MASTER.Enum()
				case 1:
					n.Role = registry.Node_BOTH.Enum()
				case 2:
					n.Role = registry.Node_AGENT.Enum()
				case 3:
					n.MayBeMaster = nil
				}
			})
		}
	case 3, 4, 5, 6:
		// Most often a quorum remains, so that there is something to decide.
		if m.alive && (w.spares(id) || w.r.IntN(8) == 0) {
			w.kill(id)
		}
	case 7, 8, 9, 10:
		if !m.alive {
			w.note("%s returns", id)
			m.alive = true
		}
	case 11:
		w.place(id, []registry.Node_Placement{registry.Node_ANY, registry.Node_PREFERRED, registry.Node_BARRED}[w.r.IntN(3)])
	case 12:
		w.masters([]int{1, 3, 5, 7}[w.r.IntN(4)])
	case 13:
		if _, raftID := w.memberOf(id); raftID != 0 && w.leader != id && w.spares(id) {
			w.note("%s loses its log", id)
			m.lost = raftID
		}
	case 14:
		if len(ids) < 12 && !w.superseded(id) && w.spares(id) {
			w.wipe(id)
		}
	case 15:
		if m.stuck = !m.stuck; m.stuck {
			w.note("%s does not catch up", id)
		}
	}
	w.settle()
}

// spares says whether a quorum remains without a machine.
func (w *world) spares(id string) bool {
	voters, alive := w.votes()
	if m, raftID := w.memberOf(id); m != nil && m.voter && w.lives(raftID) {
		alive--
	}
	return alive >= quorum(voters)
}

// superseded says whether a machine has lost its address to a later one.
func (w *world) superseded(id string) bool {
	n, _ := w.state.Node(id)
	for _, o := range w.state.Nodes() {
		if o.GetId() != id && o.GetPeerAddress() == n.GetPeerAddress() {
			return true
		}
	}
	return false
}

// heal brings all machines back, and then stops some, none of them needed for a quorum. Of two nodes
// that are one machine the later one lives.
func (w *world) heal(dead int) {
	ids := slices.Sorted(maps.Keys(w.nodes))
	for _, id := range ids {
		n, _ := w.state.Node(id)
		m := w.nodes[id]
		m.stuck, m.alive = false, w.lastAt(n.GetPeerAddress()) == id
	}
	for range dead {
		if id := ids[w.r.IntN(len(ids))]; w.spares(id) {
			w.note("%s stays away", id)
			w.nodes[id].alive = false
		}
	}
}

func (w *world) lastAt(address string) string {
	last := ""
	for _, n := range w.state.Nodes() {
		if n.GetPeerAddress() == address {
			last = n.GetId() // ids ascend with time
		}
	}
	return last
}

// fit are the nodes that could be masters now.
func (w *world) fit() []*registry.Node {
	return slices.DeleteFunc(w.state.Nodes(), func(n *registry.Node) bool {
		m := w.nodes[n.GetId()]
		return !n.MayLead() || n.GetPlacement() == registry.Node_BARRED || !m.alive
	})
}

// checkSettled looks at what the cluster must have come to when a leader had all the time it wanted.
func (w *world) checkSettled() {
	if w.leader == "" {
		if w.hasQuorum() {
			w.fail("no leader with a quorum")
		}
		return
	}
	voters, alive := w.votes()
	for id := range w.members {
		if _, ok := w.state.NodeByRaftID(id); !ok {
			w.fail("raft member %d is a stray", id)
		}
	}
	var doomed, kept, learners int
	var seats []*seat
	for _, n := range w.state.Nodes() {
		m, raftID := w.memberOf(n.GetId())
		switch {
		case raftID != 0 && m == nil:
			w.fail("%s has raft id %d, which is not in use", n.GetId(), raftID)
		case m == nil:
		case !m.voter:
			learners++
		default:
			seats = append(seats, &seat{id: n.GetId(), node: n, alive: w.lives(raftID)})
			if !n.MayLead() || n.GetPlacement() == registry.Node_BARRED {
				doomed++
			} else if !w.lives(raftID) {
				kept++
			}
		}
	}
	fit := len(w.fit())
	switch {
	case doomed > 0:
		// Nobody could take its place: only a single voter, or one whose going would end the quorum.
		if fit > voters-doomed-kept || voters > 1 && alive-1 >= quorum(voters-1) {
			w.fail("%d of %d voters should not be", doomed, voters)
		}
	case fit >= w.wanted():
		if voters != w.wanted() || alive != voters || learners > 0 {
			w.fail("%d of %d voters alive, %d learners: want %d of %d fit nodes", alive, voters, learners, w.wanted(), fit)
		}
		w.checkChoice(seats)
	case kept > 0:
		// An unreachable voter stays when no node can take its place.
		if kept > 1 || voters%2 == 0 || fit != alive {
			w.fail("%d of %d voters alive with %d fit nodes", alive, voters, fit)
		}
	default:
		if voters%2 == 0 || voters != (fit-1)|1 || learners != fit-voters {
			w.fail("%d voters and %d learners of %d fit nodes", voters, learners, fit)
		}
	}
}

// checkChoice holds the voters against all other choices with the same leader. CLU-5
func (w *world) checkChoice(voters []*seat) {
	have := chosen(voters)
	var all []*seat
	for _, n := range w.fit() {
		all = append(all, &seat{id: n.GetId(), node: n})
	}
	var try func(from int, picked []*seat)
	try = func(from int, picked []*seat) {
		if len(picked) == len(voters) {
			led := slices.ContainsFunc(picked, func(s *seat) bool { return s.id == w.leader })
			if c := chosen(picked); led && c.better(have) || c.preferred > have.preferred {
				var ids []string
				for _, s := range picked {
					ids = append(ids, s.id)
				}
				w.fail("voters %+v, but %v are %+v", have, ids, c)
			}
			return
		}
		for i := from; i < len(all); i++ {
			try(i+1, append(slices.Clone(picked), all[i]))
		}
	}
	try(0, nil)
}

// Whatever happens, in any order and with steps that fail, are lost or come late, with leaders that die
// between two steps: each step is safe, and when the trouble is over the cluster comes to what is
// wanted, and rests. CLU-5 CLU-6 CLU-36 CLU-37
func TestAnyHistory(t *testing.T) {
	seeds := uint64(1500)
	if testing.Short() {
		seeds = 200
	}
	for seed := range seeds {
		t.Run(fmt.Sprint(seed), func(t *testing.T) { history(t, seed) })
	}
}

// While all nodes live, the number of voters is even only between two steps that follow one another:
// from one to seven and back, with nodes promoted and demoted on the way. CLU-5
func TestOddNumbers(t *testing.T) {
	for seed := range uint64(100) {
		w := newWorld(t, seed, 1)
		w.calm = true
		for range w.r.IntN(10) {
			w.join(nil)
			w.run(time.Duration(w.r.IntN(300)) * time.Second)
		}
		for range 20 {
			ids := slices.Sorted(maps.Keys(w.nodes))
			switch w.r.IntN(3) {
			case 0:
				w.masters([]int{1, 3, 5, 7}[w.r.IntN(4)])
			case 1:
				w.place(ids[w.r.IntN(len(ids))], registry.Node_PREFERRED)
			case 2:
				// Demoting needs a node to take the place.
				if id := ids[w.r.IntN(len(ids))]; len(w.fit()) > w.wanted()+1 {
					w.place(id, registry.Node_BARRED)
				}
			}
			w.run(time.Duration(w.r.IntN(20)) * time.Minute)
		}
		w.run(time.Hour)
		w.checkSettled()
	}
}

func history(t *testing.T, seed uint64) {
	w := newWorld(t, seed, 3)
	for range w.r.IntN(6) {
		w.join(nil)
	}
	w.run(time.Duration(w.r.IntN(120)) * time.Second)
	w.flaky = true
	for range 10 + w.r.IntN(60) {
		w.event()
		w.run(time.Duration(w.r.Int64N(int64([]time.Duration{time.Second, 10 * time.Second, 8 * time.Minute}[w.r.IntN(3)]))) + 1)
	}
	w.note("healed")
	w.flaky = false
	w.heal(w.r.IntN(4))
	w.settle()
	w.run(2 * time.Hour)
	w.checkSettled()
	// It rests.
	w.now = w.now.Add(time.Minute)
	at := len(w.log)
	w.run(6 * time.Hour)
	if len(w.log) > at {
		w.fail("steps without a cause")
	}
}
