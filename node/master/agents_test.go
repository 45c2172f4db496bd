package master

import (
	"fmt"
	"testing"
	"time"

	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// fastPings has two pings of a second, as golden 14.
func fastPings() Config {
	cfg := testConfig()
	cfg.AgentPingTimeout, cfg.MaxAgentPingTimeouts = time.Second, 2
	return cfg
}

// lostAgent is golden 14: an agent with a task of a PARTITION_AWARE framework on stream 1 and one of
// an old framework on stream 2.
func lostAgent(t *testing.T) *harness {
	h := newHarness(t, fastPings())
	h.mute = true
	a := h.register(1)
	plain := frameworkInfo("plain")
	plain.Checkpoint, plain.FailoverTimeout = proto.Bool(true), proto.Float64(60)
	h.subscribe(1, aware("aware"))
	h.launch(1, offersIn(h.take(1))[0], 3600, taskJSON("aware-1", a, 0.5, command))
	h.update(1, h.fids[1], "aware-1", "TASK_RUNNING", 1)
	h.acknowledge(1, a, "aware-1", 1)
	h.subscribe(2, plain)
	h.wait(100 * time.Millisecond)
	h.launch(2, offersIn(h.take(2))[0], 3600, taskJSON("plain-1", a, 0.5, command))
	h.update(1, h.fids[2], "plain-1", "TASK_RUNNING", 2)
	h.take(1)
	h.take(2)
	return h
}

// SCH-244 SCH-258 SCH-262 SCH-263 SCH-264 SCH-268: pings stop, the agent is unreachable, it returns.
func TestUnreachable(t *testing.T) {
	h := lostAgent(t)
	h.auto = false
	h.wait(2 * time.Second)
	same(t, "before the commit", brief(h.take(1)), []string{})
	if len(h.proposals) != 1 || h.proposals[0].GetMarkAgentUnreachable() == nil {
		t.Fatalf("proposals: %v", h.proposals)
	}
	h.commitNext()
	h.auto = true
	lost := h.take(1)
	same(t, "aware", brief(lost), []string{"UPDATE aware-1 TASK_UNREACHABLE SOURCE_MASTER REASON_AGENT_REMOVED: health check timed out", "FAILURE m-S0"})
	if s := lost[0].GetUpdate().GetStatus(); s.UnreachableTime == nil || s.Uuid != nil || s.GetAgentId().GetValue() != "m-S0" {
		t.Fatalf("status: %v", s)
	}
	same(t, "plain", brief(h.take(2)), []string{"UPDATE plain-1 TASK_LOST SOURCE_MASTER REASON_AGENT_REMOVED: health check timed out", "FAILURE m-S0"})
	if !h.shut[1] {
		t.Error("the connection stays open")
	}
	v := h.view()
	tasks := v.State.GetTasks
	if len(tasks.GetTasks()) != 0 || len(tasks.GetUnreachableTasks()) != 2 ||
		tasks.GetUnreachableTasks()[0].GetState() != v1.TaskState_TASK_UNREACHABLE ||
		tasks.GetUnreachableTasks()[1].GetState() != v1.TaskState_TASK_LOST {
		t.Fatalf("tasks: %v", tasks)
	}
	if v.Metrics["master/slaves_unreachable"] != 1 || v.Metrics["master/tasks_unreachable"] != 2 {
		t.Fatalf("metrics: %v %v", v.Metrics["master/slaves_unreachable"], v.Metrics["master/tasks_unreachable"])
	}
	h.send(1, `{"type":"RECONCILE"}`)
	same(t, "implicit", brief(h.take(1)), []string{}) // SCH-238
	h.send(1, `{"type":"KILL","kill":{"task_id":{"value":"aware-1"},"agent_id":{"value":"m-S0"}}}`)
	same(t, "kill", brief(h.take(1)), []string{"UPDATE aware-1 TASK_UNREACHABLE SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is unreachable"})

	h.auto = false
	report := taskReport("aware-1", "TASK_RUNNING")
	h.agent(2, reregister(withID(aware("aware"), "m-0000"), report))
	if len(h.takeFrames(2)) != 0 || h.proposals[0].GetMarkAgentReachable() == nil {
		t.Fatal("told before the commit")
	}
	h.commitNext()
	h.auto = true
	same(t, "back", brief(h.take(1))[:1], []string{"UPDATE aware-1 TASK_RUNNING SOURCE_MASTER REASON_AGENT_REREGISTERED: Unreachable agent re-reregistered"})
	tasks = h.view().State.GetTasks
	if len(tasks.GetTasks()) != 1 || len(tasks.GetUnreachableTasks()) != 1 {
		t.Fatalf("tasks: %v", tasks)
	}
}

// SCH-262: an answered ping starts the count anew.
func TestPong(t *testing.T) {
	h := newHarness(t, fastPings())
	h.mute = true
	h.register(1)
	for range 20 {
		h.wait(900 * time.Millisecond)
		h.agent(1, `{"pong":{}}`)
	}
	if h.m.agents.len() != 1 {
		t.Fatal("an agent that answers was given up")
	}
}

// SCH-128 SCH-266 SCH-232: the connection breaks.
func TestAgentDisconnects(t *testing.T) {
	h := newHarness(t, testConfig())
	a := h.register(1)
	careless := aware("careless")
	careless.Checkpoint = nil
	h.subscribe(1, aware("f"))
	h.launch(1, offersIn(h.take(1))[0], 0, taskJSON("keep", a, 1, command))
	h.wait(time.Second)
	h.send(1, `{"type":"SUPPRESS"}`)
	h.send(1, fmt.Sprintf(`{"type":"DECLINE","decline":{"offer_ids":[{"value":%q}]}}`, offersIn(h.take(1))[0].GetId().GetValue()))
	h.subscribe(2, careless)
	h.wait(time.Second)
	h.launch(2, offersIn(h.take(2))[0], 0, taskJSON("lose", a, 1, command))
	h.wait(time.Second)
	h.take(1)
	offer := offersIn(h.take(2))[0].GetId().GetValue()
	h.do(AgentDisconnected{Conn: 1})
	same(t, "checkpointing", brief(h.take(1)), []string{})
	same(t, "not checkpointing", brief(h.take(2)), []string{"RESCIND " + offer,
		"UPDATE lose TASK_LOST SOURCE_MASTER REASON_AGENT_DISCONNECTED: Agent a1 disconnected"})
	if got := h.view().State.GetAgents.GetAgents()[0]; got.GetActive() {
		t.Fatal("the agent is still active")
	}
	// SCH-216 SCH-227: a kill is kept, an acknowledgement is not.
	h.send(1, `{"type":"KILL","kill":{"task_id":{"value":"keep"}}}`)
	h.acknowledge(1, a, "keep", 1)
	// SCH-130: the offer is an invalid one now.
	h.send(2, fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[%s]}}]}}`, offer, taskJSON("late", a, 1, command)))
	same(t, "late", brief(h.take(2)), []string{"UPDATE late TASK_DROPPED SOURCE_MASTER REASON_INVALID_OFFERS: Task launched with invalid offers: Offer " + offer + " is no longer valid"})
	h.agent(2, reregister(withID(aware("f"), "m-0000"), taskReport("keep", "TASK_RUNNING")))
	var kills int
	for _, f := range h.takeFrames(2) {
		if f.GetKillTask().GetTaskId().GetValue() == "keep" {
			kills++
		}
	}
	if kills != 1 {
		t.Fatalf("%d kills delivered", kills)
	}
}

// A task given up as lost is taken back when its agent still runs it.
func TestLostTaskReturns(t *testing.T) {
	info := aware("f")
	info.Checkpoint = nil
	h, _, id := running(t, info, "t1")
	h.do(AgentDisconnected{Conn: 1})
	h.take(1)
	h.agent(2, reregister(withID(info, id), taskReport("t1", "TASK_RUNNING")))
	same(t, "back", brief(h.take(1))[:1], []string{"UPDATE t1 TASK_RUNNING SOURCE_MASTER REASON_AGENT_REREGISTERED: Unreachable agent re-reregistered"})
	if tasks := h.view().State.GetTasks; len(tasks.GetTasks()) != 1 || len(tasks.GetCompletedTasks()) != 0 {
		t.Fatalf("tasks: %v", tasks)
	}
}

// SCH-267: a disconnected agent has a time to come back, also if pings would wait longer.
func TestReregisterTimeout(t *testing.T) {
	cfg := testConfig()
	cfg.AgentPingTimeout = 15 * time.Minute
	h := newHarness(t, cfg)
	h.register(1)
	h.do(AgentDisconnected{Conn: 1})
	h.wait(10*time.Minute - time.Second)
	if h.m.agents.len() != 1 {
		t.Fatal("too early")
	}
	h.wait(time.Second)
	if h.m.agents.len() != 0 || len(h.view().Unreachable) != 1 {
		t.Fatal("not marked")
	}
}

// SCH-269: a task that the master sent and the agent never got.
func TestTaskUnknownToAgent(t *testing.T) {
	h, a, id := running(t, aware("f"))
	h.launch(1, offersIn(h.take(1))[0], 3600, taskJSON("t1", a, 1, command))
	h.do(AgentDisconnected{Conn: 1})
	h.take(1)
	h.agent(2, reregister(withID(aware("f"), id), ""))
	events := h.take(1)
	same(t, "dropped", brief(events)[:1], []string{"UPDATE t1 TASK_DROPPED SOURCE_AGENT REASON_RECONCILIATION: Reconciliation: task unknown to the agent"})
	uuid := events[0].GetUpdate().GetStatus().GetUuid()
	if len(uuid) != 16 {
		t.Fatalf("uuid %x", uuid)
	}
	// SCH-230: it comes again until it is acknowledged, and then the task is gone.
	h.subscribe(2, withID(aware("f"), id))
	again := h.take(2)
	same(t, "again", brief(again)[2:3], []string{"UPDATE t1 TASK_DROPPED SOURCE_AGENT REASON_RECONCILIATION: Reconciliation: task unknown to the agent"})
	h.frames[2] = nil
	h.send(2, fmt.Sprintf(`{"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"m-S0"},"task_id":{"value":"t1"},"uuid":"%s"}}`, base64Of(uuid)))
	if tasks := h.view().State.GetTasks; len(tasks.GetTasks()) != 0 || len(tasks.GetCompletedTasks()) != 1 {
		t.Fatalf("tasks: %v", tasks)
	}
	if len(h.takeFrames(2)) != 0 {
		t.Fatal("the agent was told of a task that it does not know")
	}
}

