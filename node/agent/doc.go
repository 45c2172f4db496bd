// Package agent is the agent's pure core: the executors, tasks and status updates of one machine.
//
// An [Agent] is a value that one loop steps: everything it learns is an [Event], everything it
// wants done an [Effect]. It reads no clock, file or socket, starts nothing and takes no lock. The
// loop in package node owns it; the effects of one step are carried out in the order returned.
//
// # Fact first, effect after
//
// What belongs to a framework with checkpoint=true is on disk before anyone is told: the task
// before its container starts, a kill before the executor hears of it, a status update before the
// executor is told that it was taken over and before the master gets it, an acknowledgement before
// the next update goes out. Such a step ends in a [Checkpoint]; what hangs on it follows with
// [Checkpointed]. Frameworks with checkpoint=false are kept in memory only: their executors end
// with the agent, and a restarted agent destroys what is left of them (EXE-150).
//
// # Life of an executor
//
// RunTask makes the executor, or finds it, and queues the task. When both are on disk the container
// is launched. The executor subscribes; the limits of the container are raised for its tasks; the
// tasks are delivered in the order of acceptance. When the container has ended, live tasks get
// their terminal updates; when these are acknowledged the executor is complete and forgotten.
//
//	REGISTERING -> RUNNING -> TERMINATING -> TERMINATED
//
// Any state may be skipped but the last. A recovered executor is REGISTERING until it subscribes
// again.
//
// # Status updates
//
// Each task has a stream of updates. Only its head is sent to the master, again after 10 s, doubled
// up to 10 min, until the framework acknowledges it; then the next (EXE-170, EXE-171).
//
// # Draining
//
// When the master says so the agent kills all tasks, with no more grace than the operator allows, and
// refuses new ones until the last update is acknowledged (OPR-57). What it kills meanwhile is told with
// REASON_AGENT_DRAINING. Each registration settles anew whether the agent is to drain.
//
// # What is durable
//
//	info                                                    AgentRecord
//	frameworks/<fid>/info                                   FrameworkInfo
//	frameworks/<fid>/executors/<eid>/info                   ExecutorRecord
//	frameworks/<fid>/executors/<eid>/container              ContainerRecord
//	frameworks/<fid>/executors/<eid>/tasks/<tid>/info       TaskRecord
//	frameworks/<fid>/executors/<eid>/tasks/<tid>/updates/<n>  UpdateRecord, n has 20 digits
//	gc/<path>                                               CollectRecord
//
// The records are messages of clusterd.wire (checkpoint.proto), FrameworkInfo is mesos.v1's.
package agent
