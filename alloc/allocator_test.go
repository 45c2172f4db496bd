package alloc

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// cluster drives an Allocator whose time is counted from epoch.
type cluster struct {
	*Allocator
	t   *testing.T
	now time.Time
}

var epoch = time.Date(2024, 8, 23, 0, 0, 0, 0, time.UTC)

func newCluster(t *testing.T, o Options) *cluster {
	t.Helper()
	if o.Rand == nil {
		o.Rand = rand.New(rand.NewPCG(7, 7))
	}
	return &cluster{New(o), t, epoch}
}

func resources(t testing.TB, text string) Resources {
	t.Helper()
	if text == "" {
		return Resources{}
	}
	r, err := ParseResources(text)
	if err != nil {
		t.Fatalf("ParseResources(%q): %v", text, err)
	}
	return r
}

func (c *cluster) agent(id, text string) {
	c.t.Helper()
	c.AddAgent(Agent{ID: mesos.AgentID(id), Total: resources(c.t, text)}, nil)
}

func (c *cluster) agents(n int, text string) {
	c.t.Helper()
	for i := range n {
		c.agent(fmt.Sprintf("S%02d", i), text)
	}
}

func (c *cluster) framework(id string, roles ...string) {
	c.AddFramework(Framework{ID: mesos.FrameworkID(id), Roles: roles})
}

// run advances the time to the next batch and returns its offers.
func (c *cluster) run() []Allocation {
	c.t.Helper()
	c.now = c.now.Add(c.interval)
	return c.allocate()
}

// event advances the time by the least that separates cycles.
func (c *cluster) event() []Allocation {
	c.t.Helper()
	c.now = c.now.Add(c.minInterval)
	return c.allocate()
}

func (c *cluster) allocate() []Allocation {
	c.t.Helper()
	out := c.Allocate(c.now)
	if err := c.Check(); err != nil {
		c.t.Fatalf("invariants: %v", err)
	}
	return out
}

func (c *cluster) decline(x Allocation, refuse time.Duration) {
	c.Recover(c.now, x.Framework, x.Agent, x.Resources, refuse)
}

// who lists the frameworks of the offers in order.
func who(out []Allocation) string {
	ids := make([]string, len(out))
	for i, x := range out {
		ids[i] = string(x.Framework)
	}
	return strings.Join(ids, ",")
}

// roleOrder lists the roles of the offers in order.
func roleOrder(out []Allocation) string {
	roles := make([]string, len(out))
	for i, x := range out {
		roles[i] = x.Role
	}
	return strings.Join(roles, ",")
}

// offers lists "framework: resources" sorted, allocation roles left out.
func offers(out []Allocation) string {
	lines := make([]string, len(out))
	for i, x := range out {
		lines[i] = fmt.Sprintf("%s: %s", x.Framework, x.Resources.Unallocate())
	}
	slices.Sort(lines)
	return strings.Join(lines, " | ")
}

func (c *cluster) want(got, want string) {
	c.t.Helper()
	if got != want {
		c.t.Errorf("got  %s\nwant %s", got, want)
	}
}

// RES-266, RES-267, RES-184, RES-185: the example of the DRF paper, EX13/EX14.
func TestSharesOfTwoRolesWithDifferentDominantResources(t *testing.T) {
	c := newCluster(t, Options{})
	c.agent("S0", "cpus:9;mem:18432")
	c.framework("A", "a")
	c.framework("B", "b")
	task := map[mesos.FrameworkID]string{"A": "cpus:1;mem:4096", "B": "cpus:3;mem:1024"}
	var order []string
	var shares []string
	for range 5 {
		out := c.run()
		if len(out) != 1 {
			t.Fatalf("%d offers, want 1", len(out))
		}
		order = append(order, out[0].Role)
		use := resources(t, task[out[0].Framework]).Allocate(out[0].Role)
		if !out[0].Resources.Contains(use) {
			t.Fatalf("offer %s does not hold %s", out[0].Resources, use)
		}
		c.Recover(c.now, out[0].Framework, "S0", out[0].Resources.Sub(use), 0)
		s := c.Stats().Shares
		shares = append(shares, fmt.Sprintf("%.4f/%.4f", s["a"], s["b"]))
	}
	c.want(strings.Join(order, ","), "a,b,a,b,a")
	c.want(strings.Join(shares, " "), "0.2222/0.0000 0.2222/0.3333 0.4444/0.3333 0.4444/0.6667 0.6667/0.6667")
	c.want(c.Free("S0").String(), "mem:4096")
	c.want(offers(c.run()), "B: mem:4096")
}

