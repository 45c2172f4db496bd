package alloc

import (
	"fmt"
	"math"
	"slices"
	"testing"

	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// RES-3, RES-4, RES-254, RES-255: EX1 and EX2.
func TestFixedPoint(t *testing.T) {
	tenth := resources(t, "cpus:0.1")
	var sum Resources
	for range 10 {
		sum = sum.Add(tenth)
	}
	if !sum.Equal(resources(t, "cpus:1")) || sum.String() != "cpus:1" {
		t.Errorf("ten times 0.1 is %s", sum)
	}
	x := resources(t, "cpus:1.001")
	r := x
	for range 100000 {
		r = r.Add(x).Add(x).Sub(x).Sub(x)
	}
	if r.String() != "cpus:1.001" {
		t.Errorf("after 100000 rounds: %s", r)
	}
	for text, want := range map[string]string{
		"cpus:2.0015": "cpus:2.002", "cpus:1.2344": "cpus:1.234", "cpus:1.5011": "cpus:1.501",
		"cpus:0.0005": "cpus:0.001", "gpus:0": "{}", "cpus:1.902": "cpus:1.902", "mem:99999": "mem:99999",
		"mem:1099511627776": "mem:1099511627776",
	} {
		if got := resources(t, text).String(); got != want {
			t.Errorf("%s: got %s, want %s", text, got, want)
		}
	}
}

// RES-8, RES-9, RES-260..262: EX7..EX9.
func TestRangesAndSets(t *testing.T) {
	tests := []struct{ name, got, want string }{
		{"minus ports", resources(t, "ports:[31000-32000]").Sub(resources(t, "ports:[31005-31005]")).Sub(resources(t, "ports:[31500-31599]")).String(),
			"ports:[31000-31004, 31006-31499, 31600-32000]"},
		{"freed again", resources(t, "ports:[31000-31004,31006-31499,31600-32000]").Add(resources(t, "ports:[31005-31005]")).String(),
			"ports:[31000-31499, 31600-32000]"},
		{"adjacent", resources(t, "ports:[1-5]").Add(resources(t, "ports:[6-9]")).String(), "ports:[1-9]"},
		{"text coalesced", resources(t, "ports:[1-5,3-8]").String(), "ports:[1-8]"},
		{"not there", resources(t, "ports:[5-9]").Sub(resources(t, "ports:[1-3,20-30]")).String(), "ports:[5-9]"},
		{"all", resources(t, "ports:[5-9]").Sub(resources(t, "ports:[1-30]")).String(), "{}"},
		{"whole domain", resources(t, "x:[0-18446744073709551615]").Sub(resources(t, "x:[0-0,18446744073709551615-18446744073709551615]")).String(),
			"x:[1-18446744073709551614]"},
		{"domain again", resources(t, "x:[1-18446744073709551614]").Add(resources(t, "x:[0-0,18446744073709551615-18446744073709551615]")).String(),
			"x:[0-18446744073709551615]"},
		{"set minus", resources(t, "z:{a,b,c}").Sub(resources(t, "z:{b,z}")).String(), "z:{a, c}"},
		{"set plus", resources(t, "z:{a}").Add(resources(t, "z:{a,c}")).String(), "z:{a, c}"},
	}
	for _, test := range tests {
		if test.got != test.want {
			t.Errorf("%s: got %s, want %s", test.name, test.got, test.want)
		}
	}
	if !resources(t, "z:{a,b}").Equal(resources(t, "z:{b,a}")) {
		t.Error("sets differ by order")
	}
	ports := resources(t, "ports:[31000-31004,31006-31010]")
	for text, want := range map[string]bool{
		"ports:[31003-31004]": true, "ports:[31000-31000,31010-31010]": true, "ports:[31004-31006]": false, "ports:[31005-31005]": false,
	} {
		if got := ports.Contains(resources(t, text)); got != want {
			t.Errorf("contains %s: %t", text, got)
		}
	}
}

// RES-10, RES-7: quantities.
func TestQuantities(t *testing.T) {
	q := resources(t, "cpus:1.5;cpus(a):2;ports:[10-19];z:{a,b,c}").Quantities()
	if q["cpus"] != 3500 || q["ports"] != 10000 || q["z"] != 3000 || len(q) != 3 {
		t.Errorf("got %v", q)
	}
	if got := q.String(); got != "cpus:3.5; ports:10; z:3" {
		t.Errorf("got %s", got)
	}
	if got := (Quantities{}).String(); got != "{}" {
		t.Errorf("got %s", got)
	}
	if n := resources(t, "x:[0-18446744073709551615]").Quantities()["x"]; n != math.MaxInt64 {
		t.Errorf("the whole domain counts %d", n)
	}
	if n := resources(t, "cpus:1;cpus(a):2;mem:3").Scalar("cpus"); n != 3000 {
		t.Errorf("Scalar: %d", n)
	}
}

// RES-13, RES-94, RES-263: what merges, EX10.
func TestMerging(t *testing.T) {
	ads := func(amount, labels string) Resources {
		return protoResources(t, `[{"name":"cpus","type":"SCALAR","scalar":{"value":`+amount+`},"reservations":[{"type":"DYNAMIC","role":"ads","principal":"p"`+labels+`}]}]`)
	}
	r := ads("2", "").Add(ads("2", "")).Add(ads("1", `,"labels":{"labels":[{"key":"use","value":"db"}]}`))
	if want := "cpus(reservations: [(DYNAMIC,ads,p)]):4; cpus(reservations: [(DYNAMIC,ads,p,{use: db})]):1"; r.String() != want {
		t.Errorf("got %s", r)
	}
	r = r.Sub(ads("3", ""))
	if want := "cpus(reservations: [(DYNAMIC,ads,p)]):1; cpus(reservations: [(DYNAMIC,ads,p,{use: db})]):1"; r.String() != want {
		t.Errorf("got %s", r)
	}
	mixed := resources(t, "cpus:1").Allocate("a").Add(resources(t, "cpus:2").Allocate("b")).Add(resources(t, "cpus:3"))
	if mixed.Len() != 3 || mixed.Unallocate().String() != "cpus:6" {
		t.Errorf("got %s", mixed)
	}
	if roles := mixed.AllocationRoles(); !slices.Equal(roles, []string{"a", "b", ""}) {
		t.Errorf("roles %q", roles)
	}
	if _, one := mixed.AllocationRole(); one {
		t.Error("one allocation role")
	}
	if role, one := mixed.Allocate("x").AllocationRole(); role != "x" || !one {
		t.Errorf("got %q %t", role, one)
	}
}

// RES-14, RES-15, RES-16, RES-18, RES-322, RES-130: entries that are whole.
func TestWholeEntries(t *testing.T) {
	mount := protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":500},"disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt/ssd"}}}}]`)
	part := protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":200},"disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt/ssd"}}}}]`)
	path := protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":500},"disk":{"source":{"type":"PATH","path":{"root":"/p"}}}}]`)
	pathPart := protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":200},"disk":{"source":{"type":"PATH","path":{"root":"/p"}}}}]`)
	volume := func(path string) Resources {
		return protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":10},"reservations":[{"type":"STATIC","role":"r"}],"disk":{"persistence":{"id":"v"},"volume":{"container_path":"`+path+`","mode":"RW"}}}]`)
	}
	raw := func(id string) Resources {
		return protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":10},"disk":{"source":{"type":"RAW"`+id+`}}}]`)
	}
	tests := []struct {
		name string
		got  bool
	}{
		{"a part of a MOUNT disk is not contained", !mount.Contains(part)},
		{"a MOUNT disk contains itself", mount.Contains(mount)},
		{"a MOUNT disk does not contain itself twice", !mount.Contains(mount.Add(mount))},
		{"MOUNT disks stay apart", mount.Add(mount).Len() == 2},
		{"a part is not subtracted from a MOUNT disk", mount.Sub(part).Equal(mount)},
		{"one of two goes", mount.Add(mount).Sub(mount).Equal(mount)},
		{"a part of a PATH disk is contained", path.Contains(pathPart)},
		{"PATH disks merge", path.Add(pathPart).Len() == 1},
		{"disks of different source stay apart", path.Add(mount).Len() == 2 && path.Add(mount).Scalar("disk") == 1000000},
		{"a volume does not depend on its mount point", volume("a").Equal(volume("b"))},
		{"volumes never merge", volume("a").Add(volume("b")).Len() == 2},
		{"the same volume twice is not contained in one", !volume("a").Contains(volume("a").Add(volume("b")))},
		{"RAW without id merges", raw("").Add(raw("")).Len() == 1},
		{"RAW with id does not", raw(`,"id":"x"`).Add(raw(`,"id":"x"`)).Len() == 2},
		{"plain disk is another thing", !resources(t, "disk:500").Contains(mount)},
	}
	for _, test := range tests {
		if !test.got {
			t.Errorf("not so: %s", test.name)
		}
	}
}

// RES-17: copies of shared entries.
func TestSharedCopies(t *testing.T) {
	v := protoResources(t, `[{"name":"disk","type":"SCALAR","scalar":{"value":100},"reservations":[{"type":"DYNAMIC","role":"r"}],"shared":{},"disk":{"persistence":{"id":"v"},"volume":{"container_path":"c","mode":"RW"}}}]`)
	two := v.Add(v)
	if want := "disk(reservations: [(DYNAMIC,r)])[v:c]<SHARED>:100<2>"; two.String() != want {
		t.Errorf("got %s, want %s", two, want)
	}
	if two.Len() != 1 || two.Entries()[0].Copies() != 2 || len(two.Proto()) != 2 || two.Scalar("disk") != 100000 {
		t.Errorf("two copies: %v", two.Entries())
	}
	if !two.Contains(v) || v.Contains(two) || !two.Sub(v).Equal(v) || !v.Sub(two).Empty() {
		t.Error("containment or subtraction of copies")
	}
}

// RES-19, RES-20, RES-21.
func TestEmptyAndText(t *testing.T) {
	var zero Resources
	r := resources(t, "cpus:1;mem:2")
	for _, got := range []Resources{zero.Add(r), r.Add(zero), r.Sub(zero), zero.Add(r).Sub(zero)} {
		if !got.Equal(r) {
			t.Errorf("got %s", got)
		}
	}
	if !zero.Sub(r).Empty() || !r.Contains(zero) || zero.Contains(r) || zero.String() != "{}" || !r.Sub(resources(t, "cpus:2;mem:2")).Empty() {
		t.Error("the empty collection")
	}
	if _, one := zero.AllocationRole(); one {
		t.Error("the empty collection has an allocation role")
	}
	texts := map[string]string{
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":0.1},"allocation_info":{"role":"*"}},{"name":"mem","type":"SCALAR","scalar":{"value":32},"allocation_info":{"role":"*"}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]},"allocation_info":{"role":"*"}}]`: "cpus(allocated: *):0.1; mem(allocated: *):32; ports(allocated: *):[1-2]",
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":1},"allocation_info":{"role":"eng"},"role":"eng","reservation":{"principal":"pp"}}]`:                                                                                                                                                "cpus(allocated: eng)(reservations: [(DYNAMIC,eng,pp)]):1",
		`[{"name":"disk","type":"SCALAR","scalar":{"value":1024},"reservations":[{"type":"DYNAMIC","role":"eng"}],"disk":{"persistence":{"id":"v1"},"volume":{"container_path":"data","mode":"RW"}}}]`:                                                                                         "disk(reservations: [(DYNAMIC,eng)])[v1:data]:1024",
		`[{"name":"disk","type":"SCALAR","scalar":{"value":500},"disk":{"source":{"type":"MOUNT","mount":{"root":"/mnt/ssd"}}}}]`:                                                                                                                                                              "disk[MOUNT:/mnt/ssd]:500",
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"revocable":{}}]`:                                                                                                                                                                                                                "cpus{REV}:2",
		`[{"name":"cpus","type":"SCALAR","scalar":{"value":2},"reservations":[{"type":"STATIC","role":"a"},{"type":"DYNAMIC","role":"a/b","principal":"p","labels":{"labels":[{"key":"k","value":"v"},{"key":"l"}]}}]}]`:                                                                       "cpus(reservations: [(STATIC,a),(DYNAMIC,a/b,p,{k: v, l})]):2",
	}
	for text, want := range texts {
		if got := protoResources(t, text).String(); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		if got := FormatProto(messages(t, text)[0]); len(messages(t, text)) == 1 && got != want {
			t.Errorf("FormatProto: got %s, want %s", got, want)
		}
	}
}

// The selections keep what they say.
func TestSelections(t *testing.T) {
	r := resources(t, "cpus:1;cpus(a):2;cpus(a/b):4;mem:8").Add(protoResources(t, `[{"name":"cpus","type":"SCALAR","scalar":{"value":16},"revocable":{}}]`))
	for _, test := range []struct {
		name string
		got  Resources
		want int64
	}{
		{"Reserved(a)", r.Reserved("a"), 2},
		{"Reserved()", r.Reserved(""), 6},
		{"Unreserved", r.Unreserved(), 17},
		{"Revocable", r.Revocable(), 16},
		{"NonRevocable", r.NonRevocable(), 7},
		{"Named", r.Named("mem"), 0},
		{"AllocatableTo(a/b)", r.AllocatableTo("a/b"), 23},
		{"AllocatableTo(a)", r.AllocatableTo("a"), 19},
		{"AllocatableTo(ab)", r.AllocatableTo("ab"), 17},
	} {
		if got := test.got.Scalar("cpus"); got != test.want*1000 {
			t.Errorf("%s: %s, want %d cpus", test.name, test.got, test.want)
		}
	}
}

// Contains must not allocate: filters call it for each agent and framework.
func TestContainsDoesNotAllocate(t *testing.T) {
	a, b := resources(t, "cpus:4;mem:64;disk:10;ports:[1-9,20-29]"), resources(t, "mem:32;cpus:1;ports:[2-3,21-22]")
	if n := testing.AllocsPerRun(100, func() {
		if !a.Contains(b) {
			t.Fatal("not contained")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// Long lists from outside take about linear time: quadratic merging of these
// would take minutes.
func TestLongLists(t *testing.T) {
	const n = 30_000
	var list []*v1.Resource
	for i := range uint64(n) {
		list = append(list, &v1.Resource{
			Name: proto.String("ports"), Type: v1.Value_RANGES.Enum(),
			Ranges: &v1.Value_Ranges{Range: []*v1.Value_Range{{Begin: proto.Uint64(3 * i), End: proto.Uint64(3*i + 1)}}},
		}, &v1.Resource{
			Name: proto.String(fmt.Sprint("x", i)), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(1)},
		}, &v1.Resource{
			Name: proto.String("z"), Type: v1.Value_SET.Enum(), Set: &v1.Value_Set{Item: []string{fmt.Sprint(i)}},
		})
	}
	r, err := FromProto(list)
	if err != nil || r.Len() != n+2 || r.Quantities()["ports"] != 2*n*1000 || r.Quantities()["z"] != n*1000 {
		t.Fatalf("%d entries, %v", r.Len(), err)
	}
	twice := r.Add(r)
	if twice.Len() != n+2 || twice.Scalar("x7") != 2000 || !twice.Contains(r) || !twice.Sub(r).Sub(r).Empty() {
		t.Error("arithmetic of long lists")
	}
}
