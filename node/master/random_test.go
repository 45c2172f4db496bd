package master

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

var seeds = flag.Int("seeds", 8, "number of seeds of TestRandomEvents")

// simulation drives a harness with random events: frameworks that come, accept, decline, kill, leave
// and return; agents that run what they are told, disconnect, answer no pings and come back.
type simulation struct {
	*harness
	rand    *rand.Rand
	streams []StreamID
	next    StreamID
	agents  []*simAgent
	conn    ConnID
	tasks   int
	known   []mesos.FrameworkID
	views   []*frozenView
}

// frozenView is a view as it was handed out; nothing in it may change later.
type frozenView struct {
	view  *View
	state string
}

// simAgent is the far end of an agent's connection.
type simAgent struct {
	conn       ConnID // 0 while disconnected
	id         mesos.AgentID
	seen       int // frames taken in
	frameworks map[mesos.FrameworkID]*v1.FrameworkInfo
	tasks      []*simTask
	ip         string
	draining   bool
}

type simTask struct {
	framework mesos.FrameworkID
	info      *v1.TaskInfo
	state     v1.TaskState
	uuid      []byte
}

// TestRandomEvents checks the invariants after each of many random steps, that views never change, and
// that two runs of one seed have the same effects.
func TestRandomEvents(t *testing.T) {
	for seed := range uint64(*seeds) {
		first := simulate(t, seed, 300)
		if second := simulate(t, seed, 300); first != second {
			t.Fatalf("seed %d: two runs differ", seed)
		}
	}
}

func simulate(t *testing.T, seed uint64, steps int) string {
	r := rand.New(rand.NewPCG(seed, 7))
	cfg := fastPings()
	cfg.MaxAgentPingTimeouts = 4
	cfg.Rand = rand.New(rand.NewPCG(seed, 8))
	cfg.MaxCompletedTasksPerFramework, cfg.MaxUnreachableTasksPerFramework, cfg.MaxCompletedFrameworks = 5, 3, 2
	if seed%3 == 0 {
		cfg.OfferTimeout = 3 * time.Second
	}
	s := &simulation{harness: newHarness(t, cfg), rand: r}
	s.auto = false
	var trace strings.Builder
	defer func() {
		if t.Failed() {
			t.Logf("seed %d", seed)
		}
	}()
	for i := range steps {
		s.randomStep()
		s.agentsRead()
		fmt.Fprint(&trace, len(s.effects), " ")
		if i%50 == 49 {
			s.freeze()
		}
		if t.Failed() {
			t.Fatalf("seed %d, step %d", seed, i)
		}
	}
	s.settle()
	for _, v := range s.views {
		if compact(v.view.State) != v.state {
			t.Fatalf("seed %d: a view changed after it was handed out", seed)
		}
	}
	return trace.String() + compact(s.view().State)
}

func (s *simulation) freeze() {
	v := s.view()
	s.views = append(s.views, &frozenView{v, compact(v.State)})
}

// settle commits all that is in flight and lets every timer fire: nothing may be left of frameworks
// that went away.
func (s *simulation) settle() {
	s.auto = true
	for len(s.proposals) > 0 {
		s.commitNext()
	}
	for _, id := range slices.Clone(s.streams) {
		s.do(StreamClosed{Stream: id})
	}
	s.wait(2 * time.Minute)
	if s.m.offers.len() != 0 {
		s.t.Error("offers without frameworks")
	}
	if s.m.frameworks.len() != 0 {
		s.t.Error("frameworks stay for ever")
	}
	for a := range s.m.agents.values() {
		if !a.used.Empty() || !a.offered.Empty() || a.tasks.len() != 0 {
			s.t.Errorf("agent %s still holds %s", a.id, a.used)
		}
	}
}

func (s *simulation) randomStep() {
	switch n := s.rand.IntN(100); {
	case n < 8:
		s.comeAgent()
	case n < 12:
		s.leaveAgent()
	case n < 20:
		s.subscribeSome()
	case n < 23:
		s.closeSome()
	case n < 45:
		s.answerOffers()
	case n < 65:
		s.progress()
	case n < 75:
		s.wait(time.Duration(s.rand.IntN(3000)) * time.Millisecond)
	case n < 90:
		if len(s.proposals) > 0 {
			s.effects = nil
			s.commitNext()
		}
	case n < 93:
		s.operate()
	default:
		s.otherCall()
	}
}

