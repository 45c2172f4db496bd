package master

import (
	"encoding/base64"
	"fmt"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

func base64Of(b []byte) string { return base64.StdEncoding.EncodeToString(b) }

func newOp() *registry.Op { return &registry.Op{} }

// SCH-126 SCH-144 SCH-166 SCH-228: what tasks use is charged; the rest and what ended tasks held is
// offered again.
func TestResourcesFlow(t *testing.T) {
	h, a, id := running(t, aware("f"))
	h.launch(1, offersIn(h.take(1))[0], 0, taskJSON("t1", a, 1, command), taskJSON("t2", a, 2, command))
	h.wait(time.Second)
	rest := offersIn(h.take(1))
	if len(rest) != 1 || rest[0].GetResources()[1].GetScalar().GetValue() != 1 {
		t.Fatalf("the rest: %v", rest)
	}
	h.update(1, id, "t1", "TASK_FINISHED", 1)
	h.wait(100 * time.Millisecond)
	freed := offersIn(h.take(1))
	if len(freed) != 1 || freed[0].GetResources()[0].GetScalar().GetValue() != 1 {
		t.Fatalf("freed: %v", freed)
	}
	if tasks := h.view().State.GetTasks.GetTasks(); len(tasks) != 2 || tasks[0].GetState() != v1.TaskState_TASK_FINISHED {
		t.Fatalf("tasks: %v", tasks)
	}
}

// SCH-227: only the acknowledgement of the terminal update ends the task.
func TestAcknowledge(t *testing.T) {
	h, a, id := running(t, aware("f"), "t1")
	h.update(1, id, "t1", "TASK_FINISHED", 7)
	h.acknowledge(1, a, "t1", 6)
	if n := len(h.view().State.GetTasks.GetTasks()); n != 1 {
		t.Fatal("a stale uuid ended the task")
	}
	h.acknowledge(1, "nope", "t1", 7)
	if n := len(h.view().State.GetTasks.GetTasks()); n != 1 {
		t.Fatal("another agent's acknowledgement ended the task")
	}
	h.frames[1] = nil
	h.acknowledge(1, a, "t1", 7)
	if tasks := h.view().State.GetTasks; len(tasks.GetTasks()) != 0 || len(tasks.GetCompletedTasks()) != 1 {
		t.Fatalf("tasks: %v", tasks)
	}
	h.acknowledge(1, a, "unknown", 7)
	if n := len(h.takeFrames(1)); n != 2 {
		t.Fatalf("%d acknowledgements passed on", n)
	}
}

// SCH-114 SCH-229: states that old frameworks do not know, and the newest state ahead of the update.
func TestUpdateOfAgent(t *testing.T) {
	plain := frameworkInfo("plain")
	h, a, id := running(t, plain, "t1")
	frame := updateFrame(t, id, a, "t1", "TASK_RUNNING", 5)
	frame.GetStatusUpdate().LatestState = v1.TaskState_TASK_FAILED.Enum()
	h.take(1)
	h.do(FromAgent{Conn: 1, Message: frame})
	same(t, "forwarded as it is", brief(h.take(1)), []string{"UPDATE t1 TASK_RUNNING SOURCE_EXECUTOR"})
	if s := h.view().State.GetTasks.GetTasks()[0]; s.GetState() != v1.TaskState_TASK_FAILED || s.GetStatusUpdateState() != v1.TaskState_TASK_RUNNING {
		t.Fatalf("task: %v", s)
	}
	h.acknowledge(1, a, "t1", 5) // of TASK_RUNNING: the task stays
	if n := len(h.view().State.GetTasks.GetTasks()); n != 1 {
		t.Fatal("the task is gone before its terminal update was acknowledged")
	}
	h.do(FromAgent{Conn: 1, Message: updateFrame(t, id, a, "never", "TASK_DROPPED", 6)})
	same(t, "lost-state", brief(h.take(1)), []string{"UPDATE never TASK_LOST SOURCE_EXECUTOR"})
}

// SCH-219 SCH-220 SCH-290
func TestMessages(t *testing.T) {
	h, _, _ := running(t, aware("f"), "t1")
	h.frames[1] = nil
	h.send(1, `{"type":"MESSAGE","message":{"agent_id":{"value":"m-S0"},"executor_id":{"value":"e"},"data":"aGk="}}`)
	h.send(1, `{"type":"MESSAGE","message":{"agent_id":{"value":"nope"},"executor_id":{"value":"e"},"data":"aGk="}}`)
	h.send(1, `{"type":"SHUTDOWN","shutdown":{"agent_id":{"value":"m-S0"},"executor_id":{"value":"e"}}}`)
	h.send(1, `{"type":"SHUTDOWN","shutdown":{"agent_id":{"value":"nope"},"executor_id":{"value":"e"}}}`)
	frames := h.takeFrames(1)
	if len(frames) != 2 || string(frames[0].GetFrameworkMessage().GetData()) != "hi" ||
		frames[1].GetShutdownExecutor().GetFrameworkId().GetValue() != "m-0000" {
		t.Fatalf("frames: %v", frames)
	}
	h.take(1)
	h.agent(1, `{"executor_message":{"framework_id":{"value":"m-0000"},"executor_id":{"value":"e"},"data":"cG9uZw=="}}`)
	events := h.take(1)
	if len(events) != 1 || string(events[0].GetMessage().GetData()) != "pong" || events[0].GetMessage().GetAgentId().GetValue() != "m-S0" {
		t.Fatalf("events: %v", events)
	}
	h.agent(1, `{"executor_message":{"framework_id":{"value":"zz"},"executor_id":{"value":"e"},"data":"cG9uZw=="}}`)
	if m := h.view().Metrics; m["master/invalid_executor_to_framework_messages"] != 1 || m["master/valid_executor_to_framework_messages"] != 1 ||
		m["master/invalid_framework_to_executor_messages"] != 1 {
		t.Fatal("messages are not counted")
	}
}

const customExecutor = `,"executor":{"executor_id":{"value":"ex"},"command":{"value":"run"},"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]}`

// SCH-122 SCH-174 SCH-185 SCH-259: an executor is charged once, shown in offers, and ends with a
// FAILURE.
func TestCustomExecutor(t *testing.T) {
	h, a, id := running(t, aware("f"))
	h.launch(1, offersIn(h.take(1))[0], 0, taskJSON("p-1", a, 0.1, customExecutor), taskJSON("p-2", a, 0.1, customExecutor))
	if got := h.m.mustAgent(a).used.Scalar("cpus"); got != 300 {
		t.Fatalf("%d thousandths of a cpu used", got)
	}
	for _, f := range h.takeFrames(1) {
		if run := f.GetRunTask(); run != nil && run.GetTasks()[0].GetExecutor().GetFrameworkId().GetValue() != string(id) {
			t.Fatalf("SCH-165: no framework id: %v", run)
		}
	}
	h.wait(time.Second)
	offer := offersIn(h.take(1))[0]
	if len(offer.GetExecutorIds()) != 1 || offer.GetExecutorIds()[0].GetValue() != "ex" {
		t.Fatalf("executors in the offer: %v", offer.GetExecutorIds())
	}
	h.launch(1, offer, 0, taskJSON("p-3", a, 0.1, strings.Replace(customExecutor, `"run"`, `"run "`, 1)))
	message := h.take(1)[0].GetUpdate().GetStatus().GetMessage()
	line := strings.Repeat("-", 60) + "\n"
	if !strings.HasPrefix(message, "ExecutorInfo is not compatible with existing ExecutorInfo with same ExecutorID.\n"+line+"Existing ExecutorInfo:\nexecutor_id {\n  value: \"ex\"\n}\n") ||
		!strings.Contains(message, "value: \"run\"\n") || !strings.Contains(message, "value: \"run \"\n") || !strings.HasSuffix(message, "\n"+line) {
		t.Fatalf("message: %s", message)
	}
	h.wait(time.Second)
	h.take(1)
	h.agent(1, `{"executor_exited":{"framework_id":{"value":"m-0000"},"executor_id":{"value":"ex"},"status":1280}}`)
	h.update(1, id, "p-1", "TASK_FAILED", 1)
	h.update(1, id, "p-2", "TASK_FAILED", 2)
	events := h.take(1)
	same(t, "events", brief(events), []string{"FAILURE m-S0 ex", "UPDATE p-1 TASK_FAILED SOURCE_EXECUTOR", "UPDATE p-2 TASK_FAILED SOURCE_EXECUTOR"})
	if events[0].GetFailure().GetStatus() != 1280 {
		t.Fatalf("status %d", events[0].GetFailure().GetStatus())
	}
	if !h.m.mustAgent(a).used.Empty() || len(h.view().State.GetExecutors.GetExecutors()) != 0 {
		t.Fatal("the executor still holds resources")
	}
}

func (m *Master) mustAgent(id mesos.AgentID) *agent {
	a, ok := m.agents.get(id)
	if !ok {
		panic("no agent " + id)
	}
	return a
}

// SCH-130 SCH-138 SCH-139 SCH-140 SCH-151 SCH-164 SCH-198 SCH-290
func TestInvalidOffers(t *testing.T) {
	h, a, _ := running(t, aware("f"))
	h.subscribe(2, aware("g"))
	h.register(2)
	h.wait(time.Second)
	own := offersIn(h.take(1))
	other := offersIn(h.take(2))
	if len(own) != 1 || len(other) != 1 {
		t.Fatalf("%d and %d offers", len(own), len(other))
	}
	mine, theirs := own[0].GetId().GetValue(), other[0].GetId().GetValue()
	accept := func(ids string) []string {
		h.send(1, fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[%s],"operations":[{"type":"LAUNCH","launch":{"task_infos":[%s]}},{"type":"RESERVE","id":{"value":"op"}}],"filters":{"refuse_seconds":100}}}`,
			ids, taskJSON("t", a, 1, command)))
		var lines []string
		for _, e := range h.take(1) {
			switch {
			case e.GetUpdate() != nil:
				lines = append(lines, brief([]*v1scheduler.Event{e})...)
			case e.GetUpdateOperationStatus() != nil:
				s := e.GetUpdateOperationStatus().GetStatus()
				lines = append(lines, fmt.Sprint("OPERATION ", s.GetState(), ": ", s.GetMessage()))
			}
		}
		return lines
	}
	quoted := func(id string) string { return fmt.Sprintf(`{"value":%q}`, id) }
	expect := func(name, ids, why string) {
		t.Helper()
		same(t, name, accept(ids), []string{
			"UPDATE t TASK_DROPPED SOURCE_MASTER REASON_INVALID_OFFERS: Task launched with invalid offers: " + why,
			"OPERATION OPERATION_ERROR: Operation attempted with invalid offers: " + why})
	}
	expect("none", "", "No offers specified")
	expect("unknown", quoted("zz"), "Offer zz is no longer valid")
	expect("of another", quoted(theirs), fmt.Sprintf("Offer %s has invalid framework m-0001 while framework m-0000 is expected", theirs))
	if !h.m.offers.has(mesos.OfferID(theirs)) {
		t.Fatal("the offer was taken from its owner")
	}
	h.send(1, `{"type":"DECLINE","decline":{"offer_ids":[`+quoted(theirs)+`]}}`)
	if !h.m.offers.has(mesos.OfferID(theirs)) {
		t.Fatal("the offer was declined by another framework")
	}
	expect("twice", quoted(mine)+","+quoted(mine), "Duplicate offer "+mine+" in offer list")
	if h.m.offers.has(mesos.OfferID(mine)) {
		t.Fatal("the valid offer was not given back")
	}
	h.wait(time.Second) // without a filter, whatever the call says
	h.send(2, `{"type":"TEARDOWN"}`)
	h.wait(time.Second)
	both := offersIn(h.take(1))
	if len(both) != 2 {
		t.Fatalf("%d offers", len(both))
	}
	x, y := both[0], both[1]
	expect("two agents", quoted(x.GetId().GetValue())+","+quoted(y.GetId().GetValue()),
		fmt.Sprintf("Aggregated offers must belong to one single agent. Offer %s uses agent %s and agent %s", y.GetId().GetValue(), y.GetAgentId().GetValue(), x.GetAgentId().GetValue()))
}

// SCH-143 SCH-146 SCH-147 SCH-159 SCH-302 SCH-305: operations that are not carried out.
func TestOperations(t *testing.T) {
	h, a, _ := running(t, aware("f"))
	offer := offersIn(h.take(1))[0].GetId().GetValue()
	h.send(1, fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"operations":[
	 {"type":"RESERVE","id":{"value":"op1"},"reserve":{}},
	 {"type":"CREATE","create":{}},
	 {"type":"UNKNOWN","id":{"value":"op2"}},
	 {"type":"LAUNCH"},
	 {"type":"LAUNCH_GROUP","launch_group":{"executor":{"executor_id":{"value":"e"}},"task_group":{}}},
	 {"type":"LAUNCH","id":{"value":"op3"},"launch":{"task_infos":[%s]}},
	 {"type":"LAUNCH","launch":{"task_infos":[%s]}}]}}`, offer, taskJSON("t1", a, 1, command), taskJSON("t2", a, 1, command)))
	events := h.take(1)
	if len(events) != 2 {
		t.Fatalf("events: %v", brief(events))
	}
	s := events[0].GetUpdateOperationStatus().GetStatus()
	if s.GetState() != v1.OperationState_OPERATION_ERROR || s.GetMessage() != "operation RESERVE is not supported by this version" ||
		s.GetOperationId().GetValue() != "op1" || s.Uuid != nil || s.AgentId != nil {
		t.Fatalf("operation: %v", s)
	}
	same(t, "LAUNCH with id", brief(events[1:]), []string{"UPDATE t1 TASK_ERROR SOURCE_MASTER REASON_TASK_INVALID: The `id` field cannot be set on LAUNCH operations"})
	if tasks := h.view().State.GetTasks.GetTasks(); len(tasks) != 1 || tasks[0].GetTaskId().GetValue() != "t2" {
		t.Fatalf("tasks: %v", tasks)
	}
}

