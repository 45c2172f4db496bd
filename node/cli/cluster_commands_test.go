package cli

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node"
	"clusterd/node/api"
	"clusterd/raft/registry"
)

func TestMain(m *testing.M) {
	time.Local = time.UTC
	for _, name := range []string{"CLUSTERD_MASTER", "CLUSTERD_DATA_DIR", "CLUSTERD_CONFIG", "CLUSTERD_TOKEN"} {
		os.Unsetenv(name)
	}
	os.Exit(m.Run())
}

// Every command that changes the cluster, through the socket. CLU-5 CLU-6 CLU-7 CLU-8 CLU-21
func TestAdminCommands(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		calls []string
	}{
		"promote":      {[]string{"node", "promote", "m3"}, []string{"promote 33cc000000000003 grace=- gone=false"}},
		"promote json": {[]string{"node", "promote", "33", "-o", "json"}, []string{"promote 33cc000000000003 grace=- gone=false"}},
		"demote":       {[]string{"node", "demote", "m2"}, []string{"demote 11ab000000000002 grace=- gone=false"}},
		"activate":     {[]string{"node", "activate", "m2"}, []string{"activate 11ab000000000002 grace=- gone=false"}},
		"remove":       {[]string{"node", "remove", "m2"}, []string{"remove 11ab000000000002 grace=- gone=false"}},
		"remove idle":  {[]string{"node", "remove", "m3", "-o", "json"}, []string{"remove 33cc000000000003 grace=- gone=false"}},
		"drain":        {[]string{"node", "drain", "m2", "--max-grace-period", "30s"}, []string{"drain 11ab000000000002 grace=30 gone=false"}},
		"drain json":   {[]string{"node", "drain", "11ab", "--mark-gone", "-o", "json"}, []string{"drain 11ab000000000002 grace=- gone=true"}},
		"drain away":   {[]string{"node", "drain", "m1", "--no-wait"}, []string{"drain 11aa000000000001 grace=- gone=false"}},
		"leave":        {[]string{"leave"}, []string{"leave drain=false"}},
		"leave json":   {[]string{"leave", "-o", "json"}, []string{"leave drain=false"}},
		"token":        {[]string{"token"}, []string{"token role=any rotate=false ttl=0s"}},
		"token agent":  {[]string{"token", "--role", "agent", "--ttl", "24h"}, []string{"token role=agent rotate=false ttl=24h0m0s"}},
		"token quiet":  {[]string{"token", "-q"}, []string{"token role=any rotate=false ttl=0s"}},
		"token rotate": {[]string{"token", "--rotate"}, []string{"token role=any rotate=true ttl=0s"}},
		"token json":   {[]string{"token", "-o", "json", "--ttl", "90s"}, []string{"token role=any rotate=false ttl=1m30s"}},
		"masters":      {[]string{"masters", "5"}, []string{"masters 5"}},
		"masters one":  {[]string{"masters", "1"}, []string{"masters 1"}},
		"masters json": {[]string{"masters", "5", "-o", "json"}, []string{"masters 5"}},
		"authority":    {[]string{"authority", "rotate"}, []string{"rotate authority"}},
		"backup":       {[]string{"backup", "FILE"}, []string{"backup"}},
		"backup json":  {[]string{"backup", "FILE", "-o", "json"}, []string{"backup"}},
	} {
		t.Run(name, func(t *testing.T) {
			f := newTestNodes()
			dir := f.dataDir(t, true)
			file := filepath.Join(t.TempDir(), "FILE")
			args := append([]string{}, c.args...)
			if i := slices.Index(args, "FILE"); i >= 0 {
				args[i] = file
			}
			got := runMain(t, "", map[string]string{dir: "DIR", file: "FILE"}, append(args, "--data-dir", dir)...)
			golden(t, strings.ReplaceAll(name, " ", "_"), got)
			if !slices.Equal(f.calls, c.calls) {
				t.Errorf("calls %q, want %q", f.calls, c.calls)
			}
		})
	}
}

// CLU-6: leave with --drain says how far it is, and comes back when the node has left.
func TestLeaveDrain(t *testing.T) {
	f := newTestNodes()
	f.released = make(chan struct{})
	dir := f.dataDir(t, true)
	golden(t, "leave_drain", runMain(t, "", map[string]string{dir: "DIR"}, "leave", "--drain", "--data-dir", dir))
	if !slices.Equal(f.calls, []string{"leave drain=true"}) {
		t.Errorf("calls %q", f.calls)
	}
}

