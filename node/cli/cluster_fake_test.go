package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"clusterd/node"
	"clusterd/node/api"
)

var update = flag.Bool("update", false, "write the golden files anew")

// noon is when every status of a fake was taken.
var noon = time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)

// testNodes is a cluster of four nodes. It notes what it is asked to change.
type testNodes struct {
	mu       sync.Mutex
	calls    []string
	status   *api.ClusterStatus
	err      error         // of every change
	drained  func()        // called by each look at the status while a node drains
	released chan struct{} // Leave waits for it, if it is set
	broken   bool          // backups break off
}

func newTestNodes() *testNodes {
	f := &testNodes{}
	f.status = &api.ClusterStatus{
		ClusterID: "5f0c3f3e-0000-4000-8000-000000000001", Name: "test", Version: "0.2.0", Time: noon,
		Leader: &api.ClusterLeader{NodeID: "11aa000000000001", Name: "m1", Address: "m1:5050"}, Term: 7, Index: 421, StateHash: "9f86d081884c7d65", Masters: 3,
		Quorum: api.ClusterQuorum{Voters: 3, Reachable: 2, Needed: 2, OK: true},
		Nodes: []api.ClusterNode{
			{ID: "44dd000000000004", Name: "a1", PeerAddress: "10.0.0.4:5055", MasterAddress: "10.0.0.4:5050", AgentAddress: "10.0.0.4:5051", Role: "agent", RaftState: api.RaftNone, AgentID: "x-S3", AgentState: api.AgentRecovering, Version: "0.2.0", Connected: false, LastContact: noon.Add(-50 * time.Hour)},
			{ID: "11aa000000000001", Name: "m1", PeerAddress: "10.0.0.1:5055", MasterAddress: "10.0.0.1:5050", AgentAddress: "10.0.0.1:5051", Role: "auto", RaftState: api.RaftLeader, RaftID: 1, AgentID: "x-S0", AgentState: api.AgentActive, Tasks: 12, Version: "0.2.0", Connected: true, UptimeSeconds: 200000, LastContact: noon, LagEntries: new(uint64(0)), ClockSkewMS: new(0.0), CertificateExpires: noon.Add(80 * 24 * time.Hour), DiskFsyncP50MS: new(0.8), DiskFsyncP99MS: new(4.25)},
			{ID: "11ab000000000002", Name: "m2", PeerAddress: "10.0.0.2:5055", MasterAddress: "10.0.0.2:5050", AgentAddress: "10.0.0.2:5051", Role: "auto", Placement: "preferred", Domain: "r/z2", RaftState: api.RaftVoter, RaftID: 2, AgentID: "x-S1", AgentState: api.AgentActive, Tasks: 2, Version: "0.2.0", Connected: true, UptimeSeconds: 3700, LastContact: noon.Add(-time.Second), LagEntries: new(uint64(3)), ClockSkewMS: new(1501.0), CertificateExpires: noon.Add(25 * time.Minute), DiskFsyncP50MS: new(1.0), DiskFsyncP99MS: new(120.0)},
			{ID: "33cc000000000003", Name: "m3", PeerAddress: "10.0.0.3:5055", MasterAddress: "10.0.0.3:5050", Role: "master", RaftState: api.RaftVoter, RaftID: 3, AgentState: api.AgentNone, Version: "0.1.0", LastContact: noon.Add(-4 * time.Minute), LagEntries: new(uint64(90)), CertificateExpires: noon.Add(-time.Second)},
		},
		Problems: []api.ClusterProblem{
			{Code: "voter-down", Severity: api.SeverityError, Text: "Master m3 (10.0.0.3:5055) has not been reached for 4 minutes.", Do: "Start it again, or wait: it is replaced after --master-replace-after."},
			{Code: "clock-skew", Severity: api.SeverityWarning, Text: "The clock of m2 is 1.5 s ahead of the leader's.", Do: "Synchronise the clocks, for example with chrony."},
		},
	}
	return f
}

func (f *testNodes) note(format string, args ...any) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.calls = append(f.calls, fmt.Sprintf(format, args...))
	return f.err
}

func (f *testNodes) node(id string) *api.ClusterNode {
	for i := range f.status.Nodes {
		if f.status.Nodes[i].ID == id {
			return &f.status.Nodes[i]
		}
	}
	return nil
}

func (f *testNodes) Status(context.Context) (*api.ClusterStatus, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	copied := *f.status
	copied.Nodes = append([]api.ClusterNode(nil), f.status.Nodes...)
	if f.drained != nil {
		f.drained()
	}
	return &copied, nil
}

