package raft

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"testing/synctest"
	"time"
)

// nemesis does harm for the time of a history.
func (h *history) nemesis(random *rand.Rand) {
	for time.Since(h.begun) < historyTime {
		time.Sleep(time.Duration(200+random.IntN(2500)) * time.Millisecond) // of the bubble's clock
		switch random.IntN(10) {
		case 0, 1, 2:
			h.cut(random)
		case 3:
			h.logf("links are whole")
			h.net.set(h.weather(random), nil)
		case 4, 5:
			h.crash(random)
		case 6:
			h.reopen()
		case 7:
			h.handOver(random)
		default:
			h.changeMembers(random)
		}
		h.forgetRemoved()
	}
}

// weather is how badly messages are treated from now on.
func (h *history) weather(random *rand.Rand) faults {
	if random.IntN(3) == 0 {
		return faults{delay: 2 * time.Millisecond}
	}
	return faults{
		loss: 0.2 * random.Float64(), repeat: 0.2 * random.Float64(),
		delay: time.Duration(1+random.IntN(150)) * time.Millisecond, breaks: 0.02 * random.Float64(),
	}
}

// cut blocks links.
func (h *history) cut(random *rand.Rand) {
	leader := uint64(0)
	if n := h.leader(); n != nil {
		leader = n.id
	}
	what, blocked := h.net.cut(slices.Sorted(maps.Keys(h.nodes)), leader)
	weather := h.weather(random)
	h.logf("cut: %s; %+v", what, weather)
	h.figures.cuts++
	h.net.set(weather, blocked)
}

// crash ends one or several members, the leader more often than not, and starts some again at once.
func (h *history) crash(random *rand.Rand) {
	for range 1 + random.IntN(2) {
		up := h.up()
		if len(up) == 0 {
			return
		}
		n := up[random.IntN(len(up))]
		if leader := h.leader(); leader != nil && random.IntN(2) == 0 {
			n = leader
		}
		h.logf("peer %d crashes", n.id)
		h.mu.Lock()
		h.figures.crashes++
		h.mu.Unlock()
		h.close(n)
		if random.IntN(2) == 0 {
			time.Sleep(time.Duration(random.IntN(1000)) * time.Millisecond) // of the bubble's clock
			h.logf("peer %d starts", n.id)
			h.open(&linearNode{id: n.id, join: n.join})
		}
	}
}

// reopen starts all that are down.
func (h *history) reopen() {
	for _, id := range slices.Sorted(maps.Keys(h.nodes)) {
		if n := h.nodes[id]; n.peer == nil {
			h.logf("peer %d starts", id)
			h.open(&linearNode{id: id, join: n.join})
		}
	}
}

// handOver has the leader hand over, to anybody or to one that may not be fit.
func (h *history) handOver(random *rand.Rand) {
	n := h.leader()
	if n == nil {
		return
	}
	to := uint64(random.IntN(int(h.next)))
	h.wg.Go(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		err := n.transfer(h, ctx, to)
		h.logf("peer %d hands over to %d: %v", n.id, to, err)
		if err == nil {
			h.mu.Lock()
			h.figures.transfers++
			h.mu.Unlock()
		}
	})
}

func (n *linearNode) transfer(h *history, ctx context.Context, to uint64) error {
	peer, _ := n.peerAndMachine(h)
	if peer == nil {
		return ErrClosed
	}
	return peer.Transfer(ctx, to)
}

// changeMembers makes one change that fits the members as the leader knows them.
func (h *history) changeMembers(random *rand.Rand) {
	n := h.leader()
	if n == nil {
		return
	}
	s := n.peer.Status()
	var wish MemberChange
	others := slices.DeleteFunc(slices.Clone(s.Voters), func(id uint64) bool { return id == n.id })
	switch kind := random.IntN(4); {
	case len(s.Learners) > 0 && kind < 3:
		wish = MemberChange{Promote, s.Learners[0]}
	case len(s.Learners) > 0:
		wish = MemberChange{Remove, s.Learners[0]}
	case len(h.nodes) < maxPeers && kind < 3:
		wish = MemberChange{AddLearner, h.next}
		h.next++
	case len(others) > 1 && kind > 1:
		wish = MemberChange{Remove, others[random.IntN(len(others))]}
	case len(others) > 2:
		wish = MemberChange{Demote, others[random.IntN(len(others))]}
	default:
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	err := n.peer.Change(ctx, wish)
	h.logf("change %v of %d by %d: %v", wish.Kind, wish.ID, n.id, err)
	if err == nil {
		h.mu.Lock()
		h.figures.changes++
		h.mu.Unlock()
	}
	if wish.Kind == AddLearner { // perhaps added: it may wait for the leader
		h.open(&linearNode{id: wish.ID, join: true})
	}
}

// forgetRemoved closes for good the members that an acting leader knows to be removed.
func (h *history) forgetRemoved() {
	leader := h.leader()
	if leader == nil {
		return
	}
	s := leader.peer.Status()
	if s.ChangePending {
		return
	}
	for _, id := range slices.Sorted(maps.Keys(h.nodes)) {
		n := h.nodes[id]
		if slices.Contains(s.Voters, id) || slices.Contains(s.Learners, id) {
			continue
		}
		h.logf("peer %d is a member no more", id)
		h.close(n)
		delete(h.nodes, id)
	}
}

// heal repairs the network and starts all members.
func (h *history) heal() {
	h.logf("all is repaired")
	h.net.set(faults{}, nil)
	h.reopen()
}

// converge waits until the members agree, without any help, and reads all that was written once more.
func (h *history) converge() {
	deadline := time.Now().Add(2 * time.Minute)
	for !h.agree() {
		if time.Now().After(deadline) {
			for _, n := range h.up() {
				s := n.peer.Status()
				h.logf("peer %d: %+v", n.id, s)
			}
			h.t.Errorf("seed %d: the members do not agree two minutes after the last fault", h.seed)
			return
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
		synctest.Wait()
		h.forgetRemoved()
	}
	for _, n := range h.up() {
		for key := range h.keys {
			h.do(n, historyClients, operation{Kind: "read", Key: key}, time.Minute)
		}
	}
}

// agree says whether one member acts and all have applied the same.
func (h *history) agree() bool {
	leader := h.leader()
	if leader == nil {
		return false
	}
	want := leader.peer.Status()
	for _, n := range h.up() {
		s := n.peer.Status()
		if s.Applied != want.Last || s.Term != want.Term || !slices.Equal(s.Voters, want.Voters) {
			return false
		}
		if !maps.Equal(n.machine.image().Of, leader.machine.image().Of) || n.machine.image().Count != leader.machine.image().Count {
			return false
		}
	}
	return true
}
