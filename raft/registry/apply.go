package registry

import (
	"fmt"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// Result is the outcome of an operation, the same on every peer.
type Result struct {
	// Refused says why the operation changed nothing; empty if it was carried out.
	Refused string
	// RaftID is what AssignRaftID gave the node, 0 with every other operation.
	RaftID uint64
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
	needs := Needs(op)
	if op.GetOp() == nil || known(needs) != nil {
		return Result{}, &UnknownOpError{Index: index, Field: operation(op), Since: op.GetSince()}
	}
	var result Result
	if o, ok := op.GetOp().(*Op_AssignRaftId); ok {
		result.RaftID, result.Refused = s.assignRaftID(o.AssignRaftId)
	} else {
		result.Refused = s.apply(op)
	}
	if result.Refused == "" && CompareVersions(needs, s.requires) > 0 && CompareVersions(needs, firstVersion) > 0 {
		s.requires = plainVersion(needs)
	}
	s.index = index
	return result, nil
}

// apply carries out an operation and returns why it is refused.
func (s *State) apply(op *Op) string {
	switch o := op.GetOp().(type) {
	case *Op_ElectMaster:
		return s.electMaster(o.ElectMaster)
	case *Op_AdmitAgent:
		return s.admitAgent(o.AdmitAgent)
	case *Op_UpdateAgent:
		return s.updateAgent(o.UpdateAgent)
	case *Op_MarkAgentUnreachable:
		return s.markAgentUnreachable(o.MarkAgentUnreachable)
	case *Op_MarkAgentReachable:
		return s.markAgentReachable(o.MarkAgentReachable)
	case *Op_MarkAgentGone:
		return s.markAgentGone(o.MarkAgentGone)
	case *Op_RemoveAgent:
		return s.removeAgent(o.RemoveAgent)
	case *Op_AdmitFramework:
		return s.admitFramework(o.AdmitFramework)
	case *Op_UpdateFramework:
		return s.updateFramework(o.UpdateFramework)
	case *Op_RemoveFramework:
		return s.removeFramework(o.RemoveFramework)
	case *Op_DrainAgent:
		return s.drainAgent(o.DrainAgent)
	case *Op_AgentDrained:
		return s.agentDrained(o.AgentDrained)
	case *Op_DeactivateAgent:
		return s.deactivateAgent(o.DeactivateAgent)
	case *Op_ReactivateAgent:
		return s.reactivateAgent(o.ReactivateAgent)
	default:
		return s.applyCluster(op)
	}
}

// applyCluster carries out an operation on the cluster's own membership.
func (s *State) applyCluster(op *Op) string {
	if o, ok := op.GetOp().(*Op_FormCluster); ok {
		return s.formCluster(o.FormCluster)
	}
	if s.cluster == nil {
		return noCluster
	}
	switch o := op.GetOp().(type) {
	case *Op_AdmitNode:
		return s.admitNode(o.AdmitNode)
	case *Op_UpdateNode:
		return s.updateNode(o.UpdateNode)
	case *Op_RemoveNode:
		return s.removeNode(o.RemoveNode)
	case *Op_ReleaseRaftId:
		return s.releaseRaftID(o.ReleaseRaftId)
	case *Op_SetPlacement:
		return s.setPlacement(o.SetPlacement)
	case *Op_SetSettings:
		return s.setSettings(o.SetSettings)
	case *Op_AddToken:
		return s.addToken(o.AddToken)
	case *Op_RotateTokens:
		return s.rotateTokens(o.RotateTokens)
	case *Op_SetAuthorities:
		return s.setAuthorities(o.SetAuthorities)
	case *Op_ForgetRemovedNode:
		return s.forgetRemovedNode(o.ForgetRemovedNode)
	default:
		panic(fmt.Sprintf("registry: operation %d is in the table of versions but has no case", operation(op)))
	}
}

// operation is the field number of an operation, also of one that this version does not know; 0 if
// there is none.
func operation(op *Op) uint64 {
	m := op.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("op")); f != nil {
		return uint64(f.Number())
	}
	return firstField(m.GetUnknown())
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
