package master

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
)

// SCH-265: the form of --agent_removal_rate_limit.
func TestParseRemovalRate(t *testing.T) {
	for text, want := range map[string]RemovalRate{
		"":            {},
		"1/10mins":    {1, 10 * time.Minute},
		"2/3hrs":      {2, 3 * time.Hour},
		" 20 / 1secs": {20, time.Second},
	} {
		if got, err := ParseRemovalRate(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"1", "0/10mins", "-1/10mins", "1.5/10mins", "a/10mins", "1/10", "1/x", "1/0secs", "1/-1secs", "/", "1/1secs/2"} {
		if got, err := ParseRemovalRate(text); err == nil {
			t.Errorf("%q is %v", text, got)
		} else if !strings.Contains(err.Error(), fmt.Sprintf("%q", text)) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

// SCH-278: the form of --recovery_agent_removal_limit.
func TestParseRemovalLimit(t *testing.T) {
	for text, want := range map[string]float64{"0%": 0, "100%": 1, "12.5%": 0.125, " 50%": 0.5} {
		if got, err := ParseRemovalLimit(text); err != nil || got != want {
			t.Errorf("%q: %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "%", "50", "-1%", "101%", "NaN%", "x%"} {
		if got, err := ParseRemovalLimit(text); err == nil {
			t.Errorf("%q is %v", text, got)
		}
	}
}

// several registers n agents, S0 on connection 1 and so on, of which none will answer a ping.
func several(t *testing.T, cfg Config, n int) *harness {
	t.Helper()
	h := newHarness(t, cfg)
	h.mute = true
	for i := range n {
		h.register(ConnID(i + 1))
	}
	return h
}

// unreachable lists the agents that are marked so, by id.
func (h *harness) unreachable() []string {
	h.t.Helper()
	ids := []string{}
	for _, u := range h.view().Unreachable {
		ids = append(ids, u.Info.GetId().GetValue())
	}
	return ids
}

// again is the Register of an agent of several that comes back.
func again(id mesos.AgentID, c ConnID) string {
	info := agentInfo[:len(agentInfo)-1] + `,"id":{"value":"` + string(id) + `"}}`
	return `{"register":{"agent":` + info + `,"version":"0.1.0",` + draining + `,"ip":"10.0.0.` + fmt.Sprint(c) + `"}}`
}

func metric(h *harness, name string) float64 { return h.view().Metrics["master/"+name] }

// SCH-265, CLU-61: with a limit agents are marked one after the other, however many are due; those that
// answer, come back or leave meanwhile are spared.
func TestRemovalRate(t *testing.T) {
	cfg := fastPings()
	cfg.AgentRemovalRate = RemovalRate{2, 20 * time.Second}
	h := several(t, cfg, 6)
	h.wait(2 * time.Second)
	same(t, "at once", h.unreachable(), []string{"m-S0"})
	if n := metric(h, "slave_unreachable_scheduled"); n != 6 {
		t.Fatalf("%v scheduled", n)
	}
	h.agent(2, `{"pong":{}}`) // S1 answers
	h.do(AgentDisconnected{Conn: 3})
	h.agent(13, again("m-S2", 3)) // S2 comes back
	h.agent(4, `{"unregister":{}}`)
	if n := metric(h, "slave_unreachable_canceled"); n != 3 {
		t.Fatalf("%v canceled", n)
	}
	answer := func() {
		h.agent(2, `{"pong":{}}`)
		h.agent(13, `{"pong":{}}`)
	}
	for range 9 {
		h.wait(time.Second)
		answer()
	}
	same(t, "before its turn", h.unreachable(), []string{"m-S0"})
	h.wait(time.Second)
	same(t, "after 10 s", h.unreachable(), []string{"m-S0", "m-S4"})
	for range 9 {
		answer()
		h.wait(time.Second)
	}
	same(t, "before the next turn", h.unreachable(), []string{"m-S0", "m-S4"})
	answer()
	h.wait(time.Second)
	same(t, "after 20 s", h.unreachable(), []string{"m-S0", "m-S4", "m-S5"})
	if n := metric(h, "slave_unreachable_completed"); n != 3 || h.m.agents.len() != 2 {
		t.Fatalf("%v completed, %d agents", n, h.m.agents.len())
	}
}

// SCH-262, SCH-265: an agent that falls silent again waits again.
func TestRemovalAfterPong(t *testing.T) {
	cfg := fastPings()
	cfg.AgentRemovalRate = RemovalRate{1, time.Minute}
	h := several(t, cfg, 2)
	h.wait(2 * time.Second)
	h.agent(2, `{"pong":{}}`)
	h.wait(57 * time.Second)
	same(t, "before its turn", h.unreachable(), []string{"m-S0"})
	h.wait(3 * time.Second)
	same(t, "silent all the time since", h.unreachable(), []string{"m-S0", "m-S1"})
}

// CLU-62, SCH-278, SCH-265: agents that stay away after an election are marked when their time is over,
// not earlier, and no faster than allowed.
func TestRecoveryKeepsToTheRate(t *testing.T) {
	old := several(t, testConfig(), 4)
	cfg := testConfig()
	cfg.AgentRemovalRate = RemovalRate{1, 5 * time.Minute}
	h := electedWith(old, cfg, time.Second)
	if n := len(h.view().State.GetAgents.GetRecoveredAgents()); n != 4 {
		t.Fatalf("%d recovered agents", n)
	}
	h.wait(10*time.Minute - time.Millisecond)
	same(t, "within the time", h.unreachable(), []string{})
	h.wait(time.Millisecond)
	same(t, "after 10 minutes", h.unreachable(), []string{"m-S0"})
	h.mute = true
	h.agent(20, again("m-S1", 20)) // late, and still welcome
	if n := metric(h, "slave_unreachable_canceled"); n != 1 {
		t.Fatalf("%v canceled", n)
	}
	h.mute = false
	h.agent(20, `{"pong":{}}`)
	h.wait(5 * time.Minute)
	same(t, "after 15 minutes", h.unreachable(), []string{"m-S0", "m-S2"})
	h.wait(5 * time.Minute)
	same(t, "after 20 minutes", h.unreachable(), []string{"m-S0", "m-S2", "m-S3"})
	if n := metric(h, "recovery_slave_removals"); n != 3 {
		t.Fatalf("%v removals", n)
	}
}

// electedWith is newLeader with other settings.
func electedWith(old *harness, cfg Config, after time.Duration) *harness {
	old.t.Helper()
	h := newLeader(old, after)
	cfg.Info = h.m.cfg.Info
	h.elect(cfg)
	return h
}

// SCH-278: if more agents are absent than the limit allows, all of them are kept, until enough came back.
func TestRecoveryRemovalLimit(t *testing.T) {
	for _, c := range []struct {
		limit  string
		absent int // of 10
		kept   bool
	}{
		{"100%", 10, false}, {"50%", 5, false}, {"50%", 6, true}, {"0%", 1, true}, {"0%", 0, false}, {"99%", 10, true},
	} {
		t.Run(fmt.Sprintf("%s of %d", c.limit, c.absent), func(t *testing.T) {
			old := several(t, testConfig(), 10)
			cfg := testConfig()
			cfg.RecoveryAgentRemovalLimit, _ = ParseRemovalLimit(c.limit)
			h := electedWith(old, cfg, time.Second)
			for i := range 10 - c.absent {
				h.agent(ConnID(50+i), again(mesos.AgentID(fmt.Sprintf("m-S%d", i)), ConnID(50+i)))
			}
			h.wait(10 * time.Minute)
			want := c.absent
			if c.kept {
				want = 0
			}
			v := h.view()
			if len(v.Unreachable) != want || len(v.State.GetAgents.GetRecoveredAgents()) != c.absent-want {
				t.Fatalf("%d unreachable, %d recovered", len(v.Unreachable), len(v.State.GetAgents.GetRecoveredAgents()))
			}
			if (len(h.logs) == 1) != c.kept || (v.Overdue == c.absent) != c.kept && c.absent > 0 || v.Metrics["master/slaves_recovering_overdue"] != float64(v.Overdue) {
				t.Fatalf("logs %q, %d overdue", h.logs, v.Overdue)
			}
		})
	}
}

// SCH-278: kept agents may come back at any time; when few enough are missing these are given up. A
// framework is not told of an agent that is kept.
func TestRecoveryLimitIsMetLater(t *testing.T) {
	old := several(t, testConfig(), 10)
	old.subscribe(1, aware("f"))
	cfg := testConfig()
	cfg.RecoveryAgentRemovalLimit = 0.2
	h := electedWith(old, cfg, time.Second)
	h.mute = false
	h.subscribe(1, withID(aware("f"), "m-0000"))
	h.wait(time.Hour)
	for _, e := range brief(h.take(1)) {
		if strings.HasPrefix(e, "FAILURE") {
			t.Fatal(e)
		}
	}
	for i := range 8 {
		if n := len(h.unreachable()); n != 0 {
			t.Fatalf("%d unreachable when %d are back", n, i)
		}
		h.agent(ConnID(50+i), again(mesos.AgentID(fmt.Sprintf("m-S%d", i)), ConnID(50+i)))
	}
	same(t, "when 8 are back", h.unreachable(), []string{"m-S8", "m-S9"})
	if v := h.view(); v.Overdue != 0 || len(v.State.GetAgents.GetAgents()) != 8 {
		t.Fatalf("%d overdue, %d agents", v.Overdue, len(v.State.GetAgents.GetAgents()))
	}
}

// SCH-278: operators may still end agents that are kept, and a mark that is not committed is tried again.
func TestMarkOfRecoveredAgentFails(t *testing.T) {
	old := several(t, testConfig(), 1)
	h := newLeader(old, time.Second)
	h.auto = false
	h.wait(10 * time.Minute)
	h.failNext()
	if v := h.view(); len(v.State.GetAgents.GetRecoveredAgents()) != 1 || v.Metrics["master/slave_unreachable_canceled"] != 1 {
		t.Fatalf("agents: %v", v.State.GetAgents)
	}
	h.auto = true
	h.wait(10 * time.Minute)
	same(t, "tried again", h.unreachable(), []string{"m-S0"})
}

// SCH-265, SCH-271: the turn of an agent that leaves by itself passes over while the registry is told.
func TestRemovalOfLeavingAgent(t *testing.T) {
	cfg := fastPings()
	cfg.AgentRemovalRate = RemovalRate{1, 10 * time.Second}
	h := several(t, cfg, 2)
	h.wait(2 * time.Second)
	h.auto = false
	h.agent(2, `{"unregister":{}}`)
	h.wait(time.Minute)
	if len(h.proposals) != 1 || h.proposals[0].GetRemoveAgent() == nil {
		t.Fatalf("proposals: %v", h.proposals)
	}
	h.commitNext()
	if h.m.agents.len() != 0 {
		t.Fatal("the agent is still there")
	}
}

// SCH-278: agents that are awaited for other reasons than the election do not count in its limit.
func TestLimitIsOfTheElection(t *testing.T) {
	old := several(t, testConfig(), 4)
	cfg := testConfig()
	cfg.RecoveryAgentRemovalLimit = 0.5
	h := electedWith(old, cfg, time.Second)
	h.agent(50, again("m-S0", 50))
	for i := range 3 { // they come, and are gone when the registry has them
		c, id := ConnID(60+i), mesos.AgentID(fmt.Sprintf("l-S%d", i))
		h.auto = false
		h.agent(c, again(id, c))
		h.do(AgentDisconnected{Conn: c})
		h.auto = true
		h.commitNext()
		h.agent(c+10, again(id, c))
	}
	if n := len(h.view().State.GetAgents.GetRecoveredAgents()); n != 3 {
		t.Fatalf("%d recovered agents", n)
	}
	h.wait(time.Hour)
	if v := h.view(); v.Overdue != 3 || len(v.Unreachable) != 0 {
		t.Fatalf("%d overdue, unreachable %v", v.Overdue, h.unreachable())
	}
}
