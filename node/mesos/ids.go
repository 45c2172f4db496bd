package mesos

import (
	"strings"

	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// The identifiers of the Mesos API as distinct Go types, so that one cannot be passed for another.
// The empty value means "none". Proto returns the wire message, which is never nil.
type (
	// FrameworkID is "<master id>-<counter>" unless an operator or framework chose another one.
	FrameworkID string
	// AgentID is "<master id>-S<counter>".
	AgentID string
	// OfferID is "<master id>-O<counter>"; inverse offers share the counter.
	OfferID string
	// TaskID is chosen by the framework.
	TaskID string
	// ExecutorID is chosen by the framework; for a command task it equals the task id.
	ExecutorID string
	// ContainerID is the id of a top-level container, chosen by the agent.
	ContainerID string
	// OperationID is chosen by the framework that wants feedback for an operation.
	OperationID string
)

// Proto returns the wire form of the id.
func (id FrameworkID) Proto() *v1.FrameworkID {
	return &v1.FrameworkID{Value: proto.String(string(id))}
}

// Proto returns the wire form of the id.
func (id AgentID) Proto() *v1.AgentID { return &v1.AgentID{Value: proto.String(string(id))} }

// Proto returns the wire form of the id.
func (id OfferID) Proto() *v1.OfferID { return &v1.OfferID{Value: proto.String(string(id))} }

// Proto returns the wire form of the id.
func (id TaskID) Proto() *v1.TaskID { return &v1.TaskID{Value: proto.String(string(id))} }

// Proto returns the wire form of the id.
func (id ExecutorID) Proto() *v1.ExecutorID { return &v1.ExecutorID{Value: proto.String(string(id))} }

// Proto returns the wire form of the id, without a parent.
func (id ContainerID) Proto() *v1.ContainerID {
	return &v1.ContainerID{Value: proto.String(string(id))}
}

// Proto returns the wire form of the id.
func (id OperationID) Proto() *v1.OperationID {
	return &v1.OperationID{Value: proto.String(string(id))}
}

// maxIDBytes is the longest id accepted: ids become directory names in sandbox paths.
const maxIDBytes = 255

// IDError says why a text is not usable as an id. The texts are those of SCH-170.
type IDError struct{ Reason string }

// Error returns the reason alone; callers put the name of the field in front.
func (e *IDError) Error() string { return e.Reason }

// ValidateID checks a task, executor, framework or persistence id (SCH-170): 1 to 255 bytes, not "."
// or "..", without slashes, backslashes and control characters, since ids become parts of paths.
// Blanks and bytes outside of ASCII are fine. A failure is an *IDError.
func ValidateID(id string) error {
	switch {
	case id == "":
		return &IDError{"ID must not be empty"}
	case len(id) > maxIDBytes:
		return &IDError{"ID must not be greater than 255 characters"}
	case id == "." || id == "..":
		return &IDError{"'" + id + "' is disallowed"}
	}
	if strings.IndexFunc(id, invalidInID) >= 0 {
		return &IDError{"'" + id + "' contains invalid characters"}
	}
	return nil
}

func invalidInID(r rune) bool { return r < ' ' || r == 0x7f || r == '/' || r == '\\' }
