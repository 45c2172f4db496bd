package alloc

import (
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// RES-284, RES-285, RES-195, RES-196, RES-199, SCH-131: EX31 and EX32.
func TestMinAllocatable(t *testing.T) {
	minimum, err := ParseMinAllocatable("disk:1|cpus:1;mem:32;ports:1")
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		minimum []Quantities
		total   string
		want    bool
	}{
		{nil, "cpus:0.005;mem:31;disk:5000;ports:[1-10]", false},
		{nil, "cpus:0.01", true},
		{nil, "mem:32", true},
		{nil, "mem(dev):16;mem:16", true},
		{nil, "mem(other):16;mem:16", false},
		{minimum, "cpus:2;mem:16;ports:[1-10]", false},
		{minimum, "cpus:1;mem:32;ports:[5-5]", true},
		{minimum, "disk:1", true},
		{minimum, "cpus:8;mem:8192", false},
		{[]Quantities{}, "ports:[1-1]", true}, // an empty flag allows everything (RES-197)
		{[]Quantities{{}}, "ports:[1-1]", true},
		{[]Quantities{}, "cpus(other):1", false}, // but no empty offers
		{[]Quantities{{}}, "cpus(other):1", false},
	}
	for _, test := range tests {
		c := newCluster(t, Options{MinAllocatable: test.minimum})
		c.framework("F", "dev")
		c.agent("S", test.total)
		if got := len(c.run()) == 1; got != test.want {
			t.Errorf("minimum %v, agent %s: offered %t, want %t", test.minimum, test.total, got, test.want)
		}
	}
}

// RES-286, RES-198: the minimum of a framework and role, EX33.
func TestFrameworkMinimum(t *testing.T) {
	spec := Framework{
		ID: "F", Roles: []string{"dev", "ops"},
		Capabilities:   map[v1.FrameworkInfo_Capability_Type]bool{v1.FrameworkInfo_Capability_GPU_RESOURCES: true},
		MinAllocatable: map[string][]Quantities{"dev": {{"cpus": 2000, "mem": 1024000}, {"gpus": 1000}}, "unknown": {{"cpus": 1}}},
	}
	for total, want := range map[string]string{
		"cpus:1;mem:8192":   "ops",
		"gpus:1;cpus:0.5":   "dev",
		"cpus:2;mem:1024":   "dev",
		"cpus:2;mem:1023":   "ops",
		"ports:[1-9];mem:1": "",
	} {
		c := newCluster(t, Options{FilterGPU: true})
		c.AddFramework(spec)
		c.agent("S", total)
		c.want(roleOrder(c.run()), want)
	}
	c := newCluster(t, Options{})
	spec.MinAllocatable = map[string][]Quantities{"dev": {}} // any offer that is not empty
	c.AddFramework(spec)
	c.agent("S", "ports:[1-9]")
	c.want(offers(c.run()), "F: ports:[1-9]")
}

// RES-287, RES-216, SCH-134: EX34.
func TestFilterBlocksOnlyWhatWasRefused(t *testing.T) {
	tests := []struct {
		total string
		want  string
	}{
		{"cpus:2;mem:2048", "g"},
		{"cpus:4;mem:4096", "g"},
		{"cpus:4;mem:5120", "r"},
		{"cpus:3;mem:3072;ports:[31000-31009]", "r"},
		{"cpus:4;mem:4096;cpus(r):1", "r"},
	}
	for _, test := range tests {
		c := newCluster(t, Options{})
		c.framework("F", "r")
		c.agent("A", "cpus:4;mem:4096")
		c.decline(c.run()[0], 600*time.Second)
		// G uses a little, so that F goes first where its filter allows it.
		little := resources(t, "cpus:0.001")
		c.framework("G", "g")
		c.UpdateAgent(Agent{ID: "A", Total: resources(t, test.total).Add(little)})
		c.Charge("G", "A", little.Allocate("g"))
		c.want(roleOrder(c.event()), test.want)
	}
}

// RES-216: another role of the framework is not blocked.
func TestFilterIsForOneRole(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r", "s")
	c.agent("A", "cpus:4;mem:4096")
	var got []string
	for range 4 {
		out := c.run()
		got = append(got, roleOrder(out))
		for _, x := range out {
			c.decline(x, 600*time.Second)
		}
	}
	c.want(strings.Join(got, ","), "r,s,,")
}

