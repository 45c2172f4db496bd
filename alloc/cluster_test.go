package alloc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// slowAllocator is the obvious implementation of the allocator's contract. It
// derives everything from what is held each time it is asked.
type slowAllocator struct {
	rand       *rand.Rand
	interval   time.Duration
	minimum    []Quantities
	weights    map[string]float64
	agents     []*slowAgent
	frameworks map[mesos.FrameworkID]*slowFramework
	clientRuns map[slowClient]int
	nodeRuns   map[string]int
	filters    []slowFilter
	dueAll     bool
	lastBatch  time.Time
	lastRun    time.Time
}

type slowAgent struct {
	id          mesos.AgentID
	total       Resources
	rack        string
	active, due bool
	held        map[slowClient]Resources
}

type slowFramework struct {
	spec       Framework
	active     bool
	suppressed map[string]bool
}

type slowClient struct {
	framework mesos.FrameworkID
	role      string
}

type slowFilter struct {
	client  slowClient
	agent   mesos.AgentID
	refused Resources
	end     time.Time
}

func (s *slowAllocator) agent(id mesos.AgentID) *slowAgent {
	for _, g := range s.agents {
		if g.id == id {
			return g
		}
	}
	return nil
}

func (s *slowAllocator) subscribed(c slowClient) bool {
	f := s.frameworks[c.framework]
	return f != nil && slices.Contains(f.spec.Roles, c.role)
}

func (s *slowAllocator) clients() map[slowClient]bool {
	all := make(map[slowClient]bool)
	for id, f := range s.frameworks {
		for _, role := range f.spec.Roles {
			all[slowClient{id, role}] = true
		}
	}
	for _, g := range s.agents {
		for c := range g.held {
			all[c] = true
		}
	}
	return all
}

// forget drops the counters of clients and role paths that are gone.
func (s *slowAllocator) forget() {
	all := s.clients()
	for c := range s.clientRuns {
		if !all[c] {
			delete(s.clientRuns, c)
		}
	}
	for path := range s.nodeRuns {
		if !slices.ContainsFunc(keys(all), func(c slowClient) bool { return slowCovers(path, c.role) }) {
			delete(s.nodeRuns, path)
		}
	}
}

func keys[K comparable, V any](m map[K]V) []K {
	var list []K
	for k := range m {
		list = append(list, k)
	}
	return list
}

// slowCovers reports whether a role counts for a path of the tree, of which "x/."
// is the role x alone.
func slowCovers(path, role string) bool {
	return role == path || role+"/." == path || strings.HasPrefix(role, path+"/")
}

func (g *slowAgent) free() Resources {
	free := g.total.Filter(func(e Entry) bool { return !e.Shared() })
	for _, r := range g.held {
		free = free.Sub(r.Unallocate())
	}
	// Entries in the order of the total, shared ones after the others.
	return free.Add(g.total.Filter(Entry.Shared))
}

func (s *slowAllocator) cut(c slowClient) {
	s.filters = slices.DeleteFunc(s.filters, func(f slowFilter) bool { return f.client == c })
}

func (s *slowAllocator) charge(g *slowAgent, c slowClient, r Resources) {
	g.held[c] = g.held[c].Add(r)
	s.clientRuns[c]++
	s.nodeRuns[c.role+"/."]++
	for path := c.role; ; {
		s.nodeRuns[path]++
		i := strings.LastIndexByte(path, '/')
		if i < 0 {
			break
		}
		path = path[:i]
	}
}

func (s *slowAllocator) release(g *slowAgent, c slowClient, r Resources) {
	if rest := g.held[c].Sub(r); rest.Empty() {
		delete(g.held, c)
	} else {
		g.held[c] = rest
	}
}

// share adds up what the selected clients hold and compares it with the totals.
func (s *slowAllocator) share(weight float64, selected func(slowClient) bool) float64 {
	totals, sums := make(map[string]int64), make(map[string]int64)
	for _, g := range s.agents {
		for _, e := range g.total.Entries() {
			if e.Type() == v1.Value_SCALAR {
				totals[e.Name()] += e.Milli()
			}
		}
		seen := make(map[string]bool)
		for _, c := range keys(g.held) {
			if !selected(c) {
				continue
			}
			for _, e := range g.held[c].Unallocate().Entries() {
				if e.Type() != v1.Value_SCALAR || (e.Shared() && seen[e.Disk().GetPersistence().GetId()]) {
					continue
				}
				if e.Shared() {
					seen[e.Disk().GetPersistence().GetId()] = true
				}
				sums[e.Name()] += e.Milli()
			}
		}
	}
	var dominant float64
	for name, milli := range sums {
		if totals[name] > 0 {
			dominant = max(dominant, float64(milli)/float64(totals[name]))
		}
	}
	return dominant / weight
}

