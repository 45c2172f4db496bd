package mesos

import (
	"encoding/base64"
	"math"
	"strings"
	"testing"

	"clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1agent"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// SCH-28, SCH-29, SCH-30, SCH-31, SCH-32, SCH-34, SCH-35: what is read, shown by what it is written as.
func TestUnmarshalJSON(t *testing.T) {
	for _, test := range []struct {
		name string
		m    proto.Message
		body string
		want string
	}{
		{"unknown keys and nulls", &v1.Parameter{}, `{"key":"k","nosuch":[{"a":1}],"value":"v","also":null}`, `{"key":"k","value":"v"}`},
		{"null is absent", &v1.Labels{}, `{"labels":null}`, `{}`},
		{"blanks", &v1.Parameter{}, " {\t\"key\" :\n\"k\" ,\r\"value\":\"v\"} \v\f\n", `{"key":"k","value":"v"}`},
		{"escaped key", &v1.Parameter{}, `{"\u006bey":"k","value":"v"}`, `{"key":"k","value":"v"}`},
		{"last of equal keys counts", &v1.Parameter{}, `{"key":1,"key":"b","value":"v"}`, `{"key":"b","value":"v"}`},
		{"null after a value", &v1.Label{}, `{"key":"k","value":"v","value":null}`, `{"key":"k"}`},
		{"number as string", &v1.Value_Scalar{}, `{"value":"1.5"}`, `{"value":1.5}`},
		{"number with blanks in a string", &v1.Value_Scalar{}, `{"value":" 1.5 "}`, `{"value":1.5}`},
		{"64-bit as string", &v1.Value_Range{}, `{"begin":"15","end":"18446744073709551615"}`, `{"begin":15,"end":18446744073709551615}`},
		{"64-bit as number", &v1.Value_Range{}, `{"begin":9007199254740993,"end":18446744073709551615}`, `{"begin":9007199254740993,"end":18446744073709551615}`},
		{"boolean as string", &v1.CommandInfo{}, `{"shell":"false"}`, `{"shell":false}`},
		{"infinity", &v1.Value_Scalar{}, `{"value":"Infinity"}`, `{"value":"Infinity"}`},
		{"negative infinity", &v1.Value_Scalar{}, `{"value":"-Infinity"}`, `{"value":"-Infinity"}`},
		{"fraction for an integer", &v1.Value_Range{}, `{"begin":1.9,"end":"2.5e1"}`, `{"begin":1,"end":25}`},
		{"negative for unsigned", &v1.Value_Range{}, `{"begin":-1,"end":-1.5}`, `{"begin":18446744073709551615,"end":18446744073709551615}`},
		{"beyond unsigned", &v1.Value_Range{}, `{"begin":1e30,"end":18446744073709551616}`, `{"begin":18446744073709551615,"end":18446744073709551615}`},
		{"beyond signed", &v1.DurationInfo{}, `{"nanoseconds":9223372036854775808}`, `{"nanoseconds":9223372036854775807}`},
		{"beyond signed, negative", &v1.DurationInfo{}, `{"nanoseconds":-1e300}`, `{"nanoseconds":-9223372036854775808}`},
		{"too large for 32 bits", &v1.Address{}, `{"port":4294967297}`, `{"port":1}`},
		{"too small to be anything", &v1.DurationInfo{}, `{"nanoseconds":1e-400}`, `{"nanoseconds":0}`},
		{"leading zeros", &v1.DurationInfo{}, `{"nanoseconds":007}`, `{"nanoseconds":7}`},
		{"point at the end", &v1.Value_Scalar{}, `{"value":1.}`, `{"value":1.0}`},
		{"unknown enumeration name", &v1.FrameworkInfo_Capability{}, `{"type":"NO_SUCH"}`, `{}`},
		{"list of one value", &v1.CommandInfo{}, `{"arguments":"a"}`, `{"shell":true,"arguments":["a"]}`},
		{"list of one object", &v1.Labels{}, `{"labels":{"key":"k"}}`, `{"labels":[{"key":"k"}]}`},
		{"nulls in a list", &v1.Labels{}, `{"labels":[null,{"key":"k"},null]}`, `{"labels":[{"key":"k"}]}`},
		{"list in a list", &v1.CommandInfo{}, `{"arguments":["a",["b",[]],"c"]}`, `{"shell":true,"arguments":["a","b","c"]}`},
		{"escapes", &v1.Label{}, `{"key":"\"\\\/\b\f\n\r\t\u00e9\ud83d\ude00\u0000"}`, `{"key":"\"\\/\b\f\n\r\té😀\u0000"}`},
		{"bytes without padding", &v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":"YQ"}`, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":"YQ=="}`},
		{"bytes with blanks", &v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":" Y W\nI\t= !"}`, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":"YWI="}`},
		{"bytes with a character too many", &v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":"YWJjZ"}`, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":"YWJj"}`},
		{"empty bytes", &v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":""}`, `{"task_id":{"value":"t"},"state":"TASK_LOST","data":""}`},
		{"bytes that are not UTF-8", &v1.Label{}, "{\"key\":\"a\xffb\"}", `{"key":"a` + "\uFFFD" + `b"}`},
		{"google.protobuf.Duration of Mesos", &v1master.Call_DrainAgent{}, `{"agent_id":{"value":"a"},"max_grace_period":"10mins"}`, `{"agent_id":{"value":"a"},"max_grace_period":{"seconds":600},"mark_gone":false}`}, // OPR-57
		{"google.protobuf.Duration of proto3", &v1master.Call_DrainAgent{}, `{"agent_id":{"value":"a"},"max_grace_period":"-1.5s"}`, `{"agent_id":{"value":"a"},"max_grace_period":{"seconds":-1,"nanos":-500000000},"mark_gone":false}`},
		{"google.protobuf.Duration", &v1master.Call_DrainAgent{}, `{"agent_id":{"value":"a"},"max_grace_period":{"seconds":"5","nanos":0}}`, `{"agent_id":{"value":"a"},"max_grace_period":{"seconds":5},"mark_gone":false}`},
		{"map", &v1.OfferFilters{}, `{"min_allocatable_resources":{"quantities":{"quantities":{"mem":{"value":32},"cpus":{"value":1},"gpus":null}}}}`, `{"min_allocatable_resources":{"quantities":[{"quantities":{"cpus":{"value":1.0},"mem":{"value":32.0}}}]}}`},
		{"map of strings", &v1.Volume_Source_CSIVolume_StaticProvisioning{}, `{"volume_id":"v","volume_capability":{"mount":{},"access_mode":{"mode":"SINGLE_NODE_WRITER"}},"volume_context":{"b":"2","a":"1"}}`, `{"volume_id":"v","volume_capability":{"mount":{},"access_mode":{"mode":"SINGLE_NODE_WRITER"}},"volume_context":{"a":"1","b":"2"}}`},
	} {
		t.Run(test.name, func(t *testing.T) {
			if err := UnmarshalJSON([]byte(test.body), test.m); err != nil {
				t.Fatal(err)
			}
			got, err := MarshalJSON(test.m)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != test.want {
				t.Errorf("\n got %s\nwant %s", got, test.want)
			}
		})
	}
}

