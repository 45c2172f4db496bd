package master

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"syscall"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

// The fleet of the benchmarks: what a leader of the largest cluster finds after its election.
const (
	fleetAgents     = 50_000
	fleetTasks      = 10 // on each agent
	fleetFrameworks = 20
)

func fleetFramework(i int) *v1.FrameworkInfo {
	return withID(aware(fmt.Sprintf("f%d", i)), mesos.FrameworkID(fmt.Sprintf("old-%04d", i)))
}

func fleetAgent(i int) *v1.AgentInfo {
	scalar := func(name string, v float64) *v1.Resource {
		return &v1.Resource{Name: &name, Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &v}}
	}
	return &v1.AgentInfo{
		Hostname: proto.String(fmt.Sprintf("host-%d.example.org", i)), Port: proto.Int32(5051),
		Id: mesos.AgentID(fmt.Sprintf("old-S%d", i)).Proto(),
		Resources: []*v1.Resource{scalar("cpus", 24), scalar("mem", 65536), scalar("disk", 1e6), {
			Name: proto.String("ports"), Type: v1.Value_RANGES.Enum(),
			Ranges: &v1.Value_Ranges{Range: []*v1.Value_Range{{Begin: proto.Uint64(31000), End: proto.Uint64(32000)}}},
		}},
		Attributes: []*v1.Attribute{{Name: proto.String("rack"), Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: proto.String(fmt.Sprintf("r%d", i%500))}}},
	}
}

// fleetRegister is what an agent sends, decoded as it comes off the wire.
func fleetRegister(tb testing.TB, i, tasks int) *wire.FromAgent {
	reg := &wire.Register{
		Agent: fleetAgent(i), Version: proto.String("1"), Ip: proto.String(fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)),
		Capabilities: []*v1.AgentInfo_Capability{{Type: v1.AgentInfo_Capability_AGENT_DRAINING.Enum()}},
	}
	for k := range tasks {
		f := fleetFramework((i + k) % fleetFrameworks)
		if k < fleetFrameworks {
			reg.Frameworks = append(reg.Frameworks, f)
		}
		id := mesos.TaskID(fmt.Sprintf("task-%d-%d", i, k))
		reg.Tasks = append(reg.Tasks, &v1.Task{
			Name: proto.String("task"), TaskId: id.Proto(), FrameworkId: f.Id, AgentId: reg.Agent.Id, State: v1.TaskState_TASK_RUNNING.Enum(),
			Resources: []*v1.Resource{
				{Name: proto.String("cpus"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(0.5)}, AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("*")}},
				{Name: proto.String("mem"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(128)}, AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("*")}},
			},
			Statuses: []*v1.TaskStatus{{
				TaskId: id.Proto(), State: v1.TaskState_TASK_RUNNING.Enum(), Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(),
				AgentId: reg.Agent.Id, ExecutorId: mesos.ExecutorID(id).Proto(), Timestamp: proto.Float64(1.7e9), Uuid: uuid(byte(k)),
				ContainerStatus: &v1.ContainerStatus{ContainerId: &v1.ContainerID{Value: proto.String(fmt.Sprintf("4f6b0f2e-%d-%d", i, k))},
					NetworkInfos: []*v1.NetworkInfo{{IpAddresses: []*v1.NetworkInfo_IPAddress{{Protocol: v1.NetworkInfo_IPv4.Enum(), IpAddress: proto.String("10.1.2.3")}}}}},
			}},
		})
	}
	data, err := proto.Marshal(&wire.FromAgent{Message: &wire.FromAgent_Register{Register: reg}})
	if err != nil {
		tb.Fatal(err)
	}
	frame := &wire.FromAgent{}
	if err := proto.Unmarshal(data, frame); err != nil {
		tb.Fatal(err)
	}
	return frame
}

