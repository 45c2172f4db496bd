package master

import (
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

const (
	goneAware = "UPDATE aware-1 TASK_GONE_BY_OPERATOR SOURCE_MASTER REASON_AGENT_REMOVED_BY_OPERATOR: Agent has been marked gone"
	gonePlain = "UPDATE plain-1 TASK_LOST SOURCE_MASTER REASON_AGENT_REMOVED: Agent has been marked gone"
)

// agentStates bring the agent of lostAgent, m-S0 on connection 1, into each state that an agent can be in.
// Those with a change under way leave it in h.proposals.
var agentStates = map[string]func(t *testing.T, h *harness) *harness{
	"connected": func(t *testing.T, h *harness) *harness { return h },
	"disconnected": func(t *testing.T, h *harness) *harness {
		h.do(AgentDisconnected{Conn: 1})
		return h
	},
	"unreachable": func(t *testing.T, h *harness) *harness {
		h.wait(3 * time.Second)
		return h
	},
	"recovered": func(t *testing.T, h *harness) *harness { return nextOffice(h) },
	"unreachable since an earlier leader": func(t *testing.T, h *harness) *harness {
		h.wait(3 * time.Second)
		return nextOffice(h)
	},
	"gone": func(t *testing.T, h *harness) *harness {
		answered(t, "MARK_AGENT_GONE", h.markGone("m-S0"), 200, "")
		return h
	},
	"gone since an earlier leader": func(t *testing.T, h *harness) *harness {
		answered(t, "MARK_AGENT_GONE", h.markGone("m-S0"), 200, "")
		return nextOffice(h)
	},
	"unregistered": func(t *testing.T, h *harness) *harness {
		h.agent(1, `{"unregister":{}}`)
		return h
	},
	"being marked unreachable": func(t *testing.T, h *harness) *harness {
		h.auto = false
		h.wait(3 * time.Second)
		return h
	},
	"being marked gone": func(t *testing.T, h *harness) *harness {
		h.auto = false
		h.markGone("m-S0")
		return h
	},
	"being removed": func(t *testing.T, h *harness) *harness {
		h.auto = false
		h.agent(1, `{"unregister":{}}`)
		return h
	},
	"coming back": func(t *testing.T, h *harness) *harness {
		h.wait(3 * time.Second)
		h.auto = false
		h.agent(2, reregister(nil, ""))
		return h
	},
}

// nextOffice is newLeader with the frameworks of lostAgent back on their streams.
func nextOffice(old *harness) *harness {
	h := newLeader(old, time.Second)
	h.mute = true
	plain := frameworkInfo("plain")
	h.subscribe(1, withID(aware("aware"), old.fids[1]))
	h.subscribe(2, withID(plain, old.fids[2]))
	h.take(1)
	h.take(2)
	return h
}

// OPR-56, SCH-270: the call for an agent in each state that there is: the answer, what frameworks hear of
// it in which order, and what is counted.
func TestMarkAgentGone(t *testing.T) {
	both := func(lines ...string) (aware, plain []string) {
		return append([]string{goneAware}, lines...), append([]string{gonePlain}, lines...)
	}
	awareLost, plainLost := both("FAILURE m-S0")
	awareOnce, plainOnce := both()
	for _, c := range []struct {
		state        string
		status       int
		body         string
		aware, plain []string
		removals     float64 // counted for the mark
	}{
		{"connected", 200, "", awareLost, plainLost, 1},
		{"disconnected", 200, "", awareLost, plainLost, 1},
		{"unreachable", 200, "", awareOnce, plainOnce, 0}, // the agent's loss is known
		{"recovered", 200, "", []string{"FAILURE m-S0"}, []string{"FAILURE m-S0"}, 1},
		{"unreachable since an earlier leader", 200, "", []string{}, []string{}, 0},
		{"gone", 200, "", []string{}, []string{}, 0},
		{"gone since an earlier leader", 200, "", []string{}, []string{}, 0},
		{"unregistered", 404, "Agent 'm-S0' not found", []string{}, []string{}, 0},
		{"being marked unreachable", 503, "Agent 'm-S0' is being marked unreachable", []string{}, []string{}, 0},
		{"being marked gone", 503, "Agent 'm-S0' is being marked gone", []string{}, []string{}, 0},
		{"being removed", 503, "Agent 'm-S0' is being removed", []string{}, []string{}, 0},
		{"coming back", 503, "Agent 'm-S0' is being admitted", []string{}, []string{}, 0},
	} {
		t.Run(c.state, func(t *testing.T) {
			h := agentStates[c.state](t, lostAgent(t))
			h.take(1)
			h.take(2)
			removals := metric(h, "slave_removals")
			answered(t, "MARK_AGENT_GONE", h.markGone("m-S0"), c.status, c.body)
			same(t, "aware", brief(h.take(1)), c.aware)
			same(t, "plain", brief(h.take(2)), c.plain)
			if n := metric(h, "slave_removals") - removals; n != c.removals {
				t.Errorf("%v removals are counted, want %v", n, c.removals)
			}
			_, gone := h.registry.Gone("m-S0")
			if gone != (c.status == 200) {
				t.Errorf("gone in the registry: %t", gone)
			}
			if c.status != 200 {
				return
			}
			answered(t, "MARK_AGENT_GONE again", h.markGone("m-S0"), 200, "")
			h.do(Tick{})
			if v := h.view(); len(v.State.GetAgents.GetAgents())+len(v.State.GetAgents.GetRecoveredAgents())+len(v.Unreachable) != 0 ||
				len(v.State.GetTasks.GetTasks())+len(v.State.GetTasks.GetUnreachableTasks()) != 0 {
				t.Errorf("agents %v, unreachable %v, tasks %v", v.State.GetAgents, v.Unreachable, v.State.GetTasks)
			}
			h.agent(9, reregister(nil, ""))
			if frames := h.takeFrames(9); len(frames) != 1 || frames[0].GetShutdown().GetMessage() != markedGone || !h.shut[9] {
				t.Errorf("the agent comes back and is told %v", frames)
			}
		})
	}
	for state := range agentStates {
		if h := agentStates[state](t, lostAgent(t)); h.markGone("nobody").Status != 404 {
			t.Errorf("%s: another agent is %v", state, h.answers[h.request])
		}
	}
}

// beginMark has an agent marked gone that is not committed yet.
func (h *harness) beginMark(a mesos.AgentID) RequestID {
	h.t.Helper()
	h.auto = false
	if r := h.markGone(a); r.Status != 0 {
		h.t.Fatalf("answered before the commit: %+v", r)
	}
	return h.request
}

// OPR-56: until the registry has the mark nobody is told, and when it will not get it the agent goes on as
// before, whatever happened to its connection meanwhile.
func TestMarkAgentGoneIsNotCommitted(t *testing.T) {
	for _, state := range []string{"connected", "disconnected", "recovered", "unreachable"} {
		for _, lost := range []bool{false, true} {
			h := agentStates[state](t, lostAgent(t))
			h.take(1)
			before := h.view()
			r := h.beginMark("m-S0")
			if lost {
				h.do(AgentDisconnected{Conn: 1})
			}
			same(t, state+": before the commit", brief(h.take(1)), []string{})
			h.failNext()
			answered(t, state, h.answers[r], 503, notCommitted)
			same(t, state+": not committed", brief(h.take(1)), []string{})
			after := h.view()
			if a, b := before.State.GetTasks, after.State.GetTasks; !lost && compact(a) != compact(b) {
				t.Errorf("%s: tasks were %v, are %v", state, a, b)
			}
			if after.Metrics["master/slave_shutdowns_canceled"] != 1 || len(h.m.busyAgents) != 0 {
				t.Errorf("%s: canceled %v, busy %v", state, after.Metrics["master/slave_shutdowns_canceled"], h.m.busyAgents)
			}
			if state == "connected" && (h.agentOf(1) == "") != lost {
				t.Errorf("%s: the agent is on its connection: %t", state, lost)
			}
			h.auto = true
			answered(t, state+": tried again", h.markGone("m-S0"), 200, "")
		}
	}
}

// SCH-270, CLU-34: the leader that was asked dies. What it had committed holds under the next; what it had
// not, the next does when it is asked again, and the agent with its tasks may have come back to it before.
func TestMarkAgentGoneOverFailover(t *testing.T) {
	for _, c := range []struct {
		name            string
		committed, back bool
		want            []string
	}{
		{"committed", true, false, []string{}},
		{"not committed, agent away", false, false, []string{"FAILURE m-S0"}},
		{"not committed, agent back", false, true, []string{
			"UPDATE t1 TASK_GONE_BY_OPERATOR SOURCE_MASTER REASON_AGENT_REMOVED_BY_OPERATOR: Agent has been marked gone", "RESCIND n-O0", "FAILURE m-S0",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			old, a, id := running(t, aware("f"), "t1")
			old.auto = false
			old.markGone(a)
			if c.committed {
				if result, err := old.registry.Apply(old.registry.Index()+1, old.proposals[0]); err != nil || result.Refused != "" {
					t.Fatalf("%v %v", result, err)
				}
			}
			h := newLeader(old, time.Second)
			h.subscribe(1, withID(aware("f"), id))
			if c.back {
				h.agent(1, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
				h.wait(time.Second)
			}
			h.take(1)
			answered(t, "MARK_AGENT_GONE", h.markGone(a), 200, "")
			same(t, "events", brief(h.take(1)), c.want)
			h.agent(2, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
			if frames := h.takeFrames(2); len(frames) != 1 || frames[0].GetShutdown().GetMessage() != markedGone {
				t.Fatalf("frames: %v", frames)
			}
			if n := len(h.view().State.GetTasks.GetTasks()); n != 0 {
				t.Errorf("%d tasks", n)
			}
			h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t2"},"agent_id":{"value":"m-S0"}}]}}`)
			same(t, "reconciled", brief(h.take(1)), []string{"UPDATE t2 TASK_GONE_BY_OPERATOR SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is gone"}) // SCH-245
		})
	}
}

// SCH-270: an agent that opens another connection while it is being marked waits, and is told to end on both.
func TestMarkAgentGoneWhileItReconnects(t *testing.T) {
	h, a, id := running(t, aware("f"), "t1")
	r := h.beginMark(a)
	h.agent(2, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
	h.update(1, id, "t1", "TASK_FINISHED", 7) // its last word counts
	h.take(1)
	h.commitNext()
	answered(t, "MARK_AGENT_GONE", h.answers[r], 200, "")
	same(t, "events", brief(h.take(1)), []string{"RESCIND m-O1", "FAILURE m-S0"})
	for c := ConnID(1); c <= 2; c++ {
		if frames := h.takeFrames(c); len(frames) == 0 || frames[len(frames)-1].GetShutdown().GetMessage() != markedGone || !h.shut[c] {
			t.Fatalf("connection %d: %v", c, frames)
		}
	}
	if tasks := h.view().State.GetTasks.GetCompletedTasks(); len(tasks) != 1 || tasks[0].GetState() != v1.TaskState_TASK_FINISHED {
		t.Fatalf("tasks: %v", tasks)
	}
}

// OPR-57, OPR-58: a drain and the mark meet.
func TestMarkAgentGoneAndDrain(t *testing.T) {
	h, a, id := running(t, aware("f"), "t1")
	answered(t, "DRAIN_AGENT", h.drain(a, `{}`), 200, "")
	h.beginMark(a)
	answered(t, "DRAIN_AGENT", h.drain(a, `{}`), 409, "Agent m-S0 is being marked gone")
	h.update(1, id, "t1", "TASK_KILLED", 7)
	h.acknowledge(1, a, "t1", 7)
	if len(h.proposals) != 1 {
		t.Fatalf("proposals: %v", h.proposals)
	}
	h.failNext() // then the drain goes on, which has found its end meanwhile
	h.auto = true
	for len(h.proposals) > 0 {
		h.commitNext()
	}
	if got := h.drainState(); got != "DRAINED" {
		t.Fatalf("the agent is %s", got)
	}
	answered(t, "MARK_AGENT_GONE", h.markGone(a), 200, "")
	answered(t, "DRAIN_AGENT", h.drain(a, `{}`), 400, "Unknown agent")
	answered(t, "DEACTIVATE_AGENT", h.deactivate(a), 400, "Unknown agent")
	if v := h.view(); len(v.Drains) != 0 {
		t.Fatalf("drains: %v", v.Drains)
	}
}

// SCH-270: tasks that a returning agent did not know any more go with it too.
func TestMarkAgentGoneEndsForgottenTasks(t *testing.T) {
	h := lostAgent(t)
	h.wait(3 * time.Second)
	h.mute = false
	h.agent(2, reregister(withID(aware("aware"), h.fids[1]), ""))
	h.take(1)
	answered(t, "MARK_AGENT_GONE", h.markGone("m-S0"), 200, "")
	for _, e := range brief(h.take(1)) {
		if e == goneAware {
			return
		}
	}
	t.Errorf("tasks: %v", h.view().State.GetTasks)
}

// SCH-278: agents that are kept although their time is over may be given up one by one; a mark that fails
// leaves them kept.
func TestMarkKeptAgentGone(t *testing.T) {
	old := several(t, testConfig(), 10)
	cfg := testConfig()
	cfg.RecoveryAgentRemovalLimit = 0.2
	h := electedWith(old, cfg, time.Second)
	h.wait(time.Hour)
	h.auto = false
	h.markGone("m-S0")
	h.failNext()
	h.wait(time.Hour)
	if v := h.view(); v.Overdue != 10 || len(v.Unreachable) != 0 || len(h.logs) != 1 {
		t.Fatalf("%d overdue, %d unreachable, logs %q", v.Overdue, len(v.Unreachable), h.logs)
	}
	h.auto = true
	for i := range 8 {
		answered(t, "MARK_AGENT_GONE", h.markGone(mesos.AgentID("m-S"+string(rune('0'+i)))), 200, "")
	}
	same(t, "when 8 are gone", h.unreachable(), []string{"m-S8", "m-S9"})
	if v := h.view(); v.Overdue != 0 {
		t.Fatalf("%d overdue", v.Overdue)
	}
}

// SCH-270: tasks of other agents that are lost as well may still come back.
func TestMarkAgentGoneSparesOthers(t *testing.T) {
	h := lostAgent(t)
	h.register(2)
	h.wait(3 * time.Second)
	h.take(1)
	answered(t, "MARK_AGENT_GONE", h.markGone("m-S1"), 200, "")
	same(t, "aware", brief(h.take(1)), []string{})
	if n := len(h.view().State.GetTasks.GetUnreachableTasks()); n != 2 {
		t.Errorf("%d tasks are left to come back", n)
	}
}

// OPR-56: an agent whose connection ended before it heard its id is taken back. A mark that comes between
// finds it known, and then not any more.
func TestMarkAgentGoneOfAgentTakenBack(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	h.agent(1, `{"register":{"agent":`+agentInfo+`,"version":"0.1.0"}}`)
	answered(t, "while it is admitted", h.markGone("m-S0"), 503, "Agent 'm-S0' is being admitted")
	h.do(AgentDisconnected{Conn: 1})
	h.commitNext()
	r := h.beginMark("m-S0")
	h.commitNext()
	h.commitNext()
	answered(t, "MARK_AGENT_GONE", h.answers[r], 404, "Agent 'm-S0' not found")
	if _, gone := h.registry.Gone("m-S0"); gone || metric(h, "slave_removals") != 0 || metric(h, "slave_shutdowns_canceled") != 1 {
		t.Errorf("gone: %t, removals %v", gone, metric(h, "slave_removals"))
	}
}
