package agent

import (
	"errors"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

func registerOf(effects []Effect) *wire.Register {
	for _, s := range all[SendMaster](effects) {
		if r := s.Message.GetRegister(); r != nil {
			return r
		}
	}
	return nil
}

// EXE-154, EXE-159: the agent comes back with its id, and registers when its task list is right.
func TestRegistrationWaitsForRecovery(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Pid: 100}})
	if effects := r.step(MasterConnected{}); registerOf(effects) != nil {
		t.Fatal("registered while executors are awaited")
	}
	m := registerOf(r.subscribe("t1", 2, nil))
	if m == nil {
		t.Fatal("not registered with the last executor back")
	}
	if m.GetAgent().GetId().GetValue() != "S0" || len(m.GetTasks()) != 1 || m.GetTasks()[0].GetState() != v1.TaskState_TASK_RUNNING {
		t.Fatalf("register %v", m)
	}
}

// EXE-153: the phase ends after the timeout; an executor whose processes live gets more time, and is
// destroyed after that. Built-in executors get as long as they wait for an agent themselves.
func TestReregistrationTimeout(t *testing.T) {
	r := newRig(t)
	custom := r.start(frameworkInfo(true, partitionAware), "e1", 1, customTask("t1", "e1"))
	command := r.start(frameworkInfo(true, partitionAware), "t2", 2, commandTask("t2", "x"))
	r.crash(map[mesos.ContainerID]ContainerState{custom.ID: {Pid: 100}, command.ID: {Pid: 100}})
	r.step(MasterConnected{})
	if registerOf(r.after(2*time.Second-1)) != nil {
		t.Fatal("registered early")
	}
	if m := registerOf(r.after(1)); m == nil || len(m.GetTasks()) != 2 {
		t.Fatalf("register %v", m)
	}
	r.register()
	if d := one[Destroy](t, r.after(8*time.Second)); d.ID != custom.ID {
		t.Fatalf("destroyed %v", d)
	}
	effects := r.step(ContainerExited{ID: custom.ID, Exit: Exit{Status: 9}})
	expectStatus(t, effects, "t1", v1.TaskState_TASK_GONE, v1.TaskStatus_REASON_EXECUTOR_REREGISTRATION_TIMEOUT.Enum(),
		"Executor did not reregister within 2secs")
	r.master(ping())
	for range 15 {
		r.master(ping())
		if len(all[Destroy](r.after(time.Minute-time.Second))) != 0 {
			t.Fatal("the built-in executor was not waited for")
		}
	}
	one[Destroy](t, r.after(15*time.Second))
}

// EXE-157: what ended while the agent was away is reported with its true status.
func TestEndedMeanwhile(t *testing.T) {
	for _, c := range []struct {
		name    string
		kill    bool
		status  int
		state   v1.TaskState
		message string
	}{
		{"finished", false, 0, v1.TaskState_TASK_FINISHED, "Command exited with status 0"},
		{"failed", false, 768, v1.TaskState_TASK_FAILED, "Command exited with status 3"},
		{"killed", true, 15, v1.TaskState_TASK_KILLED, "Command terminated with signal Terminated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
			if c.kill {
				r.kill("t1", nil)
			}
			effects := r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Exit: &Exit{Status: c.status}}})
			if one[Forget](t, effects).ID != spec.ID {
				t.Error("the container is not forgotten")
			}
			expectStatus(t, r.register(), "t1", c.state, nil, c.message)
			// The agent dies again before the acknowledgement: the same update, once.
			r.crash(nil)
			got := forwarded(r.register())
			if len(got) != 1 || got[0].GetState() != c.state {
				t.Fatalf("after another crash: %v", got)
			}
		})
	}
}

