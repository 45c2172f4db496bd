package executor

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"

	"google.golang.org/protobuf/proto"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

func environment(checkpoint bool) []string {
	env := []string{
		"MESOS_FRAMEWORK_ID=F", "MESOS_EXECUTOR_ID=t1", "MESOS_AGENT_ENDPOINT=127.0.0.1:5051",
		"MESOS_SANDBOX=/box", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs", "PATH=/bin",
	}
	if checkpoint {
		return append(env, "MESOS_CHECKPOINT=1", "MESOS_RECOVERY_TIMEOUT=15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs")
	}
	return append(env, "MESOS_CHECKPOINT=0")
}

// rig drives a core. Posts are accepted at once, and acknowledged when told so.
type rig struct {
	t       *testing.T
	c       *core
	now     time.Time
	stream  uint64
	updates []*v1.TaskStatus // posted, or repeated with SUBSCRIBE
	acks    bool
}

func newRig(t *testing.T, checkpoint bool) *rig {
	t.Helper()
	s, err := parseSettings(environment(checkpoint))
	if err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, now: epoch, acks: true}
	var effects []effect
	r.c, effects = newCore(s, rand.New(rand.NewPCG(1, 2)), r.now)
	r.settle(effects)
	return r
}

// settle answers posts, and returns all effects.
func (r *rig) settle(effects []effect) []effect {
	for i := 0; i < len(effects); i++ {
		switch e := effects[i].(type) {
		case subscribe:
			r.stream = e.stream
		case post:
			u := e.call.GetUpdate().GetStatus()
			r.updates = append(r.updates, u)
			effects = append(effects, r.c.step(r.now, posted{number: e.number, ok: true})...)
			if r.acks {
				effects = append(effects, r.c.step(r.now, received{stream: r.stream, message: acknowledged(u)})...)
			}
		}
	}
	return effects
}

func acknowledged(u *v1.TaskStatus) *v1executor.Event {
	return &v1executor.Event{Type: v1executor.Event_ACKNOWLEDGED.Enum(), Acknowledged: &v1executor.Event_Acknowledged{TaskId: u.TaskId, Uuid: u.Uuid}}
}

func (r *rig) step(ev event) []effect {
	r.t.Helper()
	effects := r.settle(r.c.step(r.now, ev))
	if err := r.c.check(); err != nil {
		r.t.Fatalf("after %+v: %v", ev, err)
	}
	return effects
}

func (r *rig) receive(ev *v1executor.Event) []effect {
	r.t.Helper()
	return r.step(received{stream: r.stream, message: ev})
}

func (r *rig) after(d time.Duration) []effect {
	r.t.Helper()
	r.now = r.now.Add(d)
	return r.step(tick{})
}

func (r *rig) subscribed(capabilities ...v1.FrameworkInfo_Capability_Type) []effect {
	r.t.Helper()
	info := &v1.FrameworkInfo{User: proto.String("root"), Name: proto.String("fw")}
	for _, c := range capabilities {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return r.receive(&v1executor.Event{Type: v1executor.Event_SUBSCRIBED.Enum(), Subscribed: &v1executor.Event_Subscribed{FrameworkInfo: info}})
}

func (r *rig) launch(task *v1.TaskInfo) []effect {
	r.t.Helper()
	return r.receive(&v1executor.Event{Type: v1executor.Event_LAUNCH.Enum(), Launch: &v1executor.Event_Launch{Task: task}})
}

func (r *rig) kill(grace time.Duration) []effect {
	r.t.Helper()
	kill := &v1executor.Event_Kill{TaskId: mesos.TaskID("t1").Proto()}
	if grace >= 0 {
		kill.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(grace))}}
	}
	return r.receive(&v1executor.Event{Type: v1executor.Event_KILL.Enum(), Kill: kill})
}

func (r *rig) shutdown() []effect {
	r.t.Helper()
	return r.receive(&v1executor.Event{Type: v1executor.Event_SHUTDOWN.Enum()})
}

func task(command string) *v1.TaskInfo {
	return &v1.TaskInfo{
		Name: proto.String("n"), TaskId: mesos.TaskID("t1").Proto(), AgentId: mesos.AgentID("S0").Proto(),
		Command: &v1.CommandInfo{Value: proto.String(command)},
	}
}