func (f *testNodes) Token(_ context.Context, r api.TokenRequest) (*api.TokenAnswer, error) {
	if err := f.note("token role=%s rotate=%v ttl=%s", r.Role, r.Rotate, r.TTL()); err != nil {
		return nil, err
	}
	t := &api.TokenAnswer{Token: "clusterd-1-" + r.Role + "-abcdef-secret", Role: r.Role, Peers: []string{"10.0.0.1:5055", "10.0.0.2:5055"}}
	if r.TTLSeconds > 0 {
		t.Expires = noon.Add(r.TTL())
	}
	return t, nil
}

// ChangeNode lets a drained node lose one task with each look at the status.
func (f *testNodes) ChangeNode(_ context.Context, id, verb string, r api.DrainRequest) error {
	grace := "-"
	if r.MaxGraceSeconds != nil {
		grace = fmt.Sprint(*r.MaxGraceSeconds)
	}
	if err := f.note("%s %s grace=%s gone=%v", verb, id, grace, r.MarkGone); err != nil {
		return err
	}
	if verb == api.NodeDrain {
		f.drain(id)
	}
	return nil
}

// drain shows in the status from the second look on.
func (f *testNodes) drain(id string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	looks := 0
	f.drained = func() {
		n := f.node(id)
		switch looks++; {
		case looks == 1:
			n.AgentState = api.AgentDraining
		case n.Tasks > 0:
			n.Tasks--
		case n.AgentState == api.AgentDraining:
			n.AgentState = api.AgentDrained
		case f.released != nil:
			close(f.released)
			f.drained, f.released = nil, nil
		}
	}
}

func (f *testNodes) Leave(_ context.Context, r api.LeaveRequest) error {
	f.mu.Lock()
	released := f.released
	f.mu.Unlock()
	if r.Drain {
		f.drain("11ab000000000002")
		<-released
	}
	return f.note("leave drain=%v", r.Drain)
}

func (f *testNodes) RotateAuthority(context.Context) error { return f.note("rotate authority") }

func (f *testNodes) SetMasters(_ context.Context, n int) error { return f.note("masters %d", n) }

func (f *testNodes) Backup(context.Context) (api.BackupInfo, func(io.Writer) error, error) {
	err := f.note("backup")
	return api.BackupInfo{ClusterID: f.status.ClusterID, Version: "0.2.0", Index: 421, Time: noon, StateHash: f.status.StateHash}, func(w io.Writer) error {
		_, err := io.WriteString(w, strings.Repeat("state", 1000))
		if f.broken {
			err = errors.New("disk gone")
		}
		return err
	}, err
}

// leads is an api.Forward of a node that leads, or that knows no leader.
type leads bool

func (l leads) Leads() bool { return bool(l) }
func (leads) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &api.NoLeaderError{Missing: []string{"m1 (10.0.0.1:5055)", "m3 (10.0.0.3:5055)"}}
}

func (f *testNodes) handler(admin bool, leader leads) http.Handler {
	return api.NewCluster(api.ClusterOptions{Cluster: f, Forward: leader, NodeID: "11ab000000000002", Admin: admin, Logger: slog.New(slog.DiscardHandler)})
}

// dataDir is a data directory with a node behind its socket.
func (f *testNodes) dataDir(t *testing.T, leader leads) string {
	t.Helper()
	dir := t.TempDir()
	serveSocket(t, dir, f.handler(true, leader))
	return dir
}

func serveSocket(t *testing.T, dir string, h http.Handler) {
	t.Helper()
	l, err := net.Listen("unix", filepath.Join(dir, node.SocketName))
	if err != nil {
		t.Fatal(err)
	}
	s := &httptest.Server{Listener: l, Config: &http.Server{Handler: h}}
	s.Start()
	t.Cleanup(s.Close)
}

// public is a node's public port; the address is HOST:PORT.
func (f *testNodes) public(t *testing.T, leader leads) string {
	t.Helper()
	s := httptest.NewServer(f.handler(false, leader))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// runMain runs a command line and returns what it wrote, with every name in hide replaced, and its exit
// status at the end.
func runMain(t *testing.T, input string, hide map[string]string, args ...string) string {
	t.Helper()
	var out, errOut bytes.Buffer
	shown := strings.Join(args, " ")
	code := Main(args, strings.NewReader(input), &out, &errOut)
	text := "$ clusterd " + shown + "\n" + out.String()
	if errOut.Len() > 0 {
		text += "--- beside it\n" + errOut.String()
	}
	text += fmt.Sprintf("--- exit %d\n", code)
	for from, to := range hide {
		text = strings.ReplaceAll(text, from, to)
	}
	return text
}

// golden compares with testdata/<name>.golden, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name+".golden")
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (go test -update writes it anew); got:\n%s\nwant:\n%s", path, got, want)
	}
}
