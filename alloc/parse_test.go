package alloc

import (
	"strings"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// RES-22..27, RES-29, RES-31, RES-256: forms that parse.
func TestParseResources(t *testing.T) {
	tests := []struct{ text, want string }{
		{"", "{}"},
		{"cpus:4;mem:2048;disk:4096;ports:[31000-32000]", "cpus:4; mem:2048; disk:4096; ports:[31000-32000]"},
		{"cpus(*):4;", "cpus:4"},
		{" cpus ( prod ) : 8 ; mem(prod):16 384\n", "cpus(reservations: [(STATIC,prod)]):8; mem(reservations: [(STATIC,prod)]):16384"},
		{"cpus(prod):8;cpus:4;cpus:2", "cpus(reservations: [(STATIC,prod)]):8; cpus:6"},
		{"cpu(*):4; mem(*):8192; disk(*):32768; ports(*):[40000-50000];  \ncpu(prod):8; mem(prod):16384; disk(prod):65536",
			"cpu:4; mem:8192; disk:32768; ports:[40000-50000]; cpu(reservations: [(STATIC,prod)]):8; mem(reservations: [(STATIC,prod)]):16384; disk(reservations: [(STATIC,prod)]):65536"},
		{"bugs(debug_role):{a,b,c};disks:{ssd1, ssd2}", "bugs(reservations: [(STATIC,debug_role)]):{a, b, c}; disks:{ssd1, ssd2}"},
		{"ports:[21000-24000,30000-34000]", "ports:[21000-24000, 30000-34000]"},
		{"ports:[1-5,3-8]", "ports:[1-8]"}, // RES-26
		{"cpus:1e3;x:.5;y:+2", "cpus:1000; x:0.5; y:2"},
		{"gpus:0;cpus:1", "cpus:1"},
		{"mem:99\n", "mem:99"},
		{`[]`, "{}"},
		{`[{"name":"cpus","type":"SCALAR","scalar":{"value":4}},{"name":"mem","type":"SCALAR","scalar":{"value":64},"role":"ads"},{"name":"mem","type":"SCALAR","scalar":{"value":32},"reservations":[{"type":"STATIC","role":"ads"}]}]`,
			"cpus:4; mem(reservations: [(STATIC,ads)]):96"},
		{`[{"name":"cpus","type":"SCALAR","scalar":{"value":4},"role":"x","reservations":[{"type":"STATIC","role":"ads"}]}]`, "cpus(reservations: [(STATIC,ads)]):4"},
		{`[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2},{"begin":3,"end":4}]}}]`, "ports:[1-4]"},
		{`[{"name":"disk","type":"SCALAR","scalar":{"value":2048},"disk":{"source":{"type":"PATH","path":{"root":"/mnt/data"}}}}]`, "disk[PATH:/mnt/data]:2048"},
	}
	for _, test := range tests {
		r, err := ParseResources(test.text)
		if err != nil || r.String() != test.want {
			t.Errorf("%q:\ngot  %s, %v\nwant %s", test.text, r, err, test.want)
		}
	}
}

// RES-22..28, RES-33, RES-129..131: clear refusals; golden 81 where it has the text.
func TestParseResourcesRefusals(t *testing.T) {
	disk := func(more string) string {
		return `[{"name":"disk","type":"SCALAR","scalar":{"value":2048}` + more + `}]`
	}
	tests := []struct{ text, want string }{
		{"cpus", "Bad value for resources, missing or extra ':' in cpus"},
		{"cpus:1:2", "Bad value for resources, missing or extra ':' in cpus:1:2"},
		{"/etc/resources", "Bad value for resources, missing or extra ':' in /etc/resources"},
		{`[{"name":"cpus","type":"SCALAR"`, `Bad value for resources, missing or extra ':' in [{"name":"cpus","type":"SCALAR"`},
		{`{"name":"cpus","type":"SCALAR"}`, `Bad value for resources, missing or extra ':' in {"name":"cpus","type":"SCALAR"}`},
		{`null`, `Bad value for resources, missing or extra ':' in null`},
		{"cpus:-1", "Bad type for resource cpus value -1 type TEXT"},
		{"cpus:x;mem:10", "Bad type for resource cpus value x type TEXT"},
		{"cpus:inf", "Bad type for resource cpus value inf type TEXT"},
		{"cpus:nan", "Bad type for resource cpus value nan type TEXT"},
		{"cpus:0x10", "Bad type for resource cpus value 0x10 type TEXT"},
		{"cpus:1e999", "Bad type for resource cpus value 1e999 type TEXT"},
		{"cpus():4", "Role names cannot be the empty string in cpus():4"},
		{"cpus(a b):4", "Role component 'a b' is invalid because it contains backspace or whitespace in cpus(a b):4"},
		{"cpus(a:4", "Bad value for resources, mismatched parentheses in cpus(a:4"},
		{"cpus)a(:4", "Bad value for resources, mismatched parentheses in cpus)a(:4"},
		{"cpus(a)b:4", "Bad value for resources, mismatched parentheses in cpus(a)b:4"},
		{"(a):4", "Bad value for resources, missing name in (a):4"},
		{"cpus:", "Bad value for resource cpus: Expecting non-empty string"},
		{"ports:[1-2", "Bad value for resource ports: Mismatched brackets in '[1-2'"},
		{"ports:[1-2}", "Bad value for resource ports: Mismatched brackets in '[1-2}'"},
		{"ports:[1-2,3]", `Bad value for resource ports: Expecting one or more "ranges" in '[1-2,3]'`},
		{"ports:[]", `Bad value for resource ports: Expecting one or more "ranges" in '[]'`},
		{"ports:[a-b]", "Bad value for resource ports: Expecting non-negative integers in range 'a-b'"},
		{"ports:[5-1]", "Bad value for resource ports: Invalid ranges resource: begin > end in '5-1'"},
		{"ports:[[1-2]]", "Bad value for resource ports: Unexpected brackets in '[[1-2]]'"},
		{"z:{{a}}", "Bad value for resource z: Unexpected brackets in '{{a}}'"},
		{"x:1[2]", "Bad value for resource x: Unexpected '[' or '{' in '1[2]'"},
		{"cpus:0.0004", "Resource 'cpus:0' is invalid: Invalid scalar resource: value <= 0"},
		{"cpus:1;cpus:[1-2]", "Resources with the same name ('cpus') but different types are not allowed"},
		{`[{"name":"cpus"}]`, "Some JSON resources were not formatted properly: Missing required fields: type"},
		{`[{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":5},{"begin":3,"end":8}]}}]`, "Resource 'ports:[1-5, 3-8]' is invalid: Invalid ranges resource: overlapping ranges"},
		{disk(`,"revocable":{}`), "Revocable resources cannot be specified in 'disk{REV}:2048'"},
		{disk(`,"reservations":[{"type":"DYNAMIC","role":"r"}]`), "Dynamically reserved resources cannot be specified in 'disk(reservations: [(DYNAMIC,r)]):2048'"},
		{disk(`,"reservations":[{"type":"STATIC","role":"r"},{"type":"DYNAMIC","role":"r/s"}]`), "Dynamically reserved resources cannot be specified in 'disk(reservations: [(STATIC,r),(DYNAMIC,r/s)]):2048'"},
		{disk(`,"role":"r","disk":{"persistence":{"id":"v"}}`), "Persistent volumes cannot be specified in 'disk(reservations: [(STATIC,r)])[v]:2048'"},
		{disk(`,"disk":{"source":{"type":"RAW"}}`), "Unsupported 'DiskInfo.Source.Type' in 'disk[RAW]:2048'"},
		{disk(`,"disk":{"source":{"type":"PATH"}}`), "PATH disk root directory is not specified in 'disk[PATH]:2048'"},
		{disk(`,"disk":{"source":{"type":"MOUNT","mount":{}}}`), "MOUNT disk root directory is not specified in 'disk[MOUNT]:2048'"},
	}
	for _, test := range tests {
		r, err := ParseResources(test.text)
		if err == nil || err.Error() != test.want {
			t.Errorf("%q:\ngot  %s, %v\nwant %s", test.text, r, err, test.want)
		}
	}
}

// RES-30, RES-34: the default role, and names given with amount 0.
func TestParseResourceList(t *testing.T) {
	list, err := ParseResourceList("cpus:0;mem:1;disk(*):2;ports(b):[1-2]", "a")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, r := range list {
		got = append(got, FormatProto(r))
	}
	if s, want := strings.Join(got, "; "), "cpus(reservations: [(STATIC,a)]):0; mem(reservations: [(STATIC,a)]):1; disk:2; ports(reservations: [(STATIC,b)]):[1-2]"; s != want {
		t.Errorf("got  %s\nwant %s", s, want)
	}
	list, err = ParseResourceList(`[{"name":"cpus","type":"SCALAR","scalar":{"value":1}},{"name":"cpus","type":"SCALAR","scalar":{"value":1},"role":"*"}]`, "a")
	if err != nil || FormatProto(list[0])+FormatProto(list[1]) != "cpus(reservations: [(STATIC,a)]):1cpus:1" {
		t.Errorf("got %v %v", list, err)
	}
	if _, err := ParseResourceList("cpus:1", "a/"); err == nil || err.Error() != "default role: Role 'a/' cannot end with a slash" {
		t.Errorf("got %v", err)
	}
}

// RES-43..47: attributes.
func TestParseAttributes(t *testing.T) {
	tests := []struct{ text, want string }{
		{"rack:abc;zone:west;level:10;keys:[1000-1500]", "rack=TEXT abc, zone=TEXT west, level=SCALAR 10, keys=RANGES 1000-1500"},
		{"url:http://x;a:b;;\nrack:1-1", "url=TEXT http://x, a=TEXT b, rack=TEXT 1-1"},
		{"pythons:python2,python3;os:rhel7;x:a(b)", "pythons=TEXT python2,python3, os=TEXT rhel7, x=TEXT a(b)"},
		{"a:inf;b:nan;c:-1;d:1.5", "a=TEXT inf, b=TEXT nan, c=TEXT -1, d=SCALAR 1.5"},
		{"datacenter:pdx1; rack:1 - 1", "datacenter=TEXT pdx1, rack=TEXT 1-1"},
		{"a:1;a:2", "a=SCALAR 1, a=SCALAR 2"},
		{"", ""},
	}
	for _, test := range tests {
		list, err := ParseAttributes(test.text)
		var got []string
		for _, a := range list {
			value := map[v1.Value_Type]string{
				v1.Value_SCALAR: formatScalar(a.GetScalar().GetValue()),
				v1.Value_TEXT:   a.GetText().GetValue(),
			}[a.GetType()]
			if a.GetType() == v1.Value_RANGES {
				var b strings.Builder
				formatRanges(&b, []Range{{a.GetRanges().GetRange()[0].GetBegin(), a.GetRanges().GetRange()[0].GetEnd()}})
				value = strings.Trim(b.String(), "[]")
			}
			got = append(got, a.GetName()+"="+a.GetType().String()+" "+value)
		}
		if s := strings.Join(got, ", "); err != nil || s != test.want {
			t.Errorf("%q:\ngot  %s, %v\nwant %s", test.text, s, err, test.want)
		}
	}
	for text, want := range map[string]string{
		"a":           "Invalid attribute key:value pair 'a'",
		"a:b;:c":      "Invalid attribute key:value pair ':c'",
		"a:":          "Invalid attribute key:value pair 'a:'",
		"e:{x,y}":     "Bad type for attribute e text {x,y} type SET",
		"e:x[1]":      "Invalid value of attribute 'e': Unexpected '[' or '{' in 'x[1]'",
		"e:(x":        "Invalid value of attribute 'e': Mismatched brackets in '(x'",
		"keys:[1000]": `Invalid value of attribute 'keys': Expecting one or more "ranges" in '[1000]'`,
	} {
		if list, err := ParseAttributes(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v, want %s", text, list, err, want)
		}
	}
}

// RES-195, RES-197: --min_allocatable_resources; golden 81.
func TestParseMinAllocatable(t *testing.T) {
	sets, err := ParseMinAllocatable("cpus:0.01|mem:32;ports:1;gpus:0;mem:1")
	if err != nil || len(sets) != 2 || sets[0].String() != "cpus:0.01" || sets[1].String() != "mem:33; ports:1" {
		t.Errorf("got %v, %v", sets, err)
	}
	if sets, err := ParseMinAllocatable(" "); err != nil || sets == nil || len(sets) != 0 {
		t.Errorf("got %v, %v", sets, err)
	}
	for text, want := range map[string]string{
		"x":                 "Failed to parse 'x': missing or extra ':'",
		"cpus:1|mem:1:2":    "Failed to parse 'mem:1:2': missing or extra ':'",
		"cpus:-1":           "Failed to parse 'cpus:-1': the amount of 'cpus' must be a number that is not negative, got '-1'",
		"ports:[1-2]":       "Failed to parse 'ports:[1-2]': the amount of 'ports' must be a number that is not negative, got '[1-2]'",
		":1":                "Failed to parse ':1': missing resource name",
		"mem:2000000000000": "Failed to parse 'mem:2000000000000': the amount of 'mem' is too large",
	} {
		if sets, err := ParseMinAllocatable(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, %v, want %s", text, sets, err, want)
		}
	}
}

// RES-70: --weights.
func TestParseWeights(t *testing.T) {
	weights, err := ParseWeights("dev=10, eng/ui=0.5,")
	if err != nil || len(weights) != 2 || weights["dev"] != 10 || weights["eng/ui"] != 0.5 {
		t.Errorf("got %v, %v", weights, err)
	}
	const form = ". --weights should be of the form 'role=weight,role=weight'"
	for text, want := range map[string]string{
		"dev":     "Invalid weight: 'dev'" + form,
		"dev=x":   "Invalid weight: 'dev=x'" + form,
		"a//b=1":  "Invalid weight: 'a//b=1'" + form,
		"dev=0":   "Invalid weight: 'dev=0'. Weights must be positive",
		"dev=-1":  "Invalid weight: 'dev=-1'. Weights must be positive",
		"dev=inf": "Invalid weight: 'dev=inf'. Weights must be positive",
		"dev=nan": "Invalid weight: 'dev=nan'. Weights must be positive",
	} {
		if _, err := ParseWeights(text); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

func FuzzParseResources(f *testing.F) {
	for _, text := range []string{
		"cpus:4;mem(eng):2048;ports:[31000-32000,1-2];z:{a,b}", "cpus():1", "ports:[1-", "x:(1)", "a(b(c)):1",
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":1}}]`, `[null]`, `[{"name":"disk","type":"SCALAR","scalar":{"value":1},"disk":{"source":{"type":"PATH"}}}]`,
	} {
		f.Add(text, "*")
		f.Add(text, "role")
	}
	f.Fuzz(func(t *testing.T, text, role string) {
		list, err := ParseResourceList(text, role)
		if err != nil {
			return
		}
		if mesos.ValidateRole(role) != nil {
			t.Errorf("role %q was accepted", role)
		}
		r, err := FromProto(list)
		if err != nil {
			t.Fatalf("%q parses and does not convert: %v", text, err)
		}
		for _, e := range r.Entries() {
			if e.Milli() <= 0 || e.Revocable() || e.PersistentVolume() || len(e.Reservations()) > 1 {
				t.Errorf("%q: %s", text, e)
			}
		}
	})
}

func FuzzParseAttributes(f *testing.F) {
	for _, text := range []string{"rack:abc;level:10;keys:[1000-1500]", "a:{b}", "a:(b", ";;x:y:z\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		list, err := ParseAttributes(text)
		if err != nil {
			return
		}
		for _, a := range list {
			if a.GetName() == "" || a.GetType() == v1.Value_SET {
				t.Errorf("%q: %v", text, a)
			}
		}
	})
}

func FuzzParseQuantities(f *testing.F) {
	f.Add("cpus:0.01|mem:32;ports:1")
	f.Fuzz(func(t *testing.T, text string) {
		sets, err := ParseMinAllocatable(text)
		if err != nil {
			return
		}
		for _, q := range sets {
			for name, milli := range q {
				if name == "" || milli <= 0 {
					t.Errorf("%q: %v", text, sets)
				}
			}
		}
	})
}
