package raft

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// join opens a peer that begins with an empty log.
func (g *group) join(id uint64) {
	g.t.Helper()
	cfg := g.config(id)
	cfg.Voters, cfg.Join = nil, true
	j := &journal{}
	p, err := Open(cfg, j)
	if err != nil {
		g.t.Fatal(err)
	}
	g.peers[id], g.journals[id] = p, j
	g.net.add(id, p)
}

// Peers come and go while the group works; one by one all of the first are replaced. CLU-5 CLU-6 CLU-37
func TestMembersAreReplaced(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		leader := g.leader(1, 2, 3)
		var want []string
		write := func(n int) {
			for _, data := range numbered("entry", n) {
				mustPropose(t, g.peers[leader], data)
				want = append(want, data)
			}
		}
		write(100)
		for next := uint64(4); next <= 6; next++ {
			g.join(next)
			change := func(kind ChangeKind, id uint64) {
				t.Helper()
				for range 100 {
					err := g.peers[leader].Change(t.Context(), MemberChange{kind, id})
					if err == nil {
						return
					}
					if !errors.Is(err, ErrNotCaughtUp) {
						t.Fatalf("%v %d: %v", kind, id, err)
					}
					time.Sleep(100 * time.Millisecond) // of the bubble's clock
				}
				t.Fatalf("%v %d: never caught up", kind, id)
			}
			change(AddLearner, next)
			write(20)
			change(Promote, next)
			old := next - 3
			if old == leader {
				if err := g.peers[leader].Change(t.Context(), MemberChange{Remove, old}); !errors.Is(err, ErrLeaderStays) {
					t.Errorf("remove of the leader: %v", err)
				}
				if err := g.peers[leader].Transfer(t.Context(), 0); err != nil {
					t.Fatal(err)
				}
				if g.peers[leader].Leading() {
					t.Error("the old leader acts")
				}
				leader = g.leader(g.others(leader)...)
			}
			change(Remove, old)
			select {
			case <-g.peers[old].Removed():
			case <-time.After(time.Second): // of the bubble's clock
				t.Errorf("peer %d was not told that it was removed", old)
			}
			if s := g.peers[old].Status(); !s.Removed || s.Leading {
				t.Errorf("removed peer: %+v", s)
			}
			g.close(old)
			write(20)
		}
		g.same(want)
		for id := range g.peers {
			time.Sleep(time.Second) // of the bubble's clock
			index, err := g.peers[id].ReadIndex(t.Context())
			s := g.peers[id].Status()
			if err != nil || s.Applied < index || !slices.Equal(s.Voters, []uint64{4, 5, 6}) || len(s.Peers) != 2 || time.Since(s.Peers[0].LastHeard) > 5*time.Second && s.Leading {
				t.Errorf("peer %d: read at %d, %v; %+v", id, index, err, s)
			}
			select {
			case <-g.peers[id].Removed():
				t.Errorf("peer %d is a member", id)
			default:
			}
		}
	})
}

// Callers that go away, and peers that end, end the waiting.
func TestChangesOfAPeerThatEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		leader := g.leader(1, 2, 3)
		p := g.peers[leader]
		g.net.isolate(leader, true)
		ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
		defer cancel()
		if err := p.Change(ctx, MemberChange{AddLearner, 9}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("change: %v", err)
		}
		if _, err := p.ReadIndex(ctx); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("read: %v", err)
		}
		if err := p.Transfer(ctx, 0); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("hand-over: %v", err)
		}
		ended := make(chan error, 2)
		go func() {
			_, err := p.ReadIndex(context.Background())
			ended <- err
		}()
		go func() { ended <- p.Change(context.Background(), MemberChange{Remove, 9}) }()
		synctest.Wait()
		g.close(leader)
		for range 2 {
			if err := <-ended; !errors.Is(err, ErrClosed) && !errors.Is(err, ErrNotLeader) && !errors.Is(err, ErrChangePending) {
				t.Errorf("under way: %v", err)
			}
		}
		if err := p.Transfer(context.Background(), 0); !errors.Is(err, ErrClosed) {
			t.Errorf("hand-over of a peer that ended: %v", err)
		}
		if _, err := p.ReadIndex(context.Background()); !errors.Is(err, ErrClosed) {
			t.Errorf("read of a peer that ended: %v", err)
		}
	})
}

// A peer that joins needs no list of voters, and its directory is its own afterwards. CLU-36
func TestJoinConfiguration(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "raft")
	cfg := Config{Dir: dir, ID: 4, Join: true, Voters: []uint64{4}, NoSync: true}
	_, err := Open(cfg, discard{})
	if err == nil || !strings.Contains(err.Error(), "Voters") || !strings.Contains(err.Error(), "Transport") {
		t.Errorf("open: %v", err)
	}
	cfg.Voters, cfg.Transport = nil, alone{}
	for range 2 {
		p, err := Open(cfg, discard{})
		if err != nil {
			t.Fatal(err)
		}
		if s := p.Status(); s.Last != 0 || len(s.Voters) != 0 || s.Leading || s.Removed {
			t.Errorf("status %+v", s)
		}
		mustClose(t, p)
	}
	cfg.ID = 5
	if _, err := Open(cfg, discard{}); err == nil || !strings.Contains(err.Error(), "member 4") {
		t.Errorf("opened as another: %v", err)
	}
}