// running brings a task to TASK_RUNNING.
func running(t *testing.T, checkpoint bool, info *v1.TaskInfo, capabilities ...v1.FrameworkInfo_Capability_Type) *rig {
	t.Helper()
	r := newRig(t, checkpoint)
	r.subscribed(capabilities...)
	r.launch(info)
	r.step(started{})
	r.expect("TASK_STARTING ", "TASK_RUNNING ")
	return r
}

// expect compares all updates so far, as state and message.
func (r *rig) expect(want ...string) {
	r.t.Helper()
	var got []string
	for _, u := range r.updates {
		got = append(got, u.GetState().String()+" "+u.GetMessage())
	}
	if !slices.Equal(got, want) {
		r.t.Fatalf("updates %q, want %q", got, want)
	}
}

func signals(effects []effect) []syscall.Signal {
	var sent []syscall.Signal
	for _, e := range effects {
		if s, ok := e.(signal); ok {
			sent = append(sent, s.signal)
		}
	}
	return sent
}

func (r *rig) signalled(effects []effect, want ...syscall.Signal) {
	r.t.Helper()
	if got := signals(effects); !slices.Equal(got, want) {
		r.t.Fatalf("signals %v, want %v", got, want)
	}
}

func ends(effects []effect) bool {
	return slices.ContainsFunc(effects, func(e effect) bool { _, ok := e.(end); return ok })
}

// EXE-58, EXE-59, EXE-68: the life of a task, and every way in which it ends.
func TestLife(t *testing.T) {
	for _, c := range []struct {
		status int
		last   string
	}{
		{0, "TASK_FINISHED Command exited with status 0"},
		{3 << 8, "TASK_FAILED Command exited with status 3"},
		{127 << 8, "TASK_FAILED Command exited with status 127"},
		{9, "TASK_FAILED Command terminated with signal Killed"},
		{15, "TASK_FAILED Command terminated with signal Terminated"},
		{11, "TASK_FAILED Command terminated with signal Segmentation fault"},
		{6 | 0x80, "TASK_FAILED Command terminated with signal Aborted (core dumped)"},
		{1, "TASK_FAILED Command terminated with signal Hangup"},
	} {
		r := running(t, true, task("x"))
		if effects := r.step(exited{exit: Exit{Status: c.status}}); !ends(effects) {
			t.Errorf("status %d: does not end with the acknowledgement", c.status)
		}
		r.expect("TASK_STARTING ", "TASK_RUNNING ", c.last)
		for _, u := range r.updates {
			if u.GetSource() != v1.TaskStatus_SOURCE_EXECUTOR || u.GetExecutorId().GetValue() != "t1" || len(u.GetUuid()) != 16 || u.Timestamp == nil {
				t.Errorf("incomplete update %v", u)
			}
		}
	}
}

// EXE-42 to EXE-46, EXE-40
func TestCommand(t *testing.T) {
	argv := func(value string, args ...string) *v1.CommandInfo {
		return &v1.CommandInfo{Shell: proto.Bool(false), Value: proto.String(value), Arguments: args}
	}
	shell := &v1.CommandInfo{Value: proto.String("echo $A *"), Arguments: []string{"ignored"}, User: proto.String("alice"),
		Environment: &v1.Environment{Variables: []*v1.Environment_Variable{
			{Name: proto.String("A"), Value: proto.String("1")},
			{Name: proto.String("A"), Value: proto.String("2")},
			{Name: proto.String("MESOS_SANDBOX"), Value: proto.String("/mine")},
		}}}
	for _, c := range []struct {
		name        string
		info        *v1.CommandInfo
		path        string
		args        []string
		overwritten []string
		has         []string
	}{
		{"shell", shell, "/bin/sh", []string{"sh", "-c", "echo $A *"}, []string{"A", "MESOS_SANDBOX"}, []string{"A=2", "MESOS_SANDBOX=/mine", "PATH=/bin"}},
		{"argv", argv("/bin/echo", "argv0", "$A"), "/bin/echo", []string{"argv0", "$A"}, nil, []string{"MESOS_SANDBOX=/box"}},
		{"no arguments", argv("ls"), "ls", []string{"ls"}, nil, nil},
	} {
		r := newRig(t, true)
		r.subscribed()
		info := task("")
		info.Command = c.info
		effects := r.launch(info)
		var got start
		var lines []string
		for _, e := range effects {
			switch e := e.(type) {
			case start:
				got = e
			case report:
				lines = append(lines, e.line)
			}
		}
		if got.command.Path != c.path || !slices.Equal(got.command.Args, c.args) || got.command.Dir != "/box" || got.command.User != c.info.GetUser() {
			t.Errorf("%s: command %+v", c.name, got.command)
		}
		for _, entry := range c.has {
			if !slices.Contains(got.command.Env, entry) {
				t.Errorf("%s: %s is missing in %v", c.name, entry, got.command.Env)
			}
		}
		var want []string
		for _, name := range c.overwritten {
			want = append(want, "Overwriting environment variable '"+name+"'")
		}
		if !slices.Equal(lines, want) {
			t.Errorf("%s: reports %q, want %q", c.name, lines, want)
		}
	}
}

