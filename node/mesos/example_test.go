package mesos_test

import (
	"fmt"
	"strings"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
)

// A scheduler reads its events from a RecordIO stream of JSON objects.
func Example() {
	stream := strings.NewReader("20\n" + `{"type":"HEARTBEAT"}` +
		"61\n" + `{"type":"RESCIND","rescind":{"offer_id":{"value":"9f1e-O0"}}}`)
	records := mesos.NewRecordReader(stream, 4<<20)
	for {
		record, err := records.Next()
		if err != nil {
			fmt.Println(err)
			return
		}
		event := &v1scheduler.Event{}
		if err := mesos.JSON.Unmarshal(record, event); err != nil {
			fmt.Println(err)
			return
		}
		fmt.Println(event.GetType())
	}
	// Output:
	// HEARTBEAT
	// RESCIND
	// EOF
}

// Mesos's spelling: a fraction in every double, and the defaults of what is not set.
func ExampleMarshalJSON() {
	call := &v1scheduler.Call{}
	body := `{"type":"DECLINE","decline":{"offer_ids":{"value":"9f1e-O0"},"filters":{"refuse_seconds":5}}}`
	if err := mesos.UnmarshalJSON([]byte(body), call); err != nil {
		fmt.Println(err)
		return
	}
	text, err := mesos.MarshalJSON(call)
	fmt.Println(string(text), err)
	// Output: {"type":"DECLINE","decline":{"offer_ids":[{"value":"9f1e-O0"}],"filters":{"refuse_seconds":5.0}}} <nil>
}
