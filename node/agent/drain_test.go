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

var draining = v1.TaskStatus_REASON_AGENT_DRAINING.Enum()

// drainFor is a drain with at most this grace; without any if it is negative.
func drainFor(grace time.Duration, markGone bool) *wire.Drain {
	d := &wire.Drain{Config: &v1.DrainConfig{MarkGone: &markGone}, Time: proto.Int64(epoch.UnixNano())}
	if grace >= 0 {
		d.Config.MaxGracePeriod = gracePeriod(grace).GracePeriod
	}
	return d
}

func gracePeriod(d time.Duration) *v1.KillPolicy {
	return &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(d))}}
}

func (r *rig) drain(d *wire.Drain) []Effect {
	r.t.Helper()
	return r.step(FromMaster{Message: &wire.ToAgent{Message: &wire.ToAgent_Drain{Drain: d}}})
}

func (r *rig) registered(d *wire.Drain) []Effect {
	r.t.Helper()
	effects := r.step(MasterConnected{})
	return append(effects, r.master(&wire.ToAgent_Registered{Registered: &wire.Registered{
		AgentId: r.a.info.GetId(), Master: &v1.MasterInfo{Id: proto.String("M"), Ip: proto.Uint32(1), Port: proto.Uint32(5050)}, Drain: d,
	}})...)
}

// SCH-273, OPR-57: the grace of a drain caps that of each task and never makes it longer.
func TestDrainPolicy(t *testing.T) {
	for _, c := range []struct {
		name         string
		own          time.Duration // of the task, negative for none
		custom       bool
		killedBefore time.Duration // grace of a kill that went before, negative for none
		most         time.Duration // of the drain, negative for none
		want         time.Duration // in the KILL event, negative for none
	}{
		{"no limit", 20 * time.Second, false, -1, -1, -1},
		{"within the limit", 20 * time.Second, false, -1, time.Minute, -1},
		{"at the limit", time.Minute, false, -1, time.Minute, -1},
		{"beyond the limit", 2 * time.Minute, false, -1, time.Minute, time.Minute},
		{"nothing at all", 2 * time.Minute, false, -1, 0, 0},
		{"command without a policy", -1, false, -1, time.Minute, -1},
		{"command without a policy, short", -1, false, -1, time.Second, time.Second},
		{"custom without a policy", -1, true, -1, time.Minute, time.Minute},
		{"killed before with less", 2 * time.Minute, false, time.Second, time.Minute, time.Second},
		{"killed before with more", time.Second, false, time.Hour, time.Minute, time.Minute},
		{"killed before, no limit", time.Second, false, time.Hour, -1, time.Hour},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			task, executor := commandTask("t1", "x"), "t1"
			if c.custom {
				task, executor = customTask("t1", "e1"), "e1"
			}
			if c.own >= 0 {
				task.KillPolicy = gracePeriod(c.own)
			}
			r.start(frameworkInfo(true), executor, 1, task)
			if c.killedBefore >= 0 {
				r.kill("t1", gracePeriod(c.killedBefore))
			}
			kills := events(r.drain(drainFor(c.most, false)), v1executor.Event_KILL)
			if len(kills) != 1 {
				t.Fatalf("KILL events: %v", kills)
			}
			policy := kills[0].GetKill().GetKillPolicy()
			if got := policy.GetGracePeriod().GetNanoseconds(); (policy != nil) != (c.want >= 0) || policy != nil && got != int64(c.want) {
				t.Fatalf("kill policy %v, want %v", policy, c.want)
			}
		})
	}
}