// EXE-44: a task that cannot be started at all says why.
func TestImpossibleCommands(t *testing.T) {
	for _, c := range []struct {
		info *v1.CommandInfo
		want string
	}{
		{&v1.CommandInfo{}, "Task cannot be started: 'command.value' holds no shell command"},
		{&v1.CommandInfo{Shell: proto.Bool(false)}, "Task cannot be started: 'command.value' names no executable"},
		{&v1.CommandInfo{Value: proto.String("x"), Environment: &v1.Environment{Variables: []*v1.Environment_Variable{
			{Name: proto.String("S"), Type: v1.Environment_Variable_SECRET.Enum(), Secret: &v1.Secret{Type: v1.Secret_REFERENCE.Enum()}}}}},
			"Task cannot be started: environment variable 'S' is a secret of type REFERENCE, which cannot be resolved"},
	} {
		r := newRig(t, true)
		r.subscribed()
		info := task("")
		info.Command = c.info
		if effects := r.launch(info); !ends(effects) {
			t.Error("does not end")
		}
		r.expect("TASK_STARTING ", "TASK_FAILED "+c.want)
	}
}

// EXE-49, EXE-130
func TestStartFailures(t *testing.T) {
	for _, c := range []struct {
		err    error
		lines  []string
		states []string
	}{
		{&ExecError{Path: "/x", Err: syscall.ENOENT}, []string{"Failed to execute '/x': no such file or directory"},
			[]string{"TASK_STARTING ", "TASK_RUNNING ", "TASK_FAILED Command exited with status 1"}},
		{fmt.Errorf("start: %w", &fs.PathError{Op: "fork/exec", Path: "/x", Err: syscall.EACCES}), []string{"Failed to execute '/x': permission denied"},
			[]string{"TASK_STARTING ", "TASK_RUNNING ", "TASK_FAILED Command exited with status 1"}},
		{errors.New("mount /proc: no"), nil, []string{"TASK_STARTING ", "TASK_FAILED Failed to launch container: mount /proc: no"}},
	} {
		r := newRig(t, true)
		r.subscribed()
		info := task("/x")
		info.Command.Shell = proto.Bool(false)
		r.launch(info)
		effects := r.step(started{err: c.err})
		var lines []string
		for _, e := range effects {
			if e, ok := e.(report); ok {
				lines = append(lines, e.line)
			}
		}
		if !slices.Equal(lines, c.lines) {
			t.Errorf("reports %q, want %q", lines, c.lines)
		}
		r.expect(c.states...)
	}
}

// EXE-60 to EXE-63: grace periods, and what a second KILL does.
func TestKillGrace(t *testing.T) {
	const none = time.Duration(-1)
	for _, c := range []struct {
		name   string
		own    time.Duration
		kills  []time.Duration // one each 1.5 s
		killed time.Duration   // of SIGKILL, counted from the first KILL
	}{
		{"default", none, []time.Duration{none}, 3 * time.Second},
		{"task's", 7 * time.Second, []time.Duration{none}, 7 * time.Second},
		{"KILL's", 7 * time.Second, []time.Duration{2 * time.Second}, 2 * time.Second},
		{"zero", none, []time.Duration{0}, 0},
		{"second shortens", none, []time.Duration{30 * time.Second, 2500 * time.Millisecond}, 2500 * time.Millisecond},
		{"second is over already", none, []time.Duration{30 * time.Second, time.Second}, 1500 * time.Millisecond},
		{"second cannot lengthen", none, []time.Duration{2 * time.Second, 30 * time.Second}, 2 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			info := task("x")
			if c.own >= 0 {
				info.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(c.own))}}
			}
			r := running(t, true, info)
			begin := r.now
			var at time.Duration = -1
			note := func(effects []effect) {
				if slices.Contains(signals(effects), syscall.SIGKILL) {
					at = r.now.Sub(begin)
				}
			}
			for i, grace := range c.kills {
				if i > 0 {
					note(r.after(1500 * time.Millisecond))
				}
				effects := r.kill(grace)
				if i == 0 && (len(signals(effects)) == 0 || signals(effects)[0] != syscall.SIGTERM) || i > 0 && slices.Contains(signals(effects), syscall.SIGTERM) {
					t.Fatalf("KILL %d: signals %v", i, signals(effects))
				}
				note(effects)
			}
			for at < 0 {
				next, ok := r.c.deadline()
				if !ok {
					t.Fatal("no SIGKILL")
				}
				r.now = next
				note(r.step(tick{}))
			}
			if at != c.killed {
				t.Errorf("SIGKILL after %s, want %s", at, c.killed)
			}
			r.step(exited{exit: Exit{Status: 9}})
			r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_KILLED Command terminated with signal Killed")
		})
	}
}

