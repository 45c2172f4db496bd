// Package api is clusterd's HTTP surface: everything that Mesos frameworks, executors, operators and
// tools send to ports 5050 and 5051, and everything they get back.
//
// It translates and decides nothing: a request is checked for what can be known from the request
// alone, handed to one of the interfaces declared here (Scheduler, Executors, MasterState, ...), and
// the answer is written in the form that the original has. Those interfaces are implemented by package
// node in front of the loops of the cores.
//
// # The cluster's own API
//
// What Mesos has no words for, the nodes and masters of the cluster itself, is below /cluster (NewCluster), in
// JSON. It has three doors: the public port only reads; the port between nodes lets nodes that may be masters do
// everything and all others change themselves; the socket in the data directory lets root do everything. Any
// node passes requests on to the leading master. See Cluster for what it asks of the node.
//
// # Order of the checks on a call endpoint
//
// First failure answers (SCH-2, EXE-2, EXE-3, OPR-25): leader (307, 503), recovery (503), method (405),
// Content-Type (400, 415), body size (413), body (400), the rules of the call (400), Accept (406), and
// only then the core, which knows frameworks, executors and streams.
//
// # Ownership
//
// Views are immutable and shared: this package reads them from any goroutine and never changes them.
// It owns no state but Files, the table of virtual paths. Each request runs on the goroutine of its
// connection; each event stream is read by exactly one of them, which closes it when the client goes
// away, when it stops reading for longer than the write time limit, or when the stream ends.
//
// # Limits
//
// A request header has 30 s and 64 KiB, a body 2 minutes and 12 MiB (also after decompression), each
// piece of an answer 30 s until the client takes it. A connection on which nothing is under way is never
// closed (SCH-16, EXE-10).
//
// # To add an endpoint or a call
//
// An endpoint is a line in the table of NewMaster or NewAgent (or of both, in process.go). A call of
// /api/v1 is a line in stateResponses or stateAnswers and a case beside it; until then it is answered
// with 501. What the endpoint shows is a field of MasterView or AgentView first.
package api
