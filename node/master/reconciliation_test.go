package master

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// crowd has one agent with n running tasks t0, t1, ... of the framework on stream 1.
func crowd(t testing.TB, n int) (*harness, mesos.FrameworkID) {
	t.Helper()
	h := newHarness(t, testConfig())
	h.subscribe(1, aware("f"))
	h.subscribe(2, aware("g"))
	var tasks strings.Builder
	for i := range n {
		if i > 0 {
			tasks.WriteByte(',')
		}
		fmt.Fprintf(&tasks, `{"name":"t","task_id":{"value":"t%d"},"framework_id":{"value":"m-0000"},"agent_id":{"value":"m-S0"},"state":"TASK_RUNNING"}`, i)
	}
	h.agent(1, reregister(withID(aware("f"), "m-0000"), tasks.String()))
	h.take(1)
	h.take(2)
	return h, "m-0000"
}

// reconciled lists the tasks and states of reconciliation updates among events.
func reconciled(events []*v1scheduler.Event) []string {
	list := []string{}
	for _, e := range events {
		if s := e.GetUpdate().GetStatus(); s.GetReason() == v1.TaskStatus_REASON_RECONCILIATION {
			list = append(list, s.GetTaskId().GetValue()+" "+s.GetState().String())
		}
	}
	return list
}

func runningTasks(from, to int) []string {
	list := []string{}
	for i := from; i < to; i++ {
		list = append(list, fmt.Sprintf("t%d TASK_RUNNING", i))
	}
	return list
}

// slice lets one slice of answers be made and returns it.
func (h *harness) slice(s StreamID) []string {
	h.t.Helper()
	h.wait(sliceInterval)
	return reconciled(h.take(s))
}

// SCH-238, SCH-239: all tasks are answered for, in order, in steps of a bounded length.
func TestReconcileAllInSlices(t *testing.T) {
	const n = 2*sliceUpdates + 7
	h, _ := crowd(t, n)
	h.send(1, `{"type":"RECONCILE"}`)
	same(t, "first slice", reconciled(h.take(1)), runningTasks(0, sliceUpdates))
	same(t, "second slice", h.slice(1), runningTasks(sliceUpdates, 2*sliceUpdates))
	same(t, "third slice", h.slice(1), runningTasks(2*sliceUpdates, n))
	same(t, "nothing more", h.slice(1), []string{})
}

// SCH-240, SCH-241, SCH-248: named tasks are answered for in the order in which they were named, each
// exactly once.
func TestReconcileNamedInSlices(t *testing.T) {
	const n = sliceUpdates + 10
	h, id := crowd(t, n)
	call := &v1scheduler.Call{Type: v1scheduler.Call_RECONCILE.Enum(), FrameworkId: id.Proto(), Reconcile: &v1scheduler.Call_Reconcile{}}
	want := []string{}
	for i := n - 1; i >= 0; i-- {
		call.Reconcile.Tasks = append(call.Reconcile.Tasks, &v1scheduler.Call_Reconcile_Task{TaskId: mesos.TaskID(fmt.Sprintf("t%d", i)).Proto()},
			&v1scheduler.Call_Reconcile_Task{TaskId: mesos.TaskID(fmt.Sprintf("x%d", i)).Proto(), AgentId: mesos.AgentID("m-S0").Proto()})
		want = append(want, fmt.Sprintf("t%d TASK_RUNNING", i), fmt.Sprintf("x%d TASK_GONE", i))
	}
	h.call(1, call)
	got := reconciled(h.take(1))
	for range 3 {
		got = append(got, h.slice(1)...)
	}
	same(t, "answers", got, want)
}