// EXE-61, EXE-63, SCH-111: TASK_KILLING once, and only for those who understand it.
func TestKillingState(t *testing.T) {
	r := running(t, true, task("x"), v1.FrameworkInfo_Capability_TASK_KILLING_STATE)
	r.kill(-1)
	r.kill(-1)
	r.step(exited{exit: Exit{Status: 0}})
	// EXE-60: killed whatever the status is.
	r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_KILLING ", "TASK_KILLED Command exited with status 0")
}

// A kill while the process is being started is made up for.
func TestKillWhileStarting(t *testing.T) {
	r := newRig(t, true)
	r.subscribed()
	r.launch(task("x"))
	r.signalled(r.kill(0))
	r.signalled(r.step(started{}), syscall.SIGTERM, syscall.SIGKILL)
	r.step(exited{exit: Exit{Status: 9}})
	r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_KILLED Command terminated with signal Killed")
}

// EXE-64
func TestKillAfterTheEnd(t *testing.T) {
	r := running(t, true, task("x"))
	r.acks = false
	r.step(exited{exit: Exit{Status: 3 << 8}})
	r.signalled(r.kill(0))
	r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_FAILED Command exited with status 3")
}

// EXE-65
func TestShutdown(t *testing.T) {
	r := running(t, true, task("x"))
	r.signalled(r.shutdown(), syscall.SIGTERM)
	r.signalled(r.after(3*time.Second - 1))
	r.signalled(r.after(1), syscall.SIGKILL)
	if !ends(r.step(exited{exit: Exit{Status: 9}})) {
		t.Error("does not end")
	}
	r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_KILLED Command terminated with signal Killed")

	idle := newRig(t, true)
	idle.subscribed()
	if !ends(idle.shutdown()) {
		t.Error("an idle executor does not end")
	}
}

// EXE-16: a stream of nothing but SHUTDOWN ends the executor when it has nothing more to say.
func TestShutdownInsteadOfSubscribed(t *testing.T) {
	r := running(t, true, task("x"))
	r.acks = false
	r.step(disconnected{stream: r.stream})
	r.step(exited{exit: Exit{}})
	r.after(time.Second)
	if !ends(r.shutdown()) {
		t.Error("does not end")
	}
}

// EXE-67
func TestMaxCompletionTime(t *testing.T) {
	limited := func() *v1.TaskInfo {
		info := task("x")
		info.MaxCompletionTime = &v1.DurationInfo{Nanoseconds: proto.Int64(2e9)}
		return info
	}
	r := running(t, true, limited(), v1.FrameworkInfo_Capability_TASK_KILLING_STATE)
	r.signalled(r.after(2*time.Second), syscall.SIGTERM, syscall.SIGKILL)
	r.signalled(r.kill(0))
	r.step(exited{exit: Exit{Status: 15}})
	r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_FAILED Command terminated with signal Terminated")
	if last := r.updates[2]; last.GetReason() != v1.TaskStatus_REASON_MAX_COMPLETION_TIME_REACHED {
		t.Errorf("reason %s", last.GetReason())
	}

	r = running(t, true, limited())
	r.kill(30 * time.Second)
	r.signalled(r.after(10 * time.Second))
	r.step(exited{exit: Exit{Status: 15}})
	r.expect("TASK_STARTING ", "TASK_RUNNING ", "TASK_KILLED Command terminated with signal Terminated")
}

