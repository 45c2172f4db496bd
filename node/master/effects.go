package master

import (
	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"
)

// Effect is something the master wants done. The types below are the only ones. Messages inside
// must not be changed.
type Effect interface{ effect() }

// Respond answers a request. Body is plain text, empty for an empty body.
type Respond struct {
	Request RequestID
	Status  int
	Body    string
}

// OpenStream answers a SUBSCRIBE with status 200 and the given Mesos-Stream-Id; the events of Stream
// follow on the same response.
type OpenStream struct {
	Request RequestID
	Stream  StreamID
	UUID    string
}

// Send writes one event on a stream. Sends to a stream that is already gone are dropped.
type Send struct {
	Stream StreamID
	Event  *v1scheduler.Event
}

// CloseStream ends a stream after what was sent on it before.
type CloseStream struct{ Stream StreamID }

// SendAgent writes one frame to an agent. Frames for a connection that is gone are dropped.
type SendAgent struct {
	Conn    ConnID
	Message *wire.ToAgent
}

// CloseAgent ends a connection after what was sent on it before.
type CloseAgent struct{ Conn ConnID }

// Propose asks for a registry operation. It is answered by Committed.
type Propose struct{ Op *registry.Op }

// Answer answers a Query.
type Answer struct {
	Request RequestID
	Picture *Picture
}

// Log is an observation that an operator may want to see; the core itself does not log.
type Log struct {
	Warn    bool
	Message string
	// Agent is empty where it does not apply.
	Agent mesos.AgentID
}

func (Respond) effect()     {}
func (OpenStream) effect()  {}
func (Send) effect()        {}
func (CloseStream) effect() {}
func (SendAgent) effect()   {}
func (CloseAgent) effect()  {}
func (Propose) effect()     {}
func (Answer) effect()      {}
func (Log) effect()         {}