// SCH-167 SCH-168
func TestDuplicateTaskID(t *testing.T) {
	h, a, id := running(t, aware("f"))
	launch := func(tasks ...string) []string {
		h.wait(6 * time.Second)
		offers := offersIn(h.take(1))
		h.launch(1, offers[len(offers)-1], 0, tasks...)
		var lines []string
		for _, e := range h.take(1) {
			if e.GetUpdate() != nil {
				lines = append(lines, brief([]*v1scheduler.Event{e})...)
			}
		}
		return lines
	}
	duplicate := []string{"UPDATE t TASK_ERROR SOURCE_MASTER REASON_TASK_INVALID: Task has duplicate ID: t"}
	same(t, "two in one LAUNCH", launch(taskJSON("t", a, 0.1, command), taskJSON("t", a, 0.1, command)), duplicate)
	h.update(1, id, "t", "TASK_RUNNING", 1)
	same(t, "of a running task", launch(taskJSON("t", a, 0.1, command)), duplicate)
	if got := h.view().State.GetTasks.GetTasks()[0].GetState(); got != v1.TaskState_TASK_RUNNING {
		t.Fatalf("the running task is disturbed: %s", got)
	}
	h.update(1, id, "t", "TASK_FINISHED", 2)
	same(t, "not acknowledged", launch(taskJSON("t", a, 0.1, command)), duplicate)
	h.acknowledge(1, a, "t", 2)
	same(t, "of a completed task", launch(taskJSON("t", a, 0.1, command)), nil)
}

