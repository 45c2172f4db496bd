package sim

import (
	"slices"
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
	maxDials     = 4
	maxMoves     = 3
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
	p     *process
	hint  *machine
	moved int // how often in a row another node was named
	next  int
	wait  time.Duration
	term  uint64 // newest of which a leader was seen
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
		if redirected && s.moved <= maxMoves {
			p.after(0, s.follow)
			return
		}
		s.wait = min(s.wait*3/2+firstRetry, lastRetry)
		p.after(s.wait/2+w.between(0, s.wait/2), s.follow)
	}
	s.dial(s.candidates(), again)
}

// dial asks one node after the other, until one answers at all.
func (s *search) dial(all []*machine, again func(redirected bool)) {
	if len(all) == 0 {
		again(false)
		return
	}
	to := all[0]
	s.p.machine.w.net.dial(s.p, to, nodeDialTime/10, (*process).accept,
		func(e *end) { s.greet(e, to, again) },
		func(string) { s.dial(all[1:], again) })
}

// candidates are the nodes to ask, the best first.
func (s *search) candidates() []*machine {
	p := s.p
	if p.lead != nil {
		return []*machine{p.machine}
	}
	var all []*machine
	add := func(m *machine) {
		if m != nil && m != p.machine && !slices.Contains(all, m) {
			all = append(all, m)
		}
	}
	if s.moved > maxMoves {
		s.moved, s.hint = 0, nil
	} else {
		if s.moved > 0 {
			add(s.hint)
		}
		if known, ok := p.knownLeader(); ok {
			add(known)
		}
		add(s.hint)
	}
	members := p.machine.node.members
	s.next++
	for i := range members {
		add(p.machine.w.nodeNamed(members[(s.next+i)%len(members)].GetNodeId()))
	}
	return all[:min(len(all), maxDials)]
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
			if m.Welcome.GetTerm() < s.term {
				e.close("an older term") // CLU-33
				end(false)
				return
			}
			greeted = true
			s.term = m.Welcome.GetTerm()
			s.hint, s.moved = to, 0
			s.keep(e, to, again)
		case *wire.ToNode_Redirect:
			e.close("redirected")
			s.hint = nil
			if id := m.Redirect.GetLeader(); id != "" && id != to.id {
				s.hint = p.machine.w.nodeNamed(id)
			}
			s.moved++
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
		ClusterId: proto.String(clusterID), NodeId: &m.id, Version: proto.String(version), Addresses: m.addresses(),
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
