package raft

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/raft/v3/raftpb"
)

// The only voter leads before the first tick. CLU-30
func TestOnlyVoterLeadsAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		p := mustOpen(t, Config{Dir: filepath.Join(t.TempDir(), "raft"), ID: 7, TickInterval: time.Hour}, &journal{})
		if took := time.Since(begun); took != 0 {
			t.Errorf("leads after %v, want before any time passes", took)
		}
		if s := p.Status(); s.Leader != 7 || !s.Leading || s.Term != 2 || s.LeaderChanges != 1 {
			t.Errorf("status %+v", s)
		}
		mustClose(t, p)
		if s := p.Status(); s.Leading || p.Leading() {
			t.Errorf("leads after the end: %+v", s)
		}
	})
}

// A restart finds all that was acknowledged, leads in a newer term and goes on. CLU-31
func TestRestart(t *testing.T) {
	for _, cut := range []uint64{0, 10} {
		t.Run(fmt.Sprintf("snapshot every %d", cut), func(t *testing.T) {
			cfg := Config{Dir: t.TempDir(), ID: 1, SnapshotEntries: cut, KeepEntries: 3}
			var want []string
			index, term := uint64(0), uint64(0)
			for round := range 5 {
				j := &journal{}
				p, err := Open(cfg, j)
				if err != nil {
					t.Fatal(err)
				}
				now := awaitLeader(t, p)
				if now <= term {
					t.Errorf("round %d: term %d after %d", round, now, term)
				}
				term = now
				// An entry of its own term is applied, hence all before it.
				if got := j.all(); !slices.Equal(got, want) {
					t.Fatalf("round %d: %d entries, want %d", round, len(got), len(want))
				}
				for _, data := range numbered(fmt.Sprint(round), 33) {
					at := mustPropose(t, p, data)
					if at <= index {
						t.Errorf("index %d after %d", at, index)
					}
					index, want = at, append(want, data)
				}
				mustClose(t, p)
				mustClose(t, p) // again
			}
		})
	}
}

