// Package node is the daemon: it reads the configuration, opens the data directory, takes the ports
// and runs the loops around the pure cores. It is the only package that knows all roles.
//
// # Words
//
// A node is a machine that runs clusterd. A peer is a member of its raft group. The leading master
// is the one master that acts; agents run executors, executors run tasks, schedulers speak for
// frameworks. Everything else is called as in the Mesos v1 API.
//
// # Three walks
//
// A launch: node/api decodes ACCEPT and hands it to the leader shell's mailbox; node/master
// validates it, charges alloc and returns SendAgent(RunTask); the shell writes the frame on the stream
// that the agent opened; node/agent returns Checkpoint, and after Checkpointed Launch; the agent's
// shell makes the sandbox, fetches the URIs and calls isolate.Launch; the executor subscribes through
// node/api, gets LAUNCH and says TASK_RUNNING.
//
// An update: the executor's UPDATE goes to node/agent, is checkpointed, then confirmed and forwarded;
// node/master frees the resources of a terminal task at once and sends the scheduler its UPDATE; the
// ACKNOWLEDGE goes back the same way and lets the next update go. Each hop may repeat: what counts is
// (task id, uuid).
//
// A commit: node/master returns Propose; the shell hands the operations one by one to raft, which
// writes them to disk and applies them to raft/registry; the result comes back as Committed, and only
// then anyone is told.
//
// # Goroutines
//
// One for each loop (raft, leading master, agent), a reader and a writer for each stream between a
// master and an agent, one that commits the agent's checkpoints, one for each container, those of the
// HTTP servers and the dashboard's hub. Whoever starts one waits for it in its close. Mailboxes and
// queues are bounded: a subscriber or peer that does not read is cut off, it never holds up a loop.
//
// # On disk
//
//	<data-dir>/raft/           the log and snapshots of package raft
//	<data-dir>/agent/          the agent's work directory
//	    meta/agent.db          its checkpoint, see package agent
//	    meta/slaves/latest     link to the agent's id; removing it makes a new agent
//	    slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>   sandboxes
//	    containers/            runtime state, see package isolate
package node
