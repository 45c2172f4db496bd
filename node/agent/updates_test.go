package agent

import (
	"bytes"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// EXE-22, EXE-29, EXE-172, SCH-221, SCH-222, SCH-223: stored, then confirmed, then forwarded, complete.
func TestUpdateIsStoredFirst(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.hold = true
	effects := r.update("t1", status("t1", v1.TaskState_TASK_STARTING, 1))
	if code, _ := answered(t, effects); code != 202 {
		t.Fatalf("answered %d", code)
	}
	if len(forwarded(effects)) != 0 || len(events(effects, v1executor.Event_ACKNOWLEDGED)) != 0 {
		t.Fatalf("told before it was stored\n%s", render(effects))
	}
	effects = r.commit()
	acks := events(effects, v1executor.Event_ACKNOWLEDGED)
	if len(acks) != 1 || !bytes.Equal(acks[0].GetAcknowledged().GetUuid(), uuid(1)) {
		t.Fatalf("ACKNOWLEDGED %v", acks)
	}
	want := status("t1", v1.TaskState_TASK_STARTING, 1)
	want.AgentId, want.ExecutorId = mesos.AgentID("S0").Proto(), mesos.ExecutorID("t1").Proto()
	want.Timestamp = proto.Float64(seconds(epoch))
	want.ContainerStatus = &v1.ContainerStatus{
		ContainerId: spec.ID.Proto(), ExecutorPid: proto.Uint32(100),
		NetworkInfos: []*v1.NetworkInfo{{IpAddresses: []*v1.NetworkInfo_IPAddress{{
			Protocol: v1.NetworkInfo_IPv4.Enum(), IpAddress: proto.String("127.0.0.1"),
		}}}},
	}
	if got := forwarded(effects); len(got) != 1 || !proto.Equal(got[0], want) {
		t.Fatalf("forwarded %v, want %v", got, want)
	}
}

// EXE-150: without checkpoint nothing waits for the disk, and nothing of the framework is stored.
func TestUpdateInMemory(t *testing.T) {
	r := newRig(t)
	r.hold = true
	r.start(frameworkInfo(false), "t1", 1, commandTask("t1", "x"))
	effects := r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	if len(forwarded(effects)) != 1 || len(events(effects, v1executor.Event_ACKNOWLEDGED)) != 1 {
		t.Fatalf("effects\n%s", render(effects))
	}
	r.commit()
	for key := range r.kv {
		if key != "info" && !bytes.HasPrefix([]byte(key), []byte("gc/")) {
			t.Errorf("key %s is stored", key)
		}
	}
}

// EXE-170, EXE-173, SCH-226: the next update goes out with the acknowledgement of the one before.
func TestOneUpdateAtATime(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_STARTING, 1))
	if got := forwarded(r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 2))); len(got) != 0 {
		t.Fatalf("forwarded %v out of turn", got)
	}
	if got := forwarded(r.ack("t1", uuid(2))); len(got) != 0 {
		t.Fatal("an acknowledgement of another update counts")
	}
	r.hold = true
	if got := forwarded(r.ack("t1", uuid(1))); len(got) != 0 {
		t.Fatal("the next one is sent before the acknowledgement is stored")
	}
	if got := forwarded(r.ack("t1", uuid(1))); len(got) != 0 {
		t.Fatal("the acknowledgement counts twice")
	}
	got := forwarded(r.commit())
	if len(got) != 1 || got[0].GetState() != v1.TaskState_TASK_RUNNING {
		t.Fatalf("forwarded %v", got)
	}
	r.hold = false
	if got := forwarded(r.ack("t1", uuid(1))); len(got) != 0 {
		t.Fatal("an old acknowledgement counts")
	}
}

// EXE-171, SCH-225: 10 s, doubling to 10 min, with the same uuid; from 10 s for each new update.
func TestRetry(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_STARTING, 1))
	for _, interval := range []time.Duration{10, 20, 40, 80, 160, 320, 600, 600} {
		interval *= time.Second
		if early := forwarded(r.after(interval - time.Nanosecond)); len(early) != 0 {
			t.Fatalf("sent again before %s", interval)
		}
		r.master(&wire.Ping{})
		got := forwarded(r.after(time.Nanosecond))
		if len(got) != 1 || !bytes.Equal(got[0].GetUuid(), uuid(1)) {
			t.Fatalf("after %s: %v", interval, got)
		}
		r.master(&wire.Ping{})
	}
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 2))
	r.ack("t1", uuid(1))
	if got := forwarded(r.after(10 * time.Second)); len(got) != 1 {
		t.Fatal("the interval did not start over")
	}
}