// RES-268, RES-70, RES-200: weights of the book, EX15.
func TestWeightsShareAgents(t *testing.T) {
	weights := map[string]float64{"dev": 10, "stage": 20, "prod": 30}
	tests := []struct {
		weights map[string]float64
		agents  int
		order   string
		counts  map[string]int
	}{
		{weights, 6, "dev,prod,stage,prod,stage,prod", map[string]int{"dev": 1, "stage": 2, "prod": 3}},
		{weights, 60, "", map[string]int{"dev": 10, "stage": 20, "prod": 30}},
		{nil, 6, "", map[string]int{"dev": 2, "stage": 2, "prod": 2}},
	}
	for _, test := range tests {
		c := newCluster(t, Options{Weights: test.weights})
		c.agents(test.agents, "cpus:10;mem:10240")
		for _, role := range []string{"dev", "stage", "prod"} {
			c.framework("F-"+role, role)
		}
		out := c.run()
		if test.order != "" {
			c.want(roleOrder(out), test.order)
		}
		counts := make(map[string]int)
		for _, x := range out {
			counts[x.Role]++
		}
		for role, n := range test.counts {
			if counts[role] != n {
				t.Errorf("%d agents, weights %v: role %s got %d, want %d", test.agents, test.weights, role, counts[role], n)
			}
		}
	}
}

// RES-269, RES-76: a weight that changes at run time, EX16.
func TestSetWeight(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("A", "a")
	c.framework("B", "b")
	c.agents(4, "cpus:10;mem:10")
	c.want(roleOrder(c.run()), "a,b,a,b")
	for i := range 4 {
		c.agent(fmt.Sprintf("T%d", i), "cpus:10;mem:10")
	}
	c.SetWeight("b", 3)
	c.want(roleOrder(c.run()), "b,b,b,b")
}

// RES-200..207, RES-270..274: orders of role trees, EX17..EX21.
func TestRoleTreeOrder(t *testing.T) {
	eng := map[string]float64{"eng": 3, "eng/db": 2}
	tests := []struct {
		name    string
		weights map[string]float64
		roles   string
		agents  int
		single  bool // agents come one by one
		want    string
		sorted  bool
	}{
		{"EX17 eight agents", eng, "eng/ui,eng/db,ops", 8, false, "eng/db,eng/db,eng/db,eng/db,eng/ui,eng/ui,ops,ops", true},
		{"EX17 six agents", eng, "eng/ui,eng/db,ops", 6, false, "eng/db,eng/db,eng/ui,eng/ui,ops,ops", true},
		{"EX17 one by one", eng, "eng/ui,eng/db,ops", 6, true, "eng/db,ops,eng/ui,eng/db,eng/ui,ops", false},
		{"EX18", nil, "a/x,a/y,a/z,b", 6, false, "a/x,b,a/y,b,a/z,b", false},
		{"EX19", nil, "eng,eng/ui,ops", 8, false, "eng,ops,eng/ui,ops,eng,ops,eng/ui,ops", false},
		{"EX20", map[string]float64{"a/x": 100}, "a/x,b", 4, false, "a/x,a/x,b,b", true},
		{"EX21", map[string]float64{"a": 2}, "a/x,a/y,b", 9, false, "a/x,a/x,a/x,a/y,a/y,a/y,b,b,b", true},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, Options{Weights: test.weights})
			for _, role := range strings.Split(test.roles, ",") {
				c.framework("F-"+role, role)
			}
			var got []string
			if test.single {
				for i := range test.agents {
					c.agent(fmt.Sprintf("S%d", i), "cpus:4;mem:4096")
					got = append(got, roleOrder(c.event()))
				}
			} else {
				c.agents(test.agents, "cpus:4;mem:4096")
				got = strings.Split(roleOrder(c.run()), ",")
			}
			if test.sorted {
				slices.Sort(got)
			}
			if s := strings.Join(got, ","); s != test.want {
				t.Errorf("got  %s\nwant %s", s, test.want)
			}
		})
	}
}