// SCH-118: a capability that is new makes more offerable than was refused.
func TestFilterAndNewCapability(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	total := resources(t, "cpus:4").Add(protoResources(t, `[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"revocable":{}}]`))
	c.AddAgent(Agent{ID: "A", Total: total}, nil)
	c.decline(c.run()[0], time.Hour)
	c.want(offers(c.run()), "")
	c.UpdateFramework(Framework{ID: "F", Roles: []string{"r"},
		Capabilities: map[v1.FrameworkInfo_Capability_Type]bool{v1.FrameworkInfo_Capability_REVOCABLE_RESOURCES: true}})
	c.want(offers(c.run()), "F: cpus{REV}:2; cpus:4")
}

// RES-217: filters are checked one by one, never merged.
func TestFiltersAreNotMerged(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	c.agent("A", "cpus:4;mem:4096")
	offer := c.run()[0]
	c.Recover(c.now, "F", "A", offer.Resources.Named("cpus"), time.Minute)
	c.Recover(c.now, "F", "A", offer.Resources.Named("mem"), time.Minute)
	if n := c.Stats().Filters["r"]; n != 2 {
		t.Errorf("%d filters, want 2", n)
	}
	c.want(offers(c.run()), "F: cpus:4; mem:4096")
}

// RES-288, RES-215, SCH-132, SCH-133: batches at 1, 2, 3 s; EX35.
func TestFilterTime(t *testing.T) {
	at := func(seconds float64) time.Time { return epoch.Add(time.Duration(seconds * float64(time.Second))) }
	for refuse, want := range map[time.Duration]int{
		100 * time.Millisecond:  2,
		2500 * time.Millisecond: 3,
		0:                       1,
		5 * time.Second:         6,
	} {
		c := newCluster(t, Options{})
		c.framework("F", "r")
		c.agent("A", "cpus:4;mem:4096")
		offer := c.Allocate(at(0))[0]
		c.Recover(at(0.4), "F", "A", offer.Resources, refuse)
		for second := 1; ; second++ {
			if second > 10 {
				t.Fatalf("refused for %v: never offered again", refuse)
			}
			if out := c.Allocate(at(float64(second))); len(out) == 1 {
				if second != want {
					t.Errorf("refused for %v: offered at %d s, want %d s", refuse, second, want)
				}
				break
			}
		}
	}
}

// RES-289: EX36.
func TestFilterWithLongInterval(t *testing.T) {
	c := newCluster(t, Options{Interval: time.Minute})
	c.framework("F1", "r")
	c.agent("A", "cpus:4;mem:4096")
	c.want(who(c.run()), "F1")
	c.framework("F2", "r")
	c.agent("B", "cpus:4;mem:4096")
	out := c.event()
	c.want(who(out), "F2")
	c.decline(out[0], time.Second)
	c.now = c.now.Add(-c.minInterval) // batches go on at full minutes
	out = c.run()
	c.want(who(out), "F1")
	c.decline(out[0], 0)
	c.want(who(c.run()), "F2")
}

// RES-290: what a RESERVE changed is not part of the refused rest, EX37.
func TestFilterAndNewReservation(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "eng")
	c.agent("A", "cpus:8;mem:8192;disk:4096")
	offer := c.run()[0]
	reserved := resources(t, "cpus:8;mem:8192;disk:2048;disk(eng):2048")
	c.decline(offer, 0)
	c.UpdateAgent(Agent{ID: "A", Total: reserved})
	c.Charge("F", "A", resources(t, "cpus:8;mem:8192;disk:2048").Allocate("eng"))
	c.Recover(c.now, "F", "A", resources(t, "cpus:8;mem:8192;disk:2048").Allocate("eng"), time.Minute)
	c.want(offers(c.run()), "F: disk(reservations: [(STATIC,eng)]):2048; cpus:8; mem:8192; disk:2048")
}

// RES-290: the unused rest of a launch is refused.
func TestFilterAfterLaunch(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "eng")
	c.agent("A", "cpus:8;mem:8192;disk:4096")
	offer := c.run()[0]
	task := resources(t, "cpus:1;mem:512").Allocate("eng")
	c.decline(Allocation{"F", "eng", "A", offer.Resources.Sub(task)}, time.Minute)
	for range 59 {
		c.want(who(c.run()), "")
	}
	c.want(offers(c.run()), "F: cpus:7; mem:7680; disk:4096")
}

// RES-291, RES-220, RES-221, RES-222, SCH-202, SCH-203, SCH-204: EX38.
func TestSuppressRevive(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "a", "b")
	c.Suppress("F", []string{"a"})
	c.agent("S", "cpus:4;mem:4096")
	out := c.run()
	c.want(roleOrder(out), "b")
	c.decline(out[0], time.Hour)
	c.Suppress("F", nil)
	c.want(roleOrder(c.run()), "")
	c.Revive("F", []string{"b", "zzz"}) // no effect
	c.want(roleOrder(c.run()), "")
	c.Revive("F", []string{"b"})
	out = c.event()
	c.want(roleOrder(out), "b")
	c.Suppress("F", []string{"zzz"}) // no effect
	c.decline(out[0], 0)
	c.want(roleOrder(c.run()), "b")
}

