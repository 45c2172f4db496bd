// Package node is the daemon: it reads the configuration, opens the data directory, takes the ports
// and runs the loops around the pure cores. It is the only package that knows all roles.
//
// # Words
//
// A node is a machine that runs clusterd. A raft member is one life of a raft log, with an id that is
// never used again; its node is a master: a voter, or a learner that catches up. A standby is a node
// that may become a master. The leading master is the one master that acts; agents run executors,
// executors run tasks, schedulers speak for frameworks. Everything else is called as in the Mesos v1
// API.
//
// # A cluster
//
// The first node founds the cluster: its id, its certificate authority, its first member. Every other
// one joins: it shows a token to the leading master, which signs its certificate and has the registry
// admit it. From then on a node holds one stream to the leading master, wherever that is (link.go and,
// on the other side, roll.go); on it go the frames of its agent, beats, renewed certificates, and the
// list of members. The leading master's steward (steward.go) keeps the number of voters, one step of
// package cluster after the other: the registry gives a node a raft id, the node begins an empty log,
// raft takes it as a learner and then as a voter; a member that leaves goes the other way.
//
// A leading master begins when raft says that this node leads, and ends whole with its lease or term.
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
//	<data-dir>/lock            held by the process that uses the directory
//	<data-dir>/node.json       who this node is, from the moment that it belongs to a cluster
//	<data-dir>/tls/            key and certificates of the node, see package trust; while a request to
//	                           join is not answered, joining.json with the key and id that it names
//	<data-dir>/clusterd.sock   socket for administrators
//	<data-dir>/raft/           the log and snapshots of package raft, on masters
//	<data-dir>/raft.released/  those of the member that this node was last
//	<data-dir>/agent/          the agent's work directory
//	    meta/agent.db          its checkpoint, see package agent
//	    meta/slaves/latest     link to the agent's id; removing it makes a new agent
//	    slaves/<agent>/frameworks/<framework>/executors/<executor>/runs/<container>   sandboxes
//	    containers/            runtime state, see package isolate
package node
