package master

import (
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
)

// OPR-111 SCH-101: every metric of the master and the allocator that Mesos shows for this state is
// there. testdata/metrics lists the names; ids and names of frameworks stand as <framework>.
func TestMetricNames(t *testing.T) {
	h, a, id := running(t, aware("my fw"))
	h.launch(1, offersIn(h.take(1))[0], 5, strings.Replace(taskJSON("t1", a, 0.5, command), `"resources":[`, `"resources":[{"name":"disk","type":"SCALAR","scalar":{"value":1}},`, 1))
	h.update(1, id, "t1", "TASK_RUNNING", 1)
	h.acknowledge(1, a, "t1", 1)
	metrics := h.view().Metrics
	data, err := os.ReadFile("testdata/metrics")
	if err != nil {
		t.Fatal(err)
	}
	for name := range strings.FieldsSeq(string(data)) {
		name = strings.ReplaceAll(name, "<framework>", "my%20fw/m-0000")
		if _, ok := metrics[name]; !ok {
			t.Errorf("%s is missing", name)
		}
	}
	for name, want := range map[string]float64{
		"master/cpus_total": 4, "master/cpus_used": 0.5, "master/cpus_percent": 0.125, "master/mem_used": 32,
		"master/tasks_running": 1, "master/frameworks_active": 1, "master/slaves_active": 1, "master/slave_registrations": 1,
		"master/messages_register_framework": 1, "master/messages_launch_tasks": 1, "master/messages_status_update": 1,
		"master/valid_status_update_acknowledgements": 1, "master/outstanding_offers": 0,
		"master/frameworks/my%20fw/m-0000/calls":                     3,
		"master/frameworks/my%20fw/m-0000/events/update":             1,
		"master/frameworks/my%20fw/m-0000/offers/accepted":           1,
		"master/frameworks/my%20fw/m-0000/tasks/active/task_running": 1,
		"master/frameworks/my%20fw/m-0000/operations/launch":         1,
	} {
		if got := metrics[name]; got != want {
			t.Errorf("%s is %g, want %g", name, got, want)
		}
	}
}

// Two views without a change between them are the same one, apart from metrics.
func TestViewIsCached(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1", "t2")
	first := h.view()
	second := h.view()
	if first.Index != second.Index || first.State != second.State {
		t.Fatal("the view was made again without need")
	}
	h.update(1, id, "t1", "TASK_KILLING", 9)
	third := h.view()
	if third.Index <= second.Index || third.State == second.State {
		t.Fatal("the view does not show the change")
	}
	if third.State.GetTasks.GetTasks()[1] != second.State.GetTasks.GetTasks()[1] {
		t.Fatal("a task that did not change was copied")
	}
}

// BenchmarkView makes the view of 100,000 tasks after one of them changed.
func BenchmarkView(b *testing.B) {
	h := newHarness(b, testConfig())
	const agents, perAgent = 1000, 100
	for c := range ConnID(agents) {
		h.m.Step(h.now, FromAgent{Conn: c + 1, Message: parse(b, strings.Replace(
			`{"register":{"agent":`+agentInfo+`,"version":"1"}}`, `"value":4}`, `"value":1000}`, 1), newFrame())})
	}
	h.commitAll()
	h.m.Step(h.now, SchedulerCall{Request: 1, Stream: 1, Call: subscribeCall(aware("f"))})
	h.commitAll()
	h.now = h.now.Add(time.Second)
	n := 0
	for o := range h.m.offers.values() {
		tasks := make([]string, perAgent)
		for i := range tasks {
			n++
			tasks[i] = strings.Replace(taskJSON(fmt.Sprintf("t%d", n), o.agent.id, 0.01, command), `"value":32`, `"value":1`, 1)
		}
		h.m.Step(h.now, SchedulerCall{Request: RequestID(n), HasHeader: true, Header: o.framework.streamUUID,
			Call: h.withFramework(o.framework.id, acceptJSON(o.id, 3600, tasks...))})
	}
	tasks := h.viewer.View(h.m.picture()).State.GetTasks.GetTasks()
	if len(tasks) != agents*perAgent {
		b.Fatalf("%d tasks", len(tasks))
	}
	first := tasks[0]
	frame := updateFrame(b, mesos.FrameworkID(first.GetFrameworkId().GetValue()), mesos.AgentID(first.GetAgentId().GetValue()), first.GetTaskId().GetValue(), "TASK_RUNNING", 1)
	conn := h.m.mustAgent(mesos.AgentID(first.GetAgentId().GetValue())).conn
	b.ReportAllocs()
	for b.Loop() {
		h.m.Step(h.now, FromAgent{Conn: conn, Message: frame})
		for _, e := range h.m.Step(h.now, Query{Request: 9}) {
			h.viewer.View(e.(Answer).Picture)
		}
	}
}