// RES-218, RES-49, SCH-135: what ends filters.
func TestFiltersCleared(t *testing.T) {
	rack := func(value string) *v1.Attribute {
		name := "rack"
		return &v1.Attribute{Name: &name, Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: &value}}
	}
	total := resources(t, "cpus:4;mem:4096")
	spec := Agent{ID: "A", Total: total, Attributes: []*v1.Attribute{rack("r1"), rack("r2")}}
	tests := []struct {
		name string
		do   func(*cluster)
		want string
	}{
		{"nothing", func(c *cluster) {}, ""},
		{"revive", func(c *cluster) { c.Revive("F", nil) }, "F"},
		{"revive of another role", func(c *cluster) { c.Revive("F", []string{"other"}); c.Suppress("F", []string{"other"}) }, ""},
		{"disconnect", func(c *cluster) {
			c.DeactivateFramework("F")
			c.Suppress("F", []string{"other"})
			c.ActivateFramework("F")
		}, "F"},
		{"role left and joined", func(c *cluster) {
			c.UpdateFramework(Framework{ID: "F", Roles: []string{"other"}, Suppressed: []string{"other"}})
			c.UpdateFramework(Framework{ID: "F", Roles: []string{"r", "other"}, Suppressed: []string{"other"}})
		}, "F"},
		{"suppressed and not any more", func(c *cluster) {
			c.UpdateFramework(Framework{ID: "F", Roles: []string{"r", "other"}, Suppressed: []string{"r", "other"}})
			c.UpdateFramework(Framework{ID: "F", Roles: []string{"r", "other"}, Suppressed: []string{"other"}})
		}, "F"},
		{"update without effect", func(c *cluster) {
			c.UpdateFramework(Framework{ID: "F", Roles: []string{"r", "other"}, Suppressed: []string{"other"}})
		}, ""},
		{"attributes reordered", func(c *cluster) {
			c.UpdateAgent(Agent{ID: "A", Total: total, Attributes: []*v1.Attribute{rack("r2"), rack("r1")}})
		}, ""},
		{"attributes changed", func(c *cluster) {
			c.UpdateAgent(Agent{ID: "A", Total: total, Attributes: []*v1.Attribute{rack("r2")}})
		}, "F"},
		{"agent back", func(c *cluster) { c.RemoveAgent("A"); c.AddAgent(spec, nil) }, "F"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			c := newCluster(t, Options{})
			c.AddFramework(Framework{ID: "F", Roles: []string{"r", "other"}, Suppressed: []string{"other"}})
			c.AddAgent(spec, nil)
			c.decline(c.run()[0], time.Hour)
			if n := c.Stats().Filters["r"]; n != 1 { // RES-249
				t.Fatalf("%d filters, want 1", n)
			}
			test.do(c)
			c.want(who(c.event()), test.want)
		})
	}
}

// RES-219, RES-218: an inactive framework or one that left the role refuses
// nothing.
func TestNoFilterWithoutSubscription(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	c.agent("A", "cpus:4;mem:4096")
	offer := c.run()[0]
	c.UpdateFramework(Framework{ID: "F", Roles: []string{"s"}})
	c.decline(offer, time.Hour)
	out := c.run()
	c.want(roleOrder(out), "s")
	c.DeactivateFramework("F")
	c.decline(out[0], time.Hour)
	c.ActivateFramework("F")
	c.want(roleOrder(c.event()), "s")
}

// RES-67: resources in a role that the framework left stay accounted there.
func TestRoleLeft(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	c.agent("A", "cpus:4;mem:4096")
	offer := c.run()[0]
	c.UpdateFramework(Framework{ID: "F", Roles: []string{"s"}})
	c.allocate()
	if s := c.Stats().Shares; s["r"] != 1 || s["s"] != 0 {
		t.Errorf("shares %v, want r 1 and s 0", s)
	}
	c.decline(offer, 0)
	if _, there := c.Stats().Shares["r"]; there {
		t.Error("role r is still there")
	}
}

