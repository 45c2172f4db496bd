package sim

import (
	"fmt"
	"slices"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
)

// patience is how long after the last fault everything must be right again, without help.
const patience = 4 * time.Minute

// settle lets the world come to rest and fails if it does not.
func (w *world) settle() {
	w.logf("----", "calm")
	w.heal()
	w.tidyUp()
	for until := w.now + patience; w.now < until; {
		w.run(w.now + time.Second)
		if w.unsettled() == "" {
			return
		}
	}
	w.failf("not at rest %v after the last fault: %s", patience, w.unsettled())
}

// unsettled says what is not yet as it has to be; empty if all is.
func (w *world) unsettled() string {
	for _, check := range []func() string{w.nodesUnsettled, w.registryUnsettled, w.frameworksUnsettled, w.tasksUnsettled, w.mastersUnsettled, w.containersUnsettled} {
		if why := check(); why != "" {
			return why
		}
	}
	return ""
}

// acting is the leading master.
func (w *world) acting() *leader {
	for _, m := range w.nodes {
		if p := m.process; p != nil && !p.dead && p.lead != nil && p.peer.leads(p.lead.term) {
			return p.lead
		}
	}
	return nil
}

func (w *world) nodesUnsettled() string {
	l := w.acting()
	if l == nil {
		return "no master leads"
	}
	for _, m := range w.nodes {
		p := m.process
		switch {
		case p == nil || p.dead || !m.node.joined:
			return m.name + " does not run"
		case p.link == nil || p.link.leader != l.p.machine:
			return m.name + " has no stream to the leader"
		case p.agent != nil && len(m.node.waiting)+len(m.node.writing) > 0:
			return m.name + " is writing"
		}
	}
	return ""
}

// registryUnsettled compares the members: all have the same registry, with all that was acknowledged,
// and there are as many masters as there should be.
func (w *world) registryUnsettled() string {
	l := w.acting()
	status, state := l.p.peer.status(), l.p.peer.machine.View()
	if want := int(settings(state)); len(status.Voters) != want {
		return fmt.Sprintf("there are %d masters, not %d: %v", len(status.Voters), want, status.Voters)
	}
	for _, id := range append(status.Voters, status.Learners...) {
		m := l.p.memberAt(id)
		if m == nil {
			return fmt.Sprintf("raft member %d is of no node", id)
		}
		r := m.process.peer
		if r == nil || r.id != id {
			return fmt.Sprintf("%s does not run raft member %d", m.name, id)
		}
		if at := r.status().Applied; at != status.Applied {
			return fmt.Sprintf("%s has applied %d entries, the leader %d", m.name, at, status.Applied)
		}
		if r.machine.View().Hash() != state.Hash() {
			w.failf("the registry of %s is not that of the leader", m.name)
		}
	}
	for _, m := range w.nodes {
		if r := m.process.peer; r != nil && !slices.Contains(status.Voters, r.id) && !slices.Contains(status.Learners, r.id) {
			return fmt.Sprintf("%s runs raft member %d, which was removed", m.name, r.id)
		}
	}
	if why := w.history.lost(); why != "" {
		w.failf("%s", why)
	}
	tokens := make(map[string]bool)
	for _, t := range state.Tokens() {
		tokens[string(t.GetHash())] = true
	}
	for i, hash := range w.written {
		if !tokens[hash] {
			w.failf("token %d was acknowledged and is not in the registry", i)
		}
	}
	return ""
}

func (w *world) frameworksUnsettled() string {
	for _, f := range w.frameworks {
		if s := f.scheduler; !s.subscribed || s.retired {
			return f.name + " is not subscribed"
		}
	}
	return ""
}

func (w *world) tasksUnsettled() string {
	for _, t := range w.taskOrder {
		if why := t.unsettled(); why != "" {
			return fmt.Sprintf("task %s on %s is %s to its framework, but %s", t.id, t.agent, t.known, why)
		}
	}
	return ""
}

// mastersUnsettled compares the leading master's view with the truth.
func (w *world) mastersUnsettled() string {
	view := w.acting().view().State
	connected := 0
	for _, a := range view.GetGetAgents().GetAgents() {
		if !a.GetActive() {
			return "agent " + a.GetAgentInfo().GetId().GetValue() + " is not active"
		}
		connected++
	}
	if n := w.agents(); connected != n {
		return fmt.Sprintf("%d of %d agents are registered", connected, n)
	}
	for _, a := range view.GetGetAgents().GetRecoveredAgents() {
		if w.agentAlive(a.GetId().GetValue()) {
			return "agent " + a.GetId().GetValue() + " is taken for recovered only"
		}
	}
	listed := make(map[string]bool)
	for _, p := range view.GetGetTasks().GetTasks() {
		id := p.GetTaskId().GetValue()
		listed[id] = true
		if t := w.tasks[id]; !mesos.Terminal(p.GetState()) && (t == nil || !t.running()) {
			return fmt.Sprintf("task %s is %s to the master and does not run", id, p.GetState())
		}
	}
	for _, t := range w.taskOrder {
		if t.running() && !listed[t.id] {
			return fmt.Sprintf("task %s runs and the master does not know", t.id)
		}
	}
	return ""
}

// containersUnsettled looks for containers that no agent knows of.
func (w *world) containersUnsettled() string {
	for _, m := range w.nodes {
		if m.process.agent == nil {
			continue
		}
		known := m.process.agent.view()
		for _, c := range m.launched {
			if !known[string(c.spec.ID)] {
				return fmt.Sprintf("container %s of %s on %s is unknown to the agent", c.spec.ID, c.spec.ExecutorID, m.name)
			}
		}
	}
	return ""
}

// agentAlive says whether a node's agent has this id now.
func (w *world) agentAlive(id string) bool {
	for _, m := range w.nodes {
		if m.agentID() == id {
			return true
		}
	}
	return false
}

// agents is how many nodes run one.
func (w *world) agents() int {
	n := 0
	for _, m := range w.nodes {
		if m.process.agent != nil {
			n++
		}
	}
	return n
}

// agentID is the id that the machine's agent has on disk, empty before it was admitted.
func (m *machine) agentID() string {
	record := &wire.AgentRecord{}
	if err := proto.Unmarshal(m.node.kv["info"], record); err != nil {
		return ""
	}
	return record.GetAgent().GetId().GetValue()
}
