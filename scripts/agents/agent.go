package main

import (
	"math"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"
)

// profile is what one agent looks like. Its parts are shared between agents where they are equal.
type profile struct {
	name       string // of the node, and host name of the agent
	ip         string
	port       int32 // of the agent's API, which nobody serves
	resources  []*v1.Resource
	attributes []*v1.Attribute
	domain     *v1.DomainInfo
}

// phase is where an agent stands with the cluster.
type phase int

const (
	outside   phase = iota // not admitted yet, away by its script, or waiting for its next try
	searching              // a stream is being opened
	greeting               // the stream is open and Register is sent
	serving                // registered
	gone                   // does not come back
)

// agent is one simulated agent with its node.
type agent struct {
	fleet   *fleet
	n       int
	profile *profile
	id      mesos.AgentID // empty until it is given one
	drain   *wire.Drain   // while it drains
	hosted  []*hosted     // frameworks with something here

	phase  phase
	stream uint64 // number of the newest
	term   uint64 // of the leader on the stream
	served uint64 // newest term in which it has registered
	// lost is when it lost its last registration, or was admitted; zero while it is registered.
	lost, opened  time.Time
	scripted      bool          // that was by its script
	wait          time.Duration // before the next try, roughly
	beat          time.Duration
	beats         uint64
	heard, pinged time.Time
	pingTimeout   time.Duration
	in, out       lane
	// next opens a stream or beats; absence is the next scripted disconnection.
	next, absence *timer
}

// hosted is a framework on one agent.
type hosted struct {
	*framework
	tasks     []*task
	executors []*executor
}

// admitted starts the life of an agent.
func (a *agent) admitted(id mesos.AgentID) {
	if a.fleet.leaving {
		return
	}
	a.fleet.counts[joined]++
	a.id, a.lost = id, a.fleet.now
	a.search()
}

// search asks for a stream.
func (a *agent) search() {
	a.stop(&a.next)
	a.stream++
	a.phase = searching
	a.fleet.emit(open{n: a.n, stream: a.stream})
}

func (a *agent) stop(t **timer) {
	a.fleet.timers.stop(*t)
	*t = nil
}

// greeted introduces the agent on its new stream.
func (a *agent) greeted(ev greeted) {
	f := a.fleet
	if ev.stream != a.stream || a.phase != searching {
		f.emit(hangUp{n: ev.n, stream: ev.stream})
		return
	}
	a.phase, a.term, a.beat, a.beats = greeting, ev.term, max(ev.beat, leastBeat), 0
	a.opened, a.heard, a.pinged, a.pingTimeout = f.now, f.now, f.now, 0
	f.counts[linked]++
	a.sayAgent(&wire.FromAgent{Message: &wire.FromAgent_Register{Register: a.register()}})
	a.sendBeat()
	if mean := f.script.DisconnectEvery; mean > 0 {
		wait := time.Duration(min(f.rand.ExpFloat64(), tail) * float64(mean))
		a.absence = f.after(wait, a.goAway)
	}
}

// sendBeat tells the leader that the node lives, and looks whether the leader does. The first one comes
// at a random time, so that many agents do not beat at once.
func (a *agent) sendBeat() {
	f := a.fleet
	wait := a.beat
	if a.beats == 0 {
		wait = time.Duration(f.rand.Int64N(int64(a.beat)) + 1)
	}
	a.next = f.after(wait, func() {
		silent := f.now.Sub(a.heard) > missedBeats*a.beat || a.pingTimeout > 0 && f.now.Sub(a.pinged) > a.pingTimeout
		if silent {
			a.drop()
			f.counts[losses]++
			a.retry()
			return
		}
		a.beats++
		a.say(&wire.FromNode{Message: &wire.FromNode_Beat{Beat: &wire.Beat{Seq: proto.Uint64(a.beats), Time: proto.Int64(f.now.UnixNano())}}})
		a.sendBeat()
	})
}

// drop ends the stream from this side.
func (a *agent) drop() {
	f := a.fleet
	if a.phase == greeting || a.phase == serving || a.phase == searching {
		f.emit(hangUp{n: a.n, stream: a.stream})
	}
	a.ended()
}