func (s *simulation) comeAgent() {
	var a *simAgent
	away := slices.DeleteFunc(slices.Clone(s.agents), func(a *simAgent) bool { return a.conn != 0 })
	if len(away) > 0 && s.rand.IntN(3) > 0 {
		a = away[s.rand.IntN(len(away))]
	} else {
		if len(s.agents) >= 5 {
			return
		}
		a = &simAgent{frameworks: make(map[mesos.FrameworkID]*v1.FrameworkInfo), ip: fmt.Sprintf("10.0.1.%d", s.rand.IntN(3))}
		s.agents = append(s.agents, a)
	}
	s.conn++
	a.conn, a.seen = s.conn, 0
	s.do(FromAgent{Conn: a.conn, Message: a.register(s.t)})
}

func (a *simAgent) register(t testing.TB) *wire.FromAgent {
	reg := &wire.Register{
		Agent: parse(t, agentInfo, &v1.AgentInfo{}), Version: proto.String("1"), Ip: &a.ip,
		Capabilities: []*v1.AgentInfo_Capability{{Type: v1.AgentInfo_Capability_AGENT_DRAINING.Enum()}},
	}
	if a.id != "" {
		reg.Agent.Id = a.id.Proto()
	}
	for _, task := range a.tasks {
		f := a.frameworks[task.framework]
		if !slices.ContainsFunc(reg.Frameworks, func(x *v1.FrameworkInfo) bool { return x == f }) {
			reg.Frameworks = append(reg.Frameworks, f)
		}
		report := &v1.Task{
			Name: task.info.Name, TaskId: task.info.TaskId, FrameworkId: task.framework.Proto(), AgentId: a.id.Proto(),
			State: task.state.Enum(), Resources: task.info.Resources,
		}
		if e := task.info.GetExecutor(); e != nil {
			report.ExecutorId = e.ExecutorId
			if !mesos.Terminal(task.state) && !slices.ContainsFunc(reg.Executors, func(x *v1.ExecutorInfo) bool { return proto.Equal(x, e) }) {
				reg.Executors = append(reg.Executors, e)
			}
		}
		reg.Tasks = append(reg.Tasks, report)
	}
	return &wire.FromAgent{Message: &wire.FromAgent_Register{Register: reg}}
}

func (s *simulation) leaveAgent() {
	if len(s.agents) == 0 {
		return
	}
	a := s.agents[s.rand.IntN(len(s.agents))]
	if a.conn == 0 {
		return
	}
	if s.rand.IntN(5) == 0 {
		s.do(FromAgent{Conn: a.conn, Message: &wire.FromAgent{Message: &wire.FromAgent_Unregister{Unregister: &wire.Unregister{}}}})
		s.forgetAgent(a)
		return
	}
	c := a.conn
	a.conn = 0
	s.do(AgentDisconnected{Conn: c})
}

func (s *simulation) forgetAgent(a *simAgent) {
	s.agents = slices.DeleteFunc(s.agents, func(x *simAgent) bool { return x == a })
}

// agentsRead lets all agents take in their frames.
func (s *simulation) agentsRead() {
	for _, a := range slices.Clone(s.agents) {
		if a.conn == 0 {
			continue
		}
		frames := s.frames[a.conn]
		for ; a.seen < len(frames); a.seen++ {
			s.agentRead(a, frames[a.seen])
		}
		if s.shut[a.conn] {
			a.conn = 0
		}
	}
}

