package raft

import (
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"go.etcd.io/bbolt"
)

// Proposals a second of 1 KB, each acknowledged when it is on disk. The second figure is how many
// commits a second the disk allows: bbolt with one such value for each transaction.
func BenchmarkPropose(b *testing.B) {
	for _, clients := range []int{1, 64} {
		b.Run(fmt.Sprintf("clients=%d", clients), func(b *testing.B) {
			p, err := Open(Config{Dir: b.TempDir(), ID: 1}, discard{})
			if err != nil {
				b.Fatal(err)
			}
			for l := range p.Leadership() {
				if l.Leader {
					break
				}
			}
			data := make([]byte, 1024)
			var left atomic.Int64
			left.Store(int64(b.N))
			b.ReportAllocs()
			b.ResetTimer()
			var wg sync.WaitGroup
			for range clients {
				wg.Go(func() {
					for left.Add(-1) >= 0 {
						if _, _, err := p.Propose(b.Context(), data); err != nil {
							b.Error(err)
							return
						}
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			s := p.Status()
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "proposals/s")
			b.ReportMetric(float64(s.CommitLatency.P50.Microseconds()), "p50-µs")
			b.ReportMetric(float64(s.CommitLatency.P99.Microseconds()), "p99-µs")
			b.ReportMetric(float64(s.FsyncLatency.P50.Microseconds()), "fsync-p50-µs")
			b.ReportMetric(float64(s.Proposals)/float64(s.FsyncLatency.Count), "proposals/fsync")
			if err := p.Close(); err != nil {
				b.Fatal(err)
			}
		})
	}
	b.Run("bbolt alone", func(b *testing.B) {
		db, err := bbolt.Open(b.TempDir()+"/db", 0o600, &bbolt.Options{NoFreelistSync: true, FreelistType: bbolt.FreelistMapType})
		if err != nil {
			b.Fatal(err)
		}
		value := make([]byte, 1024)
		for i := range b.N {
			err := db.Update(func(tx *bbolt.Tx) error {
				bucket, err := tx.CreateBucketIfNotExists(entryBucket)
				if err != nil {
					return err
				}
				return bucket.Put(entryKey(uint64(i)), value)
			})
			if err != nil {
				b.Fatal(err)
			}
		}
		b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "commits/s")
		if err := db.Close(); err != nil {
			b.Fatal(err)
		}
	})
}

// From nothing to leading.
func BenchmarkOpenUntilLeading(b *testing.B) {
	for b.Loop() {
		p, err := Open(Config{Dir: b.TempDir(), ID: 1}, discard{})
		if err != nil {
			b.Fatal(err)
		}
		for l := range p.Leadership() {
			if l.Leader {
				break
			}
		}
		if err := p.Close(); err != nil {
			b.Fatal(err)
		}
	}
}
