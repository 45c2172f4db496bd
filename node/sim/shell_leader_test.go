package sim

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/agent"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

// schedulerPatience is how long the kernel of a master tries to reach a scheduler that is gone.
const schedulerPatience = 20 * time.Second

// leader is the model of package node's shell around the core of a leading master. It is dropped whole
// when the leadership ends.
type leader struct {
	p    *process
	term uint64
	id   string
	loop loop[master.Event, master.Effect]
	core *master.Master

	conns    map[master.ConnID]*attendance
	order    []*attendance // the open ones, in the order in which they came
	requests map[master.RequestID]*end
	waiting  []*end // of requests
	streams  map[master.StreamID]*end
	opened   []*end // of streams

	steward *steward
	heard   map[string]time.Time // when nodes were last in contact
}

// attendance is a node's stream, as the leader sees it.
type attendance struct {
	id   master.ConnID
	node *machine
	end  *end
	sent uint64 // version of the newest Members
	raft uint64 // raft id that it was told
}

// newLeader begins a time of office.
func newLeader(p *process, term uint64, id string, state *registry.State) *leader {
	w, m := p.machine.w, p.machine
	cfg := master.DefaultConfig()
	cfg.Info = &v1.MasterInfo{
		Id: &id, Ip: proto.Uint32(uint32(m.number)), Port: proto.Uint32(5050), Hostname: &m.name,
		Pid: proto.String("master@" + m.address(5050)), Version: proto.String("1"),
	}
	cfg.Registry, cfg.Rand = state, rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64()))
	cfg.AgentPingTimeout, cfg.MaxAgentPingTimeouts = w.plan.pingTimeout, w.plan.pings
	cfg.AgentReregisterTimeout, cfg.HeartbeatInterval = w.plan.reregister, w.plan.heartbeat
	cfg.AgentRemovalRate = w.plan.removalRate
	cfg.OfferTimeout, cfg.AllocationInterval = w.plan.offerTimeout, time.Second
	l := &leader{
		p: p, term: term, id: id, conns: make(map[master.ConnID]*attendance),
		requests: make(map[master.RequestID]*end), streams: make(map[master.StreamID]*end), heard: make(map[string]time.Time),
	}
	l.core = master.New(cfg, m.clock.read())
	l.loop = loop[master.Event, master.Effect]{
		p: p, name: "master", core: l.core, tick: master.Tick{}, carry: l.carry, ready: l.acts, idle: idleStep,
	}
	l.steward = &steward{l: l, r: p.peer, since: m.clock.read()}
	l.loop.wake()
	l.steward.look()
	return l
}

// idleStep is the answer to a ping, or a tick that only sends pings and heartbeats.
func idleStep(ev master.Event, effects []master.Effect) bool {
	switch ev := ev.(type) {
	case master.FromAgent:
		return ev.Message.GetPong() != nil
	case master.Tick:
		return !slices.ContainsFunc(effects, func(f master.Effect) bool {
			switch f := f.(type) {
			case master.SendAgent:
				return f.Message.GetPing() == nil
			case master.Send:
				return f.Event.GetType() != v1scheduler.Event_HEARTBEAT
			}
			return true
		})
	}
	return false
}

// acts says whether the master may act at this moment, and takes note that it does. One whose lease has
// run out waits for what comes first: a longer lease, or the word that it does not lead any more.
func (l *leader) acts() bool {
	w := l.p.machine.w
	if !l.p.peer.leads(l.term) && !w.flaw.noLease {
		l.loop.queued = true
		l.p.after(20*time.Millisecond, func() {
			l.loop.queued = false
			l.loop.turn()
		})
		return false
	}
	w.history.acts(l)
	return true
}

// drop ends the time of office: every request, stream and connection.
func (l *leader) drop(why string) {
	l.loop.ended = true
	for _, e := range l.waiting {
		if !e.closed {
			e.send(response{status: 503})
		}
	}
	for _, e := range l.opened {
		e.close(why)
	}
	for _, a := range l.order {
		a.end.close(why)
	}
}

// carry carries out one effect of the core.
func (l *leader) carry(f master.Effect) {
	w := l.p.machine.w
	switch f := f.(type) {
	case master.Respond:
		if e := l.answered(f.Request); e != nil {
			e.send(response{status: f.Status, body: f.Body})
		}
	case master.OpenStream:
		if e := l.answered(f.Request); e != nil {
			l.opened = append(l.opened, e)
			e.send(response{status: 200, uuid: f.UUID})
		}
	case master.Send:
		if e := l.streams[f.Stream]; e != nil {
			e.send(sent(w, f.Event))
		}
	case master.CloseStream:
		if e := l.streams[f.Stream]; e != nil {
			delete(l.streams, f.Stream)
			e.close("closed by the master")
		}
	case master.SendAgent:
		if a := l.conns[f.Conn]; a != nil {
			a.end.send(sent(w, &wire.ToNode{Message: &wire.ToNode_Agent{Agent: f.Message}}))
		}
	case master.CloseAgent:
		if a := l.conns[f.Conn]; a != nil {
			a.end.over("closed by the master")
		}
	case master.Propose:
		l.propose(f.Op)
	case master.Answer, master.Log:
	default:
		w.failf("effect %T of the master has no one to carry it out", f)
	}
}

