package raft

import (
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
)

// tcpGroup opens three peers that reach each other over loopback TCP, each with a directory of its own,
// and returns them with the one that leads in front.
func tcpGroup(t testing.TB, machine func(id uint64) StateMachine, change func(*Config)) ([]*Peer, *tcpNet) {
	t.Helper()
	ids := []uint64{1, 2, 3}
	w := emptyTCPNet(t, ids...)
	dir := t.TempDir()
	leads := make(chan int, len(ids))
	peers := make([]*Peer, len(ids))
	for i, id := range ids {
		cfg := Config{Dir: filepath.Join(dir, strconv.FormatUint(id, 10)), ID: id, Voters: ids, Transport: w.nets[id]}
		if change != nil {
			change(&cfg)
		}
		p, err := Open(cfg, machine(id))
		if err != nil {
			t.Fatal(err)
		}
		w.nets[id].Attach(p)
		peers[i] = p
		t.Cleanup(func() {
			w.close(id)
			if err := p.Close(); err != nil {
				t.Errorf("close peer %d: %v", id, err)
			}
		})
		go func() {
			for l := range p.Leadership() {
				if l.Leader {
					leads <- i
					return
				}
			}
		}()
	}
	i := <-leads
	peers[0], peers[i] = peers[i], peers[0]
	return peers, w
}

// Proposals a second of 1 KB to three members on one disk over loopback TCP, each acknowledged when it
// is on disk on two of them.
func BenchmarkThreeMembers(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run("clients="+strconv.Itoa(clients), func(b *testing.B) {
			peers, _ := tcpGroup(b, func(uint64) StateMachine { return discard{} }, nil)
			leader := peers[0]
			data := make([]byte, 1024)
			var left atomic.Int64
			left.Store(int64(b.N))
			before := leader.Status()
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, _, err := leader.Propose(b.Context(), data); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			s := leader.Status()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
			b.ReportMetric(float64(s.CommitLatency.P50.Microseconds()), "p50-µs")
			b.ReportMetric(float64(s.CommitLatency.P99.Microseconds()), "p99-µs")
			b.ReportMetric(float64(s.FsyncLatency.P50.Microseconds()), "fsync-p50-µs")
			b.ReportMetric(float64(s.Proposals-before.Proposals)/float64(s.FsyncLatency.Count-before.FsyncLatency.Count), "proposals/fsync")
		})
	}
}
