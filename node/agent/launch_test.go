package agent

import (
	"math"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"

	"google.golang.org/protobuf/proto"
)

// EXE-149, EXE-52, EXE-54, EXE-176, EXE-179: the task is on disk before its container is launched.
func TestLaunchCommandTask(t *testing.T) {
	r := newRig(t)
	r.hold = true
	effects := r.run(frameworkInfo(true), commandTask("t1", "sleep 1000"))
	if len(all[Launch](effects)) != 0 {
		t.Fatal("launched before the checkpoint")
	}
	keys := one[Checkpoint](t, effects).Put
	for _, key := range []string{
		"frameworks/F/info", "frameworks/F/executors/t1/info",
		"frameworks/F/executors/t1/container", "frameworks/F/executors/t1/tasks/t1/info",
	} {
		if keys[key] == nil {
			t.Errorf("key %s is not stored", key)
		}
	}
	spec := one[Launch](t, r.commit()).Spec
	if _, err := mesos.ParseUUID(string(spec.ID)); err != nil {
		t.Errorf("container id %s: %v", spec.ID, err)
	}
	if want := "/srv/agent/slaves/S0/frameworks/F/executors/t1/runs/" + string(spec.ID); spec.Directory != want {
		t.Errorf("sandbox %s, want %s", spec.Directory, want)
	}
	if !spec.CommandTask || spec.Command.GetValue() != "sleep 1000" || spec.User != "root" {
		t.Errorf("spec %s", renderSpec(spec))
	}
	if want := (Limits{CPUs: 600, MemBytes: 64 << 20, MemLimitBytes: 64 << 20}); spec.Limits != want {
		t.Errorf("limits %+v, want %+v", spec.Limits, want)
	}
	info := spec.Executor
	if info.GetExecutorId().GetValue() != "t1" || info.GetSource() != "t1" || info.GetFrameworkId().GetValue() != "F" {
		t.Errorf("executor %v", info)
	}
}

// EXE-32, EXE-33, EXE-37, EXE-39: golden 11 and 40.
func TestEnvironment(t *testing.T) {
	r := newRig(t)
	spec := one[Launch](t, r.run(frameworkInfo(true), commandTask("t1", "env"))).Spec
	want := []string{
		"LIBPROCESS_IP=127.0.0.1",
		"LIBPROCESS_PORT=0",
		"MESOS_AGENT_ENDPOINT=127.0.0.1:5051",
		"MESOS_ALLOCATION_ROLE=*",
		"MESOS_CHECKPOINT=1",
		"MESOS_DIRECTORY=" + spec.Directory,
		"MESOS_EXECUTOR_ID=t1",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs",
		"MESOS_FRAMEWORK_ID=F",
		"MESOS_HTTP_COMMAND_EXECUTOR=0",
		"MESOS_RECOVERY_TIMEOUT=15mins",
		"MESOS_SANDBOX=" + spec.Directory,
		"MESOS_SLAVE_ID=S0",
		"MESOS_SLAVE_PID=slave(1)@127.0.0.1:5051",
		"MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs",
		"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
	}
	if !slices.Equal(spec.Environment, want) {
		t.Errorf("environment\n%s\nwant\n%s", strings.Join(spec.Environment, "\n"), strings.Join(want, "\n"))
	}
}