// Each of many callers gets the index and the result of its own entry.
func TestProposeFromManyGoroutines(t *testing.T) {
	j := &journal{}
	p := mustOpen(t, Config{Dir: t.TempDir(), ID: 1, NoSync: true, SnapshotEntries: 100, KeepEntries: 10}, j)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		seen = map[uint64]string{}
	)
	for c := range 64 {
		wg.Go(func() {
			last := uint64(0)
			for i := range 20 {
				data := fmt.Sprintf("%d/%d", c, i)
				index, result, err := p.Propose(t.Context(), []byte(data))
				if err != nil || result != "did "+data || index <= last {
					t.Errorf("propose %s: index %d after %d, result %v, error %v", data, index, last, result, err)
				}
				last = index
				mu.Lock()
				if other, ok := seen[index]; ok {
					t.Errorf("index %d is both %s and %s", index, other, data)
				}
				seen[index] = data
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	if got := j.all(); len(got) != 64*20 || len(slices.Compact(slices.Sorted(slices.Values(got)))) != 64*20 {
		t.Errorf("%d entries applied, want %d different ones", len(got), 64*20)
	}
	s := p.Status()
	if s.Proposals != 64*20 || s.Waiting != 0 || s.CommitLatency.Count != 64*20 || s.FsyncLatency.Count == 0 || s.Applied != s.Last || s.Commit != s.Last {
		t.Errorf("status %+v", s)
	}
	mustClose(t, p)
}

// What one caller submits is applied in its order, and every proposal is answered exactly once,
// also when the peer ends in the middle.
func TestSubmit(t *testing.T) {
	for _, early := range []bool{false, true} {
		t.Run(fmt.Sprintf("close early %v", early), func(t *testing.T) {
			j := &journal{}
			p := mustOpen(t, Config{Dir: t.TempDir(), ID: 1, NoSync: true}, j)
			const callers, each = 4, 3000
			var answers [callers][each]int // times answered
			var taken sync.WaitGroup       // submitters
			var open sync.WaitGroup        // proposals
			for c := range callers {
				taken.Go(func() {
					next := 0
					for i := range each {
						open.Add(1)
						err := p.Submit(context.Background(), fmt.Appendf(nil, "%d/%d", c, i), func(_ uint64, result any, err error) {
							defer open.Done()
							answers[c][i]++
							if err != nil {
								if !errors.Is(err, ErrClosed) {
									t.Errorf("%d/%d: %v", c, i, err)
								}
								return
							}
							if i != next || result != fmt.Sprintf("did %d/%d", c, i) {
								t.Errorf("%d/%d: answered %v, want number %d", c, i, result, next)
							}
							next = i + 1
						})
						if err != nil {
							open.Done()
							answers[c][i]++
							if !errors.Is(err, ErrClosed) {
								t.Errorf("%d/%d: not taken: %v", c, i, err)
							}
						}
					}
				})
			}
			if !early {
				taken.Wait()
				open.Wait()
			}
			mustClose(t, p)
			taken.Wait()
			open.Wait()
			for c := range callers {
				for i, n := range answers[c] {
					if n != 1 {
						t.Fatalf("%d/%d: answered %d times", c, i, n)
					}
				}
			}
			if !early && len(j.all()) != callers*each {
				t.Errorf("%d entries applied, want %d", len(j.all()), callers*each)
			}
		})
	}
}

// gate is a log whose writes can be counted, held and made to fail.
type gate struct {
	*log
	saves    chan int      // gets the number of entries of each write that holds some, before it
	pass     chan struct{} // each such write waits for one of these
	failAt   uint64        // index of the entry whose write fails
	failWith error
}

func (g *gate) Save(hard *raftpb.HardState, entries []*raftpb.Entry, sync bool) error {
	if len(entries) > 0 && g.saves != nil {
		g.saves <- len(entries)
		<-g.pass
	}
	for _, e := range entries {
		if g.failWith != nil && e.GetIndex() >= g.failAt {
			g.failed = onDisk("write", g.path, g.failWith)
			return g.failed
		}
	}
	return g.log.Save(hard, entries, sync)
}

// openGate opens a peer whose log is behind a gate.
func openGate(t *testing.T, cfg Config, machine StateMachine, g *gate) *Peer {
	t.Helper()
	cfg, err := cfg.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	if g.log, err = openLog(cfg); err != nil {
		t.Fatal(err)
	}
	p, err := start(cfg, machine, g.log, g)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// What is proposed while a write is under way goes into one write together. CLU-30
func TestProposalsAreBatched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{saves: make(chan int), pass: make(chan struct{})}
		p := openGate(t, Config{Dir: t.TempDir(), ID: 1, TickInterval: time.Hour}, &journal{}, g)
		wantSave := func(entries int) {
			t.Helper()
			if got := <-g.saves; got != entries {
				t.Errorf("write of %d entries, want %d", got, entries)
			}
		}
		wantSave(1) // the new leader's own
		g.pass <- struct{}{}
		awaitLeader(t, p)
		var wg sync.WaitGroup
		propose := func(data string) {
			wg.Go(func() {
				if _, _, err := p.Propose(context.Background(), []byte(data)); err != nil {
					t.Errorf("propose %s: %v", data, err)
				}
			})
		}
		propose("first")
		wantSave(1)
		for _, data := range numbered("next", 100) {
			propose(data)
		}
		synctest.Wait()
		g.pass <- struct{}{}
		wantSave(100)
		g.pass <- struct{}{}
		wg.Wait()
		mustClose(t, p)
	})
}

// Leadership is not announced before an entry of the new term is applied. CLU-30
func TestLeadershipWaitsForOwnTerm(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{saves: make(chan int), pass: make(chan struct{})}
		p := openGate(t, Config{Dir: t.TempDir(), ID: 1, TickInterval: time.Hour}, &journal{}, g)
		<-g.saves // elected, its own entry not yet written
		synctest.Wait()
		select {
		case l := <-p.Leadership():
			t.Fatalf("announced %+v before the entry was written", l)
		default:
		}
		g.pass <- struct{}{}
		awaitLeader(t, p)
		mustClose(t, p)
		if l, ok := <-p.Leadership(); !ok || l.Leader {
			t.Errorf("after the end: %+v, %v; want the loss of leadership", l, ok)
		}
		if l, ok := <-p.Leadership(); ok {
			t.Errorf("after the end: %+v, want a closed channel", l)
		}
	})
}

