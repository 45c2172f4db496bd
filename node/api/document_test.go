package api

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"

	"google.golang.org/protobuf/proto"
)

// OPR-10 OPR-149: every text comes out as valid JSON with the same meaning.
func FuzzAppendString(f *testing.F) {
	for _, s := range []string{"", "plain", "a\"b\\c/\x00\x1f\x7f\n\r\t\b\f", "é\u2028", "\xff\xfe", "x\xc3", "\xed\xa0\x80", "\U0001f600"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		quoted := appendString(nil, s)
		if !bytes.Equal(quoted, appendString(nil, []byte(s))) {
			t.Error("bytes are quoted otherwise")
		}
		var back string
		if err := json.Unmarshal(quoted, &back); err != nil {
			t.Fatalf("%q: %v", quoted, err)
		}
		if want := strings.ToValidUTF8(s, "\ufffd"); back != string([]rune(s)) {
			t.Errorf("%q came back as %q, want %q", s, back, want)
		}
	})
}

// OPR-10
func TestAppendDouble(t *testing.T) {
	for v, want := range map[float64]string{
		0: "0.0", 4: "4.0", -1: "-1.0", 0.1: "0.1", 0.123456: "0.123456", 1704164700.1234567: "1704164700.1234567",
		1e20: "100000000000000000000.0", 1e22: "1e+22", 1e-9: "1e-09", 2147483648: "2147483648.0",
	} {
		got := string(appendDouble(nil, v))
		var back float64
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != v || got != want {
			t.Errorf("%v: %s (%v), want %s", v, got, err, want)
		}
	}
}

// OPR-106
func TestResources(t *testing.T) {
	scalar := func(name string, v float64) *v1.Resource {
		return &v1.Resource{Name: proto.String(name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(v)}}
	}
	ranges := func(spans ...uint64) *v1.Resource {
		r := &v1.Resource{Name: proto.String("ports"), Type: v1.Value_RANGES.Enum(), Ranges: &v1.Value_Ranges{}}
		for i := 0; i < len(spans); i += 2 {
			r.Ranges.Range = append(r.Ranges.Range, &v1.Value_Range{Begin: &spans[i], End: &spans[i+1]})
		}
		return r
	}
	revocable := scalar("cpus", 0.5)
	revocable.Revocable = new(v1.Resource_RevocableInfo)
	d := &document{}
	d.openObject()
	d.resources("r", []*v1.Resource{
		scalar("cpus", 0.1), scalar("cpus", 0.2), scalar("zed", 2), scalar("bugs", 1), revocable, ranges(31005, 31006, 31000, 31003), ranges(31004, 31004, 32000, 32000),
		{Name: proto.String("s"), Type: v1.Value_SET.Enum(), Set: &v1.Value_Set{Item: []string{"b", "a", "b"}}},
	})
	d.endObject()
	const want = `{"r":{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.3,"bugs":1.0,"cpus_revocable":0.5,"zed":2.0,"ports":"[31000-31006, 32000-32000]","s":"{a, b}"}}`
	if string(d.buf) != want {
		t.Errorf("%s\nwant %s", d.buf, want)
	}
}

func BenchmarkMasterState(b *testing.B) {
	cluster := newTestCluster()
	cluster.state.view = largeView(b, 100_000)
	master := cluster.master()
	for _, encoding := range []string{"identity", "gzip"} {
		b.Run(encoding, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r := httptest.NewRequest("GET", "/state", nil)
				r.Header.Set("Accept-Encoding", encoding)
				w := &discardResponse{header: make(http.Header)}
				master.ServeHTTP(w, r)
				b.SetBytes(w.n)
			}
		})
	}
}

type discardResponse struct {
	header http.Header
	n      int64
}

func (w *discardResponse) Header() http.Header { return w.header }
func (w *discardResponse) WriteHeader(int)     {}
func (w *discardResponse) Write(b []byte) (int, error) {
	w.n += int64(len(b))
	return len(b), nil
}

// A value that cannot be encoded gives an error, never half a document that looks whole.
func TestUnencodable(t *testing.T) {
	broken := func(n int) *testCluster {
		cluster := newTestCluster()
		cluster.state.view = largeView(t, n)
		tasks := cluster.state.view.State.GetTasks.Tasks
		tasks[n-1].Discovery = &v1.DiscoveryInfo{} // without visibility, which is required
		return cluster
	}
	if w := do(broken(2).master(), "GET", "/state", "", "Accept-Encoding", "gzip"); w.Code != 500 || w.Header().Get("Content-Encoding") != "" {
		t.Errorf("%d %v %.100q", w.Code, w.Header(), w.Body)
	}
	site := httptest.NewServer(broken(1000).master())
	defer site.Close()
	response, err := http.Get(site.URL + "/state")
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err == nil {
		t.Error("a broken document looks complete")
	}
}

// Agents that are not back yet, with attributes of every kind.
func TestAttributes(t *testing.T) {
	cluster := newTestCluster()
	cluster.state.view.State.GetAgents = &v1master.Response_GetAgents{RecoveredAgents: []*v1.AgentInfo{{
		Id: mesos.AgentID("S1").Proto(), Hostname: proto.String("h"), Attributes: []*v1.Attribute{
			{Name: proto.String("gen"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(2)}},
			{Name: proto.String("r"), Type: v1.Value_RANGES.Enum(), Ranges: &v1.Value_Ranges{Range: []*v1.Value_Range{{Begin: proto.Uint64(1), End: proto.Uint64(2)}}}},
			{Name: proto.String("s"), Type: v1.Value_SET.Enum(), Set: &v1.Value_Set{Item: []string{"b", "a"}}},
			{Name: proto.String("t\""), Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: proto.String("old")}},
			{Name: proto.String("t\""), Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: proto.String("new")}},
		},
	}}}
	// OPR-105 OPR-112
	const want = `{"slaves":[],"recovered_slaves":[{"id":"S1","hostname":"h","port":5051,` +
		`"attributes":{"gen":2.0,"r":"[1-2]","s":"{a, b}","t\"":"new"}}]}`
	for query, want := range map[string]string{"": want, "?slave_id=S1": want, "?slave_id=S2": `{"slaves":[],"recovered_slaves":[]}`} {
		if w := do(cluster.master(), "GET", "/slaves"+query, ""); w.Body.String() != want {
			t.Errorf("%s: %s, want %s", query, w.Body, want)
		}
	}
}