func (s *simulation) agentRead(a *simAgent, f *wire.ToAgent) {
	switch f := f.GetMessage().(type) {
	case *wire.ToAgent_Registered:
		a.id = mesos.AgentID(f.Registered.GetAgentId().GetValue())
		s.drainAgent(a, f.Registered.GetDrain())
	case *wire.ToAgent_Drain:
		s.drainAgent(a, f.Drain)
	case *wire.ToAgent_Shutdown:
		s.forgetAgent(a)
	case *wire.ToAgent_RunTask:
		if s.rand.IntN(10) == 0 {
			return // lost
		}
		id := mesos.FrameworkID(f.RunTask.GetFramework().GetId().GetValue())
		a.frameworks[id] = f.RunTask.GetFramework()
		for _, info := range f.RunTask.GetTasks() {
			t := &simTask{framework: id, info: info, state: v1.TaskState_TASK_STAGING}
			if a.draining {
				s.t.Errorf("agent %s is sent task %s while it drains", a.id, info.GetTaskId().GetValue())
			}
			a.tasks = append(a.tasks, t)
		}
	case *wire.ToAgent_Acknowledge:
		a.tasks = slices.DeleteFunc(a.tasks, func(t *simTask) bool {
			return t.framework == mesos.FrameworkID(f.Acknowledge.GetFrameworkId().GetValue()) && mesos.Terminal(t.state) &&
				t.info.GetTaskId().GetValue() == f.Acknowledge.GetTaskId().GetValue() && string(t.uuid) == string(f.Acknowledge.GetUuid())
		})
	case *wire.ToAgent_ShutdownFramework:
		a.tasks = slices.DeleteFunc(a.tasks, func(t *simTask) bool {
			return t.framework == mesos.FrameworkID(f.ShutdownFramework.GetFrameworkId().GetValue())
		})
	}
}

// drainAgent kills all tasks; progress tells of it.
func (s *simulation) drainAgent(a *simAgent, d *wire.Drain) {
	a.draining = d.GetConfig() != nil
	if !a.draining {
		return
	}
	for _, t := range a.tasks {
		if !mesos.Terminal(t.state) {
			t.state, t.uuid = v1.TaskState_TASK_KILLED, uuid(byte(s.rand.IntN(255)+1))
		}
	}
}

// operate is an operator who takes agents out of service and back, also such that are not there.
func (s *simulation) operate() {
	if len(s.agents) == 0 {
		return
	}
	id := s.agents[s.rand.IntN(len(s.agents))].id
	s.request++
	switch s.rand.IntN(5) {
	case 0:
		s.do(DrainAgent{Request: s.request, Agent: id, Config: &v1.DrainConfig{MarkGone: proto.Bool(s.rand.IntN(4) == 0)}})
	case 1:
		s.do(DeactivateAgent{Request: s.request, Agent: id})
	case 2:
		if s.rand.IntN(3) == 0 {
			s.do(MarkAgentGone{Request: s.request, Agent: id})
		}
	default:
		s.do(ReactivateAgent{Request: s.request, Agent: id})
	}
}

// progress moves one task of one agent on, or ends an executor.
func (s *simulation) progress() {
	if len(s.agents) == 0 {
		return
	}
	a := s.agents[s.rand.IntN(len(s.agents))]
	if len(a.tasks) == 0 {
		return
	}
	t := a.tasks[s.rand.IntN(len(a.tasks))]
	states := []v1.TaskState{v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING, v1.TaskState_TASK_KILLING,
		v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FAILED, v1.TaskState_TASK_KILLED}
	if to := states[s.rand.IntN(len(states))]; mayFollow(t.state, to) {
		t.state = to
		t.uuid = uuid(byte(s.rand.IntN(255) + 1))
	}
	if a.conn == 0 || t.uuid == nil {
		return
	}
	if e := t.info.GetExecutor(); e != nil && s.rand.IntN(8) == 0 {
		for _, other := range a.tasks { // an executor takes its tasks with it
			if other.framework == t.framework && other.info.GetExecutor() != nil && !mesos.Terminal(other.state) {
				other.state, other.uuid = v1.TaskState_TASK_FAILED, uuid(byte(s.rand.IntN(255)+1))
			}
		}
		s.do(FromAgent{Conn: a.conn, Message: &wire.FromAgent{Message: &wire.FromAgent_ExecutorExited{ExecutorExited: &wire.ExecutorExited{
			FrameworkId: t.framework.Proto(), ExecutorId: e.ExecutorId, Status: proto.Int32(9),
		}}}})
	}
	frame := updateFrame(s.t, t.framework, a.id, t.info.GetTaskId().GetValue(), t.state.String(), 1)
	frame.GetStatusUpdate().GetStatus().Uuid = t.uuid
	s.do(FromAgent{Conn: a.conn, Message: frame})
}

