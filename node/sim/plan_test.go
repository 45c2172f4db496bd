package sim

import (
	"math/rand/v2"
	"time"

	"clusterd/node/master"
)

// plan is what a seed makes of a run, drawn before anything happens.
type plan struct {
	masters, eligible, nodes, frameworks int // eligible nodes may become masters
	// tasks is how many a framework launches at most, but for a few.
	tasks    int
	taskTime time.Duration
	faulty   time.Duration // how long things go wrong
	faults   []kind        // what goes wrong
	every    time.Duration // between two faults, on average

	pingTimeout, reregister, heartbeat time.Duration
	pings                              int
	offerTimeout, reconcile            time.Duration
	removalRate                        master.RemovalRate
	tick, replaceAfter                 time.Duration
	snapshotEntries, keepEntries       uint64
	writes                             time.Duration // between two writes of the operator's, on average
	// Of 1000 cases each.
	launchFailures, kills, hoarding, forgetful, customExecutors int
}

// newPlan draws a plan. Most clusters are small, since most faults show there; some are large.
func newPlan(r *rand.Rand) plan {
	between := func(low, high time.Duration) time.Duration { return low + time.Duration(r.Int64N(int64(high-low))) }
	p := plan{
		masters: 3, frameworks: 2 + r.IntN(3), tasks: 10 + r.IntN(50), taskTime: between(2*time.Second, 30*time.Second),
		faulty: between(20*time.Second, 60*time.Second), every: between(300*time.Millisecond, 4*time.Second),
		pingTimeout: between(time.Second, 3*time.Second), pings: 3 + r.IntN(3), reregister: between(15*time.Second, 40*time.Second),
		heartbeat: between(2*time.Second, 6*time.Second), reconcile: between(8*time.Second, 20*time.Second),
		launchFailures: r.IntN(60), kills: r.IntN(600), hoarding: r.IntN(200), forgetful: r.IntN(200), customExecutors: r.IntN(700),
	}
	if r.IntN(3) == 0 {
		p.masters = 5
	}
	agents := 7 + r.IntN(5)
	if r.IntN(10) == 0 {
		agents = 15 + r.IntN(36)
	}
	p.eligible = p.masters + r.IntN(3)
	p.nodes = p.eligible + agents
	p.tick = []time.Duration{100 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond}[r.IntN(3)]
	p.replaceAfter = between(8*time.Second, 40*time.Second)
	p.snapshotEntries, p.keepEntries = uint64(10+r.IntN(200)), uint64(r.IntN(50))
	p.writes = between(100*time.Millisecond, 2*time.Second)
	if r.IntN(3) == 0 {
		p.writes = between(5*time.Second, 60*time.Second) // then all logs are equal most of the time
	}
	if r.IntN(2) == 0 {
		p.offerTimeout = between(2*time.Second, 20*time.Second)
	}
	if r.IntN(4) == 0 {
		p.removalRate = master.RemovalRate{Agents: 1, Per: between(time.Second, 10*time.Second)}
	}
	for _, k := range kinds {
		if r.IntN(2) == 0 {
			p.faults = append(p.faults, k)
		}
	}
	return p
}
