package master

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// epoch is when every test begins.
var epoch = time.Unix(1_700_000_000, 0)

// harness drives a Master as the node's loop does: it steps events and ticks at deadlines, keeps a
// registry of its own for proposals, and remembers what was sent. Check runs after every step.
type harness struct {
	t        testing.TB
	m        *Master
	now      time.Time
	registry *registry.State
	// auto commits proposals as soon as they are made.
	auto bool
	// mute agents do not answer pings.
	mute      bool
	pinged    []ConnID
	proposals []*registry.Op
	effects   []Effect // of the last command, commits included

	request  RequestID
	answers  map[RequestID]Respond
	uuids    map[StreamID]string
	fids     map[StreamID]mesos.FrameworkID
	events   map[StreamID][]*v1scheduler.Event
	closed   map[StreamID]bool
	frames   map[ConnID][]*wire.ToAgent
	shut     map[ConnID]bool
	logs     []string
	viewer   Viewer
	lastView *View
}

func testConfig() Config {
	cfg := DefaultConfig()
	cfg.Info = &v1.MasterInfo{
		Id: proto.String("m"), Ip: proto.Uint32(16777343), Port: proto.Uint32(5050), Hostname: proto.String("h"),
		Pid: proto.String("master@127.0.0.1:5050"), Version: proto.String("1.12.0"),
	}
	return cfg
}

// newHarness starts a master on an empty registry unless cfg has one.
func newHarness(t testing.TB, cfg Config) *harness {
	t.Helper()
	h := &harness{
		t: t, now: epoch, auto: true,
		answers: make(map[RequestID]Respond), uuids: make(map[StreamID]string),
		fids: make(map[StreamID]mesos.FrameworkID), events: make(map[StreamID][]*v1scheduler.Event),
		closed: make(map[StreamID]bool), frames: make(map[ConnID][]*wire.ToAgent), shut: make(map[ConnID]bool),
	}
	h.registry = cfg.Registry
	if h.registry == nil {
		h.registry = registry.New()
	}
	h.elect(cfg)
	return h
}

// elect starts a new time of office on the harness's registry.
func (h *harness) elect(cfg Config) {
	cfg.Registry = h.registry.Clone()
	if cfg.Rand == nil {
		cfg.Rand = rand.New(rand.NewPCG(1, 2))
	}
	h.proposals = nil
	h.m, h.viewer = New(cfg, h.now), Viewer{}
	h.check()
}

func (h *harness) check() {
	h.t.Helper()
	if err := h.m.Check(); err != nil {
		h.t.Fatalf("after %v: %v", h.now.Sub(epoch), err)
	}
}

// do steps one event, with its commits if they are automatic.
func (h *harness) do(ev Event) []Effect {
	h.t.Helper()
	h.effects = nil
	h.step(ev)
	return h.effects
}

func (h *harness) step(ev Event) {
	h.t.Helper()
	for _, e := range h.m.Step(h.now, ev) {
		h.effects = append(h.effects, e)
		h.carryOut(e)
	}
	h.check()
	for h.auto && len(h.proposals) > 0 {
		h.commitNext()
	}
	for len(h.pinged) > 0 {
		c := h.pinged[0]
		h.pinged = h.pinged[1:]
		if !h.mute && !h.shut[c] {
			h.step(FromAgent{Conn: c, Message: &wire.FromAgent{Message: &wire.FromAgent_Pong{Pong: &wire.Pong{}}}})
		}
	}
}

// commitNext applies the oldest proposal and steps its Committed.
func (h *harness) commitNext() {
	h.t.Helper()
	op := h.proposals[0]
	h.proposals = h.proposals[1:]
	result, err := h.registry.Apply(h.registry.Index()+1, op)
	if err != nil {
		h.t.Fatal(err)
	}
	h.step(Committed{Op: op, Result: result})
}

// failNext steps the oldest proposal's Committed as one that was lost.
func (h *harness) failNext() {
	h.t.Helper()
	op := h.proposals[0]
	h.proposals = h.proposals[1:]
	h.step(Committed{Op: op, Err: errors.New("lost")})
}

// operator steps an operator's event, made with a request of its own, and returns the answer.
func (h *harness) operator(ev func(RequestID) Event) Respond {
	h.t.Helper()
	h.request++
	h.do(ev(h.request))
	return h.answers[h.request]
}

// drain drains an agent with a config in JSON.
func (h *harness) drain(a mesos.AgentID, config string) Respond {
	h.t.Helper()
	return h.operator(func(r RequestID) Event {
		return DrainAgent{Request: r, Agent: a, Config: parse(h.t, config, &v1.DrainConfig{})}
	})
}

func (h *harness) deactivate(a mesos.AgentID) Respond {
	h.t.Helper()
	return h.operator(func(r RequestID) Event { return DeactivateAgent{Request: r, Agent: a} })
}

