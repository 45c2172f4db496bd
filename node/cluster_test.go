package node_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/isolate"
	"clusterd/node/cli"
	"clusterd/node/executor"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// The test binary is clusterd too: re-executed with this variable it is the command line, and as a
// shim or container init it hands over as main does.
const asClusterd = "CLUSTERD_TEST_MAIN"

func TestMain(m *testing.M) {
	isolate.SetSupervisor(func(ctx context.Context, env []string, start func(isolate.Command) (*isolate.Process, error), stderr *os.File) int {
		return executor.Run(ctx, env, launcher(start), stderr)
	})
	isolate.MaybeInit()
	switch {
	case os.Getenv(asClusterd) != "":
		os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr))
	case os.Getenv("MESOS_EXECUTOR_ID") != "" && len(os.Args) > 1 && os.Args[1] == "echo-executor":
		os.Exit(echoExecutor())
	}
	os.Exit(m.Run())
}

type launcher func(isolate.Command) (*isolate.Process, error)

func (l launcher) Start(c executor.Command) (executor.Process, error) {
	p, err := l(isolate.Command(c))
	if err != nil {
		return nil, err
	}
	return process{p}, nil
}

type process struct{ *isolate.Process }

func (p process) Wait() executor.Exit { return executor.Exit(p.Process.Wait()) }

// patience bounds every wait for an event: it is only reached when something is broken.
const patience = 30 * time.Second

// cluster is one `clusterd dev` process.
type cluster struct {
	t      *testing.T
	dir    string
	args   []string
	master string // HOST:PORT
	agent  string
	client *http.Client // nil: the default one
	cmd    *exec.Cmd
	log    *bytes.Buffer
	ended  chan error
}

// startCluster runs clusterd dev with a data directory and ports of its own.
func startCluster(t *testing.T, args ...string) *cluster {
	t.Helper()
	c := &cluster{t: t, dir: t.TempDir(), args: args, master: freePort(t), agent: freePort(t)}
	for _, dir := range []string{c.dir, filepath.Dir(c.dir)} { // tasks of other users have to reach their sandboxes
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	c.start()
	t.Cleanup(func() {
		c.stop()
		if t.Failed() {
			t.Logf("clusterd wrote:\n%s", c.log)
		}
	})
	return c
}

func freePort(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// start begins a process and returns when it is ready.
func (c *cluster) start() {
	c.t.Helper()
	c.cmd = exec.Command("/proc/self/exe", append([]string{"dev", "--listen", c.master, "--agent-listen", c.agent, "--peer-listen", "127.0.0.1:0",
		"--data-dir", c.dir, "--cgroups-root", "clusterd-test-" + filepath.Base(c.dir), "--logging-level", "info"}, c.args...)...)
	c.cmd.Env = append(os.Environ(), asClusterd+"=1")
	out, in := io.Pipe()
	c.log = new(bytes.Buffer)
	c.cmd.Stdout, c.cmd.Stderr = in, in
	if err := c.cmd.Start(); err != nil {
		c.t.Fatal(err)
	}
	ready := make(chan bool, 1)
	lines := make(chan struct{})
	go func() {
		defer close(lines)
		r := bufio.NewScanner(out)
		for r.Scan() {
			fmt.Fprintln(c.log, r.Text())
			if strings.Contains(r.Text(), "is ready after") {
				ready <- true
			}
		}
	}()
	ended := make(chan error, 1)
	c.ended = ended
	cmd := c.cmd
	go func() {
		err := cmd.Wait()
		in.Close()
		<-lines
		ended <- err
	}()
	select {
	case <-ready:
	case err := <-ended:
		ended <- err
		c.t.Fatalf("clusterd ended at its start: %v\n%s", err, c.log)
	case <-time.After(patience):
		c.t.Fatalf("clusterd is not ready\n%s", c.log)
	}
}

// kill9 ends the process as a crash would.
func (c *cluster) kill9() {
	c.t.Helper()
	if err := c.cmd.Process.Kill(); err != nil {
		c.t.Fatal(err)
	}
	<-c.ended
}

// stop ends the process as Ctrl-C does, and checks that nothing is left of it.
func (c *cluster) stop() {
	c.t.Helper()
	if c.cmd.ProcessState != nil {
		return
	}
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		c.t.Fatal(err)
	}
	select {
	case err := <-c.ended:
		if err != nil {
			c.t.Errorf("clusterd dev ended with %v", err)
		}
	case <-time.After(patience):
		_ = c.cmd.Process.Signal(syscall.SIGQUIT)
		<-c.ended
		c.t.Errorf("clusterd dev did not stop")
	}
	if left := c.leftovers(); left != "" {
		c.t.Errorf("left behind: %s", left)
	}
}

// leftovers names processes, cgroups and mounts that belong to this cluster.
func (c *cluster) leftovers() string {
	var left []string
	procs, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		c.t.Fatal(err)
	}
	for _, p := range procs {
		env, err := os.ReadFile(p)
		if err == nil && bytes.Contains(env, []byte("="+c.dir+"/")) && !strings.Contains(p, fmt.Sprintf("/%d/", os.Getpid())) {
			left = append(left, p)
		}
	}
	cgroups, err := filepath.Glob("/sys/fs/cgroup/*/clusterd-test-" + filepath.Base(c.dir) + "/*/")
	if err != nil {
		c.t.Fatal(err)
	}
	left = append(left, cgroups...)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err == nil && bytes.Contains(mounts, []byte(c.dir)) {
		left = append(left, "mounts")
	}
	for _, dir := range []string{"/sys/fs/cgroup/*/", "/sys/fs/cgroup/"} {
		own, _ := filepath.Glob(dir + "clusterd-test-" + filepath.Base(c.dir))
		for _, g := range own {
			_ = os.Remove(g) // the root cgroup stays for the next start; it is the test's to remove
		}
	}
	return strings.Join(left, " ")
}

