package mesos

import (
	"fmt"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// unmarshalProtobuf replaces the contents of the message. An enum value that this version does not know
// counts as absent, as in every other implementation of the closed enums of proto2 (SCH-10); where the
// field is required the message is thus incomplete.
func unmarshalProtobuf(data []byte, m proto.Message) error {
	err := proto.Unmarshal(data, m)
	if err == nil {
		err = clearUnknownEnums(m.ProtoReflect())
	}
	if err != nil {
		return fmt.Errorf("decode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return nil
}

// clearUnknownEnums clears unknown enum values in the message and in all messages below. It returns an
// error if a required field held one.
func clearUnknownEnums(m protoreflect.Message) (err error) {
	m.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case field.IsMap():
			err = clearInMap(field, value.Map())
		case field.Enum() != nil && field.IsList():
			keepKnown(field.Enum(), value.List())
		case field.Enum() != nil:
			if known(field.Enum(), value) {
				return true
			}
			m.Clear(field)
			if field.Cardinality() == protoreflect.Required {
				err = fmt.Errorf("required field %s has the unknown value %d", field.FullName(), value.Enum())
			}
		case field.Message() != nil && field.IsList():
			for i := 0; i < value.List().Len() && err == nil; i++ {
				err = clearUnknownEnums(value.List().Get(i).Message())
			}
		case field.Message() != nil:
			err = clearUnknownEnums(value.Message())
		}
		return err == nil
	})
	return err
}

// clearInMap does the same for the values of a map. The v1 messages have no maps of enums.
func clearInMap(field protoreflect.FieldDescriptor, entries protoreflect.Map) (err error) {
	if field.MapValue().Message() == nil {
		return nil
	}
	entries.Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
		err = clearUnknownEnums(value.Message())
		return err == nil
	})
	return err
}

// keepKnown removes the unknown values of a list.
func keepKnown(enum protoreflect.EnumDescriptor, list protoreflect.List) {
	kept := 0
	for i := range list.Len() {
		if v := list.Get(i); known(enum, v) {
			list.Set(kept, v)
			kept++
		}
	}
	list.Truncate(kept)
}

func known(enum protoreflect.EnumDescriptor, value protoreflect.Value) bool {
	return enum.Values().ByNumber(value.Enum()) != nil
}