// order lists the clients below a role path, poorest first.
func (s *slowAllocator) order(path string) []slowClient {
	children := make(map[string]bool)
	for c := range s.clients() {
		rest := c.role
		if path != "" {
			if c.role == path {
				children[path+"/."] = true
				continue
			}
			if !strings.HasPrefix(c.role, path+"/") {
				continue
			}
			rest = c.role[len(path)+1:]
		}
		name, _, _ := strings.Cut(rest, "/")
		children[strings.TrimPrefix(path+"/"+name, "/")] = true
	}
	type ranked struct {
		path  string
		share float64
	}
	var list []ranked
	for child := range children {
		weight := s.weights[child]
		if weight == 0 {
			weight = 1
		}
		list = append(list, ranked{child, s.share(weight, func(c slowClient) bool { return slowCovers(child, c.role) })})
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if a.share != b.share {
			return a.share < b.share
		}
		if s.nodeRuns[a.path] != s.nodeRuns[b.path] {
			return s.nodeRuns[a.path] < s.nodeRuns[b.path]
		}
		return a.path < b.path
	})
	var out []slowClient
	for _, child := range list {
		if role, leaf := strings.CutSuffix(child.path, "/."); leaf {
			out = append(out, s.orderInRole(role)...)
		} else {
			out = append(out, s.order(child.path)...)
		}
	}
	return out
}

func (s *slowAllocator) orderInRole(role string) []slowClient {
	var list []slowClient
	shares := make(map[slowClient]float64)
	for c := range s.clients() {
		if c.role == role {
			list = append(list, c)
			shares[c] = s.share(1, func(other slowClient) bool { return other == c })
		}
	}
	sort.Slice(list, func(i, j int) bool {
		a, b := list[i], list[j]
		if shares[a] != shares[b] {
			return shares[a] < shares[b]
		}
		if s.clientRuns[a] != s.clientRuns[b] {
			return s.clientRuns[a] < s.clientRuns[b]
		}
		return a.framework < b.framework
	})
	return list
}

func (s *slowAllocator) Allocate(now time.Time) []Allocation {
	for _, f := range s.filters {
		if g := s.agent(f.agent); !f.end.After(now) && g.active {
			g.due = true
		}
	}
	s.filters = slices.DeleteFunc(s.filters, func(f slowFilter) bool { return !f.end.After(now) })
	batch := now.Sub(s.lastBatch) >= s.interval
	if batch {
		s.lastBatch = now
	} else if now.Sub(s.lastRun) < 20*time.Millisecond {
		return nil
	}
	var list []*slowAgent
	work := batch || s.dueAll
	for _, g := range s.agents {
		work = work || g.due
		if g.active && !g.free().Empty() && (batch || s.dueAll || g.due) {
			list = append(list, g)
		}
	}
	if !work {
		return nil
	}
	s.lastRun, s.dueAll = now, false
	for _, g := range s.agents {
		g.due = false
	}
	if !slices.ContainsFunc(keys(s.clients()), s.eligible) {
		return nil
	}
	s.rand.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	var out []Allocation
	for _, g := range list {
		given := make(map[string]bool)
		for _, c := range s.order("") {
			if s.eligible(c) {
				if r := s.candidate(g, c, given); !r.Empty() {
					s.charge(g, c, r)
					out = append(out, Allocation{c.framework, c.role, g.id, r})
				}
			}
		}
	}
	return out
}

func (s *slowAllocator) eligible(c slowClient) bool {
	f := s.frameworks[c.framework]
	return s.subscribed(c) && f.active && !f.suppressed[c.role]
}

