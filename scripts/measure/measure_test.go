package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	s, err := parse([]string{"latency", "-o", "json", "shares", "--samples=7"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.figures, []string{"latency", "shares"}) || s.output != "json" || s.samples != 7 || s.tasks != 300 || !s.named {
		t.Errorf("got %+v", s)
	}
	s, err = parse([]string{"--quick", "-n", "9"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.figures, names()) || s.tasks != 9 || s.rounds != 1 || s.idle != 3*time.Second || s.failovers != 3 || s.named {
		t.Errorf("got %+v", s)
	}
	for _, args := range [][]string{{"speed"}, {"-n", "0"}, {"-n", "100000"}, {"--rounds=-1"}, {"-o", "xml"}, {"--failovers=0"}, {"--timeout", "0"}, {"--idle=-1s"}, {"--unknown"}} {
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
	var m message
	err := json.Unmarshal([]byte(`{"type":"OFFERS","offers":{"offers":[{"id":{"value":"o"},"agent_id":{"value":"a"},"allocation_info":{"role":"r"},
		"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.5}},{"name":"mem","type":"SCALAR","scalar":{"value":64.0}},
		{"name":"cpus","type":"SCALAR","scalar":{"value":2}},{"name":"ports","type":"RANGES","ranges":{"range":[{"begin":1,"end":2}]}}]}]}}`), &m)
	if err != nil {
		t.Fatal(err)
	}
	o := &m.Offers.Offers[0]
	if got := o.cpus(); got != 3.5 {
		t.Errorf("%v cpus are offered, want 3.5", got)
	}
	text, err := json.Marshal(tasks(o, "x", 2, 0.5, "/bin/sleep", "9")[1])
	if err != nil {
		t.Fatal(err)
	}
	want := `{"name":"x-1","task_id":{"value":"x-1"},"agent_id":{"value":"a"},"resources":[` +
		`{"name":"cpus","type":"SCALAR","scalar":{"value":0.5},"allocation_info":{"role":"r"}},` +
		`{"name":"mem","type":"SCALAR","scalar":{"value":32},"allocation_info":{"role":"r"}}],` +
		`"command":{"shell":false,"value":"/bin/sleep","arguments":["/bin/sleep","9"]}}`
	if string(text) != want {
		t.Errorf("got  %s\nwant %s", text, want)
	}
}

func TestRecords(t *testing.T) {
	r := bufio.NewReader(strings.NewReader("3\nabc0\n2\nde"))
	for _, want := range []string{"abc", "", "de"} {
		if got, err := readRecord(r); err != nil || string(got) != want {
			t.Errorf("got %q, %v, want %q", got, err, want)
		}
	}
	if _, err := readRecord(r); !errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("after the last record: %v", err)
	}
	for _, text := range []string{"3", "3\nab", "x\nabc", "-1\na", "99999999999\n"} {
		if got, err := readRecord(bufio.NewReader(strings.NewReader(text))); err == nil || errors.Is(err, io.EOF) {
			t.Errorf("%q is %q, %v, want an error", text, got, err)
		}
	}
}

func TestTerminal(t *testing.T) {
	for state, want := range map[string]bool{starting: false, running: false, killing: false, finished: true, killed: true, "TASK_LOST": true, "TASK_ERROR": true} {
		if terminal(state) != want {
			t.Errorf("%s: terminal is %v", state, !want)
		}
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
