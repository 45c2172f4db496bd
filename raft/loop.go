package raft

import (
	"cmp"
	"runtime"
	"slices"
	"time"

	etcdraft "go.etcd.io/raft/v3"
	"go.etcd.io/raft/v3/raftpb"
	"go.etcd.io/raft/v3/tracker"
	"google.golang.org/protobuf/proto"
)

// run is the loop's goroutine, from its start to the end of the peer.
func (p *Peer) run() {
	p.err = p.protect(p.loop)
	p.disk.cancel()
	if p.writing != nil {
		// Whatever came of it: without its place in the log the file is removed at the next start.
		<-p.writing
	}
	p.core.abandon(p.endError())
	p.closeErr = p.disk.close()
	if p.err != nil {
		p.log.Error("raft peer stopped", "peer", p.cfg.ID, "term", p.core.term, "index", p.core.applied, "err", p.err)
	} else {
		p.log.Info("raft peer closed", "peer", p.cfg.ID, "term", p.core.term, "index", p.core.applied)
	}
	p.announced = Leadership{Term: p.core.term}
	p.publish()
	p.tell(p.announced)
	close(p.leadership)
	close(p.done)
	p.drain()
}

// protect runs fn and turns the panic of the protocol library about a broken invariant, or about
// an error of the log, into an error. Other panics go on.
func (p *Peer) protect(fn func() error) (err error) {
	defer func() {
		switch r := recover().(type) {
		case nil:
			return
		case brokenInvariant:
			err = r
		case *DiskError:
			err = r
		default:
			panic(r)
		}
		if _, failed := p.storage.LastIndex(); failed != nil {
			err = failed // the cause, of which the library keeps the text at best
		}
	}()
	return fn()
}

func (p *Peer) loop() error {
	ticker := time.NewTicker(p.cfg.TickInterval)
	defer ticker.Stop()
	for {
		if err := p.settle(); err != nil {
			return err
		}
		p.announce()
		if err := p.beginSnapshot(); err != nil {
			return err
		}
		select {
		case <-p.stop:
			return nil
		case <-ticker.C:
			p.core.tick(time.Now())
			p.observePeers()
		case first := <-p.proposals:
			p.core.propose(p.batch(first))
		case first := <-p.messages:
			p.step(first)
		case report := <-p.reports:
			if err := report(); err != nil {
				return err
			}
		case err := <-p.writing:
			p.writing = nil
			if err != nil {
				return err
			}
			if err := p.endSnapshot(); err != nil {
				return err
			}
		}
	}
}

// batch takes what else is proposed already, up to the bounds of one turn.
func (p *Peer) batch(first *proposal) []*proposal {
	runtime.Gosched() // callers that were just answered propose again: the next write holds them all
	all, size := []*proposal{first}, len(first.data)
	for len(all) < maxBatch && size < maxBatchBytes {
		select {
		case next := <-p.proposals:
			all, size = append(all, next), size+len(next.data)
		default:
			return all
		}
	}
	return all
}

// step takes a message and what else has come already.
func (p *Peer) step(m *raftpb.Message) {
	for range maxBatch {
		if m.GetType() == raftpb.MsgProp {
			p.log.Debug("raft message refused", "from", m.GetFrom(), "type", m.GetType(), "err", ErrNotLeader)
		} else if err := p.core.step(m); err != nil {
			p.log.Debug("raft message refused", "from", m.GetFrom(), "type", m.GetType(), "err", err)
		}
		select {
		case m = <-p.messages:
		default:
			return
		}
	}
}

// settle carries out what the core wants until it wants nothing more.
func (p *Peer) settle() error {
	for p.core.node.HasReady() {
		if err := p.turn(); err != nil {
			return err
		}
	}
	return nil
}

// turn carries out one Ready: write, send, apply, advance.
func (p *Peer) turn() error {
	rd := p.core.node.Ready()
	if !etcdraft.IsEmptySnap(rd.Snapshot) {
		if err := p.install(rd.Snapshot, rd.HardState); err != nil {
			return err
		}
	}
	if err := p.storage.Save(rd.HardState, rd.Entries, rd.MustSync); err != nil {
		return err
	}
	if len(rd.Messages) > 0 {
		p.cfg.Transport.Send(rd.Messages)
	}
	for _, e := range rd.CommittedEntries {
		if err := p.core.apply(e, p.machine); err != nil {
			return err
		}
		p.grown += uint64(len(e.GetData()))
	}
	p.core.advance(rd, time.Now())
	p.announce()
	p.publish()
	return nil
}

// install takes over a snapshot of the leader in place of the log.
func (p *Peer) install(snap *raftpb.Snapshot, hard *raftpb.HardState) error {
	meta := snap.GetMetadata()
	if err := p.storage.ReadSnapshot(meta.GetIndex(), meta.GetTerm(), p.machine.Restore); err != nil {
		return err
	}
	if err := p.storage.Install(meta, hard); err != nil {
		return err
	}
	p.core.restored(meta)
	p.snapshot = meta.GetIndex()
	p.log.Info("raft snapshot received", "peer", p.cfg.ID, "index", meta.GetIndex(), "term", meta.GetTerm())
	return nil
}