// EXE-38, EXE-40: the framework's variables win over the agent's, the operator's replace PATH, a
// custom executor has no allocation role (EXE-37).
func TestEnvironmentPrecedence(t *testing.T) {
	r := newRig(t, func(c *Config) { c.ExecutorEnvironment = map[string]string{"PATH": "/bin", "A": "agent"} })
	task := customTask("t1", "e1")
	task.Executor.Command.Environment = &v1.Environment{Variables: []*v1.Environment_Variable{
		{Name: proto.String("MESOS_SANDBOX"), Value: proto.String("/mine")},
		{Name: proto.String("A"), Value: proto.String("first")},
		{Name: proto.String("A"), Value: proto.String("second")},
		{Name: proto.String("S"), Type: v1.Environment_Variable_SECRET.Enum(), Secret: &v1.Secret{
			Type: v1.Secret_VALUE.Enum(), Value: &v1.Secret_Value{Data: []byte("hush")},
		}},
	}}
	spec := one[Launch](t, r.run(frameworkInfo(false), task)).Spec
	for _, want := range []string{"MESOS_SANDBOX=/mine", "A=second", "PATH=/bin", "S=hush", "MESOS_CHECKPOINT=0"} {
		if !slices.Contains(spec.Environment, want) {
			t.Errorf("%s is missing in %v", want, spec.Environment)
		}
	}
	if !slices.Equal(spec.Overwritten, []string{"MESOS_SANDBOX", "A", "A"}) {
		t.Errorf("overwritten %v", spec.Overwritten)
	}
	for _, entry := range spec.Environment {
		if strings.HasPrefix(entry, "MESOS_ALLOCATION_ROLE=") || strings.HasPrefix(entry, "MESOS_RECOVERY_TIMEOUT=") {
			t.Errorf("%s is for others", entry)
		}
	}
}

// EXE-41: what cannot be resolved is a launch failure that names the variable.
func TestUnresolvableSecret(t *testing.T) {
	r := newRig(t)
	task := customTask("t1", "e1")
	task.Executor.Command.Environment = &v1.Environment{Variables: []*v1.Environment_Variable{
		{Name: proto.String("S"), Type: v1.Environment_Variable_SECRET.Enum(), Secret: &v1.Secret{Type: v1.Secret_REFERENCE.Enum()}},
	}}
	effects := r.run(frameworkInfo(true), task)
	expectStatus(t, effects, "t1", v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED.Enum(),
		"Failed to launch container: environment variable 'S': a secret of type REFERENCE cannot be resolved")
}

// EXE-53
func TestCommandExecutorName(t *testing.T) {
	argv := func(value string, args ...string) *v1.CommandInfo {
		return &v1.CommandInfo{Shell: proto.Bool(false), Value: proto.String(value), Arguments: args}
	}
	for _, c := range []struct {
		command *v1.CommandInfo
		want    string
	}{
		{&v1.CommandInfo{Value: proto.String("sleep 1000")}, "sh -c 'sleep 1000'"},
		{&v1.CommandInfo{Value: proto.String("echo out; echo err >&2")}, "sh -c 'echo out; ec...'"},
		{&v1.CommandInfo{Value: proto.String("123456789012345")}, "sh -c '123456789012345'"},
		{argv("/bin/pwd"), "[/bin/pwd, ]"},
		{argv("/nonexistent/x", "a"), "[/nonexistent...]"},
		{&v1.CommandInfo{}, "NO COMMAND"},
		{&v1.CommandInfo{Shell: proto.Bool(false)}, "NO EXECUTABLE"},
	} {
		got := commandExecutorName(&v1.TaskInfo{TaskId: mesos.TaskID("t").Proto(), Command: c.command})
		if want := "Command Executor (Task: t) (Command: " + c.want + ")"; got != want {
			t.Errorf("name %q, want %q", got, want)
		}
	}
}

// EXE-55, EXE-66
func TestCommandExecutorInfo(t *testing.T) {
	r := newRig(t)
	task := commandTask("t1", "x")
	task.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(7 * time.Second))}}
	task.Labels = &v1.Labels{Labels: []*v1.Label{{Key: proto.String("k")}}}
	spec := one[Launch](t, r.run(frameworkInfo(false), task)).Spec
	if spec.ShutdownGrace != 9*time.Second || !slices.Contains(spec.Environment, "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=9secs") {
		t.Errorf("grace %s, environment %v", spec.ShutdownGrace, spec.Environment)
	}
	if !proto.Equal(spec.Executor.Labels, task.Labels) {
		t.Errorf("labels %v", spec.Executor.Labels)
	}
}