// EXE-149: a crash between checkpoint and launch launches, in a fresh container: of the first one half
// of a sandbox may be there. One after the launch does not launch again.
func TestLaunchIsDoneOnce(t *testing.T) {
	r := newRig(t)
	first := one[Launch](t, r.run(frameworkInfo(true), commandTask("t1", "x"))).Spec
	effects := r.crash(nil)
	again := one[Launch](t, effects).Spec
	if again.ID == first.ID || again.Directory == first.Directory || again.Limits != first.Limits {
		t.Fatalf("launched %s, before %s", renderSpec(again), renderSpec(first))
	}
	if _, scheduled := r.a.garbage.ended[first.Directory]; !scheduled {
		t.Error("the first sandbox will stay for ever")
	}
	r.step(ContainerLaunched{ID: again.ID, Pid: 100})
	effects = r.crash(map[mesos.ContainerID]ContainerState{again.ID: {Pid: 100}})
	if len(all[Launch](effects)) != 0 {
		t.Fatal("launched though it runs")
	}
	if got := events(r.subscribe("t1", 3, nil), v1executor.Event_LAUNCH); len(got) != 1 {
		t.Fatal("the task was not delivered")
	}
	effects = r.crash(nil)
	effects = append(effects, r.register()...)
	expectStatus(t, effects, "t1", v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(),
		"Abnormal executor termination: unknown container")
}

// A container that died while it was being launched ran nothing: another one is launched.
func TestHalfLaunched(t *testing.T) {
	r := newRig(t)
	first := one[Launch](t, r.run(frameworkInfo(true), commandTask("t1", "x"))).Spec
	effects := r.crash(map[mesos.ContainerID]ContainerState{first.ID: {Exit: &Exit{Status: -1}}})
	if f := one[Forget](t, effects); f.ID != first.ID {
		t.Errorf("forgot %v", f)
	}
	if again := one[Launch](t, effects).Spec; again.ID == first.ID || again.Directory == first.Directory {
		t.Errorf("launched %s again", renderSpec(again))
	}
}

// EXE-160: after a reboot nothing runs; the id stays, and the next restart is an ordinary one.
func TestReboot(t *testing.T) {
	r := newRig(t)
	r.run(frameworkInfo(true), commandTask("t1", "x"))
	r.cfg.BootID = "boot-2"
	effects := r.crash(nil)
	if len(all[Launch](effects)) != 0 {
		t.Fatal("launched")
	}
	m := r.register()
	expectStatus(t, m, "t1", v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_EXECUTOR_TERMINATED.Enum(),
		"Abnormal executor termination: unknown container")
	if registerOf(m).GetAgent().GetId().GetValue() != "S0" {
		t.Error("the id is lost")
	}
	saved, err := LoadCheckpoint(r.kv)
	if err != nil || saved.BootID != "boot-2" {
		t.Errorf("boot id %q, %v", saved.BootID, err)
	}
}

// EXE-150, EXE-167: what no checkpoint knows is destroyed, and its record dropped.
func TestOrphans(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(false), "t1", 1, commandTask("t1", "x"))
	effects := r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Pid: 100}, "ended": {Exit: &Exit{}}})
	if d := one[Destroy](t, effects); d.ID != spec.ID {
		t.Errorf("destroyed %v", d)
	}
	if f := one[Forget](t, effects); f.ID != "ended" {
		t.Errorf("forgot %v", f)
	}
	if f := one[Forget](t, r.step(ContainerExited{ID: spec.ID})); f.ID != spec.ID {
		t.Errorf("forgot %v", f)
	}
	if code, body := answered(t, r.subscribe("t1", 2, nil)); code != 400 || body != "Framework cannot be found" {
		t.Errorf("its executor is answered %d %q", code, body)
	}
	if _, scheduled := r.a.garbage.ended[spec.Directory]; !scheduled {
		t.Error("the sandbox will stay for ever")
	}
}

// EXE-172: acknowledged updates do not come back, unacknowledged ones do, in order, with their uuid.
func TestUpdatesAfterCrash(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_STARTING, 1))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 2))
	r.update("t1", status("t1", v1.TaskState_TASK_FINISHED, 3))
	r.ack("t1", uuid(1))
	r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Exit: &Exit{}}})
	got := forwarded(r.register())
	if len(got) != 1 || got[0].GetUuid()[15] != 2 {
		t.Fatalf("forwarded %v", got)
	}
	if got = forwarded(r.ack("t1", uuid(2))); len(got) != 1 || got[0].GetUuid()[15] != 3 {
		t.Fatalf("forwarded %v", got)
	}
	r.ack("t1", uuid(3))
	if len(r.a.frameworks) != 0 {
		t.Error("not complete")
	}
}

