package node_test

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/v1scheduler"
)

var running = []v1.TaskState{v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING}

// Command tasks from ACCEPT to their true end. EXE-42, EXE-43, EXE-46, EXE-48, EXE-49, EXE-52, EXE-58,
// EXE-59, SCH-221, SCH-224, SCH-231
func TestCommandTasks(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	for _, media := range []mesos.MediaType{mesos.JSON, mesos.Protobuf} {
		t.Run(media.String(), func(t *testing.T) {
			f := newFramework(t, c, media, nil)
			argv := shell("argv", "")
			argv.Command = &v1.CommandInfo{Shell: proto.Bool(false), Value: proto.String("/bin/sh"), Arguments: []string{"sh", "-c", `echo "$0 $1"; exit 7`, "zero", "one"}}
			missing := shell("missing", "")
			missing.Command = &v1.CommandInfo{Shell: proto.Bool(false), Value: proto.String("/no/such/program")}
			for _, w := range []struct {
				task           *v1.TaskInfo
				state          v1.TaskState
				message        string
				stdout, stderr string
			}{
				{shell("ok", "echo out; echo err >&2"), v1.TaskState_TASK_FINISHED, "Command exited with status 0", "out\n", "err\n"},
				{shell("three", "exit 3"), v1.TaskState_TASK_FAILED, "Command exited with status 3", "", ""},
				{shell("killed", "kill -9 $$"), v1.TaskState_TASK_FAILED, "Command terminated with signal Killed", "", ""},
				{shell("nothing", "/no/such/command"), v1.TaskState_TASK_FAILED, "Command exited with status 127", "", ""},
				{argv, v1.TaskState_TASK_FAILED, "Command exited with status 7", "zero one\n", ""},
				{missing, v1.TaskState_TASK_FAILED, "Command exited with status 1", "", "Failed to execute '/no/such/program': No such file or directory\n"},
			} {
				id := w.task.GetTaskId().GetValue()
				f.launch(w.task)
				st := f.end(id)
				if st.GetState() != w.state || st.GetMessage() != w.message || st.GetSource() != v1.TaskStatus_SOURCE_EXECUTOR || st.Reason != nil {
					t.Errorf("%s: ended %v, want %v %q by the executor", id, st, w.state, w.message)
				}
				if got := f.states(id); !slices.Equal(got, append(slices.Clone(running), w.state)) {
					t.Errorf("%s: states %v", id, got)
				}
				if st.GetExecutorId().GetValue() != id || st.GetContainerStatus().GetContainerId().GetValue() == "" {
					t.Errorf("%s: executor %v, container %v", id, st.GetExecutorId(), st.GetContainerStatus())
				}
				if got := f.read(id, "stdout"); got != w.stdout {
					t.Errorf("%s: stdout %q, want %q", id, got, w.stdout)
				}
				if got := f.read(id, "stderr"); w.stderr != "" && got != w.stderr {
					t.Errorf("%s: stderr %q, want %q", id, got, w.stderr)
				}
			}
		})
	}
}

