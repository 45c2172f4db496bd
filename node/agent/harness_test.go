package agent

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

var epoch = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)

// rig drives one agent by hand. Unless held, checkpoints are answered at once.
type rig struct {
	t       *testing.T
	a       *Agent
	cfg     Config
	now     time.Time
	kv      map[string][]byte
	hold    bool
	pending []Checkpoint
	request RequestID
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Info = &v1.AgentInfo{
		Hostname: proto.String("localhost"),
		Port:     proto.Int32(5051),
		Resources: []*v1.Resource{
			scalarResource("cpus", 4, ""), scalarResource("mem", 2048, ""), scalarResource("disk", 4096, ""),
		},
	}
	cfg.Version = "1.12.0"
	cfg.WorkDir = "/srv/agent"
	cfg.Endpoint = "127.0.0.1:5051"
	cfg.BootID = "boot-1"
	cfg.Rand = rand.New(rand.NewPCG(1, 2))
	return cfg
}

// newRig has an agent that is recovered and registered as S0.
func newRig(t *testing.T, change ...func(*Config)) *rig {
	t.Helper()
	r := &rig{t: t, cfg: testConfig(), now: epoch, kv: map[string][]byte{}}
	for _, c := range change {
		c(&r.cfg)
	}
	r.a = New(r.cfg, r.now)
	r.step(Recovered{})
	r.register()
	return r
}

func (r *rig) register() []Effect {
	r.t.Helper()
	effects := r.step(MasterConnected{})
	return append(effects, r.master(&wire.ToAgent_Registered{Registered: &wire.Registered{
		AgentId: mesos.AgentID("S0").Proto(), Master: &v1.MasterInfo{Id: proto.String("M"), Ip: proto.Uint32(1), Port: proto.Uint32(5050)},
	}})...)
}

// step returns the effects of an event and, unless held, of the checkpoints that follow from it.
func (r *rig) step(ev Event) []Effect {
	r.t.Helper()
	effects := r.a.Step(r.now, ev)
	if err := r.a.Check(); err != nil {
		r.t.Fatalf("after %T: %v", ev, err)
	}
	for _, e := range effects {
		if c, ok := e.(Checkpoint); ok {
			r.pending = append(r.pending, c)
		}
	}
	if !r.hold {
		effects = append(effects, r.commit()...)
	}
	return effects
}

// commit stores what waits, and tells the agent.
func (r *rig) commit() []Effect {
	r.t.Helper()
	var effects []Effect
	for len(r.pending) > 0 {
		c := r.pending[0]
		r.pending = r.pending[1:]
		apply(r.kv, c)
		more := r.a.Step(r.now, Checkpointed{Seq: c.Seq})
		if err := r.a.Check(); err != nil {
			r.t.Fatalf("after Checkpointed: %v", err)
		}
		for _, e := range more {
			if c, ok := e.(Checkpoint); ok {
				r.pending = append(r.pending, c)
			}
		}
		effects = append(effects, more...)
	}
	return effects
}

func apply(kv map[string][]byte, c Checkpoint) {
	for _, key := range c.Delete {
		for k := range kv {
			if k == key || strings.HasSuffix(key, "/") && strings.HasPrefix(k, key) {
				delete(kv, k)
			}
		}
	}
	for k, v := range c.Put {
		kv[k] = v
	}
}

// crash starts a new agent from what is stored.
func (r *rig) crash(containers map[mesos.ContainerID]ContainerState) []Effect {
	r.t.Helper()
	r.pending = nil
	saved, err := LoadCheckpoint(r.kv)
	if err != nil {
		r.t.Fatal(err)
	}
	r.cfg.Checkpoint = saved
	r.a = New(r.cfg, r.now)
	return r.step(Recovered{Containers: containers})
}

func (r *rig) after(d time.Duration) []Effect {
	r.t.Helper()
	r.now = r.now.Add(d)
	return r.step(Tick{})
}