// A disk error stops the peer; what was not written is answered with it, and what was acknowledged
// is there after a restart. CLU-31 CLU-32
func TestDiskErrorStopsThePeer(t *testing.T) {
	dir := t.TempDir()
	g := &gate{failAt: 10, failWith: syscall.EIO}
	p := openGate(t, Config{Dir: dir, ID: 1}, &journal{}, g)
	awaitLeader(t, p)
	var acknowledged []string
	var failed error
	for _, data := range numbered("entry", 20) {
		if _, _, err := p.Propose(t.Context(), []byte(data)); err != nil {
			failed = err
			break
		}
		acknowledged = append(acknowledged, data)
	}
	<-p.Done()
	for _, err := range []error{failed, p.Err()} {
		wantDiskError(t, err, syscall.EIO, filepath.Join(dir, logName))
	}
	if _, _, err := p.Propose(t.Context(), []byte("late")); !errors.Is(err, syscall.EIO) {
		t.Errorf("propose after the end: %v", err)
	}
	if err := p.Close(); err != nil {
		t.Errorf("close: %v", err)
	}
	j := &journal{}
	p = mustOpen(t, Config{Dir: dir, ID: 1}, j)
	if got := j.all(); len(acknowledged) == 0 || !slices.Equal(got, acknowledged) {
		t.Errorf("after the restart %v, want %v", got, acknowledged)
	}
	mustClose(t, p)
}

// An error while reading the log, inside the protocol library, stops the peer too. CLU-32
func TestReadErrorStopsThePeer(t *testing.T) {
	g := &gate{saves: make(chan int), pass: make(chan struct{})}
	p := openGate(t, Config{Dir: t.TempDir(), ID: 1}, &journal{}, g)
	<-g.saves
	g.log.failed = onDisk("read", g.path, syscall.EIO) // the loop waits at the gate
	g.failWith, g.failAt = nil, 0
	g.pass <- struct{}{}
	<-p.Done()
	wantDiskError(t, p.Err(), syscall.EIO, g.path)
}

// A full disk while a snapshot is written stops the peer; the log still has everything. CLU-31
func TestSnapshotErrorStopsThePeer(t *testing.T) {
	dir := t.TempDir()
	// A directory in the place of the file makes creating it fail, for root too.
	cfg := Config{Dir: dir, ID: 1, SnapshotEntries: 10, KeepEntries: 1}
	p := mustOpen(t, cfg, &journal{})
	blocked := snapshotPath(dir, 10, 2) + temporary
	if err := os.Mkdir(blocked, 0o700); err != nil {
		t.Fatal(err)
	}
	var acknowledged []string
	for _, data := range numbered("entry", 1000) {
		if _, _, err := p.Propose(t.Context(), []byte(data)); err != nil {
			break
		}
		acknowledged = append(acknowledged, data)
	}
	<-p.Done()
	wantDiskError(t, p.Err(), syscall.EISDIR, blocked)
	j := &journal{}
	p = mustOpen(t, cfg, j) // which removes what is left over
	if got := j.all(); !slices.Equal(got[:min(len(got), len(acknowledged))], acknowledged) {
		t.Errorf("after the restart %v, want at least %v", got, acknowledged)
	}
	mustClose(t, p)
}

// An entry that the state machine does not know stops the peer. CLU-38
func TestApplyErrorStopsThePeer(t *testing.T) {
	dir := t.TempDir()
	p := mustOpen(t, Config{Dir: dir, ID: 1}, &journal{fail: "future"})
	mustPropose(t, p, "known")
	if _, _, err := p.Propose(t.Context(), []byte("future")); !errors.Is(err, errUnknownEntry) {
		t.Errorf("propose: %v", err)
	}
	<-p.Done()
	if err := p.Err(); !errors.Is(err, errUnknownEntry) {
		t.Errorf("peer ended with %v", err)
	}
	// It stops again after a restart, until a version that knows the entry is started.
	p, err := Open(Config{Dir: dir, ID: 1}, &journal{fail: "future"})
	if err == nil {
		<-p.Done()
		err = p.Err()
	}
	if !errors.Is(err, errUnknownEntry) {
		t.Errorf("after a restart: %v", err)
	}
	j := &journal{}
	p = mustOpen(t, Config{Dir: dir, ID: 1}, j)
	if want := []string{"known", "future"}; !slices.Equal(j.all(), want) {
		t.Errorf("newer version has %v, want %v", j.all(), want)
	}
	mustClose(t, p)
}

