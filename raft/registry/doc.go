// Package registry is the replicated state of a cluster: which nodes it has and which of them are raft
// members, which master leads, which agents are admitted, unreachable or gone, drained or deactivated,
// which frameworks are known and which were removed for ever. It holds what must survive a change of
// leader; offers, tasks and subscriptions are not in it.
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
// What is handed out (AgentInfo, FrameworkInfo, Node and the messages around them) is shared between
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
// The drain of an agent that is admitted or unreachable; RemoveAgent and MarkAgentGone forget it, all
// else that happens to the agent leaves it (OPR-57..OPR-59):
//
//	DrainAgent              any                  draining
//	AgentDrained            draining             drained
//	DeactivateAgent         active               deactivated
//	DeactivateAgent         any other            the same
//	ReactivateAgent         deactivated          active
//	ReactivateAgent         drained              active
//
// The cluster. Without one, FormCluster is the only operation below that is not refused:
//
//	FormCluster             none                 formed, its node is a member
//	SetSettings             formed               formed
//	SetAuthorities          formed               formed
//	AddToken                unknown              valid
//	RotateTokens            any                  no token of this role is valid
//
// Its nodes; a standby is one without a raft id, a member one that has one:
//
//	AdmitNode               unknown              standby
//	AdmitNode               standby, same key    standby
//	AdmitNode               member, same key     member
//	UpdateNode              standby              standby
//	UpdateNode              member               member
//	SetPlacement            standby              standby
//	SetPlacement            member               member
//	AssignRaftID            standby              member, with an id never used before
//	ReleaseRaftID           member               standby
//	RemoveNode              standby              removed
//	ForgetRemovedNode       removed              unknown
//
// Refused besides: a raft id, and being preferred, for a node that may not lead ([Node.MayLead]); an
// id, key, address, role, token or setting that is not one. Expired tokens are dropped by AddToken, at
// the time that it says.
//
// Gone agents and removed frameworks are remembered for ever, as id, time and cause (SCH-64,
// SCH-65, SCH-270): about a hundred bytes each. An agent that comes back with an id that the
// registry does not know is admitted with AdmitAgent.
//
// An operation that this version does not know is an error, [*UnknownOpError]: the peer must stop,
// because going on would let its state differ from that of the others (CLU-38). Therefore a leader asks
// [Needs] which version an operation needs, and proposes it only when all raft members run that version
// or a newer one. From then on [State.Requires] names it, and an older clusterd refuses the snapshot;
// until then an upgrade can be undone.
//
// # Snapshot
//
// A snapshot is the line "clusterd registry 1", records (varint length, then a Snapshot message
// with a part of the state, in a fixed order and division), a zero length and the SHA-256 of all
// before it. That sum is the hash of the state. What a version adds to the state is not written while
// it is not used, so that versions that work together have the same hashes.
//
// A backup is the line "clusterd backup 1" and records in the same form: one Backup, then what of the
// state does not belong to one cluster and its run. The hash of that is [State.ContentHash] (CLU-8).
//
// To add an operation: a message and a field in registry.proto (numbers are never reused), a case
// in [State.Apply], its version in since, a row in the table above and in the test of the full
// table, and a seed for the fuzz test. A new field that changes what a known operation does needs a
// version too: the proposer sets Op.since.
package registry