// EXE-126, SCH-273, OPR-57, OPR-127: a drain kills what runs and what waits, refuses what comes, and is
// over when everything is acknowledged.
func TestDrain(t *testing.T) {
	r := newRig(t)
	f := frameworkInfo(true, partitionAware)
	r.start(f, "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_RUNNING, 1))
	r.ack("t1", uuid(1))
	r.run(f, commandTask("t2", "x")) // its container is being launched
	effects := r.drain(drainFor(10*time.Second, false))
	if kills := events(effects, v1executor.Event_KILL); len(kills) != 1 || kills[0].GetKill().GetTaskId().GetValue() != "t1" {
		t.Fatalf("KILL events: %v", kills)
	}
	queued := expectStatus(t, effects, "t2", v1.TaskState_TASK_KILLED, draining, "Killed before delivery to the executor")
	late := expectStatus(t, r.run(f, commandTask("t3", "x")), "t3", v1.TaskState_TASK_DROPPED, draining, "Task was received while agent was already draining")
	if v := r.a.view(); v.Drain.GetMaxGracePeriod().GetNanoseconds() != 10e9 || !v.DrainStart.Equal(epoch) {
		t.Fatalf("shown: %v since %v", v.Drain, v.DrainStart)
	}
	killing := r.update("t1", status("t1", v1.TaskState_TASK_KILLING, 2))
	expectStatus(t, killing, "t1", v1.TaskState_TASK_KILLING, draining, "")
	r.ack("t1", uuid(2))
	ended := expectStatus(t, r.update("t1", status("t1", v1.TaskState_TASK_KILLED, 3)), "t1", v1.TaskState_TASK_KILLED, draining, "")
	if ended.GetSource() != v1.TaskStatus_SOURCE_EXECUTOR {
		t.Fatalf("source %s", ended.GetSource())
	}
	r.ack("t1", uuid(3))
	r.ack("t2", queued.Uuid)
	if r.a.view().Drain == nil {
		t.Fatal("over before all is acknowledged")
	}
	r.ack("t3", late.Uuid)
	if v := r.a.view(); v.Drain != nil || !v.DrainStart.IsZero() {
		t.Fatal("not over")
	}
	if len(all[Launch](r.run(f, commandTask("t4", "x")))) != 1 {
		t.Fatal("a task after the drain is not launched")
	}
}

// EXE-126: every kind of launch is refused, in the state that the framework knows.
func TestLaunchWhileDraining(t *testing.T) {
	f := frameworkInfo(true)
	group := groupExecutor("g")
	for name, launch := range map[string]*wire.RunTask{
		"command":          {Framework: f, Tasks: []*v1.TaskInfo{commandTask("t2", "x")}},
		"custom":           {Framework: f, Tasks: []*v1.TaskInfo{customTask("t2", "e2")}},
		"executor at hand": {Framework: f, Tasks: []*v1.TaskInfo{customTask("t2", "e1")}},
		"group":            runGroup(f, group, commandTask("t2", "x"), commandTask("t3", "x")),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.start(f, "e1", 1, customTask("t1", "e1"))
			r.drain(drainFor(-1, false))
			effects := r.master(launch)
			for _, task := range launch.Tasks {
				expectStatus(t, effects, task.GetTaskId().GetValue(), v1.TaskState_TASK_LOST, draining, "Task was received while agent was already draining")
			}
			if len(all[Launch](effects)) != 0 || len(events(effects, v1executor.Event_LAUNCH)) != 0 {
				t.Fatalf("effects\n%s", render(effects))
			}
		})
	}
}

func groupExecutor(id string) *v1.ExecutorInfo {
	e := customTask("x", id).Executor
	e.Type = v1.ExecutorInfo_DEFAULT.Enum()
	e.Command = nil
	return e
}

