package master

import (
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

func answered(t *testing.T, what string, got Respond, status int, body string) {
	t.Helper()
	if got.Status != status || got.Body != body {
		t.Fatalf("%s: %d %q, want %d %q", what, got.Status, got.Body, status, body)
	}
}

// drainState is the state of the only agent's drain as operators see it, "" without one.
func (h *harness) drainState() string {
	h.t.Helper()
	agents := h.view().State.GetAgents.GetAgents()
	if len(agents) != 1 {
		h.t.Fatalf("agents: %v", agents)
	}
	if agents[0].DrainInfo == nil {
		return ""
	}
	return agents[0].GetDrainInfo().GetState().String()
}

// OPR-58: an agent that could not do it.
func TestDrainWithoutCapability(t *testing.T) {
	h := newHarness(t, testConfig())
	h.agent(1, `{"register":{"agent":`+agentInfo+`,"version":"0.1.0","capabilities":[{"type":"MULTI_ROLE"}],"ip":"10.0.0.1"}}`)
	answered(t, "DRAIN_AGENT", h.drain("m-S0", `{}`), 400, "Agent m-S0 does not have the AGENT_DRAINING capability")
	answered(t, "DEACTIVATE_AGENT", h.deactivate("m-S0"), 200, "")
}

// OPR-57, OPR-59: an agent without tasks is drained at once, drained anew, and given back.
func TestDrainOfIdleAgent(t *testing.T) {
	h := newHarness(t, testConfig())
	a := h.register(1)
	answered(t, "DEACTIVATE_AGENT", h.deactivate(a), 200, "")
	if got := h.view().State.GetAgents.GetAgents()[0]; got.GetActive() || !got.GetDeactivated() || got.DrainInfo != nil || got.EstimatedDrainStartTime != nil {
		t.Fatalf("deactivated: %v", got)
	}
	for _, grace := range []string{`{}`, `{"max_grace_period":{"nanoseconds":7}}`} {
		answered(t, "DRAIN_AGENT", h.drain(a, grace), 200, "")
		if got := h.drainState(); got != "DRAINED" {
			t.Fatalf("the agent is %s", got)
		}
	}
	v := h.view()
	if len(v.Drains) != 1 || v.Drains[0].GetConfig().GetMaxGracePeriod().GetNanoseconds() != 7 || v.Metrics["master/slaves_inactive"] != 1 {
		t.Fatalf("drains: %v, inactive: %v", v.Drains, v.Metrics["master/slaves_inactive"])
	}
	answered(t, "DEACTIVATE_AGENT", h.deactivate(a), 200, "")
	answered(t, "REACTIVATE_AGENT", h.reactivate(a), 200, "")
	if got := h.drainState(); got != "" || !h.view().State.GetAgents.GetAgents()[0].GetActive() || len(h.view().Drains) != 0 {
		t.Fatalf("reactivated: %s", got)
	}
}

// OPR-58, OPR-59: agents that are not there: recovered, unreachable.
func TestDeactivateAbsentAgent(t *testing.T) {
	for _, c := range []struct {
		name   string
		absent func(*harness) *harness
	}{
		{"disconnected", func(h *harness) *harness { h.do(AgentDisconnected{Conn: 1}); return h }},
		{"recovered", func(h *harness) *harness { return newLeader(h, time.Second) }},
		{"unreachable", func(h *harness) *harness {
			h.do(AgentDisconnected{Conn: 1})
			h.wait(11 * time.Minute)
			return h
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, a, id := running(t, aware("f"))
			h := c.absent(old)
			answered(t, "DEACTIVATE_AGENT", h.deactivate(a), 200, "")
			answered(t, "REACTIVATE_AGENT", h.reactivate(a), 200, "")
			answered(t, "DEACTIVATE_AGENT", h.deactivate(a), 200, "")
			h.subscribe(9, withID(aware("f"), id))
			h.agent(9, reregister(nil, ""))
			h.wait(5 * time.Second)
			if offers := offersIn(h.take(9)); len(offers) != 0 {
				t.Fatalf("offered: %v", offers)
			}
			answered(t, "REACTIVATE_AGENT", h.reactivate(a), 200, "")
			h.wait(time.Second)
			if offers := offersIn(h.take(9)); len(offers) != 1 {
				t.Fatalf("offers after REACTIVATE_AGENT: %v", offers)
			}
		})
	}
}

// OPR-59: what happens to the agent, or is asked by others, while a call waits for the registry.
func TestDrainRaces(t *testing.T) {
	pendingAnswer := func(h *harness, ev func(RequestID) Event) RequestID {
		if r := h.operator(ev); r.Status != 0 {
			t.Fatalf("answered before the commit: %+v", r)
		}
		return h.request
	}
	drain := func(r RequestID) Event { return DrainAgent{Request: r, Agent: "m-S0", Config: &v1.DrainConfig{}} }
	reactivate := func(r RequestID) Event { return ReactivateAgent{Request: r, Agent: "m-S0"} }
	t.Run("the agent leaves", func(t *testing.T) {
		h, _, _ := running(t, aware("f"))
		h.auto = false
		h.agent(1, `{"unregister":{}}`)
		r := pendingAnswer(h, drain)
		h.commitNext()
		h.commitNext()
		answered(t, "DRAIN_AGENT", h.answers[r], 409, "Agent removed while processing the call")
	})
	t.Run("two operators", func(t *testing.T) {
		h, a, _ := running(t, aware("f"))
		h.deactivate(a)
		h.auto = false
		first, second := pendingAnswer(h, reactivate), pendingAnswer(h, reactivate)
		h.commitNext()
		h.commitNext()
		answered(t, "first", h.answers[first], 200, "")
		answered(t, "second", h.answers[second], 409, "agent m-S0 is not deactivated")
	})
	t.Run("leadership is lost", func(t *testing.T) {
		h, _, _ := running(t, aware("f"))
		h.auto = false
		r := pendingAnswer(h, drain)
		h.failNext()
		answered(t, "DRAIN_AGENT", h.answers[r], 503, notCommitted)
		if got := h.view().State.GetAgents.GetAgents()[0]; !got.GetActive() {
			t.Fatal("deactivated all the same")
		}
	})
	t.Run("the agent becomes unreachable", func(t *testing.T) {
		h, _, _ := running(t, aware("f"))
		h.do(AgentDisconnected{Conn: 1})
		h.auto = false
		h.wait(11 * time.Minute)
		r := pendingAnswer(h, drain)
		h.commitNext()
		h.commitNext()
		answered(t, "DRAIN_AGENT", h.answers[r], 200, "")
		h.auto = true
		h.agent(2, reregister(nil, ""))
		if frames := h.takeFrames(2); frames[0].GetRegistered().GetDrain().GetConfig() == nil {
			t.Fatalf("frames: %v", frames)
		}
	})
	t.Run("drained anew while the end is being recorded", func(t *testing.T) {
		h, _, _ := running(t, aware("f"))
		h.auto = false
		first := pendingAnswer(h, drain)
		h.commitNext() // the drain; its end is proposed
		second := pendingAnswer(h, drain)
		h.auto = true
		h.wait(time.Second)
		for len(h.proposals) > 0 {
			h.commitNext()
		}
		answered(t, "first", h.answers[first], 200, "")
		answered(t, "second", h.answers[second], 200, "")
		if got := h.drainState(); got != "DRAINED" {
			t.Fatalf("the agent is %s", got)
		}
	})
}

// OPR-57: what keeps an agent DRAINING, and what ends it.
func TestDrainEnds(t *testing.T) {
	for _, c := range []struct {
		name string
		// hold leaves the agent with something, release takes that away.
		hold, release func(h *harness, a mesos.AgentID, f mesos.FrameworkID)
	}{
		{"unacknowledged update",
			func(h *harness, a mesos.AgentID, f mesos.FrameworkID) { h.update(1, f, "t1", "TASK_KILLED", 9) },
			func(h *harness, a mesos.AgentID, f mesos.FrameworkID) { h.acknowledge(1, a, "t1", 9) }},
		{"framework removed",
			func(h *harness, a mesos.AgentID, f mesos.FrameworkID) {},
			func(h *harness, a mesos.AgentID, f mesos.FrameworkID) { h.send(1, `{"type":"TEARDOWN"}`) }},
		{"agent away, back without the task",
			func(h *harness, a mesos.AgentID, f mesos.FrameworkID) {
				h.do(AgentDisconnected{Conn: 1})
				h.agent(2, reregister(nil, ""))
			},
			func(h *harness, a mesos.AgentID, f mesos.FrameworkID) {
				for _, e := range h.take(1) {
					if s := e.GetUpdate().GetStatus(); s.GetState() == v1.TaskState_TASK_DROPPED {
						h.call(1, &v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
							AgentId: s.AgentId, TaskId: s.TaskId, Uuid: s.Uuid,
						}})
						return
					}
				}
			}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, a, f := running(t, aware("f"), "t1")
			answered(t, "DRAIN_AGENT", h.drain(a, `{}`), 200, "")
			c.hold(h, a, f)
			h.wait(2 * time.Second)
			if got := h.drainState(); got != "DRAINING" {
				t.Fatalf("the agent is %s", got)
			}
			answered(t, "REACTIVATE_AGENT", h.reactivate(a), 400, "Agent is still in the DRAINING state")
			c.release(h, a, f)
			if got := h.drainState(); got != "DRAINED" {
				t.Fatalf("the agent is %s", got)
			}
		})
	}
}

