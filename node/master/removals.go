package master

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// RemovalRate is how many agents at most are marked unreachable in a time, evenly spread over it
// (SCH-265). The zero value is no limit.
type RemovalRate struct {
	Agents int
	Per    time.Duration
}

// ParseRemovalRate reads "<number>/<duration>", such as "1/10mins"; an empty text is no limit.
func ParseRemovalRate(text string) (RemovalRate, error) {
	if text == "" {
		return RemovalRate{}, nil
	}
	number, duration, ok := strings.Cut(text, "/")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if !ok || err != nil || n < 1 {
		return RemovalRate{}, fmt.Errorf("%q is not <number>/<duration> with a number of at least 1, such as 1/10mins", text)
	}
	per, err := mesos.ParseDuration(strings.TrimSpace(duration))
	if err != nil {
		return RemovalRate{}, fmt.Errorf("%q is not <number>/<duration>, such as 1/10mins: %w", text, err)
	}
	if per <= 0 {
		return RemovalRate{}, fmt.Errorf("%q is not a rate: the duration must be more than 0", text)
	}
	return RemovalRate{Agents: n, Per: per}, nil
}

// ParseRemovalLimit reads a percentage from "0%" to "100%" as a share from 0 to 1.
func ParseRemovalLimit(text string) (float64, error) {
	number, ok := strings.CutSuffix(strings.TrimSpace(text), "%")
	percent, err := strconv.ParseFloat(number, 64)
	if !ok || err != nil || !(percent >= 0 && percent <= 100) {
		return 0, fmt.Errorf("%q is not a percentage between 0%% and 100%%", text)
	}
	return percent / 100, nil
}

// spacing is the time between two marks.
func (r RemovalRate) spacing() time.Duration {
	if r.Agents < 1 {
		return 0
	}
	return r.Per / time.Duration(r.Agents)
}

// removals are the agents that wait for their turn to be marked unreachable.
type removals struct {
	waiting ordered[mesos.AgentID, struct{}]
	next    time.Time // when the next may be marked
	timer   *timer    // for the first that waits
}

// markUnreachable gives up an agent that is registered or awaited, as soon as the rate of removals
// allows. Until then it may come back, or answer (SCH-265).
func (m *Master) markUnreachable(id mesos.AgentID) {
	if _, busy := m.busyAgents[id]; busy || m.removals.waiting.has(id) {
		return // a removal, or the same mark
	}
	m.counters.add("master/slave_unreachable_scheduled")
	if m.removals.waiting.len() == 0 && !m.now.Before(m.removals.next) {
		m.markUnreachableNow(id)
		return
	}
	m.removals.waiting.put(id, struct{}{})
	m.scheduleRemoval()
}

// scheduleRemoval sets the timer for the first agent that waits.
func (m *Master) scheduleRemoval() {
	if m.removals.timer != nil || m.removals.waiting.len() == 0 {
		return
	}
	m.removals.timer = m.timers.set(m.removals.next, func() {
		m.removals.timer = nil
		if id, _, ok := m.removals.waiting.first(); ok {
			m.removals.waiting.delete(id)
			m.markUnreachableNow(id)
		}
		m.scheduleRemoval()
	})
}

// spare takes back a mark that waits for its turn: the agent lives.
func (m *Master) spare(id mesos.AgentID) {
	if m.removals.waiting.delete(id) {
		m.counters.add("master/slave_unreachable_canceled")
	}
}

// markUnreachableNow writes the mark into the registry before any framework is told (SCH-264).
func (m *Master) markUnreachableNow(id mesos.AgentID) {
	m.removals.next = m.now.Add(m.cfg.AgentRemovalRate.spacing())
	m.beginLeaving(id, markingUnreachable)
	now := m.now.UnixNano()
	m.propose(&registry.Op{Op: &registry.Op_MarkAgentUnreachable{MarkAgentUnreachable: &registry.MarkAgentUnreachable{
		AgentId: id.Proto(), Time: &now,
	}}}, func(res registry.Result, err error) {
		if err != nil {
			m.counters.add("master/slave_unreachable_canceled")
			m.stay(id)
		} else {
			m.counters.add("master/slave_unreachable_completed")
			m.counters.removal("unhealthy")
			m.agentUnreachable(id, now)
		}
		m.releaseAgent(id)
	})
}

// beginLeaving notes that an operation is about to end the agent.
func (m *Master) beginLeaving(id mesos.AgentID, doing agentChange) {
	m.spare(id)
	m.busyAgents[id] = &busyAgent{doing: doing}
	if a, registered := m.agents.get(id); registered {
		a.leaving = true
	}
}

