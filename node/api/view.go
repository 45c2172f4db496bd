package api

import (
	"context"
	"errors"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
)

// ErrNotReady is what a View or a call of the interfaces below may return (also wrapped) while the
// core behind it does not exist or is shutting down; the request is answered with 503.
var ErrNotReady = errors.New("not ready")

// ErrRecovering is what AgentState.View returns while the agent waits for its executors after a
// restart: /state and the operator API are answered with 503 and this text (EXE-3, OPR-27).
//
//lint:ignore ST1005 the text is Mesos's
var ErrRecovering = errors.New("Agent has not finished recovery")

// Leader tells which master leads, as seen by this node.
type Leader interface {
	// Leader returns the advertised "host:port" of the leading master (SCH-26), "" if none is known;
	// self if it is this node; recovered if this node leads and has finished recovery.
	Leader() (hostport string, self, recovered bool)
}

// MasterState gives the picture of one instant of the leading master.
type MasterState interface {
	// View may be called from any goroutine. The caller must not change what it returns.
	View(ctx context.Context) (*MasterView, error)
}

// MasterView is an immutable picture of the leading master (OPR-28).
type MasterView struct {
	// State holds agents, frameworks, executors and tasks. Statuses of a task do not repeat a state
	// (OPR-109); executors generated for command tasks are not listed (OPR-110).
	State *v1master.Response_GetState
	Info  *v1.MasterInfo
	// Started is when this process began; Elected when this node became the leader, zero if unknown.
	Started, Elected time.Time
	// UnreachableAgents counts the agents that the registry lists as unreachable.
	UnreachableAgents int
	// Weights of roles that differ from 1.
	Weights map[string]float64
	// Roles is the static whitelist; nil if every role is allowed.
	Roles []string
	// Index grows with every change.
	Index uint64
}

// AgentState gives the picture of one instant of the agent.
type AgentState interface {
	// View may be called from any goroutine. The caller must not change what it returns.
	View(ctx context.Context) (*AgentView, error)
}

// AgentView is an immutable picture of an agent.
type AgentView struct {
	// Info has no id before the first registration (OPR-127).
	Info         *v1.AgentInfo
	Capabilities []v1.AgentInfo_Capability_Type
	// Address is the "ip:port" at which the agent's API is reached; it makes the agent's pid.
	Address string
	Started time.Time
	// MasterHostname is empty while no master is known.
	MasterHostname                  string
	Frameworks, CompletedFrameworks []AgentFramework
	Drain                           *v1.DrainConfig
	DrainStart                      time.Time
	// Missing lists what this agent cannot enforce, for example because it does not run as root.
	Missing []Missing
}

// Missing is one isolation mechanism that is not in force, and why.
type Missing struct{ What, Why string }

// AgentFramework is a framework as its agent knows it.
type AgentFramework struct {
	Info                          *v1.FrameworkInfo
	Executors, CompletedExecutors []AgentExecutor
}

// AgentExecutor is one executor of an agent, running or completed.
type AgentExecutor struct {
	// Info of a command task's executor has the id of the task, its name and source (OPR-129).
	Info        *v1.ExecutorInfo
	ContainerID *v1.ContainerID
	// Directory is the absolute path of the sandbox (EXE-182).
	Directory string
	// Resources of the executor together with those of its tasks (OPR-129).
	Resources []*v1.Resource
	// Queued tasks have not been delivered to the executor yet; Terminated ones wait for the
	// acknowledgement of their last update.
	Queued                          []*v1.TaskInfo
	Launched, Terminated, Completed []*v1.Task
}

// Containers measures the running executor containers of an agent.
type Containers interface {
	// Containers lists them in a stable order. Entries whose Statistics could not be collected have
	// none (OPR-132, OPR-133).
	Containers(ctx context.Context) ([]Container, error)
}

// Container is one executor container with its present usage.
type Container struct {
	FrameworkID          mesos.FrameworkID
	ExecutorID           mesos.ExecutorID
	ExecutorName, Source string
	Status               *v1.ContainerStatus // with container_id
	Statistics           *v1.ResourceStatistics
}
