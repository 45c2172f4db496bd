package master

import (
	"testing"
	"time"

	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// newLeader takes over the registry of a harness, some time later.
func newLeader(h *harness, after time.Duration) *harness {
	h.t.Helper()
	h.now = h.now.Add(after)
	cfg := testConfig()
	cfg.Info = proto.CloneOf(cfg.Info)
	cfg.Info.Id = proto.String("n")
	cfg.Registry = h.registry
	next := newHarness(h.t, cfg)
	next.now = h.now
	next.elect(cfg)
	return next
}

// reregister is a Register frame of an agent that comes back with running tasks.
func reregister(fw *v1.FrameworkInfo, tasks string) string {
	frameworks := ""
	if fw != nil {
		frameworks = compact(fw)
	}
	info := agentInfo[:len(agentInfo)-1] + `,"id":{"value":"m-S0"}}`
	return `{"register":{"agent":` + info + `,"version":"0.1.0",` + draining + `,"ip":"10.0.0.1","frameworks":[` + frameworks + `],"tasks":[` + tasks + `]}}`
}

func taskReport(id, state string) string {
	return `{"name":"name-` + id + `","task_id":{"value":"` + id + `"},"framework_id":{"value":"m-0000"},"agent_id":{"value":"m-S0"},"state":"` + state + `",
	 "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"allocation_info":{"role":"*"}},{"name":"mem","type":"SCALAR","scalar":{"value":32},"allocation_info":{"role":"*"}}],
	 "statuses":[{"task_id":{"value":"` + id + `"},"state":"` + state + `","uuid":"AAAAAAAAQACAAAAAAAAABw==","container_status":{"container_id":{"value":"c"}}}]}`
}

// SCH-65 SCH-87 SCH-242 SCH-275 SCH-276 SCH-277 SCH-280: the registry carries frameworks over; the
// tasks come with the agents.
func TestMasterFailover(t *testing.T) {
	old, _, id := running(t, aware("f"), "t1")
	old.subscribe(2, aware("gone"))
	old.send(2, `{"type":"TEARDOWN"}`)
	h := newLeader(old, time.Second)
	f := h.view().State.GetFrameworks.GetFrameworks()
	if len(f) != 1 || !f[0].GetRecovered() || f[0].GetActive() || f[0].GetConnected() {
		t.Fatalf("frameworks: %v", f)
	}
	if agents := h.view().State.GetAgents; len(agents.GetRecoveredAgents()) != 1 || len(agents.GetAgents()) != 0 {
		t.Fatalf("agents: %v", agents)
	}
	h.fids[1] = id
	if r := h.send(1, `{"type":"REVIVE"}`); r.Status != 403 || r.Body != "Framework is not subscribed" {
		t.Fatalf("before SUBSCRIBE: %+v", r)
	}
	h.subscribe(3, withID(aware("gone"), "m-0001"))
	same(t, "removed id", brief(h.take(3)), []string{"ERROR Framework has been removed"})
	h.subscribe(1, withID(aware("f"), id))
	if got := h.fids[1]; got != id {
		t.Fatalf("framework id %s", got)
	}
	h.take(1)
	h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"}},{"task_id":{"value":"t1"},"agent_id":{"value":"m-S0"}}]}}`)
	h.send(1, `{"type":"KILL","kill":{"task_id":{"value":"t1"}}}`)
	same(t, "no answer while the agent is away", brief(h.take(1)), []string{})
	h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"},"agent_id":{"value":"never"}}]}}`)
	same(t, "an agent never seen", brief(h.take(1)), []string{"UPDATE t1 TASK_UNKNOWN SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is unknown"})
	h.agent(1, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
	same(t, "offers", brief(h.take(1)), []string{"OFFER n-O0"})
	h.send(1, `{"type":"RECONCILE"}`)
	same(t, "the task is back", brief(h.take(1)), []string{"UPDATE t1 TASK_RUNNING SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Latest task state"})
	h.subscribe(4, aware("new"))
	if got := h.fids[4]; got != "n-0000" {
		t.Fatalf("new framework id %s", got)
	}
}

// SCH-87: a framework that was connected at the change of leader has its whole time from then; one
// that was away before has what is left.
func TestFailoverDeadlineSurvives(t *testing.T) {
	old := newHarness(t, testConfig())
	info := aware("f")
	info.FailoverTimeout = proto.Float64(3600)
	old.subscribe(1, info)
	old.subscribe(2, info)
	old.wait(time.Second)
	old.do(StreamClosed{Stream: 2})
	h := newLeader(old, 30*time.Minute)
	h.wait(29 * time.Minute)
	if h.m.frameworks.len() != 2 {
		t.Fatal("removed before its time")
	}
	h.wait(2 * time.Minute)
	if h.m.frameworks.len() != 1 || !h.m.frameworks.has("m-0000") {
		t.Fatal("the one that was away is not removed, or the other one is")
	}
	h.wait(30 * time.Minute)
	if h.m.frameworks.len() != 0 {
		t.Fatal("the other one is not removed")
	}
}

// SCH-87: time that ran out while nobody led is made good for the time that agents have, too.
func TestFailoverDeadlineAfterOutage(t *testing.T) {
	old := newHarness(t, testConfig())
	info := aware("f")
	info.FailoverTimeout = proto.Float64(3600)
	old.subscribe(1, info)
	old.wait(time.Second)
	old.do(StreamClosed{Stream: 1})
	h := newLeader(old, 5*time.Hour)
	h.wait(9 * time.Minute)
	if h.m.frameworks.len() != 1 {
		t.Fatal("removed at once")
	}
	h.wait(2 * time.Minute)
	if h.m.frameworks.len() != 0 {
		t.Fatal("not removed")
	}
}

// SCH-277: a framework that the registry has lost is known from its agents.
func TestFrameworkFromAgent(t *testing.T) {
	h := newHarness(t, testConfig())
	h.agent(1, reregister(withID(aware("f"), "m-0000"), taskReport("t1", "TASK_RUNNING")))
	f := h.view().State.GetFrameworks.GetFrameworks()
	if len(f) != 1 || !f[0].GetRecovered() || len(h.view().State.GetTasks.GetTasks()) != 1 {
		t.Fatalf("frameworks: %v", f)
	}
	if _, ok := h.registry.Framework("m-0000"); !ok {
		t.Fatal("it was not admitted")
	}
	h.wait(31 * time.Second)
	if h.m.frameworks.len() != 0 {
		t.Fatal("it never came back and is still there")
	}
}

// SCH-91: an agent that was away when its framework ended is told.
func TestRemovedFrameworkOnAgent(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1")
	h.do(AgentDisconnected{Conn: 1})
	h.send(1, `{"type":"TEARDOWN"}`)
	h.agent(2, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
	frames := h.takeFrames(2)
	if len(frames) != 2 || frames[0].GetRegistered() == nil || frames[1].GetShutdownFramework().GetFrameworkId().GetValue() != string(id) {
		t.Fatalf("frames: %v", frames)
	}
	if len(h.view().State.GetTasks.GetTasks()) != 0 {
		t.Fatal("the task of the removed framework is back")
	}
}

// SCH-278: agents that do not come back after the election.
func TestAgentsThatStayAway(t *testing.T) {
	old, _, id := running(t, aware("f"), "t1")
	h := newLeader(old, time.Second)
	h.subscribe(1, withID(aware("f"), id))
	h.take(1)
	h.wait(10*time.Minute - time.Second)
	for _, e := range brief(h.take(1)) {
		if e != "HEARTBEAT" {
			t.Fatalf("too early: %s", e)
		}
	}
	h.wait(2 * time.Second)
	events := brief(h.take(1))
	if len(events) == 0 || events[len(events)-1] != "FAILURE m-S0" {
		t.Fatalf("events: %v", events)
	}
	v := h.view()
	if len(v.Unreachable) != 1 || len(v.State.GetAgents.GetRecoveredAgents()) != 0 {
		t.Fatalf("unreachable: %v", v.Unreachable)
	}
	h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"},"agent_id":{"value":"m-S0"}}]}}`)
	same(t, "reconciled", brief(h.take(1)), []string{"UPDATE t1 TASK_UNREACHABLE SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is unreachable"}) // SCH-244 SCH-248
}

// An agent may report a framework whose own admission is on its way: both are the same one.
func TestReportedWhileAdmitted(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	info := withID(aware("f"), "m-0000")
	h.subscribe(1, info)
	h.agent(1, reregister(info, taskReport("t1", "TASK_RUNNING")))
	for len(h.proposals) > 0 {
		h.commitNext()
	}
	if events := brief(h.take(1)); len(events) < 2 || events[0] != "SUBSCRIBED" {
		t.Fatalf("events: %v", events)
	}
	v := h.view().State
	if len(v.GetFrameworks.GetFrameworks()) != 1 || len(v.GetTasks.GetTasks()) != 1 || v.GetFrameworks.GetFrameworks()[0].GetRecovered() {
		t.Fatalf("frameworks: %v", v.GetFrameworks)
	}
}

// CLU-62, SCH-277: tasks and executors of a framework that has not subscribed again are rebuilt with
// their resources, shown, and left alone; when it comes back they are its own.
func TestTasksBeforeTheirFramework(t *testing.T) {
	old, a, id := running(t, aware("f"), "t1")
	h := newLeader(old, time.Second)
	executor := `{"type":"CUSTOM","executor_id":{"value":"e1"},"framework_id":{"value":"m-0000"},"command":{"value":"x"},
	 "resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.25},"allocation_info":{"role":"*"}}]}`
	task := taskReport("t1", "TASK_RUNNING")
	frame := reregister(withID(aware("f"), id), task)
	h.agent(1, frame[:len(frame)-2]+`,"executors":[`+executor+`]}}`)
	v := h.view().State
	if len(v.GetTasks.GetTasks()) != 1 || len(v.GetExecutors.GetExecutors()) != 1 || !v.GetFrameworks.GetFrameworks()[0].GetRecovered() {
		t.Fatalf("state: %v", v)
	}
	for _, r := range v.GetAgents.GetAgents()[0].GetAllocatedResources() {
		if r.GetName() == "cpus" && r.GetScalar().GetValue() != 0.75 {
			t.Fatalf("allocated: %v", r)
		}
	}
	// Its updates are kept by the agent until somebody acknowledges them.
	h.update(1, id, "t1", "TASK_FINISHED", 8)
	if frames := h.takeFrames(1); len(frames) != 1 {
		t.Fatalf("frames: %v", frames)
	}
	if v := h.view().State; len(v.GetTasks.GetTasks()) != 1 || v.GetTasks.GetTasks()[0].GetState() != v1.TaskState_TASK_FINISHED {
		t.Fatalf("tasks: %v", v.GetTasks)
	}
	h.subscribe(1, withID(aware("f"), id))
	if frames := h.takeFrames(1); len(frames) != 1 || frames[0].GetUpdateFramework() == nil { // SCH-230
		t.Fatalf("frames: %v", frames)
	}
	h.acknowledge(1, a, "t1", 8)
	if v := h.view().State; len(v.GetTasks.GetTasks()) != 0 || len(v.GetTasks.GetCompletedTasks()) != 1 {
		t.Fatalf("tasks: %v", v.GetTasks)
	}
}

// SCH-91: executors without tasks of a framework that was removed under an earlier leader.
func TestExecutorsOfRemovedFramework(t *testing.T) {
	old, _, id := running(t, aware("f"))
	old.send(1, `{"type":"TEARDOWN"}`)
	h := newLeader(old, time.Second)
	frame := reregister(withID(aware("f"), id), "")
	h.agent(1, frame[:len(frame)-2]+`,"executors":[{"executor_id":{"value":"e1"},"framework_id":{"value":"m-0000"},"command":{"value":"x"}}]}}`)
	frames := h.takeFrames(1)
	if len(frames) != 2 || frames[1].GetShutdownFramework().GetFrameworkId().GetValue() != string(id) {
		t.Fatalf("frames: %v", frames)
	}
	if v := h.view().State; len(v.GetExecutors.GetExecutors()) != 0 || len(v.GetFrameworks.GetFrameworks()) != 0 {
		t.Fatalf("state: %v", v)
	}
}

// SCH-87: a framework that came back under the old leader counts as connected when that one dies, however
// long it had been away before, and again under the leader after that.
func TestFailoverTimeIsWholeAfterReturn(t *testing.T) {
	old := newHarness(t, testConfig())
	info := aware("f")
	info.FailoverTimeout = proto.Float64(3600)
	old.subscribe(1, info)
	old.wait(time.Second)
	old.do(StreamClosed{Stream: 1})
	old.wait(50 * time.Minute)
	old.subscribe(2, withID(info, "m-0000"))
	old.wait(time.Minute)
	second := newLeader(old, 0)
	second.wait(55 * time.Minute)
	if second.m.frameworks.len() != 1 {
		t.Fatal("removed before its time")
	}
	third := newLeader(second, 0)
	third.wait(59 * time.Minute)
	if third.m.frameworks.len() != 1 {
		t.Fatal("removed before its time by the next leader")
	}
	third.wait(2 * time.Minute)
	if third.m.frameworks.len() != 0 {
		t.Fatal("not removed")
	}
}

// SCH-77, SCH-87: the newest FrameworkInfo survives, with the role and the time-out that came with it.
func TestFrameworkInfoSurvives(t *testing.T) {
	old := newHarness(t, testConfig())
	old.subscribe(1, aware("f"))
	changed := withID(aware("renamed"), "m-0000")
	changed.Roles, changed.FailoverTimeout = []string{"r1", "r2"}, proto.Float64(7200)
	old.subscribe(2, changed)
	h := newLeader(old, time.Second)
	got := h.view().State.GetFrameworks.GetFrameworks()[0]
	if !proto.Equal(got.GetFrameworkInfo(), changed) {
		t.Fatalf("got %v", got.GetFrameworkInfo())
	}
	h.wait(time.Hour)
	if h.m.frameworks.len() != 1 {
		t.Fatal("the first failover time-out counts")
	}
}

// SCH-281, SCH-274: masters that are replaced one after the other cost a subscription each, and no task
// anything.
func TestRollingMasters(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1")
	for round := range 3 {
		h = newLeader(h, 10*time.Second)
		h.agent(1, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")))
		h.subscribe(1, withID(aware("f"), id))
		h.wait(20 * time.Minute)
		for _, e := range brief(h.take(1)) {
			if e != "SUBSCRIBED" && e != "HEARTBEAT" && e != "OFFER n-O0" {
				t.Errorf("round %d: %s", round, e)
			}
		}
		for _, f := range h.takeFrames(1) {
			if f.GetRegistered() == nil && f.GetUpdateFramework() == nil {
				t.Errorf("round %d: the agent is told %v", round, f)
			}
		}
		if v := h.view(); len(v.State.GetTasks.GetTasks()) != 1 || v.State.GetTasks.GetTasks()[0].GetState() != v1.TaskState_TASK_RUNNING || len(v.Unreachable) != 0 {
			t.Fatalf("round %d: %v", round, v.State.GetTasks)
		}
	}
}
