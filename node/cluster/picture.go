package cluster

import (
	"fmt"
	"time"

	"clusterd/raft/registry"
)

// Member is one node as the leader sees it now.
type Member struct {
	Node    *registry.Node
	Voter   bool // in raft's configuration
	Learner bool // likewise
	Leader  bool // this is the leader itself
	// Alive: of a raft member, whether raft has heard of it of late; of any other node, whether it holds
	// its stream to the leader.
	Alive bool
	// CaughtUp: of a raft member, whether it has nearly all of the log.
	CaughtUp bool
	// Lost: the node lives, but its log is gone (wiped, or put aside as damaged): it will never take part
	// under its raft id again.
	Lost bool
	// LastHeard is zero if this leader has never heard of it.
	LastHeard time.Time
}

// Stray is a raft member that no node of the registry has.
type Stray struct {
	RaftID uint64
	Voter  bool
	Alive  bool
}

// Picture is what the leader knows when it asks for a step.
type Picture struct {
	Masters      int           // voters to keep: 1, 3, 5 or 7
	ReplaceAfter time.Duration // how long a voter may be unreachable
	Since        time.Time     // of the election of this leader
	Changing     bool          // a change of raft's members is under way
	Requires     string        // the version that a master needs: see registry.State
	Nodes        []Member
	Strays       []Stray
}

// Kind is what a step does.
type Kind int

const (
	None       Kind = iota
	Assign          // give the node a raft id (registry)
	AddLearner      // make it a learner (raft)
	Promote         // make the learner a voter (raft)
	Demote          // make the voter a learner (raft)
	Remove          // take the member out of raft's configuration
	Release         // the node has no raft id any more (registry)
	Transfer        // hand leadership to the node
)

var kindNames = [...]string{"none", "assign", "add-learner", "promote", "demote", "remove", "release", "transfer"}

func (k Kind) String() string {
	if k < 0 || int(k) >= len(kindNames) {
		return fmt.Sprintf("kind %d", int(k))
	}
	return kindNames[k]
}

// Step is one change. The leader takes it and tells the planner how it went: see [Planner.Done].
type Step struct {
	Kind   Kind
	NodeID string // empty with None and of a stray
	RaftID uint64 // 0 with None and Assign
	Why    string // for people, also with None if something is amiss
}