// ended puts away what belongs to a stream.
func (a *agent) ended() {
	f := a.fleet
	if a.phase == greeting || a.phase == serving {
		f.counts[linked]--
	}
	if a.phase == serving {
		f.counts[registered]--
		a.lost = f.now
	}
	a.phase = outside
	a.stop(&a.next)
	a.stop(&a.absence)
	f.empty(&a.in)
	f.empty(&a.out)
	for t := range a.all {
		a.stop(&t.retry)
	}
}

// unlinked looks for the leader again: at once if somebody knows where, else after a random time that
// grows, as clusterd does.
func (a *agent) unlinked(ev unlinked) {
	if ev.stream != a.stream || a.phase == outside || a.phase == gone {
		return
	}
	f := a.fleet
	if a.phase != searching {
		f.counts[losses]++
	}
	a.ended()
	switch {
	case ev.expelled:
		f.counts[expelled]++
		a.forget()
	case f.leaving:
	case ev.redirected:
		a.search()
	default:
		a.retry()
	}
}

func (a *agent) retry() {
	f := a.fleet
	if !a.opened.IsZero() && f.now.Sub(a.opened) > steady {
		a.wait = 0
	}
	a.opened = time.Time{}
	a.wait = min(a.wait*3/2+firstRetry, lastRetry)
	a.next = f.after(a.wait/2+time.Duration(f.rand.Int64N(int64(a.wait/2))), a.search)
}

// goAway is a scripted disconnection.
func (a *agent) goAway() {
	f := a.fleet
	a.drop()
	f.counts[disconnects]++
	a.scripted = true
	if f.rand.Float64() < f.script.Reboots {
		f.counts[reboots]++
		a.clear()
	}
	a.comeBack()
}

// comeBack has the agent return after the time that it is away.
func (a *agent) comeBack() {
	a.wait = 0
	a.next = a.fleet.after(a.fleet.script.Away.draw(a.fleet.rand), a.search)
}

// forget ends the agent for good, with all that it runs.
func (a *agent) forget() {
	if a.phase == serving {
		a.fleet.counts[registered]--
	}
	if a.phase == serving || a.phase == greeting {
		a.fleet.counts[linked]--
	}
	a.phase = gone
	a.stop(&a.next)
	a.stop(&a.absence)
	a.clear()
}

// clear drops all that runs here, without a word.
func (a *agent) clear() {
	for _, h := range slices.Clone(a.hosted) {
		a.close(h)
	}
	a.drain = nil
}

// say sends a frame, after its time on the way.
func (a *agent) say(m *wire.FromNode) {
	stream := a.stream
	a.fleet.pass(&a.out, func() { a.fleet.emit(send{n: a.n, stream: stream, message: m}) })
}

func (a *agent) sayAgent(m *wire.FromAgent) {
	a.say(&wire.FromNode{Message: &wire.FromNode_Agent{Agent: m}})
}

// received takes one frame, after its time on the way.
func (a *agent) received(ev received) {
	if ev.stream != a.stream || a.phase != greeting && a.phase != serving {
		return
	}
	a.heard = a.fleet.now
	if m := ev.message.GetAgent(); m != nil {
		a.fleet.pass(&a.in, func() { a.fromMaster(m) })
	}
}

var pong = &wire.FromAgent{Message: &wire.FromAgent_Pong{Pong: &wire.Pong{}}}

// fromMaster takes one order.
func (a *agent) fromMaster(m *wire.ToAgent) {
	switch m := m.GetMessage().(type) {
	case *wire.ToAgent_Registered:
		a.registered(m.Registered)
	case *wire.ToAgent_RunTask:
		a.runTask(m.RunTask)
	case *wire.ToAgent_KillTask:
		a.killTask(m.KillTask)
	case *wire.ToAgent_Acknowledge:
		a.acknowledge(m.Acknowledge)
	case *wire.ToAgent_FrameworkMessage:
		a.fleet.counts[undelivered]++
	case *wire.ToAgent_ShutdownExecutor:
		a.shutdownExecutor(m.ShutdownExecutor)
	case *wire.ToAgent_ShutdownFramework:
		if h := a.framework(m.ShutdownFramework.GetFrameworkId()); h != nil {
			a.close(h)
			a.drained()
		}
	case *wire.ToAgent_UpdateFramework:
		a.updateFramework(m.UpdateFramework.GetFramework())
	case *wire.ToAgent_Ping:
		a.pinged = a.fleet.now
		a.sayAgent(pong)
	case *wire.ToAgent_Drain:
		a.setDrain(m.Drain)
	case *wire.ToAgent_Shutdown:
		a.dismissed()
	}
}