// SCH-273: with mark_gone the end of a task is one by the operator, to those who know the state. What
// ends in another way is told as it is.
func TestDrainAndMarkGone(t *testing.T) {
	for _, c := range []struct {
		name  string
		f     *v1.FrameworkInfo
		state v1.TaskState
		want  v1.TaskState
		why   *v1.TaskStatus_Reason
	}{
		{"aware", frameworkInfo(true, partitionAware), v1.TaskState_TASK_KILLED, v1.TaskState_TASK_GONE_BY_OPERATOR, draining},
		{"plain", frameworkInfo(true), v1.TaskState_TASK_KILLED, v1.TaskState_TASK_KILLED, draining},
		{"killing", frameworkInfo(true, partitionAware), v1.TaskState_TASK_KILLING, v1.TaskState_TASK_KILLING, draining},
		{"finished", frameworkInfo(true, partitionAware), v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FINISHED, nil},
		{"failed", frameworkInfo(true, partitionAware), v1.TaskState_TASK_FAILED, v1.TaskState_TASK_FAILED, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.start(c.f, "t1", 1, commandTask("t1", "x"))
			r.drain(drainFor(-1, true))
			expectStatus(t, r.update("t1", status("t1", c.state, 1)), "t1", c.want, c.why, "")
			if got := r.a.view().Frameworks[0].Executors[0]; len(got.Terminated)+len(got.Launched) != 1 {
				t.Fatalf("shown: %+v", got)
			}
		})
	}
}

// EXE-157, OPR-57: a drain goes on after a restart of the agent, and the reason of what ends meanwhile
// is kept.
func TestDrainSurvivesRestart(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.drain(drainFor(time.Second, false))
	r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Pid: 100}})
	effects := r.subscribe("t1", 2, []*v1.TaskInfo{commandTask("t1", "x")}, status("t1", v1.TaskState_TASK_RUNNING, 1))
	kills := events(effects, v1executor.Event_KILL)
	if len(kills) != 1 || kills[0].GetKill().GetKillPolicy().GetGracePeriod().GetNanoseconds() != 1e9 {
		t.Fatalf("KILL events: %v", kills)
	}
	r.update("t1", status("t1", v1.TaskState_TASK_KILLED, 2))
	r.registered(drainFor(time.Second, false))
	expectStatus(t, r.ack("t1", uuid(1)), "t1", v1.TaskState_TASK_KILLED, draining, "")
	r.ack("t1", uuid(2))
	if r.a.view().Drain != nil {
		t.Fatal("not over")
	}
	r.crash(nil)
	if r.a.view().Drain != nil {
		t.Fatal("begun again by a restart")
	}
}

// OPR-59: the master has the last word: one that registers the agent without a drain, or ends it.
func TestDrainEndedByMaster(t *testing.T) {
	for name, end := range map[string]func(*rig){
		"at registration": func(r *rig) { r.step(MasterDisconnected{}); r.registered(nil) },
		"by a message":    func(r *rig) { r.drain(&wire.Drain{}) },
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
			r.drain(drainFor(-1, false))
			end(r)
			if r.a.view().Drain != nil {
				t.Fatal("still draining")
			}
			if len(forwarded(r.run(frameworkInfo(true), customTask("t2", "e2")))) != 0 {
				t.Fatal("a launch is refused")
			}
		})
	}
}

// OPR-58: the master tells an agent that comes back, and a second drain replaces the first.
func TestDrainAtRegistration(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	r.step(MasterDisconnected{})
	if kills := events(r.registered(drainFor(time.Hour, false)), v1executor.Event_KILL); len(kills) != 1 {
		t.Fatalf("KILL events: %v", kills)
	}
	kills := events(r.drain(drainFor(time.Second, true)), v1executor.Event_KILL)
	if len(kills) != 1 || kills[0].GetKill().GetKillPolicy().GetGracePeriod().GetNanoseconds() != 1e9 {
		t.Fatalf("KILL events: %v", kills)
	}
	if !r.a.view().Drain.GetMarkGone() {
		t.Fatal("the first config is still shown")
	}
}

// An agent that is ending says nothing of a drain: what it runs ends anyway, or goes on under the next.
func TestDrainWhileStopping(t *testing.T) {
	r := newRig(t)
	r.start(frameworkInfo(false), "e1", 1, customTask("t1", "e1"))
	r.step(Stop{})
	r.drain(drainFor(-1, false))
	if r.a.view().Drain != nil {
		t.Fatal("draining while stopping")
	}
}