// http is what reaches the cluster.
func (c *cluster) http() *http.Client {
	if c.client != nil {
		return c.client
	}
	return http.DefaultClient
}

func (c *cluster) get(addr, path string) (int, string) {
	c.t.Helper()
	resp, err := c.http().Get("http://" + addr + path)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return resp.StatusCode, string(body)
}

// framework is a scheduler over the v1 API.
type framework struct {
	t      *testing.T
	c      *cluster
	media  mesos.MediaType
	info   *v1.FrameworkInfo
	stream string
	body   io.Closer
	events chan *v1scheduler.Event // closed at the end of the stream
	offers []*v1.Offer
	// status holds all updates of each task in the order in which they came, repeats included.
	status map[string][]*v1.TaskStatus
	noAck  bool
}

func newFramework(t *testing.T, c *cluster, media mesos.MediaType, change func(*v1.FrameworkInfo)) *framework {
	f := describeFramework(t, c, media, change)
	f.subscribe()
	t.Cleanup(func() { f.body.Close() })
	return f
}

// describeFramework is a framework that has not subscribed yet.
func describeFramework(t *testing.T, c *cluster, media mesos.MediaType, change func(*v1.FrameworkInfo)) *framework {
	f := &framework{t: t, c: c, media: media, status: make(map[string][]*v1.TaskStatus), info: &v1.FrameworkInfo{
		User: proto.String("root"), Name: proto.String(t.Name()), Checkpoint: proto.Bool(true), FailoverTimeout: proto.Float64(600), Roles: []string{"*"},
	}}
	for _, n := range []v1.FrameworkInfo_Capability_Type{
		v1.FrameworkInfo_Capability_MULTI_ROLE, v1.FrameworkInfo_Capability_PARTITION_AWARE, v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT,
	} {
		f.info.Capabilities = append(f.info.Capabilities, &v1.FrameworkInfo_Capability{Type: n.Enum()})
	}
	if change != nil {
		change(f.info)
	}
	return f
}

func (f *framework) subscribe() {
	f.t.Helper()
	if err := f.trySubscribe(); err != nil {
		f.t.Fatal(err)
	}
}

