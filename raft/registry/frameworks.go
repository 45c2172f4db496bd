package registry

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// RemovedText is the reason of refusing a framework id that was used up (SCH-64).
const RemovedText = "Framework has been removed"

// whereFramework says in which state a framework is, as the reason of a refusal.
func (s *State) whereFramework(id string) string {
	switch {
	case id == "":
		return "framework id is empty"
	case s.removed.has(id):
		return RemovedText
	case s.frameworks.has(id):
		return fmt.Sprintf("framework %s is admitted already", id)
	default:
		return fmt.Sprintf("framework %s is unknown", id)
	}
}

func (s *State) admitFramework(op *AdmitFramework) string {
	id := op.GetFramework().GetId().GetValue()
	if id == "" || s.frameworks.has(id) || s.removed.has(id) {
		return s.whereFramework(id)
	}
	s.frameworks = s.frameworks.with(id, &Snapshot_Framework{
		Info: op.GetFramework(), Admitted: proto.Int64(op.GetTime()), LastSeen: proto.Int64(op.GetTime()),
	})
	return ""
}

func (s *State) updateFramework(op *UpdateFramework) string {
	id := op.GetFramework().GetId().GetValue()
	old, ok := s.frameworks.get(id)
	if !ok {
		return s.whereFramework(id)
	}
	changed := &Snapshot_Framework{Info: op.GetFramework(), Admitted: old.Admitted, LastSeen: old.LastSeen}
	if op.LastSeen != nil {
		changed.LastSeen = proto.Int64(op.GetLastSeen())
	}
	s.frameworks = s.frameworks.with(id, changed)
	return ""
}

func (s *State) removeFramework(op *RemoveFramework) string {
	id := op.GetFrameworkId().GetValue()
	if !s.frameworks.has(id) {
		return s.whereFramework(id)
	}
	s.frameworks = s.frameworks.without(id)
	s.removed = s.removed.with(id, newRemoval(op.GetTime(), op.GetCause()))
	return ""
}
