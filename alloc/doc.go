// Package alloc holds resource arithmetic and the allocator that decides which
// framework is offered which resources (two-level dominant resource fairness).
// It is pure: no clock, no randomness of its own, no input or output, no locks,
// no logging; map order never decides anything. The same calls with the same
// Options.Rand give the same offers.
//
// # Resources
//
// Resources is an immutable value with exact arithmetic in thousandths.
// FromProto validates what comes from outside, in either form of reservations,
// and Proto, ProtoPre and ProtoEndpoint write the form that the receiver
// understands. Text and JSON of --resources are read by ParseResources.
//
// # Allocator
//
// The state of an Allocator (agents, clients, role tree, filters) is owned by
// the master core that holds it and is as volatile as that core: after a change
// of leader it is built anew from the agents. The core tells it everything that
// changes who may get what:
//
//   - frameworks: AddFramework when one subscribes (it is active then),
//     UpdateFramework when its info changes, DeactivateFramework when its stream
//     ends, ActivateFramework when it is back, RemoveFramework, Revive, Suppress;
//   - agents: AddAgent with what is in use on it, UpdateAgent, DeactivateAgent
//     while it is disconnected or drained, ActivateAgent, RemoveAgent;
//   - resources: an offer is charged when Allocate returns it. An accepted part
//     simply stays charged: the task now holds it. Recover gives back the rest:
//     declined offers and leftovers of an ACCEPT with their filter, rescinded
//     offers and resources of ended tasks and executors without one. Charge is
//     for resources learnt from elsewhere, such as tasks of an agent that
//     registers anew.
//
// Resources passed to Charge and Recover carry their allocation role. Recover
// never takes back more than is held, so the order "RemoveFramework or
// RemoveAgent, then Recover" does no harm.
//
// # When offers are made
//
// Allocate(now) may be called after every step: it runs the cycle that is due
// and returns nil if none is. Deadline says when the next one is due. A batch
// cycle over all agents is due every Options.Interval; before that, events make
// single agents or all of them due, in cycles at least Options.MinInterval apart
// (RES-178, RES-179):
//
//   - all agents: AddFramework, ActivateFramework, Revive, UpdateFramework that
//     makes a role eligible;
//   - one agent: AddAgent, UpdateAgent, ActivateAgent, the end of a filter for
//     it, and Trigger.
//
// The caller decides by Trigger(agent) whether recovered resources are offered
// at once: yes for leftovers of an ACCEPT and for ended tasks and executors, no
// for declined and rescinded offers, which wait for the batch so that a
// framework that declines cannot spin the master. Nothing is allocated between
// the calls of one step, so an ACCEPT is processed completely before anyone is
// offered its leftovers.
//
// Nothing here is durable.
package alloc
