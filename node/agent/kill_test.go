package agent

import (
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// EXE-28, EXE-137, EXE-138, SCH-216, SCH-217, SCH-218: KILL in every phase of a task's life. Each row
// brings a task into one phase; what is not listed for it must not happen.
func TestKillInEveryPhase(t *testing.T) {
	f := frameworkInfo(true, partitionAware)
	during := v1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH.Enum()
	const text = "Killed before delivery to the executor"
	for _, c := range []struct {
		phase   string
		reach   func(*rig)
		killed  bool // by the agent
		sent    int  // KILL events
		ended   bool // the executor is shut down or not started
		dropped bool // Cannot find executor
	}{
		{phase: "unknown task", reach: func(r *rig) { r.start(f, "e1", 1, customTask("other", "e1")) }, dropped: true},
		{phase: "checkpoint under way", reach: func(r *rig) { r.hold = true; r.run(f, customTask("t1", "e1")) }, killed: true, ended: true},
		{phase: "container launching", reach: func(r *rig) { r.run(f, customTask("t1", "e1")) }, killed: true},
		{phase: "executor not subscribed", reach: func(r *rig) {
			spec := one[Launch](r.t, r.run(f, customTask("t1", "e1"))).Spec
			r.step(ContainerLaunched{ID: spec.ID, Pid: 1})
		}, killed: true},
		{phase: "limits being raised", reach: func(r *rig) {
			r.start(f, "e1", 1, customTask("other", "e1"))
			r.run(f, customTask("t1", "e1"))
		}, killed: true},
		{phase: "delivery being stored", reach: func(r *rig) {
			spec := r.start(f, "e1", 1, customTask("other", "e1"))
			r.run(f, customTask("t1", "e1"))
			r.hold = true
			r.step(ContainerUpdated{ID: spec.ID})
		}, killed: true},
		{phase: "delivered", reach: func(r *rig) { r.start(f, "e1", 1, customTask("t1", "e1")) }, sent: 1},
		{phase: "running", reach: func(r *rig) {
			r.start(f, "e1", 1, customTask("t1", "e1"))
			r.update("e1", status("t1", v1.TaskState_TASK_RUNNING, 1))
			r.ack("t1", uuid(1))
		}, sent: 1},
		{phase: "executor disconnected", reach: func(r *rig) {
			r.start(f, "e1", 1, customTask("t1", "e1"))
			r.step(ExecutorClosed{Stream: 1})
		}},
		{phase: "terminal", reach: func(r *rig) {
			spec := r.start(f, "e1", 1, customTask("t1", "e1"))
			r.update("e1", status("t1", v1.TaskState_TASK_FINISHED, 1))
			r.step(ContainerUpdated{ID: spec.ID})
		}},
		{phase: "executor terminating", reach: func(r *rig) {
			r.start(f, "e1", 1, customTask("t1", "e1"))
			r.master(shutdownExecutor("e1"))
		}},
	} {
		t.Run(c.phase, func(t *testing.T) {
			r := newRig(t)
			c.reach(r)
			effects := r.kill("t1", nil)
			effects = append(effects, r.commit()...)
			switch {
			case c.dropped:
				expectStatus(t, effects, "t1", v1.TaskState_TASK_DROPPED, v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(), "Cannot find executor")
			case c.killed:
				expectStatus(t, effects, "t1", v1.TaskState_TASK_KILLED, during, text)
			case len(forwarded(effects)) != 0:
				t.Errorf("forwarded %v", forwarded(effects))
			}
			kills := events(effects, v1executor.Event_KILL)
			if len(kills) != c.sent {
				t.Errorf("KILL events: %v", kills)
			}
			for _, e := range kills {
				if e.GetKill().KillPolicy != nil {
					t.Error("a kill policy that nobody gave")
				}
			}
			if c.ended && len(all[Launch](effects)) != 0 {
				t.Error("launched for nothing")
			}
			for _, e := range events(effects, v1executor.Event_LAUNCH) {
				if e.GetLaunch().GetTask().GetTaskId().GetValue() == "t1" {
					t.Error("delivered after its kill")
				}
			}
		})
	}
}

// EXE-19, EXE-138, EXE-142: an executor whose only task was killed before delivery ends as soon as
// it subscribes.
func TestExecutorWithNothingToDo(t *testing.T) {
	r := newRig(t)
	spec := one[Launch](t, r.run(frameworkInfo(true), customTask("t1", "e1"))).Spec
	s := forwarded(r.kill("t1", nil))[0]
	r.ack("t1", s.Uuid)
	r.step(ContainerLaunched{ID: spec.ID, Pid: 1})
	r.step(ContainerUpdated{ID: spec.ID})
	effects := r.subscribe("e1", 1, nil)
	if len(events(effects, v1executor.Event_SHUTDOWN)) != 1 {
		t.Fatalf("effects\n%s", render(effects))
	}
	one[Destroy](t, r.after(5*time.Second))
}

// EXE-19: an executor that had a task before is left alone.
func TestIdleExecutorIsLeftAlone(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	r.update("e1", status("t1", v1.TaskState_TASK_FINISHED, 1))
	r.step(ContainerUpdated{ID: spec.ID})
	r.ack("t1", uuid(1))
	if got := events(r.subscribe("e1", 2, nil), v1executor.Event_SHUTDOWN); len(got) != 0 {
		t.Fatal("shut down")
	}
	r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Pid: 100}})
	if got := events(r.subscribe("e1", 3, nil), v1executor.Event_SHUTDOWN); len(got) != 0 {
		t.Fatal("shut down after recovery")
	}
}