// EXE-47
func TestUser(t *testing.T) {
	task := commandTask("t1", "x")
	task.Command.User = proto.String("alice")
	for _, c := range []struct {
		name string
		user string
		no   bool
		task *v1.TaskInfo
	}{
		{name: "framework's", user: "root", task: commandTask("t1", "x")},
		{name: "command's", user: "alice", task: task},
		{name: "agent's", user: "", no: true, task: task},
	} {
		r := newRig(t, func(cfg *Config) { cfg.SwitchUser = !c.no })
		spec := one[Launch](t, r.run(frameworkInfo(false), c.task)).Spec
		if spec.User != c.user {
			t.Errorf("%s: user %q, want %q", c.name, spec.User, c.user)
		}
		r.step(ContainerLaunched{ID: spec.ID, Pid: 1})
		sent := events(r.subscribe("t1", 1, nil), v1executor.Event_LAUNCH)
		if len(sent) != 1 || sent[0].GetLaunch().GetTask().GetCommand().GetUser() != c.user {
			t.Errorf("%s: LAUNCH %v", c.name, sent)
		}
	}
}

// ISO-46, ISO-48, ISO-77, ISO-81, EXE-57
func TestLimits(t *testing.T) {
	limit := func(cpus, mem float64) map[string]*v1.Value_Scalar {
		m := map[string]*v1.Value_Scalar{}
		if cpus != 0 {
			m["cpus"] = &v1.Value_Scalar{Value: proto.Float64(cpus)}
		}
		if mem != 0 {
			m["mem"] = &v1.Value_Scalar{Value: proto.Float64(mem)}
		}
		return m
	}
	const mb = 1 << 20
	for _, c := range []struct {
		name   string
		cfs    bool
		limits []map[string]*v1.Value_Scalar
		want   Limits
	}{
		{"requests", false, []map[string]*v1.Value_Scalar{nil}, Limits{CPUs: 600, MemBytes: 64 * mb, MemLimitBytes: 64 * mb}},
		{"cfs", true, []map[string]*v1.Value_Scalar{nil}, Limits{CPUs: 600, CPULimit: 600, MemBytes: 64 * mb, MemLimitBytes: 64 * mb}},
		{"limits", false, []map[string]*v1.Value_Scalar{limit(1, 100)}, Limits{CPUs: 600, CPULimit: 1100, MemBytes: 64 * mb, MemLimitBytes: 132 * mb}},
		{"limit and request", false, []map[string]*v1.Value_Scalar{limit(1, 64), nil}, Limits{CPUs: 1100, CPULimit: 1600, MemBytes: 96 * mb, MemLimitBytes: 128 * mb}},
		{"infinite", true, []map[string]*v1.Value_Scalar{limit(math.Inf(1), math.Inf(1)), limit(1, 1)}, Limits{CPUs: 1100, MemBytes: 96 * mb}},
	} {
		r := newRig(t, func(cfg *Config) { cfg.CgroupsEnableCFS = c.cfs })
		e := &executor{info: customTask("t", "e").Executor}
		for _, l := range c.limits {
			task := customTask("t", "e")
			task.Limits = l
			e.tasks = append(e.tasks, task1(task))
		}
		if got := r.a.limits(e); got != c.want {
			t.Errorf("%s: %+v, want %+v", c.name, got, c.want)
		}
	}
}

// task1 is a task that stands alone.
func task1(info *v1.TaskInfo) *task {
	f := &framework{id: "F", info: frameworkInfo(false)}
	return &task{f: f, info: info, view: viewOf(f, info.Executor, info, false)}
}

// EXE-25, EXE-26, EXE-31, EXE-141: one container, tasks in order of acceptance, each only after the
// limits were raised for it.
func TestCustomExecutorTakesMoreTasks(t *testing.T) {
	r := newRig(t)
	f := frameworkInfo(true)
	spec := one[Launch](t, r.run(f, customTask("t1", "e1"), customTask("t2", "e1"))).Spec
	if want := (Limits{CPUs: 1100, MemBytes: 96 << 20, MemLimitBytes: 96 << 20}); spec.Limits != want {
		t.Fatalf("limits %+v, want %+v", spec.Limits, want)
	}
	r.run(f, customTask("t3", "e1"))
	effects := r.step(ContainerLaunched{ID: spec.ID, Pid: 7})
	if u := one[Update](t, effects); u.Limits.CPUs != 1600 {
		t.Fatalf("update %+v", u)
	}
	effects = r.subscribe("e1", 1, nil)
	var order []string
	record := func(effects []Effect) {
		for _, e := range events(effects, v1executor.Event_LAUNCH) {
			order = append(order, e.GetLaunch().GetTask().GetTaskId().GetValue())
		}
	}
	record(effects)
	if slices.Contains(order, "t3") {
		t.Fatal("t3 was delivered before its limits were confirmed")
	}
	record(r.step(ContainerUpdated{ID: spec.ID}))
	if !slices.Equal(order, []string{"t1", "t2", "t3"}) {
		t.Fatalf("order %v", order)
	}
	if n := len(all[Launch](r.run(f, customTask("t4", "e1")))); n != 0 {
		t.Fatal("a second container for the same executor")
	}
	record(r.step(ContainerUpdated{ID: spec.ID}))
	if !slices.Equal(order, []string{"t1", "t2", "t3", "t4"}) {
		t.Fatalf("order %v", order)
	}
}

