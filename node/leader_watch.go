package node

import (
	"context"
	"sync"
	"time"
)

// leaderLook is how often a watch looks for the leader while someone waits for one.
const leaderLook = 20 * time.Millisecond

// leaderWatch lets any number of connections wait for the next leader with one look at a time.
type leaderWatch struct {
	mu     sync.Mutex
	coming chan struct{} // closed when a leader is known; nil while nobody waits
}

// await returns when a leader is known, or with the context.
func (w *leaderWatch) await(ctx context.Context, n *Node) {
	if n.leaderIsKnown() {
		return
	}
	w.mu.Lock()
	if w.coming == nil {
		coming := make(chan struct{})
		w.coming = coming
		n.wg.Go(func() {
			w.look(n)
			w.mu.Lock()
			w.coming = nil
			w.mu.Unlock()
			close(coming)
		})
	}
	coming := w.coming
	w.mu.Unlock()
	select {
	case <-coming:
	case <-ctx.Done():
	}
}

func (w *leaderWatch) look(n *Node) {
	tick := time.NewTicker(leaderLook)
	defer tick.Stop()
	for !n.leaderIsKnown() {
		select {
		case <-n.ctx.Done():
			return
		case <-tick.C:
		}
	}
}

// leaderIsKnown says whether this node leads, or could send others to the node that does.
func (n *Node) leaderIsKnown() bool {
	if n.acting() != nil {
		return true
	}
	to, ok := n.knownLeader()
	return ok && to.nodeID != n.identity().NodeID
}
