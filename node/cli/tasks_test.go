package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	v1 "clusterd/node/mesos/v1"
)

func TestPickTask(t *testing.T) { // OPR-273: unique fragments
	running := taskEntry{ID: "web", Framework: "f1", State: "TASK_RUNNING"}
	old := taskEntry{ID: "web", Framework: "f0", State: "TASK_FAILED", done: true}
	other := taskEntry{ID: "worker", Framework: "f1", State: "TASK_RUNNING"}
	long := taskEntry{ID: "web-2", Framework: "f1", State: "TASK_RUNNING"}
	for _, c := range []struct {
		name  string
		tasks []taskEntry
		want  string // framework/id, or the error
	}{
		{"web", []taskEntry{old, running, long}, "f1/web"},
		{"web", []taskEntry{running, old}, "f1/web"}, // a running one before ended ones, whatever their order
		{"wo", []taskEntry{running, other}, "f1/worker"},
		{"w", []taskEntry{running, other}, `task "w" is not unique: web, worker`},
		{"db", []taskEntry{running}, `task "db" is not known (clusterd ps -a lists all)`},
		{"", []taskEntry{running}, `task "" is not known (clusterd ps -a lists all)`},
	} {
		got, err := pickTask(c.tasks, c.name)
		text := got.Framework + "/" + got.ID
		if err != nil {
			text = err.Error()
		}
		if text != c.want {
			t.Errorf("pickTask(%q) = %s, want %s", c.name, text, c.want)
		}
	}
}

func TestExitCode(t *testing.T) { // EXE-59, EXE-60
	for _, c := range []struct {
		state     v1.TaskState
		message   string
		code      int
		explained bool
		reason    v1.TaskStatus_Reason
	}{
		{v1.TaskState_TASK_FINISHED, "Command exited with status 0", 0, true, 0},
		{v1.TaskState_TASK_FAILED, "Command exited with status 3", 3, true, 0},
		{v1.TaskState_TASK_FAILED, "Command terminated with signal Killed", 137, true, 0},
		{v1.TaskState_TASK_FAILED, "Command terminated with signal Segmentation fault (core dumped)", 139, true, 0},
		{v1.TaskState_TASK_KILLED, "Command terminated with signal Terminated", 143, true, 0},
		{v1.TaskState_TASK_KILLED, "", 137, false, 0},
		{v1.TaskState_TASK_FAILED, "Memory limit exceeded: Requested: 64MB Maximum Used: 64MB", 137, false, v1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY},
		{v1.TaskState_TASK_FAILED, "Command exited with status 300", 1, false, 0},
	} {
		if code, explained := exitCode(c.state, c.reason, c.message); code != c.code || explained != c.explained {
			t.Errorf("exitCode(%v, %q) = %d, %v, want %d, %v", c.state, c.message, code, explained, c.code, c.explained)
		}
	}
}

