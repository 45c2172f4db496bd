package main

import (
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

// A task lives by its script; one update at a time is on its way, and sent again until it is
// acknowledged. EXE-170, EXE-171, EXE-173
func TestLife(t *testing.T) {
	s := newStage(t, 1, func(x *script) {
		x.RunTime, x.Ends = span{low: time.Minute, high: time.Minute}, outcomes{failed: 1}
	})
	s.register()
	s.launch(frameworkInfo("F"), "t1")
	s.pass(999 * time.Millisecond)
	s.want()
	s.pass(time.Millisecond)
	s.want("STARTING t1")
	s.wantCount(running, 1)
	s.launch(frameworkInfo("F"), "t1") // sent twice
	s.pass(9 * time.Second)
	s.want()
	s.pass(time.Second)
	s.want("STARTING t1 latest RUNNING")
	s.pass(20 * time.Second)
	s.want("STARTING t1 latest RUNNING")
	s.acknowledge("t1")
	s.want("RUNNING t1")
	s.acknowledge("t1")
	s.pass(29 * time.Second)
	s.want()
	s.pass(time.Second)
	s.want("FAILED t1 REASON_COMMAND_EXECUTOR_FAILED")
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Acknowledge{Acknowledge: &wire.Acknowledge{
		FrameworkId: mesos.FrameworkID("F").Proto(), TaskId: mesos.TaskID("t1").Proto(), Uuid: make([]byte, 16)}}}) // not its own
	s.wantCount(strayAcknowledgements, 1)
	s.wantCount(tasks, 1)
	s.acknowledge("t1")
	for c, want := range map[count]int64{tasks: 0, running: 0, launches: 1, failedTasks: 1, updates: 5, resent: 2, acknowledged: 3} {
		s.wantCount(c, want)
	}
	if len(s.fleet.agents[0].hosted) != 0 {
		t.Error("the framework is still there")
	}
	s.pass(time.Hour)
	s.want()
}

func TestNoStarting(t *testing.T) {
	s := newStage(t, 1, func(x *script) { x.NoStarting = true })
	s.register()
	s.launch(frameworkInfo("F"), "t1")
	s.pass(time.Second)
	s.want("RUNNING t1")
}

// A kill ends a task before it starts, or after its grace at the latest. EXE-61, EXE-137, EXE-138
func TestKill(t *testing.T) {
	killing := frameworkInfo("F", v1.FrameworkInfo_Capability_TASK_KILLING_STATE, v1.FrameworkInfo_Capability_PARTITION_AWARE)
	s := newStage(t, 1, func(x *script) { x.KillDelay, x.NoStarting = span{low: 10 * time.Second, high: 10 * time.Second}, true })
	s.register()
	s.launch(killing, "early", "late", "quick", "sure")
	s.deliver(killMessage("F", "early", -1))
	s.want("KILLED early REASON_TASK_KILLED_DURING_LAUNCH")
	s.acknowledge("early")
	s.pass(time.Second)
	for _, id := range []string{"late", "quick", "sure"} {
		s.acknowledge(id)
	}
	s.said()
	s.deliver(killMessage("F", "late", -1))                    // within the 3 s without a policy
	s.deliver(killMessage("F", "quick", time.Second))          // the kill's own policy
	s.deliver(killMessage("F", "sure", -1))                    // and then sooner:
	s.deliver(killMessage("F", "sure", 500*time.Millisecond))  // this counts,
	s.deliver(killMessage("F", "sure", 2500*time.Millisecond)) // this does not
	s.deliver(killMessage("F", "nobody", -1))                  // unknown
	s.deliver(killMessage("G", "nobody", -1))                  // not even its framework
	s.want("KILLING late", "KILLING quick", "KILLING sure", "DROPPED nobody REASON_EXECUTOR_TERMINATED")
	for _, id := range []string{"late", "quick", "sure", "nobody"} {
		s.acknowledge(id)
	}
	s.pass(500 * time.Millisecond)
	s.want("KILLED sure")
	s.pass(500 * time.Millisecond)
	s.want("KILLED quick")
	s.pass(2 * time.Second)
	s.want("KILLED late")
	s.deliver(killMessage("F", "late", -1)) // its update is on the way
	s.want()
	for _, id := range []string{"late", "quick", "sure"} {
		s.acknowledge(id)
	}
	s.wantCount(killedTasks, 4)
	s.wantCount(tasks, 0)
}

// Frameworks that are not partition aware are told TASK_LOST, those without the capability nothing of
// the killing.
func TestOldFramework(t *testing.T) {
	s := newStage(t, 1, func(x *script) { x.NoStarting = true })
	s.register()
	s.launch(frameworkInfo("F"), "t1")
	s.pass(time.Second)
	s.acknowledge("t1")
	s.said()
	s.deliver(killMessage("F", "t1", -1))
	s.deliver(killMessage("F", "nobody", -1))
	s.want("LOST nobody REASON_EXECUTOR_TERMINATED")
	s.pass(time.Second)
	s.want("KILLED t1")
}

