package master

import (
	"maps"
	"slices"

	"clusterd/alloc"
	v1 "clusterd/node/mesos/v1"
)

// gaugeResources are the resources of which the master shows totals.
var gaugeResources = [...]string{"cpus", "disk", "gpus", "mem"}

// gauges are sums over all agents, kept up to date so that nobody has to add them up. They are exact:
// thousandths of resources.
type gauges struct {
	total, used, revocableTotal, revocableUsed [len(gaugeResources)]int64
	// consumed is what is used of scalars, by role; none is 0.
	consumed          map[roleResource]int64
	connected, active int // agents
}

type roleResource struct{ role, name string }

func (g *gauges) clone() gauges {
	c := *g
	c.consumed = maps.Clone(g.consumed)
	return c
}

// have adds the total resources of an agent, or takes them away with sign -1.
func (g *gauges) have(r alloc.Resources, sign int64) {
	for _, e := range r.Entries() {
		countScalar(e, &g.total, &g.revocableTotal, sign)
	}
}

// use adds what tasks and executors use, or takes it away.
func (g *gauges) use(r alloc.Resources, sign int64) {
	for _, e := range r.Entries() {
		countScalar(e, &g.used, &g.revocableUsed, sign)
		if e.Type() != v1.Value_SCALAR {
			continue
		}
		key := roleResource{e.Role(), e.Name()}
		if g.consumed == nil {
			g.consumed = make(map[roleResource]int64)
		}
		if g.consumed[key] += sign * e.Milli(); g.consumed[key] == 0 {
			delete(g.consumed, key)
		}
	}
}

func countScalar(e alloc.Entry, regular, revocable *[len(gaugeResources)]int64, sign int64) {
	i := slices.Index(gaugeResources[:], e.Name())
	switch {
	case i < 0 || e.Type() != v1.Value_SCALAR:
	case e.Revocable():
		revocable[i] += sign * e.Milli()
	default:
		regular[i] += sign * e.Milli()
	}
}
