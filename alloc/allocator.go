package alloc

import (
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// Options configure an Allocator.
type Options struct {
	// Interval is the time between batch cycles over all agents (RES-177);
	// 0 means 1 s.
	Interval time.Duration
	// MinInterval is the least time between two cycles that events cause
	// (RES-179); 0 means 20 ms.
	MinInterval time.Duration
	// Rand orders the agents of a cycle (RES-187); nil means a fixed seed.
	Rand *rand.Rand
	// MinAllocatable are the sets of which an offer must meet one (RES-195);
	// nil means cpus:0.01 or mem:32, empty and not nil allows every offer.
	MinAllocatable []Quantities
	// Weights of role paths that differ from 1 (RES-70, RES-76).
	Weights map[string]float64
	// FilterGPU hides agents with gpus from frameworks without GPU_RESOURCES
	// (RES-148).
	FilterGPU bool
	// ExcludeFromShares are resource names left out of dominant shares (RES-209).
	ExcludeFromShares []string
	// Domain of the master: agents of another region are remote (RES-191).
	Domain *v1.DomainInfo
}

// Framework is what the allocator has to know of a framework.
type Framework struct {
	ID mesos.FrameworkID
	// Roles to which it is subscribed, without duplicates.
	Roles []string
	// Suppressed is the complete set of its suppressed roles (RES-223).
	Suppressed   []string
	Capabilities map[v1.FrameworkInfo_Capability_Type]bool
	// MinAllocatable replaces Options.MinAllocatable for single roles; an entry
	// without sets allows every offer (RES-198).
	MinAllocatable map[string][]Quantities
}

// Agent is what the allocator has to know of an agent.
type Agent struct {
	ID         mesos.AgentID
	Total      Resources // not allocated
	Attributes []*v1.Attribute
	Domain     *v1.DomainInfo
}

// Allocation is one offer to be made.
type Allocation struct {
	Framework mesos.FrameworkID
	Role      string
	Agent     mesos.AgentID
	Resources Resources // allocated to Role
}

// Allocator decides who is offered what. See the package comment for how the
// owner drives it. It is not safe for concurrent use.
type Allocator struct {
	interval    time.Duration
	minInterval time.Duration
	rand        *rand.Rand
	minimum     []need
	filterGPU   bool
	excluded    []string
	domain      *v1.DomainInfo

	names      nameTable
	totals     []int64 // of the cluster, by scalar name
	tree       roleTree
	frameworks map[mesos.FrameworkID]*framework
	clients    clientTable
	agents     map[mesos.AgentID]*agent
	agentList  []*agent
	filterEnds agentHeap // active agents by the end of their first filter

	started    bool
	origin     time.Time // of instants
	lastBatch  instant
	lastRun    instant
	pendingAll bool
	pending    []*agent
	scratch    cycleScratch
	runs       uint64
}

// instant is a time as nanoseconds since the first time the allocator was told:
// differences of times.Time keep their monotonic reading.
type instant int64

// New returns an allocator without agents and frameworks.
func New(o Options) *Allocator {
	a := &Allocator{
		interval:    o.Interval,
		minInterval: o.MinInterval,
		rand:        o.Rand,
		filterGPU:   o.FilterGPU,
		excluded:    slices.Clone(o.ExcludeFromShares),
		domain:      o.Domain,
		frameworks:  make(map[mesos.FrameworkID]*framework),
		agents:      make(map[mesos.AgentID]*agent),
	}
	if a.interval <= 0 {
		a.interval = time.Second
	}
	if a.minInterval <= 0 {
		a.minInterval = 20 * time.Millisecond
	}
	if a.rand == nil {
		a.rand = rand.New(rand.NewPCG(1, 2))
	}
	minimum := o.MinAllocatable
	if minimum == nil {
		minimum = []Quantities{{"cpus": 10}, {"mem": 32000}}
	}
	a.minimum = needsOf(minimum)
	a.tree.init(maps.Clone(o.Weights))
	return a
}

// at converts a time.
func (a *Allocator) at(now time.Time) instant {
	if !a.started {
		a.started = true
		a.origin = now
		a.lastBatch = -instant(a.interval)
		a.lastRun = -instant(a.minInterval)
	}
	return instant(now.Sub(a.origin))
}

// time converts an instant.
func (a *Allocator) time(t instant) time.Time { return a.origin.Add(time.Duration(t)) }