// EXE-169
func TestSilentMaster(t *testing.T) {
	r := newRig(t)
	r.after(75*time.Second - 1)
	r.master(ping())
	if effects := r.after(75*time.Second - 1); len(all[CloseMaster](effects)) != 0 {
		t.Fatal("closed though there was a ping")
	}
	one[CloseMaster](t, r.after(1))
	r.step(MasterDisconnected{})
	r.step(MasterConnected{})
	r.master(&wire.ToAgent_Registered{Registered: &wire.Registered{
		AgentId: mesos.AgentID("S0").Proto(), Master: &v1.MasterInfo{Id: proto.String("N"), Ip: proto.Uint32(1), Port: proto.Uint32(1)},
		PingTimeout: &v1.DurationInfo{Nanoseconds: proto.Int64(2e9)},
	}})
	one[CloseMaster](t, r.after(2*time.Second))
}

// A master that mistakes this agent for another one ends it.
func TestAnotherID(t *testing.T) {
	r := newRig(t)
	r.step(MasterDisconnected{})
	r.step(MasterConnected{})
	effects := r.master(&wire.ToAgent_Registered{Registered: &wire.Registered{
		AgentId: mesos.AgentID("S1").Proto(), Master: &v1.MasterInfo{Id: proto.String("M"), Ip: proto.Uint32(1), Port: proto.Uint32(1)},
	}})
	if end := one[Shutdown](t, effects); !end.Error {
		t.Errorf("end %+v", end)
	}
}

// EXE-152, EXE-186: a checkpoint that does not hold together is an error that names the key.
func TestLoadCheckpointIsStrict(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	whole := r.kv
	if _, err := LoadCheckpoint(whole); err != nil {
		t.Fatal(err)
	}
	const e = "frameworks/F/executors/t1/"
	for _, c := range []struct {
		name, key string
		value     []byte // nil: the key is removed
	}{
		{"no agent", "info", nil},
		{"no framework", "frameworks/F/info", nil},
		{"no executor", e + "info", nil},
		{"no container", e + "container", nil},
		{"no task", e + "tasks/t1/info", nil},
		{"broken agent", "info", []byte{0xff}},
		{"broken framework", "frameworks/F/info", []byte{0xff}},
		{"broken executor", e + "info", []byte{0xff}},
		{"broken container", e + "container", []byte("x")},
		{"broken task", e + "tasks/t1/info", []byte("x")},
		{"broken update", e + "tasks/t1/updates/00000000000000000000", []byte("x")},
		{"number", e + "tasks/t1/updates/0000000000000000000x", []byte{}},
		{"short number", e + "tasks/t1/updates/1", []byte{}},
		{"unknown", "else", []byte{}},
		{"unknown below a framework", "frameworks/F/else", []byte{}},
		{"unknown below an executor", e + "else", []byte{}},
		{"unknown below a task", e + "tasks/t1/else", []byte{}},
		{"empty part", "frameworks//info", []byte{}},
		{"broken gc", "gc//srv/agent", []byte("x")},
	} {
		t.Run(c.name, func(t *testing.T) {
			kv := map[string][]byte{}
			for k, v := range whole {
				kv[k] = v
			}
			if kv[c.key] = c.value; c.value == nil {
				delete(kv, c.key)
			}
			_, err := LoadCheckpoint(kv)
			var fault *CheckpointError
			if !errors.As(err, &fault) || fault.Key != c.key || !strings.Contains(err.Error(), c.key) {
				t.Errorf("error %v, want one that names %s", err, c.key)
			}
		})
	}
}

func FuzzLoadCheckpoint(f *testing.F) {
	f.Add("frameworks/F/executors/e/tasks/t/updates/00000000000000000001", []byte{1})
	f.Add("gc//srv/agent/x", []byte{8, 1})
	f.Fuzz(func(t *testing.T, key string, value []byte) {
		saved, err := LoadCheckpoint(map[string][]byte{key: value})
		if (saved == nil) == (err == nil) {
			t.Fatal("neither a state nor an error, or both")
		}
	})
}
