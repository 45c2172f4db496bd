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

func jsonOf(m proto.Message) string {
	data, err := mesos.MarshalJSON(m)
	if err != nil {
		panic(err)
	}
	return string(data)
}