// EXE-27, EXE-96: a group is one event, and dies as one before delivery.
func TestTaskGroup(t *testing.T) {
	group := func(r *rig) LaunchSpec {
		a, b := commandTask("a", "x"), commandTask("b", "x")
		executor := customTask("", "g").Executor
		executor.Type = v1.ExecutorInfo_CUSTOM.Enum()
		m := runGroup(frameworkInfo(true), executor, a, b)
		return one[Launch](r.t, r.master(m)).Spec
	}
	r := newRig(t)
	spec := group(r)
	r.step(ContainerLaunched{ID: spec.ID, Pid: 1})
	sent := events(r.subscribe("g", 1, nil), v1executor.Event_LAUNCH_GROUP)
	if len(sent) != 1 || len(sent[0].GetLaunchGroup().GetTaskGroup().GetTasks()) != 2 {
		t.Fatalf("LAUNCH_GROUP %v", sent)
	}

	r = newRig(t)
	group(r)
	effects := r.kill("b", nil)
	for _, id := range []string{"a", "b"} {
		expectStatus(t, effects, id, v1.TaskState_TASK_KILLED, v1.TaskStatus_REASON_TASK_KILLED_DURING_LAUNCH.Enum(),
			"A task within the task group was killed before delivery to the executor")
	}
}

// EXE-47, EXE-50, EXE-130
func TestLaunchFailure(t *testing.T) {
	for _, c := range []struct {
		name    string
		event   LaunchFailed
		aware   bool
		state   v1.TaskState
		reason  v1.TaskStatus_Reason
		message string
	}{
		{"container", LaunchFailed{Message: "cause"}, true,
			v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED, "Failed to launch container: cause"},
		{"sandbox", LaunchFailed{Message: "Failed to create executor directory 'd': No such user 'u'", Sandbox: true}, true,
			v1.TaskState_TASK_DROPPED, v1.TaskStatus_REASON_EXECUTOR_TERMINATED, "Failed to create executor directory 'd': No such user 'u'"},
		{"sandbox, not partition aware", LaunchFailed{Message: "m", Sandbox: true}, false,
			v1.TaskState_TASK_LOST, v1.TaskStatus_REASON_EXECUTOR_TERMINATED, "m"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			f := frameworkInfo(true)
			if c.aware {
				f = frameworkInfo(true, partitionAware)
			}
			spec := one[Launch](t, r.run(f, commandTask("t1", "x"))).Spec
			c.event.ID = spec.ID
			effects := r.step(c.event)
			s := expectStatus(t, effects, "t1", c.state, c.reason.Enum(), c.message)
			if s.GetSource() != v1.TaskStatus_SOURCE_AGENT || s.GetExecutorId().GetValue() != "t1" {
				t.Errorf("status %v", s)
			}
			r.ack("t1", s.Uuid)
			if len(r.a.frameworks) != 0 {
				t.Error("the framework is still there")
			}
			left := slices.DeleteFunc(sortedKeys(r.kv), func(k string) bool { return strings.HasPrefix(k, "gc/") })
			if !slices.Equal(left, []string{"info"}) {
				t.Errorf("left in the checkpoint: %v", left)
			}
		})
	}
}