// candidate returns the offer for the client, empty for none.
func (s *slowAllocator) candidate(g *slowAgent, c slowClient, given map[string]bool) Resources {
	f := s.frameworks[c.framework]
	caps := f.spec.Capabilities
	if g.total.Scalar("gpus") > 0 && !caps[v1.FrameworkInfo_Capability_GPU_RESOURCES] {
		return Resources{}
	}
	candidate := g.free().AllocatableTo(c.role).Filter(func(e Entry) bool {
		return (!e.Revocable() || caps[v1.FrameworkInfo_Capability_REVOCABLE_RESOURCES]) &&
			(len(e.Reservations()) < 2 || caps[v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT]) &&
			(!e.Shared() || caps[v1.FrameworkInfo_Capability_SHARED_RESOURCES])
	})
	for _, filter := range s.filters { // what is shared and given away already still counts against a filter
		if filter.client == c && filter.agent == g.id && filter.refused.Contains(candidate) {
			return Resources{}
		}
	}
	candidate = candidate.Filter(func(e Entry) bool { return !e.Shared() || !given[e.Disk().GetPersistence().GetId()] })
	minimum, own := f.spec.MinAllocatable[c.role]
	if !own {
		minimum = s.minimum
	}
	q := candidate.Quantities()
	enough := len(minimum) == 0
	for _, set := range minimum {
		met := true
		for name, milli := range set {
			met = met && q[name] >= milli
		}
		enough = enough || met
	}
	if !enough {
		return Resources{}
	}
	first := func(e Entry) bool {
		return e.Type() != v1.Value_SCALAR || e.Revocable() || len(e.Reservations()) > 0
	}
	for _, e := range candidate.Filter(Entry.Shared).Entries() {
		given[e.Disk().GetPersistence().GetId()] = true
	}
	return candidate.Filter(first).Add(candidate.Filter(func(e Entry) bool { return !first(e) })).Allocate(c.role)
}

// world drives both implementations with the same random calls.
type world struct {
	t      *testing.T
	rand   *rand.Rand
	real   *Allocator
	slow   *slowAllocator
	now    time.Time
	open   []Allocation // what may be recovered
	totals []Resources
	log    []string
}

func newWorld(t *testing.T, seed uint64) *world {
	w := &world{t: t, rand: rand.New(rand.NewPCG(seed, 2)), now: epoch}
	weights := map[string]float64{"a": 2, "a/x": 0.5, "b": 3}
	w.real = New(Options{Rand: rand.New(rand.NewPCG(seed, 3)), Weights: weights, FilterGPU: true})
	w.slow = &slowAllocator{
		rand: rand.New(rand.NewPCG(seed, 3)), interval: time.Second, weights: map[string]float64{"a": 2, "a/x": 0.5, "b": 3},
		minimum:    []Quantities{{"cpus": 10}, {"mem": 32000}},
		frameworks: make(map[mesos.FrameworkID]*slowFramework),
		clientRuns: make(map[slowClient]int), nodeRuns: make(map[string]int),
	}
	for _, text := range []string{
		"cpus:4;mem:4096", "cpus:8;mem:1024;ports:[1-9]", "mem:31;disk:5", "cpus:2;cpus(a):2;mem(a/x):64", "cpus:1;gpus:2", "cpus:0.005;mem:16;mem(b):16",
	} {
		w.totals = append(w.totals, resources(t, text))
	}
	w.totals = append(w.totals, protoResources(t, `[
		{"name":"cpus","type":"SCALAR","scalar":{"value":2}},
		{"name":"cpus","type":"SCALAR","scalar":{"value":3},"revocable":{}},
		{"name":"cpus","type":"SCALAR","scalar":{"value":4},"reservations":[{"type":"DYNAMIC","role":"a"},{"type":"DYNAMIC","role":"a/x"}]},
		{"name":"disk","type":"SCALAR","scalar":{"value":100},"reservations":[{"type":"DYNAMIC","role":"a"}],"shared":{},"disk":{"persistence":{"id":"v"},"volume":{"container_path":"d","mode":"RW"}}}]`))
	return w
}

func (w *world) note(format string, args ...any) {
	w.log = append(w.log, fmt.Sprintf(format, args...))
}