// fleetRegistry has agents and frameworks as an earlier leader left them.
func fleetRegistry(tb testing.TB, agents int) *registry.State {
	s := registry.New()
	apply := func(op *registry.Op) {
		if r, err := s.Apply(s.Index()+1, op); err != nil || r.Refused != "" {
			tb.Fatal(err, r.Refused)
		}
	}
	now := epoch.UnixNano()
	for i := range fleetFrameworks {
		apply(&registry.Op{Op: &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{Framework: fleetFramework(i), Time: &now}}})
	}
	for i := range agents {
		apply(&registry.Op{Op: &registry.Op_AdmitAgent{AdmitAgent: &registry.AdmitAgent{Agent: fleetAgent(i), Time: &now}}})
	}
	return s
}

// fleet is a leader that has just been elected, without harness: nothing checks or remembers.
type fleet struct {
	m      *Master
	now    time.Time
	call   RequestID
	viewer Viewer
	// effects counts what the master wanted.
	effects int
	// busy is the processor time of all steps, longest of the longest one.
	busy, longest time.Duration
}

// report shows the processor time of the loop, for each of n operations.
func (f *fleet) report(b *testing.B, n int) {
	b.ReportMetric(float64(f.busy.Microseconds())/1000/float64(n), "cpu-ms/op")
	b.ReportMetric(float64(f.longest.Microseconds())/1000, "cpu-ms/longest-step")
}

func (f *fleet) rest() { f.busy, f.longest = 0, 0 }

func newFleet(tb testing.TB, s *registry.State) *fleet {
	runtime.LockOSThread()
	cfg := testConfig()
	cfg.Registry, cfg.Rand = s, rand.New(rand.NewPCG(1, 2))
	return &fleet{m: New(cfg, epoch), now: epoch}
}

// threadTime is the processor time of this thread, which other programs on the machine do not lengthen.
func threadTime() time.Duration {
	var r syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_THREAD, &r); err != nil {
		panic(err)
	}
	return time.Duration(syscall.TimevalToNsec(r.Utime) + syscall.TimevalToNsec(r.Stime))
}

// step carries out one step, commits what it proposes, and keeps the length of the longest.
//
// Preconditions: the goroutine is locked to its thread.
func (f *fleet) step(ev Event) []Effect {
	began := threadTime()
	effects := f.m.Step(f.now, ev)
	d := threadTime() - began
	f.longest, f.busy = max(f.longest, d), f.busy+d
	f.effects += len(effects)
	for _, e := range effects {
		if p, ok := e.(Propose); ok {
			f.step(Committed{Op: p.Op})
		}
	}
	return effects
}

// tick ticks at all deadlines of the next d.
func (f *fleet) tick(d time.Duration) {
	for end := f.now.Add(d); ; {
		at, ok := f.m.Deadline()
		if !ok || at.After(end) {
			f.now = end
			return
		}
		if at.After(f.now) {
			f.now = at
		}
		f.step(Tick{})
	}
}

func (f *fleet) subscribeAll() {
	for i := range fleetFrameworks {
		f.call++
		f.step(SchedulerCall{Request: f.call, Stream: StreamID(i + 1), Call: subscribeCall(fleetFramework(i))})
	}
}

// registerAll lets all agents come back, a thousand in each tenth of a second.
func (f *fleet) registerAll(frames []*wire.FromAgent) {
	for i, frame := range frames {
		f.step(FromAgent{Conn: ConnID(i + 1), Remote: "10.0.0.1", Message: frame})
		if i%1000 == 999 {
			f.tick(100 * time.Millisecond)
		}
	}
}

func fleetFrames(tb testing.TB, agents, tasks int) []*wire.FromAgent {
	frames := make([]*wire.FromAgent, agents)
	for i := range frames {
		frames[i] = fleetRegister(tb, i, tasks)
	}
	return frames
}

// whole is made by the first benchmark that needs it.
var whole *fleet

