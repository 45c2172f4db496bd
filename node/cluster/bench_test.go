package cluster

import (
	"fmt"
	"testing"
	"time"

	"clusterd/raft/registry"
)

// What a look at a cluster of very many nodes costs the leader, which takes one each second.
func BenchmarkPlan(b *testing.B) {
	for _, nodes := range []int{5, 1000, 50000} {
		b.Run(fmt.Sprint(nodes), func(b *testing.B) {
			w := newWorld(b, 1, 5)
			for range nodes - 1 {
				w.join(func(n *registry.Node) { n.Attributes = nil })
			}
			w.run(time.Hour)
			pic := w.picture()
			b.ReportAllocs()
			for b.Loop() {
				w.now = w.now.Add(time.Second)
				if step, _ := w.planner.Plan(w.now, pic); step.Kind != None {
					b.Fatalf("step %+v", step)
				}
			}
		})
	}
}