// SCH-271: the agent leaves by itself.
func TestUnregister(t *testing.T) {
	h, _, _ := running(t, aware("f"), "t1")
	offer := offersIn(h.take(1))[0].GetId().GetValue()
	h.agent(1, `{"unregister":{}}`)
	same(t, "events", brief(h.take(1)), []string{
		"UPDATE t1 TASK_LOST SOURCE_MASTER REASON_AGENT_REMOVED: Agent a1 removed: the agent unregistered",
		"RESCIND " + offer, "FAILURE m-S0"})
	h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"},"agent_id":{"value":"m-S0"}}]}}`)
	same(t, "reconciled", brief(h.take(1)), []string{"UPDATE t1 TASK_UNKNOWN SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is unknown"}) // SCH-246
	if _, ok := h.registry.Agent("m-S0"); ok {
		t.Fatal("the registry still has it")
	}
}

// SCH-271: a new agent at the address of one that is gone.
func TestAddressReused(t *testing.T) {
	h, _, _ := running(t, aware("f"), "t1")
	h.do(AgentDisconnected{Conn: 1})
	h.take(1)
	h.agent(2, `{"register":{"agent":`+agentInfo+`,"version":"0.1.0","ip":"10.0.0.1"}}`)
	h.wait(time.Second)
	same(t, "events", brief(h.take(1)), []string{
		"UPDATE t1 TASK_LOST SOURCE_MASTER REASON_AGENT_REMOVED: Agent a1 removed: agent m-S1 registered at the address of agent m-S0",
		"FAILURE m-S0", "OFFER m-O2"})
	if r := h.view().State.GetAgents; len(r.GetAgents()) != 1 {
		t.Fatalf("agents: %v", r)
	}
}

