package mesos

import (
	"encoding/json"
	"testing"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// FuzzUnmarshalJSON feeds any bytes to the decoder of each kind of message. What is decoded must be
// written as JSON that reads back as the same message, but for the defaults that writing spells out.
func FuzzUnmarshalJSON(f *testing.F) {
	names := []string{
		"mesos.v1.scheduler.Call", "mesos.v1.executor.Call", "mesos.v1.master.Call", "mesos.v1.agent.Call",
		"mesos.v1.scheduler.Event", "mesos.v1.master.Response",
	}
	for _, file := range []string{"calls.jsonl", "bodies.jsonl"} {
		for _, x := range readExchanges(f, file) {
			for i, name := range names {
				if name == x.Message && len(x.Body) < 2000 {
					f.Add(uint8(i), []byte(x.Body))
				}
			}
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, body []byte) {
		name := names[int(kind)%len(names)]
		m := newMessage(t, name)
		if err := UnmarshalJSON(body, m); err != nil {
			return
		}
		first, err := MarshalJSON(m)
		if err != nil {
			t.Fatalf("decoded but not encoded: %v", err)
		}
		if !json.Valid(first) {
			t.Fatalf("not JSON: %s", first)
		}
		again := newMessage(t, name)
		if err := UnmarshalJSON(first, again); err != nil {
			t.Fatalf("own output refused: %v in %s", err, first)
		}
		second, err := MarshalJSON(again)
		if err != nil || string(first) != string(second) {
			t.Fatalf("second round differs, %v:\n%s\n%s", err, first, second)
		}
		clearDefaults(m.ProtoReflect())
		clearDefaults(again.ProtoReflect())
		if !proto.Equal(m, again) {
			t.Fatalf("got %v, want %v", again, m)
		}
	})
}

// clearDefaults makes explicitly set defaults and unset ones the same.
func clearDefaults(m protoreflect.Message) {
	m.Range(func(fd protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		switch {
		case fd.IsMap():
			if fd.MapValue().Message() != nil {
				value.Map().Range(func(_ protoreflect.MapKey, entry protoreflect.Value) bool {
					clearDefaults(entry.Message())
					return true
				})
			}
		case fd.IsList():
			for i := range value.List().Len() {
				if fd.Message() != nil {
					clearDefaults(value.List().Get(i).Message())
				}
			}
		case fd.Message() != nil:
			clearDefaults(value.Message())
		case fd.HasDefault() && value.Equal(fd.Default()):
			m.Clear(fd)
		}
		return true
	})
}

// FuzzParseJSON compares the parser with that of encoding/json: whatever that one takes is taken,
// but for numbers no double can hold, halves of surrogate pairs and deep nesting.
func FuzzParseJSON(f *testing.F) {
	for _, x := range readExchanges(f, "calls.jsonl") {
		f.Add([]byte(x.Body))
	}
	f.Add([]byte(`[1e5, -0.5, "\ud83d\ude00", "\ud800", 1e999, true, null]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		nodes, err := parseJSON(text)
		if err != nil {
			var value any
			if json.Unmarshal(text, &value) == nil && !excused(text) {
				t.Fatalf("refused %q: %v", text, err)
			}
			return
		}
		if got := checkNodes(t, text, nodes, 0); got != uint32(len(nodes)) {
			t.Fatalf("the document ends at node %d of %d", got, len(nodes))
		}
	})
}

// excused reports whether the text may hold half of a surrogate pair or too deep a nesting.
func excused(text []byte) bool {
	depth, deepest := 0, 0
	for i, c := range text {
		switch c {
		case '[', '{':
			depth++
			deepest = max(deepest, depth)
		case ']', '}':
			depth--
		case '\\':
			if i+2 < len(text) && text[i+1] == 'u' && (text[i+2] == 'd' || text[i+2] == 'D') {
				return true
			}
		}
	}
	return deepest > maxJSONDepth
}

// checkNodes walks the value at node n and returns the node behind it.
func checkNodes(t *testing.T, text []byte, nodes []jsonNode, n uint32) uint32 {
	node := nodes[n]
	if node.start > node.end || int(node.end) > len(text) || node.next <= n || int(node.next) > len(nodes) {
		t.Fatalf("node %d is %+v", n, node)
	}
	next := n + 1
	for children := 0; next < node.next; children++ {
		if node.kind == jsonObject && children%2 == 0 && nodes[next].kind != jsonString {
			t.Fatalf("key %d is %+v", next, nodes[next])
		}
		next = checkNodes(t, text, nodes, next)
	}
	if node.kind == jsonString && node.escaped {
		unescape(text[node.start:node.end])
	}
	if next != node.next {
		t.Fatalf("node %d ends at %d, its children at %d", n, node.next, next)
	}
	return next
}
