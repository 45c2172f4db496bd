package raft

import "sync"

// reports collects what the peer is to be told of its messages. The loop of the peer sends, and must
// not wait for itself: it is told by a goroutine of the network.
type reports struct {
	ready chan struct{} // holds a value when there may be something to tell

	mu        sync.Mutex
	lost      map[uint64]bool // members to which messages were lost
	snapshots map[uint64]bool // members to which a snapshot was sent, and whether it came there
}

func newReports() reports {
	return reports{ready: make(chan struct{}, 1), lost: make(map[uint64]bool), snapshots: make(map[uint64]bool)}
}

// unreachable notes that a message to a member was lost.
func (r *reports) unreachable(id uint64) {
	r.mu.Lock()
	r.lost[id] = true
	r.mu.Unlock()
	r.wake()
}

// snapshot notes the outcome of the newest snapshot to a member.
func (r *reports) snapshot(id uint64, delivered bool) {
	r.mu.Lock()
	r.snapshots[id] = delivered
	r.mu.Unlock()
	r.wake()
}

func (r *reports) wake() {
	select {
	case r.ready <- struct{}{}:
	default:
	}
}

// take returns what there is to tell, once.
func (r *reports) take() (lost, snapshots map[uint64]bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	lost, snapshots = r.lost, r.snapshots
	r.lost, r.snapshots = make(map[uint64]bool), make(map[uint64]bool)
	return lost, snapshots
}

// report is the goroutine that tells the peer. It ends with the network.
func (n *Network) report() {
	select {
	case <-n.attached:
	case <-n.ctx.Done():
		return
	}
	for {
		select {
		case <-n.reports.ready:
		case <-n.ctx.Done():
			return
		}
		lost, snapshots := n.reports.take()
		for id := range lost {
			n.receiver.ReportUnreachable(id)
		}
		for id, delivered := range snapshots {
			n.receiver.ReportSnapshot(id, delivered)
		}
	}
}
