package raft

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// network carries messages between the peers of one test; links can be cut.
type network struct {
	mu    sync.Mutex
	peers map[uint64]*Peer
	cut   map[uint64]bool
	wg    sync.WaitGroup
}

// port is one peer's way into the network.
type port struct {
	net  *network
	from uint64
}

func (p port) Send(messages []*raftpb.Message) {
	p.net.mu.Lock()
	defer p.net.mu.Unlock()
	if p.net.cut[p.from] {
		return
	}
	for _, m := range messages {
		to, ok := p.net.peers[m.GetTo()]
		if !ok || p.net.cut[m.GetTo()] {
			continue
		}
		m = proto.Clone(m).(*raftpb.Message)
		from := p.net.peers[p.from]
		p.net.wg.Go(func() {
			if m.GetType() == raftpb.MsgSnap {
				delivered := carry(from, to, m) == nil
				from.ReportSnapshot(m.GetTo(), delivered)
				if !delivered {
					return
				}
			}
			// A peer that has ended receives nothing: the message is lost.
			_ = to.Receive(context.Background(), m)
		})
	}
}

// carry copies the file that a MsgSnap is about.
func carry(from, to *Peer, m *raftpb.Message) (err error) {
	meta := m.GetSnapshot().GetMetadata()
	r, err := from.OpenSnapshot(meta.GetIndex(), meta.GetTerm())
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	w, err := to.ReceiveSnapshot(r.File())
	if err != nil {
		return err
	}
	if _, err := r.Seek(w.Offset(), io.SeekStart); err != nil {
		return errors.Join(err, w.Close())
	}
	if _, err := io.Copy(w, r); err != nil {
		return errors.Join(err, w.Close())
	}
	return w.Commit()
}

func (n *network) isolate(id uint64, cut bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.cut[id] = cut
}

func (n *network) add(id uint64, p *Peer) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if p == nil {
		delete(n.peers, id)
		return
	}
	n.peers[id] = p
}

// group is three peers in a bubble of testing/synctest.
type group struct {
	t        *testing.T
	dir      string
	net      *network
	peers    map[uint64]*Peer
	journals map[uint64]*journal
	leads    map[uint64]Leadership
}

func newGroup(t *testing.T) *group {
	g := &group{
		t: t, dir: t.TempDir(), net: &network{peers: map[uint64]*Peer{}, cut: map[uint64]bool{}},
		peers: map[uint64]*Peer{}, journals: map[uint64]*journal{}, leads: map[uint64]Leadership{},
	}
	for id := uint64(1); id <= 3; id++ {
		g.open(id)
	}
	return g
}

func (g *group) config(id uint64) Config {
	return Config{
		Dir: filepath.Join(g.dir, fmt.Sprint(id)), ID: id, Voters: []uint64{1, 2, 3}, Transport: port{g.net, id},
		SnapshotEntries: 30, KeepEntries: 5, NoSync: true, TickInterval: 100 * time.Millisecond,
	}
}

func (g *group) open(id uint64) {
	g.t.Helper()
	j := &journal{}
	g.reopen(id, j)
	g.journals[id] = j
}

// reopen opens a peer with a machine of the test's own.
func (g *group) reopen(id uint64, machine StateMachine) {
	g.t.Helper()
	p, err := Open(g.config(id), machine)
	if err != nil {
		g.t.Fatal(err)
	}
	g.peers[id] = p
	delete(g.leads, id)
	g.net.add(id, p)
}

func (g *group) close(id uint64) {
	g.t.Helper()
	mustClose(g.t, g.peers[id])
	g.net.add(id, nil)
	delete(g.peers, id)
	delete(g.leads, id)
}

func (g *group) closeAll() {
	for id := range g.peers {
		g.close(id)
	}
	g.net.wg.Wait()
}

// observe takes in what the peers said of their leadership.
func (g *group) observe() {
	synctest.Wait()
	for id, p := range g.peers {
		select {
		case l := <-p.Leadership():
			g.leads[id] = l
		default:
		}
	}
}