func (s *simulation) subscribeSome() {
	s.next++
	info := aware("f")
	info.FailoverTimeout = proto.Float64(float64(s.rand.IntN(5)))
	info.Checkpoint = proto.Bool(s.rand.IntN(2) == 0)
	if s.rand.IntN(3) == 0 {
		info = frameworkInfo("plain")
		info.FailoverTimeout = proto.Float64(5)
	}
	for _, f := range s.fids {
		if !slices.Contains(s.known, f) {
			s.known = append(s.known, f)
		}
	}
	slices.Sort(s.known)
	if len(s.known) > 0 && s.rand.IntN(2) == 0 {
		info.Id = s.known[s.rand.IntN(len(s.known))].Proto()
	}
	s.streams = append(s.streams, s.next)
	s.subscribe(s.next, info)
}

func (s *simulation) closeSome() {
	if len(s.streams) == 0 {
		return
	}
	i := s.rand.IntN(len(s.streams))
	id := s.streams[i]
	s.streams = slices.Delete(s.streams, i, i+1)
	s.do(StreamClosed{Stream: id})
}

// someStream is an open stream, 0 if there is none.
func (s *simulation) someStream() StreamID {
	open := slices.DeleteFunc(slices.Clone(s.streams), func(id StreamID) bool { return s.fids[id] == "" || s.closed[id] })
	if len(open) == 0 {
		return 0
	}
	return open[s.rand.IntN(len(open))]
}

// answerOffers accepts or declines some offer, often not the framework's own.
func (s *simulation) answerOffers() {
	id := s.someStream()
	if id == 0 || s.m.offers.len() == 0 {
		return
	}
	var ids []mesos.OfferID
	var agents []mesos.AgentID
	for o := range s.m.offers.values() {
		ids, agents = append(ids, o.id), append(agents, o.agent.id)
	}
	i := s.rand.IntN(len(ids))
	refuse := []float64{0, 0.5, 5}[s.rand.IntN(3)]
	if s.rand.IntN(4) == 0 {
		s.send(id, fmt.Sprintf(`{"type":"DECLINE","decline":{"offer_ids":[{"value":%q}],"filters":{"refuse_seconds":%g}}}`, ids[i], refuse))
		return
	}
	var tasks []string
	for range 1 + s.rand.IntN(3) {
		s.tasks++
		extra := command
		if s.rand.IntN(3) == 0 {
			extra = customExecutor
		}
		tasks = append(tasks, taskJSON(fmt.Sprintf("t%d", s.rand.IntN(s.tasks+1)), agents[i], []float64{0.1, 1, 3, 9}[s.rand.IntN(4)], extra))
	}
	if r := s.send(id, acceptJSON(ids[i], refuse, tasks...)); r.Status != 202 && r.Status != 400 && r.Status != 403 {
		s.t.Errorf("ACCEPT: %+v", r)
	}
}

func (s *simulation) otherCall() {
	id := s.someStream()
	if id == 0 {
		return
	}
	task := fmt.Sprintf("t%d", s.rand.IntN(s.tasks+1))
	switch s.rand.IntN(8) {
	case 0:
		s.send(id, `{"type":"REVIVE"}`)
	case 1:
		s.send(id, `{"type":"SUPPRESS"}`)
	case 2:
		s.send(id, `{"type":"RECONCILE"}`)
	case 3:
		s.send(id, fmt.Sprintf(`{"type":"KILL","kill":{"task_id":{"value":%q}}}`, task))
	case 4:
		s.send(id, `{"type":"TEARDOWN"}`)
	default:
		s.acknowledgeAll(id)
	}
}

// acknowledgeAll acknowledges every update that came on a stream.
func (s *simulation) acknowledgeAll(id StreamID) {
	for _, e := range s.take(id) {
		status := e.GetUpdate().GetStatus()
		if len(status.GetUuid()) == 0 {
			continue
		}
		s.call(id, &v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
			AgentId: status.AgentId, TaskId: status.TaskId, Uuid: status.Uuid,
		}})
	}
}

func acceptJSON(offer mesos.OfferID, refuse float64, tasks ...string) string {
	list := ""
	for i, t := range tasks {
		if i > 0 {
			list += ","
		}
		list += t
	}
	return fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"operations":[{"type":"LAUNCH","launch":{"task_infos":[%s]}}],"filters":{"refuse_seconds":%g}}}`,
		offer, list, refuse)
}