func (w *world) agentID() mesos.AgentID { return mesos.AgentID(fmt.Sprintf("S%d", w.rand.IntN(5))) }
func (w *world) frameworkID() mesos.FrameworkID {
	return mesos.FrameworkID(fmt.Sprintf("F%d", w.rand.IntN(4)))
}
func (w *world) roles() []string {
	roles := []string{"a", "a/x", "a/y", "b", "*"}
	w.rand.Shuffle(len(roles), func(i, j int) { roles[i], roles[j] = roles[j], roles[i] })
	return roles[:w.rand.IntN(4)]
}

func (w *world) spec(id mesos.FrameworkID) Framework {
	f := Framework{ID: id, Roles: w.roles(), Capabilities: make(map[v1.FrameworkInfo_Capability_Type]bool)}
	for i := v1.FrameworkInfo_Capability_REVOCABLE_RESOURCES; i <= v1.FrameworkInfo_Capability_REGION_AWARE; i++ {
		f.Capabilities[i] = w.rand.IntN(2) == 0
	}
	for _, role := range f.Roles {
		switch w.rand.IntN(8) {
		case 0:
			f.Suppressed = append(f.Suppressed, role)
		case 1:
			f.MinAllocatable = map[string][]Quantities{role: {{"cpus": 3000}, {"ports": 2000}}}
		case 2:
			f.MinAllocatable = map[string][]Quantities{role: {}}
		}
	}
	return f
}

// configure is the slow AddFramework and UpdateFramework.
func (w *world) configure(f Framework, activate bool) {
	old := w.slow.frameworks[f.ID]
	if old == nil {
		if !activate {
			return
		}
		old = &slowFramework{suppressed: make(map[string]bool)}
		w.slow.frameworks[f.ID] = old
	}
	before := make(map[string]bool)
	for _, role := range old.spec.Roles {
		c := slowClient{f.ID, role}
		before[role] = w.slow.eligible(c)
		if !slices.Contains(f.Roles, role) || (old.suppressed[role] && !slices.Contains(f.Suppressed, role)) {
			w.slow.cut(c)
		}
	}
	old.spec, old.suppressed = f, make(map[string]bool)
	old.active = old.active || activate
	for _, role := range f.Suppressed {
		old.suppressed[role] = true
	}
	for _, role := range f.Roles {
		if w.slow.eligible(slowClient{f.ID, role}) && !before[role] {
			w.slow.dueAll = true
		}
	}
	if activate {
		w.slow.dueAll = true
	}
}

func (w *world) stepFramework() {
	id := w.frameworkID()
	f := w.slow.frameworks[id]
	switch w.rand.IntN(8) {
	case 0, 1:
		spec := w.spec(id)
		w.note("add framework %v", spec)
		w.real.AddFramework(spec)
		w.configure(spec, true)
	case 2:
		spec := w.spec(id)
		w.note("update framework %v", spec)
		w.real.UpdateFramework(spec)
		w.configure(spec, false)
	case 3:
		w.note("remove framework %s", id)
		w.real.RemoveFramework(id)
		for _, g := range w.slow.agents {
			for _, c := range keys(g.held) {
				if c.framework == id {
					delete(g.held, c)
				}
			}
		}
		w.slow.filters = slices.DeleteFunc(w.slow.filters, func(f slowFilter) bool { return f.client.framework == id })
		delete(w.slow.frameworks, id)
	case 4:
		w.note("deactivate framework %s", id)
		w.real.DeactivateFramework(id)
		if f != nil {
			f.active, f.suppressed = false, make(map[string]bool)
			w.slow.filters = slices.DeleteFunc(w.slow.filters, func(f slowFilter) bool { return f.client.framework == id })
		}
	case 5:
		w.note("activate framework %s", id)
		w.real.ActivateFramework(id)
		if f != nil {
			f.active, w.slow.dueAll = true, true
		}
	default:
		w.stepSuppression(id, f)
	}
}

func (w *world) stepSuppression(id mesos.FrameworkID, f *slowFramework) {
	roles, suppress := w.roles(), w.rand.IntN(2) == 0
	w.note("suppress %t framework %s roles %v", suppress, id, roles)
	if suppress {
		w.real.Suppress(id, roles)
	} else {
		w.real.Revive(id, roles)
	}
	if f == nil {
		return
	}
	for _, role := range roles {
		if !slices.Contains(f.spec.Roles, role) {
			return
		}
	}
	if len(roles) == 0 {
		roles = f.spec.Roles
	}
	for _, role := range roles {
		f.suppressed[role] = suppress
		if !suppress {
			w.slow.cut(slowClient{id, role})
		}
	}
	w.slow.dueAll = w.slow.dueAll || !suppress
}

