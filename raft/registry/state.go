package registry

import (
	"unique"

	"google.golang.org/protobuf/proto"

	v1 "clusterd/node/mesos/v1"
)

// State is the registry at one log index. The zero value is not ready for use: see [New].
//
// A State may be read from several goroutines as long as none applies to it; a clone is
// independent of the original.
type State struct {
	index       uint64
	master      string
	agents      sorted[*Snapshot_Agent]
	unreachable sorted[*Snapshot_Unreachable]
	gone        sorted[int64]
	frameworks  sorted[*Snapshot_Framework]
	removed     sorted[removal]
	drains      sorted[*Drain]

	cluster      *Snapshot_Cluster // nil until one is formed
	nodes        sorted[*Node]
	members      sorted[string] // from raft ids to node ids: see memberKey
	removedNodes sorted[*Snapshot_RemovedNode]
	tokens       sorted[*Token] // by hash

	requires string // the newest version that an applied operation needs, empty for the first
}

// removal is what stays of a removed framework. There may be a million of them, and few causes.
type removal struct {
	time  int64
	cause unique.Handle[string]
}

// New returns the empty state.
func New() *State { return &State{} }

// Clone returns an independent copy. It costs a copy of the struct, whatever the state holds.
func (s *State) Clone() *State {
	c := *s
	return &c
}

// Index is the log index of the newest operation applied, 0 if there was none.
func (s *State) Index() uint64 { return s.index }

// MasterID is the id of the newest leading master, empty if none was elected yet (SCH-48).
func (s *State) MasterID() string { return s.master }

// Requires is the clusterd version that a node needs to know all that the state holds, empty if any
// will do. It never goes down again (CLU-38).
func (s *State) Requires() string { return s.requires }

// Agent returns an admitted agent.
func (s *State) Agent(id string) (*Snapshot_Agent, bool) { return s.agents.get(id) }

// Agents returns the admitted agents in the order of their ids.
func (s *State) Agents() []*Snapshot_Agent { return s.agents.values() }

// Unreachable returns an agent that is marked unreachable (SCH-264).
func (s *State) Unreachable(id string) (*Snapshot_Unreachable, bool) { return s.unreachable.get(id) }

// Unreachables returns the unreachable agents in the order of their ids.
func (s *State) Unreachables() []*Snapshot_Unreachable { return s.unreachable.values() }

// Gone returns the mark of an agent that is gone for ever (SCH-270).
func (s *State) Gone(id string) (*Snapshot_Gone, bool) {
	time, ok := s.gone.get(id)
	if !ok {
		return nil, false
	}
	return goneRecord(id, time), true
}

// GoneAgents returns the gone agents in the order of their ids.
func (s *State) GoneAgents() []*Snapshot_Gone {
	all := make([]*Snapshot_Gone, 0, s.gone.n)
	for id, time := range s.gone.all() {
		all = append(all, goneRecord(id, time))
	}
	return all
}

// Framework returns a framework that is known and not removed (SCH-87).
func (s *State) Framework(id string) (*Snapshot_Framework, bool) { return s.frameworks.get(id) }

// Frameworks returns the known frameworks in the order of their ids.
func (s *State) Frameworks() []*Snapshot_Framework { return s.frameworks.values() }

// Removed returns what is remembered of a removed framework (SCH-64, SCH-65).
func (s *State) Removed(id string) (*Snapshot_Removed, bool) {
	r, ok := s.removed.get(id)
	if !ok {
		return nil, false
	}
	return removedRecord(id, r), true
}

// RemovedFrameworks returns the removed frameworks in the order of their ids.
func (s *State) RemovedFrameworks() []*Snapshot_Removed {
	all := make([]*Snapshot_Removed, 0, s.removed.n)
	for id, r := range s.removed.all() {
		all = append(all, removedRecord(id, r))
	}
	return all
}

// Counts are the sizes of the lists of a state.
type Counts struct {
	Agents, Unreachable, Gone, Frameworks, Removed int
}

// Counts returns the sizes of the lists without making them.
func (s *State) Counts() Counts {
	return Counts{s.agents.n, s.unreachable.n, s.gone.n, s.frameworks.n, s.removed.n}
}

func goneRecord(id string, time int64) *Snapshot_Gone {
	return &Snapshot_Gone{AgentId: &v1.AgentID{Value: proto.String(id)}, Time: proto.Int64(time)}
}

func removedRecord(id string, r removal) *Snapshot_Removed {
	record := &Snapshot_Removed{FrameworkId: &v1.FrameworkID{Value: proto.String(id)}, Time: proto.Int64(r.time)}
	if cause := r.causeText(); cause != "" {
		record.Cause = proto.String(cause)
	}
	return record
}

// causeText is the cause, empty if none was given.
func (r removal) causeText() string {
	if r.cause == (unique.Handle[string]{}) {
		return ""
	}
	return r.cause.Value()
}

func newRemoval(time int64, cause string) removal {
	r := removal{time: time}
	if cause != "" {
		r.cause = unique.Make(cause)
	}
	return r
}
