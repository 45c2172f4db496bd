package mesos

import (
	"fmt"
	"strings"
	"testing"

	"clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// goldenBody decodes the longest recorded body that starts so.
func goldenBody(t testing.TB, m proto.Message, start string) {
	t.Helper()
	longest := ""
	for _, x := range readExchanges(t, "bodies.jsonl") {
		if x.Message == string(m.ProtoReflect().Descriptor().FullName()) &&
			strings.HasPrefix(x.Body, start) && len(x.Body) > len(longest) {
			longest = x.Body
		}
	}
	if err := UnmarshalJSON([]byte(longest), m); err != nil {
		t.Fatal(err)
	}
}

// offersEvent is an OFFERS event with n offers.
func offersEvent(t testing.TB, n int) *v1scheduler.Event {
	event := &v1scheduler.Event{}
	goldenBody(t, event, `{"type":"OFFERS"`)
	offer := event.GetOffers().GetOffers()[0]
	event.Offers.Offers = nil
	for i := range n {
		next := proto.Clone(offer).(*v1.Offer)
		next.Id = OfferID(fmt.Sprintf("9f1e8f2c-7f0b-4c1e-9c55-0a4d3c2b1a00-O%d", i)).Proto()
		event.Offers.Offers = append(event.Offers.Offers, next)
	}
	return event
}

// tasksResponse is a GET_TASKS response with n tasks.
func tasksResponse(t testing.TB, n int) *v1master.Response {
	response := &v1master.Response{}
	goldenBody(t, response, `{"type":"GET_TASKS","get_tasks":{"tasks":[{`)
	task := response.GetGetTasks().GetTasks()[0]
	response.GetTasks.Tasks = nil
	for i := range n {
		next := proto.Clone(task).(*v1.Task)
		next.TaskId = TaskID(fmt.Sprintf("task-%d", i)).Proto()
		response.GetTasks.Tasks = append(response.GetTasks.Tasks, next)
	}
	return response
}

// The encoder must not allocate for each field: once the buffer is large enough it does not allocate
// at all.
func TestAppendJSONAllocations(t *testing.T) {
	for name, m := range map[string]proto.Message{"offers": offersEvent(t, 20), "tasks": tasksResponse(t, 20)} {
		buffer, err := MarshalJSON(m)
		if err != nil {
			t.Fatal(err)
		}
		allocations := testing.AllocsPerRun(20, func() {
			if buffer, err = AppendJSON(buffer[:0], m); err != nil {
				t.Error(err)
			}
		})
		if allocations > 0 {
			t.Errorf("%s: %v allocations", name, allocations)
		}
	}
}

func benchmarkEncode(b *testing.B, m proto.Message, encode func(dst []byte) ([]byte, error)) {
	buffer, err := encode(nil)
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(buffer)))
	b.ReportAllocs()
	for b.Loop() {
		if buffer, err = encode(buffer[:0]); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkEncodeOffers(b *testing.B) {
	m := offersEvent(b, 100)
	benchmarkEncode(b, m, func(dst []byte) ([]byte, error) { return AppendJSON(dst, m) })
}

func BenchmarkEncodeTasks(b *testing.B) {
	m := tasksResponse(b, 1000)
	benchmarkEncode(b, m, func(dst []byte) ([]byte, error) { return AppendJSON(dst, m) })
}

// For comparison: the same bodies by the two codecs of the protobuf module.
func BenchmarkEncodeOffersProtojson(b *testing.B) {
	m := offersEvent(b, 100)
	benchmarkEncode(b, m, func(dst []byte) ([]byte, error) { return protojson.MarshalOptions{}.MarshalAppend(dst, m) })
}

func BenchmarkEncodeOffersProtobuf(b *testing.B) {
	m := offersEvent(b, 100)
	benchmarkEncode(b, m, func(dst []byte) ([]byte, error) { return proto.MarshalOptions{}.MarshalAppend(dst, m) })
}

func BenchmarkDecodeTasks(b *testing.B) {
	body, err := MarshalJSON(tasksResponse(b, 1000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := UnmarshalJSON(body, &v1master.Response{}); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkDecodeTasksProtojson(b *testing.B) {
	body, err := MarshalJSON(tasksResponse(b, 1000))
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		if err := (protojson.UnmarshalOptions{DiscardUnknown: true}).Unmarshal(body, &v1master.Response{}); err != nil {
			b.Fatal(err)
		}
	}
}
