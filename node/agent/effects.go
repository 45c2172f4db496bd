package agent

import (
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/wire"
)

// Effect is one thing the agent wants done. Effects are carried out in the order returned.
type Effect interface{ effect() }

// SendMaster sends a frame on the stream to the master. It is lost if the stream is gone.
type SendMaster struct{ Message *wire.FromAgent }

// CloseMaster drops the stream to the master, so that the leader is looked up anew. The shell
// answers with MasterDisconnected.
type CloseMaster struct{ Reason string }

// Respond answers an executor's call.
type Respond struct {
	Request RequestID
	Status  int
	Body    string
}

// OpenStream answers a SUBSCRIBE with 200 and an event stream.
type OpenStream struct {
	Request RequestID
	Stream  StreamID
}

// Send puts an event on a stream.
type Send struct {
	Stream StreamID
	Event  *v1executor.Event
}

// CloseStream ends a stream after what was sent before.
type CloseStream struct{ Stream StreamID }

// Checkpoint is one durable transaction: first the deletes, then the puts. The shell carries
// checkpoints out in order and answers Checkpointed; it may join several in one commit and answer
// the last only.
type Checkpoint struct {
	Seq uint64
	Put map[string][]byte
	// Delete holds keys, and key prefixes: those ending in "/".
	Delete []string
}

// Launch starts a container. It is answered by ContainerLaunched or LaunchFailed.
type Launch struct{ Spec LaunchSpec }

// Limits are the resources of a container.
type Limits struct {
	// CPUs is the share in thousandths of a cpu; CPULimit the hard quota, 0 for none.
	CPUs, CPULimit int64
	// MemBytes is the soft and MemLimitBytes the hard memory limit, 0 for none.
	MemBytes, MemLimitBytes int64
	// DiskBytes is the sandbox quota, 0 for none.
	DiskBytes int64
}

// LaunchSpec says what to start, complete and resolved.
type LaunchSpec struct {
	ID          mesos.ContainerID
	FrameworkID mesos.FrameworkID
	ExecutorID  mesos.ExecutorID
	Executor    *v1.ExecutorInfo
	// Command is what to run; for a command task the task's own command, whose URIs are fetched
	// first and which the built-in executor starts when it is told to.
	Command     *v1.CommandInfo
	CommandTask bool
	// User to run as, empty for the agent's.
	User string
	// Directory is the sandbox, to be made with its parents (EXE-176, EXE-178).
	Directory string
	// Environment is complete, K=V in order of names (EXE-32 to EXE-40). Overwritten are the names
	// that the framework set over the agent's: one line each in the sandbox's stderr (EXE-40).
	Environment []string
	Overwritten []string
	Limits      Limits
	// ShutdownGrace is what the executor is given between SHUTDOWN and its end.
	ShutdownGrace time.Duration
}

// Update changes the limits of a running container. It is answered by ContainerUpdated. At most
// one is under way for each container.
type Update struct {
	ID     mesos.ContainerID
	Limits Limits
}

// Destroy ends a container with all its processes. ContainerExited follows; for a launch that is
// still under way LaunchFailed may come instead.
type Destroy struct{ ID mesos.ContainerID }

// Forget drops what the runtime keeps about an ended container. The agent does not need its exit
// status any more.
type Forget struct{ ID mesos.ContainerID }

// Collect removes a directory of old sandboxes, and everything below it. It is answered by
// Collected.
type Collect struct{ Path string }

// Shutdown ends the agent process.
type Shutdown struct {
	Reason string
	// Error is set when the end is a failure: the exit status is not 0.
	Error bool
}

// Answer carries the view that a Query asked for.
type Answer struct {
	Request RequestID
	View    *View
}

// Log is an observation that an operator may want to see; the core itself does not log.
type Log struct {
	Warn    bool
	Message string
	// Framework, Executor, Task and Container are empty where they do not apply.
	Framework mesos.FrameworkID
	Executor  mesos.ExecutorID
	Task      mesos.TaskID
	Container mesos.ContainerID
}

func (SendMaster) effect()  {}
func (CloseMaster) effect() {}
func (Respond) effect()     {}
func (OpenStream) effect()  {}
func (Send) effect()        {}
func (CloseStream) effect() {}
func (Checkpoint) effect()  {}
func (Launch) effect()      {}
func (Update) effect()      {}
func (Destroy) effect()     {}
func (Forget) effect()      {}
func (Collect) effect()     {}
func (Shutdown) effect()    {}
func (Answer) effect()      {}
func (Log) effect()         {}