// What a command task finds around it. EXE-32, EXE-33, EXE-35, EXE-37, EXE-39, EXE-40, EXE-47, EXE-51, EXE-178
func TestTaskEnvironment(t *testing.T) {
	needContainers(t)
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	f := newFramework(t, c, mesos.JSON, nil)
	task := shell("env", "env; pwd; id -un; stat -c '%a %U' .; ps -o pid= -p $$ | tr -d ' '; hostname >/dev/null; cat /proc/self/sessionid >/dev/null; exec true")
	task.Command.User = proto.String("nobody")
	task.Command.Environment = &v1.Environment{Variables: []*v1.Environment_Variable{
		{Name: proto.String("GREETING"), Value: proto.String("hello world")}, {Name: proto.String("MESOS_SANDBOX"), Value: proto.String("mine")},
	}}
	f.launch(task)
	if st := f.end("env"); st.GetState() != v1.TaskState_TASK_FINISHED {
		t.Fatalf("ended %v; stderr:\n%s", st, f.read("env", "stderr"))
	}
	out := f.read("env", "stdout")
	lines := strings.Split(out, "\n")
	agentID := f.last("env").GetAgentId().GetValue()
	sandbox := filepath.Join(c.dir, "agent", "slaves", agentID, "frameworks", f.info.GetId().GetValue(), "executors", "env", "runs", f.last("env").GetContainerStatus().GetContainerId().GetValue())
	for _, want := range []string{
		"GREETING=hello world", "MESOS_SANDBOX=mine", "MESOS_FRAMEWORK_ID=" + f.info.GetId().GetValue(), "MESOS_EXECUTOR_ID=env",
		"MESOS_SLAVE_ID=" + agentID, "MESOS_AGENT_ENDPOINT=" + c.agent, "MESOS_SLAVE_PID=slave(1)@" + c.agent, "MESOS_DIRECTORY=" + sandbox,
		"MESOS_CHECKPOINT=1", "MESOS_RECOVERY_TIMEOUT=15mins", "MESOS_SUBSCRIPTION_BACKOFF_MAX=2secs", "MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD=5secs",
		"MESOS_ALLOCATION_ROLE=*", "LIBPROCESS_PORT=0", "LIBPROCESS_IP=127.0.0.1", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
		sandbox, "nobody", "750 nobody",
	} {
		if !slices.Contains(lines, want) {
			t.Errorf("no line %q in\n%s", want, out)
		}
	}
	for _, l := range lines {
		if strings.HasPrefix(l, asClusterd+"=") || strings.HasPrefix(l, "GO") || strings.HasPrefix(l, "_") {
			t.Errorf("the agent's own environment leaks into the task: %s", l)
		}
	}
	if got := f.read("env", "stderr"); !strings.Contains(got, "Overwriting environment variable 'MESOS_SANDBOX'\n") {
		t.Errorf("stderr %q does not tell of the overwritten variable", got)
	}
	unknown := shell("unknown-user", "true")
	unknown.Command.User = proto.String("no-such-user")
	f.launch(unknown)
	if st := f.end("unknown-user"); st.GetState() != v1.TaskState_TASK_DROPPED || !strings.Contains(st.GetMessage(), "No such user 'no-such-user'") { // SCH-299
		t.Errorf("unknown user: %v", st)
	}
}

// Kill with grace, escalation to the whole process tree, and no grace. EXE-60, EXE-61, EXE-62, EXE-70,
// SCH-111, SCH-213, SCH-217
func TestKill(t *testing.T) {
	needContainers(t)
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	f := newFramework(t, c, mesos.Protobuf, func(i *v1.FrameworkInfo) {
		i.Capabilities = append(i.Capabilities, &v1.FrameworkInfo_Capability{Type: v1.FrameworkInfo_Capability_TASK_KILLING_STATE.Enum()})
	})
	ready := func(id string) { // the task itself says that its traps are set
		f.reach(id, v1.TaskState_TASK_RUNNING)
		waitFor(t, func() bool { return strings.Contains(f.read(id, "stdout"), "ready\n") })
	}
	for _, w := range []struct {
		id, command, message string
		grace                time.Duration
	}{
		{"polite", `trap 'echo bye; exit 5' TERM; echo ready; while :; do sleep 0.05; done`, "Command exited with status 5", -1},
		{"stubborn", `trap '' TERM; echo ready; while :; do sleep 0.05; done`, "Command terminated with signal Killed", 300 * time.Millisecond},
		{"at-once", `trap '' TERM; echo ready; while :; do sleep 0.05; done`, "Command terminated with signal Killed", 0},
		// A child in a session of its own does not survive its parent.
		{"tree", `setsid sh -c 'trap "" TERM HUP; echo $$ > child; echo ready; exec sleep 1000' & wait`, "Command terminated with signal Terminated", time.Second},
	} {
		f.launch(shell(w.id, w.command))
		ready(w.id)
		f.kill(w.id, w.grace)
		st := f.end(w.id)
		if st.GetState() != v1.TaskState_TASK_KILLED || st.GetMessage() != w.message {
			t.Errorf("%s: ended %v %q, want TASK_KILLED %q", w.id, st.GetState(), st.GetMessage(), w.message)
		}
		if !slices.Contains(f.states(w.id), v1.TaskState_TASK_KILLING) {
			t.Errorf("%s: states %v: no TASK_KILLING", w.id, f.states(w.id))
		}
	}
	if !strings.Contains(f.read("polite", "stdout"), "bye\n") {
		t.Error("the task could not do its work on SIGTERM")
	}
}