// SCH-167: the id of an unreachable task.
func TestUnreachableTaskID(t *testing.T) {
	h := lostAgent(t)
	h.wait(2 * time.Second)
	h.take(1)
	h.register(2)
	h.wait(100 * time.Millisecond)
	offers := append(offersIn(h.take(1)), offersIn(h.take(2))...)
	h.launch(1, offers[0], 0, taskJSON("aware-1", "m-S1", 0.1, command))
	same(t, "events", brief(h.take(1)), []string{"UPDATE aware-1 TASK_ERROR SOURCE_MASTER REASON_TASK_INVALID: Task reuses the ID of an unreachable task: aware-1"})
}

// SCH-89 SCH-90: the unreachable tasks of a removed framework are recorded as killed.
func TestUnreachableTasksOfRemovedFramework(t *testing.T) {
	h := lostAgent(t)
	h.wait(2 * time.Second)
	h.send(1, `{"type":"TEARDOWN"}`)
	done := h.view().State.GetTasks.GetCompletedTasks()
	if len(done) != 1 || done[0].GetState() != v1.TaskState_TASK_KILLED {
		t.Fatalf("completed: %v", done)
	}
}

// SCH-115 SCH-116 SCH-119: the form of offers for frameworks without the newer capabilities.
func TestPlainOffers(t *testing.T) {
	h, a, _ := running(t, frameworkInfo("plain"))
	o := offersIn(h.take(1))[0]
	if o.AllocationInfo != nil {
		t.Error("allocation_info on the offer")
	}
	for _, r := range o.GetResources() {
		if r.AllocationInfo != nil || r.GetRole() != "*" || r.Role == nil || len(r.GetReservations()) != 0 {
			t.Errorf("resource: %v", r)
		}
	}
	h.launch(1, o, 0, taskJSON("t1", a, 1, command))
	if got := h.view().State.GetTasks.GetTasks()[0].GetResources()[0].GetAllocationInfo().GetRole(); got != "*" {
		t.Errorf("the task is allocated to %q", got)
	}
}

