package registry

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// Result is the outcome of an operation, the same on every peer.
type Result struct {
	// Refused says why the operation changed nothing; empty if it was carried out.
	Refused string
}

// since is the first clusterd version that knows each operation, by field number.
var since = map[protoreflect.FieldNumber]string{
	1: "0.1.0", 2: "0.1.0", 3: "0.1.0", 4: "0.1.0", 5: "0.1.0",
	6: "0.1.0", 7: "0.1.0", 8: "0.1.0", 9: "0.1.0", 10: "0.1.0",
}

// UnknownOpError is a log entry that this version of clusterd does not understand. The peer must
// stop: what it would serve is no longer the state of the cluster.
type UnknownOpError struct {
	Index uint64 // of the log entry
	Field uint64 // number of the operation in registry.proto, 0 if the entry holds none
	Since string // first clusterd version that knows it, empty if the entry does not say
}

func (e *UnknownOpError) Error() string {
	version := "a newer version"
	if e.Since != "" {
		version = "version " + e.Since + " or newer"
	}
	return fmt.Sprintf("registry operation %d at log index %d is unknown to this clusterd: start %s on this node",
		e.Field, e.Index, version)
}

// Encode returns the log entry of an operation, with the version that a node needs to know it. It
// fails if a required field is missing.
func Encode(op *Op) ([]byte, error) {
	m := op.ProtoReflect()
	f := m.WhichOneof(m.Descriptor().Oneofs().ByName("op"))
	if f == nil {
		return nil, fmt.Errorf("encode registry operation: no operation is set")
	}
	// The operation itself stays the caller's, unchanged.
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(op)
	if err != nil {
		return nil, fmt.Errorf("encode registry operation %s: %w", f.Name(), err)
	}
	if version, ok := since[f.Number()]; ok && op.Since == nil {
		number := m.Descriptor().Fields().ByName("since").Number()
		data = protowire.AppendTag(data, number, protowire.BytesType)
		data = protowire.AppendString(data, version)
	}
	return data, nil
}

// Decode reads a log entry. It fails if the entry is damaged or misses a required field.
func Decode(data []byte) (*Op, error) {
	op := &Op{}
	if err := proto.Unmarshal(data, op); err != nil {
		return nil, fmt.Errorf("decode registry operation: %w", err)
	}
	return op, nil
}

// Apply carries out one operation, or refuses it and changes nothing. The only error is
// [*UnknownOpError].
//
// Preconditions: op has its required fields and belongs to the state from here on: nobody changes
// it any more.
func (s *State) Apply(index uint64, op *Op) (Result, error) {
	var refused string
	switch o := op.GetOp().(type) {
	case *Op_ElectMaster:
		refused = s.electMaster(o.ElectMaster)
	case *Op_AdmitAgent:
		refused = s.admitAgent(o.AdmitAgent)
	case *Op_UpdateAgent:
		refused = s.updateAgent(o.UpdateAgent)
	case *Op_MarkAgentUnreachable:
		refused = s.markAgentUnreachable(o.MarkAgentUnreachable)
	case *Op_MarkAgentReachable:
		refused = s.markAgentReachable(o.MarkAgentReachable)
	case *Op_MarkAgentGone:
		refused = s.markAgentGone(o.MarkAgentGone)
	case *Op_RemoveAgent:
		refused = s.removeAgent(o.RemoveAgent)
	case *Op_AdmitFramework:
		refused = s.admitFramework(o.AdmitFramework)
	case *Op_UpdateFramework:
		refused = s.updateFramework(o.UpdateFramework)
	case *Op_RemoveFramework:
		refused = s.removeFramework(o.RemoveFramework)
	default:
		return Result{}, &UnknownOpError{Index: index, Field: firstField(op.ProtoReflect().GetUnknown()), Since: op.GetSince()}
	}
	s.index = index
	return Result{Refused: refused}, nil
}

// firstField returns the number of the first field in wire bytes, 0 if there is none.
func firstField(data []byte) uint64 {
	number, _, n := protowire.ConsumeTag(data)
	if n < 0 {
		return 0
	}
	return uint64(number)
}

func (s *State) electMaster(op *ElectMaster) string {
	switch id := op.GetMasterId(); id {
	case "":
		return "master id is empty"
	case s.master:
		return fmt.Sprintf("master %s is elected already", id)
	default:
		s.master = id
		return ""
	}
}
