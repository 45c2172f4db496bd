package api

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
)

// fakeCluster notes what it is asked for.
type fakeCluster struct {
	calls     []string
	err       error // of every call but Status
	statusErr error
	broken    bool // the backup breaks off
}

func (f *fakeCluster) note(format string, args ...any) error {
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *fakeCluster) Status(context.Context) (*ClusterStatus, error) {
	if f.statusErr != nil {
		return nil, f.statusErr
	}
	return &ClusterStatus{
		ClusterID: "c1", Name: "test", Version: "0.2.0", Time: time.Unix(1800000000, 0).UTC(),
		Leader: &ClusterLeader{NodeID: "aa11", Name: "m1", Address: "m1:5050"}, Term: 3, Index: 40, StateHash: "ab", Masters: 3,
		Quorum: ClusterQuorum{Voters: 3, Reachable: 3, Needed: 2, OK: true},
		Nodes: []ClusterNode{
			{ID: "aa11", Name: "m1", Role: "auto", RaftState: RaftLeader, RaftID: 1, AgentState: AgentActive, LagEntries: new(uint64(0)), ClockSkewMS: new(0.5)},
			{ID: "aa22", Name: "m2", Role: "auto", RaftState: RaftVoter, RaftID: 2, AgentState: AgentDraining, Tasks: 2},
			{ID: "bb33", Name: "a1", Role: "agent", RaftState: RaftNone, AgentState: AgentActive},
			{ID: "cc44", Name: "a1", Role: "agent", RaftState: RaftNone, AgentState: AgentActive},
		},
	}, nil
}

func (f *fakeCluster) Token(_ context.Context, r TokenRequest) (*TokenAnswer, error) {
	if err := f.note("token %s %v %s", r.Role, r.Rotate, r.TTL()); err != nil {
		return nil, err
	}
	return &TokenAnswer{Token: "clusterd-1-x", Role: r.Role, Peers: []string{"m1:5055"}}, nil
}

func (f *fakeCluster) ChangeNode(_ context.Context, node, verb string, r DrainRequest) error {
	grace := "-"
	if r.MaxGraceSeconds != nil {
		grace = fmt.Sprint(*r.MaxGraceSeconds)
	}
	return f.note("%s %s %s %v", verb, node, grace, r.MarkGone)
}
func (f *fakeCluster) Leave(_ context.Context, r LeaveRequest) error {
	return f.note("leave %v", r.Drain)
}
func (f *fakeCluster) RotateAuthority(context.Context) error     { return f.note("rotate") }
func (f *fakeCluster) SetMasters(_ context.Context, n int) error { return f.note("masters %d", n) }

func (f *fakeCluster) Backup(context.Context) (BackupInfo, func(io.Writer) error, error) {
	err := f.note("backup")
	return BackupInfo{ClusterID: "c1", Version: "0.2.0", Index: 40, StateHash: "ab"}, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("registry", 100_000))
		if f.broken {
			err = errors.New("disk gone")
		}
		return err
	}, err
}

// fakeForward leads, or sends everything to a handler, or knows no leader.
type fakeForward struct {
	leads bool
	to    http.Handler
	err   error
	seen  []*http.Request
}

func (f *fakeForward) Leads() bool { return f.leads }

func (f *fakeForward) RoundTrip(r *http.Request) (*http.Response, error) {
	f.seen = append(f.seen, r)
	if f.err != nil {
		return nil, f.err
	}
	w := httptest.NewRecorder()
	f.to.ServeHTTP(w, httptest.NewRequest(r.Method, r.URL.RequestURI(), r.Body).WithContext(r.Context()))
	return w.Result(), nil
}

func newTestClusterAPI(f *fakeCluster, forward Forward, change func(*ClusterOptions)) http.Handler {
	o := ClusterOptions{Cluster: f, Forward: forward, NodeID: "aa22", Admin: true, Logger: quiet}
	if change != nil {
		change(&o)
	}
	return NewCluster(o)
}