// wholeFleet is a leader to which everybody has come back. It is the same for all benchmarks.
func wholeFleet(b *testing.B) *fleet {
	b.Helper()
	runtime.LockOSThread()
	if whole == nil {
		whole = newFleet(b, fleetRegistry(b, fleetAgents))
		whole.subscribeAll()
		whole.registerAll(fleetFrames(b, fleetAgents, fleetTasks))
		whole.tick(time.Second)
		runtime.GC()
	}
	whole.rest()
	return whole
}

// view asks for a picture and makes a view of it, of which only the former is the loop's time.
func (f *fleet) view() *View {
	return f.viewer.View(f.step(Query{})[0].(Answer).Picture)
}

func heapBytes() float64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc)
}

// BenchmarkElection is New with the registry of 50,000 agents.
func BenchmarkElection(b *testing.B) {
	s := fleetRegistry(b, fleetAgents)
	b.ResetTimer()
	for range b.N {
		newFleet(b, s)
	}
}

// BenchmarkReregistration is the return of 50,000 agents with 10 tasks each after a failover, of which
// the frameworks have subscribed, offers included.
func BenchmarkReregistration(b *testing.B) {
	s := fleetRegistry(b, fleetAgents)
	for range b.N {
		b.StopTimer()
		before := heapBytes()
		frames := fleetFrames(b, fleetAgents, fleetTasks)
		reports := heapBytes() - before
		f := newFleet(b, s)
		f.subscribeAll()
		f.rest()
		b.StartTimer()
		f.registerAll(frames)
		b.StopTimer()
		f.report(b, 1)
		b.ReportMetric(reports/(1<<20), "MB-reported")
		clear(frames)
		b.ReportMetric((heapBytes()-before)/(1<<20), "MB-held")
		runtime.KeepAlive(f)
		b.StartTimer()
	}
}

// BenchmarkFleetView is a view after one task has changed.
func BenchmarkFleetView(b *testing.B) {
	f := wholeFleet(b)
	f.view()
	f.rest()
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		b.StopTimer()
		f.step(fleetUpdate(i, v1.TaskState_TASK_RUNNING, byte(i)))
		b.StartTimer()
		f.view()
	}
	f.report(b, b.N)
}

// BenchmarkFleetFirstView is the view in which nothing can be taken from an earlier one.
func BenchmarkFleetFirstView(b *testing.B) {
	f := wholeFleet(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		for a := range f.m.agents.values() {
			f.m.changed(nil, a)
		}
		for w := range f.m.frameworks.values() {
			f.m.changed(w, nil)
		}
		b.StartTimer()
		f.view()
	}
	f.report(b, b.N)
}

// BenchmarkFleetAllocation is a batch cycle in which all offers were declined without a filter: every
// agent is offered again.
func BenchmarkFleetAllocation(b *testing.B) {
	f := wholeFleet(b)
	f.tick(time.Second)
	busy := time.Duration(0)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		b.StopTimer()
		for w := range f.m.frameworks.values() {
			call := &v1scheduler.Call{Type: v1scheduler.Call_DECLINE.Enum(), FrameworkId: w.id.Proto(), Decline: &v1scheduler.Call_Decline{Filters: &v1.Filters{RefuseSeconds: proto.Float64(0)}}}
			for o := range w.offers.values() {
				call.Decline.OfferIds = append(call.Decline.OfferIds, o.id.Proto())
			}
			f.call++
			f.step(SchedulerCall{Request: f.call, Header: w.streamUUID, HasHeader: true, Call: call})
		}
		f.rest()
		b.StartTimer()
		f.tick(time.Second)
		busy += f.busy
	}
	b.ReportMetric(float64(busy.Microseconds())/1000/float64(b.N), "cpu-ms/op")
	b.ReportMetric(float64(f.m.offers.len()), "offers")
}

