package ui

import (
	"context"
	"errors"
	"time"
)

// Errors that a Source may wrap; the hub turns them into HTTP codes and into
// words on the page. Every other error is shown with its text.
var (
	// ErrNotFound says that the agent, framework, task or file is not known.
	ErrNotFound = errors.New("not found")
	// ErrUnavailable says that the answer cannot be had now but may be later:
	// there is no leading master, or the agent is not connected.
	ErrUnavailable = errors.New("unavailable")
)

// Source is the cluster as the dashboard sees it. All methods may be called
// from any goroutine, several at a time, and return soon after their context
// ends.
type Source interface {
	// Changed returns the channel that receives a value after something that
	// Snapshot shows has changed. Values may be merged: a channel with a
	// buffer of one, filled without blocking, is enough. The hub is its only
	// reader and asks for it once.
	Changed() <-chan struct{}
	// Snapshot returns the newest state. The hub calls it at most every
	// 100 ms, less often when it takes long, and only while somebody watches
	// or a sample for the chart of the last hour is due.
	Snapshot(ctx context.Context) (*State, error)
	// Files lists the directory path on the agent.
	Files(ctx context.Context, agentID, path string) ([]File, error)
	// Read returns up to length bytes of the file from offset on, and the
	// file's size at that time. An offset at or past the end gives no bytes
	// and no error. An offset of -1 asks for the size alone.
	Read(ctx context.Context, agentID, path string, offset int64, length int) (data []byte, size int64, err error)
	// Kill asks for the task to be killed. A nil error means that the request
	// was passed on, not that the task has ended.
	Kill(ctx context.Context, frameworkID, taskID string) error
}

// State is all that the dashboard shows at one moment. Everything in it is
// immutable once it has been returned by Snapshot. Rows are pointers so that a
// Source may hand over the same row again when nothing in it has changed.
type State struct {
	Index      uint64 // grows with each change of the cluster
	Cluster    Cluster
	Problems   []Problem // known problems of this cluster, worst first
	Frameworks []*Framework
	Agents     []*Agent
	Tasks      []*Task // active, unreachable and completed
	// TaskCounts has the number of tasks by state ("TASK_RUNNING"). States
	// that can change are counted as they are now, terminal ones since the
	// leading master was elected.
	TaskCounts map[string]int64
}

// Cluster describes the masters and the program.
type Cluster struct {
	Name      string
	Version   string // of the program, "1.0.0"
	Build     string // commit and time of the build, may be empty
	MasterID  string
	Leader    string // host:port of the leading master, empty without one
	Leading   bool   // the node that serves the page is the leading master
	Started   time.Time
	Elected   time.Time
	Masters   []Master
	Isolation string // how the node isolates tasks: "containers, cgroups v2"
	// Join is the command line that makes another machine an agent; empty
	// where there is none. A cluster without agents shows it.
	Join string
}

// Master is one member of the consensus group.
type Master struct {
	ID      string
	Address string // host:port
	State   string // "leader", "follower", "candidate", "unreachable"
	Term    uint64
	Applied uint64 // index of the last applied log entry
}

// Problem is one declared health problem, as the command line shows it too.
type Problem struct {
	Code     string // stable, "isolation-missing"
	Severity string // "error", "warning" or "info"
	Text     string // what is wrong, one sentence
	Do       string // what to do about it, one sentence
}

// Resources are quantities in Mesos units: CPUs and GPUs in units, memory and
// disk in megabytes (2^20 bytes).
type Resources struct {
	CPUs   float64 `json:"cpus"`
	GPUs   float64 `json:"gpus"`
	MemMB  float64 `json:"mem"`
	DiskMB float64 `json:"disk"`
	Ports  string  `json:"ports,omitempty"` // "[31000-32000]"
}

// Label is a key with a value: a label of a task or framework, or an
// attribute of an agent.
type Label struct {
	Key   string `json:"key"`
	Value string `json:"value"`
}

// Framework is a framework that is registered, disconnected or completed.
type Framework struct {
	ID              string
	Name            string
	User            string
	Principal       string
	Hostname        string
	WebUIURL        string
	Roles           []string
	Capabilities    []string
	Labels          []Label
	Active          bool // gets offers
	Connected       bool // its scheduler has an open stream
	Recovered       bool // known from the registry, not subscribed since
	Completed       bool // torn down, or its failover time-out has ended
	Checkpoint      bool
	FailoverTimeout time.Duration
	Registered      time.Time
	Reregistered    time.Time
	Disconnected    time.Time // when its stream ended; zero while connected
	Unregistered    time.Time // when it completed
	Allocated       Resources
	Offered         Resources
}

// Agent states.
const (
	AgentActive       = "active"
	AgentDeactivated  = "deactivated"
	AgentDraining     = "draining"
	AgentDrained      = "drained"
	AgentDisconnected = "disconnected"
	AgentRecovered    = "recovered" // known from the registry, not back yet
	AgentUnreachable  = "unreachable"
	AgentGone         = "gone"
)

// Agent is an agent that the master knows, connected or not.
type Agent struct {
	ID           string
	Hostname     string
	Address      string // host:port of its API
	State        string // one of the Agent constants
	Version      string
	Region       string
	Zone         string
	Attributes   []Label
	Capabilities []string
	Isolation    string // how it isolates tasks; empty when not known
	Total        Resources
	Allocated    Resources
	Offered      Resources
	Registered   time.Time
	Reregistered time.Time
	Unreachable  time.Time // since when; zero while reachable
}

// Task is one task with its history.
type Task struct {
	ID          string
	Name        string
	FrameworkID string
	AgentID     string
	ExecutorID  string
	Role        string
	User        string
	State       string // "TASK_RUNNING"
	Healthy     *bool  // nil when the task has no health check
	Command     string // for reading: the shell line or the joined arguments
	Resources   Resources
	Limits      Resources // zero where the limit is the request
	Statuses    []Status  // oldest first
	Labels      []Label
	Ports       []Port
	Discovery   string // name for service discovery, may be empty
	ContainerID string
	IPs         []string
	// Sandbox is the directory of its stdout and stderr as Files and Read
	// take it; empty when it is not known yet.
	Sandbox string
}

// Status is one status update.
type Status struct {
	State     string
	Reason    string // "REASON_CONTAINER_LIMITATION_MEMORY"
	Message   string
	Source    string // "SOURCE_EXECUTOR"
	Timestamp time.Time
	Healthy   *bool
}

// Port is a port that the task listens on.
type Port struct {
	Number   uint32 `json:"number"`
	Name     string `json:"name,omitempty"`
	Protocol string `json:"protocol,omitempty"`
}

// File is one entry of a directory listing.
type File struct {
	Name     string    // last element of the path
	Mode     string    // "-rw-r--r--", "drwxr-xr-x"
	Links    int       // number of hard links
	User     string    // owner, name or number
	Group    string    // group, name or number
	Size     int64     // bytes
	Modified time.Time // last change of the content
}