// trySubscribe returns why the master does not take the framework, if it does not. From then on calls go to
// the one that did, which may be another that the first has named.
func (f *framework) trySubscribe() error {
	f.t.Helper()
	f.stream, f.offers = "", nil
	resp, err := f.send(&v1scheduler.Call{Type: v1scheduler.Call_SUBSCRIBE.Enum(), FrameworkId: f.info.Id, Subscribe: &v1scheduler.Call_Subscribe{FrameworkInfo: f.info}})
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		return errors.Join(fmt.Errorf("SUBSCRIBE at %s: %s %s", f.c.master, resp.Status, text), err)
	}
	f.c.master = resp.Request.URL.Host
	f.stream, f.body = resp.Header.Get("Mesos-Stream-Id"), resp.Body
	events := make(chan *v1scheduler.Event, 4096)
	f.events = events
	go func() {
		defer close(events)
		r := mesos.NewRecordReader(resp.Body, 64<<20)
		for {
			record, err := r.Next()
			if err != nil {
				return
			}
			ev := new(v1scheduler.Event)
			if err := f.media.Unmarshal(record, ev); err != nil {
				f.t.Errorf("event %q: %v", record, err)
				return
			}
			events <- ev
		}
	}()
	var ev *v1scheduler.Event
	select {
	case ev = <-events:
	case <-time.After(patience):
	}
	if ev.GetType() != v1scheduler.Event_SUBSCRIBED {
		resp.Body.Close()
		return fmt.Errorf("SUBSCRIBE at %s: first event is %v, want SUBSCRIBED", f.c.master, ev)
	}
	f.info.Id = ev.GetSubscribed().GetFrameworkId()
	return nil
}

func (f *framework) post(call *v1scheduler.Call) *http.Response {
	f.t.Helper()
	resp, err := f.send(call)
	if err != nil {
		f.t.Fatal(err)
	}
	return resp
}

// send returns an error if there is no answer.
func (f *framework) send(call *v1scheduler.Call) (*http.Response, error) {
	f.t.Helper()
	body, err := f.media.Marshal(call)
	if err != nil {
		f.t.Fatal(err)
	}
	req, err := http.NewRequest(http.MethodPost, "http://"+f.c.master+"/api/v1/scheduler", bytes.NewReader(body))
	if err != nil {
		f.t.Fatal(err)
	}
	req.Header.Set("Content-Type", f.media.String())
	req.Header.Set("Accept", f.media.String())
	if f.stream != "" {
		req.Header.Set("Mesos-Stream-Id", f.stream)
	}
	return f.c.http().Do(req)
}

// call sends a call that must be answered 202.
func (f *framework) call(call *v1scheduler.Call) {
	f.t.Helper()
	call.FrameworkId = f.info.Id
	resp := f.post(call)
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		text, _ := io.ReadAll(resp.Body)
		f.t.Fatalf("%v: %s %s", call.GetType(), resp.Status, text)
	}
}

// next waits for one event, keeps offers and statuses and acknowledges updates.
func (f *framework) next() *v1scheduler.Event {
	f.t.Helper()
	silence := time.After(patience)
again:
	select {
	case ev, ok := <-f.events:
		if !ok {
			f.t.Fatal("the event stream has ended")
		}
		switch ev.GetType() {
		case v1scheduler.Event_HEARTBEAT:
			goto again // no progress
		case v1scheduler.Event_OFFERS:
			f.offers = append(f.offers, ev.GetOffers().GetOffers()...)
		case v1scheduler.Event_RESCIND:
			for i, o := range f.offers {
				if o.GetId().GetValue() == ev.GetRescind().GetOfferId().GetValue() {
					f.offers = append(f.offers[:i], f.offers[i+1:]...)
					break
				}
			}
		case v1scheduler.Event_UPDATE:
			st := ev.GetUpdate().GetStatus()
			id := st.GetTaskId().GetValue()
			f.status[id] = append(f.status[id], st)
			if len(st.GetUuid()) > 0 && !f.noAck {
				f.call(&v1scheduler.Call{Type: v1scheduler.Call_ACKNOWLEDGE.Enum(), Acknowledge: &v1scheduler.Call_Acknowledge{
					AgentId: st.GetAgentId(), TaskId: st.GetTaskId(), Uuid: st.GetUuid(),
				}})
			}
		}
		return ev
	case <-silence:
		f.t.Fatalf("no event within %v; statuses so far: %v", patience, f.status)
	}
	return nil
}

