package main

import (
	"maps"
	"runtime/metrics"
	"slices"
)

// picture is where agents stand at one moment, those of a process or all.
type picture struct {
	Agents  int64    `json:"agents"`
	Counts  counts   `json:"counts"`
	Offices []office `json:"offices"`
	Faults  faults   `json:"faults"`
	Memory  int64    `json:"memory"` // bytes that the process has from the system
}

func (p picture) plus(o picture) picture {
	return picture{
		Agents: p.Agents + o.Agents, Counts: p.Counts.plus(o.Counts), Offices: mergeOffices(p.Offices, o.Offices),
		Faults: p.Faults.plus(o.Faults), Memory: p.Memory + o.Memory,
	}
}

// fault is one kind of thing that went wrong.
type fault struct {
	Count int64  `json:"count"`
	Last  string `json:"last"`
}

// faults are what went wrong, by kind.
type faults map[string]fault

func (f faults) add(kind string, err error) { f[kind] = fault{f[kind].Count + 1, err.Error()} }

func (f faults) clone() faults { return maps.Clone(f) }

func (f faults) plus(o faults) faults {
	sum := make(faults)
	for _, part := range []faults{f, o} {
		for kind, x := range part {
			sum[kind] = fault{sum[kind].Count + x.Count, x.Last}
		}
	}
	return sum
}

// kinds are those that there are, in order.
func (f faults) kinds() []string { return slices.Sorted(maps.Keys(f)) }

// total is how many there are of all kinds.
func (f faults) total() int64 {
	var n int64
	for _, x := range f {
		n += x.Count
	}
	return n
}

// memory is how many bytes this process has from the system now.
func memory() int64 {
	samples := []metrics.Sample{{Name: "/memory/classes/total:bytes"}, {Name: "/memory/classes/heap/released:bytes"}}
	metrics.Read(samples)
	return int64(samples[0].Value.Uint64() - samples[1].Value.Uint64())
}
