package agent

import (
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"

	"google.golang.org/protobuf/proto"
)

// EXE-132, EXE-133, EXE-134, EXE-145, EXE-157, EXE-198, SCH-259: what becomes of a live task when its
// container ends.
func TestContainerExit(t *testing.T) {
	terminatedReason := v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum()
	oom := &Limitation{
		Reason: v1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY, Message: "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB",
		Resources: []*v1.Resource{scalarResource("mem", 64, "")},
	}
	full := &Limitation{
		Reason: v1.TaskStatus_REASON_CONTAINER_LIMITATION_DISK, Message: "Disk usage (65544KB) exceeds quota (16MB)",
		Resources: []*v1.Resource{scalarResource("disk", 16, "")},
	}
	for _, c := range []struct {
		name    string
		custom  bool
		kill    bool
		exit    Exit
		state   v1.TaskState
		reason  *v1.TaskStatus_Reason
		message string
	}{
		{"command exits 0 unheard", false, false, Exit{Status: 0}, v1.TaskState_TASK_FINISHED, nil, "Command exited with status 0"},
		{"command exits 3 unheard", false, false, Exit{Status: 768}, v1.TaskState_TASK_FAILED, nil, "Command exited with status 3"},
		{"command segfaults unheard", false, false, Exit{Status: 139}, v1.TaskState_TASK_FAILED, nil, "Command terminated with signal Segmentation fault (core dumped)"},
		{"command killed unheard", false, true, Exit{Status: 15}, v1.TaskState_TASK_KILLED, nil, "Command terminated with signal Terminated"},
		{"command's end is unknown", false, false, Exit{Status: -1}, v1.TaskState_TASK_FAILED, terminatedReason, "Executor terminated"},
		{"command killed, end unknown", false, true, Exit{Status: -1}, v1.TaskState_TASK_KILLED, nil, "Executor terminated"},
		{"command with a cause", false, false, Exit{Status: -1, Message: "unknown container"}, v1.TaskState_TASK_FAILED, terminatedReason, "Abnormal executor termination: unknown container"},
		{"command whose shim was killed", false, false, Exit{Status: 9, Message: "no exit record"}, v1.TaskState_TASK_FAILED, terminatedReason, "Abnormal executor termination: no exit record"},
		{"command out of memory", false, false, Exit{Status: 9, Limitation: oom}, v1.TaskState_TASK_FAILED, oom.Reason.Enum(), oom.Message},
		{"command with a full disk", false, false, Exit{Status: 9, Limitation: full}, v1.TaskState_TASK_FAILED, full.Reason.Enum(), full.Message},
		{"custom exits 0", true, false, Exit{Status: 0}, v1.TaskState_TASK_FAILED, terminatedReason, "Executor terminated"},
		{"custom exits 5", true, false, Exit{Status: 1280}, v1.TaskState_TASK_FAILED, terminatedReason, "Executor terminated: exited with status 5"},
		{"custom killed", true, true, Exit{Status: 9}, v1.TaskState_TASK_FAILED, terminatedReason, "Executor terminated: terminated with signal Killed"},
		{"custom out of memory", true, false, Exit{Status: 9, Limitation: oom}, v1.TaskState_TASK_FAILED, oom.Reason.Enum(), oom.Message},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			task := commandTask("t1", "x")
			if c.custom {
				task = customTask("t1", "t1")
			}
			spec := r.start(frameworkInfo(true, partitionAware), "t1", 1, task)
			r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
			r.ack("t1", uuid(1))
			if c.kill {
				r.kill("t1", nil)
			}
			effects := r.step(ContainerExited{ID: spec.ID, Exit: c.exit})
			s := expectStatus(t, effects, "t1", c.state, c.reason, c.message)
			if s.GetSource() != v1.TaskStatus_SOURCE_AGENT || s.ContainerStatus != nil {
				t.Errorf("status %v", s)
			}
			if (c.exit.Limitation != nil) != (s.Limitation != nil) {
				t.Errorf("limitation %v", s.Limitation)
			}
			checkFailure(t, effects, c.custom, int32(c.exit.Status))
			one[Forget](t, effects)
			one[CloseStream](t, effects)
			if more := r.step(ContainerExited{ID: spec.ID, Exit: c.exit}); len(forwarded(more)) != 0 {
				t.Error("a second exit counts")
			}
		})
	}
}