// Superfluous and cleared filters do not pile up.
func TestFiltersAreBounded(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "r")
	c.agent("A", "cpus:4;mem:4096")
	for range 50 {
		for _, x := range c.event() {
			c.decline(x, time.Hour)
			c.Recover(c.now, x.Framework, x.Agent, x.Resources, time.Hour)
		}
		c.Revive("F", nil)
	}
	c.DeactivateAgent("A") // not visited any more
	for range 50 {
		use := resources(t, "cpus:1").Allocate("r")
		c.Charge("F", "A", use)
		c.Recover(c.now, "F", "A", use, time.Hour)
		c.Revive("F", nil)
	}
	if n := len(c.Allocator.agents["A"].filters); n > 2 {
		t.Errorf("%d filters kept, want at most 2", n)
	}
	if err := c.Check(); err != nil {
		t.Error(err)
	}
}

// RES-179, RES-180: what makes a cycle due before the batch, and that cycles
// keep their distance.
func TestDeadline(t *testing.T) {
	c := newCluster(t, Options{})
	if _, ok := c.Deadline(); ok {
		t.Error("a deadline without agents and frameworks")
	}
	c.framework("F", "r")
	c.agent("A", "cpus:4;mem:4096")
	if d, ok := c.Deadline(); !ok || !d.IsZero() {
		t.Errorf("deadline %v %t, want at once", d, ok)
	}
	out := c.allocate()
	c.wantDeadline(time.Second)
	c.decline(out[0], 2500*time.Millisecond)
	c.wantDeadline(time.Second)
	c.agent("B", "cpus:4;mem:4096")
	c.wantDeadline(20 * time.Millisecond)
	c.now = epoch.Add(19 * time.Millisecond)
	c.want(who(c.allocate()), "")
	c.now = epoch.Add(20 * time.Millisecond)
	out = c.allocate()
	c.want(agentsOf(out), "B")
	c.wantDeadline(time.Second)
	c.Recover(c.now, "F", "B", resources(t, "cpus:1;mem:1").Allocate("r"), 0)
	c.wantDeadline(time.Second)
	c.Trigger("B", "unknown")
	c.Trigger("B")
	c.wantDeadline(40 * time.Millisecond)
	c.now = epoch.Add(500 * time.Millisecond)
	c.want(offers(c.allocate()), "F: cpus:1; mem:1")
	for second := 1; second <= 2; second++ {
		c.now = epoch.Add(time.Duration(second) * time.Second)
		c.want(who(c.allocate()), "")
	}
	c.wantDeadline(2500 * time.Millisecond) // the filter for A
	c.now = epoch.Add(2500 * time.Millisecond)
	c.want(agentsOf(c.allocate()), "A")
	if runs := c.Stats().Runs; runs != 6 { // RES-246
		t.Errorf("%d runs, want 6", runs)
	}
	c.Suppress("F", nil)
	if _, ok := c.Deadline(); ok {
		t.Error("a deadline with every role suppressed")
	}
}

func (c *cluster) wantDeadline(d time.Duration) {
	c.t.Helper()
	if got, ok := c.Deadline(); !ok || !got.Equal(epoch.Add(d)) {
		c.t.Errorf("deadline %v (%t) after the start, want %v", got.Sub(epoch), ok, d)
	}
}

// The goal for event-driven allocation: a framework in each of three weighted
// roles fills 60 cpus with one task of each offer, in less than 3 s, with exact
// shares.
func TestFillByEvents(t *testing.T) {
	c := newCluster(t, Options{Weights: map[string]float64{"dev": 1, "stage": 2, "prod": 3}})
	for _, role := range []string{"dev", "stage", "prod"} {
		c.framework(role, role)
	}
	for _, id := range []string{"A", "B", "C", "D", "E", "F"} {
		c.agent(id, "cpus:10;mem:10240")
	}
	task := resources(t, "cpus:1;mem:128")
	tasks := make(map[mesos.FrameworkID]int)
	started := 0
	for started < 60 {
		deadline, ok := c.Deadline()
		if !ok {
			t.Fatal("no deadline")
		}
		if deadline.After(c.now) {
			c.now = deadline
		}
		if c.now.Sub(epoch) > 3*time.Second {
			t.Fatalf("%d tasks after 3 s", started)
		}
		for _, x := range c.allocate() {
			use := task.Allocate(x.Role)
			if !x.Resources.Contains(use) {
				c.decline(x, 0)
				continue
			}
			c.decline(Allocation{x.Framework, x.Role, x.Agent, x.Resources.Sub(use)}, 0)
			c.Trigger(x.Agent)
			tasks[x.Framework]++
			started++
		}
	}
	if tasks["dev"] != 10 || tasks["stage"] != 20 || tasks["prod"] != 30 {
		t.Errorf("tasks %v, want 10, 20, 30", tasks)
	}
}