func (l *leader) propose(op *registry.Op) {
	l.p.peer.submit(op, func(result registry.Result, err error) {
		l.loop.post(master.Committed{Op: op, Result: result, Err: err})
	})
}

func (l *leader) answered(r master.RequestID) *end {
	e := l.requests[r]
	delete(l.requests, r)
	for i, o := range l.waiting {
		if o == e {
			l.waiting = append(l.waiting[:i], l.waiting[i+1:]...)
			break
		}
	}
	return e
}

// serveScheduler takes a call of a framework. A node that does not lead names the one that does.
func (p *process) serveScheduler(e *end, r schedulerRequest) {
	l := p.lead
	if l == nil {
		p.redirect(e)
		return
	}
	h := p.machine.w.handle()
	ev := master.SchedulerCall{Request: master.RequestID(h), Header: r.stream, HasHeader: r.stream != "", Call: r.call}
	l.requests[ev.Request] = e
	l.waiting = append(l.waiting, e)
	if r.call.GetType() == v1scheduler.Call_SUBSCRIBE {
		ev.Stream = master.StreamID(h)
		l.streams[ev.Stream] = e
		e.patience = schedulerPatience
		e.gone = func(string) {
			delete(l.streams, ev.Stream)
			l.loop.post(master.StreamClosed{Stream: ev.Stream})
		}
	}
	l.loop.post(ev)
}

// redirect names the node that leads.
func (p *process) redirect(e *end) {
	if to, ok := p.knownLeader(); ok && to != p.machine {
		e.send(response{status: 307, location: to})
		return
	}
	e.send(response{status: 503})
}

// serveNode takes the stream of a node, if this one leads.
func (p *process) serveNode(e *end, hello *wire.Hello) {
	w := p.machine.w
	l := p.lead
	if l == nil {
		redirect := &wire.Redirect{}
		if to, ok := p.knownLeader(); ok && to != p.machine {
			redirect.Leader, redirect.Addresses = &to.id, to.addresses()
		}
		e.send(sent(w, &wire.ToNode{Message: &wire.ToNode_Redirect{Redirect: redirect}}))
		e.close("not the leader")
		return
	}
	node := w.nodeNamed(hello.GetNodeId())
	if _, known := p.peer.machine.View().Node(hello.GetNodeId()); !known || node == nil {
		e.send(sent(w, &wire.ToNode{Message: &wire.ToNode_Refused{Refused: &wire.Refused{Reason: proto.String("not in the cluster")}}}))
		e.close("not in the cluster")
		return
	}
	a := &attendance{id: master.ConnID(w.handle()), node: node, end: e}
	for _, o := range l.order {
		if o.node == a.node {
			o.end.over("the node has opened another stream")
			break
		}
	}
	l.conns[a.id] = a
	l.order = append(l.order, a)
	e.patience = missedBeats*leastBeat + time.Second
	e.receive = func(m any) {
		if m, ok := m.(*wire.FromNode).GetMessage().(*wire.FromNode_Agent); ok {
			l.loop.post(master.FromAgent{Conn: a.id, Remote: a.node.ip(), Message: m.Agent})
		}
	}
	e.gone = func(string) {
		delete(l.conns, a.id)
		for i, o := range l.order {
			if o == a {
				l.order = append(l.order[:i], l.order[i+1:]...)
				break
			}
		}
		l.loop.post(master.AgentDisconnected{Conn: a.id})
	}
	e.send(sent(w, &wire.ToNode{Message: &wire.ToNode_Welcome{Welcome: &wire.Welcome{
		Term: &l.term, Leader: &p.machine.id, Addresses: p.machine.addresses(),
		Time: proto.Int64(p.machine.clock.read().UnixNano()), Beat: proto.Int64(int64(leastBeat)),
	}}}))
	l.steward.tell()
}

func fromMaster(m *wire.ToAgent) agent.Event { return agent.FromMaster{Message: m} }

// view asks the core for what operators see. It is for checks at the end of a run.
func (l *leader) view() *master.View {
	for _, f := range l.core.Step(l.p.machine.clock.read(), master.Query{}) {
		if a, ok := f.(master.Answer); ok {
			return new(master.Viewer).View(a.Picture)
		}
	}
	return nil
}

const maxShown = 600

// show renders what a core learns or wants in one line.
func show(v any) string {
	text := fmt.Sprintf("%T%+v", v, v)
	if len(text) > maxShown {
		text = text[:maxShown] + "..."
	}
	return text
}

// masterID is the id of a time of office.
func (w *world) masterID() string { return mesos.NewUUID(w.rng).String() }