// stay undoes leaving when the registry did not take the operation that was to end the agent.
func (m *Master) stay(id mesos.AgentID) {
	if r, ok := m.recovered.get(id); ok {
		if !r.overdue { // else it is kept anyway, until enough others are back
			m.startAwaiting(r)
		}
		return
	}
	a, ok := m.agents.get(id)
	if !ok {
		return
	}
	a.leaving = false
	m.startPings(a)
	if !a.connected() {
		m.awayAgent(a)
	}
	m.maybeDrained(a) // what it lost while it was to leave did not count
}

// busyAgent is an operation in flight on an agent, and the registrations that wait for its outcome.
type busyAgent struct {
	doing agentChange
	held  []FromAgent
}

// agentChange says what an operation in flight does to an agent: the agent is "being ...".
type agentChange string

const (
	admitting          agentChange = "admitted"
	markingUnreachable agentChange = "marked unreachable"
	markingGone        agentChange = "marked gone"
	removing           agentChange = "removed"
)

// holdAgent keeps a Register for after the operation in flight on the agent, if there is one.
func (m *Master) holdAgent(id mesos.AgentID, ev FromAgent) bool {
	b, busy := m.busyAgents[id]
	if busy {
		b.held = append(b.held, ev)
	}
	return busy
}

func (m *Master) releaseAgent(id mesos.AgentID) {
	b := m.busyAgents[id]
	delete(m.busyAgents, id)
	for _, ev := range b.held {
		if _, open := m.conns[ev.Conn]; open {
			m.register(ev) // holds itself again if need be
		}
	}
}

// agentUnreachable tells everybody, in the order of SCH-263.
func (m *Master) agentUnreachable(id mesos.AgentID, since int64) {
	if a, ok := m.agents.get(id); ok {
		for t := range a.tasks.values() {
			m.loseTask(t, since)
		}
		m.dropAgent(a)
	} else if m.recovered.has(id) {
		m.counters.add("master/recovery_slave_removals")
		m.endAwaiting(id)
	}
	m.announceFailure(id)
}

func (m *Master) loseTask(t *task, since int64) {
	if mesos.Terminal(t.state) {
		m.complete(t)
		return
	}
	status := m.masterStatus(t.id, lostState(v1.TaskState_TASK_UNREACHABLE, t.framework.partitionAware),
		v1.TaskStatus_REASON_AGENT_REMOVED, "health check timed out")
	status.AgentId = t.proto.GetAgentId()
	status.UnreachableTime = &v1.TimeInfo{Nanoseconds: &since}
	m.transition(t, v1.TaskState_TASK_UNREACHABLE, status)
	m.lose(t)
	m.sendStatus(t.framework, status)
}

// dropAgent forgets an agent whose tasks are dealt with.
func (m *Master) dropAgent(a *agent) {
	m.deactivateAgent(a)
	for e := range a.executors.values() {
		m.removeExecutor(e)
	}
	m.timers.stop(a.ping)
	m.timers.stop(a.away)
	if a.connected() {
		delete(m.conns, a.conn)
		m.emit(CloseAgent{Conn: a.conn})
		m.setConn(a, 0)
	}
	m.gauges.have(a.total, -1)
	m.alloc.RemoveAgent(a.id)
	m.agents.delete(a.id)
	m.away.delete(a.id)
	m.changed(nil, nil)
}

// announceFailure tells every connected framework that an agent is lost (SCH-258).
func (m *Master) announceFailure(id mesos.AgentID) {
	for f := range m.frameworks.values() {
		m.send(f, failureEvent(id, nil, nil))
	}
	m.changed(nil, nil)
}

// removeAgent ends an agent for good at its own wish, or because another took its address (SCH-271).
func (m *Master) removeAgent(a *agent, why, counter string) {
	if _, busy := m.busyAgents[a.id]; busy {
		return
	}
	m.beginLeaving(a.id, removing)
	m.propose(removeAgentOp(a.id), func(res registry.Result, err error) {
		if err != nil {
			m.stay(a.id)
		} else {
			m.counters.removal(counter)
			message := "Agent " + a.info.GetHostname() + " removed: " + why
			for t := range a.tasks.values() {
				m.endTask(t, v1.TaskState_TASK_LOST, v1.TaskStatus_REASON_AGENT_REMOVED, message)
			}
			m.dropAgent(a)
			m.announceFailure(a.id)
		}
		m.releaseAgent(a.id)
	})
}