func (h *harness) reactivate(a mesos.AgentID) Respond {
	h.t.Helper()
	return h.operator(func(r RequestID) Event { return ReactivateAgent{Request: r, Agent: a} })
}

func (h *harness) markGone(a mesos.AgentID) Respond {
	h.t.Helper()
	return h.operator(func(r RequestID) Event { return MarkAgentGone{Request: r, Agent: a} })
}

func (h *harness) carryOut(e Effect) {
	h.t.Helper()
	switch e := e.(type) {
	case Respond:
		if _, twice := h.answers[e.Request]; twice {
			h.t.Fatalf("request %d is answered twice", e.Request)
		}
		h.answers[e.Request] = e
	case OpenStream:
		if _, twice := h.answers[e.Request]; twice || h.uuids[e.Stream] != "" {
			h.t.Fatalf("request %d is answered twice", e.Request)
		}
		h.answers[e.Request] = Respond{Request: e.Request, Status: 200}
		h.uuids[e.Stream] = e.UUID
	case Send:
		if h.uuids[e.Stream] == "" || h.closed[e.Stream] {
			h.t.Fatalf("event on stream %d, which is not open: %v", e.Stream, e.Event)
		}
		if s := e.Event.GetSubscribed(); s != nil {
			h.fids[e.Stream] = mesos.FrameworkID(s.GetFrameworkId().GetValue())
		}
		h.events[e.Stream] = append(h.events[e.Stream], e.Event)
	case CloseStream:
		h.closed[e.Stream] = true
	case SendAgent:
		if h.shut[e.Conn] {
			h.t.Fatalf("frame on connection %d, which is closed: %v", e.Conn, e.Message)
		}
		h.frames[e.Conn] = append(h.frames[e.Conn], e.Message)
		if e.Message.GetPing() != nil {
			h.pinged = append(h.pinged, e.Conn)
		}
	case CloseAgent:
		h.shut[e.Conn] = true
	case Propose:
		h.proposals = append(h.proposals, e.Op)
	case Answer:
		h.lastView = h.viewer.View(e.Picture)
	case Log:
		h.logs = append(h.logs, e.Message)
	default:
		h.t.Fatalf("unknown effect %T", e)
	}
}

// wait lets time pass, with a Tick at every deadline on the way.
func (h *harness) wait(d time.Duration) {
	h.t.Helper()
	h.effects = nil
	until := h.now.Add(d)
	for {
		at, ok := h.m.Deadline()
		if !ok || at.After(until) {
			break
		}
		if at.After(h.now) {
			h.now = at
		}
		h.step(Tick{})
		if next, ok := h.m.Deadline(); ok && !next.After(h.now) {
			h.t.Fatalf("deadline %v does not move on at %v", next, h.now)
		}
	}
	h.now = until
}

// call makes a call on a stream of the harness and returns the answer.
func (h *harness) call(s StreamID, call *v1scheduler.Call) Respond {
	h.t.Helper()
	if call.FrameworkId == nil {
		call.FrameworkId = h.fids[s].Proto()
	}
	return h.raw(SchedulerCall{Header: h.uuids[s], HasHeader: true, Call: call})
}

// raw steps a call with a request of its own and returns the answer, if there is one by now.
func (h *harness) raw(c SchedulerCall) Respond {
	h.t.Helper()
	h.request++
	c.Request = h.request
	h.do(c)
	return h.answers[c.Request]
}

// subscribe subscribes on stream s.
func (h *harness) subscribe(s StreamID, info *v1.FrameworkInfo) Respond {
	h.t.Helper()
	return h.raw(SchedulerCall{Stream: s, Call: subscribeCall(info)})
}

func subscribeCall(info *v1.FrameworkInfo) *v1scheduler.Call {
	return &v1scheduler.Call{
		Type: v1scheduler.Call_SUBSCRIBE.Enum(), FrameworkId: info.Id,
		Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: info},
	}
}

// parse reads JSON into a message.
func parse[M proto.Message](t testing.TB, text string, m M) M {
	t.Helper()
	if err := protojson.Unmarshal([]byte(text), m); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return m
}

// typed is a call of the given JSON.
func (h *harness) send(s StreamID, text string) Respond {
	h.t.Helper()
	return h.call(s, parse(h.t, text, &v1scheduler.Call{}))
}

// agentInfo is an agent of 4 cpus, 2048 MB, 4096 MB disk and a thousand ports.
const agentInfo = `{"hostname":"a1","port":5051,"resources":[
 {"name":"cpus","type":"SCALAR","scalar":{"value":4}},{"name":"mem","type":"SCALAR","scalar":{"value":2048}},
 {"name":"disk","type":"SCALAR","scalar":{"value":4096}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]}}],
 "attributes":[{"name":"rack","type":"TEXT","text":{"value":"r1"}}]}`

