package alloc

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
)

const (
	benchAgents     = 10_000
	benchFrameworks = 200
	benchAgent      = "cpus:24;mem:4096;disk:4096;ports:[31000-32000]"
)

// benchCluster returns agents with nothing in use and frameworks in as many
// roles as given.
func benchCluster(tb testing.TB, agents, frameworks, roles int) *Allocator {
	a := New(Options{Rand: rand.New(rand.NewPCG(1, 2))})
	total := resources(tb, benchAgent)
	for i := range agents {
		a.AddAgent(Agent{ID: mesos.AgentID(fmt.Sprintf("S%d", i)), Total: total}, nil)
	}
	for i := range frameworks {
		a.AddFramework(Framework{ID: mesos.FrameworkID(fmt.Sprintf("F%03d", i)), Roles: []string{fmt.Sprintf("role%d", i%roles)}})
	}
	return a
}

// declineAll lets every framework refuse everything of every agent for an hour,
// as the declines of that many batches would.
func declineAll(a *Allocator, now time.Time) time.Time {
	a.Allocate(now)
	for _, g := range a.agentList {
		for _, h := range append([]holding(nil), g.holdings...) {
			a.release(g, h.client, h.resources)
		}
		for _, c := range a.clients.list {
			a.refuse(a.at(now), g, c, g.total, time.Hour)
		}
	}
	return now
}

// BenchmarkCycleAllDeclined is a batch in which each of the frameworks has
// refused each of the agents: the cycle looks at all pairs and offers nothing.
// Goal: 150 ms on one core, no allocation for each agent.
func BenchmarkCycleAllDeclined(b *testing.B) {
	for _, size := range []struct{ agents, roles int }{{benchAgents, 1}, {benchAgents, 10}, {benchAgents, 200}, {5 * benchAgents, 10}} {
		b.Run(fmt.Sprintf("agents=%d/roles=%d", size.agents, size.roles), func(b *testing.B) {
			a := benchCluster(b, size.agents, benchFrameworks, size.roles)
			now := declineAll(a, epoch)
			b.ReportAllocs()
			b.ResetTimer()
			for range b.N {
				now = now.Add(time.Second)
				if out := a.Allocate(now); len(out) != 0 {
					b.Fatalf("%d offers", len(out))
				}
			}
		})
	}
}

// BenchmarkMemory is what an agent costs that each framework refuses.
func BenchmarkMemory(b *testing.B) {
	var before, after runtime.MemStats
	for range b.N {
		runtime.GC()
		runtime.ReadMemStats(&before)
		a := benchCluster(b, benchAgents, benchFrameworks, 10)
		declineAll(a, epoch)
		runtime.GC()
		runtime.ReadMemStats(&after)
		b.ReportMetric(float64(after.HeapAlloc-before.HeapAlloc)/benchAgents, "B/agent")
		runtime.KeepAlive(a)
	}
}

// BenchmarkCycleFiltersRechecked is the same after everything that is free
// changed on each agent, so that no verdict of the last cycle holds.
func BenchmarkCycleFiltersRechecked(b *testing.B) {
	a := benchCluster(b, benchAgents, benchFrameworks, 10)
	now := declineAll(a, epoch)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		for _, g := range a.agentList {
			g.version++
		}
		now = now.Add(time.Second)
		b.StartTimer()
		if out := a.Allocate(now); len(out) != 0 {
			b.Fatalf("%d offers", len(out))
		}
	}
}

// BenchmarkCycleDeclineAndExpire is the steady state of frameworks that decline
// everything for 5 s: in each second 10,000 offers are made and declined.
// Only the cycle is timed.
func BenchmarkCycleDeclineAndExpire(b *testing.B) {
	a := benchCluster(b, benchAgents, benchFrameworks, 10)
	now := epoch
	round := func() []Allocation {
		now = now.Add(time.Second)
		return a.Allocate(now)
	}
	decline := func(out []Allocation) {
		for _, x := range out {
			a.Recover(now, x.Framework, x.Agent, x.Resources, 5*time.Second)
		}
	}
	for range 10 {
		decline(round())
	}
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		out := round()
		b.StopTimer()
		decline(out)
		b.StartTimer()
	}
}

