package master

import (
	"errors"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

func withID(info *v1.FrameworkInfo, id mesos.FrameworkID) *v1.FrameworkInfo {
	info = proto.CloneOf(info)
	info.Id = id.Proto()
	return info
}

// SCH-95 SCH-96 SCH-97 SCH-98 SCH-99 SCH-10 SCH-39 SCH-83: the checks of calls, in their order.
func TestCommonChecks(t *testing.T) {
	info := aware("f")
	info.Principal = proto.String("alice")
	h, _, id := running(t, info)
	revive := &v1scheduler.Call{Type: v1scheduler.Call_REVIVE.Enum(), FrameworkId: id.Proto()}
	stranger := &v1scheduler.Call{Type: v1scheduler.Call_REVIVE.Enum(), FrameworkId: mesos.FrameworkID("zz").Proto()}
	unknown := &v1scheduler.Call{Type: v1scheduler.Call_UNKNOWN.Enum(), FrameworkId: id.Proto()}
	const mismatch = "Authenticated principal 'bob' does not match principal 'alice' set in `FrameworkInfo`"
	for _, test := range []struct {
		name   string
		call   SchedulerCall
		status int
		body   string
	}{
		{"unknown framework before the stream id", SchedulerCall{Call: stranger}, 400, "Framework cannot be found"},
		{"other principal", SchedulerCall{Call: revive, Principal: "bob"}, 400, mismatch},
		{"no stream id", SchedulerCall{Call: revive}, 400, "All non-subscribe calls should include the 'Mesos-Stream-Id' header"},
		{"wrong stream id", SchedulerCall{Call: revive, HasHeader: true, Header: "x"}, 400, "The stream ID 'x' included in this request didn't match the stream ID currently associated with framework ID m-0000"},
		{"same principal", SchedulerCall{Call: revive, Principal: "alice", HasHeader: true, Header: h.uuids[1]}, 202, ""},
		{"no authentication", SchedulerCall{Call: revive, HasHeader: true, Header: h.uuids[1]}, 202, ""},
		{"type UNKNOWN", SchedulerCall{Call: unknown, HasHeader: true, Header: h.uuids[1]}, 501, ""},
		{"SUBSCRIBE with a stream id", SchedulerCall{Stream: 9, Call: subscribeCall(info), HasHeader: true, Header: "x"}, 400, "Subscribe calls should not include the 'Mesos-Stream-Id' header"},
	} {
		if r := h.raw(test.call); r.Status != test.status || r.Body != test.body {
			t.Errorf("%s: %d %q", test.name, r.Status, r.Body)
		}
	}
	h.do(StreamClosed{Stream: 1})
	if r := h.raw(SchedulerCall{Call: revive}); r.Status != 403 || r.Body != "Framework is not subscribed" {
		t.Errorf("while disconnected: %+v", r)
	}
}

// SCH-69: the authenticated principal is filled in.
func TestPrincipalFilledIn(t *testing.T) {
	h := newHarness(t, testConfig())
	h.raw(SchedulerCall{Stream: 1, Principal: "alice", Call: subscribeCall(aware("f"))})
	if got := h.view().State.GetFrameworks.GetFrameworks()[0].GetFrameworkInfo().GetPrincipal(); got != "alice" {
		t.Fatalf("principal %q", got)
	}
}

// SCH-43: nobody hears of a framework before the registry has it.
func TestFactFirst(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	if r := h.subscribe(1, aware("f")); r.Status != 0 || len(h.events[1]) != 0 {
		t.Fatalf("answered before the commit: %+v", r)
	}
	if n := h.m.frameworks.len(); n != 0 {
		t.Fatalf("%d frameworks before the commit", n)
	}
	h.commitNext()
	same(t, "events", brief(h.take(1)), []string{"SUBSCRIBED", "HEARTBEAT"})
}

// A lost proposal is answered; it means that the leadership is lost.
func TestProposalLost(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	h.subscribe(1, aware("f"))
	h.step(Committed{Op: h.proposals[0], Err: errors.New("no longer leader")})
	if r := h.answers[h.request]; r.Status != 503 {
		t.Fatalf("%+v", r)
	}
}

// SCH-293: the client leaves before SUBSCRIBED is written. The timer rule applies.
func TestClientGoneBeforeCommit(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	h.subscribe(1, aware("f"))
	h.do(StreamClosed{Stream: 1})
	h.commitNext()
	f := h.view().State.GetFrameworks.GetFrameworks()[0]
	if f.GetActive() || f.GetConnected() || len(h.events[1]) != 0 {
		t.Fatalf("left behind: %v", f)
	}
	h.auto = true
	for len(h.proposals) > 0 {
		h.commitNext()
	}
	h.wait(31 * time.Second)
	if n := h.m.frameworks.len(); n != 0 {
		t.Fatalf("%d frameworks after the failover timeout", n)
	}
}

// SCH-74 SCH-81: two SUBSCRIBE calls of one new id: the last one wins, none is lost.
func TestSubscribeTwiceAtOnce(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	info := withID(aware("f"), "own")
	h.subscribe(1, info)
	h.subscribe(2, info)
	if len(h.proposals) != 1 {
		t.Fatalf("%d proposals in flight", len(h.proposals))
	}
	h.commitNext()
	same(t, "first", brief(h.take(1)), []string{"SUBSCRIBED", "HEARTBEAT", "ERROR Framework failed over"})
	same(t, "second", brief(h.take(2)), []string{"SUBSCRIBED", "HEARTBEAT"})
}

// A held SUBSCRIBE whose client leaves has no effect at all.
func TestHeldSubscribeCloses(t *testing.T) {
	h := newHarness(t, testConfig())
	h.auto = false
	info := withID(aware("f"), "own")
	h.subscribe(1, info)
	h.subscribe(2, info)
	h.do(StreamClosed{Stream: 2})
	h.commitNext()
	same(t, "first", brief(h.take(1)), []string{"SUBSCRIBED", "HEARTBEAT"})
	if h.closed[1] || len(h.events[2]) != 0 {
		t.Fatal("the client that left took over")
	}
}

// SCH-72 SCH-73 SCH-75 SCH-76: take-over of a live stream.
func TestTakeOver(t *testing.T) {
	h, a, id := running(t, aware("f"), "t1")
	h.take(1)
	h.frames[1] = nil
	h.subscribe(2, withID(aware("f"), id))
	same(t, "old stream", brief(h.take(1)), []string{"ERROR Framework failed over"})
	if !h.closed[1] {
		t.Fatal("the old stream stays open")
	}
	h.wait(time.Second)
	same(t, "new stream", brief(h.take(2)), []string{"SUBSCRIBED", "HEARTBEAT", "OFFER m-O2"})
	h.do(StreamClosed{Stream: 1}) // late
	if f := h.view().State.GetFrameworks.GetFrameworks()[0]; !f.GetConnected() || !f.GetActive() {
		t.Fatal("closing the old stream disconnected the framework")
	}
	// SCH-80: the agent is told, so that it sends again what is not acknowledged.
	told := false
	for _, f := range h.takeFrames(1) {
		told = told || f.GetUpdateFramework().GetFramework().GetId().GetValue() == string(id)
	}
	if !told {
		t.Fatal("the agent was not told of the framework")
	}
	if tasks := h.view().State.GetTasks.GetTasks(); len(tasks) != 1 || tasks[0].GetAgentId().GetValue() != string(a) {
		t.Fatalf("tasks: %v", tasks)
	}
}

// SCH-77 SCH-78 SCH-79 SCH-295
func TestResubscription(t *testing.T) {
	h, _, id := running(t, aware("f"))
	h.take(1)
	h.send(1, `{"type":"SUPPRESS"}`)
	bad := withID(aware("f"), id)
	bad.Roles = []string{"a b"}
	h.subscribe(2, bad)
	same(t, "bad role", brief(h.take(2)), []string{"ERROR 'FrameworkInfo.roles' contains invalid role: Role component 'a b' is invalid because it contains backspace or whitespace"})
	other := withID(aware("f"), id)
	other.Principal = proto.String("eve")
	h.subscribe(3, other)
	same(t, "other principal", brief(h.take(3)), []string{"ERROR Changing framework's principal is not allowed."})
	if h.closed[1] || h.send(1, `{"type":"REVIVE"}`).Status != 202 {
		t.Fatal("a failed SUBSCRIBE touched the subscription")
	}
	h.send(1, `{"type":"SUPPRESS"}`)
	changed := withID(aware("renamed"), id)
	changed.User, changed.Checkpoint, changed.FailoverTimeout = proto.String("other"), proto.Bool(false), proto.Float64(99)
	h.subscribe(4, changed)
	h.wait(time.Second)
	same(t, "changed", brief(h.take(4)), []string{"SUBSCRIBED", "HEARTBEAT", "OFFER m-O1"})
	info := h.view().State.GetFrameworks.GetFrameworks()[0].GetFrameworkInfo()
	if info.GetName() != "renamed" || info.GetUser() != "root" || !info.GetCheckpoint() || info.GetFailoverTimeout() != 99 {
		t.Fatalf("info: %v", info)
	}
	if r, _ := h.registry.Framework(string(id)); r.GetInfo().GetName() != "renamed" {
		t.Fatalf("registry: %v", r)
	}
}

// SCH-71
func TestSubscribeSuppressed(t *testing.T) {
	h := newHarness(t, testConfig())
	h.register(1)
	call := subscribeCall(aware("f"))
	call.Subscribe.SuppressedRoles = []string{"*"}
	h.raw(SchedulerCall{Stream: 1, Call: call})
	h.wait(5 * time.Second)
	same(t, "suppressed", brief(h.take(1)), []string{"SUBSCRIBED", "HEARTBEAT"})
	h.send(1, `{"type":"REVIVE"}`)
	same(t, "revived", brief(h.take(1)), []string{"OFFER m-O0"})
}

// SCH-82 SCH-84 SCH-85 SCH-86 SCH-89: disconnect, then the timer, then the removal.
func TestFailoverTimeout(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1")
	h.subscribe(2, aware("other"))
	h.take(2)
	h.frames[1] = nil
	h.do(StreamClosed{Stream: 1})
	h.wait(time.Second)
	if len(offersIn(h.take(2))) == 0 {
		t.Fatal("the offers did not go to the other framework")
	}
	f := h.view().State.GetFrameworks.GetFrameworks()[0]
	if f.GetConnected() || f.GetActive() || len(h.view().State.GetTasks.GetTasks()) != 1 {
		t.Fatalf("after the disconnect: %v", f)
	}
	h.update(1, id, "t1", "TASK_RUNNING", 9) // nobody is there to hear it
	h.wait(28 * time.Second)
	if h.m.frameworks.len() != 2 {
		t.Fatal("removed before its time")
	}
	h.wait(time.Second)
	if h.m.frameworks.len() != 1 {
		t.Fatal("not removed after its time")
	}
	v := h.view()
	task := v.State.GetTasks.GetCompletedTasks()[0]
	status := task.GetStatuses()[len(task.GetStatuses())-1]
	if task.GetState() != v1.TaskState_TASK_KILLED || status.GetMessage() != "Framework m-0000 removed" ||
		status.GetReason() != v1.TaskStatus_REASON_FRAMEWORK_REMOVED || status.GetSource() != v1.TaskStatus_SOURCE_MASTER {
		t.Fatalf("completed task: %v", task)
	}
	if len(v.State.GetFrameworks.GetCompletedFrameworks()) != 1 || len(v.Removed) != 1 || v.Removed[0].Cause != "failover timeout" {
		t.Fatalf("completed frameworks: %v, removed: %v", v.State.GetFrameworks, v.Removed)
	}
	frames := h.takeFrames(1)
	if len(frames) != 1 || frames[0].GetShutdownFramework().GetFrameworkId().GetValue() != string(id) {
		t.Fatalf("frames: %v", frames)
	}
	// An update of the removed framework is acknowledged, so that its agent can end it.
	h.update(1, id, "t1", "TASK_KILLED", 10)
	frames = h.takeFrames(1)
	if len(frames) != 2 || frames[0].GetShutdownFramework() == nil || frames[1].GetAcknowledge() == nil {
		t.Fatalf("frames: %v", frames)
	}
}

// SCH-85: the default of 0 removes at once.
func TestNoFailoverTimeout(t *testing.T) {
	h := newHarness(t, testConfig())
	info := aware("f")
	info.FailoverTimeout = nil
	h.subscribe(1, info)
	h.do(StreamClosed{Stream: 1})
	if h.m.frameworks.len() != 0 {
		t.Fatal("the framework is still there")
	}
}

// SCH-76 SCH-85: coming back in time.
func TestComesBackInTime(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1")
	h.do(StreamClosed{Stream: 1})
	h.wait(29 * time.Second)
	h.subscribe(2, withID(aware("f"), id))
	h.wait(time.Minute)
	if h.m.frameworks.len() != 1 || len(h.view().State.GetTasks.GetTasks()) != 1 {
		t.Fatal("removed although it came back")
	}
}

// SCH-88: a TEARDOWN closes the stream without a word.
// SCH-93: so does the operator's, and unknown ids are refused.
func TestTeardown(t *testing.T) {
	for _, operator := range []bool{false, true} {
		h, _, id := running(t, aware("f"), "t1")
		h.take(1)
		if operator {
			h.request++
			h.do(TeardownFramework{Request: h.request, ID: id})
			if r := h.answers[h.request]; r.Status != 200 {
				t.Fatalf("teardown: %+v", r)
			}
		} else if r := h.send(1, `{"type":"TEARDOWN"}`); r.Status != 202 {
			t.Fatalf("TEARDOWN: %+v", r)
		}
		if len(h.take(1)) != 0 || !h.closed[1] {
			t.Fatal("the stream got an event, or stays open")
		}
		h.subscribe(2, withID(aware("f"), id))
		same(t, "again", brief(h.take(2)), []string{"ERROR Framework has been removed"}) // SCH-64
		h.request++
		h.do(TeardownFramework{Request: h.request, ID: id})
		if r := h.answers[h.request]; r.Status != 400 || r.Body != "No framework found with specified ID" {
			t.Fatalf("teardown again: %+v", r)
		}
	}
}

// A SUBSCRIBE that arrives while the removal is being committed hears of it.
func TestSubscribeDuringRemoval(t *testing.T) {
	h, _, id := running(t, aware("f"))
	h.auto = false
	h.send(1, `{"type":"TEARDOWN"}`)
	h.subscribe(2, withID(aware("f"), id))
	if len(h.events[2]) != 0 {
		t.Fatal("answered before the commit")
	}
	h.commitNext()
	same(t, "events", brief(h.take(2)), []string{"ERROR Framework has been removed"})
}

// SCH-92
func TestHistoryIsBounded(t *testing.T) {
	cfg := testConfig()
	cfg.MaxCompletedFrameworks, cfg.MaxCompletedTasksPerFramework = 2, 2
	h := newHarness(t, cfg)
	a := h.register(1)
	h.subscribe(1, aware("f"))
	for i, task := range []string{"t1", "t2", "t3"} {
		h.launch(1, offersIn(h.take(1))[0], 0, taskJSON(task, a, 0.1, command))
		h.update(1, h.fids[1], task, "TASK_FINISHED", byte(i+1))
		h.acknowledge(1, a, task, byte(i+1))
		h.wait(time.Second)
	}
	done := h.view().State.GetTasks.GetCompletedTasks()
	if len(done) != 2 || done[0].GetTaskId().GetValue() != "t2" {
		t.Fatalf("completed tasks: %v", done)
	}
	for s := StreamID(2); s < 5; s++ {
		h.subscribe(s, aware("g"))
		h.send(s, `{"type":"TEARDOWN"}`)
	}
	if n := len(h.view().State.GetFrameworks.GetCompletedFrameworks()); n != 2 {
		t.Fatalf("%d completed frameworks", n)
	}
	if n := len(h.view().Removed); n != 3 {
		t.Fatalf("%d removed frameworks remembered", n)
	}
}

// SCH-102 SCH-104 SCH-106 SCH-107 SCH-108 SCH-109
func TestUpdateFramework(t *testing.T) {
	info := aware("f")
	info.Roles = []string{"a", "b"}
	h, _, id := running(t, info)
	h.take(1)
	update := func(change func(*v1.FrameworkInfo), suppressed ...string) Respond {
		changed := withID(info, id)
		change(changed)
		return h.call(1, &v1scheduler.Call{Type: v1scheduler.Call_UPDATE_FRAMEWORK.Enum(), UpdateFramework: &v1scheduler.Call_UpdateFramework{
			FrameworkInfo: changed, SuppressedRoles: suppressed,
		}})
	}
	for _, test := range []struct {
		change     func(*v1.FrameworkInfo)
		suppressed []string
		want       string
	}{
		{func(i *v1.FrameworkInfo) { i.User = proto.String("other") }, nil, "FrameworkInfo update is not valid: Updating 'FrameworkInfo.user' is unsupported; attempted to update from 'root' to 'other'"},
		{func(i *v1.FrameworkInfo) { i.Checkpoint = proto.Bool(false) }, nil, "FrameworkInfo update is not valid: Updating 'FrameworkInfo.checkpoint' is unsupported; attempted to update from 'true' to 'false'"},
		{func(i *v1.FrameworkInfo) { i.Principal = proto.String("p") }, nil, "FrameworkInfo update is not valid: Changing framework's principal is not allowed."},
		{func(i *v1.FrameworkInfo) { i.Roles = []string{"a b"} }, nil, "Supplied FrameworkInfo is not valid: 'FrameworkInfo.roles' contains invalid role: Role component 'a b' is invalid because it contains backspace or whitespace"},
		{func(i *v1.FrameworkInfo) {}, []string{"zz"}, "'UpdateFramework' call is not valid: Suppressed roles { zz } are not contained in the set of roles"},
	} {
		if r := update(test.change, test.suppressed...); r.Status != 400 || r.Body != test.want {
			t.Errorf("%d %q, want %q", r.Status, r.Body, test.want)
		}
	}
	h.auto = false
	r := update(func(i *v1.FrameworkInfo) { i.Roles = []string{"a", "c"} }, "c")
	if r.Status != 0 {
		t.Fatalf("answered before the commit: %+v", r)
	}
	h.commitNext()
	h.auto = true
	if r := h.answers[h.request]; r.Status != 200 {
		t.Fatalf("%+v", r)
	}
	v := h.view()
	if got := v.Suppressed[id]; len(got) != 1 || got[0] != "c" {
		t.Fatalf("suppressed: %v", got)
	}
	for o := range h.m.offers.values() {
		if o.role == "b" {
			t.Fatal("an offer for the role that was left")
		}
	}
	if r := update(func(i *v1.FrameworkInfo) { i.Roles = []string{"a", "c"} }); r.Status != 200 || len(h.view().Suppressed) != 0 {
		t.Fatalf("absent suppressed_roles: %+v %v", r, h.view().Suppressed)
	}
}

// SCH-107: the offers of a role that is left are rescinded.
func TestRoleLeft(t *testing.T) {
	info := aware("f")
	info.Roles = []string{"a"}
	h, _, id := running(t, info)
	h.take(1)
	changed := withID(info, id)
	changed.Roles = []string{"b"}
	h.call(1, &v1scheduler.Call{Type: v1scheduler.Call_UPDATE_FRAMEWORK.Enum(), UpdateFramework: &v1scheduler.Call_UpdateFramework{FrameworkInfo: changed}})
	h.wait(time.Second)
	same(t, "events", brief(h.take(1)), []string{"RESCIND m-O0", "OFFER m-O1"})
}

// SCH-204 SCH-205: one foreign role makes REVIVE and SUPPRESS void.
func TestForeignRole(t *testing.T) {
	info := aware("f")
	info.Roles = []string{"a"}
	h, _, id := running(t, info)
	if r := h.send(1, `{"type":"SUPPRESS","suppress":{"roles":["a","zz"]}}`); r.Status != 202 || len(h.view().Suppressed) != 0 {
		t.Fatalf("%+v %v", r, h.view().Suppressed)
	}
	h.send(1, `{"type":"SUPPRESS","suppress":{"roles":["a"]}}`)
	h.send(1, `{"type":"REVIVE","revive":{"roles":["a","a b"]}}`)
	if got := h.view().Suppressed[id]; len(got) != 1 {
		t.Fatalf("suppressed: %v", got)
	}
}

// SCH-46: a loop that was away sends one late heartbeat and keeps the phase.
func TestHeartbeatPhase(t *testing.T) {
	h := newHarness(t, testConfig())
	h.subscribe(1, aware("f"))
	h.take(1)
	h.now = h.now.Add(40 * time.Second)
	h.do(Tick{})
	same(t, "late", brief(h.take(1)), []string{"HEARTBEAT"})
	h.wait(5 * time.Second)
	same(t, "in phase", brief(h.take(1)), []string{"HEARTBEAT"})
}