// EXE-28, SCH-217: the newest policy goes to the executor, and is not lost with its connection or
// with the agent.
func TestKillIsRemembered(t *testing.T) {
	policy := &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(7e9)}}
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	r.step(ExecutorClosed{Stream: 1})
	r.kill("t1", policy)
	check := func(effects []Effect) {
		t.Helper()
		got := events(effects, v1executor.Event_KILL)
		if len(got) != 1 || !proto.Equal(got[0].GetKill().GetKillPolicy(), policy) {
			t.Fatalf("KILL %v", got)
		}
	}
	check(r.subscribe("t1", 2, nil))
	r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Pid: 100}})
	check(r.subscribe("t1", 3, nil))
}

// EXE-143, EXE-144, EXE-145, SCH-219
func TestShutdownExecutor(t *testing.T) {
	task := customTask("t1", "e1")
	task.Executor.ShutdownGracePeriod = &v1.DurationInfo{Nanoseconds: proto.Int64(2e9)}
	for _, c := range []struct {
		name      string
		task      *v1.TaskInfo
		grace     time.Duration
		connected bool
	}{
		{"agent's grace", customTask("t1", "e1"), 5 * time.Second, true},
		{"its own grace", task, 2 * time.Second, true},
		{"not connected", customTask("t1", "e1"), 5 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			spec := r.start(frameworkInfo(true), "e1", 1, c.task)
			if !c.connected {
				r.step(ExecutorClosed{Stream: 1})
			}
			effects := r.master(shutdownExecutor("e1"))
			if got := len(events(effects, v1executor.Event_SHUTDOWN)); (got == 1) != c.connected {
				t.Fatalf("%d SHUTDOWN events", got)
			}
			if got := all[Destroy](r.after(c.grace - time.Nanosecond)); len(got) != 0 {
				t.Fatal("destroyed before the grace was over")
			}
			one[Destroy](t, r.after(time.Nanosecond))
			effects = r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 9}})
			expectStatus(t, effects, "t1", v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(),
				"Executor terminated: terminated with signal Killed")
		})
	}
}

// EXE-16: an executor that subscribes while it is to end hears SHUTDOWN and no more.
func TestSubscribeWhileTerminating(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	r.step(ExecutorClosed{Stream: 1})
	r.master(shutdownExecutor("e1"))
	effects := r.subscribe("e1", 2, nil, status("t1", v1.TaskState_TASK_KILLED, 1))
	if got := all[Send](effects); len(got) != 1 || got[0].Event.GetType() != v1executor.Event_SHUTDOWN {
		t.Fatalf("effects\n%s", render(effects))
	}
	one[CloseStream](t, effects)
	if r.a.frameworks[0].task("t1").view.GetState() != v1.TaskState_TASK_KILLED {
		t.Error("what it reported with SUBSCRIBE is lost")
	}
}

