// Package master is the leading master: it admits frameworks and agents, hands out offers,
// validates and launches tasks, forwards status updates, reconciles, and keeps the view that
// operators read.
//
// # Shape
//
// A Master is a value stepped by one loop. Everything it learns is an Event, everything it wants is
// an Effect:
//
//	effects := m.Step(now, event)
//	deadline, ok := m.Deadline() // step Tick{} at that instant if nothing else happens before
//
// It reads no clock, starts no goroutine, takes no lock and does not log; chance comes from
// Config.Rand. The same events at the same instants give the same effects. Only one goroutine may
// use a Master. What leaves it (effects, pictures) may be read from any goroutine, because nothing in
// it changes after it has been handed out. A Query costs the loop little: it is answered with a Picture,
// of which a Viewer makes the View elsewhere.
//
// # Who owns what
//
// The Master owns the soft state of one time of office: subscriptions, offers, the tasks and
// executors that agents reported or it launched, and the allocator, which it calls directly so
// that offers and allocator cannot disagree. All of that is lost with the leadership and rebuilt
// when frameworks subscribe and agents register again.
//
// # What is durable
//
// The registry, through raft:
//
//	agents        admitted ones with their AgentInfo
//	unreachable   agents that stopped answering, and since when
//	gone          agents that may never come back under their id
//	frameworks    admitted ones with their FrameworkInfo and when they were last seen connected
//	removed       ids of frameworks that ended: they may never subscribe again
//	drains        agents that operators have deactivated or drained, and how far that has come
//
// When a framework was last seen connected is written when its stream ends, and taken back when it
// subscribes again: while it is connected nothing has to be refreshed. A new leader gives a framework
// without it the whole failover time-out from the election on, one with it what is left.
//
// # After an election
//
// Agents of the registry are awaited for Config.AgentReregisterTimeout, then marked unreachable, no
// faster than Config.AgentRemovalRate. If more of them are absent than Config.RecoveryAgentRemovalLimit
// allows, something else is wrong: all are kept, and a Log says so. What agents report is taken over
// at once, for frameworks that have not subscribed yet too; what is left of removed frameworks is shut
// down.
//
// # Order
//
// Fact first: what depends on the registry is told to nobody before its Committed event. Committed
// events must come in the order in which the Propose effects were returned, one for each. Effects of
// one step are to be carried out in the order returned. Events of one stream or connection must be
// stepped in the order in which they were received; StreamClosed and AgentDisconnected come last.
//
// Registry operations about one framework, or one agent, are never in flight two at a time when
// the second depends on the outcome of the first: calls that arrive meanwhile are held back and
// stepped again after the commit.
//
// # Adding a call
//
//  1. node/api checks what needs no state; everything else is checked in calls.go.
//  2. Add the case to (*Master).call and the method named for it in the file of its noun.
//  3. Count it in metrics.go under the name that Mesos uses.
//  4. Extend a script in testdata and the table of common checks in calls_test.go.
package master