// The end of a framework ends its tasks without a word, and no others. EXE-142, EXE-174
func TestShutdownFramework(t *testing.T) {
	s := newStage(t, 1, nil)
	s.register()
	s.launch(frameworkInfo("F"), "t1", "t2")
	s.launch(frameworkInfo("G"), "u1")
	s.pass(time.Second)
	s.said()
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_ShutdownFramework{ShutdownFramework: &wire.ShutdownFramework{FrameworkId: mesos.FrameworkID("F").Proto()}}})
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_ShutdownFramework{ShutdownFramework: &wire.ShutdownFramework{FrameworkId: mesos.FrameworkID("X").Proto()}}})
	s.wantCount(tasks, 1)
	s.wantCount(running, 1)
	s.wantCount(forgottenTasks, 2)
	s.pass(10 * time.Second)
	s.want("STARTING u1 latest RUNNING")
}

// group launches a task group on a default executor.
func (s *stage) group(executor string, ids ...string) {
	m := &wire.RunTask{Framework: frameworkInfo("F"), Group: proto.Bool(true), Executor: &v1.ExecutorInfo{
		ExecutorId: mesos.ExecutorID(executor).Proto(), Type: v1.ExecutorInfo_DEFAULT.Enum()}}
	for _, id := range ids {
		m.Tasks = append(m.Tasks, taskInfo(id))
	}
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_RunTask{RunTask: m}})
}

// A default executor ends with its last task, a custom one when it is told to. SCH-259, EXE-143
func TestExecutors(t *testing.T) {
	s := newStage(t, 1, func(x *script) { x.NoStarting = true })
	s.register()
	s.group("pod", "a", "b")
	custom := taskInfo("c")
	custom.Executor, custom.Command = &v1.ExecutorInfo{ExecutorId: mesos.ExecutorID("own").Proto(), Type: v1.ExecutorInfo_CUSTOM.Enum()}, nil
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_RunTask{RunTask: &wire.RunTask{Framework: frameworkInfo("F"), Tasks: []*v1.TaskInfo{custom}}}})
	s.pass(time.Second)
	for _, id := range []string{"a", "b", "c"} {
		s.acknowledge(id)
	}
	s.said()
	if r := s.fleet.agents[0].register(); len(r.GetExecutors()) != 2 || r.GetTasks()[0].GetExecutorId().GetValue() != "pod" ||
		r.GetExecutors()[0].GetFrameworkId().GetValue() != "F" {
		t.Errorf("registers with %v", r)
	}
	s.deliver(killMessage("F", "a", 0))
	s.pass(0)
	s.want("KILLED a")
	s.deliver(killMessage("F", "b", 0))
	s.deliver(killMessage("F", "c", 0))
	s.pass(0)
	s.want("exited pod", "KILLED b", "KILLED c")
	for _, id := range []string{"a", "b", "c"} {
		s.acknowledge(id)
	}
	shutdown := &wire.ToAgent{Message: &wire.ToAgent_ShutdownExecutor{ShutdownExecutor: &wire.ShutdownExecutor{
		FrameworkId: mesos.FrameworkID("F").Proto(), ExecutorId: mesos.ExecutorID("own").Proto()}}}
	s.deliver(shutdown)
	s.deliver(shutdown)
	s.want("exited own")
	if len(s.fleet.agents[0].hosted) != 0 {
		t.Error("the framework is still there")
	}
}

// A draining agent kills its tasks and takes no new ones, until nothing is left. OPR-57, SCH-273
func TestDrain(t *testing.T) {
	aware := frameworkInfo("F", v1.FrameworkInfo_Capability_PARTITION_AWARE)
	s := newStage(t, 1, func(x *script) { x.NoStarting = true })
	s.register()
	s.launch(aware, "t1")
	s.pass(time.Second)
	s.acknowledge("t1")
	s.said()
	s.deliver(&wire.ToAgent{Message: &wire.ToAgent_Drain{Drain: &wire.Drain{Config: &v1.DrainConfig{
		MarkGone: proto.Bool(true), MaxGracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(100 * time.Millisecond))}}}}})
	s.launch(aware, "t2")
	s.want("DROPPED t2 REASON_AGENT_DRAINING")
	s.pass(100 * time.Millisecond)
	s.want("GONE_BY_OPERATOR t1 REASON_AGENT_DRAINING")
	s.acknowledge("t1")
	if s.fleet.agents[0].drain == nil {
		t.Error("the drain is over before the last update was acknowledged")
	}
	s.acknowledge("t2")
	if s.fleet.agents[0].drain != nil {
		t.Error("the drain goes on without tasks")
	}
	s.launch(aware, "t3")
	s.pass(time.Second)
	s.want("RUNNING t3")
	s.wantCount(refusals, 1)
	s.wantCount(drains, 1)
}