// A drain that someone else undoes ends the wait with an error.
func TestDrainUndone(t *testing.T) {
	f := newTestNodes()
	dir := f.dataDir(t, true)
	h := f.handler(true, true)
	other := t.TempDir()
	looks := 0
	serveSocket(t, other, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if h.ServeHTTP(w, r); r.URL.Path == "/cluster/status" {
			if looks++; looks == 2 {
				f.mu.Lock()
				f.node("11ab000000000002").AgentState, f.drained = api.AgentActive, nil
				f.mu.Unlock()
			}
		}
	}))
	got := runMain(t, "", nil, "node", "drain", "m2", "--data-dir", other)
	if want := "clusterd: node m2 is not draining but active: someone else has changed it\n--- exit 1\n"; !strings.HasSuffix(got, want) {
		t.Errorf("%s", got)
	}
	_ = dir
}

// CLU-6: a change that finds no leader is tried again; a removal may be done by the new leader meanwhile.
func TestChangeDuringElection(t *testing.T) {
	for verb, want := range map[string]string{"promote": "promote 11aa000000000001 grace=- gone=false", "remove": ""} {
		f := newTestNodes()
		h, none := f.handler(true, true), f.handler(true, false)
		dir, tries := t.TempDir(), 0
		serveSocket(t, dir, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPost {
				if tries++; tries <= 2 {
					none.ServeHTTP(w, r)
					return
				}
				if verb == "remove" {
					f.mu.Lock()
					f.status.Nodes = f.status.Nodes[2:]
					f.mu.Unlock()
				}
			}
			h.ServeHTTP(w, r)
		}))
		got := runMain(t, "", nil, "node", verb, "m1", "--data-dir", dir)
		if tries != 3 || strings.Count(got, "; trying again") != 1 || !strings.HasSuffix(got, "--- exit 0\n") || strings.Join(f.calls, ",") != want {
			t.Errorf("%s: %d tries, calls %q: %s", verb, tries, f.calls, got)
		}
	}
}

// CLU-6 CLU-7 CLU-35: reading, over HTTP through any node and through the socket.
func TestReadingCommands(t *testing.T) {
	healthy := newTestNodes()
	healthy.status.Problems, healthy.status.Quorum.Reachable = nil, 3
	lost := newTestNodes()
	lost.status.Leader, lost.status.Name, lost.status.StateHash = nil, "", ""
	lost.status.Quorum = api.ClusterQuorum{Voters: 3, Reachable: 1, Needed: 2}
	lost.status.Problems = lost.status.Problems[:1]
	standby := newTestNodes()
	standby.status = &api.ClusterStatus{ClusterID: lost.status.ClusterID, Version: "0.2.0", Time: noon, Term: 7}
	for name, c := range map[string]struct {
		cluster *testNodes
		leader  leads
		args    []string
	}{
		"nodes":         {newTestNodes(), true, []string{"nodes"}},
		"nodes json":    {newTestNodes(), true, []string{"nodes", "-o", "json"}},
		"nodes stale":   {newTestNodes(), false, []string{"nodes"}},
		"status":        {newTestNodes(), true, []string{"status"}},
		"status json":   {newTestNodes(), true, []string{"status", "-o", "json"}},
		"status check":  {newTestNodes(), true, []string{"status", "--check"}},
		"status ok":     {healthy, true, []string{"status", "--check"}},
		"status lost":   {lost, false, []string{"status", "--check"}},
		"status alone":  {standby, false, []string{"status"}},
		"status lost 2": {lost, false, []string{"status"}},
	} {
		t.Run(name, func(t *testing.T) {
			addr, dir := c.cluster.public(t, c.leader), c.cluster.dataDir(t, c.leader)
			got := runMain(t, "", map[string]string{addr: "ADDR"}, append(c.args, "--master", addr)...)
			golden(t, strings.ReplaceAll(name, " ", "_"), got)
			local := runMain(t, "", nil, append(c.args, "--data-dir", dir)...)
			if _, body, _ := strings.Cut(got, "\n"); !strings.HasSuffix(local, body) {
				t.Errorf("through the socket: %s", local)
			}
		})
	}
}

