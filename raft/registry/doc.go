// Package registry is the replicated state of a cluster: which master leads, which agents are
// admitted, unreachable or gone, which frameworks are known and which were removed for ever. It
// holds what must survive a change of leader; offers, tasks and subscriptions are not in it.
//
// # Owner and order
//
// A [State] is a value with structural sharing: [State.Clone] copies a few words, and a clone never
// sees what is applied to the original afterwards. [State.Apply] is a function of the state, the
// index and the operation: no clock, no chance, no map order. The proposer fills in ids and times.
// The same operations therefore give the same [State.Hash] on every peer (CLU-32).
//
// [Machine] is the state behind the raft log: the loop of the raft peer owns it and calls Apply,
// Snapshot and Restore; every other goroutine reads [Machine.View].
//
// What is handed out (AgentInfo, FrameworkInfo and the messages around them) is shared between
// clones and must not be changed by anyone.
//
// # Operations
//
// An operation that does not fit the state is refused, which is a [Result] and not an error, and
// changes nothing. What is not in this table is refused:
//
//	operation               from                 to
//	ElectMaster             another or no id     this id
//	AdmitAgent              unknown              admitted
//	UpdateAgent             admitted             admitted
//	MarkAgentUnreachable    admitted             unreachable
//	MarkAgentReachable      unreachable          admitted
//	MarkAgentGone           admitted             gone
//	MarkAgentGone           unreachable          gone
//	RemoveAgent             admitted             unknown
//	RemoveAgent             unreachable          unknown
//	AdmitFramework          unknown              admitted
//	UpdateFramework         admitted             admitted
//	RemoveFramework         admitted             removed
//
// Gone agents and removed frameworks are remembered for ever, as id, time and cause (SCH-64,
// SCH-65, SCH-270): about a hundred bytes each. An agent that comes back with an id that the
// registry does not know is admitted with AdmitAgent.
//
// An operation that this version does not know is an error, [*UnknownOpError]: the peer must stop,
// because going on would let its state differ from that of the others (CLU-38).
//
// # Snapshot
//
// A snapshot is the line "clusterd registry 1", records (varint length, then a Snapshot message
// with a part of the state, in a fixed order and division), a zero length and the SHA-256 of all
// before it. That sum is the hash of the state.
//
// To add an operation: a message and a field in registry.proto (numbers are never reused), a case
// in [State.Apply], its version in since, a row in the table above and in the test of the full
// table, and a seed for the fuzz test.
package registry