// RES-274: the weight of a path without clients of its own changes at run time.
func TestInnerWeightChange(t *testing.T) {
	c := newCluster(t, Options{})
	for _, role := range []string{"a/x", "a/y", "b"} {
		c.framework("F-"+role, role)
	}
	c.run()
	c.SetWeight("a", 2)
	c.agents(9, "cpus:4;mem:4096")
	below := 0
	for _, x := range c.run() {
		if x.Role != "b" {
			below++
		}
	}
	if below != 6 {
		t.Errorf("%d of 9 agents went below a, want 6", below)
	}
}

// RES-275, RES-209: EX22, and RES-276: EX23.
func TestDominantShares(t *testing.T) {
	tests := []struct {
		name     string
		excluded []string
		weights  map[string]float64
		total    string
		used     map[string]string
		want     string
	}{
		{"EX22", nil, nil, "cpus:100;mem:100000;gpus:2",
			map[string]string{"a": "cpus:10;mem:40000", "b": "cpus:30;mem:10000", "c": "cpus:1;gpus:1"}, "b,a,c"},
		{"EX22 without gpus", []string{"gpus"}, nil, "cpus:100;mem:100000;gpus:2",
			map[string]string{"a": "cpus:10;mem:40000", "b": "cpus:30;mem:10000", "c": "cpus:1;gpus:1"}, "c,b,a"},
		{"EX22 weighted", []string{"gpus"}, map[string]float64{"a": 2}, "cpus:100;mem:100000;gpus:2",
			map[string]string{"a": "cpus:10;mem:40000", "b": "cpus:30;mem:10000", "c": "cpus:1;gpus:1"}, "c,a,b"},
		{"EX23 equal", nil, nil, "cpus:20;mem:10240", map[string]string{"a": "cpus:4;mem:1024", "b": "cpus:1;mem:2048"}, "a,b"},
		{"EX23 more memory", nil, nil, "cpus:20;mem:40960", map[string]string{"a": "cpus:4;mem:1024", "b": "cpus:1;mem:2048"}, "b,a"},
		{"EX23 more cpus", nil, nil, "cpus:100;mem:10240", map[string]string{"a": "cpus:4;mem:1024", "b": "cpus:1;mem:2048"}, "a,b"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, Options{ExcludeFromShares: test.excluded, Weights: test.weights})
			used := make(map[mesos.FrameworkID]Resources)
			for role, text := range test.used {
				c.framework(role, role)
				used[mesos.FrameworkID(role)] = resources(t, text).Allocate(role)
			}
			c.AddAgent(Agent{ID: "S", Total: resources(t, test.total)}, used)
			var got []string
			for _, r := range c.sortRoles() {
				got = append(got, r.name)
			}
			c.want(strings.Join(got, ","), test.want)
		})
	}
}

// RES-277, RES-178: two levels, agents added one by one, EX24.
func TestTwoLevels(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("f1", "r")
	c.framework("f2", "r")
	c.framework("g", "s")
	var got []string
	for i := range 8 {
		c.agent(fmt.Sprintf("S%d", i), "cpus:4;mem:4096")
		got = append(got, who(c.event()))
	}
	c.want(strings.Join(got, ","), "f1,g,f2,g,f1,g,f2,g")
}

// RES-278, RES-205: who was given something less often goes first, EX25.
func TestDecliningFrameworksAlternate(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("f1", "*")
	c.framework("f2", "*")
	c.agent("S", "cpus:4;mem:4096")
	var got []string
	for range 10 {
		out := c.run()
		got = append(got, who(out))
		for _, x := range out {
			c.decline(x, 0)
		}
	}
	c.want(strings.Join(got, ","), "f1,f2,f1,f2,f1,f2,f1,f2,f1,f2")
}

// RES-279, RES-280: EX26; reserved use counts in fairness, EX27.
func TestReservedUseCounts(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("D", "db")
	c.agent("A", "cpus:2;mem:2048;cpus(db):14;mem(db):14336")
	c.want(offers(c.run()), "D: cpus(reservations: [(STATIC,db)]):14; mem(reservations: [(STATIC,db)]):14336; cpus:2; mem:2048")
	c.framework("W", "web")
	c.agent("B", "cpus:4;mem:4096")
	c.want(offers(c.event()), "W: cpus:4; mem:4096")
	if share := c.Stats().Shares["db"]; share != 0.8 {
		t.Errorf("share of db is %v, want 0.8", share)
	}
}