// SCH-241: an answer is what is known when it is made: never older than an update that went before it.
func TestReconcileSeesWhatHappensMeanwhile(t *testing.T) {
	const n = sliceUpdates + 4
	h, id := crowd(t, n)
	h.send(1, `{"type":"RECONCILE"}`)
	last := func(i int) string { return fmt.Sprintf("t%d", n-i) }
	h.update(1, id, last(4), "TASK_KILLING", 1)
	h.update(1, id, last(3), "TASK_FINISHED", 2)
	h.acknowledge(1, "m-S0", last(3), 2) // complete: nothing more is to be said
	h.update(1, id, last(2), "TASK_FAILED", 3)
	h.take(1)
	same(t, "second slice", h.slice(1), []string{
		last(4) + " TASK_KILLING", last(2) + " TASK_FAILED", last(1) + " TASK_RUNNING",
	})
}

// Frameworks take turns: a long list of one does not hold up another.
func TestReconcileTakesTurns(t *testing.T) {
	h, _ := crowd(t, 3*sliceUpdates)
	h.send(1, `{"type":"RECONCILE"}`)
	h.send(2, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"mine"},"agent_id":{"value":"m-S0"}}]}}`)
	h.wait(2 * sliceInterval)
	same(t, "the short one", reconciled(h.take(2)), []string{"mine TASK_GONE"})
	h.wait(4 * sliceInterval)
	same(t, "the long one", reconciled(h.take(1)), runningTasks(0, 3*sliceUpdates))
}

// Calls of one framework are answered one after the other; two for all tasks that wait both are one.
func TestReconcileCallsInARow(t *testing.T) {
	const n = sliceUpdates + 1
	h, _ := crowd(t, n)
	h.send(1, `{"type":"RECONCILE"}`) // has begun
	for range 5 {
		h.send(1, `{"type":"RECONCILE"}`)
	}
	h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t5"}}]}}`)
	h.wait(time.Second)
	want := append(append(runningTasks(0, n), runningTasks(0, n)...), "t5 TASK_RUNNING")
	same(t, "answers", reconciled(h.take(1)), want)
}

// However many calls a framework makes, few wait: beyond that the oldest is answered at once.
func TestReconcileBacklogIsBounded(t *testing.T) {
	h, id := crowd(t, sliceUpdates+1)
	for range maxReconciliations {
		h.send(1, `{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"}}]}}`)
		h.send(1, `{"type":"RECONCILE"}`)
	}
	f, _ := h.m.frameworks.get(id)
	if n := len(f.reconciliations); n != maxReconciliations {
		t.Fatalf("%d calls wait", n)
	}
	h.wait(time.Minute)
	want := maxReconciliations * (sliceUpdates + 2)
	if n := len(reconciled(h.take(1))); n != want || len(f.reconciliations) != 0 || len(h.m.reconciling.turns) != 0 {
		t.Fatalf("%d answers, want %d; %d calls wait", n, want, len(f.reconciliations))
	}
}

// SCH-84: what was asked for on a stream that has ended is not answered on the next.
func TestReconcileEndsWithItsStream(t *testing.T) {
	for name, end := range map[string]func(*harness){
		"closed":     func(h *harness) { h.do(StreamClosed{Stream: 1}) },
		"taken over": func(h *harness) {},
		"removed":    func(h *harness) { h.send(1, `{"type":"TEARDOWN"}`) },
	} {
		t.Run(name, func(t *testing.T) {
			h, id := crowd(t, 3*sliceUpdates)
			h.send(1, `{"type":"RECONCILE"}`)
			end(h)
			h.subscribe(3, withID(aware("f"), id))
			h.take(1)
			h.wait(time.Second)
			if got := append(reconciled(h.take(1)), reconciled(h.take(3))...); len(got) != 0 {
				t.Fatalf("%d answers", len(got))
			}
			if name == "removed" {
				return
			}
			h.send(3, `{"type":"RECONCILE"}`)
			h.wait(time.Second)
			if got := reconciled(h.take(3)); len(got) != 3*sliceUpdates {
				t.Fatalf("%d answers on the new stream", len(got))
			}
		})
	}
}