// draining says that an agent can drain.
const draining = `"capabilities":[{"type":"AGENT_DRAINING"}]`

// register connects a new agent on connection c and returns its id.
func (h *harness) register(c ConnID) mesos.AgentID {
	h.t.Helper()
	h.agent(c, `{"register":{"agent":`+agentInfo+`,"version":"0.1.0",`+draining+`,"ip":"10.0.0.`+fmt.Sprint(c)+`"}}`)
	for _, f := range h.frames[c] {
		if r := f.GetRegistered(); r != nil {
			return mesos.AgentID(r.GetAgentId().GetValue())
		}
	}
	h.t.Fatal("the agent was not registered")
	return ""
}

// agent steps a frame of an agent.
func (h *harness) agent(c ConnID, text string) {
	h.t.Helper()
	h.do(FromAgent{Conn: c, Remote: "10.0.0.1", Message: parse(h.t, text, &wire.FromAgent{})})
}

// update steps a status update with a uuid made of n.
func (h *harness) update(c ConnID, f mesos.FrameworkID, task, state string, n byte) {
	h.t.Helper()
	h.do(FromAgent{Conn: c, Message: updateFrame(h.t, f, h.agentOf(c), task, state, n)})
}

func (h *harness) agentOf(c ConnID) mesos.AgentID {
	if x, ok := h.m.conns[c]; ok && x.agent != nil {
		return x.agent.id
	}
	return ""
}

func updateFrame(t testing.TB, f mesos.FrameworkID, a mesos.AgentID, task, state string, n byte) *wire.FromAgent {
	t.Helper()
	value, ok := v1.TaskState_value[state]
	if !ok {
		t.Fatalf("unknown state %s", state)
	}
	return &wire.FromAgent{Message: &wire.FromAgent_StatusUpdate{StatusUpdate: &wire.StatusUpdate{
		FrameworkId: f.Proto(),
		Status: &v1.TaskStatus{
			TaskId: mesos.TaskID(task).Proto(), State: v1.TaskState(value).Enum(), AgentId: a.Proto(),
			Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: uuid(n), ExecutorId: mesos.ExecutorID(task).Proto(),
		},
	}}}
}

func uuid(n byte) []byte {
	u := make([]byte, 16)
	u[6], u[8], u[15] = 0x40, 0x80, n
	return u
}

// take returns the events on a stream since the last take.
func (h *harness) take(s StreamID) []*v1scheduler.Event {
	events := h.events[s]
	h.events[s] = nil
	return events
}

// takeFrames returns the frames on a connection since the last call, pings left out.
func (h *harness) takeFrames(c ConnID) []*wire.ToAgent {
	var frames []*wire.ToAgent
	for _, f := range h.frames[c] {
		if f.GetPing() == nil {
			frames = append(frames, f)
		}
	}
	h.frames[c] = nil
	return frames
}

// offersIn lists the offers among events.
func offersIn(events []*v1scheduler.Event) []*v1.Offer {
	var offers []*v1.Offer
	for _, e := range events {
		offers = append(offers, e.GetOffers().GetOffers()...)
	}
	return offers
}

// brief renders events as lines such as "UPDATE t1 TASK_RUNNING SOURCE_EXECUTOR" for comparison.
func brief(events []*v1scheduler.Event) []string {
	lines := []string{}
	for _, e := range events {
		switch e.GetType() {
		case v1scheduler.Event_UPDATE:
			s := e.GetUpdate().GetStatus()
			line := "UPDATE " + s.GetTaskId().GetValue() + " " + s.GetState().String() + " " + s.GetSource().String()
			if s.Reason != nil {
				line += " " + s.GetReason().String()
			}
			if s.Message != nil {
				line += ": " + s.GetMessage()
			}
			lines = append(lines, line)
		case v1scheduler.Event_OFFERS:
			for _, o := range e.GetOffers().GetOffers() {
				lines = append(lines, "OFFER "+o.GetId().GetValue())
			}
		case v1scheduler.Event_RESCIND:
			lines = append(lines, "RESCIND "+e.GetRescind().GetOfferId().GetValue())
		case v1scheduler.Event_ERROR:
			lines = append(lines, "ERROR "+e.GetError().GetMessage())
		case v1scheduler.Event_FAILURE:
			lines = append(lines, strings.TrimRight("FAILURE "+e.GetFailure().GetAgentId().GetValue()+" "+e.GetFailure().GetExecutorId().GetValue(), " "))
		default:
			lines = append(lines, e.GetType().String())
		}
	}
	return lines
}

// same fails unless got and want are the same lines.
func same(t testing.TB, what string, got, want []string) {
	t.Helper()
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Fatalf("%s:\n got %s\nwant %s", what, strings.Join(got, "\n     "), strings.Join(want, "\n     "))
	}
}

