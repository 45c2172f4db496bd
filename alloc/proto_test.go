package alloc

import (
	"encoding/json"
	"errors"
	"math"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// messages reads a JSON array of Resource.
func messages(t testing.TB, text string) []*v1.Resource {
	t.Helper()
	var elements []json.RawMessage
	if err := json.Unmarshal([]byte(text), &elements); err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	list := make([]*v1.Resource, len(elements))
	for i, element := range elements {
		list[i] = &v1.Resource{}
		if err := mesos.UnmarshalJSON(element, list[i]); err != nil {
			t.Fatalf("%s: %v", element, err)
		}
	}
	return list
}

func protoResources(t testing.TB, text string) Resources {
	t.Helper()
	r, err := FromProto(messages(t, text))
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	return r
}

// SCH-173, RES-1, RES-2, RES-5, RES-7, RES-9, RES-12, RES-85, RES-86, RES-123,
// RES-131, RES-265: the texts of refusals; golden 22 and 23 where they have one.
func TestFromProtoRefusals(t *testing.T) {
	const cpu = `"name":"cpus","type":"SCALAR","scalar":{"value":1}`
	const disk = `"name":"disk","type":"SCALAR","scalar":{"value":1}`
	tests := []struct{ message, want string }{
		{`{"name":"","type":"SCALAR","scalar":{"value":1}}`, "Resource ':1' is invalid: Empty resource name"},
		{`{"name":"cpus","type":"SCALAR"}`, "Resource 'cpus:0' is invalid: Invalid scalar resource"},
		{`{"name":"cpus","type":"SCALAR","scalar":{"value":1},"set":{"item":[]}}`, "Resource 'cpus:1' is invalid: Invalid scalar resource"},
		{`{"name":"cpus","type":"SCALAR","scalar":{"value":-1}}`, "Resource 'cpus:-1' is invalid: Invalid scalar resource: value <= 0"},
		{`{"name":"cpus","type":"SCALAR","scalar":{"value":0.0004}}`, "Resource 'cpus:0' is invalid: Invalid scalar resource: value <= 0"},
		{`{"name":"cpus","type":"SCALAR","scalar":{"value":"Infinity"}}`, "Resource 'cpus:+Inf' is invalid: Invalid scalar resource: value > 1099511627776"},
		{`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31010,"end":31005}]}}`, "Resource 'ports:[31010-31005]' is invalid: Invalid ranges resource: begin > end"},
		{`{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":3,"end":8}]}}`, "Resource 'ports:[1-5, 3-8]' is invalid: Invalid ranges resource: overlapping ranges"},
		{`{"name":"ports","type":"RANGES","scalar":{"value":1},"ranges":{"range":[]}}`, "Resource 'ports:[]' is invalid: Invalid ranges resource"},
		{`{"name":"z","type":"SET","set":{"item":["a","b","a"]}}`, "Resource 'z:{a, b, a}' is invalid: Invalid set resource: duplicated elements"},
		{`{"name":"z","type":"SET"}`, "Resource 'z:{}' is invalid: Invalid set resource"},
		{`{"name":"t","type":"TEXT"}`, "Resource 't:' is invalid: Unsupported resource type"},
		{`{` + cpu + `,"disk":{}}`, "Resource 'cpus[]:1' is invalid: DiskInfo should not be set for cpus resource"},
		{`{` + disk + `,"disk":{"source":{"type":"BLOCK","mount":{"root":"/m"}}}}`, "Resource 'disk[BLOCK:/m]:1' is invalid: Mount should not be set for BLOCK disk source"},
		{`{` + disk + `,"disk":{"source":{"type":"UNKNOWN"}}}`, "Resource 'disk[UNKNOWN]:1' is invalid: Unsupported 'DiskInfo.Source.Type'"},
		{`{` + disk + `,"shared":{}}`, "Resource 'disk<SHARED>:1' is invalid: Only persistent volumes can be shared"},
		{`{` + cpu + `,"allocation_info":{"role":"r2"},"reservations":[{"type":"DYNAMIC","role":"a b"}]}`,
			"Resource 'cpus(allocated: r2)(reservations: [(DYNAMIC,a b)]):1' is invalid: Role component 'a b' is invalid because it contains backspace or whitespace"},
		{`{` + cpu + `,"reservations":[{"type":"DYNAMIC","role":"*"}]}`, `Resource 'cpus(reservations: [(DYNAMIC,*)]):1' is invalid: Invalid reservation: role "*" cannot be reserved`},
		{`{` + cpu + `,"reservations":[{"role":"a"}]}`, "Resource 'cpus(reservations: [(UNKNOWN,a)]):1' is invalid: Invalid reservation: 'type' must be STATIC or DYNAMIC"},
		{`{` + cpu + `,"reservations":[{"type":"STATIC"}]}`, "Resource 'cpus(reservations: [(STATIC,)]):1' is invalid: Invalid reservation: 'role' is not set"},
		{`{` + cpu + `,"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"ops"}]}`,
			"Resource 'cpus(reservations: [(STATIC,eng),(DYNAMIC,ops)]):1' is invalid: Invalid refined reservation: role 'ops' is not a refinement of 'eng'"},
		{`{` + cpu + `,"reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"STATIC","role":"eng/ui"}]}`,
			"Resource 'cpus(reservations: [(DYNAMIC,eng),(STATIC,eng/ui)]):1' is invalid: Invalid refined reservation: a refined reservation cannot be STATIC"},
		{`{` + cpu + `,"reservations":[{"type":"DYNAMIC","role":"eng"},{"type":"DYNAMIC","role":"eng"}]}`,
			"Resource 'cpus(reservations: [(DYNAMIC,eng),(DYNAMIC,eng)]):1' is invalid: Invalid refined reservation: role 'eng' is not a refinement of 'eng'"},
		{`{` + cpu + `,"reservations":[{"type":"DYNAMIC","role":"eng/ui"},{"type":"DYNAMIC","role":"eng"}]}`,
			"Resource 'cpus(reservations: [(DYNAMIC,eng/ui),(DYNAMIC,eng)]):1' is invalid: Invalid refined reservation: role 'eng' is not a refinement of 'eng/ui'"},
		{`{` + cpu + `,"role":"ops","reservations":[{"type":"STATIC","role":"eng"}]}`,
			"Resource 'cpus(reservations: [(STATIC,eng)]):1' is invalid: Invalid resource format: 'Resource.role' 'ops' does not match the role 'eng' in 'Resource.reservations'"},
		{`{` + cpu + `,"reservation":{},"reservations":[{"type":"STATIC","role":"eng"}]}`,
			"Resource 'cpus(reservations: [(STATIC,eng)]):1' is invalid: Invalid resource format: 'Resource.reservation' must not be set for a STATIC reservation"},
		{`{` + cpu + `,"role":"eng","reservations":[{"type":"DYNAMIC","role":"eng"}]}`,
			"Resource 'cpus(reservations: [(DYNAMIC,eng)]):1' is invalid: Invalid resource format: 'Resource.role' and 'Resource.reservation' must both be set or both be unset for a DYNAMIC reservation"},
		{`{` + cpu + `,"role":"eng","reservation":{"principal":"q"},"reservations":[{"type":"DYNAMIC","role":"eng","principal":"p"}]}`,
			"Resource 'cpus(reservations: [(DYNAMIC,eng,p)]):1' is invalid: Invalid resource format: 'Resource.reservation' does not match 'Resource.reservations'"},
		{`{` + cpu + `,"role":"eng","reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ui"}]}`,
			"Resource 'cpus(reservations: [(STATIC,eng),(DYNAMIC,eng/ui)]):1' is invalid: Invalid resource format: 'Resource.role' and 'Resource.reservation' must not be set with refined 'Resource.reservations'"},
		{`{` + cpu + `,"reservation":{}}`, `Resource 'cpus:1' is invalid: Invalid reservation: role "*" cannot be reserved`},
		{`{` + cpu + `,"role":"eng","reservation":{"role":"eng"}}`, "Resource 'cpus(reservations: [(DYNAMIC,eng)]):1' is invalid: Invalid resource format: 'Resource.reservation' must set neither 'type' nor 'role'"},
		{`{` + cpu + `,"role":"a/"}`, "Resource 'cpus(reservations: [(STATIC,a/)]):1' is invalid: Role 'a/' cannot end with a slash"},
		{`{` + cpu + `,"revocable":{},"role":"eng"}`, "Resource 'cpus(reservations: [(STATIC,eng)]){REV}:1' is invalid: Invalid reservation: revocable resources cannot be reserved"},
		{`{"name":"mem","type":"SCALAR","scalar":{"value":1e12}},{"name":"mem","type":"SCALAR","scalar":{"value":1e12}}`,
			"Resource 'mem:2000000000000' is invalid: Invalid scalar resource: value > 1099511627776"},
	}
	for _, test := range tests {
		_, err := FromProto(messages(t, "["+test.message+"]"))
		if err == nil || err.Error() != test.want {
			t.Errorf("%s:\ngot  %v\nwant %s", test.message, err, test.want)
		}
	}
	nan := math.NaN()
	_, err := FromProto([]*v1.Resource{{Name: proto.String("x"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: &nan}}})
	if want := "Resource 'x:NaN' is invalid: Invalid scalar resource: value is not a number"; err == nil || err.Error() != want {
		t.Errorf("got %v, want %s", err, want)
	}
	if _, err := FromProto([]*v1.Resource{nil}); err == nil {
		t.Error("a nil message is accepted")
	}
	if _, err := FromProto([]*v1.Resource{{Name: proto.String("x")}}); err == nil {
		t.Error("a message without type is accepted")
	}
	var invalid *InvalidError
	if !errors.As(err, &invalid) || invalid.Resource != "x:NaN" {
		t.Errorf("not an *InvalidError: %v", err)
	}
}

// RES-82..85, RES-87, RES-264, SCH-116, SCH-119: EX11, all forms and back.
func TestReservationForms(t *testing.T) {
	const object = `{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}`
	tests := []struct{ canonical, pre, endpoint string }{
		{``, `,"role":"*"`, `,"role":"*"`},
		{`,"reservations":[{"type":"STATIC","role":"eng"}]`, `,"role":"eng"`, `,"role":"eng","reservations":[{"type":"STATIC","role":"eng"}]`},
		{`,"reservations":[{"type":"DYNAMIC","role":"eng"}]`, `,"role":"eng","reservation":{}`,
			`,"role":"eng","reservation":{},"reservations":[{"type":"DYNAMIC","role":"eng"}]`},
		{`,"reservations":[{"type":"DYNAMIC","role":"eng","principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}}]`,
			`,"role":"eng","reservation":{"principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}}`,
			`,"role":"eng","reservation":{"principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}},"reservations":[{"type":"DYNAMIC","role":"eng","principal":"p","labels":{"labels":[{"key":"k","value":"v"}]}}]`},
		{`,"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ui/web"}]`, "",
			`,"reservations":[{"type":"STATIC","role":"eng"},{"type":"DYNAMIC","role":"eng/ui/web"}]`},
	}
	for _, test := range tests {
		r := protoResources(t, "["+object+test.canonical+"}]")
		for _, form := range []struct {
			name string
			got  []*v1.Resource
			want string
		}{
			{"Proto", r.Proto(), test.canonical},
			{"ProtoPre", r.ProtoPre(), test.pre},
			{"ProtoEndpoint", r.ProtoEndpoint(), test.endpoint},
		} {
			if form.name == "ProtoPre" && test.pre == "" {
				if len(form.got) != 0 { // not expressible: left out
					t.Errorf("ProtoPre of %s: %v", r, form.got)
				}
				continue
			}
			want := messages(t, "["+object+form.want+"}]")
			if len(form.got) != 1 || !proto.Equal(form.got[0], want[0]) {
				t.Errorf("%s of %s:\ngot  %v\nwant %v", form.name, r, form.got, want)
			}
			if back, err := FromProto(form.got); err != nil || !back.Equal(r) {
				t.Errorf("%s of %s and back: %s %v", form.name, r, back, err)
			}
		}
	}
}

// RES-11, RES-63, SCH-115, SCH-120: golden 10, the resources of an offer.
func TestOfferForms(t *testing.T) {
	c := newCluster(t, Options{})
	c.framework("F", "*")
	c.agent("S", "cpus:4;mem:2048;disk:4096;ports:[31000-32000]")
	r := c.run()[0].Resources
	want := messages(t, `[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":31000,"end":32000}]},"allocation_info":{"role":"*"}},
		{"name":"cpus","type":"SCALAR","scalar":{"value":4.0},"allocation_info":{"role":"*"}},
		{"name":"mem","type":"SCALAR","scalar":{"value":2048.0},"allocation_info":{"role":"*"}},
		{"name":"disk","type":"SCALAR","scalar":{"value":4096.0},"allocation_info":{"role":"*"}}]`)
	for i, m := range r.Proto() {
		if !proto.Equal(m, want[i]) {
			t.Errorf("got  %v\nwant %v", m, want[i])
		}
		want[i].AllocationInfo, want[i].Role = nil, proto.String("*")
	}
	for i, m := range r.Unallocate().ProtoPre() { // golden 13
		if !proto.Equal(m, want[i]) {
			t.Errorf("got  %v\nwant %v", m, want[i])
		}
	}
}

// Messages given or returned are nobody else's.
func TestMessagesAreCopied(t *testing.T) {
	list := messages(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"reservations":[{"type":"STATIC","role":"a"}],"disk":{"persistence":{"id":"v"}}}]`)
	r, err := FromProto(list)
	if err != nil {
		t.Fatal(err)
	}
	before := r.String()
	for _, m := range [][]*v1.Resource{list, r.Proto(), r.ProtoEndpoint()} {
		m[0].Reservations[0].Role = proto.String("b")
		m[0].Disk.Persistence.Id = proto.String("w")
	}
	if r.String() != before {
		t.Errorf("got %s, want %s", r, before)
	}
}

func FuzzFromProto(f *testing.F) {
	for _, text := range []string{
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":1.5},"role":"a","reservation":{"principal":"p"}}]`,
		`[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":6,"end":7}]},"revocable":{}}]`,
		`[{"name":"z","type":"SET","set":{"item":["b","a"]},"allocation_info":{"role":"r"}}]`,
		`[{"name":"disk","type":"SCALAR","scalar":{"value":2},"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b"}],"shared":{},"disk":{"persistence":{"id":"v"},"source":{"type":"MOUNT","mount":{"root":"/m"}}}}]`,
	} {
		encoded, err := proto.Marshal(&v1.AgentInfo{Hostname: proto.String("h"), Resources: messages(f, text)})
		if err != nil {
			f.Fatal(err)
		}
		f.Add(encoded)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var info v1.AgentInfo
		if (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(data, &info) != nil {
			return
		}
		r, err := FromProto(info.Resources)
		if err != nil {
			if err.Error() == "" {
				t.Error("an error without text")
			}
			return
		}
		for _, form := range [][]*v1.Resource{r.Proto(), r.ProtoEndpoint()} {
			back, err := FromProto(form)
			if err != nil || !back.Equal(r) || back.String() != r.String() {
				t.Errorf("%s and back: %s, %v", r, back, err)
			}
		}
		if !r.Contains(r) || !r.Sub(r).Empty() || !r.Add(r).Sub(r).Equal(r) && len(r.Filter(func(e Entry) bool { return e.Type() != v1.Value_SCALAR }).Entries()) == 0 {
			t.Errorf("arithmetic of %s", r)
		}
		r.Quantities()
		r.ProtoPre()
	})
}