var adminPaths = []struct{ method, path, body, call, command string }{
	{"POST", "/cluster/token", `{"role":"agent","ttl_seconds":86400}`, "token agent false 24h0m0s", "clusterd token"},
	{"POST", "/cluster/token", "", "token any false 0s", "clusterd token"},
	{"POST", "/cluster/token", `{"rotate":true}`, "token any true 0s", "clusterd token"},
	{"POST", "/cluster/nodes/m2/promote", "{}", "promote aa22 - false", "clusterd node promote m2"},
	{"POST", "/cluster/nodes/aa2/demote", "", "demote aa22 - false", "clusterd node demote aa2"},
	{"POST", "/cluster/nodes/bb/remove", " ", "remove bb33 - false", "clusterd node remove bb"},
	{"POST", "/cluster/nodes/m1/drain", `{"max_grace_seconds":30,"mark_gone":true}`, "drain aa11 30 true", "clusterd node drain m1"},
	{"POST", "/cluster/nodes/m1/drain", `{"max_grace_seconds":null}`, "drain aa11 - false", "clusterd node drain m1"},
	{"POST", "/cluster/nodes/m1/activate", "", "activate aa11 - false", "clusterd node activate m1"},
	{"POST", "/cluster/leave", `{"drain":true}`, "leave true", "clusterd leave"},
	{"POST", "/cluster/authority/rotate", "", "rotate", "clusterd authority rotate"},
	{"POST", "/cluster/settings", `{"masters":5}`, "masters 5", "clusterd masters N"},
	{"GET", "/cluster/backup", "", "backup", "clusterd backup FILE"},
}

// CLU-6 CLU-7 CLU-8: through the socket everything is possible, through the public port only reading,
// and the refusal says what to do.
func TestClusterAdmin(t *testing.T) {
	for _, c := range adminPaths {
		f := &fakeCluster{}
		if w := do(newTestClusterAPI(f, &fakeForward{leads: true}, nil), c.method, c.path, c.body); w.Code != 200 || !slices.Equal(f.calls, []string{c.call}) {
			t.Errorf("%s %s: %d %s, calls %q", c.path, c.body, w.Code, w.Body, f.calls)
		}
		f = &fakeCluster{}
		public := newTestClusterAPI(f, &fakeForward{leads: true}, func(o *ClusterOptions) { o.Admin = false })
		w := do(public, c.method, c.path, c.body)
		if w.Code != 403 || !strings.Contains(w.Body.String(), "run `"+c.command+"` as root on any of its nodes") || f.calls != nil {
			t.Errorf("public %s: %d %q, calls %q", c.path, w.Code, w.Body, f.calls)
		}
		// A node that does not lead passes it on; only leaving is its own affair.
		f, own := &fakeCluster{}, &fakeCluster{}
		leader := newTestClusterAPI(f, &fakeForward{leads: true}, nil)
		w = do(newTestClusterAPI(own, &fakeForward{to: leader}, nil), c.method, c.path, c.body)
		if c.path == "/cluster/leave" {
			f, own = own, f
		}
		if w.Code != 200 || !slices.Equal(f.calls, []string{c.call}) || own.calls != nil {
			t.Errorf("forwarded %s: %d %s, calls %q and %q", c.path, w.Code, w.Body, f.calls, own.calls)
		}
	}
}

// CLU-22: a node that joined with an agent's token changes itself and nothing else, and no node that
// does not lead lends it its own rights.
func TestClusterSelf(t *testing.T) {
	agent := func(o *ClusterOptions) { o.Admin, o.Self = false, func(*http.Request) string { return "bb33" } }
	for _, c := range adminPaths {
		f := &fakeCluster{}
		w := do(newTestClusterAPI(f, &fakeForward{leads: true}, agent), c.method, c.path, c.body)
		if own := strings.Contains(c.path, "/bb/"); own && (w.Code != 200 || !slices.Equal(f.calls, []string{c.call})) {
			t.Errorf("itself: %s: %d %s, calls %q", c.path, w.Code, w.Body, f.calls)
		} else if !own && (w.Code != 403 || !strings.Contains(w.Body.String(), "may only change itself") || f.calls != nil) {
			t.Errorf("another: %s: %d %s, calls %q", c.path, w.Code, w.Body, f.calls)
		}
		forward := &fakeForward{to: newTestClusterAPI(f, &fakeForward{leads: true}, nil)}
		w = do(newTestClusterAPI(&fakeCluster{}, forward, agent), c.method, c.path, c.body)
		if w.Code != 403 && w.Code != 503 || forward.seen != nil {
			t.Errorf("through another node: %s: %d %s", c.path, w.Code, w.Body)
		}
	}
}

