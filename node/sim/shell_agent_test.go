package sim

import (
	"fmt"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/agent"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"
)

// agentShell is the model of package node's shell around the core of a machine's agent.
type agentShell struct {
	p        *process
	loop     loop[agent.Event, agent.Effect]
	core     *agent.Agent
	link     *link
	requests map[agent.RequestID]*end
	streams  map[agent.StreamID]*end
	stopped  func() // told that the agent has ended, when it was told to
}

// startAgent recovers the agent from the machine's disk, as at the start of the daemon.
func (p *process) startAgent() {
	m, w := p.machine, p.machine.w
	saved, err := agent.LoadCheckpoint(m.node.kv)
	if err != nil {
		w.failf("%s: %v", m.name, err)
	}
	cfg := agent.DefaultConfig()
	cfg.Info = m.agentInfo()
	cfg.Version, cfg.WorkDir, cfg.Endpoint, cfg.BootID = "1", "/agent", m.address(5051), m.bootID()
	cfg.Checkpoint = saved
	cfg.Rand = rand.New(rand.NewPCG(w.rng.Uint64(), w.rng.Uint64()))
	cfg.ExecutorReregistrationExtension = time.Minute
	cfg.MasterPingTimeout = w.plan.pingTimeout * time.Duration(w.plan.pings)
	s := &agentShell{p: p, requests: make(map[agent.RequestID]*end), streams: make(map[agent.StreamID]*end)}
	s.core = agent.New(cfg, m.clock.read())
	s.loop = loop[agent.Event, agent.Effect]{p: p, name: "agent", core: s.core, tick: agent.Tick{}, carry: s.carry}
	p.agent = s
	m.node.stored = func(seq uint64) { s.loop.post(agent.Checkpointed{Seq: seq}) }
	m.node.failed = func(why string) { p.fail("checkpoint: " + why) }
	s.loop.post(agent.Recovered{Containers: m.found()})
}

// agentInfo describes the machine. Its resources never change.
func (m *machine) agentInfo() *v1.AgentInfo {
	scalar := func(name string, value float64) *v1.Resource {
		return &v1.Resource{Name: &name, Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &value}}
	}
	return &v1.AgentInfo{
		Hostname: &m.name, Port: proto.Int32(5051),
		Resources: []*v1.Resource{
			scalar("cpus", float64(2+m.number%3)), scalar("mem", 2048), scalar("disk", 4096),
			{Name: proto.String("ports"), Type: v1.Value_RANGES.Enum(), Ranges: &v1.Value_Ranges{Range: []*v1.Value_Range{{Begin: proto.Uint64(31000), End: proto.Uint64(32000)}}}},
		},
	}
}

func (m *machine) ip() string { return fmt.Sprintf("10.0.%d.%d", m.number/200, m.number%200+1) }

func (m *machine) address(port int) string { return fmt.Sprintf("%s:%d", m.ip(), port) }

// carry carries out one effect of the core.
func (s *agentShell) carry(f agent.Effect) {
	w := s.p.machine.w
	switch f := f.(type) {
	case agent.SendMaster:
		if s.link != nil {
			s.link.send(&wire.FromNode{Message: &wire.FromNode_Agent{Agent: f.Message}})
		}
	case agent.CloseMaster:
		if s.link != nil {
			s.link.end.over(f.Reason)
		}
	case agent.Respond:
		if e := s.answered(f.Request); e != nil {
			e.send(response{status: f.Status, body: f.Body})
		}
	case agent.OpenStream:
		if e := s.answered(f.Request); e != nil {
			e.send(response{status: 200})
		}
	case agent.Send:
		if e := s.streams[f.Stream]; e != nil {
			e.send(sent(w, f.Event))
		}
	case agent.CloseStream:
		if e := s.streams[f.Stream]; e != nil {
			delete(s.streams, f.Stream)
			e.close("closed by the agent")
		}
	case agent.Checkpoint:
		s.p.machine.node.queue(f)
	case agent.Launch:
		s.launch(f.Spec)
	case agent.Update:
		s.update(f.ID)
	case agent.Destroy:
		s.destroy(f.ID)
	case agent.Forget:
		s.forget(f.ID)
	case agent.Collect:
		s.p.after(w.between(time.Millisecond, 100*time.Millisecond), func() { s.loop.post(agent.Collected{Path: f.Path}) })
	case agent.Shutdown:
		s.loop.ended = true
		if s.stopped != nil {
			s.stopped()
			return
		}
		s.p.fail("the agent ends: " + f.Reason)
	case agent.Log, agent.Answer:
	default:
		w.failf("effect %T of the agent has no one to carry it out", f)
	}
}

func (s *agentShell) answered(r agent.RequestID) *end {
	e := s.requests[r]
	delete(s.requests, r)
	return e
}

func (s *agentShell) update(id mesos.ContainerID) {
	w := s.p.machine.w
	why := ""
	if c := s.p.machine.container(id); c == nil || c.life != alive {
		why = "container is not running"
	}
	s.p.after(w.between(time.Millisecond, 30*time.Millisecond), func() { s.loop.post(agent.ContainerUpdated{ID: id, Err: why}) })
}

// serveExecutor takes a call of an executor on this machine.
func (p *process) serveExecutor(e *end, r executorRequest) {
	s := p.agent
	if s == nil {
		e.send(response{status: 503})
		return
	}
	h := p.machine.w.handle()
	s.requests[agent.RequestID(h)] = e
	ev := agent.ExecutorCall{Request: agent.RequestID(h), Call: r.call}
	if r.call.GetType() == v1executor.Call_SUBSCRIBE {
		ev.Stream = agent.StreamID(h)
		s.streams[ev.Stream] = e
		e.gone = func(string) {
			if s.streams[ev.Stream] != nil {
				delete(s.streams, ev.Stream)
				s.loop.post(agent.ExecutorClosed{Stream: ev.Stream})
			}
		}
	}
	s.loop.post(ev)
}

// attach gives the agent the node's stream to the leader.
func (s *agentShell) attach(l *link) {
	s.link = l
	s.loop.post(agent.MasterConnected{})
}

// detach tells the agent that the stream is gone. Nothing of it comes afterwards.
func (s *agentShell) detach() {
	s.link = nil
	s.loop.post(agent.MasterDisconnected{})
}

// stop is the orderly end of a daemon (SIGTERM): the agent winds up, a leader hands over, neither for
// long (CLU-34).
func (p *process) stop(restart time.Duration) {
	w, over, handing := p.machine.w, false, false
	exit := func() {
		if !over && !p.dead {
			over = true
			p.kill("stopped")
			p.machine.startIn(restart)
		}
	}
	handOver := func() {
		if handing || p.dead {
			return
		}
		handing = true
		r := p.peer
		if r == nil || p.lead == nil || len(r.status().Voters) < 2 {
			w.after(0, exit)
			return
		}
		r.input(func(time.Time) { r.member.Transfer(0, func(error) { r.outside(exit) }) })
		p.after(time.Second, exit)
	}
	if p.agent == nil {
		handOver()
		return
	}
	p.agent.stopped = func() { w.after(0, handOver) }
	p.agent.loop.post(agent.Stop{})
	p.after(2*time.Second, handOver)
}

// fail ends the daemon for want of something that it cannot do without. A supervisor starts it again.
func (p *process) fail(why string) {
	w := p.machine.w
	// Whoever calls is in the midst of something that goes on in the dead process.
	w.after(0, func() {
		if !p.dead {
			p.kill(why)
			p.machine.startIn(w.between(time.Second, 5*time.Second))
		}
	})
}