// EXE-171, EXE-168, SCH-230: nothing is sent without a master; the heads go out at once when there
// is one, or when the framework has subscribed again.
func TestResume(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	if got := forwarded(r.master(&wire.UpdateFramework{Framework: frameworkInfo(true)})); len(got) != 1 {
		t.Fatalf("after re-subscription: %v", got)
	}
	r.step(MasterDisconnected{})
	if got := forwarded(r.after(time.Hour)); len(got) != 0 {
		t.Fatalf("without a master: %v", got)
	}
	r.update("t1", status("t1", v1.TaskState_TASK_FINISHED, 2))
	effects := r.register()
	got := forwarded(effects)
	if len(got) != 1 || !bytes.Equal(got[0].GetUuid(), uuid(1)) {
		t.Fatalf("after registration: %v", got)
	}
	for _, s := range all[SendMaster](effects) {
		if reg := s.Message.GetRegister(); reg != nil {
			task := reg.GetTasks()[0]
			if task.GetState() != v1.TaskState_TASK_FINISHED || task.GetStatusUpdateState() != v1.TaskState_TASK_RUNNING {
				t.Errorf("registered as %v", task)
			}
			if len(reg.GetExecutors()) != 0 || len(reg.GetFrameworks()) != 1 {
				t.Errorf("register %v", reg)
			}
		}
		if u := s.Message.GetStatusUpdate(); u != nil && u.GetLatestState() != v1.TaskState_TASK_FINISHED {
			t.Errorf("latest state %s", u.GetLatestState())
		}
	}
}

// EXE-17, EXE-23: what comes twice is acknowledged again and forwarded once; what follows the end
// of a task is dropped and acknowledged.
func TestRepeatedAndLateUpdates(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	acked := func(effects []Effect) int { return len(events(effects, v1executor.Event_ACKNOWLEDGED)) }
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	effects := r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	if acked(effects) != 1 || len(forwarded(effects)) != 0 {
		t.Fatalf("twice\n%s", render(effects))
	}
	r.ack("t1", uuid(1))
	effects = r.subscribe("t1", 2, nil, status("t1", v1.TaskState_TASK_RUNNING, 1), status("t1", v1.TaskState_TASK_FINISHED, 2))
	if acked(effects) != 2 || len(forwarded(effects)) != 1 {
		t.Fatalf("with SUBSCRIBE\n%s", render(effects))
	}
	effects = r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 3))
	if acked(effects) != 1 || len(forwarded(effects)) != 0 {
		t.Fatalf("after the end\n%s", render(effects))
	}
	r.ack("t1", uuid(2))
	effects = r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 4))
	if acked(effects) != 1 || len(forwarded(effects)) != 0 {
		t.Fatalf("after the last acknowledgement\n%s", render(effects))
	}
	effects = r.update("t1", status("never", v1.TaskState_TASK_RUNNING, 5))
	if len(forwarded(effects)) != 1 {
		t.Fatalf("of an unknown task\n%s", render(effects))
	}
}

// EXE-139: the master hears of the end of a task when the container has let go of its resources.
func TestTerminalUpdateWaitsForLimits(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	r.update("e1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	r.ack("t1", uuid(1))
	effects := r.update("e1", status("t1", v1.TaskState_TASK_FINISHED, 2))
	if u := one[Update](t, effects); u.Limits.CPUs != 100 {
		t.Errorf("limits %+v", u.Limits)
	}
	if len(forwarded(effects)) != 0 || len(events(effects, v1executor.Event_ACKNOWLEDGED)) != 1 {
		t.Fatalf("effects\n%s", render(effects))
	}
	if got := forwarded(r.step(ContainerUpdated{ID: spec.ID})); len(got) != 1 {
		t.Fatalf("forwarded %v", got)
	}
}

// EXE-135: a container that cannot be resized is destroyed.
func TestUpdateFailure(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true, partitionAware), "e1", 1, customTask("t1", "e1"))
	r.run(frameworkInfo(true, partitionAware), customTask("t2", "e1"))
	one[Destroy](t, r.step(ContainerUpdated{ID: spec.ID, Err: "no such cgroup"}))
	effects := r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 9}})
	for _, id := range []string{"t1", "t2"} {
		expectStatus(t, effects, id, v1.TaskState_TASK_GONE, v1.TaskStatus_REASON_CONTAINER_UPDATE_FAILED.Enum(),
			"Failed to update resources for container: no such cgroup")
	}
}

