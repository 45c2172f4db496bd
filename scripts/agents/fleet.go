package main

import (
	"math/rand/v2"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

// Times of a node's stream to the leading master, those of clusterd itself.
const (
	firstRetry  = 100 * time.Millisecond
	lastRetry   = 5 * time.Second
	steady      = 10 * time.Second // a stream that lasted so long was a success
	leastBeat   = 100 * time.Millisecond
	missedBeats = 3
)

// script says how agents and tasks behave.
type script struct {
	StartDelay span     // from the order to TASK_RUNNING
	RunTime    span     // from there to the end of the task by itself
	KillDelay  span     // from a kill to the end
	Ends       outcomes // how tasks end by themselves
	NoStarting bool     // leave TASK_STARTING out
	Delay      span     // of each message between agent and master, in each direction
	// DisconnectEvery is the mean time between two scripted disconnections of one agent; 0 is never.
	DisconnectEvery time.Duration
	Away            span    // how long it stays away then
	Reboots         float64 // share of the disconnections, 0 to 1, after which its tasks are gone
}

// fleet is the core of many simulated agents: a function of its events, without clock or network. One
// loop steps it.
type fleet struct {
	script     *script
	rand       *rand.Rand
	version    string
	agents     []*agent
	timers     timers
	frameworks map[mesos.FrameworkID]*framework
	counts     counts
	offices    []office
	leaving    bool

	// Of the step under way.
	now     time.Time
	effects []effect
}

// framework is what all agents know of one; entries stay.
type framework struct {
	id   mesos.FrameworkID
	info *v1.FrameworkInfo // the newest; replaced, never changed
}

// event is what the core learns of. n is the place of an agent in the fleet.
type event interface{ event() }

type (
	// admitted: the agent's node belongs to the cluster. id is that of the agent, if it was registered
	// before.
	admitted struct {
		n  int
		id mesos.AgentID
	}
	// greeted: the leading master has welcomed the node on this stream.
	greeted struct {
		n      int
		stream uint64
		term   uint64
		beat   time.Duration
	}
	// unlinked: the stream has ended or could not be opened.
	unlinked struct {
		n      int
		stream uint64
		// redirected: another master is known to lead.
		redirected bool
		// expelled: the cluster does not want this node, for good.
		expelled bool
	}
	// received is one frame of the leading master.
	received struct {
		n       int
		stream  uint64
		message *wire.ToNode
	}
	// tick: the deadline has come.
	tick struct{}
	// leave: the agents take their leave for good.
	leave struct{}
)

func (admitted) event() {}
func (greeted) event()  {}
func (unlinked) event() {}
func (received) event() {}
func (tick) event()     {}
func (leave) event()    {}

// effect is what the core wants to be done.
type effect interface{ effect() }

type (
	// open a stream to the leading master; answered by greeted or unlinked.
	open struct {
		n      int
		stream uint64
	}
	// hangUp ends a stream; no answer is needed.
	hangUp struct {
		n      int
		stream uint64
	}
	// send a frame.
	send struct {
		n       int
		stream  uint64
		message *wire.FromNode
	}
	// remember the agent's id for the next run; empty if it has none any more.
	remember struct {
		n  int
		id mesos.AgentID
	}
)

func (open) effect()     {}
func (hangUp) effect()   {}
func (send) effect()     {}
func (remember) effect() {}

// newFleet makes the core for agents that look like this. version is that of the agents.
func newFleet(s *script, seed *rand.Rand, version string, profiles []*profile) *fleet {
	f := &fleet{script: s, rand: seed, version: version, frameworks: make(map[mesos.FrameworkID]*framework)}
	for n, p := range profiles {
		f.agents = append(f.agents, &agent{fleet: f, n: n, profile: p})
	}
	return f
}

// Step takes one event and returns what to do, in order. The slice is good until the next step.
func (f *fleet) Step(now time.Time, ev event) []effect {
	f.now, f.effects = now, f.effects[:0]
	switch ev := ev.(type) {
	case admitted:
		f.agents[ev.n].admitted(ev.id)
	case greeted:
		f.agents[ev.n].greeted(ev)
	case unlinked:
		f.agents[ev.n].unlinked(ev)
	case received:
		f.agents[ev.n].received(ev)
	case leave:
		f.leave()
	case tick:
	}
	for {
		t := f.timers.due(now)
		if t == nil {
			return f.effects
		}
		t.fire()
	}
}

// Deadline is when the core wants a tick, if at all.
func (f *fleet) Deadline() (time.Time, bool) { return f.timers.next() }

func (f *fleet) emit(e effect) { f.effects = append(f.effects, e) }

func (f *fleet) after(d time.Duration, fire func()) *timer {
	return f.timers.start(f.now.Add(d), fire)
}

// framework finds a framework, or takes it up.
func (f *fleet) framework(info *v1.FrameworkInfo) *framework {
	id := mesos.FrameworkID(info.GetId().GetValue())
	known := f.frameworks[id]
	if known == nil {
		known = &framework{id: id, info: info}
		f.frameworks[id] = known
	}
	return known
}

// arrived notes that an agent has registered with the leader of a term.
func (f *fleet) arrived(a *agent) {
	i := len(f.offices) - 1
	for i >= 0 && f.offices[i].Term != a.term {
		i--
	}
	if i < 0 {
		f.offices = append(f.offices, office{Term: a.term, First: f.now})
		i = len(f.offices) - 1
	}
	o := &f.offices[i]
	if !a.scripted {
		o.Waits.add(f.now.Sub(a.lost))
	}
	if a.served == a.term {
		return
	}
	if a.served != 0 && !a.scripted {
		o.Lost = earlier(o.Lost, a.lost)
	}
	o.Agents++
	o.Last = f.now
	a.served = a.term
}

// leave has every agent unregister. None comes back.
func (f *fleet) leave() {
	f.leaving = true
	for _, a := range f.agents {
		if a.phase == serving {
			a.say(&wire.FromNode{Message: &wire.FromNode_Agent{Agent: &wire.FromAgent{
				Message: &wire.FromAgent_Unregister{Unregister: &wire.Unregister{}}}}})
		}
		a.forget()
	}
}

// lane keeps the order of messages that are delayed on their way.
type lane struct {
	waiting []delayed
	timer   *timer
}

type delayed struct {
	at time.Time
	do func()
}

// pass lets a message go on its way, now or later.
func (f *fleet) pass(l *lane, do func()) {
	d := f.script.Delay.draw(f.rand)
	if d == 0 && len(l.waiting) == 0 {
		do()
		return
	}
	at := f.now.Add(d)
	if n := len(l.waiting); n > 0 && at.Before(l.waiting[n-1].at) {
		at = l.waiting[n-1].at
	}
	l.waiting = append(l.waiting, delayed{at, do})
	if l.timer == nil {
		f.arm(l)
	}
}

func (f *fleet) arm(l *lane) {
	l.timer = f.timers.start(l.waiting[0].at, func() {
		l.timer = nil
		for len(l.waiting) > 0 && !l.waiting[0].at.After(f.now) {
			next := l.waiting[0]
			l.waiting = l.waiting[1:]
			next.do()
		}
		if len(l.waiting) > 0 && l.timer == nil {
			f.arm(l)
		}
	})
}

// empty drops what is on its way.
func (f *fleet) empty(l *lane) {
	f.timers.stop(l.timer)
	*l = lane{}
}