// A task that uses more than its memory. EXE-57, EXE-133, SCH-234, SCH-235
func TestMemoryLimit(t *testing.T) {
	needContainers(t)
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	f := newFramework(t, c, mesos.JSON, nil)
	f.launch(shell("greedy", "tail /dev/zero"))
	st := f.end("greedy")
	if st.GetState() != v1.TaskState_TASK_FAILED || st.GetReason() != v1.TaskStatus_REASON_CONTAINER_LIMITATION_MEMORY || st.GetSource() != v1.TaskStatus_SOURCE_AGENT {
		t.Errorf("ended %v", st)
	}
	if !strings.HasPrefix(st.GetMessage(), "Memory limit exceeded: Requested: ") || !strings.Contains(st.GetMessage(), "MEMORY STATISTICS:") {
		t.Errorf("message %q", st.GetMessage())
	}
	if r := st.GetLimitation().GetResources(); len(r) != 1 || r[0].GetName() != "mem" || r[0].GetScalar().GetValue() < 32 {
		t.Errorf("limitation %v", st.GetLimitation())
	}
}

// URIs by file and HTTP, with extraction; a failure fails the task before it starts. EXE-50
func TestFetch(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	var archive bytes.Buffer
	zip := gzip.NewWriter(&archive)
	w := tar.NewWriter(zip)
	for name, content := range map[string]string{"dir/inside": "from the archive\n"} {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(content))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, content); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zip.Close(); err != nil {
		t.Fatal(err)
	}
	files := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/a.tar.gz":
			_, _ = w.Write(archive.Bytes())
		case "/script":
			_, _ = io.WriteString(w, "#!/bin/sh\necho ran\n")
		default:
			http.NotFound(w, r)
		}
	}))
	defer files.Close()
	local := filepath.Join(t.TempDir(), "local.txt")
	if err := os.WriteFile(local, []byte("a local file\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	f := newFramework(t, c, mesos.JSON, nil)
	task := shell("fetch", "cat dir/inside local.txt && ./script")
	task.Command.Uris = []*v1.CommandInfo_URI{
		{Value: proto.String(files.URL + "/a.tar.gz")}, {Value: proto.String("file://" + local)}, {Value: proto.String(files.URL + "/script"), Executable: proto.Bool(true)},
	}
	f.launch(task)
	if st := f.end("fetch"); st.GetState() != v1.TaskState_TASK_FINISHED {
		t.Errorf("ended %v; stderr:\n%s", st, f.read("fetch", "stderr"))
	}
	if got, want := f.read("fetch", "stdout"), "from the archive\na local file\nran\n"; got != want {
		t.Errorf("stdout %q, want %q", got, want)
	}
	bad := shell("no-fetch", "true")
	bad.Command.Uris = []*v1.CommandInfo_URI{{Value: proto.String(files.URL + "/nope")}}
	f.launch(bad)
	st := f.end("no-fetch")
	if st.GetState() != v1.TaskState_TASK_FAILED || st.GetReason() != v1.TaskStatus_REASON_CONTAINER_LAUNCH_FAILED ||
		!strings.HasPrefix(st.GetMessage(), "Failed to launch container: Failed to fetch all URIs for container '") {
		t.Errorf("failed fetch: %v", st)
	}
	if len(f.status["no-fetch"]) != 1 {
		t.Errorf("states %v before the failure", f.states("no-fetch"))
	}
	if got := f.read("no-fetch", "stderr"); !strings.Contains(got, "404") {
		t.Errorf("stderr %q does not name the cause", got)
	}
}

// A custom executor over the v1 executor API: several tasks in one container, messages both ways, kill,
// and what it ends with. EXE-20, EXE-24, EXE-25, EXE-29, EXE-71, EXE-132, EXE-140, EXE-141, EXE-198,
// SCH-220, SCH-259
func TestCustomExecutor(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	f := newFramework(t, c, mesos.JSON, nil)
	info := &v1.ExecutorInfo{
		Type: v1.ExecutorInfo_CUSTOM.Enum(), ExecutorId: &v1.ExecutorID{Value: proto.String("echo")}, FrameworkId: f.info.GetId(), Name: proto.String("echo"),
		Command:   &v1.CommandInfo{Shell: proto.Bool(false), Value: proto.String(self), Arguments: []string{"executor", "echo-executor"}},
		Resources: []*v1.Resource{scalar("cpus", 0.1), scalar("mem", 64)},
	}
	custom := func(id, data string) *v1.TaskInfo {
		return &v1.TaskInfo{Name: proto.String(id), TaskId: taskID(id), Resources: []*v1.Resource{scalar("cpus", 0.1), scalar("mem", 32)}, Executor: info, Data: []byte(data)}
	}
	f.launch(custom("a", "payload"), custom("b", ""))
	a, b := f.reach("a", v1.TaskState_TASK_RUNNING), f.reach("b", v1.TaskState_TASK_RUNNING)
	if string(a.GetData()) != "payload" {
		t.Errorf("data of the task came back as %q", a.GetData())
	}
	if x, y := a.GetContainerStatus().GetContainerId().GetValue(), b.GetContainerStatus().GetContainerId().GetValue(); x == "" || x != y {
		t.Errorf("containers %q and %q, want one for both", x, y)
	}
	f.launch(custom("c", ""))
	f.reach("c", v1.TaskState_TASK_RUNNING)
	f.call(&v1scheduler.Call{Type: v1scheduler.Call_MESSAGE.Enum(), Message: &v1scheduler.Call_Message{AgentId: a.GetAgentId(), ExecutorId: info.ExecutorId, Data: []byte("ping")}})
	m := f.until(func(ev *v1scheduler.Event) bool { return ev.GetType() == v1scheduler.Event_MESSAGE }).GetMessage()
	if string(m.GetData()) != "echo ping" || m.GetExecutorId().GetValue() != "echo" {
		t.Errorf("message %v", m)
	}
	f.kill("a", -1)
	if st := f.end("a"); st.GetState() != v1.TaskState_TASK_KILLED {
		t.Errorf("killed task ended %v", st)
	}
	// Its end fails the tasks that are left, after a FAILURE with the raw wait status.
	f.call(&v1scheduler.Call{Type: v1scheduler.Call_MESSAGE.Enum(), Message: &v1scheduler.Call_Message{AgentId: a.GetAgentId(), ExecutorId: info.ExecutorId, Data: []byte("exit 3")}})
	failure := f.until(func(ev *v1scheduler.Event) bool { return ev.GetType() == v1scheduler.Event_FAILURE }).GetFailure()
	if failure.GetExecutorId().GetValue() != "echo" || failure.GetStatus() != 3<<8 {
		t.Errorf("failure %v, want status %d", failure, 3<<8)
	}
	for _, id := range []string{"b", "c"} {
		if st := f.end(id); st.GetState() != v1.TaskState_TASK_FAILED || st.GetReason() != v1.TaskStatus_REASON_EXECUTOR_TERMINATED || !strings.HasPrefix(st.GetMessage(), "Executor terminated") {
			t.Errorf("task %s of an ended executor: %v", id, st)
		}
	}
}

// echoExecutor runs tasks that do nothing until they are killed and answers messages.
func echoExecutor() int {
	fid, eid := &v1.FrameworkID{Value: proto.String(os.Getenv("MESOS_FRAMEWORK_ID"))}, &v1.ExecutorID{Value: proto.String(os.Getenv("MESOS_EXECUTOR_ID"))}
	post := func(call *v1executor.Call) *http.Response {
		call.FrameworkId, call.ExecutorId = fid, eid
		body, err := mesos.JSON.Marshal(call)
		if err != nil {
			panic(err)
		}
		resp, err := http.Post("http://"+os.Getenv("MESOS_AGENT_ENDPOINT")+"/api/v1/executor", "application/json", bytes.NewReader(body))
		if err != nil {
			panic(err)
		}
		return resp
	}
	n := byte(0)
	update := func(id *v1.TaskID, state v1.TaskState, data []byte) {
		n++
		uuid := bytes.Repeat([]byte{0x40 + n}, 16)
		uuid[6], uuid[8] = 0x40, 0x80
		resp := post(&v1executor.Call{Type: v1executor.Call_UPDATE.Enum(), Update: &v1executor.Call_Update{Status: &v1.TaskStatus{
			TaskId: id, State: state.Enum(), Source: v1.TaskStatus_SOURCE_EXECUTOR.Enum(), Uuid: uuid, Data: data,
		}}})
		text, _ := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusAccepted {
			fmt.Fprintf(os.Stderr, "update: %s %s\n", resp.Status, text)
		}
	}
	resp := post(&v1executor.Call{Type: v1executor.Call_SUBSCRIBE.Enum(), Subscribe: &v1executor.Call_Subscribe{}})
	r := mesos.NewRecordReader(resp.Body, 1<<20)
	for {
		record, err := r.Next()
		if err != nil {
			return 1
		}
		ev := new(v1executor.Event)
		if err := mesos.JSON.Unmarshal(record, ev); err != nil {
			panic(err)
		}
		switch ev.GetType() {
		case v1executor.Event_LAUNCH:
			update(ev.GetLaunch().GetTask().GetTaskId(), v1.TaskState_TASK_RUNNING, ev.GetLaunch().GetTask().GetData())
		case v1executor.Event_KILL:
			update(ev.GetKill().GetTaskId(), v1.TaskState_TASK_KILLED, nil)
		case v1executor.Event_MESSAGE:
			data := string(ev.GetMessage().GetData())
			if code, ok := strings.CutPrefix(data, "exit "); ok {
				n, _ := strconv.Atoi(code)
				return n
			}
			post(&v1executor.Call{Type: v1executor.Call_MESSAGE.Enum(), Message: &v1executor.Call_Message{Data: []byte("echo " + data)}}).Body.Close()
		case v1executor.Event_SHUTDOWN:
			return 0
		}
	}
}

// The daemon is killed with -9 again and again while tasks start, run and end: each task runs once and
// ends with its true status. EXE-149, EXE-157, EXE-159, EXE-167, EXE-172, CLU-31
func TestKill9(t *testing.T) {
	needContainers(t)
	rounds := 20
	if testing.Short() {
		rounds = 5
	}
	c := startCluster(t, "--resources", "cpus:64;mem:8192;disk:1000")
	f := newFramework(t, c, mesos.Protobuf, nil)
	const tasks = 30
	for i := range tasks {
		// Each leaves a mark when it runs: a second run would leave a second one.
		id := fmt.Sprintf("t%02d", i)
		f.launch(shell(id, fmt.Sprintf("echo x >> %s/mark-%s; sleep %d.%d; exit %d", c.dir, id, i/8, i%10, i%7)))
		if i >= tasks-rounds {
			// The crash comes at once, when the container is being made, or while the task runs.
			for i%3 > 0 && len(f.status[id]) < i%3 {
				f.next()
			}
			f.body.Close()
			c.kill9()
			c.start()
			f.subscribe()
		}
	}
	// Tasks of an ACCEPT that the crash swallowed are known to nobody: they are asked for, with the agent,
	// which is back by now.
	agent := f.offer().GetAgentId()
	var ask []*v1scheduler.Call_Reconcile_Task
	for i := range tasks {
		if st := f.last(fmt.Sprintf("t%02d", i)); st != nil && mesos.Terminal(st.GetState()) {
			continue // acknowledged: the cluster has forgotten it
		}
		ask = append(ask, &v1scheduler.Call_Reconcile_Task{TaskId: taskID(fmt.Sprintf("t%02d", i)), AgentId: agent})
	}
	f.call(&v1scheduler.Call{Type: v1scheduler.Call_RECONCILE.Enum(), Reconcile: &v1scheduler.Call_Reconcile{Tasks: ask}})
	ran := 0
	for i := range tasks {
		id := fmt.Sprintf("t%02d", i)
		for f.last(id) == nil || !mesos.Terminal(f.last(id).GetState()) && f.last(id).GetState() != v1.TaskState_TASK_UNKNOWN {
			f.next()
		}
		st := f.last(id)
		mark, err := os.ReadFile(filepath.Join(c.dir, "mark-"+id))
		switch st.GetState() {
		case v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FAILED:
			if want := fmt.Sprintf("Command exited with status %d", i%7); st.GetMessage() != want && st.GetReason() != v1.TaskStatus_REASON_RECONCILIATION {
				t.Errorf("%s: %v %v %q, want %q", id, st.GetState(), st.GetReason(), st.GetMessage(), want)
			}
			if (st.GetState() == v1.TaskState_TASK_FINISHED) != (i%7 == 0) {
				t.Errorf("%s: %v with exit status %d", id, st.GetState(), i%7)
			}
			ran++
			if string(mark) != "x\n" {
				t.Errorf("%s ran %d times", id, len(mark)/2)
			}
		case v1.TaskState_TASK_UNKNOWN, v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_GONE:
			// Only what the agent never heard of may be lost.
			if err == nil || st.GetReason() != v1.TaskStatus_REASON_RECONCILIATION {
				t.Errorf("%s is %v, ran: %t", id, st, err == nil)
			}
		default:
			t.Errorf("%s: %v", id, st)
		}
		// The states never go backwards, whatever was repeated (SCH-226).
		rank := 0
		for _, s := range f.states(id) {
			n := map[v1.TaskState]int{v1.TaskState_TASK_STAGING: 1, v1.TaskState_TASK_STARTING: 2, v1.TaskState_TASK_RUNNING: 3}[s]
			if n == 0 {
				n = 4
			}
			if n < rank {
				t.Errorf("%s: states %v", id, f.states(id))
			}
			rank = n
		}
	}
	if ran < tasks-rounds/3-1 {
		t.Errorf("only %d of %d tasks ran: those that had said STARTING before the crash must", ran, tasks)
	}
}

// The agent's sandbox files cannot be used to read anything else. EXE-181, OPR-36
func TestSandboxAttacks(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	secret := filepath.Join(c.dir, "secret")
	if err := os.WriteFile(secret, []byte("do not read me\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	f := newFramework(t, c, mesos.JSON, nil)
	f.launch(shell("attack", fmt.Sprintf("ln -s %s link; ln -s /etc etc; ln -s ../../../../../../../../../.. up; mkfifo fifo; mkdir d; ln -s ../stdout d/ok; echo fine", secret)))
	f.end("attack")
	base := "/frameworks/" + f.info.GetId().GetValue() + "/executors/attack/runs/latest/"
	for _, path := range []string{"link", "etc/passwd", "up/secret", "../../../../../../../../secret", "fifo", "d/../../../latest/../../../../secret", "%2e%2e/%2e%2e/secret"} {
		for _, endpoint := range []string{"/files/download?path=", "/files/read?offset=0&path="} {
			code, body := c.get(c.agent, endpoint+base+path)
			if code == http.StatusOK || strings.Contains(body, "do not read") || strings.Contains(body, "root:") {
				t.Errorf("%s%s: %d %.80q", endpoint, path, code, body)
			}
		}
	}
	if code, body := c.get(c.agent, "/files/download?path="+base+"d/ok"); code != http.StatusOK || body != "fine\n" {
		t.Errorf("a link that stays inside: %d %q", code, body)
	}
}

// A framework that never reads its stream is cut off and nobody else notices. SCH-291
func TestSilentFramework(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	body := `{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"silent","failover_timeout":0}}}`
	resp, err := http.Post("http://"+c.master+"/api/v1/scheduler", "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	f := newFramework(t, c, mesos.JSON, nil)
	// The silent one holds the only offer until its stream ends: closing it gives the rest to others.
	resp.Body.Close()
	f.launch(shell("after", "true"))
	if st := f.end("after"); st.GetState() != v1.TaskState_TASK_FINISHED {
		t.Errorf("ended %v", st)
	}
}

// The command line against a real node, with Ctrl-C. EXE-60, EXE-62
func TestRunCommand(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	run := func(args ...string) *exec.Cmd {
		cmd := exec.Command("/proc/self/exe", append([]string{"run", "--master", c.master, "--cpus", "0.1", "--mem", "32"}, args...)...)
		cmd.Env = append(os.Environ(), asClusterd+"=1")
		return cmd
	}
	var out, errOut bytes.Buffer
	cmd := run("-e", "WHO=you", "--name", "hi", "--", "sh", "-c", `echo "hello $WHO"; echo oops >&2; exit 7`)
	cmd.Stdout, cmd.Stderr = &out, &errOut
	err := cmd.Run()
	if cmd.ProcessState.ExitCode() != 7 || out.String() != "hello you\n" || errOut.String() != "oops\n" {
		t.Errorf("run: %v, stdout %q, stderr %q", err, out.String(), errOut.String())
	}
	cmd = run("--name", "loop", "--", "sh", "-c", `trap 'echo stopped; exit 0' TERM; echo ready; while :; do sleep 0.05; done`)
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	lines := bufio.NewScanner(stdout)
	if !lines.Scan() || lines.Text() != "ready" {
		t.Fatalf("first line %q", lines.Text())
	}
	if err := cmd.Process.Signal(os.Interrupt); err != nil {
		t.Fatal(err)
	}
	if !lines.Scan() || lines.Text() != "stopped" {
		t.Errorf("after Ctrl-C: %q", lines.Text())
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("run after Ctrl-C: %v", err)
	}
	out.Reset()
	cmd = run("--detach", "--name", "far", "--instances", "2", "--", "sleep", "1000")
	cmd.Stdout = &out
	if err := cmd.Run(); err != nil || out.String() != "far.1\nfar.2\n" {
		t.Errorf("run --detach: %v, %q", err, out.String())
	}
	_, state := c.get(c.master, "/tasks")
	var tasks struct {
		Tasks []struct{ ID, State string } `json:"tasks"`
	}
	if err := json.Unmarshal([]byte(state), &tasks); err != nil {
		t.Fatal(err)
	}
	alive := 0
	for _, task := range tasks.Tasks {
		if strings.HasPrefix(task.ID, "far.") && task.State == "TASK_RUNNING" {
			alive++
		}
	}
	if alive != 2 {
		t.Errorf("%d detached tasks run, want 2:\n%s", alive, state)
	}
	kill := exec.Command("/proc/self/exe", "kill", "--master", c.master, "far.1", "far.2")
	kill.Env = append(os.Environ(), asClusterd+"=1")
	if text, err := kill.CombinedOutput(); err != nil {
		t.Errorf("kill: %v %s", err, text)
	}
}

// waitFor polls for something that has no event: a file of a sandbox, seen only by reading it.
func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-tick.C:
		case <-deadline.C:
			t.Fatal("did not come about")
		}
	}
}

// The example framework finishes with the right count although the node is killed in the middle of it.
// SCH-94, SCH-274, EXE-147, EXE-153
func TestPrimes(t *testing.T) {
	needContainers(t)
	primes := filepath.Join(t.TempDir(), "primes")
	if text, err := exec.Command("go", "build", "-o", primes, "clusterd/scripts/examples/primes").CombinedOutput(); err != nil {
		t.Fatalf("build primes: %v\n%s", err, text)
	}
	c := startCluster(t, "--resources", "cpus:4;mem:4096;disk:1000")
	cmd := exec.Command(primes, "-master", c.master, "-n", "10000000", "-tasks", "20", "-slow", "300ms")
	var out, errOut bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errOut
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	finished := func() int {
		_, body := c.get(c.master, "/metrics/snapshot")
		var metrics map[string]float64
		if err := json.Unmarshal([]byte(body), &metrics); err != nil {
			t.Fatal(err)
		}
		return int(metrics["master/tasks_finished"])
	}
	waitFor(t, func() bool { return finished() >= 3 })
	c.kill9()
	c.start()
	select {
	case err := <-ended:
		if err != nil || !strings.HasPrefix(out.String(), "664579 primes up to 10000000 ") || !strings.Contains(out.String(), "correct") {
			t.Errorf("primes: %v\n%s%s", err, out.String(), errOut.String())
		}
	case <-time.After(2 * patience):
		_ = cmd.Process.Kill()
		<-ended
		t.Fatalf("primes does not end\n%s", errOut.String())
	}
}

// An executor that no agent comes back to gives up; the agent that comes later still knows how its
// task ended. EXE-156, EXE-157
func TestExecutorGivesUp(t *testing.T) {
	needContainers(t)
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000", "--recovery-timeout", "1secs")
	f := newFramework(t, c, mesos.Protobuf, nil)
	signal := filepath.Join(c.dir, "go")
	wait := fmt.Sprintf("while [ ! -e %s ]; do sleep 0.05; done; ", signal)
	want := map[string]string{
		"finishes": "Command exited with status 0", "fails": "Command exited with status 3",
		"dies": "Command terminated with signal Killed", "stays": "Command terminated with signal Terminated",
	}
	f.launch(shell("finishes", wait+"exit 0"), shell("fails", wait+"exit 3"), shell("dies", wait+"kill -9 $$"), shell("stays", "exec sleep 1000"))
	var shims []uint32
	for id := range want {
		shims = append(shims, f.reach(id, v1.TaskState_TASK_RUNNING).GetContainerStatus().GetExecutorPid())
	}
	f.body.Close()
	c.kill9()
	if err := os.WriteFile(signal, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	waitFor(t, func() bool {
		return !slices.ContainsFunc(shims, func(pid uint32) bool { _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); return err == nil })
	})
	c.start()
	f.subscribe()
	for id, message := range want {
		st := f.end(id)
		if st.GetMessage() != message || (st.GetState() == v1.TaskState_TASK_FINISHED) != (id == "finishes") {
			t.Errorf("%s: %v %q, want %q", id, st.GetState(), st.GetMessage(), message)
		}
	}
}