// EXE-68: 60 s for the last acknowledgement.
func TestAcknowledgementTimeout(t *testing.T) {
	r := running(t, true, task("x"))
	r.acks = false
	if ends(r.step(exited{exit: Exit{}})) || ends(r.after(time.Minute-1)) {
		t.Fatal("ends without the acknowledgement")
	}
	if !ends(r.after(1)) {
		t.Error("does not end")
	}
}

// EXE-69
func TestSecondTask(t *testing.T) {
	r := running(t, true, task("x"))
	r.launch(task("x")) // the same one again
	second := task("y")
	second.TaskId = mesos.TaskID("t2").Proto()
	r.launch(second)
	r.expect("TASK_STARTING ", "TASK_RUNNING ", `TASK_FAILED Attempted to run multiple tasks using a "command" executor`)
	if r.updates[2].GetTaskId().GetValue() != "t2" {
		t.Errorf("update %v", r.updates[2])
	}
}

// EXE-57: the agent reports what the container did.
func TestLimitedContainer(t *testing.T) {
	r := running(t, true, task("x"))
	if !ends(r.step(exited{exit: Exit{Status: 9, Limited: true}})) {
		t.Error("does not end")
	}
	r.expect("TASK_STARTING ", "TASK_RUNNING ")
}

// EXE-147, EXE-150: without checkpoint the task ends with the agent.
func TestAgentLostWithoutCheckpoint(t *testing.T) {
	r := running(t, false, task("x"))
	r.signalled(r.step(disconnected{stream: r.stream}), syscall.SIGTERM)
	r.signalled(r.after(3*time.Second), syscall.SIGKILL)
	if !ends(r.step(exited{exit: Exit{Status: 9}})) {
		t.Error("does not end")
	}
}

// EXE-17, EXE-97, EXE-156: with checkpoint the task goes on, and what was not acknowledged is told
// to the next agent.
func TestAgentLostWithCheckpoint(t *testing.T) {
	r := running(t, true, task("x"))
	r.signalled(r.step(disconnected{stream: r.stream}))
	r.step(exited{exit: Exit{Status: 3 << 8}})
	effects := r.after(2 * time.Second)
	i := slices.IndexFunc(effects, func(e effect) bool { _, ok := e.(subscribe); return ok })
	if i < 0 {
		t.Fatalf("effects %v", effects)
	}
	call := effects[i].(subscribe).call.GetSubscribe()
	if n := len(call.GetUnacknowledgedUpdates()); n != 1 || call.GetUnacknowledgedUpdates()[0].GetStatus().GetState() != v1.TaskState_TASK_FAILED {
		t.Fatalf("unacknowledged %v", call)
	}
	if len(call.GetUnacknowledgedTasks()) != 0 {
		t.Error("a task whose update was acknowledged")
	}
	if ends(r.subscribed()) || len(r.updates) != 2 {
		t.Fatal("told twice on one connection")
	}
	if !ends(r.receive(acknowledged(call.GetUnacknowledgedUpdates()[0].GetStatus()))) {
		t.Error("does not end")
	}
}

// EXE-156: no agent within the recovery timeout.
func TestRecoveryTimeout(t *testing.T) {
	r := running(t, true, task("x"))
	r.step(disconnected{stream: r.stream})
	lost := r.now
	var sent []syscall.Signal
	for len(sent) == 0 {
		next, ok := r.c.deadline()
		if !ok {
			t.Fatal("waits for ever")
		}
		r.now = next
		effects := r.step(tick{})
		for _, e := range effects {
			if s, ok := e.(subscribe); ok {
				effects = append(effects, r.step(disconnected{stream: s.stream})...)
			}
		}
		sent = signals(effects)
	}
	if waited := r.now.Sub(lost); waited != 15*time.Minute || sent[0] != syscall.SIGTERM {
		t.Fatalf("%v after %s", sent, waited)
	}
	if !ends(r.step(exited{exit: Exit{Status: 15}})) {
		t.Error("does not end")
	}
}

