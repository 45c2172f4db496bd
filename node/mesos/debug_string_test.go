package mesos

import (
	"math"
	"testing"

	"clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// SCH-185: the text that Mesos shows of an ExecutorInfo.
func TestDebugString(t *testing.T) {
	executor := &v1.ExecutorInfo{}
	body := `{"type":"CUSTOM","executor_id":{"value":"py-ex"},"framework_id":{"value":"9f1e-0000"},
		"command":{"value":"exec python3 ex.py","environment":{"variables":[{"name":"MY_VAR","value":"my value"}]}},
		"resources":[
			{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"*"}},
			{"name":"mem","type":"SCALAR","scalar":{"value":32},"allocation_info":{"role":"*"}}],
		"name":"exec-py-ex","source":"src-py-ex"}`
	if err := UnmarshalJSON([]byte(body), executor); err != nil {
		t.Fatal(err)
	}
	want := `executor_id {
  value: "py-ex"
}
resources {
  name: "cpus"
  type: SCALAR
  scalar {
    value: 0.1
  }
  allocation_info {
    role: "*"
  }
}
resources {
  name: "mem"
  type: SCALAR
  scalar {
    value: 32
  }
  allocation_info {
    role: "*"
  }
}
command {
  environment {
    variables {
      name: "MY_VAR"
      value: "my value"
    }
  }
  value: "exec python3 ex.py"
}
framework_id {
  value: "9f1e-0000"
}
name: "exec-py-ex"
source: "src-py-ex"
type: CUSTOM
`
	if got := DebugString(executor); got != want {
		t.Errorf("got\n%s", got)
	}
}

func TestDebugStringScalars(t *testing.T) {
	for _, test := range []struct {
		m    proto.Message
		want string
	}{
		{&v1.Labels{}, ""},
		{&v1.Label{Key: proto.String("\"'\\\n\r\t\x00é\x7f~ ")}, `key: "\"\'\\\n\r\t\000\303\251\177~ "` + "\n"},
		{&v1.TaskStatus{Data: []byte{0, 255}, Healthy: proto.Bool(true)}, "data: \"\\000\\377\"\nhealthy: true\n"},
		{&v1.Value_Scalar{Value: proto.Float64(1724439600.1234567)}, "value: 1724439600.1234567\n"},
		{&v1.Value_Scalar{Value: proto.Float64(1e20)}, "value: 1e+20\n"},
		{&v1.Value_Scalar{Value: proto.Float64(0.30000000000000004)}, "value: 0.30000000000000004\n"},
		{&v1.Value_Scalar{Value: proto.Float64(math.Inf(1))}, "value: inf\n"},
		{&v1.Value_Scalar{Value: proto.Float64(math.Inf(-1))}, "value: -inf\n"},
		{&v1.Value_Scalar{Value: proto.Float64(math.NaN())}, "value: nan\n"},
		{&v1.Value_Range{Begin: proto.Uint64(math.MaxUint64)}, "begin: 18446744073709551615\n"},
		{&v1.FrameworkInfo_Capability{Type: v1.FrameworkInfo_Capability_Type(99).Enum()}, "type: 99\n"},
		{&v1.OfferFilters_ResourceQuantities{Quantities: map[string]*v1.Value_Scalar{
			"mem": {Value: proto.Float64(32)}, "cpus": {Value: proto.Float64(0.5)},
		}}, `quantities {
  key: "cpus"
  value {
    value: 0.5
  }
}
quantities {
  key: "mem"
  value {
    value: 32
  }
}
`},
	} {
		if got := DebugString(test.m); got != test.want {
			t.Errorf("got\n%swant\n%s", got, test.want)
		}
	}
}