// until takes events until one satisfies want.
func (f *framework) until(want func(*v1scheduler.Event) bool) *v1scheduler.Event {
	f.t.Helper()
	for {
		if ev := f.next(); want(ev) {
			return ev
		}
	}
}

// offer waits for an offer and takes it off the list.
func (f *framework) offer() *v1.Offer {
	f.t.Helper()
	for len(f.offers) == 0 {
		f.next()
	}
	o := f.offers[0]
	f.offers = f.offers[1:]
	return o
}

// launch accepts an offer with tasks; agent ids are filled in.
func (f *framework) launch(tasks ...*v1.TaskInfo) {
	f.t.Helper()
	o := f.offer()
	for _, t := range tasks {
		t.AgentId = o.GetAgentId()
	}
	f.call(&v1scheduler.Call{Type: v1scheduler.Call_ACCEPT.Enum(), Accept: &v1scheduler.Call_Accept{
		OfferIds: []*v1.OfferID{o.GetId()}, Filters: &v1.Filters{RefuseSeconds: proto.Float64(0)},
		Operations: []*v1.Offer_Operation{{Type: v1.Offer_Operation_LAUNCH.Enum(), Launch: &v1.Offer_Operation_Launch{TaskInfos: tasks}}},
	}})
}

func (f *framework) kill(task string, grace time.Duration) {
	f.t.Helper()
	k := &v1scheduler.Call_Kill{TaskId: taskID(task)}
	if grace >= 0 {
		k.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(int64(grace))}}
	}
	f.call(&v1scheduler.Call{Type: v1scheduler.Call_KILL.Enum(), Kill: k})
}

// last is the newest status of a task, nil if there is none.
func (f *framework) last(task string) *v1.TaskStatus {
	if all := f.status[task]; len(all) > 0 {
		return all[len(all)-1]
	}
	return nil
}

// reach waits until the task is in the state, or in a terminal one, and returns that status.
func (f *framework) reach(task string, state v1.TaskState) *v1.TaskStatus {
	f.t.Helper()
	for {
		if st := f.last(task); st != nil && (st.GetState() == state || mesos.Terminal(st.GetState())) {
			if st.GetState() != state {
				f.t.Fatalf("task %s is %v (%v: %s), want %v", task, st.GetState(), st.GetReason(), st.GetMessage(), state)
			}
			return st
		}
		f.next()
	}
}

// end waits for the terminal status of a task.
func (f *framework) end(task string) *v1.TaskStatus {
	f.t.Helper()
	for {
		if st := f.last(task); st != nil && mesos.Terminal(st.GetState()) {
			return st
		}
		f.next()
	}
}

// states are the states of a task in the order of its updates, repeats left out.
func (f *framework) states(task string) []v1.TaskState {
	var out []v1.TaskState
	for _, st := range f.status[task] {
		if len(out) == 0 || out[len(out)-1] != st.GetState() {
			out = append(out, st.GetState())
		}
	}
	return out
}

// read returns a file of the sandbox in which the task ran.
func (f *framework) read(task, file string) string {
	f.t.Helper()
	executor := f.last(task).GetExecutorId().GetValue()
	if executor == "" {
		executor = task
	}
	code, body := f.c.get(f.c.agent, "/files/download?path=/frameworks/"+f.info.GetId().GetValue()+"/executors/"+executor+"/runs/latest/"+file)
	if code != http.StatusOK {
		f.t.Fatalf("file %s of task %s: %d %s", file, task, code, body)
	}
	return body
}

func taskID(id string) *v1.TaskID { return &v1.TaskID{Value: proto.String(id)} }

func scalar(name string, value float64) *v1.Resource {
	return &v1.Resource{Name: proto.String(name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(value)}}
}

// shell is a small command task for /bin/sh.
func shell(id, command string) *v1.TaskInfo {
	return &v1.TaskInfo{
		Name: proto.String(id), TaskId: taskID(id), Resources: []*v1.Resource{scalar("cpus", 0.1), scalar("mem", 32)},
		Command: &v1.CommandInfo{Value: proto.String(command)},
	}
}

// needContainers skips where containers are not possible.
func needContainers(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("needs root for containers and cgroups")
	}
}