func TestMasterAddress(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:5050", "m1:8080": "m1:8080", "::1": "[::1]:5050", "[::1]:80": "[::1]:80", "http://m1/": "m1:5050",
		"": "error", "m1:0": "error", "m1:x": "error", "a b": "error",
	} {
		got, err := masterAddress(in)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("masterAddress(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestLineWriter(t *testing.T) {
	var out bytes.Buffer
	w := &lineWriter{prefix: "a | ", to: &out}
	for _, part := range []string{"one\ntw", "o\n\nthr", "ee"} {
		if _, err := w.Write([]byte(part)); err != nil {
			t.Fatal(err)
		}
	}
	w.flush()
	if want := "a | one\na | two\na | \na | three\n"; out.String() != want {
		t.Errorf("got %q, want %q", out.String(), want)
	}
	out.Reset()
	if _, err := w.Write(bytes.Repeat([]byte("x"), maxLine+1)); err != nil {
		t.Fatal(err)
	}
	if len(w.rest) != 0 || out.Len() == 0 {
		t.Error("a line without end piles up")
	}
}

func TestAgo(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 90 * time.Second: "1m", 2 * time.Hour: "2h", 47 * time.Hour: "47h", 72 * time.Hour: "3d", -time.Hour: "0s"} {
		if got := ago(now, now.Add(-d)); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
}

// fakeCluster answers as a master and an agent with one task whose sandbox holds the given files.
type fakeCluster struct {
	*httptest.Server
	files  map[string]string
	killed url.Values
}

func newFakeCluster(t *testing.T, files map[string]string) *fakeCluster {
	f := &fakeCluster{files: files}
	mux := http.NewServeMux()
	mux.HandleFunc("/redirect", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "//"+r.Host)
		w.WriteHeader(http.StatusTemporaryRedirect)
	})
	mux.HandleFunc("/master/state", func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, `{"slaves":[{"id":"M-S0","hostname":"a1","pid":"slave(1)@%s"}],
			"frameworks":[{"id":"F","name":"fw","user":"root","tasks":[{"id":"hello","name":"hello","framework_id":"F","executor_id":"","slave_id":"M-S0","state":"TASK_RUNNING",
				"resources":{"cpus":0.5,"mem":64.0},"statuses":[{"state":"TASK_RUNNING","timestamp":1700000000.5,"container_status":{"container_id":{"value":"C1"}}}]}]}],
			"completed_frameworks":[{"id":"G","name":"gone","user":"nobody","completed_tasks":[{"id":"bad\u001b[31m","framework_id":"G","slave_id":"M-S0","state":"TASK_FAILED"}]}]}`, r.Host)
	})
	mux.HandleFunc("/master/kill", func(w http.ResponseWriter, r *http.Request) {
		if err := r.ParseForm(); err != nil {
			t.Error(err)
		}
		f.killed = r.PostForm
	})
	file := func(w http.ResponseWriter, r *http.Request) (string, bool) {
		content, ok := f.files[r.FormValue("path")]
		if !ok {
			http.Error(w, "404 Not Found.", http.StatusNotFound)
		}
		return content, ok
	}
	mux.HandleFunc("/files/download", func(w http.ResponseWriter, r *http.Request) {
		if content, ok := file(w, r); ok {
			fmt.Fprint(w, content)
		}
	})
	mux.HandleFunc("/files/read", func(w http.ResponseWriter, r *http.Request) {
		content, ok := file(w, r)
		if !ok {
			return
		}
		offset, err := strconv.Atoi(r.FormValue("offset"))
		if err != nil {
			t.Error(err)
		}
		answer := map[string]any{"data": "", "offset": len(content)}
		if offset >= 0 {
			length, err := strconv.Atoi(r.FormValue("length"))
			if err != nil {
				t.Error(err)
			}
			offset = min(offset, len(content))
			answer = map[string]any{"data": content[offset:min(offset+length, len(content))], "offset": offset}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	})
	f.Server = httptest.NewServer(mux)
	t.Cleanup(f.Close)
	return f
}

// run calls the command line against the fake cluster.
func (f *fakeCluster) run(args ...string) (code int, out, errOut string) {
	var o, e bytes.Buffer
	code = Main(append(args, "--master", f.Listener.Addr().String()), nil, &o, &e)
	return code, o.String(), e.String()
}

const sandbox = "/frameworks/F/executors/hello/runs/C1/"

func TestFileCommands(t *testing.T) { // OPR-266, OPR-273
	var many strings.Builder
	for i := range 30_000 {
		fmt.Fprintf(&many, "line %d\n", i)
	}
	f := newFakeCluster(t, map[string]string{sandbox + "stdout": "1\n2\n3\n4\n5", sandbox + "stderr": "oops\n", sandbox + "big": many.String()})
	for _, c := range []struct {
		args []string
		out  string
	}{
		{[]string{"cat", "hello"}, "1\n2\n3\n4\n5"},
		{[]string{"cat", "hel", "stderr"}, "oops\n"},
		{[]string{"head", "-n", "2", "hello"}, "1\n2\n"},
		{[]string{"head", "-n", "0", "hello"}, ""},
		{[]string{"tail", "-n", "2", "hello"}, "4\n5"},
		{[]string{"tail", "-n", "0", "hello"}, ""},
		{[]string{"tail", "-n", "100", "hello"}, "1\n2\n3\n4\n5"},
		{[]string{"tail", "-n", "1", "hello", "stderr"}, "oops\n"},
		{[]string{"tail", "-n", "1", "hello", "big"}, "line 29999\n"},
		{[]string{"tail", "-n", "30000", "hello", "big"}, many.String()},
	} {
		code, out, errOut := f.run(c.args...)
		if code != 0 || out != c.out {
			t.Errorf("%v: status %d, %d bytes %.80q, %s; want %.80q", c.args, code, len(out), out, errOut, c.out)
		}
	}
	if code, _, errOut := f.run("cat", "hello", "nope"); code != 1 || errOut != "clusterd: no file nope in the sandbox\n" {
		t.Errorf("missing file: status %d, %q", code, errOut)
	}
	// A path that leads out of the sandbox is taken as one inside it.
	if code, _, errOut := f.run("cat", "hello", "../../../../etc/passwd"); code != 1 || !strings.Contains(errOut, "no file passwd") {
		t.Errorf("path that leads out: status %d, %q", code, errOut)
	}
}