// EXE-145, EXE-174, SCH-89: a removed framework's executors end without updates.
func TestShutdownFramework(t *testing.T) {
	r := newRig(t)
	custom := r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	command := r.start(frameworkInfo(true), "t2", 2, commandTask("t2", "x"))
	r.run(frameworkInfo(true), commandTask("t3", "x"))
	effects := r.master(&wire.ShutdownFramework{FrameworkId: mesos.FrameworkID("F").Proto()})
	if got := events(effects, v1executor.Event_SHUTDOWN); len(got) != 2 {
		t.Fatalf("effects\n%s", render(effects))
	}
	effects = r.update("t2", status("t2", v1.TaskState_TASK_KILLED, 9))
	if len(events(effects, v1executor.Event_ACKNOWLEDGED)) != 1 {
		t.Error("the executor waits for its acknowledgement")
	}
	if s := r.a.framework("F").executor("t2").tasks[0].view.GetStatuses(); s[len(s)-1].GetContainerStatus() == nil {
		t.Errorf("the last status is incomplete: %v", s)
	}
	effects = append(effects, r.step(ContainerExited{ID: command.ID, Exit: Exit{Status: 15}})...)
	effects = append(effects, r.run(frameworkInfo(true), commandTask("t4", "x"))...)
	destroyed := r.after(5 * time.Second)
	if got := all[Destroy](destroyed); len(got) != 2 {
		t.Fatalf("destroyed %v", got)
	}
	for _, d := range all[Destroy](destroyed) {
		effects = append(effects, r.step(ContainerExited{ID: d.ID, Exit: Exit{Status: 9}})...)
	}
	if got := all[SendMaster](effects); len(got) != 0 {
		t.Errorf("the master is told\n%s", render(effects))
	}
	if len(all[Launch](effects)) != 0 {
		t.Error("launched for a removed framework")
	}
	if len(r.a.frameworks) != 0 || len(r.a.view().CompletedFrameworks) != 1 {
		t.Error("the framework is still there")
	}
	_ = custom
}

// EXE-164: SIGUSR1.
func TestLeave(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	effects := r.step(Leave{})
	if one[SendMaster](t, effects).Message.GetUnregister() == nil || len(events(effects, v1executor.Event_SHUTDOWN)) != 1 {
		t.Fatalf("effects\n%s", render(effects))
	}
	effects = append(r.step(MasterDisconnected{}), r.step(MasterConnected{})...)
	effects = append(effects, r.update("t1", status("t1", v1.TaskState_TASK_KILLED, 1))...)
	if len(all[Shutdown](effects)) != 0 {
		t.Fatal("ended before the container")
	}
	if back := all[SendMaster](effects); len(back) != 0 {
		t.Errorf("came back to the master it had left\n%s", render(effects))
	}
	if end := one[Shutdown](t, r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 15}})); end.Error {
		t.Errorf("end %+v", end)
	}
	if r.kv["info"] == nil {
		t.Error("the id is lost")
	}
}

// EXE-150, EXE-164: SIGTERM.
func TestStop(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	g := frameworkInfo(false)
	g.Id = mesos.FrameworkID("G").Proto()
	spec := one[Launch](t, r.run(g, commandTask("t2", "x"))).Spec
	effects := r.step(Stop{})
	if d := one[Destroy](t, effects); d.ID != spec.ID || len(all[Shutdown](effects)) != 0 {
		t.Fatalf("effects\n%s", render(effects))
	}
	one[Shutdown](t, r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 9}}))
	if _, ok := r.a.Deadline(); ok {
		t.Error("an ended agent has a deadline")
	}
}

// EXE-165: told to end, the agent forgets its id.
func TestDismissed(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	effects := r.master(&wire.Shutdown{Message: proto.String("marked gone")})
	if len(events(effects, v1executor.Event_SHUTDOWN)) != 1 {
		t.Fatalf("effects\n%s", render(effects))
	}
	one[Shutdown](t, r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 15}}))
	for key := range r.kv {
		if key == "info" || key[:3] != "gc/" {
			t.Errorf("key %s is left", key)
		}
	}
}

// EXE-15, EXE-19: an executor that subscribes anew without the task that it was sent loses the task,
// but was sent one: it is not shut down. A built-in one gets its task again, unless it was killed.
func TestResubscribedExecutorIsLeftAlone(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true, partitionAware), "e1", 1, customTask("t1", "e1"))
	effects := append(r.subscribe("e1", 2, nil), r.step(ContainerUpdated{ID: spec.ID})...)
	expectStatus(t, effects, "t1", v1.TaskState_TASK_DROPPED, v1.TaskStatus_REASON_AGENT_RESTARTED.Enum(), "Task launched during agent restart")
	if got := events(effects, v1executor.Event_SHUTDOWN); len(got) != 0 {
		t.Error("shut down")
	}

	r = newRig(t)
	r.start(frameworkInfo(true), "c1", 1, commandTask("c1", "x"))
	r.step(ExecutorClosed{Stream: 1})
	r.kill("c1", nil)
	if got := events(r.subscribe("c1", 2, nil), v1executor.Event_SHUTDOWN); len(got) != 1 {
		t.Error("a built-in executor is kept without a task")
	}
}