// SCH-127
func TestOfferTimeout(t *testing.T) {
	cfg := testConfig()
	cfg.OfferTimeout = 10 * time.Second
	h := newHarness(t, cfg)
	h.register(1)
	h.subscribe(1, aware("f"))
	h.take(1)
	h.wait(11 * time.Second)
	same(t, "events", brief(h.take(1)), []string{"RESCIND m-O0", "OFFER m-O1"})
}

// SCH-42: many offers come in several events.
func TestOffersAreSplit(t *testing.T) {
	h := newHarness(t, testConfig())
	long := strings.Repeat("x", 100<<10)
	for c := ConnID(1); c <= 12; c++ {
		h.agent(c, fmt.Sprintf(`{"register":{"agent":{"hostname":"a%d","resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}],"attributes":[{"name":"a","type":"TEXT","text":{"value":%q}}]},"version":"1"}}`, c, long))
	}
	h.subscribe(1, aware("f"))
	events, total := 0, 0
	for _, e := range h.take(1) {
		if e.GetOffers() != nil {
			events++
			total += len(e.GetOffers().GetOffers())
			data, err := mesos.MarshalJSON(e)
			if err != nil || len(data) > 4<<20 {
				t.Fatalf("an event of %d bytes: %v", len(data), err)
			}
		}
	}
	if events < 2 || total != 12 {
		t.Fatalf("%d offers in %d events", total, events)
	}
}