// RES-281, RES-79, RES-194, RES-61: EX28.
func TestReservationsGoToTheirSubtree(t *testing.T) {
	for role, cpus := range map[string]int64{"a": 3, "a/b": 7, "a/b/c": 15, "x": 2, "ab": 2} {
		c := newCluster(t, Options{})
		c.framework("F", role)
		c.agent("S", "cpus:2;cpus(a):1;cpus(a/b):4;cpus(a/b/c):8")
		out := c.run()
		if len(out) != 1 || out[0].Resources.Scalar("cpus") != cpus*1000 {
			t.Errorf("role %s: got %s, want %d cpus", role, offers(out), cpus)
		}
	}
}

// RES-257, RES-192: reserved and unreserved parts of one agent, EX4.
func TestReservedPartForItsRole(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("X", "*")
	c.framework("P", "prod")
	c.agent("S", "cpus(prod):8;mem(prod):16384;disk(prod):65536;cpus:8;mem:15360;disk:60000;ports:[31000-32000]")
	c.want(offers(c.run()), "P: cpus(reservations: [(STATIC,prod)]):8; mem(reservations: [(STATIC,prod)]):16384; disk(reservations: [(STATIC,prod)]):65536"+
		" | X: ports:[31000-32000]; cpus:8; mem:15360; disk:60000")
}

// RES-282, RES-185: the rest of an accepted offer goes to others, EX29.
func TestLeftoversGoToOthers(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("A", "*")
	c.framework("B", "*")
	c.agent("S", "cpus:8;mem:16384;disk:65536;ports:[31000-32000]")
	out := c.run()
	half := resources(t, "cpus:4;mem:8192;disk:32768").Allocate("*")
	c.decline(Allocation{out[0].Framework, "*", "S", out[0].Resources.Sub(half)}, 5*time.Second)
	c.want(who(c.event()), "") // nothing is due without Trigger
	c.want(offers(c.run()), "B: ports:[31000-32000]; cpus:4; mem:8192; disk:32768")
}

// RES-283: idle frameworks that decline are served first, EX30.
func TestStarvation(t *testing.T) {
	for refuse, want := range map[time.Duration]string{
		0:               "idle1,idle2,idle1,idle2,idle1,idle2",
		5 * time.Second: "idle1,idle2,busy,,,idle1",
	} {
		c := newCluster(t, Options{})
		c.framework("busy", "c")
		c.agent("A", "cpus:4;mem:4096")
		c.run()
		c.framework("idle1", "a")
		c.framework("idle2", "b")
		c.agent("B", "cpus:4;mem:4096")
		var got []string
		for range 6 {
			out := c.run()
			got = append(got, who(out))
			for _, x := range out {
				if x.Framework == "busy" {
					c.decline(x, 365*24*time.Hour)
					continue
				}
				c.decline(x, refuse)
			}
		}
		c.want(strings.Join(got, ","), want)
	}
}

// RES-188, RES-190, RES-239, RES-178, SCH-125: who takes part.
func TestEligibility(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	c.agent("S", "cpus:4;mem:4096")
	c.DeactivateAgent("S")
	c.want(who(c.run()), "")
	if total := c.Stats().Total["cpus"]; total != 4000 {
		t.Errorf("a deactivated agent does not count: total cpus %d", total)
	}
	c.ActivateAgent("S")
	out := c.event()
	c.want(who(out), "F")
	c.decline(out[0], 0)
	c.DeactivateFramework("F")
	c.want(who(c.run()), "")
	c.ActivateFramework("F")
	c.want(who(c.event()), "F")
	c.RemoveAgent("S")
	if s := c.Stats(); len(s.Total) != 0 || len(s.Allocated) != 0 {
		t.Errorf("after removal of the agent: total %s, allocated %s", s.Total, s.Allocated)
	}
	c.agent("S", "cpus:4;mem:4096")
	c.want(who(c.event()), "F")
	c.RemoveFramework("F") // RES-245
	c.want(c.Free("S").String(), "cpus:4; mem:4096")
	c.want(who(c.run()), "")
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if len(c.tree.roles)+len(c.frameworks)+len(c.tree.root.children) != 0 {
		t.Errorf("left behind: %v %v", c.tree.roles, c.frameworks)
	}
}

