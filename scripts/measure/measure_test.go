package main

import (
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

func TestParse(t *testing.T) {
	s, err := parse([]string{"latency", "-o", "json", "shares", "--samples=7"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.figures, []string{"latency", "shares"}) || s.output != "json" || s.samples != 7 || s.tasks != 300 {
		t.Errorf("got %+v", s)
	}
	s, err = parse([]string{"--quick", "-n", "9"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.figures, names()) || s.tasks != 9 || s.rounds != 1 || s.idle != 3*time.Second {
		t.Errorf("got %+v", s)
	}
	for _, args := range [][]string{{"speed"}, {"-n", "0"}, {"-n", "100000"}, {"--rounds=-1"}, {"-o", "xml"}, {"--timeout", "0"}, {"--idle=-1s"}, {"--unknown"}} {
		var usage usageError
		if _, err := parse(args, io.Discard); !errors.As(err, &usage) {
			t.Errorf("%v: %v, want a usage error", args, err)
		}
	}
}

func TestKilobytes(t *testing.T) {
	text := []byte("Rss:   1640 kB\nPss:                 281 kB\nModel : some cpu: fast\nbare: 7\nodd: x kB\n")
	if n, err := kilobytes(text, "Pss"); err != nil || n != 281 {
		t.Errorf("Pss is %d, %v", n, err)
	}
	for _, name := range []string{"Swap", "bare", "odd"} {
		if n, err := kilobytes(text, name); err == nil {
			t.Errorf("%s is %d, want an error", name, n)
		}
	}
	if v := field(text, "Model"); v != "some cpu: fast" {
		t.Errorf("Model is %q", v)
	}
}

func TestLines(t *testing.T) {
	var got []string
	w := &lines{each: func(l string) { got = append(got, l) }}
	for _, part := range []string{"a", "b\n", "c\n\nd", "\ne"} {
		if n, err := io.WriteString(w, part); n != len(part) || err != nil {
			t.Fatalf("%q: %d, %v", part, n, err)
		}
	}
	if want := []string{"ab", "c", "", "d"}; !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// The ports are the system's choice: they are read from what clusterd dev prints.
func TestWelcome(t *testing.T) {
	d := &daemon{ready: make(chan struct{})}
	w := &lines{each: d.heard}
	welcome := "clusterd 0.1.0-dev is ready after 37ms\n\n  dashboard   http://127.0.0.1:4711\n  agent       http://127.0.0.1:4712\n" +
		"  data        /tmp/x\n  isolation   containers, cgroups v1\n"
	half := strings.Index(welcome, "cgroups")
	if _, err := io.WriteString(w, welcome[:half]); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.ready:
		t.Fatal("ready before the last line is whole")
	default:
	}
	if _, err := io.WriteString(w, welcome[half:]); err != nil {
		t.Fatal(err)
	}
	select {
	case <-d.ready:
	default:
		t.Fatal("not ready")
	}
	if d.master != "127.0.0.1:4711" || d.isolation != "containers, cgroups v1" {
		t.Errorf("master %q, isolation %q", d.master, d.isolation)
	}
}

func TestTasks(t *testing.T) {
	cpus := func(v float64) *v1.Resource {
		return &v1.Resource{Name: proto.String("cpus"), Scalar: &v1.Value_Scalar{Value: proto.Float64(v)}}
	}
	o := &v1.Offer{
		Id: mesos.OfferID("o").Proto(), AgentId: mesos.AgentID("a").Proto(),
		AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("r")},
		Resources:      []*v1.Resource{cpus(1.5), {Name: proto.String("mem"), Scalar: &v1.Value_Scalar{Value: proto.Float64(64)}}, cpus(2)},
	}
	if got := offeredCPUs(o); got != 3.5 {
		t.Errorf("%v cpus are offered, want 3.5", got)
	}
	all := tasks(o, "x", 3, 0.5, "/bin/sleep", "9")
	ids := map[string]bool{}
	for _, task := range all {
		ids[task.GetTaskId().GetValue()] = true
		if c := task.GetCommand(); c.GetShell() || c.GetValue() != "/bin/sleep" || !slices.Equal(c.GetArguments(), []string{"/bin/sleep", "9"}) {
			t.Errorf("command %v", c)
		}
		if task.GetAgentId().GetValue() != "a" || task.GetResources()[0].GetAllocationInfo().GetRole() != "r" {
			t.Errorf("task %v", task)
		}
	}
	if len(ids) != 3 {
		t.Errorf("task ids %v, want 3", ids)
	}
}

func TestShares(t *testing.T) {
	for _, c := range []struct {
		shares map[string]int
		worst  float64
		exact  bool
	}{
		{map[string]int{"one": 10, "two": 20, "three": 30}, 0, true},
		{map[string]int{"one": 11, "two": 20, "three": 29}, 1, false},
		{map[string]int{"one": 60}, 50, false},
	} {
		b := &bench{progress: io.Discard}
		b.addShares(time.Second, 2*time.Second, c.shares)
		full, difference := b.report.Figures[0], b.report.Figures[1]
		if full.Value != 2 || !*full.Met || difference.Value != c.worst || *difference.Met != c.exact {
			t.Errorf("%v: %+v, %+v", c.shares, full, difference)
		}
	}
}