// SCH-132 SCH-133 SCH-137 SCH-197
func TestRefuseDuration(t *testing.T) {
	seconds := func(v float64) *v1.Filters { return &v1.Filters{RefuseSeconds: &v} }
	nan := 0.0
	nan /= nan
	for _, test := range []struct {
		filters *v1.Filters
		want    time.Duration
	}{
		{nil, 5 * time.Second}, {&v1.Filters{}, 5 * time.Second}, {seconds(-1), 5 * time.Second}, {seconds(nan), 5 * time.Second},
		{seconds(1e300), 5 * time.Second}, {seconds(1e9), 365 * 24 * time.Hour}, {seconds(0), 0}, {seconds(0.1), 100 * time.Millisecond},
	} {
		if got := refuseDuration(test.filters); got != test.want {
			t.Errorf("%v: %v, want %v", test.filters, got, test.want)
		}
	}
	for _, refuse := range []struct {
		body string
		wait time.Duration
	}{
		{`{"type":"DECLINE","decline":{"offer_ids":[{"value":"m-O0"}]}}`, 5 * time.Second},
		{`{"type":"ACCEPT","accept":{"offer_ids":[{"value":"m-O0"}]}}`, 5 * time.Second},
		{`{"type":"ACCEPT","accept":{"offer_ids":[{"value":"m-O0"}],"operations":[{"type":"LAUNCH","launch":{}}],"filters":{"refuse_seconds":20}}}`, 20 * time.Second},
		{`{"type":"DECLINE","decline":{"offer_ids":[{"value":"m-O0"}],"filters":{"refuse_seconds":0}}}`, time.Second},
	} {
		h, _, _ := running(t, aware("f"))
		h.take(1)
		h.send(1, refuse.body)
		h.wait(refuse.wait - 100*time.Millisecond)
		for _, e := range brief(h.take(1)) {
			if e != "HEARTBEAT" {
				t.Errorf("%s: too early: %s", refuse.body, e)
			}
		}
		h.wait(1100 * time.Millisecond)
		if got := offersIn(h.take(1)); len(got) != 1 {
			t.Errorf("%s: %d offers", refuse.body, len(got))
		}
	}
}