// leader lets time pass until one of these peers leads, at most one in each term.
func (g *group) leader(among ...uint64) uint64 {
	g.t.Helper()
	for range 200 {
		g.observe()
		terms := map[uint64]uint64{}
		for id, l := range g.leads {
			if !l.Leader {
				continue
			}
			if other, ok := terms[l.Term]; ok {
				g.t.Fatalf("peers %d and %d both lead in term %d", id, other, l.Term)
			}
			terms[l.Term] = id
		}
		for _, id := range among {
			if g.leads[id].Leader {
				return id
			}
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	g.t.Fatalf("none of %v leads", among)
	return 0
}

// others are the open peers except one.
func (g *group) others(id uint64) []uint64 {
	var ids []uint64
	for other := range g.peers {
		if other != id {
			ids = append(ids, other)
		}
	}
	slices.Sort(ids)
	return ids
}

// same lets time pass until the open peers have applied the same.
func (g *group) same(want []string) {
	g.t.Helper()
	equal := func() bool {
		for id := range g.peers {
			if !slices.Equal(g.journals[id].all(), want) {
				return false
			}
		}
		return true
	}
	for range 100 {
		synctest.Wait()
		if equal() {
			return
		}
		time.Sleep(100 * time.Millisecond) // of the bubble's clock
	}
	for id := range g.peers {
		g.t.Errorf("peer %d has %d entries, want %d: %v", id, len(g.journals[id].all()), len(want), g.journals[id].all())
	}
	g.t.FailNow()
}

// Three peers elect one leader, and all apply what it commits. CLU-30
func TestThreePeersReplicate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		leader := g.leader(1, 2, 3)
		entries := numbered("entry", 20)
		for _, data := range entries {
			mustPropose(t, g.peers[leader], data)
		}
		g.same(entries)
		for _, id := range g.others(leader) {
			_, _, err := g.peers[id].Propose(t.Context(), []byte("x"))
			var other *NotLeaderError
			if !errors.Is(err, ErrNotLeader) || !errors.As(err, &other) || other.Leader != leader {
				t.Errorf("propose to follower %d: %v, want the leader %d", id, err, leader)
			}
		}
		// The peers' lag is known on the leader. CLU-39
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		s := g.peers[leader].Status()
		if len(s.Peers) != 2 || s.Peers[0].Lag != 0 || !s.Peers[0].Active || !slices.Equal(s.Voters, []uint64{1, 2, 3}) {
			t.Errorf("status of the leader: %+v", s)
		}
	})
}

// acting returns the peers that lead right now.
func (g *group) acting() []uint64 {
	var ids []uint64
	for id, p := range g.peers {
		if p.Leading() {
			ids = append(ids, id)
		}
	}
	return ids
}

// A leader without a quorum stops before another begins; what it had under way is given up, and its
// log gives way to that of the new leader. CLU-33
func TestLeaderWithoutQuorumStops(t *testing.T) {
	for run := range 10 { // the election time-outs are drawn by chance
		t.Run(fmt.Sprint(run), func(t *testing.T) {
			synctest.Test(t, testLeaderWithoutQuorum)
		})
	}
}

func testLeaderWithoutQuorum(t *testing.T) {
	g := newGroup(t)
	defer g.closeAll()
	old := g.leader(1, 2, 3)
	mustPropose(t, g.peers[old], "before")
	g.same([]string{"before"})
	g.net.isolate(old, true)
	lost := make(chan error, 1)
	go func() {
		_, _, err := g.peers[old].Propose(context.Background(), []byte("lost"))
		lost <- err
	}()
	begun := time.Now()
	for gap := false; ; {
		g.observe()
		acting := g.acting()
		if len(acting) > 1 {
			t.Fatalf("after %v %v act at the same time", time.Since(begun), acting)
		}
		if gap = gap || len(acting) == 0; !gap && acting[0] != old {
			t.Fatalf("after %v %v acts, with no time without a leader", time.Since(begun), acting)
		}
		if len(acting) == 1 && acting[0] != old {
			break
		}
		if time.Since(begun) > 20*time.Second {
			t.Fatal("no new leader")
		}
		time.Sleep(10 * time.Millisecond) // of the bubble's clock
	}
	if err := <-lost; !errors.Is(err, ErrLeadershipLost) {
		t.Fatalf("proposal without a quorum: %v", err)
	}
	leader := g.leader(g.others(old)...)
	mustPropose(t, g.peers[leader], "after")
	g.net.isolate(old, false)
	g.same([]string{"before", "after"})
	// With pre-vote, the one that was away does not depose the leader.
	if now := g.leader(1, 2, 3); now != leader {
		t.Errorf("leader %d gave way to %d", leader, now)
	}
}

