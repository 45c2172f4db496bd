package sim

import (
	"fmt"
	"hash/fnv"
)

// history is what has happened in the cluster as nobody in it can see it.
type history struct {
	w *world
	// led says which node led each term, newest is the newest term in which a master acted.
	led    map[uint64]*machine
	newest uint64

	log    map[uint64]record // by index
	hashes map[uint64]string // of the registry after the operation at an index
	acked  []acknowledgement
	// newestAcked is the highest index among them.
	newestAcked uint64
	blind       bool // the states of members are not compared here
}

// record is what was applied at an index, by whom first.
type record struct {
	sum uint64
	by  string
}

// acknowledgement is a proposal that somebody was told to be committed.
type acknowledgement struct {
	index uint64
	sum   uint64
}

// hashEvery is how many entries lie between two comparisons of whole registries.
const hashEvery = 8

func sumOf(data []byte) uint64 {
	h := fnv.New64a()
	h.Write(data) // never fails
	return h.Sum64()
}

// applied notes that a member has applied an entry, and checks that it is the one that all others have
// at this index and leads to the same state.
func (h *history) applied(r *peer, index uint64, data []byte) {
	sum, me := sumOf(data), r.p.machine.name
	if old, ok := h.log[index]; !ok {
		h.log[index] = record{sum, me}
	} else if old.sum != sum {
		h.w.failf("%s applies something else at index %d than %s did", me, index, old.by)
	}
	if index%hashEvery == 0 {
		h.state(me, index, r.machine.View().Hash())
	}
}

// state compares the hash of a registry with that of others after the same operation.
func (h *history) state(who string, index uint64, hash string) {
	if h.blind {
		return
	}
	if old, ok := h.hashes[index]; !ok {
		h.hashes[index] = hash
	} else if old != hash {
		h.w.failf("the registry of %s at index %d is not that of others", who, index)
	}
}

// acknowledged notes that a proposal was answered.
func (h *history) acknowledged(index uint64, data []byte) {
	h.acked = append(h.acked, acknowledgement{index, sumOf(data)})
	h.newestAcked = max(h.newestAcked, index)
}

// lost says which acknowledged write is not what all have at its place; empty if none is.
func (h *history) lost() string {
	for _, a := range h.acked {
		if got, ok := h.log[a.index]; !ok || got.sum != a.sum {
			return fmt.Sprintf("the write that was acknowledged at index %d is lost", a.index)
		}
	}
	return ""
}

// acts notes that a master acts at this moment, and checks that it is the only one (CLU-33).
func (h *history) acts(l *leader) {
	me := l.p.machine
	switch other := h.led[l.term]; {
	case other == nil:
		h.led[l.term] = me
	case other != me:
		h.w.failf("%s acts in term %d, which %s has led", me.name, l.term, other.name)
	}
	if l.term < h.newest {
		h.w.failf("%s acts in term %d after %s has in term %d", me.name, l.term, h.led[h.newest].name, h.newest)
	}
	h.newest = l.term
	for _, m := range h.w.nodes {
		if m == me || m.process == nil || m.process.dead || m.process.lead == nil {
			continue
		}
		if o := m.process.lead; m.process.peer.leads(o.term) {
			h.w.failf("%s acts in term %d while %s may act in term %d", me.name, l.term, m.name, o.term)
		}
	}
}