// SCH-208 SCH-209 SCH-210 RES-190: agents that constraints exclude are not offered, but go to others.
func TestOfferConstraints(t *testing.T) {
	for _, test := range []struct {
		selector, predicate string
		offered             bool
	}{
		{`"attribute_name":"rack"`, `"exists":{}`, true},
		{`"attribute_name":"none"`, `"exists":{}`, false},
		{`"attribute_name":"none"`, `"not_exists":{}`, true},
		{`"attribute_name":"rack"`, `"text_equals":{"value":"r1"}`, true},
		{`"attribute_name":"rack"`, `"text_equals":{"value":"r2"}`, false},
		{`"attribute_name":"rack"`, `"text_not_equals":{"value":"r2"}`, true},
		{`"attribute_name":"none"`, `"text_not_equals":{"value":"r2"}`, true},
		{`"attribute_name":"none"`, `"text_equals":{"value":"r2"}`, false},
		{`"attribute_name":"rack"`, `"text_matches":{"regex":"r[0-9]"}`, true},
		{`"attribute_name":"rack"`, `"text_matches":{"regex":"r"}`, false},
		{`"attribute_name":"rack"`, `"text_not_matches":{"regex":"r"}`, true},
		{`"pseudoattribute_type":"HOSTNAME"`, `"text_equals":{"value":"a1"}`, true},
		{`"pseudoattribute_type":"ZONE"`, `"exists":{}`, false},
		{`"pseudoattribute_type":"REGION"`, `"not_exists":{}`, true},
	} {
		h := newHarness(t, testConfig())
		h.register(1)
		call := subscribeCall(aware("f"))
		parse(t, `{"framework_info":{"user":"u","name":"n"},"offer_constraints":{"role_constraints":{"*":{"groups":[{"attribute_constraints":[{"selector":{`+test.selector+`},"predicate":{`+test.predicate+`}}]}]}}}}`, call.Subscribe)
		call.Subscribe.FrameworkInfo = aware("f")
		h.raw(SchedulerCall{Stream: 1, Call: call})
		h.wait(3 * time.Second)
		if got := len(offersIn(h.take(1))) > 0; got != test.offered {
			t.Errorf("%s %s: offered %t", test.selector, test.predicate, got)
		}
		if !test.offered {
			h.subscribe(2, aware("g"))
			h.wait(100 * time.Millisecond)
			if len(offersIn(h.take(2))) != 1 {
				t.Errorf("%s %s: nobody else is offered the agent", test.selector, test.predicate)
			}
		}
	}
}

// SCH-56: a MULTI_ROLE framework without roles gets nothing; SCH-121: each offer is for one role.
func TestRolesInOffers(t *testing.T) {
	h := newHarness(t, testConfig())
	h.register(1)
	none := frameworkInfo("none", v1.FrameworkInfo_Capability_MULTI_ROLE)
	none.Roles = nil
	h.subscribe(1, none)
	h.wait(3 * time.Second)
	same(t, "no roles", brief(h.take(1)), []string{"SUBSCRIBED", "HEARTBEAT"})
	web := frameworkInfo("web")
	web.Role = proto.String("web")
	h.subscribe(2, web)
	h.wait(time.Second)
	if o := offersIn(h.take(2)); len(o) != 1 || h.m.offersOfRole("web") != 1 {
		t.Fatalf("offers: %v", o)
	}
}

func (m *Master) offersOfRole(role string) int {
	n := 0
	for o := range m.offers.values() {
		if o.role == role {
			n++
		}
	}
	return n
}