// Bad input is told and changes nothing.
func TestClusterBadInput(t *testing.T) {
	for _, c := range []struct {
		method, path, body string
		code               int
		want               string
	}{
		{"POST", "/cluster/token", "{", 400, "body: is not a JSON object: unexpected end of JSON input"},
		{"POST", "/cluster/token", "[]", 400, "body: is not a JSON object: "},
		{"POST", "/cluster/token", "{} {}", 400, "body: is not a JSON object: "},
		{"POST", "/cluster/token", `{"rolle":"any","Role":"any"}`, 400, `body: unknown field "Role", "rolle"; known are role, rotate, ttl_seconds`},
		{"POST", "/cluster/token", `{"role":1}`, 400, "role: is a JSON number, want a text"},
		{"POST", "/cluster/token", `{"role":"master"}`, 400, `role: "master" is not one of any, agent`},
		{"POST", "/cluster/token", `{"ttl_seconds":59}`, 400, "ttl_seconds: 59 is not between 60 and 31622400 (0: without an end)"},
		{"POST", "/cluster/token", `{"ttl_seconds":-1}`, 400, "ttl_seconds: -1 is not between"},
		{"POST", "/cluster/token", `{"ttl_seconds":9223372036854775807}`, 400, "ttl_seconds: 9223372036854775807 is not between"},
		{"POST", "/cluster/token", `{"rotate":true,"ttl_seconds":60}`, 400, "rotate: gives the token without an end"},
		{"POST", "/cluster/token", `{"role":"` + strings.Repeat("x", maxRequestBytes) + `"}`, 400, "body: is longer than 64 KiB"},
		{"POST", "/cluster/nodes/zz/drain", "", 404, `node "zz" is not known (clusterd nodes lists all)`},
		{"POST", "/cluster/nodes/aa/drain", "", 400, `node "aa" is not unique: aa11 (m1), aa22 (m2)`},
		{"POST", "/cluster/nodes/a1/drain", "", 400, `node "a1" is not unique: bb33 (a1), cc44 (a1)`},
		{"POST", "/cluster/nodes/m1/drain", `{"max_grace_seconds":-1}`, 400, "max_grace_seconds: -1 is not between 0 and 31622400"},
		{"POST", "/cluster/nodes/m1/drain", `{"grace":1}`, 400, `body: unknown field "grace"; known are max_grace_seconds, mark_gone`},
		{"POST", "/cluster/nodes/m1/promote", `{"mark_gone":true}`, 400, `body: unknown field "mark_gone"; there are none here`},
		{"POST", "/cluster/nodes/m1/destroy", "", 404, "404 page not found"},
		{"GET", "/cluster/nodes/m1/drain", "", 405, "Method Not Allowed"},
		{"POST", "/cluster/status", "", 405, "Method Not Allowed"},
		{"GET", "/cluster", "", 404, "404 page not found"},
		{"POST", "/cluster/leave", `{"max_grace_seconds":99999999}`, 400, "max_grace_seconds: 99999999 is not between"},
		{"POST", "/cluster/settings", `{}`, 400, "masters: is missing"},
		{"POST", "/cluster/settings", `{"masters":4}`, 400, "masters: 4 is not one of 1, 3, 5, 7"},
		{"POST", "/cluster/settings", `{"masters":1.5}`, 400, "masters: is a JSON number 1.5, want a whole number"},
		{"POST", "/cluster/token", `{"rotate":"yes"}`, 400, "rotate: is a JSON string, want true or false"},
		{"POST", "/cluster/settings", `{"masters":"3"}`, 400, "masters: is a JSON string, want a whole number"},
		{"POST", "/cluster/authority/rotate", `{"now":true}`, 400, `body: unknown field "now"`},
	} {
		f := &fakeCluster{}
		w := do(newTestClusterAPI(f, &fakeForward{leads: true}, nil), c.method, c.path, c.body)
		if w.Code != c.code || !strings.Contains(w.Body.String(), c.want) || f.calls != nil {
			t.Errorf("%s %s %.50s: %d %q, want %d %q; calls %q", c.method, c.path, c.body, w.Code, w.Body, c.code, c.want, f.calls)
		}
	}
}