// BenchmarkDecline is one Recover with a filter on an agent that 200 frameworks
// refuse.
func BenchmarkDecline(b *testing.B) {
	a := benchCluster(b, 1, benchFrameworks, 10)
	now := declineAll(a, epoch)
	g := a.agentList[0]
	use := g.free.Allocate("role0")
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		a.Charge("F000", g.id, use)
		a.Recover(now, "F000", g.id, use, time.Hour)
	}
}

// BenchmarkEventCycle is what one finished task costs on a large cluster: a
// cycle over the one agent concerned.
func BenchmarkEventCycle(b *testing.B) {
	a := benchCluster(b, benchAgents, benchFrameworks, 10)
	now := epoch.Add(time.Second)
	a.Allocate(now) // everything is offered and kept
	x := a.agentList[0].holdings[0]
	task := x.resources.Named("cpus")
	id, agent := x.client.framework.id, a.agentList[0].id
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		a.Recover(now, id, agent, task, 0)
		a.Trigger(agent)
		now = now.Add(20 * time.Millisecond)
		out := a.Allocate(now)
		if len(out) != 1 {
			b.Fatalf("%d offers", len(out))
		}
		id, task = out[0].Framework, out[0].Resources
	}
}

// BenchmarkReservedAgents is the declined cycle where every agent has reserved
// entries, for each of which role and capabilities are checked.
func BenchmarkReservedAgents(b *testing.B) {
	a := New(Options{Rand: rand.New(rand.NewPCG(1, 2))})
	total := resources(b, benchAgent+";cpus(role0):8;mem(role0):4096")
	for i := range 1000 {
		a.AddAgent(Agent{ID: mesos.AgentID(fmt.Sprintf("S%d", i)), Total: total}, nil)
	}
	for i := range benchFrameworks {
		a.AddFramework(Framework{ID: mesos.FrameworkID(fmt.Sprintf("F%03d", i)), Roles: []string{fmt.Sprintf("role%d", i%10)}})
	}
	now := declineAll(a, epoch)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		now = now.Add(time.Second)
		if out := a.Allocate(now); len(out) != 0 {
			b.Fatalf("%d offers", len(out))
		}
	}
}

// BenchmarkManyReservations is an offer of an agent with 800 reserved objects and
// its decline (RES-331: less than 5 ms).
func BenchmarkManyReservations(b *testing.B) {
	var list []string
	for i := range 800 {
		list = append(list, fmt.Sprintf(`{"name":"disk","type":"SCALAR","scalar":{"value":10},"reservations":[{"type":"DYNAMIC","role":"r","labels":{"labels":[{"key":"k","value":"%d"}]}}],"disk":{"persistence":{"id":"v%d"},"volume":{"container_path":"d","mode":"RW"}}}`, i, i))
	}
	total := resources(b, benchAgent).Add(protoResources(b, "["+strings.Join(list, ",")+"]"))
	a := New(Options{})
	a.AddAgent(Agent{ID: "S", Total: total}, nil)
	for i := range benchFrameworks {
		a.AddFramework(Framework{ID: mesos.FrameworkID(fmt.Sprintf("F%03d", i)), Roles: []string{"r"}})
	}
	now := epoch
	b.ResetTimer()
	for range b.N {
		now = now.Add(time.Second)
		out := a.Allocate(now)
		if len(out) != 1 {
			b.Fatalf("%d offers", len(out))
		}
		a.Recover(now, out[0].Framework, "S", out[0].Resources, time.Second)
	}
}

// BenchmarkResources are the operations on which the master spends its time.
func BenchmarkResources(b *testing.B) {
	total, task := resources(b, benchAgent), resources(b, "cpus:0.5;mem:64;ports:[31010-31011]")
	b.Run("Sub", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			total.Sub(task)
		}
	})
	b.Run("Add", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			total.Add(task)
		}
	})
	b.Run("Contains", func(b *testing.B) {
		b.ReportAllocs()
		for range b.N {
			total.Contains(task)
		}
	})
	b.Run("FromProto", func(b *testing.B) {
		list := task.Proto()
		b.ReportAllocs()
		for range b.N {
			if _, err := FromProto(list); err != nil {
				b.Fatal(err)
			}
		}
	})
	for _, n := range []uint64{10, 100, 1000} {
		var ranges []Range
		for i := range n {
			ranges = append(ranges, Range{i * 10, i*10 + 4})
		}
		b.Run(fmt.Sprintf("SubRanges=%d", n), func(b *testing.B) {
			for range b.N {
				subRanges(ranges, ranges[n/2:])
			}
		})
	}
}