// A second connection of the same agent takes the place of the first.
func TestSecondConnection(t *testing.T) {
	h, a, id := running(t, aware("f"), "t1")
	h.agent(2, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
	if !h.shut[1] || h.agentOf(2) != a {
		t.Fatal("the first connection stays")
	}
	h.do(AgentDisconnected{Conn: 1})
	h.do(FromAgent{Conn: 1, Message: updateFrame(t, id, a, "t1", "TASK_FAILED", 8)})
	if got := h.view().State.GetTasks.GetTasks()[0].GetState(); got != v1.TaskState_TASK_RUNNING {
		t.Fatalf("a frame of the old connection counted: %s", got)
	}
	if got := h.view().State.GetAgents.GetAgents()[0]; !got.GetActive() {
		t.Fatal("the end of the old connection counted")
	}
}

// An agent whose machine has another address goes on; Mesos would end it (SCH-272). CLU-36
func TestAgentMoved(t *testing.T) {
	h, _, _ := running(t, aware("f"))
	h.agent(2, `{"register":{"agent":`+agentInfo[:len(agentInfo)-1]+`,"id":{"value":"m-S0"}},"version":"1","ip":"10.9.9.9"}}`)
	frames := h.takeFrames(2)
	if len(frames) == 0 || frames[0].GetRegistered().GetAgentId().GetValue() != "m-S0" {
		t.Fatalf("frames: %v", frames)
	}
	if got := h.view().State.GetAgents.GetAgents()[0]; got.GetPid() != "slave(1)@10.9.9.9:5051" || !got.GetActive() {
		t.Errorf("agent: %v", got)
	}
}

// SCH-270: the mark is permanent.
func TestGoneAgent(t *testing.T) {
	h, _, id := running(t, aware("f"))
	h.do(AgentDisconnected{Conn: 1})
	op := parse(t, `{"mark_agent_gone":{"agent_id":{"value":"m-S0"},"time":"1"}}`, newOp())
	if _, err := h.registry.Apply(h.registry.Index()+1, op); err != nil {
		t.Fatal(err)
	}
	next := newLeader(h, time.Second)
	next.agent(1, reregister(withID(aware("f"), id), ""))
	if frames := next.takeFrames(1); len(frames) != 1 || frames[0].GetShutdown().GetMessage() != "Agent has been marked gone" {
		t.Fatalf("frames: %v", frames)
	}
	next.subscribe(1, withID(aware("f"), id))
	next.take(1)
	next.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t"},"agent_id":{"value":"m-S0"}}]}}`)
	same(t, "reconciled", brief(next.take(1)), []string{"UPDATE t TASK_GONE_BY_OPERATOR SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is gone"}) // SCH-245
}

// An agent that loses its connection before it hears its id asks for another one; the first is
// forgotten.
func TestConnectionLostBeforeAdmission(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	h.agent(1, `{"register":{"agent":`+agentInfo+`,"version":"0.1.0"}}`)
	h.do(AgentDisconnected{Conn: 1})
	h.commitNext()
	h.commitNext()
	if n := len(h.registry.Agents()); n != 0 || h.m.agents.len() != 0 {
		t.Fatalf("%d agents in the registry", n)
	}
}

// A frame before Register ends the connection.
func TestRegisterFirst(t *testing.T) {
	h := newHarness(t, testConfig())
	h.agent(1, `{"pong":{}}`)
	if !h.shut[1] {
		t.Fatal("the connection stays open")
	}
}

// Changed resources of an agent take its offers back.
func TestAgentGrows(t *testing.T) {
	h, _, id := running(t, aware("f"))
	h.take(1)
	h.agent(2, `{"register":{"agent":{"hostname":"a1","port":5051,"id":{"value":"m-S0"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":8}},{"name":"mem","type":"SCALAR","scalar":{"value":2048}}]},"version":"1","ip":"10.0.0.1","frameworks":[`+compact(withID(aware("f"), id))+`]}}`)
	h.wait(time.Second)
	same(t, "events", brief(h.take(1)), []string{"RESCIND m-O0", "OFFER m-O1"})
	if got, _ := h.registry.Agent("m-S0"); got.GetInfo().GetResources()[0].GetScalar().GetValue() != 8 {
		t.Fatal("the registry has the old AgentInfo")
	}
}