// beginSnapshot starts to write a snapshot if it is time.
func (p *Peer) beginSnapshot() error {
	entries := p.core.applied - p.snapshot
	if p.writing != nil || entries == 0 || entries < p.cfg.SnapshotEntries && p.grown < p.cfg.logBytes {
		return nil
	}
	body, err := p.machine.Snapshot()
	if err != nil {
		return err
	}
	p.written = &raftpb.SnapshotMetadata{
		Index: new(p.core.applied), Term: new(p.core.appliedTerm),
		ConfState: proto.Clone(p.core.conf).(*raftpb.ConfState),
	}
	p.keep = min(p.cfg.KeepEntries, entries*p.cfg.logBytes/max(p.grown, 1))
	p.grown = 0
	p.writing = make(chan error, 1)
	go func(meta *raftpb.SnapshotMetadata, outcome chan<- error) {
		outcome <- p.storage.WriteSnapshot(meta, body)
	}(p.written, p.writing)
	return nil
}

// endSnapshot cuts the log after a snapshot that is durable now, and removes the one before.
func (p *Peer) endSnapshot() error {
	meta := p.written
	if err := p.storage.Compact(meta, p.keep); err != nil {
		return err
	}
	if meta.GetIndex() > p.snapshot {
		p.snapshot = meta.GetIndex()
		p.log.Info("raft snapshot written", "peer", p.cfg.ID, "index", meta.GetIndex(), "term", meta.GetTerm())
	}
	p.publish()
	return nil
}

// announce tells of a change of leader.
func (p *Peer) announce() {
	now, was := p.core.leadership(time.Now()), p.announced
	switch {
	case was.Leader && (!now.Leader || now.Term != was.Term):
		reason := "no quorum answered within the lease"
		if now.Term > was.Term {
			reason = "another peer began a newer term"
		} else if p.core.handingOver {
			reason = "handed over"
		}
		p.log.Info("raft leadership lost", "peer", p.cfg.ID, "term", was.Term, "new_term", now.Term, "reason", reason)
	case now.Leader && !was.Leader:
		p.log.Info("raft leadership gained", "peer", p.cfg.ID, "term", now.Term, "index", p.core.applied, "reason", "elected by a quorum")
	}
	if p.core.leader != p.seenLeader {
		if p.core.leader != etcdraft.None {
			p.changes++
		}
		if p.core.leader != p.cfg.ID {
			p.log.Info("raft leader changed", "peer", p.cfg.ID, "leader", p.core.leader, "old_leader", p.seenLeader, "term", p.core.term)
		}
		p.seenLeader = p.core.leader
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

// publish makes the figures of the core readable from other goroutines.
func (p *Peer) publish() {
	// An error of the log has ended or will end the loop; the figures then do not matter.
	first, _ := p.storage.FirstIndex()
	last, _ := p.storage.LastIndex()
	lease := p.core.lease
	if p.core.alone() {
		lease = time.Time{}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lease = lease
	s := &p.status
	s.ID, s.Leader, s.Leading = p.cfg.ID, p.core.leader, p.announced.Leader
	s.Term, s.Commit, s.Applied = p.core.term, p.core.commit, p.core.applied
	s.First, s.Last, s.Snapshot = first, last, p.snapshot
	s.Proposals, s.Waiting, s.LeaderChanges = p.core.seq, len(p.core.waiting), p.changes
}

// observePeers takes the figures that cost more than a look, once a tick.
func (p *Peer) observePeers() {
	p.ticks++
	var peers []PeerStatus
	last, _ := p.storage.LastIndex() // see publish
	if p.core.role == etcdraft.StateLeader {
		p.core.node.WithProgress(func(id uint64, kind etcdraft.ProgressType, pr tracker.Progress) {
			if id == p.cfg.ID {
				return
			}
			// The library forgets who answered at each check of the quorum.
			if pr.RecentActive {
				p.heard[id] = p.ticks
			}
			heard, ok := p.heard[id]
			peers = append(peers, PeerStatus{
				ID: id, Match: pr.Match, Lag: last - min(pr.Match, last),
				Active: ok && p.ticks-heard < electionTicks, Voter: kind == etcdraft.ProgressTypePeer,
			})
		})
	}
	slices.SortFunc(peers, func(a, b PeerStatus) int { return cmp.Compare(a.ID, b.ID) })
	voters := slices.Sorted(slices.Values(p.core.conf.GetVoters()))
	bytes := p.disk.bytes()
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Peers, p.status.Voters, p.status.LogBytes = peers, voters, bytes
}
