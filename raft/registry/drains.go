package registry

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// Drain returns how far an agent that is drained or deactivated has come, false for one that is
// active (OPR-57, OPR-59).
func (s *State) Drain(agentID string) (*Drain, bool) { return s.drains.get(agentID) }

// Drains returns the drained and deactivated agents in the order of their ids.
func (s *State) Drains() []*Drain { return s.drains.values() }

// drainable says why an agent can be neither drained nor deactivated, empty if it can.
func (s *State) drainable(id string) string {
	if s.agents.has(id) || s.unreachable.has(id) {
		return ""
	}
	return s.whereAgent(id)
}

// drainAgent begins to drain an agent, or begins anew with another config (OPR-57, OPR-58).
func (s *State) drainAgent(op *DrainAgent) string {
	id := op.GetAgentId().GetValue()
	if why := s.drainable(id); why != "" {
		return why
	}
	s.drains = s.drains.with(id, &Drain{AgentId: op.GetAgentId(), Config: op.GetConfig(), Time: proto.Int64(op.GetTime())})
	return ""
}

// agentDrained notes that nothing runs on an agent any more. It stays deactivated (OPR-57).
func (s *State) agentDrained(op *AgentDrained) string {
	id := op.GetAgentId().GetValue()
	if why := s.drainable(id); why != "" {
		return why
	}
	drain, ok := s.drains.get(id)
	if !ok || drain.GetConfig() == nil {
		return fmt.Sprintf("agent %s is not being drained", id)
	}
	if drain.GetDrained() {
		return fmt.Sprintf("agent %s is drained already", id)
	}
	s.drains = s.drains.with(id, &Drain{AgentId: drain.AgentId, Config: drain.Config, Time: drain.Time, Drained: proto.Bool(true)})
	return ""
}

// deactivateAgent notes that an agent gets no new tasks. One that is drained or draining is
// deactivated as it is (OPR-59).
func (s *State) deactivateAgent(op *DeactivateAgent) string {
	id := op.GetAgentId().GetValue()
	if why := s.drainable(id); why != "" {
		return why
	}
	if !s.drains.has(id) {
		s.drains = s.drains.with(id, &Drain{AgentId: op.GetAgentId()})
	}
	return ""
}

// reactivateAgent ends the deactivation of an agent. A drain cannot be cancelled (OPR-58, OPR-59).
func (s *State) reactivateAgent(op *ReactivateAgent) string {
	id := op.GetAgentId().GetValue()
	if why := s.drainable(id); why != "" {
		return why
	}
	drain, ok := s.drains.get(id)
	if !ok {
		return fmt.Sprintf("agent %s is not deactivated", id)
	}
	if drain.GetConfig() != nil && !drain.GetDrained() {
		return fmt.Sprintf("agent %s is still being drained", id)
	}
	s.drains = s.drains.without(id)
	return ""
}