// EXE-56, EXE-129: golden texts, and the states of frameworks with and without PARTITION_AWARE.
func TestRefusedLaunches(t *testing.T) {
	reason := v1.TaskStatus_REASON_EXECUTOR_TERMINATED
	for _, c := range []struct {
		name    string
		prepare func(*rig)
		task    *v1.TaskInfo
		reason  v1.TaskStatus_Reason
		message string
	}{
		{"command task on a live executor", func(r *rig) {
			r.start(frameworkInfo(true, partitionAware), "e1", 1, customTask("t1", "e1"))
		}, commandTask("e1", "x"), v1.TaskStatus_REASON_TASK_INVALID, "Cannot reuse an already existing executor for a command task"},
		{"executor terminating", func(r *rig) {
			r.start(frameworkInfo(true, partitionAware), "e1", 1, customTask("t1", "e1"))
			r.master(shutdownExecutor("e1"))
		}, customTask("t2", "e1"), reason, "Executor terminating"},
		{"executor terminated", func(r *rig) {
			spec := r.start(frameworkInfo(true, partitionAware), "e1", 1, customTask("t1", "e1"))
			r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 0}})
		}, customTask("t2", "e1"), reason, "Executor terminated"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			c.prepare(r)
			effects := r.run(frameworkInfo(true, partitionAware), c.task)
			s := expectStatus(t, effects, c.task.GetTaskId().GetValue(), v1.TaskState_TASK_DROPPED, c.reason.Enum(), c.message)
			if len(all[Launch](effects)) != 0 {
				t.Error("launched")
			}
			r.ack(c.task.GetTaskId().GetValue(), s.Uuid)
		})
	}
}

// The same RunTask twice is one task.
func TestRunTaskTwice(t *testing.T) {
	r := newRig(t)
	r.run(frameworkInfo(true), commandTask("t1", "x"))
	if effects := r.run(frameworkInfo(true), commandTask("t1", "x")); len(all[Launch](effects)) != 0 || len(forwarded(effects)) != 0 {
		t.Fatalf("the second one does\n%s", render(effects))
	}
}

// EXE-189, EXE-190, EXE-191
func TestGarbageCollection(t *testing.T) {
	r := newRig(t)
	end := func(stream StreamID) string {
		spec := r.start(frameworkInfo(true), "e1", stream, customTask("t1", "e1"))
		s := forwarded(r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 0}}))[0]
		r.ack("t1", s.Uuid)
		return spec.Directory
	}
	run := end(1)
	executor, framework := path.Dir(path.Dir(run)), "/srv/agent/slaves/S0/frameworks/F"
	if at, ok := r.a.Deadline(); !ok || !at.Before(epoch.Add(r.cfg.GCDelay)) {
		t.Fatalf("deadline %s: headroom shortens the delay", at)
	}
	collect := func(effects []Effect) []string {
		var paths []string
		for _, c := range all[Collect](effects) {
			paths = append(paths, c.Path)
		}
		return paths
	}
	// Launched anew: what is in use again stays, the old run does not.
	r.now = r.now.Add(time.Hour)
	spec := r.start(frameworkInfo(true), "e1", 2, customTask("t2", "e1"))
	r.now = r.now.Add(r.cfg.GCDelay)
	if got := collect(r.step(Tick{})); !slices.Equal(got, []string{run}) {
		t.Fatalf("collects %v, want %s", got, run)
	}
	r.step(Collected{Path: run})
	s := forwarded(r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 0}}))[0]
	r.ack("t2", s.Uuid)
	if got := collect(r.after(time.Minute)); len(got) != 0 {
		t.Fatalf("collects %v at once", got)
	}
	// A restarted agent knows the schedule; a full disk brings it forward.
	r.crash(nil)
	if got := collect(r.step(DiskUsage{Used: 0.95})); !slices.Equal(got, []string{framework, executor, spec.Directory}) {
		t.Fatalf("collects %v with a full disk", got)
	}
	r.step(Collected{Path: framework})
	r.step(Collected{Path: executor, Err: "busy"})
	r.step(Collected{Path: spec.Directory})
	if m := r.a.metricValues(); m["gc/path_removals_succeeded"] != 2 || m["gc/path_removals_failed"] != 1 {
		t.Errorf("metrics %v", m)
	}
}

