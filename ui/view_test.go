package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// applied is what a page has after a delta, by the same rules as stream.js.
func applied(old *content, m message) *content {
	next := &content{fields: maps.Clone(old.fields)}
	maps.Copy(next.fields, m.Fields)
	for _, name := range m.Gone {
		delete(next.fields, name)
	}
	rows, order := map[string]json.RawMessage{}, []string{}
	for _, r := range old.rows {
		if !slices.Contains(m.Removed, r.key) {
			rows[r.key] = r.body
			order = append(order, r.key)
		}
	}
	for _, body := range m.Rows {
		var k struct{ Key string }
		if err := json.Unmarshal(body, &k); err != nil {
			panic(err)
		}
		if _, ok := rows[k.Key]; !ok {
			order = append(order, k.Key)
		}
		rows[k.Key] = body
	}
	if m.Order != nil {
		order = m.Order
	}
	for _, key := range order {
		next.rows = append(next.rows, row{key, rows[key]})
	}
	return next
}

func randomContent(r *rand.Rand) *content {
	c := &content{fields: map[string]json.RawMessage{}}
	for _, name := range []string{"a", "b", "c"} {
		if r.IntN(3) > 0 {
			c.fields[name] = encode(r.IntN(3))
		}
	}
	for _, i := range r.Perm(8)[:r.IntN(9)] {
		key := fmt.Sprint("k", i)
		c.rows = append(c.rows, row{key, encode(map[string]any{"key": key, "v": r.IntN(2)})})
	}
	return c
}

// UI-1: whatever changes, the delta leads from the old content to the new, and
// there is one exactly when they differ.
func TestDiffLeadsToNext(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	for range 5000 {
		old, next := randomContent(r), randomContent(r)
		m, changed := diff(old, next)
		same := maps.EqualFunc(old.fields, next.fields, func(a, b json.RawMessage) bool { return string(a) == string(b) }) &&
			slices.EqualFunc(old.rows, next.rows, func(a, b row) bool { return a.key == b.key && string(a.body) == string(b.body) })
		if changed == same {
			t.Fatalf("changed %v from %v to %v", changed, old, next)
		}
		got := applied(old, m)
		if fmt.Sprint(got.fields) != fmt.Sprint(next.fields) || fmt.Sprint(got.rows) != fmt.Sprint(next.rows) {
			t.Fatalf("from %s to %s by %+v: %s", old.rows, next.rows, m, got.rows)
		}
	}
}

// A counter that starts from zero again, because another master counts now,
// and the states that were counted before the first sample.
func TestHistoryCounts(t *testing.T) {
	var h history
	at := time.UnixMilli(1_000_000)
	for i, c := range []map[string]int64{
		{"TASK_RUNNING": 2, "TASK_FINISHED": 100},
		{"TASK_RUNNING": 3, "TASK_FINISHED": 101},
		{"TASK_RUNNING": 1, "TASK_FINISHED": 5},
		{"TASK_FINISHED": 5},
	} {
		h.add(at.Add(time.Duration(i)*sampleEvery), c)
	}
	want := []map[string]int64{{"TASK_RUNNING": 2}, {"TASK_RUNNING": 3, "TASK_FINISHED": 1}, {"TASK_RUNNING": 1, "TASK_FINISHED": 5}, {}}
	for i, s := range h.samples {
		if !maps.Equal(s.Counts, want[i]) {
			t.Errorf("sample %d: %v, want %v", i, s.Counts, want[i])
		}
	}
	for i := range 2 * sampleCount {
		h.add(at.Add(time.Duration(i)*sampleEvery), map[string]int64{"TASK_RUNNING": int64(i)})
	}
	if len(h.samples) != sampleCount || h.samples[sampleCount-1].Counts["TASK_RUNNING"] != 2*sampleCount-1 {
		t.Errorf("%d samples", len(h.samples))
	}
}

// A framework may use the id of a task that has ended again: both are listed,
// and the page of the id shows the newer one.
func TestSameTaskIDTwice(t *testing.T) {
	at := time.UnixMilli(1_000_000_000)
	for _, order := range [][]int{{0, 1, 2}, {2, 1, 0}, {1, 0, 2}} {
		all := []*Task{plainTask("x", "TASK_FAILED", at), plainTask("x", "TASK_FINISHED", at.Add(time.Hour)), plainTask("x", "TASK_RUNNING", at.Add(time.Minute))}
		s := &State{}
		for _, i := range order {
			s.Tasks = append(s.Tasks, all[i])
		}
		b := newBuilder(s, nil)
		list := b.taskList(listQuery{sort: "started", limit: 10})
		seen := map[string]bool{}
		for _, r := range list.rows {
			seen[r.key] = true
		}
		if len(seen) != 3 || !seen["f/x"] {
			t.Errorf("order %v: keys %v", order, seen)
		}
		if got := string(b.task("f", "x").fields["state"]); got != `"TASK_RUNNING"` {
			t.Errorf("order %v: the page shows %s", order, got)
		}
	}
}

