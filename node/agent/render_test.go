package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"clusterd/node/mesos"

	"google.golang.org/protobuf/proto"
)

// render writes effects as text, one to a line.
func render(effects []Effect) string {
	var b strings.Builder
	for _, e := range effects {
		b.WriteString("  " + renderEffect(e) + "\n")
	}
	return b.String()
}

func renderEffect(e Effect) string {
	switch e := e.(type) {
	case SendMaster:
		return "SendMaster " + jsonOf(e.Message)
	case Send:
		return fmt.Sprintf("Send %d %s", e.Stream, jsonOf(e.Event))
	case Respond:
		return strings.TrimRight(fmt.Sprintf("Respond %d %d %s", e.Request, e.Status, e.Body), " ")
	case OpenStream:
		return fmt.Sprintf("OpenStream %d %d", e.Request, e.Stream)
	case CloseStream:
		return fmt.Sprintf("CloseStream %d", e.Stream)
	case Checkpoint:
		return fmt.Sprintf("Checkpoint %d delete %q put %q", e.Seq, e.Delete, slices.Sorted(maps.Keys(e.Put)))
	case Launch:
		return "Launch " + renderSpec(e.Spec)
	default:
		data, err := json.Marshal(e)
		if err != nil {
			panic(err)
		}
		return fmt.Sprintf("%T %s", e, data)[len("agent."):]
	}
}

func renderSpec(s LaunchSpec) string {
	return fmt.Sprintf("%s command task %v, user %q, in %s, limits %+v, grace %s, %s",
		s.ID, s.CommandTask, s.User, s.Directory, s.Limits, s.ShutdownGrace, jsonOf(s.Command))
}

// jsonOf is the JSON form of a message. The codec has none for a oneof: frames are shown as the name
// of what is in them, and that.
func jsonOf(m proto.Message) string {
	if oneofs := m.ProtoReflect().Descriptor().Oneofs(); oneofs.Len() > 0 {
		field := m.ProtoReflect().WhichOneof(oneofs.Get(0))
		return string(field.Name()) + " " + jsonOf(m.ProtoReflect().Get(field).Message().Interface())
	}
	data, err := mesos.MarshalJSON(m)
	if err != nil {
		panic(err)
	}
	return string(data)
}

func renderEvent(ev Event) string {
	switch ev := ev.(type) {
	case FromMaster:
		return "FromMaster " + jsonOf(ev.Message)
	case ExecutorCall:
		return fmt.Sprintf("ExecutorCall %d %d %s", ev.Request, ev.Stream, jsonOf(ev.Call))
	default:
		return fmt.Sprintf("%T %+v", ev, ev)[len("agent."):]
	}
}