// SCH-228, EXE-146, EXE-174: a task is complete, and then its executor, with the acknowledgement of
// the last update.
func TestCompletion(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_FINISHED, 1))
	effects := r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 0}})
	one[Forget](t, effects)
	v := r.a.view()
	if e := v.Frameworks[0].Executors[0]; len(e.Terminated) != 1 || e.Alive || len(v.Allocated) != 0 {
		t.Fatalf("executor %+v", e)
	}
	r.ack("t1", uuid(1))
	v = r.a.view()
	if len(v.Frameworks) != 0 || len(v.CompletedFrameworks) != 1 {
		t.Fatalf("view %+v", v)
	}
	done := v.CompletedFrameworks[0].CompletedExecutors[0]
	if len(done.Completed) != 1 || done.Completed[0].GetState() != v1.TaskState_TASK_FINISHED {
		t.Fatalf("completed %+v", done)
	}
	if got := milli(done.Resources[0].GetScalar().GetValue()); len(done.Resources) != 2 || got != 1000*overheadCPUs {
		t.Errorf("resources %v, want the executor's own", done.Resources)
	}
}

// EXE-24, EXE-30: messages go both ways, and are lost where nobody listens.
func TestMessages(t *testing.T) {
	r := newRig(t)
	message := &wire.FrameworkMessage{FrameworkId: mesos.FrameworkID("F").Proto(), ExecutorId: mesos.ExecutorID("e1").Proto(), Data: []byte("ping")}
	if effects := r.master(message); len(all[Send](effects)) != 0 {
		t.Fatal("sent to nobody")
	}
	r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	if got := events(r.master(message), v1executor.Event_MESSAGE); len(got) != 1 || string(got[0].GetMessage().GetData()) != "ping" {
		t.Fatalf("MESSAGE %v", got)
	}
	c := call("e1", v1executor.Call_MESSAGE)
	c.Message = &v1executor.Call_Message{Data: []byte("pong")}
	effects := r.call(0, c)
	if code, _ := answered(t, effects); code != 202 {
		t.Fatalf("answered %d", code)
	}
	if m := one[SendMaster](t, effects).Message.GetExecutorMessage(); string(m.GetData()) != "pong" || m.GetExecutorId().GetValue() != "e1" {
		t.Fatalf("message %v", m)
	}
	r.step(MasterDisconnected{})
	if effects := r.call(0, c); len(all[SendMaster](effects)) != 0 {
		t.Fatal("sent without a master")
	}
}

// SCH-236: views keep the newest of equal states, without data.
func TestViewOfStatuses(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	for n, state := range []v1.TaskState{v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING, v1.TaskState_TASK_RUNNING} {
		s := status("t1", state, byte(n+1))
		s.Data = []byte("payload")
		if got := forwarded(r.update("t1", s)); n == 0 && !bytes.Equal(got[0].GetData(), s.Data) {
			t.Error("the framework does not get the data")
		}
	}
	task := r.a.view().Frameworks[0].Executors[0].Launched[0]
	if len(task.Statuses) != 2 || !bytes.Equal(task.Statuses[1].GetUuid(), uuid(3)) || task.Statuses[1].Data != nil {
		t.Fatalf("statuses %v", task.Statuses)
	}
}

// An executor may send thousands of updates: memory and checkpoint stay bounded.
func TestAcknowledgedUpdatesAreBounded(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	for n := range 3 * maxAcknowledged {
		s := status("t1", v1.TaskState_TASK_RUNNING, byte(n))
		s.Uuid[14] = byte(n >> 8)
		r.update("t1", s)
		r.ack("t1", s.Uuid)
	}
	if n := len(r.kv); n > maxAcknowledged+10 {
		t.Errorf("%d keys are stored", n)
	}
}

// EXE-123: updates of the agent's own are retried like those of executors.
func TestAgentUpdateIsRetried(t *testing.T) {
	r := newRig(t)
	r.run(frameworkInfo(true), commandTask("t1", "x"))
	first := forwarded(r.kill("t1", nil))
	again := forwarded(r.after(10 * time.Second))
	if len(first) != 1 || len(again) != 1 || !proto.Equal(first[0], again[0]) || first[0].GetSource() != v1.TaskStatus_SOURCE_AGENT {
		t.Fatalf("first %v, again %v", first, again)
	}
}
