package agent

import (
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"
)

// RequestID names one HTTP request that waits for an answer.
type RequestID uint64

// StreamID names one event stream of an executor.
type StreamID uint64

// Event is one thing the agent learns. Events are plain data: a run can be recorded and replayed.
type Event interface{ event() }

// Recovered is the first event: what the runtime knows about containers. Containers of the
// checkpoint that are absent are unknown to the runtime; present ones that the checkpoint does not
// know are orphans (EXE-167). Before it every executor call is answered 503 (EXE-3).
type Recovered struct {
	Containers map[mesos.ContainerID]ContainerState
}

// ContainerState is one container as found at start: alive with a pid, or ended with Exit set.
type ContainerState struct {
	Pid  int
	Exit *Exit
}

// MasterConnected says that a stream to a leading master is open and nothing was sent on it.
type MasterConnected struct{}

// MasterDisconnected says that the stream to the master is gone.
type MasterDisconnected struct{}

// FromMaster is one frame of the leading master.
type FromMaster struct{ Message *wire.ToAgent }

// ExecutorCall is one call that passed the stateless checks of the HTTP layer (EXE-2, EXE-4).
// Stream is fresh and used only for SUBSCRIBE.
type ExecutorCall struct {
	Request RequestID
	Stream  StreamID
	Call    *v1executor.Call
}

// ExecutorClosed says that an event stream has ended from the other side.
type ExecutorClosed struct{ Stream StreamID }

// Checkpointed says that the Checkpoint with this Seq, and all before it, are on disk.
type Checkpointed struct{ Seq uint64 }

// ContainerLaunched answers Launch: the container's first process runs.
type ContainerLaunched struct {
	ID  mesos.ContainerID
	Pid int
}

// LaunchFailed answers Launch: there is no container and none will come.
type LaunchFailed struct {
	ID mesos.ContainerID
	// Message names the root cause; it follows "Failed to launch container: ", unless Sandbox is
	// set: then it is the whole text, "Failed to create executor directory ...".
	Message string
	// Sandbox says that not even the sandbox could be made, for example for want of the user: the
	// task was never launched (EXE-47).
	Sandbox bool
}

// ContainerExited says that a container's processes are all gone. It comes once for each launched
// container, whatever ended it.
type ContainerExited struct {
	ID   mesos.ContainerID
	Exit Exit
}

// Exit is how a container ended.
type Exit struct {
	// Status is the raw wait status of the container's first process; for command tasks of the
	// task's own process, not of the executor beside it. -1: it never ran, or nobody knows.
	Status int
	// Limitation is set when the container was ended for a limit it had reached.
	Limitation *Limitation
	// Message is the cause of an abnormal end, if known.
	Message string
}

// Limitation is a resource limit that ended a container (EXE-133, EXE-134).
type Limitation struct {
	Reason    v1.TaskStatus_Reason
	Message   string
	Resources []*v1.Resource
}

// ContainerUpdated answers Update. Err is empty on success.
type ContainerUpdated struct {
	ID  mesos.ContainerID
	Err string
}

// DiskUsage tells, every --disk_watch_interval, what part (0 to 1) of the work directory's file
// system is in use (EXE-190).
type DiskUsage struct{ Used float64 }

// Collected answers Collect. Err is empty on success; then the path does not exist any more.
type Collected struct {
	Path string
	Err  string
}

// Stop ends the agent and leaves executors of checkpointing frameworks running (SIGTERM, EXE-164).
type Stop struct{}

// Leave unregisters the agent, ends all executors and then the agent (SIGUSR1, EXE-164).
type Leave struct{}

// Query asks for a View.
type Query struct{ Request RequestID }

// Tick says that the time of Deadline has come.
type Tick struct{}

func (Recovered) event()          {}
func (MasterConnected) event()    {}
func (MasterDisconnected) event() {}
func (FromMaster) event()         {}
func (ExecutorCall) event()       {}
func (ExecutorClosed) event()     {}
func (Checkpointed) event()       {}
func (ContainerLaunched) event()  {}
func (LaunchFailed) event()       {}
func (ContainerExited) event()    {}
func (ContainerUpdated) event()   {}
func (DiskUsage) event()          {}
func (Collected) event()          {}
func (Stop) event()               {}
func (Leave) event()              {}
func (Query) event()              {}
func (Tick) event()               {}