func (w *world) stepAgent() {
	id := w.agentID()
	g := w.slow.agent(id)
	total := w.totals[w.rand.IntN(len(w.totals))]
	rack := fmt.Sprint("r", w.rand.IntN(2))
	name := "rack"
	spec := Agent{ID: id, Total: total, Attributes: []*v1.Attribute{{Name: &name, Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: &rack}}}}
	switch w.rand.IntN(7) {
	case 0, 1, 2:
		if g != nil {
			return
		}
		w.note("add agent %s %s", id, total)
		w.real.AddAgent(spec, nil)
		w.slow.agents = append(w.slow.agents, &slowAgent{id: id, total: total, rack: rack, active: true, due: true, held: make(map[slowClient]Resources)})
	case 3:
		w.note("update agent %s %s %s", id, total, rack)
		w.real.UpdateAgent(spec)
		if g == nil {
			return
		}
		if g.rack != rack {
			w.slow.filters = slices.DeleteFunc(w.slow.filters, func(f slowFilter) bool { return f.agent == id })
		}
		g.total, g.rack = total, rack
		g.due = g.due || g.active
	case 4:
		w.note("remove agent %s", id)
		w.real.RemoveAgent(id)
		if i := slices.Index(w.slow.agents, g); i >= 0 {
			last := len(w.slow.agents) - 1
			w.slow.agents[i] = w.slow.agents[last]
			w.slow.agents = w.slow.agents[:last]
			w.slow.filters = slices.DeleteFunc(w.slow.filters, func(f slowFilter) bool { return f.agent == id })
		}
	case 5:
		w.note("deactivate agent %s", id)
		w.real.DeactivateAgent(id)
		if g != nil {
			g.active = false
		}
	default:
		w.note("activate agent %s", id)
		w.real.ActivateAgent(id)
		if g != nil && !g.active {
			g.active, g.due = true, true
		}
	}
}

func (w *world) stepResources() {
	if w.rand.IntN(6) == 0 {
		id, agent, role := w.frameworkID(), w.agentID(), []string{"a", "a/y", "b"}[w.rand.IntN(3)]
		r := w.totals[w.rand.IntN(2)].Allocate(role)
		if g := w.slow.agent(agent); g == nil || !g.free().Contains(r.Unallocate()) {
			return
		}
		w.note("charge %s %s %s", id, agent, r)
		w.real.Charge(id, agent, r)
		w.slow.charge(w.slow.agent(agent), slowClient{id, role}, r)
		w.open = append(w.open, Allocation{id, role, agent, r})
		return
	}
	if len(w.open) == 0 {
		return
	}
	i := w.rand.IntN(len(w.open))
	x := w.open[i]
	r := x.Resources
	if w.rand.IntN(2) == 0 { // a task is launched with the rest
		half := r.Filter(func(Entry) bool { return w.rand.IntN(2) == 0 })
		r = half
	}
	w.open = slices.Delete(w.open, i, i+1)
	refuse := time.Duration(w.rand.IntN(4)-1) * 700 * time.Millisecond
	trigger := w.rand.IntN(2) == 0
	w.note("recover %s %s %s refuse %v trigger %t", x.Framework, x.Agent, r, refuse, trigger)
	w.real.Recover(w.now, x.Framework, x.Agent, r, refuse)
	c := slowClient{x.Framework, x.Role}
	g := w.slow.agent(x.Agent)
	f := w.slow.frameworks[x.Framework]
	known := g != nil && (w.slow.clients()[c])
	if known {
		w.slow.release(g, c, r)
		if refuse > 0 && !r.Empty() && w.slow.subscribed(c) && f.active {
			w.refuse(c, x.Agent, r.Unallocate(), refuse)
		}
	}
	if trigger {
		w.real.Trigger(x.Agent)
		if g != nil && g.active {
			g.due = true
		}
	}
}