// A launch waits while an old sandbox above it is being removed.
func TestLaunchWaitsForCollection(t *testing.T) {
	r := newRig(t)
	spec := r.start(frameworkInfo(true), "e1", 1, customTask("t1", "e1"))
	s := forwarded(r.step(ContainerExited{ID: spec.ID, Exit: Exit{Status: 0}}))[0]
	r.ack("t1", s.Uuid)
	r.now = r.now.Add(r.cfg.GCDelay)
	r.step(Tick{})
	if effects := r.run(frameworkInfo(true), customTask("t2", "e1")); len(all[Launch](effects)) != 0 {
		t.Fatal("launched into a directory that is being removed")
	}
	executor := path.Dir(path.Dir(spec.Directory))
	r.step(Collected{Path: path.Dir(path.Dir(executor))})
	one[Launch](t, r.step(Collected{Path: executor}))
}

// EXE-44: a custom executor without a command is refused with the cause, and nothing is launched.
func TestExecutorWithoutCommand(t *testing.T) {
	for _, c := range []struct {
		command *v1.CommandInfo
		cause   string
	}{
		{&v1.CommandInfo{}, "Failed to determine the launch command: Shell specified but no command value provided"},
		{&v1.CommandInfo{Shell: proto.Bool(false), Arguments: []string{"x"}}, "Failed to determine the launch command: No executable specified"},
		{nil, "this version has no default executor: use a custom one for task groups"},
	} {
		r := newRig(t)
		task := customTask("t1", "e1")
		task.Executor.Command = c.command
		if c.command == nil {
			task.Executor.Type = v1.ExecutorInfo_DEFAULT.Enum()
		}
		effects := r.run(frameworkInfo(true), task)
		if len(all[Launch](effects)) != 0 {
			t.Error("launched")
		}
		expectStatus(t, effects, "t1", v1.TaskState_TASK_FAILED, v1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED.Enum(),
			"Failed to launch container: "+c.cause)
	}
}

// The user of a task is shown only where a command names one, as the master shows it (OPR-108).
func TestViewOfUser(t *testing.T) {
	for _, c := range []struct{ executor, task, want string }{{"", "", ""}, {"e", "", "e"}, {"e", "t", "t"}} {
		executor := &v1.ExecutorInfo{Command: &v1.CommandInfo{}}
		info := &v1.TaskInfo{Command: &v1.CommandInfo{}}
		if c.executor != "" {
			executor.Command.User = proto.String(c.executor)
		}
		if c.task != "" {
			info.Command.User = proto.String(c.task)
		}
		view := viewOf(&framework{id: "F", info: frameworkInfo(true)}, executor, info, false)
		if view.GetUser() != c.want || (view.User == nil) != (c.want == "") {
			t.Errorf("executor %q, task %q: shown %v", c.executor, c.task, view.User)
		}
	}
}

// EXE-149: no task is sent before the container's pid is on disk: whatever happens then, a restarted
// agent knows that the task may have run.
func TestPidIsStoredBeforeDelivery(t *testing.T) {
	for _, task := range []*v1.TaskInfo{commandTask("t1", "x"), customTask("t1", "t1")} {
		r := newRig(t)
		spec := one[Launch](t, r.run(frameworkInfo(true), task)).Spec
		effects := r.subscribe("t1", 1, nil)
		r.hold = true
		effects = append(effects, r.step(ContainerLaunched{ID: spec.ID, Pid: 100})...)
		effects = append(effects, r.step(ContainerUpdated{ID: spec.ID})...)
		if len(events(effects, v1executor.Event_LAUNCH)) != 0 {
			t.Fatal("delivered too early")
		}
		if got := events(r.commit(), v1executor.Event_LAUNCH); len(got) != 1 {
			t.Fatalf("delivered %v", got)
		}
		r.hold = false
		effects = r.crash(map[mesos.ContainerID]ContainerState{spec.ID: {Exit: &Exit{Status: -1}}})
		if len(all[Launch](effects)) != 0 {
			t.Error("launched again what may have run")
		}
	}
}
