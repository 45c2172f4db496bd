package agent

import (
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"

	"google.golang.org/protobuf/proto"
)

// EXE-3, EXE-5, EXE-6, EXE-8, EXE-21: codes and texts, in the order in which faults are found.
func TestCallRefusals(t *testing.T) {
	good := func() *v1executor.Call {
		c := call("e1", v1executor.Call_UPDATE)
		c.Update = &v1executor.Call_Update{Status: status("t1", v1.TaskState_TASK_RUNNING, 1)}
		return c
	}
	with := func(change func(*v1executor.Call, *v1.TaskStatus)) *v1executor.Call {
		c := good()
		change(c, c.Update.Status)
		return c
	}
	const invalid = "Failed to validate Executor::Call: "
	for _, c := range []struct {
		name string
		call *v1executor.Call
		code int
		body string
	}{
		{"good", good(), 202, ""},
		{"no uuid", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.Uuid = nil }), 400, invalid + "Expecting 'uuid' to be present"},
		{"short uuid", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.Uuid = []byte("x") }), 400, invalid + "Not a valid UUID"},
		{"zero uuid", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.Uuid = make([]byte, 16) }), 400, invalid + "Not a valid UUID"},
		{"no source", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.Source = nil }), 400,
			invalid + "Received Call from executor e1 of framework F with invalid source, expecting 'SOURCE_EXECUTOR'"},
		{"source", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.Source = v1.TaskStatus_SOURCE_AGENT.Enum() }), 400,
			invalid + "Received Call from executor e1 of framework F with invalid source, expecting 'SOURCE_EXECUTOR'"},
		{"staging", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.State = v1.TaskState_TASK_STAGING.Enum() }), 400,
			invalid + "Received TASK_STAGING from executor e1 of framework F which is not allowed"},
		{"executor", with(func(_ *v1executor.Call, s *v1.TaskStatus) { s.ExecutorId = mesos.ExecutorID("x").Proto() }), 400,
			invalid + "ExecutorID in Call: e1 does not match ExecutorID in TaskStatus: x"},
		{"check without result", with(func(_ *v1executor.Call, s *v1.TaskStatus) {
			s.CheckStatus = &v1.CheckStatusInfo{Type: v1.CheckInfo_COMMAND.Enum()}
		}), 400, invalid + "Expecting 'command' to be set for COMMAND check's status"},
		{"check with empty result", with(func(_ *v1executor.Call, s *v1.TaskStatus) {
			s.Uuid = uuid(2)
			s.CheckStatus = &v1.CheckStatusInfo{Type: v1.CheckInfo_TCP.Enum(), Tcp: &v1.CheckStatusInfo_Tcp{}}
		}), 202, ""},
		{"check that has not run", with(func(_ *v1executor.Call, s *v1.TaskStatus) {
			s.Uuid, s.CheckStatus = uuid(2), &v1.CheckStatusInfo{}
		}), 202, ""},
		{"framework", with(func(c *v1executor.Call, _ *v1.TaskStatus) { c.FrameworkId = mesos.FrameworkID("G").Proto() }), 400, "Framework cannot be found"},
		{"unknown executor", with(func(c *v1executor.Call, _ *v1.TaskStatus) { c.ExecutorId = mesos.ExecutorID("x").Proto() }), 400, "Executor cannot be found"},
		{"not subscribed", with(func(c *v1executor.Call, _ *v1.TaskStatus) { c.ExecutorId = mesos.ExecutorID("e2").Proto() }), 403, "Executor is not subscribed"},
		{"unknown type", call("e1", v1executor.Call_UNKNOWN), 501, "501 Not Implemented."},
		{"unknown type, unknown executor", call("x", v1executor.Call_UNKNOWN), 400, "Executor cannot be found"},
		{"heartbeat of nobody", call("x", v1executor.Call_HEARTBEAT), 202, ""},
		{"SUBSCRIBE with a bad update", func() *v1executor.Call {
			c := call("e1", v1executor.Call_SUBSCRIBE)
			c.Subscribe = &v1executor.Call_Subscribe{UnacknowledgedUpdates: []*v1executor.Call_Update{{Status: &v1.TaskStatus{
				TaskId: mesos.TaskID("t1").Proto(), State: v1.TaskState_TASK_RUNNING.Enum()}}}}
			return c
		}(), 400, invalid + "Expecting 'uuid' to be present"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
			r.run(frameworkInfo(true), customTask("t2", "e2"))
			if code, body := answered(t, r.call(9, c.call)); code != c.code || body != c.body {
				t.Errorf("answered %d %q, want %d %q", code, body, c.code, c.body)
			}
		})
	}
}

