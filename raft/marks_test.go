package raft

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// summed is a journal whose states can be compared; at one entry it goes wrong.
type summed struct {
	journal
	wrong string
	sums  int
	block chan struct{} // sums wait for it; nil if they do not
}

func (s *summed) Apply(index uint64, data []byte) (any, error) {
	if s.wrong != "" && s.wrong == string(data) {
		data = []byte("wrong")
	}
	_, err := s.journal.Apply(index, data)
	return "did " + string(data), err
}

func (s *summed) Hash() func() string {
	entries := s.all()
	s.sums++
	return func() string {
		if s.block != nil {
			<-s.block
		}
		return fmt.Sprintf("%d entries, %x", len(entries), sha256.Sum256([]byte(strings.Join(entries, "\n"))))
	}
}

// A member whose state differs from the leader's stops itself, and only it; equal ones go on. CLU-32
func TestDivergedMemberStops(t *testing.T) {
	x := newTable(t)
	x.cfg = MemberConfig{SnapshotEntries: 10, KeepEntries: 2}
	x.machine = func(id uint64) StateMachine {
		m := &summed{}
		if id == 3 {
			m.wrong = "entry-0012"
		}
		return m
	}
	for id := range uint64(3) {
		x.add(id+1, 1, 2, 3)
	}
	x.elect(1)
	for _, data := range numbered("entry", 50) {
		x.mustPropose(1, data)
	}
	x.tick(1)
	x.wantLeader(1)
	for _, id := range []uint64{1, 2} {
		if err := x.members[id].Err(); err != nil {
			t.Errorf("member %d stopped: %v", id, err)
		}
		if n := x.machines[id].(*summed).sums; n < 4 || n > 7 {
			t.Errorf("member %d took %d sums of 50 entries", id, n)
		}
	}
	var diverged *DivergedError
	if err := x.members[3].Err(); !errors.As(err, &diverged) || x.disks[3].condemned != diverged {
		t.Fatalf("member 3: %v, condemned %v", x.members[3].Err(), x.disks[3].condemned)
	}
	// One entry for each member, the leader's own, a mark and its sum came before.
	if s := x.status(3); diverged.Index < 16 || diverged.Index > 40 || diverged.Own == diverged.Leader || s.Leading {
		t.Errorf("diverged: %+v, status %+v", *diverged, s)
	}
	if n := x.status(3).Applied; n > diverged.Index+10 {
		t.Errorf("went on to %d after it differed at %d", n, diverged.Index)
	}
	x.mustPropose(1, "without it")
}

// A follower is not stopped by what it cannot compare: a sum of before it was started, or of before a
// snapshot that it got. CLU-32
func TestSumsThatCannotBeCompared(t *testing.T) {
	x := newTable(t)
	x.cfg = MemberConfig{SnapshotEntries: 10, KeepEntries: 2}
	x.machine = func(uint64) StateMachine { return &summed{} }
	for id := range uint64(3) {
		x.add(id+1, 1, 2, 3)
	}
	x.elect(1)
	for i, data := range numbered("entry", 100) {
		x.mustPropose(1, data)
		switch i % 20 {
		case 5:
			x.stop(3)
		case 8 + i/20*2: // the longer away, the more it has to catch up
			x.start(3)
		}
		x.tick(1)
	}
	for _, id := range x.ids() {
		if err := x.members[id].Err(); err != nil {
			t.Errorf("member %d: %v", id, err)
		}
	}
	if x.status(3).SnapshotsReceived == 0 && x.machines[3].(*summed).sums == 0 {
		t.Error("member 3 did nothing")
	}
}