// RES-323, RES-191, SCH-117: EX70.
func TestRegions(t *testing.T) {
	domain := func(region string) *v1.DomainInfo {
		return &v1.DomainInfo{FaultDomain: &v1.DomainInfo_FaultDomain{
			Region: &v1.DomainInfo_FaultDomain_RegionInfo{Name: &region},
			Zone:   &v1.DomainInfo_FaultDomain_ZoneInfo{Name: &region},
		}}
	}
	for aware, want := range map[bool]string{false: "A,C", true: "A,B,C"} {
		c := newCluster(t, Options{Domain: domain("eu")})
		c.AddFramework(Framework{ID: "F", Roles: []string{"*"},
			Capabilities: map[v1.FrameworkInfo_Capability_Type]bool{v1.FrameworkInfo_Capability_REGION_AWARE: aware}})
		total := resources(t, "cpus:1;mem:64")
		c.AddAgent(Agent{ID: "A", Total: total, Domain: domain("eu")}, nil)
		c.AddAgent(Agent{ID: "B", Total: total, Domain: domain("us")}, nil)
		c.AddAgent(Agent{ID: "C", Total: total}, nil)
		c.want(agentsOf(c.run()), want)
	}
}

func agentsOf(out []Allocation) string {
	ids := make([]string, len(out))
	for i, x := range out {
		ids[i] = string(x.Agent)
	}
	slices.Sort(ids)
	return strings.Join(ids, ",")
}

// RES-324, RES-148, SCH-112: EX71.
func TestGPUs(t *testing.T) {
	tests := []struct {
		filter, capable bool
		want            string
	}{{true, false, "N"}, {true, true, "G,N"}, {false, false, "G,N"}, {false, true, "G,N"}}
	for _, test := range tests {
		c := newCluster(t, Options{FilterGPU: test.filter})
		c.AddFramework(Framework{ID: "F", Roles: []string{"*"},
			Capabilities: map[v1.FrameworkInfo_Capability_Type]bool{v1.FrameworkInfo_Capability_GPU_RESOURCES: test.capable}})
		c.agent("G", "cpus:4;gpus:1")
		c.agent("N", "cpus:4")
		c.want(agentsOf(c.run()), test.want)
	}
}

// RES-192, RES-110, RES-316, SCH-110, SCH-113, SCH-116: entries for which a
// framework lacks the capability are stripped, the rest is offered.
func TestStripping(t *testing.T) {
	const dynamic = `[{"type":"DYNAMIC","role":"eng"}]`
	total := protoResources(t, `[
		{"name":"cpus","type":"SCALAR","scalar":{"value":2}},
		{"name":"cpus","type":"SCALAR","scalar":{"value":3},"revocable":{}},
		{"name":"cpus","type":"SCALAR","scalar":{"value":4},"reservations":`+dynamic+`},
		{"name":"cpus","type":"SCALAR","scalar":{"value":8},"reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"DYNAMIC","role":"eng/backend"}]},
		{"name":"disk","type":"SCALAR","scalar":{"value":100},"reservations":`+dynamic+`,"shared":{},"disk":{"persistence":{"id":"v"},"volume":{"container_path":"data","mode":"RW"}}}
	]`)
	all := map[v1.FrameworkInfo_Capability_Type]bool{
		v1.FrameworkInfo_Capability_REVOCABLE_RESOURCES:    true,
		v1.FrameworkInfo_Capability_SHARED_RESOURCES:       true,
		v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT: true,
	}
	const (
		revocable = "cpus{REV}:3"
		reserved  = "cpus(reservations: [(DYNAMIC,eng)]):4"
		refined   = "cpus(reservations: [(DYNAMIC,eng),(DYNAMIC,eng/backend)]):8"
		shared    = "disk(reservations: [(DYNAMIC,eng)])[v:data]<SHARED>:100"
		plain     = "cpus:2"
	)
	tests := []struct {
		role string
		caps map[v1.FrameworkInfo_Capability_Type]bool
		want []string
	}{
		{"eng/backend", all, []string{revocable, reserved, refined, shared, plain}},
		{"eng/backend", nil, []string{reserved, plain}},
		{"eng", all, []string{revocable, reserved, shared, plain}},
		{"eng/frontend", all, []string{revocable, reserved, shared, plain}},
		{"ops", all, []string{revocable, plain}},
		{"ops", nil, []string{plain}},
	}
	for _, test := range tests {
		c := newCluster(t, Options{})
		c.AddFramework(Framework{ID: "F", Roles: []string{test.role}, Capabilities: test.caps})
		c.AddAgent(Agent{ID: "S", Total: total}, nil)
		c.want(offers(c.run()), "F: "+strings.Join(test.want, "; "))
	}
}

