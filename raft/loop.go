package raft

import (
	"runtime"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
)

// run is the loop's goroutine, from its start to the end of the peer.
func (p *Peer) run() {
	p.err = p.loop()
	p.disk.cancel()
	for ; p.working > 0; p.working-- {
		end := <-p.worked
		end()
	}
	p.member.Stop(p.endError())
	p.closeErr = p.disk.close()
	s := p.member.Status(time.Now())
	if p.err != nil {
		p.log.Error("raft peer stopped", "peer", p.cfg.ID, "term", s.Term, "index", s.Applied, "err", p.err)
	} else {
		p.log.Info("raft peer closed", "peer", p.cfg.ID, "term", s.Term, "index", s.Applied)
	}
	p.announced = Leadership{Term: s.Term}
	p.publish()
	p.answer()
	p.tell(p.announced)
	close(p.leadership)
	close(p.done)
	p.drain()
}

func (p *Peer) loop() error {
	ticker := time.NewTicker(p.cfg.TickInterval)
	defer ticker.Stop()
	for {
		if err := p.member.Settle(time.Now()); err != nil {
			return err
		}
		p.announce()
		p.publish()
		if p.member.core.confs != p.confs {
			p.publishMembers()
		}
		p.answer()
		select {
		case <-p.stop:
			return nil
		case <-ticker.C:
			p.member.Tick(time.Now())
			p.publishMembers()
		case first := <-p.proposals:
			p.member.Submit(p.batch(first)...)
		case first := <-p.reads:
			p.member.ReadIndex(p.batchReads(first)...)
		case first := <-p.messages:
			p.step(first)
		case call := <-p.calls:
			if err := call(p.member); err != nil {
				return err
			}
		case end := <-p.worked:
			p.working--
			end()
		}
		p.gather()
	}
}

// gather takes messages and proposals that have come already, so that one turn serves all: the answers
// of followers to one batch, and the next batch.
func (p *Peer) gather() {
	select {
	case first := <-p.messages:
		p.step(first)
	default:
	}
	select {
	case first := <-p.proposals:
		p.member.Submit(p.batch(first)...)
	default:
	}
}

// answer tells callers of [Peer.await] what came of it, after the figures show it.
func (p *Peer) answer() {
	for i, end := range p.answers {
		p.answers[i] = nil
		end()
	}
	p.answers = p.answers[:0]
}

// aside runs work of the member on another goroutine. The loop calls it.
func (p *Peer) aside(work func() error, done func(error)) {
	p.working++
	go func() {
		err := work()
		p.worked <- func() { done(err) } // the loop waits for it, also at the end
	}()
}

// batch takes what else is proposed already, up to the bounds of one turn.
func (p *Peer) batch(first Proposal) []Proposal {
	runtime.Gosched() // callers that were just answered propose again: the next write holds them all
	all, size := []Proposal{first}, len(first.Data)
	for len(all) < maxBatch && size < maxBatchBytes {
		select {
		case next := <-p.proposals:
			all, size = append(all, next), size+len(next.Data)
		default:
			return all
		}
	}
	return all
}

// batchReads takes who else wants to read already.
func (p *Peer) batchReads(first func(uint64, error)) []func(uint64, error) {
	runtime.Gosched()
	all := []func(uint64, error){first}
	for len(all) < maxBatch {
		select {
		case next := <-p.reads:
			all = append(all, next)
		default:
			return all
		}
	}
	return all
}

// step takes a message and what else has come already.
func (p *Peer) step(m *raftpb.Message) {
	now := time.Now()
	for range maxBatch {
		if err := p.member.Step(m, now); err != nil {
			p.log.Debug("raft message refused", "peer", p.cfg.ID, "from", m.GetFrom(), "type", m.GetType(), "err", err)
		}
		select {
		case m = <-p.messages:
		default:
			return
		}
	}
}

// send gives messages to the transport. A peer that gave way says so before others can learn of it.
func (p *Peer) send(messages []*raftpb.Message) {
	p.announce()
	p.cfg.Transport.Send(messages)
}

// announce tells of a change of leader, and logs what happened since the last turn.
func (p *Peer) announce() {
	if p.member == nil {
		return // still being made
	}
	old := p.seen
	p.member.figures(&p.seen, time.Now())
	s := &p.seen
	now, was := Leadership{Leader: s.Leading, Term: s.Term}, p.announced
	switch {
	case was.Leader && (!now.Leader || now.Term != was.Term):
		reason := "no quorum answered within the lease"
		if s.Term > was.Term {
			reason = "another peer began a newer term"
		} else if s.HandingOver {
			reason = "handed over"
		}
		p.log.Info("raft leadership lost", "peer", p.cfg.ID, "term", was.Term, "new_term", now.Term, "reason", reason)
	case now.Leader && !was.Leader:
		p.log.Info("raft leadership gained", "peer", p.cfg.ID, "term", now.Term, "index", s.Applied, "reason", "elected by a quorum")
	}
	if s.Leader != old.Leader && s.Leader != p.cfg.ID {
		p.log.Info("raft leader changed", "peer", p.cfg.ID, "leader", s.Leader, "old_leader", old.Leader, "term", s.Term)
	}
	switch {
	case s.SnapshotsReceived > old.SnapshotsReceived:
		p.log.Info("raft snapshot received", "peer", p.cfg.ID, "index", s.Snapshot)
	case s.Snapshot > old.Snapshot && old.ID != etcdraft.None:
		p.log.Info("raft snapshot written", "peer", p.cfg.ID, "index", s.Snapshot)
	}
	if s.Removed && !old.Removed {
		p.log.Info("raft member removed from the group", "peer", p.cfg.ID, "index", s.Applied)
		close(p.removed)
	}
	if now.Leader != was.Leader || now.Leader && now.Term != was.Term {
		p.announced = now
		p.publish() // whoever hears of it sees it in the figures
		p.tell(now)
	}
}

// tell puts the newest leadership in the place of one that was not read yet.
func (p *Peer) tell(l Leadership) {
	select {
	case <-p.leadership:
	default:
	}
	p.leadership <- l // never blocks: nobody else writes
}

// publish makes the figures of the member readable from other goroutines.
func (p *Peer) publish() {
	lease := p.member.Lease()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lease = lease
	p.member.figures(&p.status, time.Now())
	p.status.Leading = p.announced.Leader
}

// publishMembers publishes the figures that cost more than a look: once a tick, and after a change of
// members.
func (p *Peer) publishMembers() {
	bytes := p.disk.bytes()
	p.confs = p.member.core.confs
	p.mu.Lock()
	defer p.mu.Unlock()
	p.member.others(&p.status)
	p.status.LogBytes = bytes
}
