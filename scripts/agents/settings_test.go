package main

import (
	"encoding/json"
	"errors"
	"flag"
	"io"
	"strings"
	"testing"
	"time"
)

func TestParse(t *testing.T) {
	for _, test := range []struct {
		args string
		want string // a part of the error; empty: good
	}{
		{"-data-dir d", ""},
		{"--master h:5050 --agents=5", ""},
		{"-part 3", ""},
		{"-data-dir d -agents 10 -tasks-per-agent 5 -frameworks 5 -roles a,b/c -ends finished=1,killed=2 -run-time ~10s -content json", ""},
		{"-data-dir d -resources cpus:1;mem:100|cpus:2;mem:200 -tasks-per-agent 3", ""},
		{"", "one of -data-dir and -master is needed"},
		{"-data-dir d -master m", "one of -data-dir and -master is needed"},
		{"-data-dir d more", `argument "more": only flags are allowed`},
		{"-data-dir d -agents 0", "-agents: 0 is less than 1"},
		{"-data-dir d -agents 10 -first 1048570", "-agents: with -first 1048570 up to 6 are allowed"},
		{"-data-dir d -token a -token-file b", "-token: -token-file is given too"},
		{"-data-dir d -reboots 2", "-reboots: 2 is not between 0 and 1"},
		{"-data-dir d -hold -1s", "a time must not be negative"},
		{"-data-dir d -o yaml", `-o: "yaml" is not one of table, json`},
		{"-data-dir d -frameworks 3 -tasks-per-agent 2", "3 frameworks cannot share 2 tasks"},
		{"-data-dir d -roles a,,b", "-roles: "},
		{"-data-dir d -tasks-per-agent 161", "only 160 tasks of cpus:0.1;mem:32 fit into an agent of cpus:16"},
		{"-data-dir d -resources cpus:1|cpus:99 -tasks-per-agent 1", "only 0 tasks of cpus:0.1;mem:32 fit into an agent of cpus:1"},
		{"-data-dir d -resources cpus", "-resources: "},
		{"-data-dir d -task-resources ports:[1-2]", "-task-resources: ports is not an amount above 0"},
		{"-data-dir d -task-resources ;", "-task-resources: "},
		{"-data-dir d -attributes a:{1,2}", "-attributes: "},
		{"-data-dir d -run-time 5", "is not a span of time"},
		{"-data-dir d -content xml", `"xml" is not one of protobuf, json`},
		{"-data-dir d -no-such-flag", "flag provided but not defined"},
	} {
		_, err := parse(strings.Fields(test.args), io.Discard)
		var usage usageError
		switch {
		case test.want == "" && err != nil:
			t.Errorf("%q: %v", test.args, err)
		case test.want != "" && (err == nil || !strings.Contains(err.Error(), test.want) || !errors.As(err, &usage)):
			t.Errorf("%q: error %v, want one with %q", test.args, err, test.want)
		}
	}
	var help strings.Builder
	if _, err := parse([]string{"-help"}, &help); !errors.Is(err, flag.ErrHelp) || !strings.Contains(help.String(), "-tasks-per-agent number") || strings.Contains(help.String(), "\t\n") {
		t.Errorf("help: %v\n%s", err, help.String())
	}
}