// Close answers what is under way, and ends a snapshot that is being written.
func TestCloseAnswersProposals(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := &gate{saves: make(chan int), pass: make(chan struct{})}
		p := openGate(t, Config{Dir: t.TempDir(), ID: 1, TickInterval: time.Hour}, &journal{}, g)
		<-g.saves
		g.pass <- struct{}{}
		awaitLeader(t, p)
		errs := make(chan error, 10)
		for range cap(errs) {
			go func() {
				_, _, err := p.Propose(context.Background(), []byte("x"))
				errs <- err
			}()
		}
		<-g.saves
		synctest.Wait()
		closed := make(chan error, 1)
		go func() { closed <- p.Close() }()
		synctest.Wait()
		g.pass <- struct{}{}
		// The loop may take any number of the proposals before it sees that it is to end.
		for done := false; !done; {
			select {
			case <-g.saves:
				g.pass <- struct{}{}
			case err := <-closed:
				if err != nil {
					t.Errorf("close: %v", err)
				}
				done = true
			}
		}
		for range cap(errs) {
			if err := <-errs; err != nil && !errors.Is(err, ErrClosed) {
				t.Errorf("proposal under way: %v", err)
			}
		}
		if _, _, err := p.Propose(context.Background(), []byte("late")); !errors.Is(err, ErrClosed) {
			t.Errorf("late proposal: %v", err)
		}
	})
}

// Close does not wait for a long snapshot: it is ended and leaves nothing behind.
func TestCloseEndsSnapshot(t *testing.T) {
	dir := t.TempDir()
	j := &journal{hold: make(chan struct{})}
	cfg := Config{Dir: dir, ID: 1, SnapshotEntries: 5}
	p := mustOpen(t, cfg, j)
	for _, data := range numbered("entry", 10) {
		mustPropose(t, p, data)
	}
	p.stopOnce.Do(func() { close(p.stop) })
	<-p.disk.ending
	close(j.hold)
	<-p.Done()
	if files := snapshotFiles(t, dir); p.Err() != nil || len(files) > 0 {
		t.Errorf("ended with %v, files %v", p.Err(), files)
	}
	j = &journal{}
	p = mustOpen(t, cfg, j)
	if !slices.Equal(j.all(), numbered("entry", 10)) {
		t.Errorf("after the restart %v", j.all())
	}
	mustClose(t, p)
}

func TestProposeLimits(t *testing.T) {
	p := mustOpen(t, Config{Dir: t.TempDir(), ID: 1, NoSync: true}, &journal{})
	defer mustClose(t, p)
	if _, _, err := p.Propose(t.Context(), make([]byte, maxProposalBytes+1)); !errors.Is(err, ErrTooLarge) {
		t.Errorf("large proposal: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := p.Propose(ctx, []byte("x")); !errors.Is(err, context.Canceled) {
		t.Errorf("proposal of a caller that is gone: %v", err)
	}
	mustPropose(t, p, string(make([]byte, 1<<20)))
	mustPropose(t, p, "")
}

// Snapshots are taken by number of entries, one is kept, and the log is cut behind it. CLU-30
func TestSnapshotsCutTheLog(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dir := t.TempDir()
		cfg := Config{Dir: dir, ID: 1, SnapshotEntries: 50, KeepEntries: 20, NoSync: true, TickInterval: time.Hour}
		j := &journal{}
		p := mustOpen(t, cfg, j)
		entries := numbered("entry", 1000)
		for i, data := range entries {
			mustPropose(t, p, data)
			synctest.Wait() // for a snapshot that was begun
			// Two entries came before: the member itself and the leader's own.
			applied := uint64(i + 3)
			s := p.Status()
			if want := applied / 50 * 50; s.Applied != applied || s.Snapshot != want || s.First != max(want, 20)-20+1 {
				t.Fatalf("at %d the log begins at %d with a snapshot at %d", s.Applied, s.First, s.Snapshot)
			}
			if files := snapshotFiles(t, dir); s.Snapshot > 0 && len(files) != 1 {
				t.Fatalf("snapshots %v, want one", files)
			}
		}
		mustClose(t, p)
		j = &journal{}
		p = mustOpen(t, cfg, j)
		if !slices.Equal(j.all(), entries) {
			t.Errorf("after the restart %d entries, want %d", len(j.all()), len(entries))
		}
		mustClose(t, p)
	})
}

// Large entries are cut off early. CLU-30
func TestSnapshotsByBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := mustOpen(t, Config{Dir: t.TempDir(), ID: 1, NoSync: true, TickInterval: time.Hour, logBytes: 80000}, discard{})
		for range 25 {
			if _, _, err := p.Propose(t.Context(), make([]byte, 8000)); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		mustClose(t, p)
		// Two entries came before; a snapshot every tenth, and nine kept.
		if s := p.Status(); s.Snapshot != 22 || s.First != 14 {
			t.Errorf("log of %d bytes begins at %d of %d, snapshot at %d", s.LogBytes, s.First, s.Last, s.Snapshot)
		}
	})
}
