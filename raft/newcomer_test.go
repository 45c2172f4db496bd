package raft

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// A member that joins a group whose log was cut before it was added gets a snapshot that it can use, and
// is promoted: the newest one may be from a time when it was none. CLU-5, CLU-30
func TestMemberAddedAfterTheSnapshot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		net := &network{peers: map[uint64]*Peer{}, cut: map[uint64]bool{}}
		open := func(id uint64, join bool) (*Peer, *journal) {
			j := &journal{}
			p, err := Open(Config{
				Dir: filepath.Join(t.TempDir(), "raft"), ID: id, Join: join, Transport: port{net, id}, NoSync: true,
				SnapshotEntries: 20, KeepEntries: 2,
			}, j)
			if err != nil {
				t.Fatal(err)
			}
			net.add(id, p)
			return p, j
		}
		first, journal := open(1, false)
		awaitLeader(t, first)
		for _, data := range numbered("entry", 30) {
			mustPropose(t, first, data)
		}
		synctest.Wait()
		before := first.Status()
		if before.Snapshot == 0 || before.First <= 2 {
			t.Fatalf("no snapshot, or an uncut log: %+v", before)
		}
		second, copied := open(2, true)
		if err := first.Change(context.Background(), MemberChange{Kind: AddLearner, ID: 2}); err != nil {
			t.Fatal(err)
		}
		var err error
		for range 50 {
			time.Sleep(100 * time.Millisecond) // of the bubble
			synctest.Wait()
			if err = first.Change(context.Background(), MemberChange{Kind: Promote, ID: 2}); err == nil {
				break
			}
		}
		if err != nil {
			t.Errorf("promote: %v; %+v", err, first.Status())
		}
		synctest.Wait()
		if got, want := len(copied.all()), len(journal.all()); got != want {
			t.Errorf("the new member has %d entries, not %d", got, want)
		}
		if s := first.Status(); s.Snapshot >= before.Last+20 {
			t.Errorf("snapshot at %d: only more entries brought it about", s.Snapshot)
		}
		for _, p := range []*Peer{first, second} {
			mustClose(t, p)
		}
		net.wg.Wait()
	})
}