// checkFailure wants ExecutorExited for custom executors only, before the updates.
func checkFailure(t *testing.T, effects []Effect, custom bool, status int32) {
	t.Helper()
	updated, exited := false, 0
	for _, s := range all[SendMaster](effects) {
		updated = updated || s.Message.GetStatusUpdate() != nil
		if x := s.Message.GetExecutorExited(); x != nil {
			exited++
			if updated || x.GetStatus() != status {
				t.Errorf("%v, after an update: %v", x, updated)
			}
		}
	}
	if (exited == 1) != custom {
		t.Errorf("%d ExecutorExited", exited)
	}
}

// EXE-131: the time counts from the launch.
func TestRegistrationTimeout(t *testing.T) {
	r := newRig(t)
	spec := one[Launch](t, r.run(frameworkInfo(true), customTask("t1", "e1"))).Spec
	r.now = r.now.Add(30 * time.Second)
	r.step(ContainerLaunched{ID: spec.ID, Pid: 1})
	if len(all[Destroy](r.after(30*time.Second-1))) != 0 {
		t.Fatal("destroyed early")
	}
	one[Destroy](t, r.after(1))
	effects := r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 9}})
	expectStatus(t, effects, "t1", v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_EXECUTOR_REGISTRATION_TIMEOUT.Enum(),
		"Executor did not register within 1mins")
	checkFailure(t, effects, true, 9)
}

// EXE-140: a custom executor is believed; its other tasks go on.
func TestCustomExecutorIsBelieved(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"), customTask("t2", "e1"))
	r.step(ContainerUpdated{ID: spec.ID})
	r.update("e1", status("t2", v1.TaskState_TASK_RUNNING, 1))
	r.update("e1", status("t1", v1.TaskState_TASK_LOST, 2))
	if got := forwarded(r.step(ContainerUpdated{ID: spec.ID})); len(got) != 1 || got[0].GetState() != v1.TaskState_TASK_LOST {
		t.Fatalf("forwarded %v", got)
	}
	if s := r.a.framework("F").task("t2").view.GetState(); s != v1.TaskState_TASK_RUNNING {
		t.Errorf("t2 is %s", s)
	}
}