// refuse adds a filter and drops those that it makes superfluous.
func (w *world) refuse(c slowClient, agent mesos.AgentID, refused Resources, d time.Duration) {
	added := slowFilter{c, agent, refused, w.now.Add(max(d, time.Second))}
	weaker := func(a, b slowFilter) bool {
		return a.client == b.client && a.agent == b.agent && !a.end.After(b.end) && b.refused.Contains(a.refused)
	}
	if slices.ContainsFunc(w.slow.filters, func(f slowFilter) bool { return weaker(added, f) }) {
		return
	}
	w.slow.filters = slices.DeleteFunc(w.slow.filters, func(f slowFilter) bool { return weaker(f, added) })
	w.slow.filters = append(w.slow.filters, added)
}

func (w *world) allocate() {
	w.now = w.now.Add(time.Duration(w.rand.IntN(5)) * 150 * time.Millisecond)
	deadline, ok := w.real.Deadline()
	got, want := w.real.Allocate(w.now), w.slow.Allocate(w.now)
	w.note("allocate at %v: %d offers", w.now.Sub(epoch), len(want))
	if fmt.Sprint(got) != fmt.Sprint(want) {
		w.fail("offers\ngot  %v\nwant %v", got, want)
	}
	if len(got) > 0 && (!ok || deadline.After(w.now)) {
		w.fail("offers before the deadline %v (%t)", deadline, ok)
	}
	w.open = append(w.open, got...)
}

func (w *world) fail(format string, args ...any) {
	w.t.Helper()
	w.t.Fatalf("%s\nafter\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
}

// check compares what both say of each agent, and conservation: what is free
// and what is held make the total.
func (w *world) check() {
	w.t.Helper()
	if err := w.real.Check(); err != nil {
		w.fail("invariants: %v", err)
	}
	filters := make(map[string]int)
	for _, f := range w.slow.filters {
		filters[f.client.role]++
	}
	stats := w.real.Stats()
	for role, n := range filters {
		if stats.Filters[role] != n {
			w.fail("%d filters of role %s, want %d", stats.Filters[role], role, n)
		}
	}
	for _, g := range w.slow.agents {
		free := w.real.Free(g.id)
		if !free.Equal(g.free()) {
			w.fail("agent %s: free %s, want %s", g.id, free, g.free())
		}
		var held Resources
		for id := range 4 {
			held = held.Add(w.real.Held(mesos.FrameworkID(fmt.Sprintf("F%d", id)), g.id))
		}
		held = held.Unallocate().Filter(func(e Entry) bool { return !e.Shared() })
		if sum := held.Add(free.Filter(func(e Entry) bool { return !e.Shared() })); g.total.Contains(held) &&
			!sum.Equal(g.total.Filter(func(e Entry) bool { return !e.Shared() })) {
			w.fail("agent %s: free %s and held %s are not total %s", g.id, free, held, g.total)
		}
	}
}

// RES-79, RES-183, RES-184, RES-190..194, RES-199..208, RES-215..218: both
// implementations make the same offers in random small clusters, and nothing is
// lost or given twice.
func TestAllocatorAgainstReference(t *testing.T) {
	seeds, steps := uint64(150), 150
	if testing.Short() {
		seeds = 20
	}
	// Found by longer runs: clients left behind by a removed agent, a filter's
	// verdict that outlived a change of capabilities.
	list := []uint64{51, 1334}
	for seed := range seeds {
		list = append(list, seed)
	}
	offers := 0
	for _, seed := range list {
		w := newWorld(t, seed)
		w.note("seed %d", seed)
		for range steps {
			switch w.rand.IntN(8) {
			case 0:
				w.stepFramework()
			case 1:
				w.stepAgent()
			case 2:
				path, weight := []string{"a", "a/x", "b"}[w.rand.IntN(3)], float64(1+w.rand.IntN(4))
				if w.rand.IntN(8) == 0 {
					w.note("weight of %s is %v", path, weight)
					w.real.SetWeight(path, weight)
					w.slow.weights[path] = weight
				}
			case 3, 4, 5:
				w.stepResources()
			default:
				before := len(w.open)
				w.allocate()
				offers += len(w.open) - before
			}
			w.slow.forget()
			w.check()
		}
	}
	if offers < int(seeds)*5 {
		t.Errorf("only %d offers in %d clusters: the test does not test", offers, seeds)
	}
}