// RES-124, RES-126: a shared volume stays free while it is used, goes to one
// framework in a cycle, and counts once in shares.
func TestSharedVolume(t *testing.T) {
	total := protoResources(t, `[
		{"name":"cpus","type":"SCALAR","scalar":{"value":4}},
		{"name":"disk","type":"SCALAR","scalar":{"value":900}},
		{"name":"disk","type":"SCALAR","scalar":{"value":100},"reservations":[{"type":"DYNAMIC","role":"r"}],"shared":{},"disk":{"persistence":{"id":"v"},"volume":{"container_path":"data","mode":"RW"}}}
	]`)
	volume := total.Filter(Entry.Shared)
	c := newCluster(t, Options{MinAllocatable: []Quantities{}})
	shared := map[v1.FrameworkInfo_Capability_Type]bool{v1.FrameworkInfo_Capability_SHARED_RESOURCES: true}
	for _, id := range []mesos.FrameworkID{"F", "G"} {
		c.AddFramework(Framework{ID: id, Roles: []string{"r"}, Capabilities: shared})
	}
	c.AddAgent(Agent{ID: "S", Total: total}, nil)
	c.want(offers(c.run()), "F: "+volume.String()+"; cpus:4; disk:900")
	c.want(offers(c.run()), "G: "+volume.String())
	use := volume.Allocate("r")
	c.Recover(c.now, "F", "S", resources(t, "cpus:4;disk:900").Allocate("r"), 0)
	c.Charge("F", "S", use)
	if share := c.Stats().Shares["r"]; share != 0.1 {
		t.Errorf("three copies: share %v, want 0.1", share)
	}
	c.Recover(c.now, "G", "S", use, 0)
	c.Recover(c.now, "F", "S", use, 0)
	if share := c.Stats().Shares["r"]; share != 0.1 {
		t.Errorf("one copy: share %v, want 0.1", share)
	}
	c.Recover(c.now, "F", "S", use, 0)
	if share := c.Stats().Shares["r"]; share != 0 {
		t.Errorf("no copy: share %v, want 0", share)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// RES-239, RES-212: resources in use that an agent brings are charged to
// frameworks that are not there yet.
func TestUsedByUnknownFramework(t *testing.T) {
	c := newCluster(t, Options{})
	c.AddAgent(Agent{ID: "S", Total: resources(t, "cpus:4;mem:4096")}, map[mesos.FrameworkID]Resources{
		"F": resources(t, "cpus:1;mem:1024").Allocate("r").Add(resources(t, "cpus:1").Allocate("s")),
	})
	c.want(c.Free("S").String(), "cpus:2; mem:3072")
	c.framework("F", "r")
	c.framework("G", "g")
	c.want(offers(c.run()), "G: cpus:2; mem:3072") // F holds a share already
	c.Recover(c.now, "F", "S", resources(t, "cpus:1").Allocate("s"), 0)
	c.Recover(c.now, "F", "S", resources(t, "cpus:9;mem:1024").Allocate("r"), 0) // more than it holds
	c.want(c.Free("S").String(), "cpus:2; mem:1024")
	if err := c.Check(); err != nil {
		t.Error(err)
	}
	if _, known := c.tree.roles["s"]; known {
		t.Error("role s is still there")
	}
}

// An agent whose total shrinks below what is in use offers nothing of it and
// recovers as that ends.
func TestShrunkAgent(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	c.agent("S", "cpus:4;mem:4096")
	offer := c.run()[0]
	c.UpdateAgent(Agent{ID: "S", Total: resources(t, "cpus:2;mem:8192")})
	c.want(offers(c.event()), "F: mem:4096")
	c.decline(offer, 0)
	c.want(c.Free("S").String(), "cpus:2; mem:4096")
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// Equal calls and seeds give equal offers.
func TestDeterministic(t *testing.T) {
	trace := func() string {
		c := newCluster(t, Options{Rand: rand.New(rand.NewPCG(3, 4))})
		c.agents(20, "cpus:4;mem:4096")
		for i := range 7 {
			c.framework(fmt.Sprintf("F%d", i), "r", fmt.Sprintf("s%d", i%3))
		}
		var b strings.Builder
		for i := range 10 {
			for j, x := range c.run() {
				fmt.Fprintln(&b, x.Framework, x.Role, x.Agent, x.Resources)
				if (i+j)%3 != 0 {
					c.decline(x, time.Duration(j)*time.Second)
				}
			}
		}
		return b.String()
	}
	if a, b := trace(), trace(); a != b {
		t.Errorf("two runs differ:\n%s\n%s", a, b)
	}
}