// CLU-35: what the cluster refuses has its own status; 503 says when to come back.
func TestClusterErrors(t *testing.T) {
	for _, c := range []struct {
		err         error
		code        int
		retry, text string
	}{
		{&NoLeaderError{}, 503, "1", "there is no leading master just now: try again in a moment"},
		{fmt.Errorf("drain: %w", &NoLeaderError{Missing: []string{"m2 (h2:5055)", "m3 (h3:5055)"}, RetryAfter: 2500 * time.Millisecond}), 503, "3",
			"drain: there is no leading master, because a quorum of masters is missing; not reached: m2 (h2:5055), m3 (h3:5055)"},
		{&UnknownNodeError{"x"}, 404, "", `node "x" is not known (clusterd nodes lists all)`},
		{&ConflictError{"node m1 is the only master"}, 409, "", "node m1 is the only master"},
		{&InputError{"node m1 runs no tasks"}, 400, "", "node m1 runs no tasks"},
		{errors.New("disk"), 500, "", "disk"},
	} {
		for _, path := range adminPaths {
			w := do(newTestClusterAPI(&fakeCluster{err: c.err}, &fakeForward{leads: true}, nil), path.method, path.path, path.body)
			if w.Code != c.code || w.Header().Get("Retry-After") != c.retry || w.Body.String() != c.text {
				t.Errorf("%v: %s: %d %q, Retry-After %q", c.err, path.path, w.Code, w.Body, w.Header().Get("Retry-After"))
			}
		}
	}
	// The way to the leader fails.
	for err, want := range map[error]string{
		&NoLeaderError{Missing: []string{"m2 (h2:5055)"}}: "there is no leading master, because a quorum of masters is missing; not reached: m2 (h2:5055)",
		errors.New("connection refused"):                  "the leading master does not answer: connection refused",
	} {
		w := do(newTestClusterAPI(&fakeCluster{}, &fakeForward{err: err}, nil), "POST", "/cluster/token", "")
		if w.Code != 503 || w.Header().Get("Retry-After") != "1" || w.Body.String() != want {
			t.Errorf("%v: %d %q", err, w.Code, w.Body)
		}
	}
	// A forwarded request goes no further.
	forward := &fakeForward{err: errors.New("not to be used")}
	r := httptest.NewRequest("POST", "/cluster/token", nil)
	r.Header.Set(forwardedHeader, "aa11")
	w := httptest.NewRecorder()
	newTestClusterAPI(&fakeCluster{}, forward, nil).ServeHTTP(w, r)
	if w.Code != 503 || forward.seen != nil {
		t.Errorf("forwarded twice: %d %s", w.Code, w.Body)
	}
}

// CLU-35: the leader's picture wherever it can be had, else this node's own, marked.
func TestClusterStatus(t *testing.T) {
	leader := newTestClusterAPI(&fakeCluster{}, &fakeForward{leads: true}, func(o *ClusterOptions) { o.NodeID = "aa11" })
	for _, c := range []struct {
		name    string
		forward *fakeForward
		node    string
		stale   bool
	}{
		{"leader", &fakeForward{leads: true}, "aa22", false},
		{"follower", &fakeForward{to: leader}, "aa22", false},
		{"leader away", &fakeForward{err: &NoLeaderError{}}, "aa22", true},
		{"leader deposed", &fakeForward{to: newTestClusterAPI(&fakeCluster{statusErr: &NoLeaderError{}}, &fakeForward{leads: true}, nil)}, "aa22", true},
		{"no answer", &fakeForward{to: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "?") })}, "aa22", true},
	} {
		for _, admin := range []bool{true, false} {
			h := newTestClusterAPI(&fakeCluster{}, c.forward, func(o *ClusterOptions) { o.Admin = admin })
			w := do(h, "GET", "/cluster/status", "")
			var s ClusterStatus
			if err := json.Unmarshal(w.Body.Bytes(), &s); err != nil || w.Code != 200 {
				t.Fatalf("%s: %d %s: %v", c.name, w.Code, w.Body, err)
			}
			if s.NodeID != c.node || s.Stale != c.stale || len(s.Nodes) != 4 || s.Problems == nil || s.Leader.Name != "m1" || *s.Nodes[0].ClockSkewMS != 0.5 {
				t.Errorf("%s: %s", c.name, w.Body)
			}
			w = do(h, "GET", "/cluster/nodes", "")
			var n ClusterNodes
			if err := json.Unmarshal(w.Body.Bytes(), &n); err != nil || n.Stale != c.stale || len(n.Nodes) != 4 || n.ClusterID != "c1" {
				t.Errorf("%s: %d %s", c.name, w.Code, w.Body)
			}
		}
	}
	for path, want := range map[string]string{"/cluster/status": "500 no raft", "/cluster/nodes": "500 no raft"} {
		w := do(newTestClusterAPI(&fakeCluster{statusErr: errors.New("no raft")}, &fakeForward{leads: true}, nil), "GET", path, "")
		if got := fmt.Sprint(w.Code, " ", w.Body); got != want {
			t.Errorf("%s: %s", path, got)
		}
	}
}