// OPR-57, SCH-266: tasks that were given up with the connection may still run: the agent has to say so.
func TestDrainWaitsForDisconnectedAgent(t *testing.T) {
	info := aware("f")
	info.Checkpoint = nil
	h, a, id := running(t, info, "t1")
	h.drain(a, `{}`)
	h.do(AgentDisconnected{Conn: 1})
	h.wait(5 * time.Second)
	if got := h.drainState(); got != "DRAINING" {
		t.Fatalf("the agent is %s", got)
	}
	h.agent(2, reregister(withID(info, id), taskReport("t1", "TASK_RUNNING")))
	if got := h.drainState(); got != "DRAINING" {
		t.Fatalf("the agent is %s", got)
	}
	h.update(2, id, "t1", "TASK_KILLED", 9)
	h.acknowledge(1, a, "t1", 9)
	if got := h.drainState(); got != "DRAINED" {
		t.Fatalf("the agent is %s", got)
	}
}

// OPR-57, CLU-62: the drain of a leader that died is finished by the next, whatever was left to do.
func TestDrainFinishedByNextLeader(t *testing.T) {
	old, a, id := running(t, aware("f"), "t1")
	old.drain(a, `{"max_grace_period":{"nanoseconds":3000000000}}`)
	h := newLeader(old, time.Second)
	h.agent(1, reregister(withID(aware("f"), id), taskReport("t1", "TASK_KILLED")))
	drain := h.takeFrames(1)[0].GetRegistered().GetDrain()
	if drain.GetConfig().GetMaxGracePeriod().GetNanoseconds() != 3e9 || drain.GetTime() == 0 {
		t.Fatalf("told at registration: %v", drain)
	}
	if got := h.drainState(); got != "DRAINING" {
		t.Fatalf("the agent is %s", got)
	}
	third := newLeader(h, time.Second)
	third.agent(1, reregister(nil, ""))
	if got := third.drainState(); got != "DRAINED" {
		t.Fatalf("the agent is %s", got)
	}
}

