package mesos

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"strings"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// exchange is one line of a testdata/*.jsonl file: a body as it was seen on the wire of Mesos 1.12,
// with ids, times and paths made up.
type exchange struct {
	// Message is the full name of the message the body holds.
	Message string
	Body    string
	// Error is what Mesos says after "Failed to parse body into JSON: " or "Failed to convert JSON
	// into Call protobuf: "; empty if it took the body.
	Error string
}

func readExchanges(t testing.TB, file string) []exchange {
	t.Helper()
	data, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	var exchanges []exchange
	lines := bufio.NewScanner(bytes.NewReader(data))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var x exchange
		if err := json.Unmarshal(lines.Bytes(), &x); err != nil {
			t.Fatalf("%s: %v in %s", file, err, lines.Bytes())
		}
		exchanges = append(exchanges, x)
	}
	if err := lines.Err(); err != nil || len(exchanges) == 0 {
		t.Fatalf("%s: %d lines, %v", file, len(exchanges), err)
	}
	return exchanges
}

func newMessage(t testing.TB, name string) proto.Message {
	t.Helper()
	messageType, err := protoregistry.GlobalTypes.FindMessageByName(protoreflect.FullName(name))
	if err != nil {
		t.Fatal(err)
	}
	return messageType.New().Interface()
}

// everyMessage returns the types of all messages of the v1 API, nested ones too.
func everyMessage() []protoreflect.MessageType {
	var found []protoreflect.MessageType
	protoregistry.GlobalTypes.RangeMessages(func(m protoreflect.MessageType) bool {
		for _, file := range v1Files {
			if m.Descriptor().ParentFile().Path() == file.Path() {
				found = append(found, m)
			}
		}
		return true
	})
	return found
}

// SCH-8, SCH-28, SCH-29, SCH-30, SCH-31, SCH-34: what Mesos says to request bodies.
func TestGoldenCalls(t *testing.T) {
	refused := 0
	for _, x := range readExchanges(t, "calls.jsonl") {
		m := newMessage(t, x.Message)
		if strings.Contains(x.Body, `"max_grace_period": "5s"`) {
			x.Error = "" // OPR-57: durations may be strings here
		}
		got := ""
		if err := UnmarshalJSON([]byte(x.Body), m); err != nil {
			got = err.Error()
			refused++
		}
		if got != x.Error {
			t.Errorf("%s %s\n got %q\nwant %q", x.Message, x.Body, got, x.Error)
		}
		if got != "" && !proto.Equal(m, newMessage(t, x.Message)) {
			t.Errorf("%s %s: the message is not empty after an error", x.Message, x.Body)
		}
	}
	if refused < 60 {
		t.Errorf("only %d refusals in the file", refused)
	}
}

// SCH-27, SCH-32, SCH-33, SCH-35, OPR-38: events and responses of Mesos are read and written back
// with the same members in the same order and the same spelling of every number.
func TestGoldenBodies(t *testing.T) {
	for _, x := range readExchanges(t, "bodies.jsonl") {
		m := newMessage(t, x.Message)
		if err := UnmarshalJSON([]byte(x.Body), m); err != nil {
			t.Errorf("%s %s: %v", x.Message, x.Body, err)
			continue
		}
		got, err := MarshalJSON(m)
		if err != nil {
			t.Errorf("%s %s: %v", x.Message, x.Body, err)
		} else if string(got) != x.Body {
			t.Errorf("%s\n got %s\nwant %s", x.Message, got, x.Body)
		}
	}
}
