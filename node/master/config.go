package master

import (
	"math/rand/v2"
	"time"

	"clusterd/alloc"
	v1 "clusterd/node/mesos/v1"
	"clusterd/raft/registry"
)

// Config is what a Master is started with. Flags of the same meaning have the Mesos name.
type Config struct {
	// Info describes this master to frameworks and agents. Its id is the prefix of all ids given out
	// and must be new for each time of office (SCH-48).
	Info *v1.MasterInfo
	// Registry is the replicated state at the election. The Master keeps a clone.
	Registry *registry.State
	// Rand decides shuffles and the UUIDs of streams and statuses.
	Rand *rand.Rand
	// Started is when the process was started, for operators. Zero means the election.
	Started time.Time

	// AllocationInterval is the longest time between two allocations (--allocation_interval).
	AllocationInterval time.Duration
	// OfferTimeout withdraws unanswered offers; 0 is never (--offer_timeout).
	OfferTimeout time.Duration
	// AgentPingTimeout is the time between two pings (--agent_ping_timeout).
	AgentPingTimeout time.Duration
	// MaxAgentPingTimeouts pings without an answer make an agent unreachable
	// (--max_agent_ping_timeouts).
	MaxAgentPingTimeouts int
	// AgentReregisterTimeout is how long a disconnected agent, or one known from the registry, has to
	// come back (--agent_reregister_timeout).
	AgentReregisterTimeout time.Duration
	// AgentRemovalRate limits how fast agents are marked unreachable; the zero value is no limit
	// (--agent_removal_rate_limit).
	AgentRemovalRate RemovalRate
	// RecoveryAgentRemovalLimit is the largest share of the agents known at the election, 0 to 1, that
	// may be marked unreachable for not coming back (--recovery_agent_removal_limit). If more are
	// absent, none is marked.
	RecoveryAgentRemovalLimit float64
	// HeartbeatInterval is the time between two HEARTBEAT events, 15 s in Mesos.
	HeartbeatInterval time.Duration

	// Roles are the roles that frameworks may have besides "*"; nil is any (--roles).
	Roles []string
	// RootSubmissions allows frameworks to run as root (--root_submissions).
	RootSubmissions bool
	// Weights are the weights of roles; 1 where absent.
	Weights map[string]float64
	// MinAllocatable are the amounts of which one must be there for an offer to be made
	// (--min_allocatable_resources).
	MinAllocatable []alloc.Quantities
	// FilterGPU keeps agents with gpus for frameworks that ask for them (--filter_gpu_resources).
	FilterGPU bool

	// MaxCompletedFrameworks, MaxCompletedTasksPerFramework and MaxUnreachableTasksPerFramework bound
	// the history; the oldest go first (SCH-92).
	MaxCompletedFrameworks          int
	MaxCompletedTasksPerFramework   int
	MaxUnreachableTasksPerFramework int

	// PublishPerFrameworkMetrics adds master/frameworks/... to the metrics
	// (--publish_per_framework_metrics).
	PublishPerFrameworkMetrics bool
}

// DefaultConfig has the defaults of Mesos. Info, Registry and Rand are to be added.
func DefaultConfig() Config {
	return Config{
		AllocationInterval:              time.Second,
		AgentPingTimeout:                15 * time.Second,
		MaxAgentPingTimeouts:            5,
		AgentReregisterTimeout:          10 * time.Minute,
		RecoveryAgentRemovalLimit:       1,
		HeartbeatInterval:               15 * time.Second,
		RootSubmissions:                 true,
		MinAllocatable:                  []alloc.Quantities{{"cpus": 10}, {"mem": 32_000}},
		FilterGPU:                       true,
		MaxCompletedFrameworks:          50,
		MaxCompletedTasksPerFramework:   1000,
		MaxUnreachableTasksPerFramework: 1000,
		PublishPerFrameworkMetrics:      true,
	}
}