// CLU-8: what arrives whole can be told from what does not, also through another node.
func TestClusterBackup(t *testing.T) {
	for _, broken := range []bool{false, true} {
		f := &fakeCluster{broken: broken}
		leader := httptest.NewServer(newTestClusterAPI(f, &fakeForward{leads: true}, nil))
		follower := httptest.NewServer(newTestClusterAPI(&fakeCluster{}, httpForward(leader.URL), nil))
		for _, url := range []string{leader.URL, follower.URL} {
			resp, err := http.Get(url + "/cluster/backup")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			if broken {
				if err == nil {
					t.Errorf("a broken backup of %d bytes reads as whole", len(body))
				}
				continue
			}
			var info BackupInfo
			if err := errors.Join(err, json.Unmarshal([]byte(resp.Header.Get(BackupHeader)), &info), resp.Body.Close()); err != nil {
				t.Fatal(err)
			}
			sum := sha256.Sum256(body)
			if info.Index != 40 || len(body) != 800_000 || resp.Trailer.Get(ChecksumTrailer) != hex.EncodeToString(sum[:]) {
				t.Errorf("%+v, %d bytes, trailer %v", info, len(body), resp.Trailer)
			}
		}
		follower.Close()
		leader.Close()
	}
}

// httpForward reaches a leader at a URL without TLS.
type httpForward string

func (httpForward) Leads() bool { return false }

func (f httpForward) RoundTrip(r *http.Request) (*http.Response, error) {
	r.URL.Scheme, r.URL.Host, _ = strings.Cut(string(f), "://")
	return http.DefaultTransport.RoundTrip(r)
}

// The public port has the reading half below /cluster.
func TestClusterOnMaster(t *testing.T) {
	c := newTestCluster()
	if w := do(c.master(), "GET", "/cluster/status", ""); w.Code != 404 {
		t.Errorf("without a cluster: %d", w.Code)
	}
	options := c.masterOptions()
	options.Cluster = newTestClusterAPI(&fakeCluster{}, &fakeForward{leads: true}, func(o *ClusterOptions) { o.Admin = false })
	h := NewMaster(options)
	if w := do(h, "GET", "/cluster/nodes", ""); w.Code != 200 || !bytes.Contains(w.Body.Bytes(), []byte(`"cluster_id": "c1"`)) {
		t.Errorf("nodes: %d %s", w.Code, w.Body)
	}
	if w := do(h, "POST", "/cluster/nodes/m1/drain", ""); w.Code != 403 {
		t.Errorf("drain: %d %s", w.Code, w.Body)
	}
}

func TestFindNode(t *testing.T) {
	nodes := []ClusterNode{{ID: "ab12", Name: "m1"}, {ID: "ab34", Name: "m2"}, {ID: "cd", Name: "ab34"}, {ID: "ef", Name: "cd"}, {ID: "cde", Name: "x"}}
	for name, want := range map[string]string{
		"ab12": "ab12", "ab1": "ab12", "m2": "ab34",
		"ab34": "ab34", // an id before a name
		"cd":   "cd",   // an id before a name and before the beginning of another id
		"e":    "ef",
		"ab":   `node "ab" is not unique: ab12 (m1), ab34 (m2)`,
		"":     `node "" is not known (clusterd nodes lists all)`,
		"m":    `node "m" is not known (clusterd nodes lists all)`, // names count as a whole
	} {
		n, err := FindNode(nodes, name)
		got := n.ID
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("FindNode(%q) = %s, want %s", name, got, want)
		}
	}
}

// Whatever the body is, it is taken or refused with an *InputError.
func FuzzDecodeRequest(f *testing.F) {
	for _, s := range []string{"", "{}", `{"role":"any","rotate":true,"ttl_seconds":60}`, `{"role":null}`, `{"role":{}}`, "null", `{"a":1,"a":2}`, "[1", `{"ttl_seconds":1e400}`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, body string) {
		var v TokenRequest
		err := decodeRequest(httptest.NewRecorder(), httptest.NewRequest("POST", "/cluster/token", strings.NewReader(body)), &v)
		if err == nil {
			return
		}
		if _, ok := errors.AsType[*InputError](err); !ok || strings.TrimSpace(body) == "" {
			t.Errorf("%q: %v", body, err)
		}
	})
}
