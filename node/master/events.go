package master

import (
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

// Handles of the loop. They are unique for the life of a Master; zero is never used.
type (
	// RequestID names one HTTP request that waits for its answer.
	RequestID uint64
	// StreamID names one event stream to a scheduler.
	StreamID uint64
	// ConnID names one connection opened by an agent. Later ones have higher numbers: of two
	// connections of one agent the one with the lower number is dead.
	ConnID uint64
)

// Event is something the master learns. The types below are the only ones.
type Event interface{ event() }

// SchedulerCall is a call to /api/v1/scheduler that passed the checks which need no state (SCH-2).
// It is answered by exactly one Respond or, for an accepted SUBSCRIBE, by OpenStream.
type SchedulerCall struct {
	Request RequestID
	// Stream is a fresh handle, used if the call is SUBSCRIBE.
	Stream StreamID
	// Header is the value of Mesos-Stream-Id, if HasHeader.
	Header    string
	HasHeader bool
	// Principal is the authenticated principal, empty without authentication.
	Principal string
	// Call must not be changed by the caller afterwards.
	Call *v1scheduler.Call
}

// StreamClosed says that the client is gone, or was cut off because it did not read. It also comes
// for a SUBSCRIBE that waits for its answer. After CloseStream it may come or not.
type StreamClosed struct{ Stream StreamID }

// FromAgent is one frame from an agent.
type FromAgent struct {
	Conn ConnID
	// Remote is the IP address from which the agent connected.
	Remote  string
	Message *wire.FromAgent
}

// AgentDisconnected says that a connection is gone. After CloseAgent it may come or not.
type AgentDisconnected struct{ Conn ConnID }

// Committed answers one Propose. They come in the order of the proposals; only one with Err may come
// before its turn.
type Committed struct {
	Op     *registry.Op
	Result registry.Result
	// Err is set if the operation was not committed, for example because leadership was lost.
	Err error
}

// TeardownFramework is the operator's teardown, answered by Respond (SCH-93).
type TeardownFramework struct {
	Request RequestID
	ID      mesos.FrameworkID
}

// KillTask is the operator's kill of one task, answered by Respond: 202 if the agent was told, or will
// be when it is back, 404 for a task that is not known.
type KillTask struct {
	Request   RequestID
	Framework mesos.FrameworkID
	Task      mesos.TaskID
	// Grace overrides the task's own kill grace period; negative leaves that.
	Grace time.Duration
}

// DrainAgent is the operator's wish to empty an agent, answered by Respond: 200 when the registry has
// it, 400 for an agent that is unknown or cannot drain, 409 for one that goes meanwhile (OPR-57, OPR-58).
type DrainAgent struct {
	Request RequestID
	Agent   mesos.AgentID
	// Config must not be changed by the caller afterwards. A negative max_grace_period counts as 0.
	Config *v1.DrainConfig
}

// DeactivateAgent ends offers of an agent and leaves its tasks alone, answered by Respond (OPR-59).
type DeactivateAgent struct {
	Request RequestID
	Agent   mesos.AgentID
}

// ReactivateAgent undoes DeactivateAgent, and DrainAgent when it is done, answered by Respond (OPR-59).
type ReactivateAgent struct {
	Request RequestID
	Agent   mesos.AgentID
}

// MarkAgentGone ends an agent for ever, answered by Respond: 200 when the registry has it, 404 for an agent
// that is unknown, 503 while another change of the agent is under way (OPR-56).
type MarkAgentGone struct {
	Request RequestID
	Agent   mesos.AgentID
}

// Query is answered by Answer in the same step.
type Query struct{ Request RequestID }

// Tick only tells the time.
type Tick struct{}

func (SchedulerCall) event()     {}
func (StreamClosed) event()      {}
func (FromAgent) event()         {}
func (AgentDisconnected) event() {}
func (Committed) event()         {}
func (TeardownFramework) event() {}
func (KillTask) event()          {}
func (DrainAgent) event()        {}
func (DeactivateAgent) event()   {}
func (ReactivateAgent) event()   {}
func (MarkAgentGone) event()     {}
func (Query) event()             {}
func (Tick) event()              {}
