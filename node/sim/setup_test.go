package sim

import (
	"crypto/rand"
	"fmt"
	"io"
	randv2 "math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"clusterd/node/agent"
	"clusterd/raft"
)

const (
	clusterID = "sim"
	version   = "0.1.0"
)

// outcome is what came of a run.
type outcome struct {
	sum   uint64 // of its history: two runs of one seed have the same
	steps uint64
	tasks int
	err   string // empty if all was well
}

// simulate runs one seed from the beginning to the end.
func simulate(seed uint64, f flaw, trace io.Writer) (o outcome) {
	w := newWorld(seed, f, trace)
	was := rand.Reader
	rand.Reader = chance{w.rng} // the protocol library draws its time-outs from it
	defer func() {
		rand.Reader = was
		o.sum, o.steps, o.tasks = w.sum, w.steps, len(w.taskOrder)
		switch r := recover().(type) {
		case nil:
		case fault:
			o.err = fmt.Sprintf("at %v: %s", w.now, r.text)
		default:
			o.err = fmt.Sprintf("at %v: panic: %v\n%s", w.now, r, debug.Stack())
		}
	}()
	w.begin()
	w.run(w.plan.faulty)
	w.settle()
	return o
}

func newWorld(seed uint64, f flaw, trace io.Writer) *world {
	w := &world{
		seed: seed, rng: randv2.New(randv2.NewPCG(seed, 1)), flaw: f, trace: trace, tasks: make(map[string]*task),
	}
	w.plan = newPlan(w.rng)
	if f.faults != "" {
		w.plan.faults, w.plan.every = nil, time.Second
		for _, k := range kinds {
			if slices.Contains(strings.Fields(f.faults), k.name) {
				w.plan.faults = append(w.plan.faults, k)
			}
		}
	}
	w.history = &history{w: w, led: make(map[uint64]*machine), log: make(map[uint64]record), hashes: make(map[uint64]string)}
	add := func(name string) *machine {
		m := &machine{w: w, number: len(w.machines), name: name, powered: true, containers: make(map[string]*container)}
		m.clock = clock{w: w, wall: w.between(-100*time.Millisecond, 100*time.Millisecond), drift: w.rng.Int64N(20001) - 10000}
		w.machines = append(w.machines, m)
		return m
	}
	for i := range w.plan.nodes {
		m := add(fmt.Sprintf("n%d", i))
		m.id, m.node = m.name, newNodeDisk(m)
	}
	w.nodes = w.machines[:w.plan.nodes:w.plan.nodes]
	for i := range w.plan.frameworks {
		m := add(fmt.Sprintf("f%d", i))
		w.frameworks = append(w.frameworks, newFramework(w, m, i))
	}
	w.net = newNetwork(w, len(w.machines))
	return w
}

// begin switches everything on. The first node forms the cluster, the others join.
func (w *world) begin() {
	w.logf("----", "seed %d: %+v", w.seed, w.plan)
	w.net.sweep()
	first := w.nodes[0].node
	first.joined, first.raftID, first.raft = true, 1, newRaftDisk(first, 1)
	hard, entries, err := raft.FirstEntries([]uint64{1})
	if err != nil {
		w.failf("first entries: %v", err)
	}
	l := logImage{term: hard.GetTerm(), vote: hard.GetVote(), commit: hard.GetCommit(), entries: entries}
	first.raft.disk, first.raft.seen = l, l
	for _, m := range w.nodes {
		if m.number > 0 && w.chance(100) {
			m.startIn(w.between(0, 30*time.Second))
			continue
		}
		m.startIn(w.between(0, time.Second))
	}
	for _, f := range w.frameworks {
		w.after(w.between(0, 8*time.Second), f.begin)
	}
	w.after(w.between(time.Second, 12*time.Second), w.goWrong)
	w.after(w.between(time.Second, 3*time.Second), w.write)
	w.after(w.between(time.Second, 3*time.Second), w.read)
}

// begin starts the parts of a node's daemon, once it is in the cluster.
func (p *process) begin() {
	d := p.machine.node
	if !d.joined {
		p.join(nil)
		return
	}
	if d.raftID != 0 {
		p.openMember(d.raftID)
	}
	if !p.dead {
		p.startAgent()
		(&search{p: p}).follow()
	}
}

// nodeNamed is the machine that is the node of this id now, nil if there is none.
func (w *world) nodeNamed(id string) *machine {
	for _, m := range w.nodes {
		if m.id == id {
			return m
		}
	}
	return nil
}

// view is the ids of the containers that the agent knows of.
func (s *agentShell) view() map[string]bool {
	known := make(map[string]bool)
	for _, f := range s.core.Step(s.p.machine.clock.read(), agent.Query{}) {
		a, ok := f.(agent.Answer)
		if !ok {
			continue
		}
		for _, fw := range a.View.Frameworks {
			for _, x := range fw.Executors {
				known[string(x.ContainerID)] = true
			}
		}
	}
	return known
}

// chance gives bytes of a seeded source.
type chance struct{ r *randv2.Rand }

func (c chance) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = byte(c.r.Uint32())
	}
	return len(p), nil
}