// framework is a FrameworkInfo of the given capabilities.
func frameworkInfo(name string, capabilities ...v1.FrameworkInfo_Capability_Type) *v1.FrameworkInfo {
	info := &v1.FrameworkInfo{User: proto.String("root"), Name: &name}
	for _, c := range capabilities {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{Type: c.Enum()})
		if c == v1.FrameworkInfo_Capability_MULTI_ROLE {
			info.Roles = []string{"*"}
		}
	}
	return info
}

// aware is a framework as the golden session has it.
func aware(name string) *v1.FrameworkInfo {
	info := frameworkInfo(name, v1.FrameworkInfo_Capability_MULTI_ROLE,
		v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT, v1.FrameworkInfo_Capability_PARTITION_AWARE)
	info.FailoverTimeout = proto.Float64(30)
	info.Checkpoint = proto.Bool(true)
	return info
}

// taskJSON is a command task of the given cpus and 32 MB.
func taskJSON(id string, a mesos.AgentID, cpus float64, extra string) string {
	return fmt.Sprintf(`{"name":%q,"task_id":{"value":%q},"agent_id":{"value":%q},"resources":[
	 {"name":"cpus","type":"SCALAR","scalar":{"value":%g}},{"name":"mem","type":"SCALAR","scalar":{"value":32}}]%s}`,
		"name-"+id, id, a, cpus, extra)
}

const command = `,"command":{"value":"sleep 1000"}`

// launch accepts an offer with tasks given as JSON, with the filter in seconds.
func (h *harness) launch(s StreamID, offer *v1.Offer, refuse float64, tasks ...string) {
	h.t.Helper()
	r := h.send(s, fmt.Sprintf(`{"type":"ACCEPT","accept":{"offer_ids":[{"value":%q}],"operations":[{"type":"LAUNCH",
	 "launch":{"task_infos":[%s]}}],"filters":{"refuse_seconds":%g}}}`, offer.GetId().GetValue(), strings.Join(tasks, ","), refuse))
	if r.Status != 202 {
		h.t.Fatalf("ACCEPT: %d %s", r.Status, r.Body)
	}
}

// running brings up an agent on connection 1, a framework on stream 1 and tasks that run.
func running(t testing.TB, info *v1.FrameworkInfo, tasks ...string) (*harness, mesos.AgentID, mesos.FrameworkID) {
	t.Helper()
	h := newHarness(t, testConfig())
	a := h.register(1)
	h.subscribe(1, info)
	var list []string
	for _, id := range tasks {
		list = append(list, taskJSON(id, a, 0.5, command))
	}
	if len(list) > 0 {
		h.launch(1, offersIn(h.take(1))[0], 0, list...)
		for i, id := range tasks {
			h.update(1, h.fids[1], id, "TASK_RUNNING", byte(i+1))
			h.acknowledge(1, a, id, byte(i+1))
		}
		h.wait(time.Second)
	}
	return h, a, h.fids[1]
}

func (h *harness) acknowledge(s StreamID, a mesos.AgentID, task string, n byte) {
	h.t.Helper()
	r := h.call(s, &v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
		AgentId: a.Proto(), TaskId: mesos.TaskID(task).Proto(), Uuid: uuid(n),
	}})
	if r.Status != 202 {
		h.t.Fatalf("ACKNOWLEDGE: %d %s", r.Status, r.Body)
	}
}

// view is the newest view.
func (h *harness) view() *View {
	h.t.Helper()
	h.request++
	h.do(Query{Request: h.request})
	return h.lastView
}

// compact renders a message as JSON in one line.
func compact(m proto.Message) string {
	data, err := protojson.MarshalOptions{UseProtoNames: true}.Marshal(m)
	if err != nil {
		return err.Error()
	}
	var v any
	if err := json.Unmarshal(data, &v); err != nil {
		return err.Error()
	}
	data, err = json.Marshal(v) // sorted keys, no blanks
	if err != nil {
		return err.Error()
	}
	return string(data)
}

func newFrame() *wire.FromAgent { return &wire.FromAgent{} }

// withFramework is a call of a framework, of the given JSON.
func (h *harness) withFramework(id mesos.FrameworkID, text string) *v1scheduler.Call {
	h.t.Helper()
	call := parse(h.t, text, &v1scheduler.Call{})
	call.FrameworkId = id.Proto()
	return call
}

// commitAll commits what the master has proposed, without the bookkeeping of step.
func (h *harness) commitAll() {
	h.t.Helper()
	for len(h.m.proposals) > 0 {
		op := h.m.proposals[0].op
		result, err := h.registry.Apply(h.registry.Index()+1, op)
		if err != nil {
			h.t.Fatal(err)
		}
		h.m.Step(h.now, Committed{Op: op, Result: result})
	}
}