func TestPsAndKill(t *testing.T) {
	f := newFakeCluster(t, nil)
	code, out, _ := f.run("ps", "-a")
	if code != 0 || !strings.Contains(out, "hello") || !strings.Contains(out, "TASK_FAILED") {
		t.Fatalf("ps -a: status %d\n%s", code, out)
	}
	if strings.Contains(out, "\x1b") {
		t.Error("ps lets control characters of a name through to the terminal")
	}
	if _, out, _ := f.run("ps"); strings.Contains(out, "TASK_FAILED") {
		t.Errorf("ps lists an ended task:\n%s", out)
	}
	code, out, _ = f.run("ps", "-o", "json")
	var tasks []map[string]any
	if err := json.Unmarshal([]byte(out), &tasks); err != nil || code != 0 || len(tasks) != 1 || tasks[0]["id"] != "hello" {
		t.Errorf("ps -o json: status %d, %v\n%s", code, err, out)
	}
	if code, out, errOut := f.run("kill", "--grace", "1500ms", "hello"); code != 0 || out != "hello\n" {
		t.Errorf("kill: status %d, %q, %q", code, out, errOut)
	}
	want := url.Values{"frameworkId": {"F"}, "taskId": {"hello"}, "gracePeriod": {"1500ms"}}
	if f.killed.Encode() != want.Encode() {
		t.Errorf("kill sent %v, want %v", f.killed, want)
	}
	if code, _, errOut := f.run("kill", "bad"); code != 1 || !strings.Contains(errOut, "has ended already: TASK_FAILED") {
		t.Errorf("kill of an ended task: status %d, %q", code, errOut)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"frobnicate"}, `clusterd: unknown command "frobnicate"`},
		{[]string{"ps", "--nope"}, "clusterd: unknown flag: --nope"},
		{[]string{"ps", "x"}, `clusterd: unexpected argument "x"`},
		{[]string{"ps", "-o", "xml"}, `clusterd: --output: "xml" is not one of table, json`},
		{[]string{"cat"}, "clusterd: TASK is missing"},
		{[]string{"run"}, "clusterd: COMMAND is missing"},
		{[]string{"run", "--cpus", "0", "--instances", "0", "--", "true"}, "clusterd: --cpus: 0 is not a positive number\n--instances: 0 is not between 1 and 10000"},
		{[]string{"run", "--role", "a b", "--", "true"}, "clusterd: --role: Role component 'a b' is invalid because it contains backspace or whitespace"},
		{[]string{"ps", "--master", "m1:x"}, `clusterd: --master: port "x" of "m1:x" is not between 1 and 65535`},
		{[]string{"dev", "--listen", "nonsense"}, `clusterd: --listen: "nonsense" is not HOST:PORT`},
	} {
		var out, errOut bytes.Buffer
		code := Main(c.args, nil, &out, &errOut)
		if code != 2 || !strings.HasPrefix(errOut.String(), c.want) {
			t.Errorf("%v: status %d, %q; want 2, %q", c.args, code, errOut.String(), c.want)
		}
	}
}

func TestUnreachableMaster(t *testing.T) { // OPR-277
	l := httptest.NewServer(nil)
	addr := l.Listener.Addr().String()
	l.Close()
	var out, errOut bytes.Buffer
	if code := Main([]string{"ps", "--master", addr}, nil, &out, &errOut); code != 1 || strings.Count(errOut.String(), "\n") != 1 || !strings.Contains(errOut.String(), addr) {
		t.Errorf("status %d, %q: want 1 and one line that names %s", code, errOut.String(), addr)
	}
}

// Every command has a help text with an example, and every flag a text (DESIGN: a first-class command line).
func TestHelp(t *testing.T) {
	var visit func(cmd *cobra.Command)
	visit = func(cmd *cobra.Command) {
		if cmd.Name() == "help" {
			return
		}
		if cmd.Short == "" || cmd.Example == "" {
			t.Errorf("%s: short text %q, example %q: both are needed", cmd.CommandPath(), cmd.Short, cmd.Example)
		}
		if cmd.HasParent() && !cmd.Parent().HasParent() && cmd.GroupID == "" {
			t.Errorf("%s is in no group", cmd.CommandPath())
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Usage == "" && !f.Hidden {
				t.Errorf("%s: --%s has no text", cmd.CommandPath(), f.Name)
			}
		})
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRoot())
}

func TestFollow(t *testing.T) {
	f := newFakeCluster(t, map[string]string{sandbox + "stdout": "begin\n"})
	c := &common{masters: []string{f.Listener.Addr().String()}}
	cl, err := c.dial(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	file, err := cl.openSandbox(context.Background(), "hello", "stdout")
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	polls := 0
	err = file.follow(context.Background(), &out, 0, func() bool {
		polls++
		if polls == 2 {
			f.files[sandbox+"stdout"] += "more\n"
		}
		return polls == 3 // what was written before the end is still copied
	})
	if err != nil || out.String() != "begin\nmore\n" {
		t.Errorf("followed %q, %v", out.String(), err)
	}
}
