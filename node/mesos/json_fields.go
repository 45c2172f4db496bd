package mesos

import (
	"cmp"
	"encoding/base64"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
)

// messageCodec is what the JSON codec knows about one message type. It is made once and never
// changed after it has been published in codecs.
type messageCodec struct {
	name   protoreflect.FullName
	goType reflect.Type // the struct
	fields []fieldCodec // in order of declaration
	// byName finds the index in fields; ordered lists the indexes in alphabetical and byNumber in
	// number order, the orders in which Mesos meets conversion errors and missing fields.
	byName   map[string]int
	ordered  []int
	byNumber []int
}

// fieldCodec describes one field of a message, and also the values of a map field.
type fieldCodec struct {
	name   string
	key    string // a comma, the quoted name, a colon
	number protoreflect.FieldNumber
	index  int // in the Go struct
	kind   protoreflect.Kind

	required bool
	list     bool
	isMap    bool
	pointer  bool // the Go field is a pointer to a scalar or struct
	// whenUnset is the JSON text to write for an unset field: its explicit default (SCH-32), or the
	// empty array for a list of OPR-38. Empty: nothing is written.
	whenUnset string
	// tail is a member of constant text that follows this one, whether this one is written or not.
	tail string
	// wrapped: an object {"value": ...} is accepted for the bytes themselves (SCH-251).
	wrapped bool

	enum    *enumCodec    // for enum fields
	message *messageCodec // for message fields
	entry   *fieldCodec   // for map fields: the values; keys are strings
}

// enumCodec holds the names of one enumeration.
type enumCodec struct {
	quoted map[int32]string
	byName map[string]int32
}

// codecs holds the published *messageCodec by reflect.Type of the message's pointer. building
// serialises their construction.
var (
	codecs   sync.Map
	building sync.Mutex
)

// codecOf returns the codec for the dynamic type of m and the struct to work on.
func codecOf(m proto.Message) (*messageCodec, reflect.Value, error) {
	v := reflect.ValueOf(m)
	if !v.IsValid() || v.Kind() != reflect.Pointer || v.IsNil() {
		return nil, reflect.Value{}, fmt.Errorf("JSON form of %T: not a message", m)
	}
	if c, ok := codecs.Load(v.Type()); ok {
		return c.(*messageCodec), v.Elem(), nil
	}
	building.Lock()
	defer building.Unlock()
	b := codecBuilder{messages: map[reflect.Type]*messageCodec{}, enums: map[protoreflect.FullName]*enumCodec{}}
	c, err := b.message(v.Type(), m.ProtoReflect().Descriptor())
	if err != nil {
		return nil, reflect.Value{}, err
	}
	// Only now is everything that c refers to complete.
	for t, made := range b.messages {
		codecs.LoadOrStore(t, made)
	}
	return c, v.Elem(), nil
}

// codecBuilder makes the codecs of one message type and all it refers to; types may be recursive.
type codecBuilder struct {
	messages map[reflect.Type]*messageCodec
	enums    map[protoreflect.FullName]*enumCodec
}

func (b *codecBuilder) message(pointer reflect.Type, d protoreflect.MessageDescriptor) (*messageCodec, error) {
	if c, ok := b.messages[pointer]; ok {
		return c, nil
	}
	if done, ok := codecs.Load(pointer); ok {
		return done.(*messageCodec), nil
	}
	if pointer.Elem().Kind() != reflect.Struct {
		return nil, fmt.Errorf("JSON form of %s: not a generated type", d.FullName())
	}
	c := &messageCodec{name: d.FullName(), goType: pointer.Elem(), byName: map[string]int{}}
	b.messages[pointer] = c
	indexes := structIndexes(c.goType)
	for i := range d.Fields().Len() {
		fd := d.Fields().Get(i)
		index, ok := indexes[fd.Number()]
		if !ok {
			return nil, fmt.Errorf("JSON form of %s: no plain Go field, as for oneof", fd.FullName())
		}
		f, err := b.field(fd, c.goType.Field(index).Type)
		if err != nil {
			return nil, err
		}
		f.index = index
		c.byName[f.name] = len(c.fields)
		c.ordered = append(c.ordered, len(c.fields))
		c.byNumber = append(c.byNumber, len(c.fields))
		c.fields = append(c.fields, f)
	}
	slices.SortFunc(c.ordered, func(i, j int) int { return strings.Compare(c.fields[i].name, c.fields[j].name) })
	slices.SortFunc(c.byNumber, func(i, j int) int { return cmp.Compare(c.fields[i].number, c.fields[j].number) })
	return c, nil
}

// structIndexes maps field numbers to Go struct fields by the tags protoc-gen-go writes.
func structIndexes(t reflect.Type) map[protoreflect.FieldNumber]int {
	indexes := map[protoreflect.FieldNumber]int{}
	for i := range t.NumField() {
		parts := strings.Split(t.Field(i).Tag.Get("protobuf"), ",")
		if len(parts) < 2 {
			continue
		}
		if number, err := strconv.Atoi(parts[1]); err == nil {
			indexes[protoreflect.FieldNumber(number)] = i
		}
	}
	return indexes
}