func TestWebLink(t *testing.T) {
	for in, want := range map[string]string{
		"http://a.example:8080/x?y=1": "http://a.example:8080/x?y=1", "https://a.example": "https://a.example",
		"": "", "javascript:alert(1)": "", "JAVASCRIPT:alert(1)": "", "data:text/html,x": "", "//a.example": "", "http:": "", "http://a b": "",
	} {
		if got := webLink(in); got != want {
			t.Errorf("%q: %q, want %q", in, got, want)
		}
	}
}

// The page of a long list is the same as that of the list sorted whole.
func TestFirst(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for range 500 {
		rows := make([]int, r.IntN(400)+1)
		for i := range rows {
			rows[i] = r.IntN(300)
		}
		n := r.IntN(len(rows) + 1)
		want := slices.Sorted(slices.Values(rows))[:n]
		if got := first(slices.Clone(rows), n, cmp.Compare[int]); !slices.Equal(got, want) {
			t.Fatalf("the first %d of %v: %v", n, rows, got)
		}
	}
}

func TestNatural(t *testing.T) {
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"web-2", "web-10", -1}, {"web-10", "web-2", 1}, {"a", "B", -1}, {"x", "x", 0}, {"x", "x1", -1}, {"007", "7", 0},
		{"v1.10.0", "v1.9.9", 1}, {"99999999999999999999999", "100000000000000000000000", -1}, {"", "a", -1},
	} {
		if got := natural(tt.a, tt.b); got != tt.want {
			t.Errorf("%q, %q: %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

// A sort by any column of any list, up and down, is a permutation in order.
func TestSortColumns(t *testing.T) {
	f := newFake()
	demo(f, time.UnixMilli(1_700_000_000_000))
	b := newBuilder(f.state, nil)
	for kind, columns := range sortKeys {
		for _, column := range columns {
			var up, down []string
			for _, dir := range []string{"", "-"} {
				top, err := parseTopic(kind + "?limit=200&sort=" + dir + column)
				if err != nil {
					t.Fatal(err)
				}
				for _, r := range b.build(top).rows {
					if dir == "" {
						up = append(up, r.key)
					} else {
						down = append(down, r.key)
					}
				}
			}
			if len(up) == 0 || len(up) != len(down) {
				t.Errorf("%s by %s: %d and %d rows", kind, column, len(up), len(down))
			}
			slices.Sort(up)
			slices.Sort(down)
			if !slices.Equal(up, down) {
				t.Errorf("%s by %s: not the same rows", kind, column)
			}
		}
	}
}

func FuzzParseTopic(f *testing.F) {
	for _, s := range []string{"overview", "tasks?q=a+b&sort=-name&offset=5&limit=10", "task/a%2Fb/c", "files/a?path=%2Fx", "agent/%zz", "tasks?%", "///"} {
		f.Add(s)
	}
	source := newFake()
	demo(source, time.UnixMilli(1_700_000_000_000))
	b := newBuilder(source.state, json.RawMessage("[]"))
	f.Fuzz(func(t *testing.T, text string) {
		top, err := parseTopic(text)
		if err != nil || top.kind == topicFiles {
			return
		}
		c := b.build(top)
		if len(c.rows) > maxPageRows || c.fields == nil {
			t.Errorf("%q: %d rows", text, len(c.rows))
		}
	})
}

// BenchmarkTasks is one page of 100,000 tasks, searched and sorted: what each
// change costs at most while somebody watches.
func BenchmarkTasks(bench *testing.B) {
	s := &State{}
	now := time.Now()
	for i := range 200 {
		s.Frameworks = append(s.Frameworks, &Framework{ID: fmt.Sprintf("%s-%04d", masterID, i), Name: fmt.Sprint("framework-", i), Roles: []string{"r"}})
	}
	for i := range 10_000 {
		s.Agents = append(s.Agents, demoAgent(i, now))
	}
	for i := range 100_000 {
		s.Tasks = append(s.Tasks, demoTask(s.Frameworks[i%200], s.Agents[i%10_000], fmt.Sprint("task-", i), "TASK_RUNNING", now.Add(-time.Duration(i)*time.Second)))
	}
	for _, text := range []string{"overview", "tasks?sort=-started", "tasks?q=task-77&sort=name", "agents?sort=-cpus"} {
		bench.Run(text, func(bench *testing.B) {
			top, err := parseTopic(text)
			if err != nil {
				bench.Fatal(err)
			}
			for bench.Loop() {
				newBuilder(s, nil).build(top)
			}
		})
	}
}