// What was not committed is tried again: the end of a drain, and the mark that follows it.
func TestDrainTriesAgain(t *testing.T) {
	for _, config := range []string{`{}`, `{"mark_gone":true}`} {
		h, a, _ := running(t, aware("f"))
		h.auto = false
		h.drain(a, config)
		h.commitNext()
		h.failNext()
		h.wait(proposeAgain - time.Second)
		if len(h.proposals) != 0 {
			t.Fatalf("%s: too early: %v", config, h.proposals)
		}
		h.wait(2 * time.Second)
		if len(h.proposals) != 1 {
			t.Fatalf("%s: proposals: %v", config, h.proposals)
		}
		h.commitNext()
		if got := h.view(); config == `{}` && h.drainState() != "DRAINED" || config != `{}` && len(got.State.GetAgents.GetAgents()) != 0 {
			t.Fatalf("%s: agents: %v", config, got.State.GetAgents)
		}
	}
}

// OPR-57, SCH-270: the agent ends, also if it has just opened another connection.
func TestDrainAndMarkGone(t *testing.T) {
	h, a, id := running(t, aware("f"))
	h.auto = false
	h.drain(a, `{"mark_gone":true}`)
	h.commitNext()
	h.agent(2, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
	h.take(1)
	h.commitNext()
	same(t, "events", brief(h.take(1)), []string{"FAILURE m-S0"})
	for c := ConnID(1); c <= 2; c++ {
		if frames := h.takeFrames(c); len(frames) == 0 || frames[len(frames)-1].GetShutdown().GetMessage() != "Agent has been marked gone" || !h.shut[c] {
			t.Fatalf("connection %d: %v", c, frames)
		}
	}
	v := h.view()
	if v.Metrics["master/slave_removals"] != 1 || v.Metrics["master/slave_shutdowns_completed"] != 1 || len(v.State.GetAgents.GetAgents()) != 0 {
		t.Fatalf("removals %v, shutdowns %v, agents %v", v.Metrics["master/slave_removals"], v.Metrics["master/slave_shutdowns_completed"], v.State.GetAgents)
	}
	if _, gone := h.registry.Gone(string(a)); !gone || len(v.Drains) != 0 {
		t.Fatalf("gone: %t, drains: %v", gone, v.Drains)
	}
}
