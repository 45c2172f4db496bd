package sim

import (
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos/wire"
)

// Times of package node's streams between a node and the leader.
const (
	nodeDialTime = 3 * time.Second
	greetingTime = 5 * time.Second
	leastBeat    = 2 * time.Second
	missedBeats  = 3
	firstRetry   = 100 * time.Millisecond
	lastRetry    = 5 * time.Second
	steady       = 10 * time.Second
)

// link is a node's one stream to the leading master.
type link struct {
	p      *process
	end    *end
	leader *machine
	term   uint64
}

func (l *link) send(m *wire.FromNode) { l.end.send(sent(l.p.machine.w, m)) }

// search is how a node looks for the leader.
type search struct {
	p    *process
	hint *machine
	next int
	wait time.Duration
	term uint64 // newest of which a leader was seen
}

// follow keeps the daemon on a stream to the leader for the rest of its life.
func (s *search) follow() {
	p := s.p
	began := p.machine.w.now
	again := func(redirected bool) {
		w := p.machine.w
		if w.now-began > steady {
			s.wait = 0
		}
		if redirected {
			p.after(0, s.follow)
			return
		}
		s.wait = min(s.wait*3/2+firstRetry, lastRetry)
		p.after(s.wait/2+w.between(0, s.wait/2), s.follow)
	}
	to := s.target()
	if to == nil {
		again(false)
		return
	}
	p.machine.w.net.dial(p, to, nodeDialTime, (*process).accept, func(e *end) { s.greet(e, to, again) }, func(string) { again(false) })
}

// target is the node that leads, as far as this one knows, or one that may know.
func (s *search) target() *machine {
	p := s.p
	if p.lead != nil {
		return p.machine
	}
	to := s.hint
	s.hint = nil
	if known, ok := p.knownLeader(); ok {
		to = known
	}
	if to != nil && to != p.machine {
		return to
	}
	members := p.machine.node.members
	for range members {
		s.next++
		if c := p.machine.w.nodeNamed(members[s.next%len(members)].GetNodeId()); c != p.machine {
			return c
		}
	}
	return nil
}

// greet says who we are and learns whether the other side leads. again goes on with the search.
func (s *search) greet(e *end, to *machine, again func(redirected bool)) {
	p := s.p
	greeted := false
	end := func(redirected bool) {
		if !greeted {
			greeted = true
			again(redirected)
		}
	}
	e.gone = func(string) { end(false) }
	e.receive = func(m any) {
		switch m := m.(*wire.ToNode).GetMessage().(type) {
		case *wire.ToNode_Welcome:
			if m.Welcome.GetTerm() < s.term && !p.machine.w.flaw.oldTerms {
				e.close("an older term") // CLU-33
				end(false)
				return
			}
			greeted = true
			s.term = m.Welcome.GetTerm()
			s.hint = to
			s.keep(e, to, again)
		case *wire.ToNode_Redirect:
			e.close("redirected")
			if id := m.Redirect.GetLeader(); id != "" && id != to.name {
				s.hint = p.machine.w.nodeNamed(id)
			}
			end(s.hint != nil)
		case *wire.ToNode_Refused:
			e.close("refused")
			end(false)
		}
	}
	hello := &wire.FromNode{Message: &wire.FromNode_Hello{Hello: p.hello(s.term)}}
	e.send(sent(p.machine.w, hello))
	p.after(greetingTime, func() {
		if !greeted {
			e.close("no greeting")
			end(false)
		}
	})
}

func (p *process) hello(term uint64) *wire.Hello {
	m := p.machine
	now := m.clock.read().UnixNano()
	return &wire.Hello{
		ClusterId: proto.String(clusterID), NodeId: &m.name, Version: proto.String(version), Addresses: m.addresses(),
		Term: &term, Time: &now, Started: &now,
	}
}

func (m *machine) addresses() *wire.Addresses {
	return &wire.Addresses{Peer: proto.String(m.address(5055)), Master: proto.String(m.address(5050)), Agent: proto.String(m.address(5051))}
}

// keep uses the stream until it ends.
func (s *search) keep(e *end, to *machine, again func(bool)) {
	p := s.p
	l := &link{p: p, end: e, leader: to, term: s.term}
	p.machine.w.logf(p.machine.name, "follows %s in term %d", to.name, s.term)
	e.patience = missedBeats * leastBeat
	e.receive = func(m any) {
		switch m := m.(*wire.ToNode).GetMessage().(type) {
		case *wire.ToNode_Agent:
			if p.agent != nil {
				p.agent.loop.post(fromMaster(m.Agent))
			}
		case *wire.ToNode_Members:
			p.takeMembers(m.Members)
		case *wire.ToNode_Refused:
			e.over("refused: " + m.Refused.GetReason())
		}
	}
	e.gone = func(why string) {
		p.machine.w.logf(p.machine.name, "loses %s: %s", to.name, why)
		p.link = nil
		if p.agent != nil {
			p.agent.detach()
		}
		again(false)
	}
	p.link = l
	if p.agent != nil {
		p.agent.attach(l)
	}
}

// knownLeader is the node that leads as far as this one knows.
func (p *process) knownLeader() (*machine, bool) {
	if p.peer != nil {
		return p.peer.leaderNode()
	}
	if p.link != nil {
		return p.link.leader, true
	}
	return nil, false
}