// A refused or failed UPDATE is told again, in order.
func TestPostFailures(t *testing.T) {
	r := newRig(t, true)
	r.subscribed()
	r.c.step(r.now, received{stream: r.stream, message: &v1executor.Event{Type: v1executor.Event_LAUNCH.Enum(), Launch: &v1executor.Event_Launch{Task: task("x")}}})
	effects := r.c.step(r.now, posted{number: 1})
	effects = append(effects, r.c.step(r.now, started{})...)
	if slices.ContainsFunc(effects, func(e effect) bool { _, ok := e.(post); return ok }) {
		t.Fatal("posted at once")
	}
	r.after(2 * time.Second)
	r.expect("TASK_STARTING ", "TASK_RUNNING ")

	// 403: this agent does not know the connection.
	r.c.step(r.now, exited{exit: Exit{}})
	r.c.step(r.now, posted{number: r.c.posting, refused: true})
	effects = r.after(2 * time.Second)
	if !slices.ContainsFunc(effects, func(e effect) bool {
		s, ok := e.(subscribe)
		return ok && len(s.call.GetSubscribe().GetUnacknowledgedUpdates()) == 1
	}) {
		t.Fatalf("effects %v", effects)
	}
}

// EXE-32, EXE-34
func TestSettings(t *testing.T) {
	for _, name := range []string{"MESOS_FRAMEWORK_ID", "MESOS_EXECUTOR_ID", "MESOS_AGENT_ENDPOINT", "MESOS_SANDBOX", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD"} {
		env := slices.DeleteFunc(environment(true), func(e string) bool { return strings.HasPrefix(e, name+"=") })
		if _, err := parseSettings(env); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
	s, err := parseSettings(append(environment(true), tokenVariable+"=secret"))
	if err != nil || s.token != "secret" || slices.ContainsFunc(s.env, func(e string) bool { return strings.Contains(e, "secret") }) {
		t.Errorf("settings %+v, %v", s, err) // EXE-13
	}
}

// Random events keep the invariants, start one process, and report one end.
func TestRandomEvents(t *testing.T) {
	for seed := range uint64(500) {
		rng := rand.New(rand.NewPCG(seed, 3))
		r := newRig(t, rng.IntN(2) == 0)
		r.acks = rng.IntN(3) > 0
		starts, terminals := 0, 0
		alive := false
		for range 60 {
			var effects []effect
			switch rng.IntN(9) {
			case 0:
				effects = r.subscribed(v1.FrameworkInfo_Capability_TASK_KILLING_STATE)
			case 1:
				effects = r.launch(task("x"))
			case 2:
				effects = r.kill(time.Duration(rng.IntN(4)) * time.Second)
			case 3:
				if rng.IntN(6) == 0 {
					effects = r.shutdown()
				}
			case 4:
				effects = r.step(disconnected{stream: r.stream})
			case 5:
				if starts == 1 && !alive && r.c.life == starting {
					alive = true
					effects = r.step(started{})
				}
			case 6:
				if alive && rng.IntN(3) == 0 && r.c.life != dead {
					effects = r.step(exited{exit: Exit{Status: rng.IntN(2)}})
				}
			default:
				effects = r.after(time.Duration(rng.IntN(5000)) * time.Millisecond)
			}
			for _, e := range effects {
				if _, ok := e.(start); ok {
					starts++
				}
			}
			if len(signals(effects)) > 0 && !alive {
				t.Fatalf("seed %d: signals before the start", seed)
			}
		}
		for _, u := range r.updates {
			if mesos.Terminal(u.GetState()) {
				terminals++
			}
		}
		if starts > 1 || terminals > 1 && r.acks {
			t.Fatalf("seed %d: %d starts, %d ends", seed, starts, terminals)
		}
	}
}

// check tests what must hold after every step.
func (c *core) check() error {
	switch {
	case c.sent > len(c.updates):
		return fmt.Errorf("%d of %d updates were sent", c.sent, len(c.updates))
	case c.posting != 0 && !c.connected:
		return errors.New("a call is under way without a connection")
	case c.terminated != (c.life == dead):
		return fmt.Errorf("terminated is %v at %d", c.terminated, c.life)
	case c.killed && !c.killing && !c.expired:
		return errors.New("killed for nothing")
	case c.connected && !c.giveUp.IsZero():
		return errors.New("gives up though it is connected")
	case !c.ended && !c.connected && !c.alone && c.connectAt.IsZero() && c.giveUp.IsZero():
		return errors.New("waits for nothing")
	}
	for i, u := range c.updates {
		if mesos.Terminal(u.GetStatus().GetState()) && u.GetStatus().GetTaskId().GetValue() == "t1" && i < len(c.updates)-1 &&
			slices.ContainsFunc(c.updates[i+1:], func(o *v1executor.Call_Update) bool { return o.GetStatus().GetTaskId().GetValue() == "t1" }) {
			return errors.New("an update follows the terminal one")
		}
	}
	return nil
}