// CLU-52: the first node that reaches the leader answers; the next is tried when one does not.
func TestReadingTriesNext(t *testing.T) {
	dead, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone := dead.Addr().String()
	dead.Close()
	mesos := httptest.NewServer(http.NotFoundHandler())
	defer mesos.Close()
	old := mesos.Listener.Addr().String()
	stale, fresh := newTestNodes(), newTestNodes()
	stale.status.Nodes = stale.status.Nodes[:1]
	staleAddr, freshAddr := stale.public(t, false), fresh.public(t, true)
	for _, c := range []struct {
		masters, env string
		code, nodes  int
		want         string
	}{
		{gone + "," + freshAddr, "", 0, 4, ""},
		{staleAddr + "," + freshAddr, "", 0, 4, ""},
		{staleAddr + "," + gone, "", 0, 1, "the leading master is not reached"},
		{old + "," + staleAddr, "", 0, 1, ""},
		{"", freshAddr, 0, 4, ""},
		{gone, freshAddr, 1, 0, "clusterd: node " + gone + " does not answer: connect: connection refused"},
		{old, "", 1, 0, "clusterd: node " + old + " has no cluster API: it is no clusterd, or an older one"},
		{"a b", "", 2, 0, `clusterd: --master: "a b" is not HOST or HOST:PORT`},
	} {
		t.Setenv("CLUSTERD_MASTER", c.env)
		args := []string{"nodes"}
		if c.masters != "" {
			args = append(args, "--master", c.masters)
		}
		got := runMain(t, "", nil, args...)
		if n := strings.Count(got, "10.0.0."); n != c.nodes || !strings.Contains(got, c.want) || !strings.HasSuffix(got, "--- exit "+string(rune('0'+c.code))+"\n") {
			t.Errorf("%s: %s", c.masters, got)
		}
	}
	t.Setenv("CLUSTERD_MASTER", "")
	t.Setenv("CLUSTERD_DATA_DIR", stale.dataDir(t, false))
	if got := runMain(t, "", nil, "nodes"); strings.Count(got, "10.0.0.") != 1 {
		t.Errorf("through the socket of CLUSTERD_DATA_DIR: %s", got)
	}
}

