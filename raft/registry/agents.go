package registry

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// whereAgent says in which state an agent is, as the reason of a refusal.
func (s *State) whereAgent(id string) string {
	switch {
	case id == "":
		return "agent id is empty"
	case s.agents.has(id):
		return fmt.Sprintf("agent %s is admitted already", id)
	case s.unreachable.has(id):
		return fmt.Sprintf("agent %s is marked unreachable", id)
	case s.gone.has(id):
		return fmt.Sprintf("agent %s has been marked gone", id)
	default:
		return fmt.Sprintf("agent %s is unknown", id)
	}
}

func (s *State) admitAgent(op *AdmitAgent) string {
	id := op.GetAgent().GetId().GetValue()
	if id == "" || s.agents.has(id) || s.unreachable.has(id) || s.gone.has(id) {
		return s.whereAgent(id)
	}
	s.agents = s.agents.with(id, &Snapshot_Agent{Info: op.GetAgent(), Admitted: proto.Int64(op.GetTime())})
	return ""
}

func (s *State) updateAgent(op *UpdateAgent) string {
	id := op.GetAgent().GetId().GetValue()
	old, ok := s.agents.get(id)
	if !ok {
		return s.whereAgent(id)
	}
	s.agents = s.agents.with(id, &Snapshot_Agent{Info: op.GetAgent(), Admitted: old.Admitted})
	return ""
}

func (s *State) markAgentUnreachable(op *MarkAgentUnreachable) string {
	id := op.GetAgentId().GetValue()
	agent, ok := s.agents.get(id)
	if !ok {
		return s.whereAgent(id)
	}
	s.agents = s.agents.without(id)
	s.unreachable = s.unreachable.with(id, &Snapshot_Unreachable{
		Info: agent.Info, Time: proto.Int64(op.GetTime()), Admitted: agent.Admitted,
	})
	return ""
}

func (s *State) markAgentReachable(op *MarkAgentReachable) string {
	id := op.GetAgent().GetId().GetValue()
	lost, ok := s.unreachable.get(id)
	if !ok {
		return s.whereAgent(id)
	}
	s.unreachable = s.unreachable.without(id)
	s.agents = s.agents.with(id, &Snapshot_Agent{Info: op.GetAgent(), Admitted: lost.Admitted})
	return ""
}

func (s *State) markAgentGone(op *MarkAgentGone) string {
	id := op.GetAgentId().GetValue()
	if !s.agents.has(id) && !s.unreachable.has(id) {
		return s.whereAgent(id)
	}
	s.agents = s.agents.without(id)
	s.unreachable = s.unreachable.without(id)
	s.drains = s.drains.without(id)
	s.gone = s.gone.with(id, op.GetTime())
	return ""
}

func (s *State) removeAgent(op *RemoveAgent) string {
	id := op.GetAgentId().GetValue()
	if !s.agents.has(id) && !s.unreachable.has(id) {
		return s.whereAgent(id)
	}
	s.agents = s.agents.without(id)
	s.unreachable = s.unreachable.without(id)
	s.drains = s.drains.without(id)
	return ""
}