func (r *rig) master(message any) []Effect {
	r.t.Helper()
	m := &wire.ToAgent{}
	switch message := message.(type) {
	case *wire.ToAgent_Registered:
		m.Message = message
	case *wire.RunTask:
		m.Message = &wire.ToAgent_RunTask{RunTask: message}
	case *wire.KillTask:
		m.Message = &wire.ToAgent_KillTask{KillTask: message}
	case *wire.Acknowledge:
		m.Message = &wire.ToAgent_Acknowledge{Acknowledge: message}
	case *wire.ShutdownFramework:
		m.Message = &wire.ToAgent_ShutdownFramework{ShutdownFramework: message}
	case *wire.ShutdownExecutor:
		m.Message = &wire.ToAgent_ShutdownExecutor{ShutdownExecutor: message}
	case *wire.UpdateFramework:
		m.Message = &wire.ToAgent_UpdateFramework{UpdateFramework: message}
	case *wire.FrameworkMessage:
		m.Message = &wire.ToAgent_FrameworkMessage{FrameworkMessage: message}
	case *wire.Shutdown:
		m.Message = &wire.ToAgent_Shutdown{Shutdown: message}
	case *wire.Ping:
		m.Message = &wire.ToAgent_Ping{Ping: message}
	default:
		r.t.Fatalf("no such message: %T", message)
	}
	return r.step(FromMaster{Message: m})
}

func (r *rig) run(f *v1.FrameworkInfo, tasks ...*v1.TaskInfo) []Effect {
	r.t.Helper()
	return r.master(&wire.RunTask{Framework: f, Tasks: tasks})
}

func (r *rig) kill(task string, policy *v1.KillPolicy) []Effect {
	r.t.Helper()
	return r.master(&wire.KillTask{FrameworkId: mesos.FrameworkID("F").Proto(), TaskId: mesos.TaskID(task).Proto(), KillPolicy: policy})
}

func (r *rig) ack(task string, uuid []byte) []Effect {
	r.t.Helper()
	return r.master(&wire.Acknowledge{FrameworkId: mesos.FrameworkID("F").Proto(), TaskId: mesos.TaskID(task).Proto(), Uuid: uuid})
}

func (r *rig) call(stream StreamID, call *v1executor.Call) []Effect {
	r.t.Helper()
	r.request++
	return r.step(ExecutorCall{Request: r.request, Stream: stream, Call: call})
}

func call(executor string, t v1executor.Call_Type) *v1executor.Call {
	return &v1executor.Call{
		Type: t.Enum(), FrameworkId: mesos.FrameworkID("F").Proto(), ExecutorId: mesos.ExecutorID(executor).Proto(),
	}
}

func (r *rig) subscribe(executor string, stream StreamID, tasks []*v1.TaskInfo, updates ...*v1.TaskStatus) []Effect {
	r.t.Helper()
	c := call(executor, v1executor.Call_SUBSCRIBE)
	c.Subscribe = &v1executor.Call_Subscribe{UnacknowledgedTasks: tasks}
	for _, u := range updates {
		c.Subscribe.UnacknowledgedUpdates = append(c.Subscribe.UnacknowledgedUpdates, &v1executor.Call_Update{Status: u})
	}
	return r.call(stream, c)
}

func (r *rig) update(executor string, s *v1.TaskStatus) []Effect {
	r.t.Helper()
	c := call(executor, v1executor.Call_UPDATE)
	c.Update = &v1executor.Call_Update{Status: s}
	return r.call(0, c)
}

// uuid makes a valid one out of a number.
func uuid(n byte) []byte {
	u := make([]byte, 16)
	u[6], u[8], u[15] = 0x40, 0x80, n
	return u
}

func status(task string, state v1.TaskState, n byte) *v1.TaskStatus {
	return &v1.TaskStatus{
		TaskId: mesos.TaskID(task).Proto(), State: state.Enum(),
		Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: uuid(n),
	}
}

func scalarResource(name string, value float64, role string) *v1.Resource {
	r := &v1.Resource{
		Name: proto.String(name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(value)},
	}
	if role != "" {
		r.AllocationInfo = &v1.Resource_AllocationInfo{Role: proto.String(role)}
	}
	return r
}

func frameworkInfo(checkpoint bool, capabilities ...v1.FrameworkInfo_Capability_Type) *v1.FrameworkInfo {
	f := &v1.FrameworkInfo{
		Id: mesos.FrameworkID("F").Proto(), User: proto.String("root"), Name: proto.String("fw"),
		Checkpoint: proto.Bool(checkpoint), Roles: []string{"*"},
	}
	for _, c := range append([]v1.FrameworkInfo_Capability_Type{v1.FrameworkInfo_Capability_MULTI_ROLE}, capabilities...) {
		f.Capabilities = append(f.Capabilities, &v1.FrameworkInfo_Capability{Type: c.Enum()})
	}
	return f
}

const partitionAware = v1.FrameworkInfo_Capability_PARTITION_AWARE