// A member that is alone does not compare itself with itself; a new leader compares soon. CLU-32
func TestWhenStatesAreCompared(t *testing.T) {
	x := newTable(t)
	x.cfg = MemberConfig{SnapshotEntries: 100, KeepEntries: 50}
	x.machine = func(uint64) StateMachine { return &summed{} }
	x.add(1, 1)
	x.settle()
	for _, data := range numbered("entry", 300) {
		x.mustPropose(1, data)
	}
	if n := x.machines[1].(*summed).sums; n != 0 {
		t.Errorf("%d sums of a member that is alone", n)
	}
	x.add(2)
	x.mustChange(1, AddLearner, 2)
	x.tick(3)
	x.mustChange(1, Promote, 2)
	before := x.machines[1].(*summed).sums
	if before == 0 {
		t.Error("no sum with a second member")
	}
	for _, data := range numbered("more", 20) {
		x.mustPropose(1, data)
	}
	if n := x.machines[1].(*summed).sums; n != before {
		t.Errorf("%d sums after 20 entries more", n-before)
	}
	if err := x.transfer(1, 2); *err != nil {
		t.Fatal(*err)
	}
	if n := x.machines[1].(*summed).sums; n != before+1 {
		t.Errorf("%d sums after a change of leader", n-before)
	}
	if x.machines[2].(*summed).sums == 0 {
		t.Error("no sum of the second member")
	}
}

// A peer on disk that diverged does not start again, and says why and what to do, until its directory is
// emptied. CLU-32
func TestDivergedPeerStaysStopped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		for id, p := range g.peers {
			mustClose(t, p)
			g.reopen(id, &summed{})
		}
		leader := g.leader(1, 2, 3)
		wrong := g.others(leader)[0]
		mustClose(t, g.peers[wrong])
		g.reopen(wrong, &summed{wrong: "entry-0005"})
		for _, data := range numbered("entry", 100) {
			if _, _, err := g.peers[leader].Propose(t.Context(), []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		<-g.peers[wrong].Done()
		var diverged *DivergedError
		if err := g.peers[wrong].Err(); !errors.As(err, &diverged) {
			t.Fatalf("peer ended with %v", err)
		}
		path := filepath.Join(g.dir, fmt.Sprint(wrong), condemnedName)
		_, err := Open(g.config(wrong), &summed{})
		var again *DivergedError
		if !errors.As(err, &again) || *again != *diverged || again.Path != path {
			t.Fatalf("open again: %v, want %v", err, diverged)
		}
		for _, want := range []string{path, again.Own, again.Leader, fmt.Sprint(again.Index), "empty it and join the cluster again"} {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("error %q does not name %q", err, want)
			}
		}
		if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
			t.Fatal(err)
		}
		_, err = Open(g.config(wrong), &summed{})
		wantDiskError(t, err, ErrCorrupt, path)
		delete(g.peers, wrong)
		g.net.add(wrong, nil)
		for _, id := range g.others(0) {
			if err := g.peers[id].Err(); err != nil {
				t.Errorf("peer %d: %v", id, err)
			}
		}
	})
}

// Sums are made aside: they hold nobody up, and a verdict that comes first waits for them. CLU-32
func TestSumsAreMadeAside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := newGroup(t)
		defer g.closeAll()
		for id, p := range g.peers {
			mustClose(t, p)
			g.reopen(id, &summed{})
		}
		leader := g.leader(1, 2, 3)
		behind := g.others(leader)[0]
		mustClose(t, g.peers[behind])
		slow := &summed{wrong: "entry-0001", block: make(chan struct{})}
		g.reopen(behind, slow)
		for _, data := range numbered("entry", 200) {
			if _, _, err := g.peers[leader].Propose(t.Context(), []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(time.Second) // of the bubble's clock
		synctest.Wait()
		if s := g.peers[behind].Status(); s.Applied < 200 {
			t.Fatalf("slow sum holds up the peer at %d", s.Applied)
		}
		if n := slow.sums; n != 1 {
			t.Errorf("%d sums at a time", n)
		}
		close(slow.block)
		synctest.Wait()
		// The first may have been from before it went wrong; the next is not.
		for _, data := range numbered("more", 100) {
			if _, _, err := g.peers[leader].Propose(t.Context(), []byte(data)); err != nil {
				t.Fatal(err)
			}
		}
		<-g.peers[behind].Done()
		var diverged *DivergedError
		if err := g.peers[behind].Err(); !errors.As(err, &diverged) {
			t.Errorf("peer ended with %v", err)
		}
		delete(g.peers, behind)
		g.net.add(behind, nil)
	})
}