// What is wrong is said in one line, with the exit status of its kind.
func TestClusterCommandErrors(t *testing.T) {
	f := newTestNodes()
	dir := f.dataDir(t, true)
	empty, left := t.TempDir(), t.TempDir()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: filepath.Join(left, node.SocketName), Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	noLeader := newTestNodes().dataDir(t, false)
	refusing := newTestNodes()
	refusing.err = &api.ConflictError{Text: "node m1 is the only one that may be a master now"}
	refuses := refusing.dataDir(t, true)
	file := filepath.Join(empty, "exists")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	hide := map[string]string{dir: "DIR", empty: "EMPTY", left: "LEFT", noLeader: "NOLEADER", refuses: "REFUSES"}
	var all []string
	for _, line := range []string{
		"token --data-dir EMPTY", "token --data-dir LEFT", "status --data-dir EMPTY",
		"token --data-dir NOLEADER", "node demote m1 --data-dir REFUSES", "leave --data-dir REFUSES", "backup EMPTY/new --data-dir NOLEADER",
		"node drain nobody --data-dir DIR", "node remove 11a --data-dir DIR", "node drain", "node drain m1 m2", "node explode m1", "node", "config x", "authority now",
		"node drain m1 --max-grace-period 1500ms --data-dir DIR", "node drain m1 --max-grace-period soon", "token --role master", "token --ttl 10s", "token --rotate --ttl 1h",
		"masters 4", "masters", "nodes -o xml", "token -o xml --data-dir DIR", "backup --data-dir DIR", "backup EMPTY/exists --data-dir DIR", "backup EMPTY/no/file --data-dir DIR",
		"leave now", "join", "join m1:x", "join --zk zk://a", "start --quorum 2", "start --master m1", "start extra", "restore", "restore FILE", "recover", "recover x",
	} {
		args := strings.Fields(line)
		for i, a := range args {
			for path, name := range hide {
				if rest, ok := strings.CutPrefix(a, name); ok && (rest == "" || rest[0] == '/') {
					args[i] = path + rest
				}
			}
		}
		got := runMain(t, "", hide, args...)
		if first, _, _ := strings.Cut(got, "--- beside it"); strings.Contains(line, " ") && strings.Count(first, "\n") > 1 {
			got = first[:strings.Index(first, "\n")+1] + "(help)\n" + got[strings.LastIndex(got, "--- exit"):]
		}
		all = append(all, got)
	}
	golden(t, "errors", strings.Join(all, "\n"))
	if f.calls != nil {
		t.Errorf("changed all the same: %q", f.calls)
	}
	if entries, err := os.ReadDir(empty); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// CLU-8: a backup that does not come whole leaves no file, one that does has the mode of a secret.
func TestBackupFile(t *testing.T) {
	f := newTestNodes()
	f.broken = true
	dir, to := f.dataDir(t, true), t.TempDir()
	file := filepath.Join(to, "backup")
	if err := os.WriteFile(file, []byte("before"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := runMain(t, "", nil, "backup", file, "--force", "--data-dir", dir)
	if !strings.Contains(got, "clusterd: backup broke off after ") || !strings.HasSuffix(got, "--- exit 1\n") {
		t.Errorf("broken: %s", got)
	}
	if entries, err := os.ReadDir(to); err != nil || len(entries) != 1 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "before" {
		t.Errorf("the file that was there: %q, %v", text, err)
	}
	f.broken = false
	runMain(t, "", nil, "backup", file, "--force", "--data-dir", dir)
	st, err := os.Stat(file)
	if err != nil || st.Mode() != 0o600 || st.Size() != 5000 {
		t.Errorf("%v, %v", st, err)
	}
	if got := runMain(t, "", map[string]string{strings.Repeat("state", 1000): "STATE"}, "backup", "-", "--data-dir", dir); !strings.Contains(got, "STATE--- beside it\nclusterd backup: 5000 bytes, cluster 5f0c3f3e-") {
		t.Errorf("to the output: %s", got)
	}
	// A whole body with a wrong checksum, and one without.
	for trailer, want := range map[string]string{"00": "backup was damaged on its way", "": "backup broke off after 3 bytes"} {
		other := t.TempDir()
		serveSocket(t, other, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set(api.BackupHeader, "{}")
			w.Header().Set("Trailer", api.ChecksumTrailer)
			_, err := w.Write([]byte("abc"))
			if trailer != "" {
				w.Header().Set(api.ChecksumTrailer, trailer)
			}
			if err := errors.Join(err, http.NewResponseController(w).Flush()); err != nil {
				t.Error(err)
			}
		}))
		if got := runMain(t, "", nil, "backup", filepath.Join(to, "new"), "--data-dir", other); !strings.Contains(got, want) {
			t.Errorf("trailer %q: %s", trailer, got)
		}
	}
}

// CLU-8: a new data directory from a backup; never over one that belongs to a cluster, nor from a file that
// is damaged.
func TestRestore(t *testing.T) {
	dir := t.TempDir()
	var b bytes.Buffer
	if err := registry.New().WriteBackup(&b, registry.BackupInfo{ClusterID: "c1", Version: "0.2.0", Time: noon}); err != nil {
		t.Fatal(err)
	}
	file, cut := filepath.Join(dir, "backup"), filepath.Join(dir, "cut")
	if err := errors.Join(os.WriteFile(file, b.Bytes(), 0o600), os.WriteFile(cut, b.Bytes()[:b.Len()-1], 0o600)); err != nil {
		t.Fatal(err)
	}
	hide := map[string]string{dir: "DIR", registry.New().ContentHash(): "HASH"}
	to := filepath.Join(dir, "node")
	golden(t, "restore", runMain(t, "", hide, "restore", file, "--data-dir", to)+"\n"+
		runMain(t, "", hide, "restore", file, "--data-dir", to)+"\n"+
		runMain(t, "", hide, "restore", file, "-o", "json", "--data-dir", to+"2"))
	if got := runMain(t, "", hide, "restore", cut, "--data-dir", to+"3"); !strings.HasSuffix(got, "--- exit 1\n") || !strings.Contains(got, "clusterd: DIR/cut: ") {
		t.Errorf("damaged: %s", got)
	}
}

// CLU-8: recover asks; without a yes nothing is touched.
func TestRecoverAsks(t *testing.T) {
	for input, asked := range map[string]string{"": "exit 1", "no\n": "exit 1", "y\n": "exit 1", "yes\n": ""} {
		dir := t.TempDir()
		got := runMain(t, input, map[string]string{dir: "DIR"}, "recover", "--data-dir", dir)
		if !strings.Contains(got, "WARNING: DIR becomes the only master of its cluster") || !strings.Contains(got, "Type yes to go on: ") {
			t.Errorf("%q: %s", input, got)
		}
		if refused := strings.Contains(got, "nothing was changed: confirm with yes, or give --yes"); refused != (asked != "") {
			t.Errorf("%q: %s", input, got)
		}
	}
	dir := t.TempDir()
	if got := runMain(t, "", nil, "recover", "--yes", "--data-dir", dir); strings.Contains(got, "Type yes") || !strings.HasSuffix(got, "--- exit 1\n") {
		t.Errorf("an empty directory: %s", got)
	}
}

// The socket is found however long the way to it is.
func TestLongDataDir(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("only Linux has /proc/self/fd")
	}
	f := newTestNodes()
	short := f.dataDir(t, true)
	long := filepath.Join(t.TempDir(), strings.Repeat("d", 120))
	if err := os.Rename(short, long); err != nil {
		t.Fatal(err)
	}
	if got := runMain(t, "", nil, "token", "-q", "--data-dir", long); !strings.Contains(got, "\nclusterd-1-any-abcdef-secret\n--- exit 0") {
		t.Error(got)
	}
}