// registered makes the agent a member of the cluster; its unacknowledged updates go out at once
// (EXE-171).
func (a *agent) registered(m *wire.Registered) {
	f := a.fleet
	if a.phase == greeting {
		a.phase = serving
		f.counts[registered]++
		f.counts[registrations]++
		f.arrived(a)
		a.lost, a.scripted = time.Time{}, false
	}
	if id := mesos.AgentID(m.GetAgentId().GetValue()); id != a.id {
		a.id = id
		f.emit(remember{n: a.n, id: id})
	}
	a.pingTimeout, a.pinged = time.Duration(m.GetPingTimeout().GetNanoseconds()), f.now
	for _, h := range a.hosted {
		a.resume(h)
	}
	a.setDrain(m.GetDrain())
}

// dismissed ends the agent on the master's word. As a daemon that is started again it comes back as
// another one (EXE-165).
func (a *agent) dismissed() {
	a.fleet.counts[dismissals]++
	a.clear()
	a.id = ""
	a.fleet.emit(remember{n: a.n, id: ""})
	a.drop()
	a.comeBack()
}

// framework finds a framework that has something here; nil if there is none.
func (a *agent) framework(id *v1.FrameworkID) *hosted {
	for _, h := range a.hosted {
		if string(h.id) == id.GetValue() {
			return h
		}
	}
	return nil
}

// host finds a framework, or makes room for it.
func (a *agent) host(info *v1.FrameworkInfo) *hosted {
	h := a.framework(info.GetId())
	if h == nil {
		h = &hosted{framework: a.fleet.framework(info)}
		a.hosted = append(a.hosted, h)
	}
	return h
}

// close ends all of a framework without updates (EXE-142, EXE-174).
func (a *agent) close(h *hosted) {
	for _, t := range h.tasks {
		if !t.terminal() {
			a.fleet.counts[forgottenTasks]++
		}
		a.discard(t)
	}
	h.tasks, h.executors = nil, nil
	a.tidy(h)
}

// tidy forgets a framework that has nothing left here.
func (a *agent) tidy(h *hosted) {
	if len(h.tasks) == 0 && len(h.executors) == 0 {
		a.hosted = slices.DeleteFunc(a.hosted, func(o *hosted) bool { return o == h })
	}
}

// updateFramework takes over what changed. A framework that has subscribed again gets its
// unacknowledged updates at once (SCH-230).
func (a *agent) updateFramework(info *v1.FrameworkInfo) {
	h := a.framework(info.GetId())
	if h == nil {
		return
	}
	if !proto.Equal(h.info, info) {
		h.info = info
	}
	a.resume(h)
}

// all yields every task that is not complete.
func (a *agent) all(yield func(*task) bool) {
	for _, h := range a.hosted {
		for _, t := range h.tasks {
			if !yield(t) {
				return
			}
		}
	}
}

// seconds since 1970, as timestamps have them.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

// setDrain begins to drain the agent, or ends that without config (OPR-57).
func (a *agent) setDrain(d *wire.Drain) {
	if d.GetConfig() == nil {
		a.drain = nil
		return
	}
	if a.drain == nil {
		a.fleet.counts[drains]++
	}
	a.drain = d
	limit := time.Duration(math.MaxInt64)
	if grace := d.GetConfig().GetMaxGracePeriod(); grace != nil {
		limit = time.Duration(grace.GetNanoseconds())
	}
	for _, h := range slices.Clone(a.hosted) {
		for _, t := range slices.Clone(h.tasks) {
			a.kill(h, t, limit)
		}
	}
	a.drained()
}

// drained ends the drain when no task is left.
func (a *agent) drained() {
	if a.drain == nil {
		return
	}
	for range a.all {
		return
	}
	a.drain = nil
}
