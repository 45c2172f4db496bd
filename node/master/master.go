package master

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// Master is the state of one time of office. Only one goroutine may use it.
type Master struct {
	cfg      Config
	rand     *rand.Rand
	alloc    *alloc.Allocator
	registry *registry.State // a clone, kept in step by what is committed
	elected  time.Time

	now time.Time // instant of the step under way, never going back
	out []Effect  // effects of the step under way

	// Proposals that wait for their Committed, the oldest first.
	proposals []proposal

	frameworks ordered[mesos.FrameworkID, *framework]
	completed  []*framework // ended under this master, the oldest first, bounded
	// Streams of connected frameworks, and SUBSCRIBE calls that wait for a commit.
	streams map[StreamID]*framework
	pending map[StreamID]*subscription
	// Framework ids with a registry operation in flight, and the events held back for it.
	busyFrameworks map[mesos.FrameworkID][]Event

	agents    ordered[mesos.AgentID, *agent]
	away      ordered[mesos.AgentID, *agent]          // those of agents that are disconnected
	recovered ordered[mesos.AgentID, *recoveredAgent] // in the registry, not yet back
	conns     map[ConnID]*conn
	// Agents with an operation in flight that admits or ends them.
	busyAgents map[mesos.AgentID]*busyAgent
	absence    absence
	removals   removals
	emptied    []*agent // of this step: agents to be drained that may have nothing left

	reconciling reconciling

	offers ordered[mesos.OfferID, *offer]

	timers                              timers
	nextFramework, nextAgent, nextOffer uint64

	counters counters
	index    uint64 // grows with every change that a picture can show
	lists    registryLists
	gauges   gauges
}

// proposal is a registry operation in flight and what follows it.
type proposal struct {
	op   *registry.Op
	done func(registry.Result, error)
}

// New starts the time of office of a leading master. Everything in the registry is known as
// recovered: frameworks and agents have to come back within their time-outs.
//
// Preconditions: cfg.Registry holds all that was committed before the election (SCH-23).
func New(cfg Config, now time.Time) *Master {
	if cfg.Started.IsZero() {
		cfg.Started = now
	}
	m := &Master{
		cfg:      cfg,
		rand:     cfg.Rand,
		registry: cfg.Registry.Clone(),
		elected:  now,
		now:      now,
		alloc: alloc.New(alloc.Options{
			Interval:       cfg.AllocationInterval,
			Rand:           cfg.Rand,
			MinAllocatable: cfg.MinAllocatable,
			Weights:        cfg.Weights,
			FilterGPU:      cfg.FilterGPU,
		}),
		streams:        make(map[StreamID]*framework),
		pending:        make(map[StreamID]*subscription),
		busyFrameworks: make(map[mesos.FrameworkID][]Event),
		conns:          make(map[ConnID]*conn),
		busyAgents:     make(map[mesos.AgentID]*busyAgent),
		counters:       newCounters(),
	}
	m.recoverAgents()
	m.recoverFrameworks()
	return m
}

// Step takes in one event at the instant now and returns what is to be done, in that order. An
// instant before that of the previous step counts as that one.
func (m *Master) Step(now time.Time, ev Event) []Effect {
	if now.After(m.now) {
		m.now = now
	}
	m.out = nil
	m.apply(ev)
	m.fireTimers()
	m.settleDrains()
	m.allocate()
	out := m.out
	m.out = nil
	return out
}

// Deadline is the next instant at which Step wants a Tick.
func (m *Master) Deadline() (time.Time, bool) {
	at, ok := m.timers.next()
	if next, due := m.alloc.Deadline(); due && (!ok || next.Before(at)) {
		at, ok = next, true
	}
	return at, ok
}

func (m *Master) apply(ev Event) {
	switch ev := ev.(type) {
	case SchedulerCall:
		m.schedulerCall(ev)
	case StreamClosed:
		m.streamClosed(ev.Stream)
	case FromAgent:
		m.fromAgent(ev)
	case AgentDisconnected:
		m.agentDisconnected(ev.Conn)
	case Committed:
		m.committed(ev)
	case removeFramework:
		m.removeHeld(ev)
	case TeardownFramework:
		m.teardownByOperator(ev)
	case KillTask:
		m.killByOperator(ev)
	case DrainAgent:
		m.drain(ev)
	case DeactivateAgent:
		m.deactivateByOperator(ev)
	case ReactivateAgent:
		m.reactivate(ev)
	case MarkAgentGone:
		m.markGoneByOperator(ev)
	case Query:
		m.emit(Answer{Request: ev.Request, Picture: m.picture()})
	case Tick:
	default:
		panic(fmt.Sprintf("master: unknown event %T", ev))
	}
}

func (m *Master) fireTimers() {
	for t := m.timers.due(m.now); t != nil; t = m.timers.due(m.now) {
		t.fire()
	}
}

func (m *Master) emit(e Effect) { m.out = append(m.out, e) }

func (m *Master) respond(r RequestID, status int, body string) {
	m.emit(Respond{Request: r, Status: status, Body: body})
}

// propose asks for op; done runs in the step of its Committed.
func (m *Master) propose(op *registry.Op, done func(registry.Result, error)) {
	m.proposals = append(m.proposals, proposal{op: op, done: done})
	m.emit(Propose{Op: op})
}

func (m *Master) committed(ev Committed) {
	if len(m.proposals) == 0 {
		panic("master: Committed without a proposal in flight")
	}
	// In order, unless the loop refused a later one before it got to the log.
	i := max(0, slices.IndexFunc(m.proposals, func(p proposal) bool { return p.op == ev.Op }))
	p := m.proposals[i]
	if i == 0 { // there may be tens of thousands, when as many agents are lost at once
		m.proposals[0] = proposal{}
		m.proposals = m.proposals[1:]
	} else {
		m.proposals = slices.Delete(m.proposals, i, i+1)
	}
	if ev.Err == nil && ev.Result.Refused == "" {
		if _, err := m.registry.Apply(m.registry.Index()+1, p.op); err != nil {
			panic("master: own proposal: " + err.Error())
		}
	}
	p.done(ev.Result, ev.Err)
}

// id returns an id made of the master's own and a counter.
func (m *Master) id(format string, counter *uint64) string {
	n := *counter
	*counter = n + 1
	return m.cfg.Info.GetId() + fmt.Sprintf(format, n)
}

// seconds is t as the API writes timestamps: seconds since 1970 with a fraction.
func seconds(t time.Time) float64 { return float64(t.UnixNano()) / 1e9 }

func timeInfo(t time.Time) *v1.TimeInfo {
	ns := t.UnixNano()
	return &v1.TimeInfo{Nanoseconds: &ns}
}

func unixTime(ns int64) time.Time { return time.Unix(0, ns) }