// SCH-8, SCH-29, SCH-30, SCH-31, SCH-34: refusals beyond those recorded in testdata/calls.jsonl.
func TestUnmarshalJSONRefusals(t *testing.T) {
	for _, test := range []struct {
		m    proto.Message
		body string
		want string
	}{
		{&v1.CommandInfo{}, "{\n\"shell\":\n \x01tru, 1}\n}", "syntax error at line 3 near: tru, 1}"},
		{&v1.CommandInfo{}, `{"shell":nope}`, "syntax error at line 1 near: ope}"},
		{&v1.CommandInfo{}, `{"value":"\x"}`, `syntax error at line 1 near: "}`},
		{&v1.CommandInfo{}, `{"value":"\udc00"}`, `syntax error at line 1 near: "}`},
		{&v1.CommandInfo{}, `{"value":"\ud800x"}`, `syntax error at line 1 near: x"}`},
		{&v1.CommandInfo{}, `{"value":"\ud800\u0041"}`, `syntax error at line 1 near: "}`},
		{&v1.CommandInfo{}, `{"value":"\u12g4"}`, `syntax error at line 1 near: g4"}`},
		{&v1.CommandInfo{}, "{\"value\":\"a\nb\"}", "syntax error at line 1 near: "},
		{&v1.CommandInfo{}, `{"value":"a`, "syntax error at line 1 near: "},
		{&v1.CommandInfo{}, `{"value":"\`, "syntax error at line 1 near: "},
		{&v1.CommandInfo{}, `{"value":"\ud8`, "syntax error at line 1 near: "},
		{&v1.CommandInfo{}, `{"value" 1}`, "syntax error at line 1 near: 1}"},
		{&v1.CommandInfo{}, `{"value":-}`, "syntax error at line 1 near: }"},
		{&v1.CommandInfo{}, `{"value":1.2.3}`, "syntax error at line 1 near: }"},
		{&v1.CommandInfo{}, `{"value":1e999}`, "syntax error at line 1 near: }"},
		{&v1.CommandInfo{}, `{"value":[1,]}`, "syntax error at line 1 near: ]}"},
		{&v1.CommandInfo{}, `{"value":[1 2]}`, "syntax error at line 1 near: 2]}"},
		{&v1.CommandInfo{}, "{}\xff", "Parsed JSON included non-whitespace trailing characters: \uFFFD"},
		{&v1.CommandInfo{}, `{"shell":1}`, "Not expecting a JSON number for field 'shell'"},
		{&v1.CommandInfo{}, `{"shell":"1"}`, "Failed to parse '1' as a JSON boolean for field 'shell': Unexpected JSON type parsed"},
		{&v1.CommandInfo{}, `{"shell":[true]}`, "Not expecting a JSON array for field 'shell'"},
		{&v1.CommandInfo{}, `{"user":{}}`, "Not expecting a JSON object for field 'user'"},
		{&v1.CommandInfo{}, `{"user":true}`, "Not expecting a JSON boolean for field 'user'"},
		{&v1.CommandInfo{}, `{"environment":3}`, "Not expecting a JSON number for field 'environment'"},
		// The first in the alphabet is named, wherever it stands.
		{&v1.CommandInfo{}, `{"value":1,"arguments":[1],"user":1}`, "Not expecting a JSON number for field 'arguments'"},
		{&v1.Value_Scalar{}, `{"value":"NaN"}`, "Failed to parse 'NaN' as a JSON number for field 'value': syntax error at line 1 near: NaN"},
		{&v1.Value_Scalar{}, `{"value":"null"}`, "Failed to parse 'null' as a JSON number for field 'value': Unexpected JSON type parsed"},
		{&v1.Value_Scalar{}, `{"value":"1 x"}`, "Failed to parse '1 x' as a JSON number for field 'value': Parsed JSON included non-whitespace trailing characters:  x"},
		{&v1.Address{}, `{"port":"Infinity"}`, "Failed to parse 'Infinity' as a JSON number for field 'port': syntax error at line 1 near: Infinity"},
		{&v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"NO_SUCH"}`, "Failed to find enum for 'NO_SUCH'"},
		{&v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":1}`, "Not expecting a JSON number for field 'state'"},
		{&v1.TaskStatus{}, `{"task_id":"t","state":"TASK_LOST"}`, "Not expecting a JSON string for field 'task_id'"},
		{&v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"TASK_LOST","uuid":"ab-_"}`, "Failed to base64 decode bytes field 'uuid': Invalid character '-'"},
		{&v1.TaskStatus{}, `{"task_id":{"value":"t"},"state":"TASK_LOST","uuid":{"value":"AAAA"}}`, "Not expecting a JSON object for field 'uuid'"},
		{&v1master.Call_DrainAgent{}, `{"agent_id":{"value":"a"},"max_grace_period":"5"}`, "Failed to parse '5' as a duration such as '600s' or '10mins' for field 'max_grace_period': Invalid duration '5'"},
		{&v1master.Call_DrainAgent{}, `{"agent_id":{"value":"a"},"max_grace_period":["5s"]}`, "Not expecting a JSON array for field 'max_grace_period'"},
		{&v1.OfferFilters_ResourceQuantities{}, `{"quantities":"x"}`, "Not expecting a JSON string for field 'quantities'"},
		{&v1.OfferFilters_ResourceQuantities{}, `{"quantities":7}`, "Not expecting a JSON number for field 'quantities'"},
		{&v1.OfferFilters_ResourceQuantities{}, `{"quantities":true}`, "Not expecting a JSON boolean for field 'quantities'"},
		{&v1.OfferFilters_ResourceQuantities{}, `{"quantities":{"cpus":1}}`, "Not expecting a JSON number for field 'value'"},
		{&v1.OfferFilters_ResourceQuantities{}, `{"quantities":{"mem":{},"cpus":{}}}`, "Missing required fields: quantities[0].value.value, quantities[1].value.value"},
		// The own fields of a message come before those of its parts.
		{&v1.TaskInfo{}, `{"resources":[{"name":"cpus"}],"command":{"uris":[{}]}}`, "Missing required fields: name, task_id, agent_id, resources[0].type, command.uris[0].value"},
	} {
		err := UnmarshalJSON([]byte(test.body), test.m)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s\n got %v\nwant %s", test.body, err, test.want)
		}
		if proto.Size(test.m) != 0 {
			t.Errorf("%s: something is left in the message: %v", test.body, test.m)
		}
	}
}

// SCH-251: the wrapped form is taken for this one field, and the plain form still is.
func TestWrappedOperationUUID(t *testing.T) {
	uuid := []byte("0123456789abcdef")
	text := base64.StdEncoding.EncodeToString(uuid)
	for _, form := range []string{`"` + text + `"`, `{"value":"` + text + `"}`} {
		call := &v1scheduler.Call{}
		body := `{"type":"ACKNOWLEDGE_OPERATION_STATUS","acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":` + form + `}}`
		if err := UnmarshalJSON([]byte(body), call); err != nil {
			t.Fatal(err)
		}
		if got := call.GetAcknowledgeOperationStatus().GetUuid(); string(got) != string(uuid) {
			t.Errorf("%s: got %q", form, got)
		}
	}
	body := `{"acknowledge_operation_status":{"operation_id":{"value":"o"},"uuid":{"val":"AA=="}}}`
	if err := UnmarshalJSON([]byte(body), &v1scheduler.Call{}); err == nil || err.Error() != "Not expecting a JSON object for field 'uuid'" {
		t.Errorf("got %v", err)
	}
}

func TestJSONDepth(t *testing.T) {
	nested := func(n int) []byte {
		return []byte(`{"nosuch":` + strings.Repeat("[", n) + strings.Repeat("]", n) + `}`)
	}
	if err := UnmarshalJSON(nested(maxJSONDepth), &v1.Labels{}); err != nil {
		t.Error(err)
	}
	want := "more than 200 nested arrays and objects"
	for _, n := range []int{maxJSONDepth + 1, 1 << 20} {
		if err := UnmarshalJSON(nested(n), &v1.Labels{}); err == nil || err.Error() != want {
			t.Errorf("%d levels: got %v", n, err)
		}
	}
}

func TestErrorTextIsBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for _, body := range []string{long, `{} ` + long, `{"shell":"` + long + `"}`} {
		if err := UnmarshalJSON([]byte(body), &v1.CommandInfo{}); err == nil || len(err.Error()) > 3*maxNearBytes {
			t.Errorf("text of %d bytes", len(err.Error()))
		}
	}
}

func TestUnmarshalJSONReplaces(t *testing.T) {
	m := &v1.Parameter{Key: proto.String("old"), Value: proto.String("old")}
	if err := UnmarshalJSON([]byte(`{"key":"new"}`), m); err == nil || err.Error() != "Missing required fields: value" {
		t.Errorf("got %v", err)
	}
}

// SCH-7, SCH-8: an incomplete message is refused in both directions and both encodings.
func TestMissingRequiredFields(t *testing.T) {
	m := &v1.Offer{Id: OfferID("o").Proto(), Resources: []*v1.Resource{nil}}
	want := "Missing required fields: framework_id, agent_id, hostname, resources[0].name, resources[0].type"
	dst, err := AppendJSON([]byte("kept"), m)
	if err == nil || err.Error() != want {
		t.Errorf("got %v", err)
	}
	if string(dst) != "kept" {
		t.Errorf("dst is %q", dst)
	}
	if _, err := Protobuf.Marshal(m); err == nil {
		t.Error("encoded as protobuf")
	}
	if err := Protobuf.Unmarshal(nil, m); err == nil {
		t.Error("decoded from nothing")
	}
}

func TestMediaTypes(t *testing.T) {
	want := &v1agent.Call{Type: v1agent.Call_GET_HEALTH.Enum()}
	for media, name := range map[MediaType]string{JSON: "application/json", Protobuf: "application/x-protobuf"} {
		if media.String() != name {
			t.Errorf("got %s, want %s", media, name)
		}
		body, err := media.Marshal(want)
		if err != nil {
			t.Fatal(err)
		}
		got := &v1agent.Call{}
		if err := media.Unmarshal(body, got); err != nil || !proto.Equal(got, want) {
			t.Errorf("%s: got %v, %v", media, got, err)
		}
	}
	if err := Protobuf.Unmarshal([]byte{1, 2, 'z'}, &v1agent.Call{}); err == nil {
		t.Error("garbage was taken for protobuf")
	}
}

// SCH-27: every double has a fraction or an exponent and reads back as itself.
func TestAppendJSONNumber(t *testing.T) {
	for _, test := range []struct {
		f    float64
		want string
	}{
		{0, "0.0"}, {math.Copysign(0, -1), "-0.0"}, {4, "4.0"}, {15, "15.0"}, {-2.5, "-2.5"}, {0.1, "0.1"},
		{0.123456, "0.123456"}, {1724439600.1234567, "1724439600.1234567"}, {1e15, "1000000000000000.0"},
		{1e20, "100000000000000000000.0"}, {1e21, "1e21"}, {-1.5e300, "-1.5e300"}, {1e-6, "0.000001"},
		{1e-7, "1e-7"}, {1.25e-10, "1.25e-10"}, {5e-324, "5e-324"}, {math.MaxFloat64, "1.7976931348623157e308"},
		{math.Inf(1), `"Infinity"`}, {math.Inf(-1), `"-Infinity"`}, {math.NaN(), `"NaN"`},
	} {
		if got := string(AppendJSONNumber([]byte("x"), test.f)); got != "x"+test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

func TestAppendJSONString(t *testing.T) {
	for text, want := range map[string]string{
		"":                       `""`,
		"a/b<c>&'":               `"a/b<c>&'"`,
		"\"\\\b\f\n\r\t":         `"\"\\\b\f\n\r\t"`,
		"\x00\x1f\x7f":           `"\u0000\u001F` + "\x7f" + `"`,
		"é\u2028😀":               `"é` + "\u2028" + `😀"`,
		"a\xff\xfe\xe2\x82é\xc3": `"a` + "\uFFFD\uFFFD\uFFFD\uFFFDé\uFFFD" + `"`,
	} {
		if got := string(AppendJSONString(nil, text)); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

func TestAppendJSONOddMessages(t *testing.T) {
	if _, err := AppendJSON(nil, nil); err == nil {
		t.Error("a nil interface was encoded")
	}
	if _, err := AppendJSON(nil, (*v1.Label)(nil)); err == nil {
		t.Error("a nil message was encoded")
	}
	if _, err := AppendJSON(nil, &wire.ToAgent{}); err == nil {
		t.Error("a message with a oneof was encoded")
	}
	if err := UnmarshalJSON([]byte(`{}`), &wire.ToAgent{}); err == nil {
		t.Error("a message with a oneof was decoded")
	}
	// A number that this version has no name for can only come from Go code.
	got, err := MarshalJSON(&v1.FrameworkInfo_Capability{Type: v1.FrameworkInfo_Capability_Type(99).Enum()})
	if err != nil || string(got) != `{"type":99}` {
		t.Errorf("got %s, %v", got, err)
	}
	got, err = MarshalJSON(&v1master.Call_DrainAgent{AgentId: AgentID("a").Proto(), MaxGracePeriod: &durationpb.Duration{Seconds: 1, Nanos: 5}})
	if err != nil || string(got) != `{"agent_id":{"value":"a"},"max_grace_period":{"seconds":1,"nanos":5},"mark_gone":false}` {
		t.Errorf("got %s, %v", got, err)
	}
}

// SCH-32, SCH-33, OPR-38: what is written for fields that are not set.
func TestAppendJSONDefaults(t *testing.T) {
	for _, test := range []struct {
		m    proto.Message
		want string
	}{
		{&v1.CommandInfo{}, `{"shell":true}`},
		{&v1.FrameworkInfo{User: proto.String("u"), Name: proto.String("n")}, `{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false}`},
		{&v1.FrameworkInfo{User: proto.String("u"), Name: proto.String("n"), Role: proto.String("*")}, `{"user":"u","name":"n","failover_timeout":0.0,"checkpoint":false,"role":"*"}`},
		{&v1.Environment_Variable{Name: proto.String("n")}, `{"name":"n","type":"VALUE"}`},
		{&v1.AgentInfo{Hostname: proto.String("h")}, `{"hostname":"h","port":5051}`},
		{&v1.CheckInfo{}, `{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0}`},
		{&v1.HealthCheck{}, `{"delay_seconds":15.0,"interval_seconds":10.0,"timeout_seconds":20.0,"consecutive_failures":3,"grace_period_seconds":10.0}`},
		{&v1.HealthCheck_TCPCheckInfo{Port: proto.Uint32(1)}, `{"protocol":"IPv4","port":1}`},
		{&v1.Labels{}, `{}`},
		{&v1master.Response_GetTasks{}, `{"tasks":[],"unreachable_tasks":[],"completed_tasks":[]}`},
		{&v1master.Response_GetAgents{}, `{"agents":[],"recovered_agents":[]}`},
		{&v1master.Response_GetFrameworks{}, `{"frameworks":[],"completed_frameworks":[]}`},
		{&v1master.Response_GetExecutors{}, `{"executors":[]}`},
		{&v1master.Response_GetOperations{}, `{}`},
		{&v1agent.Response_GetTasks{}, `{"pending_tasks":[],"queued_tasks":[],"launched_tasks":[],"terminated_tasks":[],"completed_tasks":[]}`},
	} {
		got, err := MarshalJSON(test.m)
		if err != nil || string(got) != test.want {
			t.Errorf("%T\n got %s, %v\nwant %s", test.m, got, err, test.want)
		}
	}
}