// Every pair of executor state and event: what is listed happens, anything else changes nothing.
func TestExecutorStates(t *testing.T) {
	const custom = "e1"
	reach := map[string]func(*rig) LaunchSpec{
		"launching": func(r *rig) LaunchSpec {
			return one[Launch](r.t, r.run(frameworkInfo(true), customTask("t1", custom))).Spec
		},
		"registering": func(r *rig) LaunchSpec {
			spec := one[Launch](r.t, r.run(frameworkInfo(true), customTask("t1", custom))).Spec
			r.step(ContainerLaunched{ID: spec.ID, Pid: 100})
			return spec
		},
		"running": func(r *rig) LaunchSpec {
			return r.start(frameworkInfo(true), custom, 1, customTask("t1", custom))
		},
		"terminating": func(r *rig) LaunchSpec {
			spec := r.start(frameworkInfo(true), custom, 1, customTask("t1", custom))
			r.master(shutdownExecutor(custom))
			return spec
		},
		"destroyed": func(r *rig) LaunchSpec {
			spec := r.start(frameworkInfo(true), custom, 1, customTask("t1", custom))
			r.master(shutdownExecutor(custom))
			r.after(5 * time.Second)
			return spec
		},
		"terminated": func(r *rig) LaunchSpec {
			spec := r.start(frameworkInfo(true), custom, 1, customTask("t1", custom))
			r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 0}})
			return spec
		},
	}
	events := map[string]func(*rig, LaunchSpec) []Effect{
		"launched": func(r *rig, s LaunchSpec) []Effect { return r.step(ContainerLaunched{ID: s.ID, Pid: 100}) },
		"failed":   func(r *rig, s LaunchSpec) []Effect { return r.step(LaunchFailed{ID: s.ID, Message: "m"}) },
		"subscribes": func(r *rig, s LaunchSpec) []Effect {
			return r.subscribe(custom, 2, []*v1.TaskInfo{customTask("t1", custom)})
		},
		"closes":    func(r *rig, s LaunchSpec) []Effect { return r.step(ExecutorClosed{Stream: 1}) },
		"shutdown":  func(r *rig, s LaunchSpec) []Effect { return r.master(shutdownExecutor(custom)) },
		"exits":     func(r *rig, s LaunchSpec) []Effect { return r.step(ContainerExited{ID: s.ID, Exit: Exit{Status: 0}}) },
		"times out": func(r *rig, s LaunchSpec) []Effect { r.master(ping()); return r.after(time.Minute) },
	}
	want := map[string]string{
		"launching subscribes":   "RUNNING",
		"launching failed":       "TERMINATED",
		"launching shutdown":     "TERMINATING",
		"launching exits":        "TERMINATED",
		"launching times out":    "TERMINATING",
		"registering failed":     "TERMINATED",
		"registering subscribes": "RUNNING",
		"registering shutdown":   "TERMINATING",
		"registering exits":      "TERMINATED",
		"registering times out":  "TERMINATING",
		"running failed":         "TERMINATED",
		"running shutdown":       "TERMINATING",
		"running exits":          "TERMINATED",
		"terminating failed":     "TERMINATED",
		"terminating exits":      "TERMINATED",
		"destroyed failed":       "TERMINATED",
		"destroyed exits":        "TERMINATED",
	}
	for state, prepare := range reach {
		for event, happen := range events {
			t.Run(state+" "+event, func(t *testing.T) {
				r := newRig(t)
				spec := prepare(r)
				before := r.a.framework("F").executor(custom).state.String()
				effects := happen(r, spec)
				got := r.a.framework("F").executor(custom).state.String()
				expected := want[state+" "+event]
				if expected == "" {
					expected = before
				}
				if got != expected {
					t.Errorf("%s, want %s\n%s", got, expected, render(effects))
				}
				if n := len(all[Destroy](effects)); n > 1 || state == "destroyed" && n > 0 {
					t.Errorf("%d times destroyed", n)
				}
			})
		}
	}
}

// Every pair of a task's state and an executor's update: only the first terminal state ends it.
func TestTaskStates(t *testing.T) {
	for _, from := range v1.TaskState_name {
		for _, to := range v1.TaskState_name {
			a, b := v1.TaskState(v1.TaskState_value[from]), v1.TaskState(v1.TaskState_value[to])
			if a == v1.TaskState_TASK_STAGING || b == v1.TaskState_TASK_STAGING {
				continue // refused: TestCallRefusals
			}
			r := newRig(t)
			r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
			r.update("t1", status("t1", a, 1))
			effects := r.update("t1", status("t1", b, 2))
			want := b
			if mesos.Terminal(a) {
				want = a
			}
			if got := r.a.framework("F").task("t1").view.GetState(); got != want {
				t.Errorf("%s then %s is %s, want %s", from, to, got, want)
			}
			if len(events(effects, v1executor.Event_ACKNOWLEDGED)) != 1 {
				t.Errorf("%s then %s is not acknowledged", from, to)
			}
		}
	}
}

// The names of golden 02's agent metrics.
func TestMetricNames(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	m := r.a.metricValues()
	for name, want := range map[string]float64{
		"slave/executors_running": 1, "slave/tasks_running": 1, "slave/registered": 1, "slave/frameworks_active": 1,
		"slave/cpus_total": 4, "slave/cpus_used": 0.6, "slave/cpus_percent": 0.15, "slave/mem_used": 64,
		"slave/cpus_revocable_total": 0, "slave/valid_status_updates": 1,
		"slave/executor_directory_max_allowed_age_secs": 544320,
	} {
		if got, ok := m[name]; !ok || got != want {
			t.Errorf("%s is %v, want %v", name, got, want)
		}
	}
	if v := r.a.view(); len(v.Allocated) != 2 || !proto.Equal(v.Allocated[0], scalarResource("cpus", 0.6, "*")) {
		t.Errorf("allocated %v", v.Allocated)
	}
}
