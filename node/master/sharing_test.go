package master

import (
	"testing"
	"time"

	"clusterd/alloc"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// What the master keeps of tasks shares what it has already, says the same, and leaves the frame as it was.
func TestTasksShare(t *testing.T) {
	old, _, id := running(t, aware("f"))
	h := newLeader(old, time.Second)
	frame := parse(t, reregister(withID(aware("f"), id), taskReport("t1", "TASK_RUNNING")+","+taskReport("t2", "TASK_RUNNING")), &wire.FromAgent{})
	before := proto.CloneOf(frame)
	h.do(FromAgent{Conn: 1, Message: frame})
	if !proto.Equal(frame, before) {
		t.Fatal("the frame was changed")
	}
	tasks := h.view().State.GetTasks.GetTasks()
	for i, task := range tasks {
		if !proto.Equal(task, before.GetRegister().GetTasks()[i]) {
			t.Errorf("shown: %v, reported: %v", task, before.GetRegister().GetTasks()[i])
		}
		if task.Statuses[0].TaskId != task.TaskId {
			t.Error("the status has an id of its own")
		}
	}
	if tasks[0].AgentId != tasks[1].AgentId || tasks[0].FrameworkId != tasks[1].FrameworkId || tasks[0].Resources[0] != tasks[1].Resources[0] {
		t.Error("tasks share nothing")
	}
	if agents := h.m.agents; agents.len() != 1 {
		t.Fatal("no agent")
	}
	if registered, _ := h.registry.Agent("m-S0"); h.m.mustAgent("m-S0").info != registered.GetInfo() {
		t.Error("the AgentInfo is there twice")
	}
}

// Resources are shared only with equal ones, and few are looked through.
func TestShapes(t *testing.T) {
	var f framework
	one := func(cpus float64) *v1.Resource {
		return &v1.Resource{Name: proto.String("cpus"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &cpus}}
	}
	get := func(cpus float64) *v1.Resource {
		list := []*v1.Resource{one(cpus)}
		r, list := f.share(resourcesOf(t, list), list)
		if got := r.Scalar("cpus"); got != int64(cpus*1000) || list[0].GetScalar().GetValue() != cpus {
			t.Fatalf("asked for %v, got %v and %v", cpus, got, list)
		}
		return list[0]
	}
	first := get(1)
	if get(1) != first || get(2) == first || get(1) != first {
		t.Fatal("not shared with the equal one")
	}
	for i := range maxShapes {
		get(float64(10 + i))
	}
	if len(f.shapes) != maxShapes || get(1) == first {
		t.Fatalf("%d shapes", len(f.shapes))
	}
}

func resourcesOf(t *testing.T, list []*v1.Resource) alloc.Resources {
	t.Helper()
	r, err := alloc.FromProto(list)
	if err != nil {
		t.Fatal(err)
	}
	return r
}