// EXE-3: 503 before Recovered for every call, after it for all but SUBSCRIBE until the executors
// are back.
func TestCallsDuringRecovery(t *testing.T) {
	r := newRig(t)
	one1 := r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	two := r.start(frameworkInfo(true), "e2", 2, customTask("t2", "e2"))
	saved, err := LoadCheckpoint(r.kv)
	if err != nil {
		t.Fatal(err)
	}
	r.cfg.Checkpoint = saved
	r.a = New(r.cfg, r.now)
	for _, kind := range []v1executor.Call_Type{v1executor.Call_SUBSCRIBE, v1executor.Call_MESSAGE, v1executor.Call_HEARTBEAT} {
		if code, body := answered(t, r.call(3, call("e1", kind))); code != 503 || body != notRecovered {
			t.Errorf("%s before Recovered: %d %q", kind, code, body)
		}
	}
	if !r.a.view().Recovering {
		t.Error("the view does not say that the agent recovers")
	}
	r.step(Recovered{Containers: map[mesos.ContainerID]ContainerState{one1.ID: {Pid: 1}, two.ID: {Pid: 2}}})
	arrived := []*v1.TaskInfo{customTask("t1", "e1")}
	if code, _ := answered(t, r.subscribe("e1", 4, arrived)); code != 200 {
		t.Errorf("SUBSCRIBE: %d", code)
	}
	if code, body := answered(t, r.call(0, call("e1", v1executor.Call_MESSAGE))); code != 503 || body != notRecovered {
		t.Errorf("MESSAGE while waiting: %d %q", code, body)
	}
	r.subscribe("e2", 5, []*v1.TaskInfo{customTask("t2", "e2")})
	if code, _ := answered(t, r.update("e1", status("t1", v1.TaskState_TASK_RUNNING, 1))); code != 202 {
		t.Errorf("UPDATE after recovery: %d", code)
	}
}

// EXE-15: the newest connection wins.
func TestNewestConnectionWins(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	effects := r.subscribe("e1", 2, []*v1.TaskInfo{customTask("t1", "e1")})
	if c := one[CloseStream](t, effects); c.Stream != 1 {
		t.Fatalf("closed %d", c.Stream)
	}
	r.step(ExecutorClosed{Stream: 1})
	if got := events(r.kill("t1", nil), v1executor.Event_KILL); len(got) != 1 {
		t.Fatal("the end of the old stream was taken for that of the new one")
	}
}

// EXE-20: golden 40.
func TestSubscribed(t *testing.T) {
	r := newRig(t)
	f := frameworkInfo(true)
	spec := one[Launch](t, r.run(f, customTask("t1", "e1"))).Spec
	r.step(ContainerLaunched{ID: spec.ID, Pid: 1})
	effects := r.subscribe("e1", 1, nil)
	first := all[Send](effects)[0].Event
	s := first.GetSubscribed()
	if first.GetType() != v1executor.Event_SUBSCRIBED || !proto.Equal(s.GetFrameworkInfo(), f) ||
		s.GetContainerId().GetValue() != string(spec.ID) || s.GetAgentInfo().GetId().GetValue() != "S0" ||
		s.GetExecutorInfo().GetExecutorId().GetValue() != "e1" || s.GetExecutorInfo().GetFrameworkId().GetValue() != "F" {
		t.Fatalf("first event %v", first)
	}
}

// EXE-18: a custom task that was sent but did not arrive is dropped, a command task is sent again.
func TestTasksThatDidNotArrive(t *testing.T) {
	for _, c := range []struct {
		name   string
		aware  bool
		task   *v1.TaskInfo
		knows  bool
		state  v1.TaskState
		launch int
	}{
		{"custom", true, customTask("t1", "e1"), false, v1.TaskState_TASK_DROPPED, 0},
		{"custom, not partition aware", false, customTask("t1", "e1"), false, v1.TaskState_TASK_LOST, 0},
		{"custom, arrived", true, customTask("t1", "e1"), true, v1.TaskState_TASK_STAGING, 0},
		{"command", true, commandTask("e1", "x"), false, v1.TaskState_TASK_STAGING, 1},
		{"command, arrived", true, commandTask("e1", "x"), true, v1.TaskState_TASK_STAGING, 0},
	} {
		for _, restart := range []bool{false, true} {
			name := c.name
			if restart {
				name += ", restarted"
			}
			t.Run(name, func(t *testing.T) {
				r := newRig(t)
				f := frameworkInfo(true)
				if c.aware {
					f = frameworkInfo(true, partitionAware)
				}
				spec := r.start(f, "e1", 1, c.task)
				if restart {
					r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Pid: 100}})
				}
				var known []*v1.TaskInfo
				if c.knows {
					known = append(known, c.task)
				}
				effects := r.subscribe("e1", 2, known)
				if restart {
					effects = append(effects, r.register()...)
				}
				id := c.task.GetTaskId().GetValue()
				if c.state == v1.TaskState_TASK_STAGING {
					if got := forwarded(effects); len(got) != 0 {
						t.Errorf("forwarded %v", got)
					}
				} else {
					r.step(ContainerUpdated{ID: spec.ID})
					effects = append(effects, r.step(ContainerUpdated{ID: spec.ID})...)
					s := r.a.framework("F").task(mesos.TaskID(id)).view
					if s.GetState() != c.state || s.Statuses[0].GetReason() != v1.TaskStatus_REASON_AGENT_RESTARTED || s.Statuses[0].GetMessage() != "Task launched during agent restart" {
						t.Errorf("task %v", s)
					}
				}
				if got := events(effects, v1executor.Event_LAUNCH); len(got) != c.launch {
					t.Errorf("LAUNCH %v", got)
				}
			})
		}
	}
}
