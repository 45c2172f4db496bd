package master

import (
	"fmt"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// recoveredAgent is one that the registry has and that did not come back yet.
type recoveredAgent struct {
	info *v1.AgentInfo
	away *timer
	// elected says that it is awaited since the election; overdue that its time is over and that it
	// stays only because too many others are absent as well.
	elected, overdue bool
}

// absence counts the agents of the registry at the election, and how many of them are still awaited.
type absence struct {
	expected, awaited, overdue int
}

// recoverAgents takes over the agents of the registry at the election (CLU-62, SCH-278).
func (m *Master) recoverAgents() {
	for _, r := range m.registry.Agents() {
		m.awaitAgent(r.GetInfo(), true)
		m.absence.expected++
		m.absence.awaited++
	}
}

// awaitAgent gives an agent of the registry the usual time for coming back.
func (m *Master) awaitAgent(info *v1.AgentInfo, elected bool) {
	id := mesos.AgentID(info.GetId().GetValue())
	r := &recoveredAgent{info: info, elected: elected}
	m.recovered.put(id, r)
	m.startAwaiting(r)
	m.changed(nil, nil)
}

func (m *Master) startAwaiting(r *recoveredAgent) {
	id := mesos.AgentID(r.info.GetId().GetValue())
	m.timers.stop(r.away)
	r.away = m.timers.set(m.now.Add(m.cfg.AgentReregisterTimeout), func() { m.absentTooLong(id, r) })
}

// absentTooLong marks an agent unreachable that did not come back, unless too many did not: then
// something else is wrong, such as the network of this master, and all of them are kept.
func (m *Master) absentTooLong(id mesos.AgentID, r *recoveredAgent) {
	if !r.elected || m.absence.tolerable(m.cfg.RecoveryAgentRemovalLimit) {
		m.markUnreachable(id)
		return
	}
	r.overdue = true
	if m.absence.overdue++; m.absence.overdue == 1 {
		m.emit(Log{Warn: true, Message: fmt.Sprintf(
			"%d of %d agents have not come back since the election, more than --recovery-agent-removal-limit allows to give up: none of them is marked unreachable",
			m.absence.awaited, m.absence.expected)})
	}
	m.changed(nil, nil)
}

// tolerable reports whether so few agents are absent that they may be given up.
func (a *absence) tolerable(limit float64) bool {
	return float64(a.awaited) <= limit*float64(a.expected)
}

// endAwaiting takes an agent off the list of those that did not come back yet. If that leaves so few
// that they may be given up, those whose time is over are.
func (m *Master) endAwaiting(id mesos.AgentID) {
	r, ok := m.recovered.get(id)
	if !ok {
		return
	}
	m.timers.stop(r.away)
	m.recovered.delete(id)
	m.spare(id)
	if r.elected {
		m.absence.awaited--
	}
	if r.overdue {
		m.absence.overdue--
	}
	m.changed(nil, nil)
	if m.absence.overdue == 0 || !m.absence.tolerable(m.cfg.RecoveryAgentRemovalLimit) {
		return
	}
	m.absence.overdue = 0
	for r := range m.recovered.values() {
		if r.overdue {
			r.overdue = false
			m.markUnreachable(mesos.AgentID(r.info.GetId().GetValue()))
		}
	}
}
