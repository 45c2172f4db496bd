package mesos

import (
	"slices"
	"testing"

	"clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/encoding/protowire"
	"google.golang.org/protobuf/proto"
)

// SCH-10, SCH-118: an enum value from a newer version counts as absent, at any depth.
func TestProtobufUnknownEnums(t *testing.T) {
	var newer int32 = 4711
	call := &v1scheduler.Call{
		Type:        (*v1scheduler.Call_Type)(&newer),
		FrameworkId: FrameworkID("f").Proto(),
		Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: &v1.FrameworkInfo{
			User: proto.String(""), Name: proto.String(""),
			Capabilities: []*v1.FrameworkInfo_Capability{
				{Type: (*v1.FrameworkInfo_Capability_Type)(&newer)},
				{Type: v1.FrameworkInfo_Capability_MULTI_ROLE.Enum()},
			},
		}},
	}
	got := &v1scheduler.Call{}
	if err := Protobuf.Unmarshal(marshal(t, call), got); err != nil {
		t.Fatal(err)
	}
	call.Type = nil
	call.Subscribe.FrameworkInfo.Capabilities[0].Type = nil
	if !proto.Equal(got, call) {
		t.Errorf("got %v, want %v", got, call)
	}
}

// SCH-7: where the field is required the message is incomplete.
func TestProtobufUnknownRequiredEnum(t *testing.T) {
	var newer int32 = 4711
	resource := &v1.Resource{Name: proto.String("cpus"), Type: (*v1.Value_Type)(&newer)}
	offer := &v1.Offer{
		Id: OfferID("o").Proto(), FrameworkId: FrameworkID("f").Proto(), AgentId: AgentID("a").Proto(),
		Hostname: proto.String("h"), Resources: []*v1.Resource{resource},
	}
	if err := Protobuf.Unmarshal(marshal(t, offer), &v1.Offer{}); err == nil {
		t.Error("a resource of unknown type was decoded")
	}
	resource.Type = v1.Value_SCALAR.Enum()
	if err := Protobuf.Unmarshal(marshal(t, offer), &v1.Offer{}); err != nil {
		t.Error(err)
	}
}

// SCH-10: unknown values disappear from lists, in both encodings of a list.
func TestProtobufUnknownEnumInList(t *testing.T) {
	field := (&v1.CapabilityInfo{}).ProtoReflect().Descriptor().Fields().ByName("capabilities").Number()
	var expanded, packed []byte
	for _, n := range []uint64{1002, 4711, 1001, 4712} {
		expanded = protowire.AppendVarint(protowire.AppendTag(expanded, field, protowire.VarintType), n)
		packed = protowire.AppendVarint(packed, n)
	}
	packed = protowire.AppendBytes(protowire.AppendTag(nil, field, protowire.BytesType), packed)
	for _, data := range [][]byte{expanded, packed} {
		got := &v1.CapabilityInfo{}
		if err := Protobuf.Unmarshal(data, got); err != nil {
			t.Fatal(err)
		}
		if want := []v1.CapabilityInfo_Capability{1002, 1001}; !slices.Equal(got.GetCapabilities(), want) {
			t.Errorf("got %v, want %v", got.GetCapabilities(), want)
		}
	}
}

// SCH-68: the messages inside of maps are visited too.
func TestProtobufUnknownEnumBelowMap(t *testing.T) {
	var newer int32 = 4711
	constraints := &v1scheduler.OfferConstraints{
		RoleConstraints: map[string]*v1scheduler.OfferConstraints_RoleConstraints{"r": {
			Groups: []*v1scheduler.OfferConstraints_RoleConstraints_Group{{
				AttributeConstraints: []*v1scheduler.AttributeConstraint{{
					Selector: &v1scheduler.AttributeConstraint_Selector{
						PseudoattributeType: (*v1scheduler.AttributeConstraint_Selector_PseudoattributeType)(&newer),
					},
					Predicate: &v1scheduler.AttributeConstraint_Predicate{},
				}},
			}},
		}},
	}
	got := &v1scheduler.OfferConstraints{}
	if err := Protobuf.Unmarshal(marshal(t, constraints), got); err != nil {
		t.Fatal(err)
	}
	if s := got.GetRoleConstraints()["r"].GetGroups()[0].GetAttributeConstraints()[0].GetSelector(); s.PseudoattributeType != nil {
		t.Errorf("got %v, want an empty selector", s)
	}
}

func marshal(t *testing.T, m proto.Message) []byte {
	t.Helper()
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return data
}