func (b *codecBuilder) field(fd protoreflect.FieldDescriptor, goType reflect.Type) (fieldCodec, error) {
	name := string(fd.Name())
	f := fieldCodec{
		name:      name,
		key:       `,"` + name + `":`,
		number:    fd.Number(),
		kind:      fd.Kind(),
		required:  fd.Cardinality() == protoreflect.Required,
		list:      fd.IsList(),
		isMap:     fd.IsMap(),
		pointer:   goType.Kind() == reflect.Pointer,
		whenUnset: whenUnset(fd),
		wrapped:   fd.FullName() == "mesos.v1.scheduler.Call.AcknowledgeOperationStatus.uuid",
	}
	switch {
	case f.isMap:
		if fd.MapKey().Kind() != protoreflect.StringKind {
			return fieldCodec{}, fmt.Errorf("JSON form of %s: map key is not a string", fd.FullName())
		}
		entry, err := b.field(fd.MapValue(), goType.Elem())
		if err != nil {
			return fieldCodec{}, err
		}
		f.entry = &entry
		return f, nil
	case f.list:
		goType = goType.Elem()
	}
	switch f.kind {
	case protoreflect.EnumKind:
		f.enum = b.enum(fd.Enum())
	case protoreflect.MessageKind:
		c, err := b.message(goType, fd.Message())
		if err != nil {
			return fieldCodec{}, err
		}
		if path, ok := withCheckpoint[fd.FullName()]; ok {
			c = c.withCheckpoint(path)
		}
		f.message = c
	}
	return f, nil
}

func (b *codecBuilder) enum(d protoreflect.EnumDescriptor) *enumCodec {
	if e, ok := b.enums[d.FullName()]; ok {
		return e
	}
	e := &enumCodec{quoted: map[int32]string{}, byName: map[string]int32{}}
	b.enums[d.FullName()] = e
	for i := range d.Values().Len() {
		value := d.Values().Get(i)
		number := int32(value.Number())
		e.byName[string(value.Name())] = number
		if _, alias := e.quoted[number]; !alias {
			e.quoted[number] = `"` + string(value.Name()) + `"`
		}
	}
	return e
}

// withCheckpoint names the lists in which the master shows agents with "checkpoint":true, a field the
// v1 AgentInfo does not have (the original makes these responses out of its older messages, other
// than the events), and the path from their entries to the AgentInfo.
var withCheckpoint = map[protoreflect.FullName][]string{
	"mesos.v1.master.Response.GetAgents.agents":           {"agent_info"},
	"mesos.v1.master.Response.GetAgents.recovered_agents": {},
}

// withCheckpoint returns a copy of the codec in which the AgentInfo at the path has that member.
func (c *messageCodec) withCheckpoint(path []string) *messageCodec {
	changed := *c
	changed.fields = slices.Clone(c.fields)
	if len(path) == 0 {
		changed.fields[c.byName["id"]].tail = `"checkpoint":true`
		return &changed
	}
	f := &changed.fields[c.byName[path[0]]]
	f.message = f.message.withCheckpoint(path[1:])
	return &changed
}

// alwaysListed names the messages of the operator API whose own lists are written even when they
// are empty (OPR-38).
var alwaysListed = map[protoreflect.FullName]bool{
	"mesos.v1.master.Response.GetAgents":     true,
	"mesos.v1.master.Response.GetExecutors":  true,
	"mesos.v1.master.Response.GetFrameworks": true,
	"mesos.v1.master.Response.GetTasks":      true,
	"mesos.v1.agent.Response.GetExecutors":   true,
	"mesos.v1.agent.Response.GetFrameworks":  true,
	"mesos.v1.agent.Response.GetTasks":       true,
}

// whenUnset returns the text of fieldCodec.whenUnset. Deprecated fields are written only when set
// (SCH-33).
func whenUnset(fd protoreflect.FieldDescriptor) string {
	if options, ok := fd.Options().(*descriptorpb.FieldOptions); ok && options.GetDeprecated() {
		return ""
	}
	if fd.IsList() && alwaysListed[fd.ContainingMessage().FullName()] {
		return "[]"
	}
	if !fd.HasDefault() {
		return ""
	}
	var text []byte
	switch value := fd.Default(); fd.Kind() {
	case protoreflect.BoolKind:
		text = strconv.AppendBool(nil, value.Bool())
	case protoreflect.EnumKind:
		text = AppendJSONString(nil, string(fd.DefaultEnumValue().Name()))
	case protoreflect.StringKind:
		text = AppendJSONString(nil, value.String())
	case protoreflect.BytesKind:
		text = AppendJSONString(nil, base64.StdEncoding.EncodeToString(value.Bytes()))
	case protoreflect.FloatKind, protoreflect.DoubleKind:
		text = AppendJSONNumber(nil, value.Float())
	default:
		text = fmt.Append(nil, value.Interface())
	}
	return string(text)
}