func commandTask(id, command string) *v1.TaskInfo {
	return &v1.TaskInfo{
		Name: proto.String("name-" + id), TaskId: mesos.TaskID(id).Proto(), AgentId: mesos.AgentID("S0").Proto(),
		Resources: []*v1.Resource{scalarResource("cpus", 0.5, "*"), scalarResource("mem", 32, "*")},
		Command:   &v1.CommandInfo{Value: proto.String(command)},
	}
}

func customTask(id, executor string) *v1.TaskInfo {
	task := commandTask(id, "")
	task.Command = nil
	task.Executor = &v1.ExecutorInfo{
		Type: v1.ExecutorInfo_CUSTOM.Enum(), ExecutorId: mesos.ExecutorID(executor).Proto(),
		Command:   &v1.CommandInfo{Value: proto.String("./executor")},
		Resources: []*v1.Resource{scalarResource("cpus", 0.1, "*"), scalarResource("mem", 32, "*")},
		Name:      proto.String("exec-" + executor),
	}
	return task
}

// all are the effects of one kind.
func all[T Effect](effects []Effect) []T {
	var found []T
	for _, e := range effects {
		if e, ok := e.(T); ok {
			found = append(found, e)
		}
	}
	return found
}

func one[T Effect](t *testing.T, effects []Effect) T {
	t.Helper()
	found := all[T](effects)
	if len(found) != 1 {
		var zero T
		t.Fatalf("%d effects %T in\n%s", len(found), zero, render(effects))
	}
	return found[0]
}

// forwarded are the status updates for the master.
func forwarded(effects []Effect) []*v1.TaskStatus {
	var found []*v1.TaskStatus
	for _, s := range all[SendMaster](effects) {
		if u := s.Message.GetStatusUpdate(); u != nil {
			found = append(found, u.GetStatus())
		}
	}
	return found
}

// events are those sent to executors.
func events(effects []Effect, want v1executor.Event_Type) []*v1executor.Event {
	var found []*v1executor.Event
	for _, s := range all[Send](effects) {
		if s.Event.GetType() == want {
			found = append(found, s.Event)
		}
	}
	return found
}

// answered is the HTTP status of a call; 200 stands for a stream.
func answered(t *testing.T, effects []Effect) (int, string) {
	t.Helper()
	if len(all[OpenStream](effects)) == 1 {
		return 200, ""
	}
	r := one[Respond](t, effects)
	return r.Status, r.Body
}

// expectStatus checks one forwarded update.
func expectStatus(t *testing.T, effects []Effect, task string, state v1.TaskState, reason *v1.TaskStatus_Reason, message string) *v1.TaskStatus {
	t.Helper()
	for _, s := range forwarded(effects) {
		if s.GetTaskId().GetValue() != task {
			continue
		}
		if s.GetState() != state || s.GetMessage() != message || (s.Reason == nil) != (reason == nil) || reason != nil && s.GetReason() != *reason {
			t.Fatalf("status of %s is %v, want %s %v %q", task, s, state, reason, message)
		}
		if _, err := mesos.UUIDFromBytes(s.GetUuid()); err != nil || s.GetAgentId().GetValue() != "S0" || s.Timestamp == nil || s.Source == nil {
			t.Fatalf("incomplete status %v", s)
		}
		return s
	}
	t.Fatalf("no status of %s in\n%s", task, render(effects))
	return nil
}

// start brings an executor to RUNNING with its first tasks delivered.
func (r *rig) start(f *v1.FrameworkInfo, executor string, stream StreamID, tasks ...*v1.TaskInfo) LaunchSpec {
	r.t.Helper()
	spec := one[Launch](r.t, r.run(f, tasks...)).Spec
	r.step(ContainerLaunched{ID: spec.ID, Pid: 100})
	if status, body := answered(r.t, r.subscribe(executor, stream, nil)); status != 200 {
		r.t.Fatalf("SUBSCRIBE is answered %d %q", status, body)
	}
	return spec
}

func runGroup(f *v1.FrameworkInfo, executor *v1.ExecutorInfo, tasks ...*v1.TaskInfo) *wire.RunTask {
	return &wire.RunTask{Framework: f, Tasks: tasks, Group: proto.Bool(true), Executor: executor}
}

func shutdownExecutor(executor string) *wire.ShutdownExecutor {
	return &wire.ShutdownExecutor{FrameworkId: mesos.FrameworkID("F").Proto(), ExecutorId: mesos.ExecutorID(executor).Proto()}
}

func sortedKeys(kv map[string][]byte) []string { return slices.Sorted(maps.Keys(kv)) }

func ping() *wire.Ping { return &wire.Ping{} }