// A leader that hears of its quorum again in time acts again in the same term. CLU-33
func TestLeaseIsRenewed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		id := g.leader(1, 2, 3)
		term := g.leads[id].Term
		g.net.isolate(id, true)
		for g.leads[id].Leader {
			time.Sleep(10 * time.Millisecond) // of the bubble's clock
			g.observe()
		}
		if len(g.acting()) > 0 {
			t.Errorf("%v act", g.acting())
		}
		g.net.isolate(id, false)
		if again := g.leader(1, 2, 3); again != id || g.leads[id].Term != term {
			t.Errorf("peer %d leads in term %d, want %d in %d", again, g.leads[again].Term, id, term)
		}
	})
}

// A peer that was away for longer than the log reaches back gets the snapshot, also after a restart
// of everyone. CLU-30
func TestFollowerCatchesUpBySnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		leader := g.leader(1, 2, 3)
		away := g.others(leader)[0]
		g.close(away)
		entries := numbered("entry", 200)
		for _, data := range entries {
			mustPropose(t, g.peers[leader], data)
		}
		synctest.Wait()
		if s := g.peers[leader].Status(); s.First < 100 {
			t.Fatalf("log of the leader begins at %d", s.First)
		}
		g.open(away)
		g.same(entries)
		if s := g.peers[away].Status(); s.Snapshot < 100 || s.First < 100 {
			t.Errorf("status of the follower %+v, want that it got a snapshot", s)
		}
		for _, id := range []uint64{1, 2, 3} {
			g.close(id)
		}
		for _, id := range []uint64{1, 2, 3} {
			g.open(id)
		}
		leader = g.leader(1, 2, 3)
		mustPropose(t, g.peers[leader], "last")
		g.same(append(slices.Clone(entries), "last"))
	})
}

// Messages that make no sense change nothing.
func TestStrangeMessagesAreRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		leader := g.leader(1, 2, 3)
		for _, m := range []*raftpb.Message{
			{},
			{Type: raftpb.MsgHup.Enum()},
			{Type: raftpb.MsgProp.Enum(), From: new(uint64(2)), Entries: []*raftpb.Entry{{Data: []byte("raw")}}},
			{Type: raftpb.MsgAppResp.Enum(), From: new(uint64(99)), Index: new(uint64(5))},
			{Type: raftpb.MsgStorageAppend.Enum(), From: new(uint64(2))},
		} {
			if err := g.peers[leader].Receive(t.Context(), m); err != nil {
				t.Errorf("receive: %v", err)
			}
		}
		unseen := &raftpb.Message{Type: raftpb.MsgSnap.Enum(), From: new(leader), Snapshot: &raftpb.Snapshot{
			Metadata: &raftpb.SnapshotMetadata{Index: new(uint64(1000)), Term: new(uint64(9))},
		}}
		if err := g.peers[g.others(leader)[0]].Receive(t.Context(), unseen); !errors.Is(err, ErrNoSnapshot) {
			t.Errorf("receive of a snapshot that did not arrive: %v", err)
		}
		g.peers[leader].ReportUnreachable(99)
		g.peers[leader].ReportSnapshot(99, false)
		mustPropose(t, g.peers[leader], "entry")
		g.same([]string{"entry"})
	})
}
