package master

import (
	"testing"
	"time"

	"clusterd/node/mesos"
)

// CLU-60: of two connections of one agent the newer one counts, in whatever order their first frames
// arrive; what the older one still brings is not heard.
func TestTwoConnectionsOfOneAgent(t *testing.T) {
	for _, c := range []struct {
		name  string
		order []ConnID // in which the registrations arrive
	}{
		{"in order", []ConnID{5, 6}},
		{"the older one is late", []ConnID{6, 5}},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, a, id := running(t, aware("f"), "t1")
			h.do(AgentDisconnected{Conn: 1})
			for _, conn := range c.order {
				h.agent(conn, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
			}
			if h.shut[6] || !h.shut[5] || h.m.agents.len() != 1 || h.agentOf(6) != a {
				t.Fatalf("closed: %v", h.shut)
			}
			h.take(1)
			// Frames that were on their way on the old connection, and its end.
			h.do(FromAgent{Conn: 5, Message: updateFrame(t, id, a, "t1", "TASK_FAILED", 9)})
			h.agent(5, `{"unregister":{}}`)
			h.do(AgentDisconnected{Conn: 5})
			v := h.view().State
			if len(v.GetAgents.GetAgents()) != 1 || !v.GetAgents.GetAgents()[0].GetActive() || v.GetTasks.GetTasks()[0].GetState().String() != "TASK_RUNNING" {
				t.Fatalf("state: %v", v)
			}
			same(t, "events", brief(h.take(1)), []string{})
			h.update(6, id, "t1", "TASK_FAILED", 9)
			same(t, "events", brief(h.take(1)), []string{"UPDATE t1 TASK_FAILED SOURCE_EXECUTOR"})
		})
	}
}

// CLU-60: the same while the registry works on the agent: both registrations wait for it.
func TestTwoConnectionsWhileBusy(t *testing.T) {
	h := lostAgent(t)
	h.do(AgentDisconnected{Conn: 1})
	h.auto = false
	h.wait(2 * time.Second)
	h.agent(6, reregister(nil, ""))
	h.agent(5, reregister(nil, ""))
	h.commitNext() // unreachable
	h.commitNext() // reachable
	for len(h.proposals) > 0 {
		h.commitNext()
	}
	if h.shut[6] || !h.shut[5] || h.agentOf(6) != "m-S0" {
		t.Fatalf("closed: %v", h.shut)
	}
}

// A connection on which something else comes first than Register is of no use.
func TestFirstFrameIsNotRegister(t *testing.T) {
	h := newHarness(t, testConfig())
	h.agent(1, `{"pong":{}}`)
	if !h.shut[1] {
		t.Fatal("the connection stays open")
	}
}

// CLU-36, SCH-48: agent ids of earlier leaders are kept, whether the registry still has them or not, and
// new ones never repeat them.
func TestAgentIDsOfEarlierLeaders(t *testing.T) {
	old := several(t, testConfig(), 2)
	h := newLeader(old, time.Second)
	h.agent(11, again("m-S0", 11))
	h.agent(12, again("l-S7", 12)) // of a leader of which the registry knows nothing
	if id := h.register(13); id != "n-S0" {
		t.Fatalf("the new agent is %s", id)
	}
	for _, id := range []mesos.AgentID{"m-S0", "l-S7", "n-S0"} {
		if _, ok := h.registry.Agent(string(id)); !ok || !h.m.agents.has(id) {
			t.Errorf("%s is not admitted", id)
		}
	}
	third := newLeader(h, time.Second)
	if n := len(third.view().State.GetAgents.GetRecoveredAgents()); n != 4 {
		t.Fatalf("%d recovered agents", n)
	}
}
