package main

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"
)

func TestPercentile(t *testing.T) {
	ten := []int{10, 9, 8, 7, 6, 5, 4, 3, 2, 1}
	for _, c := range []struct {
		samples []int
		p       float64
		want    int
	}{
		{[]int{7}, 50, 7}, {[]int{7}, 99, 7}, {[]int{7}, 0, 7},
		{ten, 0, 1}, {ten, 10, 1}, {ten, 11, 2}, {ten, 50, 5}, {ten, 51, 6}, {ten, 99, 10}, {ten, 100, 10},
	} {
		if got := percentile(c.samples, c.p); got != c.want {
			t.Errorf("percentile %v of %v is %d, want %d", c.p, c.samples, got, c.want)
		}
	}
	if ten[0] != 10 {
		t.Error("percentile has sorted the samples of its caller")
	}
}

func TestMedian(t *testing.T) {
	for _, c := range []struct {
		samples []float64
		want    float64
	}{{[]float64{3}, 3}, {[]float64{9, 1}, 5}, {[]float64{9, 1, 2}, 2}, {[]float64{4, 1, 3, 2}, 2.5}} {
		if got := median(c.samples); got != c.want {
			t.Errorf("median of %v is %v, want %v", c.samples, got, c.want)
		}
	}
}

func TestRatio(t *testing.T) {
	if q := ratio(3, 4); q == nil || *q != 0.75 {
		t.Errorf("3 to 4 is %v", q)
	}
	for _, c := range [][2]float64{{1, 0}, {math.NaN(), 1}, {1, math.NaN()}} {
		if q := ratio(c[0], c[1]); q != nil {
			t.Errorf("%v to %v is %v, want none", c[0], c[1], *q)
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0", 60: "60", 1234: "1234", 5.856: "5.86", 0.70: "0.700", 0.02581: "0.0258", 43.21: "43.2", 117.4: "117", 99999.5: "100000", -1.5: "-1.50",
	} {
		if got := number(v); got != want {
			t.Errorf("%v is printed as %s, want %s", v, got, want)
		}
	}
}

// A goal is for the ratio or the value, from above or from below; without a reference nothing is said
// about a ratio.
func TestGoals(t *testing.T) {
	two := 2.0
	for _, c := range []struct {
		f    figure
		want string
	}{
		{figure{Value: 1.4, Reference: &two, Goal: atLeast("ratio", 0.7)}, "yes"},
		{figure{Value: 1.3, Reference: &two, Goal: atLeast("ratio", 0.7)}, "no"},
		{figure{Value: 5, Reference: &two, Goal: atMost("ratio", 2.5)}, "yes"},
		{figure{Value: 5.1, Reference: &two, Goal: atMost("ratio", 2.5)}, "no"},
		{figure{Value: 5.1, Goal: atMost("ratio", 2.5)}, "-"},
		{figure{Value: 6, Goal: atMost("value", 6)}, "yes"},
		{figure{Value: 6.1, Reference: &two, Goal: atMost("value", 6)}, "no"},
		{figure{Value: 6.1, Reference: &two}, "-"},
	} {
		var r report
		r.add(c.f)
		got := "-"
		if met := r.Figures[0].Met; met != nil {
			got = map[bool]string{true: "yes", false: "no"}[*met]
		}
		if got != c.want {
			t.Errorf("%+v: met: %s, want %s", c.f, got, c.want)
		}
	}
}

func sampleReport() *report {
	r := &report{
		Version: "1.2.3", Date: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), LoadBefore: []float64{0.5, 0.4, 0.3},
		Machine: machine{CPU: "Model 9", Cores: 2, MemoryBytes: 24e9, OS: "linux", Kernel: "6.1"},
	}
	alone := 100.0
	r.add(figure{Name: "starts", Value: 75, Unit: "/s", Reference: &alone, Against: "libcontainer alone", Goal: atLeast("ratio", 0.7), Samples: 300, Note: "rounds: 75"})
	r.add(figure{Name: "binary", Value: 50.25, Unit: "MB", Goal: atMost("value", 45), Samples: 1})
	r.add(figure{Name: "p99", Value: 12.5, Unit: "ms", Samples: 100})
	return r
}

func TestTable(t *testing.T) {
	var out strings.Builder
	if err := sampleReport().writeTable(&out); err != nil {
		t.Fatal(err)
	}
	want := `clusterd 1.2.3 on Model 9, 2 cores, 24 GB, linux 6.1, 2026-01-02 03:04 UTC
load average 0.50 before, unknown after

FIGURE  VALUE    REFERENCE  RATIO  GOAL        MET  SAMPLES
starts  75 /s    100 /s     0.750  >= 0.700 x  yes  300
binary  50.2 MB  -          -      <= 45 MB    no   1
p99     12.5 ms  -          -      -           -    100

starts: reference: libcontainer alone; rounds: 75
`
	if out.String() != want {
		t.Errorf("got\n%s\nwant\n%s", out.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var out strings.Builder
	if err := sampleReport().writeJSON(&out); err != nil {
		t.Fatal(err)
	}
	var got report
	if err := json.Unmarshal([]byte(out.String()), &got); err != nil {
		t.Fatal(err)
	}
	first, last := got.Figures[0], got.Figures[2]
	if len(got.Figures) != 3 || *first.Ratio != 0.75 || !*first.Met || first.Goal.Limit != 0.7 || got.Machine.Cores != 2 {
		t.Errorf("got %+v", got)
	}
	if last.Reference != nil || last.Met != nil || strings.Contains(out.String(), "null") {
		t.Errorf("what there is none of is printed: %s", out.String())
	}
}