// A task that is on the way to an executor that ends meanwhile starts it anew: what the executor uses
// stays charged until that task has ended, too.
func TestExecutorEndsWithTaskOnTheWay(t *testing.T) {
	for _, starts := range []bool{true, false} {
		h, a, id := running(t, aware("f"))
		h.launch(1, offersIn(h.take(1))[0], 0, taskJSON("p-1", a, 1, customExecutor))
		h.update(1, id, "p-1", "TASK_RUNNING", 1)
		h.wait(time.Second)
		h.launch(1, offersIn(h.take(1))[0], 0, taskJSON("p-2", a, 1, customExecutor))
		h.agent(1, `{"executor_exited":{"framework_id":{"value":"m-0000"},"executor_id":{"value":"ex"},"status":0}}`)
		h.update(1, id, "p-1", "TASK_FAILED", 2)
		if got := h.m.mustAgent(a).used.Scalar("cpus"); got != 1100 {
			t.Fatalf("%d thousandths of a cpu used", got)
		}
		if starts {
			h.update(1, id, "p-2", "TASK_RUNNING", 3)
			h.update(1, id, "p-2", "TASK_FINISHED", 4)
			if got := h.m.mustAgent(a).used.Scalar("cpus"); got != 100 {
				t.Fatalf("%d thousandths of a cpu used by the new executor", got)
			}
			h.agent(1, `{"executor_exited":{"framework_id":{"value":"m-0000"},"executor_id":{"value":"ex"},"status":0}}`)
		} else {
			h.update(1, id, "p-2", "TASK_FAILED", 3)
		}
		if !h.m.mustAgent(a).used.Empty() {
			t.Fatalf("still used: %s", h.m.mustAgent(a).used)
		}
	}
}

// A task whose id was used again elsewhere comes back: it is killed there, and what its agent says of
// it does not reach the framework.
func TestTaskIDUsedElsewhere(t *testing.T) {
	info := aware("f")
	info.Checkpoint = nil
	h, _, id := running(t, info, "t1")
	h.do(AgentDisconnected{Conn: 1})
	h.take(1)
	b := h.register(2)
	h.wait(time.Second)
	h.launch(1, offersIn(h.take(1))[0], 3600, taskJSON("t1", b, 0.5, command))
	h.agent(3, reregister(withID(info, id), taskReport("t1", "TASK_RUNNING")))
	killed := false
	for _, f := range h.takeFrames(3) {
		killed = killed || f.GetKillTask().GetTaskId().GetValue() == "t1"
	}
	if !killed {
		t.Fatal("the former task lives on")
	}
	h.take(1)
	h.do(FromAgent{Conn: 3, Message: updateFrame(t, id, "m-S0", "t1", "TASK_KILLED", 9)})
	for _, e := range h.take(1) {
		if e.GetUpdate() != nil {
			t.Fatalf("the framework hears of it: %v", e)
		}
	}
	if frames := h.takeFrames(3); len(frames) != 1 || frames[0].GetAcknowledge() == nil {
		t.Fatalf("frames: %v", frames)
	}
	if tasks := h.view().State.GetTasks.GetTasks(); len(tasks) != 1 || tasks[0].GetAgentId().GetValue() != string(b) {
		t.Fatalf("tasks: %v", tasks)
	}
}

// SCH-124: no resource is in two offers, whatever frameworks and roles are there.
func TestOffersDoNotOverlap(t *testing.T) {
	h := newHarness(t, testConfig())
	for c := ConnID(1); c <= 3; c++ {
		h.register(c)
	}
	for s := StreamID(1); s <= 4; s++ {
		info := aware("f")
		info.Roles = []string{"a", "b", "a/c"}
		h.subscribe(s, info)
	}
	h.wait(10 * time.Second)
	held := make(map[mesos.AgentID]float64)
	for s := StreamID(1); s <= 4; s++ {
		for _, o := range offersIn(h.take(s)) {
			for _, r := range o.GetResources() {
				if r.GetName() == "cpus" {
					held[mesos.AgentID(o.GetAgentId().GetValue())] += r.GetScalar().GetValue()
				}
			}
		}
	}
	if len(held) != 3 {
		t.Fatalf("offers of %d agents", len(held))
	}
	for a, cpus := range held {
		if cpus != 4 {
			t.Errorf("agent %s: %g cpus in offers", a, cpus)
		}
	}
}

// SCH-84 SCH-229 SCH-260: what happens while a framework is away is not kept for it.
func TestNothingIsQueued(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1")
	h.do(StreamClosed{Stream: 1})
	h.agent(1, `{"executor_message":{"framework_id":{"value":"m-0000"},"executor_id":{"value":"e"},"data":"eA=="}}`)
	h.agent(1, `{"unregister":{}}`)
	h.subscribe(2, withID(aware("f"), id))
	h.wait(time.Second)
	same(t, "events", brief(h.take(2)), []string{"SUBSCRIBED", "HEARTBEAT"})
}