// BenchmarkFleetReconcile is an implicit RECONCILE of each framework, 500,000 tasks in all.
func BenchmarkFleetReconcile(b *testing.B) {
	f := wholeFleet(b)
	b.ReportAllocs()
	b.ResetTimer()
	for range b.N {
		for w := range f.m.frameworks.values() {
			f.call++
			f.step(SchedulerCall{Request: f.call, Header: w.streamUUID, HasHeader: true, Call: &v1scheduler.Call{
				Type: v1scheduler.Call_RECONCILE.Enum(), FrameworkId: w.id.Proto(), Reconcile: &v1scheduler.Call_Reconcile{},
			}})
		}
		f.tick(5 * time.Second)
	}
	f.report(b, b.N)
}

// BenchmarkFleetUpdate is one status update and its acknowledgement.
func BenchmarkFleetUpdate(b *testing.B) {
	f := wholeFleet(b)
	b.ReportAllocs()
	b.ResetTimer()
	for i := range b.N {
		f.step(fleetUpdate(i, v1.TaskState_TASK_RUNNING, byte(i)))
	}
	f.report(b, b.N)
}

// fleetUpdate is an update of a task of agent i.
func fleetUpdate(i int, state v1.TaskState, n byte) FromAgent {
	i %= fleetAgents
	status := &v1.TaskStatus{
		TaskId: mesos.TaskID(fmt.Sprintf("task-%d-0", i)).Proto(), State: state.Enum(), Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(),
		AgentId: mesos.AgentID(fmt.Sprintf("old-S%d", i)).Proto(), Uuid: uuid(n),
	}
	return FromAgent{Conn: ConnID(i + 1), Message: &wire.FromAgent{Message: &wire.FromAgent_StatusUpdate{StatusUpdate: &wire.StatusUpdate{
		FrameworkId: fleetFramework(i % fleetFrameworks).Id, Status: status,
	}}}}
}

// BenchmarkFleetTeardown is the removal of a framework with 25,000 tasks.
func BenchmarkFleetTeardown(b *testing.B) {
	f := wholeFleet(b)
	b.ResetTimer()
	for i := range b.N {
		if i >= fleetFrameworks {
			b.Skip("no framework is left")
		}
		f.call++
		f.step(TeardownFramework{Request: f.call, ID: mesos.FrameworkID(fmt.Sprintf("old-%04d", i))})
	}
	f.report(b, b.N)
}

// BenchmarkFleetLost is the mark of 50,000 agents of which none has come back.
func BenchmarkFleetLost(b *testing.B) {
	s := fleetRegistry(b, fleetAgents)
	for range b.N {
		b.StopTimer()
		f := newFleet(b, s)
		f.subscribeAll()
		f.rest()
		b.StartTimer()
		f.tick(testConfig().AgentReregisterTimeout + time.Second)
		b.StopTimer()
		if n := f.m.registry.Counts().Unreachable; n != fleetAgents {
			b.Fatalf("%d unreachable", n)
		}
		f.report(b, 1)
		b.StartTimer()
	}
}

// BenchmarkFleetCutOff is the loss of all agents with all tasks at once, from the first broken connection to
// the last mark.
func BenchmarkFleetCutOff(b *testing.B) {
	s := fleetRegistry(b, fleetAgents)
	for range b.N {
		b.StopTimer()
		f := newFleet(b, s)
		f.subscribeAll()
		f.registerAll(fleetFrames(b, fleetAgents, fleetTasks))
		f.rest()
		b.StartTimer()
		for i := range fleetAgents {
			f.step(AgentDisconnected{Conn: ConnID(i + 1)})
		}
		disconnected := f.busy
		f.tick(testConfig().AgentReregisterTimeout + time.Second)
		b.StopTimer()
		if n := f.m.registry.Counts().Unreachable; n != fleetAgents {
			b.Fatalf("%d unreachable", n)
		}
		b.ReportMetric(float64(disconnected.Microseconds())/1000, "cpu-ms/disconnections")
		f.report(b, 1)
		b.StartTimer()
	}
}