// Agents differ in their names, addresses, racks, regions and kinds, and share what is equal.
func TestProfiles(t *testing.T) {
	s, err := parse([]string{"-data-dir", "d", "-agents", "100000", "-racks", "3", "-regions", "2", "-attributes", "n:{n};os:linux", "-resources", "cpus:1|cpus:2"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	all, err := s.profiles(65534, 65540)
	if err != nil {
		t.Fatal(err)
	}
	places, names := make(map[string]bool), make(map[string]bool)
	for i, p := range all {
		number := 65534 + i
		n := &node{number: number, profile: p}
		for _, at := range []string{n.addresses().GetPeer(), n.addresses().GetMaster(), n.addresses().GetAgent()} {
			if places[at] || !strings.HasPrefix(at, "198.19.") {
				t.Errorf("agent %d is at %s", number, at)
			}
			places[at] = true
		}
		names[p.name] = true
		rack := p.attributes[2]
		if len(p.attributes) != 3 || rack.GetName() != "rack" || rack.GetText().GetValue() != "rack-"+string(rune('0'+number%3)) ||
			p.domain.GetFaultDomain().GetZone().GetName() != rack.GetText().GetValue() ||
			p.domain.GetFaultDomain().GetRegion().GetName() != "region-"+string(rune('0'+number%2)) ||
			p.resources[0].GetScalar().GetValue() != float64(1+number%2) {
			t.Errorf("agent %d: %v", number, p)
		}
	}
	if len(names) != 6 {
		t.Errorf("names %v", names)
	}
	plain, err := parse([]string{"-data-dir", "d"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	two, err := plain.profiles(0, 2)
	if err != nil || &two[0].resources[0] != &two[1].resources[0] || two[0].domain != nil {
		t.Errorf("%v, %v", two, err)
	}
}

func TestSpread(t *testing.T) {
	var s spread
	if s.percentile(50) != 0 {
		t.Error("a percentile of nothing")
	}
	for ms := 1; ms <= 1000; ms++ {
		s.add(time.Duration(ms) * time.Millisecond)
	}
	for p, want := range map[float64]time.Duration{50: 500 * time.Millisecond, 99: 990 * time.Millisecond, 100: time.Second} {
		if got := s.percentile(p); got < want || got > want*11/10 || got > s.Most {
			t.Errorf("p%v is %v", p, got)
		}
	}
	s.add(0)
	s.add(1000 * time.Hour)
	sum := s.plus(s)
	if sum.size() != 2004 || sum.Most != 1000*time.Hour || sum.percentile(0.01) != time.Millisecond {
		t.Errorf("%d, %v", sum.size(), sum.Most)
	}
}

// What processes tell each other is read back as it was; every count has a name.
func TestPictureJSON(t *testing.T) {
	p := picture{Agents: 3, Memory: 7, Faults: faults{"join": {2, "x"}}, Offices: []office{{Term: 2, Agents: 3, First: noon, Last: noon}}}
	for i := range p.Counts {
		p.Counts[i] = int64(i + 1)
		if countNames[i] == "" {
			t.Errorf("count %d has no name", i)
		}
	}
	text, err := json.Marshal(p)
	if err != nil {
		t.Fatal(err)
	}
	var back picture
	if err := json.Unmarshal(text, &back); err != nil || back.Counts != p.Counts || back.Agents != 3 || back.Faults["join"].Last != "x" || !back.Offices[0].First.Equal(noon) {
		t.Errorf("%+v, %v", back, err)
	}
	sum := p.plus(back)
	if sum.Counts[launches] != 2*p.Counts[launches] || sum.Faults.total() != 4 || len(sum.Offices) != 1 || sum.Offices[0].Agents != 6 {
		t.Errorf("%+v", sum)
	}
	if err := json.Unmarshal([]byte(`{"no such":1}`), &back.Counts); err == nil {
		t.Error("an unknown count is taken")
	}
}

// Offices of several processes are one by their terms.
func TestMergeOffices(t *testing.T) {
	at := func(s int) time.Time { return noon.Add(time.Duration(s) * time.Second) }
	got := mergeOffices(
		[]office{{Term: 2, Agents: 5, First: at(1), Last: at(3)}, {Term: 4, Agents: 5, Lost: at(10), First: at(12), Last: at(15)}},
		[]office{{Term: 4, Agents: 4, Lost: at(9), First: at(13), Last: at(14)}},
		[]office{{Term: 3, Agents: 1, First: at(5), Last: at(5)}},
	)
	if len(got) != 3 || got[0].Term != 2 || got[1].Term != 3 || got[2].Term != 4 {
		t.Fatalf("%+v", got)
	}
	if o := got[2]; o.Agents != 9 || !o.Lost.Equal(at(9)) || !o.First.Equal(at(12)) || !o.Last.Equal(at(15)) {
		t.Errorf("%+v", o)
	}
}
