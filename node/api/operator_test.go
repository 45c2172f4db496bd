package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1agent"
	"clusterd/node/mesos/v1master"

	"google.golang.org/protobuf/proto"
)

// recordedRead is the answer of a real Mesos to a read call.
type recordedRead struct {
	Name     string          `json:"name"`
	Response json.RawMessage `json:"response"`
}

func recordedReads(t *testing.T) []recordedRead {
	t.Helper()
	b, err := os.ReadFile("testdata/operator_reads.json")
	if err != nil {
		t.Fatal(err)
	}
	var rows []recordedRead
	if err := json.Unmarshal(b, &rows); err != nil {
		t.Fatal(err)
	}
	return rows
}

// coreForm takes the older form of reservations out of resources, as the cores do not hold it.
func coreForm(lists ...[]*v1.Resource) {
	for _, list := range lists {
		for _, r := range list {
			r.Role, r.Reservation = nil, nil
		}
	}
}

func coreState(state *v1master.Response_GetState) *v1master.Response_GetState {
	for _, a := range state.GetGetAgents().GetAgents() {
		coreForm(a.TotalResources, a.AllocatedResources, a.OfferedResources)
	}
	for _, f := range state.GetGetFrameworks().GetFrameworks() {
		coreForm(f.AllocatedResources, f.OfferedResources)
		f.OfferConstraints = nil
	}
	return state
}

// Read calls are answered byte by byte as a real master did, from a view with the same facts.
//
// OPR-11 OPR-13 OPR-31 OPR-32 OPR-33 OPR-34 OPR-38 OPR-39 OPR-40 OPR-41 OPR-42 OPR-44 OPR-46
func TestMasterReads(t *testing.T) {
	checked := 0
	for _, row := range recordedReads(t) {
		name, ok := strings.CutPrefix(row.Name, "master ")
		if !ok {
			continue
		}
		response := fromJSON(t, row.Response, new(v1master.Response))
		cluster := newTestCluster()
		cluster.flags = flagMap(response.GetGetFlags().GetFlags())
		cluster.metrics = metricMap(response.GetGetMetrics().GetMetrics())
		state := response.GetState
		switch response.GetType() {
		case v1master.Response_GET_LOGGING_LEVEL, v1master.Response_GET_OPERATIONS, v1master.Response_GET_WEIGHTS,
			v1master.Response_GET_MAINTENANCE_STATUS, v1master.Response_GET_MAINTENANCE_SCHEDULE, v1master.Response_GET_QUOTA:
			if w := post(cluster.master(), "/api/v1", `{"type":"`+response.GetType().String()+`"}`); w.Code != 501 {
				t.Errorf("%s: status %d", name, w.Code)
			}
			continue
		case v1master.Response_GET_STATE:
		case v1master.Response_GET_MASTER:
			cluster.state.view.Info = response.GetMaster.MasterInfo
		case v1master.Response_GET_ROLES:
			state = rolesState(t)
		default:
			state = &v1master.Response_GetState{
				GetTasks: response.GetTasks, GetAgents: response.GetAgents, GetFrameworks: response.GetFrameworks, GetExecutors: response.GetExecutors,
			}
		}
		cluster.state.view.State = coreState(state)
		before := proto.Clone(state)
		call := `{"type":"` + response.GetType().String() + `","get_metrics":{"timeout":{"nanoseconds":5000000000}}}`
		w := post(cluster.master(), "/master/api/v1", call)
		if w.Code != 200 {
			t.Errorf("%s: status %d %s", name, w.Code, w.Body)
			continue
		}
		compareText(t, name, w.Body.String(), string(row.Response))
		if !proto.Equal(before, state) {
			t.Errorf("%s changed the view", name)
		}
		checkProtobuf(t, name, post(cluster.master(), "/api/v1", call, "Accept", "application/x-protobuf").Body.Bytes(),
			response, new(v1master.Response))
		checked++
	}
	if checked < 12 {
		t.Errorf("only %d calls were checked", checked)
	}
}

// checkProtobuf compares an answer in protobuf with the JSON one (OPR-14).
func checkProtobuf(t *testing.T, name string, got []byte, want, into proto.Message) {
	t.Helper()
	if err := proto.Unmarshal(got, into); err != nil {
		t.Errorf("%s: %v", name, err)
		return
	}
	a, err := mesos.MarshalJSON(into)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(name, "GET_STATE") || strings.Contains(name, "GET_AGENTS") || strings.Contains(name, "GET_FRAMEWORKS") {
		return // The expected message was changed into the form of the core.
	}
	b, err := mesos.MarshalJSON(want)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a, b) {
		t.Errorf("%s: protobuf differs\ngot  %s\nwant %s", name, a, b)
	}
}

// rolesState is the state from which the recorded GET_ROLES was made.
func rolesState(t *testing.T) *v1master.Response_GetState {
	t.Helper()
	for _, row := range recordedReads(t) {
		if row.Name == "master GET_STATE" {
			return fromJSON(t, row.Response, new(v1master.Response)).GetState
		}
	}
	t.Fatal("no GET_STATE")
	return nil
}

func flagMap(flags []*v1.Flag) map[string]string {
	m := make(map[string]string)
	for _, f := range flags {
		m[f.GetName()] = f.GetValue()
	}
	return m
}

func metricMap(metrics []*v1.Metric) map[string]float64 {
	m := make(map[string]float64)
	for _, x := range metrics {
		m[x.GetName()] = x.GetValue()
	}
	return m
}

// OPR-78 OPR-79 OPR-80 OPR-82
func TestAgentReads(t *testing.T) {
	checked := 0
	for _, row := range recordedReads(t) {
		name, ok := strings.CutPrefix(row.Name, "agent ")
		if !ok || strings.Contains(name, "FILE") || strings.Contains(name, "show_nested") {
			continue
		}
		response := fromJSON(t, row.Response, new(v1agent.Response))
		cluster := newTestCluster()
		cluster.flags = flagMap(response.GetGetFlags().GetFlags())
		cluster.metrics = metricMap(response.GetGetMetrics().GetMetrics())
		view := cluster.agentState.view
		switch response.GetType() {
		case v1agent.Response_GET_LOGGING_LEVEL, v1agent.Response_GET_OPERATIONS, v1agent.Response_GET_RESOURCE_PROVIDERS:
			if w := post(cluster.agent(), "/api/v1", `{"type":"`+response.GetType().String()+`"}`); w.Code != 501 {
				t.Errorf("%s: status %d", name, w.Code)
			}
			continue
		case v1agent.Response_GET_AGENT:
			view.Info = response.GetAgent.AgentInfo
		case v1agent.Response_GET_STATE:
			view.Frameworks = agentFacts(response.GetState)
		case v1agent.Response_GET_CONTAINERS:
			for _, c := range response.GetContainers.Containers {
				cluster.containers = append(cluster.containers, Container{
					FrameworkID: mesos.FrameworkID(c.GetFrameworkId().GetValue()), ExecutorID: mesos.ExecutorID(c.GetExecutorId().GetValue()),
					ExecutorName: c.GetExecutorName(), Status: c.ContainerStatus, Statistics: c.ResourceStatistics,
				})
			}
		default:
			view.Frameworks = agentFacts(&v1agent.Response_GetState{
				GetTasks: response.GetTasks, GetExecutors: response.GetExecutors, GetFrameworks: response.GetFrameworks,
			})
		}
		call := `{"type":"` + response.GetType().String() + `","get_metrics":{}}`
		w := post(cluster.agent(), "/slave(1)/api/v1", call)
		if w.Code != 200 {
			t.Errorf("%s: status %d %s", name, w.Code, w.Body)
			continue
		}
		compareText(t, name, w.Body.String(), string(row.Response))
		checkProtobuf(t, name, post(cluster.agent(), "/api/v1", call, "Accept", "application/x-protobuf").Body.Bytes(),
			response, new(v1agent.Response))
		checked++
	}
	if checked < 10 {
		t.Errorf("only %d calls were checked", checked)
	}
}

// agentFacts makes one framework out of a recorded state. All tasks are on its first executor, because
// the recorded order of tasks follows no rule.
func agentFacts(state *v1agent.Response_GetState) []AgentFramework {
	f := AgentFramework{}
	for _, framework := range state.GetGetFrameworks().GetFrameworks() {
		f.Info = framework.FrameworkInfo
	}
	for _, e := range state.GetGetExecutors().GetExecutors() {
		f.Executors = append(f.Executors, AgentExecutor{Info: e.ExecutorInfo})
	}
	if tasks := state.GetGetTasks().GetLaunchedTasks(); len(tasks) > 0 {
		if f.Executors == nil {
			f.Executors = []AgentExecutor{{}}
		}
		f.Executors[0].Launched = tasks
	}
	if f.Info == nil && f.Executors == nil {
		return nil
	}
	return []AgentFramework{f}
}

// OPR-80 EXE-26: queued, terminated and completed tasks are told apart.
func TestAgentTasks(t *testing.T) {
	task := func(id string, state v1.TaskState) *v1.Task {
		return &v1.Task{
			Name: proto.String(id), TaskId: mesos.TaskID(id).Proto(), FrameworkId: mesos.FrameworkID("f").Proto(),
			AgentId: mesos.AgentID("a").Proto(), State: state.Enum(),
		}
	}
	executor := AgentExecutor{
		Info: &v1.ExecutorInfo{ExecutorId: mesos.ExecutorID("e").Proto(), FrameworkId: mesos.FrameworkID("f").Proto()},
		Queued: []*v1.TaskInfo{{
			Name: proto.String("q"), TaskId: mesos.TaskID("q").Proto(), AgentId: mesos.AgentID("a").Proto(),
			Executor:  &v1.ExecutorInfo{ExecutorId: mesos.ExecutorID("e").Proto()},
			Command:   &v1.CommandInfo{Value: proto.String("sleep 1"), Uris: []*v1.CommandInfo_URI{{Value: proto.String("u")}}},
			Resources: []*v1.Resource{{Name: proto.String("cpus"), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(1)}, AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("r")}}},
		}},
		Launched:   []*v1.Task{task("l", v1.TaskState_TASK_RUNNING)},
		Terminated: []*v1.Task{task("t", v1.TaskState_TASK_FAILED)},
		Completed:  []*v1.Task{task("c", v1.TaskState_TASK_FINISHED)},
	}
	cluster := newTestCluster()
	cluster.agentState.view.Frameworks = []AgentFramework{{
		Info:      &v1.FrameworkInfo{User: proto.String("u"), Name: proto.String("n"), Id: mesos.FrameworkID("f").Proto()},
		Executors: []AgentExecutor{executor},
	}}
	w := post(cluster.agent(), "/api/v1", `{"type":"GET_TASKS"}`)
	response := fromJSON(t, w.Body.Bytes(), new(v1agent.Response)).GetTasks
	for _, list := range []struct {
		name  string
		tasks []*v1.Task
		want  string
	}{
		{"queued", response.QueuedTasks, "q"}, {"launched", response.LaunchedTasks, "l"},
		{"terminated", response.TerminatedTasks, "t"}, {"completed", response.CompletedTasks, "c"},
	} {
		if len(list.tasks) != 1 || list.tasks[0].GetTaskId().GetValue() != list.want {
			t.Errorf("%s: %v", list.name, list.tasks)
		}
	}
	if q := response.QueuedTasks[0]; q.GetState() != v1.TaskState_TASK_STAGING || q.GetFrameworkId().GetValue() != "f" || q.GetExecutorId().GetValue() != "e" {
		t.Errorf("queued task %v", q)
	}
	// OPR-130
	const queued = `"queued_tasks":[{"id":"q","name":"q","slave_id":"a","resources":{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":1.0},"role":"r",` +
		`"command":{"shell":true,"value":"sleep 1","argv":[],"uris":[{"value":"u","executable":false}]},"executor_id":"e"}]`
	if body := do(cluster.agent(), "GET", "/state", "").Body.String(); !strings.Contains(body, queued) {
		t.Errorf("state has no %s:\n%s", queued, body)
	}
}

// OPR-24 OPR-27 EXE-3 SCH-23: while a core recovers.
func TestRecovery(t *testing.T) {
	cluster := newTestCluster()
	cluster.leader.recovered = false
	for _, path := range []string{"/api/v1", "/api/v1/scheduler", "/master/api/v1/scheduler"} {
		if w := do(cluster.master(), "GET", path, ""); w.Code != 503 || w.Body.String() != "Master has not finished recovery" {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/state", "/health", "/flags", "/metrics/snapshot", "/version"} {
		if w := do(cluster.master(), "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	cluster.executors.notReady = true
	for _, path := range []string{"/api/v1", "/api/v1/executor", "/state", "/slave(1)/state"} {
		if w := do(cluster.agent(), "GET", path, ""); w.Code != 503 || w.Body.String() != "Agent has not finished recovery" {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	cluster.executors.notReady = false
	cluster.agentState.err = ErrRecovering // checkpoints are loaded, executors are waited for
	for _, path := range []string{"/api/v1", "/state", "/slave(1)/state"} {
		if w := do(cluster.agent(), "GET", path, ""); w.Code != 503 || w.Body.String() != "Agent has not finished recovery" {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{"/containers", "/monitor/statistics", "/flags", "/slave(1)/health", "/metrics/snapshot"} {
		if w := do(cluster.agent(), "GET", path, ""); w.Code != 200 {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
}

// Calls that this version does not have are refused as such, whatever their headers say.
func TestCallsNotImplemented(t *testing.T) {
	cluster := newTestCluster()
	id := `{"value":"c"}`
	for _, test := range []struct {
		api  http.Handler
		body string
		head []string
	}{
		{cluster.master(), `{"type":"SUBSCRIBE"}`, []string{"Accept", "application/recordio", "Message-Accept", jsonType}},
		{cluster.master(), `{"type":"GET_QUOTA"}`, nil},
		{cluster.master(), `{"type":"UPDATE_WEIGHTS","update_weights":{}}`, nil},
		{cluster.agent(), `{"type":"ATTACH_CONTAINER_OUTPUT","attach_container_output":{"container_id":` + id + `}}`, []string{"Accept", "application/recordio"}},
		{cluster.agent(), `{"type":"PRUNE_IMAGES"}`, nil},
		{cluster.agent(), `{"type":"LAUNCH_CONTAINER","launch_container":{"container_id":` + id + `}}`, nil},
	} {
		if w := post(test.api, "/api/v1", test.body, test.head...); w.Code != 501 || w.Body.String() != "501 Not Implemented." {
			t.Errorf("%s: %d %q", test.body, w.Code, w.Body)
		}
	}
	if w := do(cluster.agent(), "POST", "/api/v1", "2\n{}", "Content-Type", "application/recordio", "Message-Content-Type", jsonType); w.Code != 501 {
		t.Errorf("recordio: %d %q", w.Code, w.Body)
	}
}

// A core that is not there yet is 503; one that fails is 500, with its reason.
func TestFailingCores(t *testing.T) {
	cluster := newTestCluster()
	for err, want := range map[error]int{fmt.Errorf("view: %w", ErrNotReady): 503, errors.New("disk on fire"): 500} {
		cluster.state.err, cluster.agentState.err = err, err
		for path, api := range map[string]http.Handler{"/state": cluster.master(), "/slave(1)/state": cluster.agent()} {
			if w := do(api, "GET", path, ""); w.Code != want || !strings.Contains(w.Body.String(), err.Error()) {
				t.Errorf("%s: %d %q", path, w.Code, w.Body)
			}
			if w := post(api, "/api/v1", `{"type":"GET_STATE"}`); w.Code != want {
				t.Errorf("call: %d %q", w.Code, w.Body)
			}
		}
	}
}

// OPR-125
func TestTeardown(t *testing.T) {
	cluster := newTestCluster()
	master := cluster.master()
	for _, w := range []int{
		do(master, "POST", "/teardown", "frameworkId="+testMaster+"-0001").Code,
		do(master, "POST", "/master/shutdown", "frameworkId="+testMaster+"-0001").Code,
		post(master, "/api/v1", `{"type":"TEARDOWN","teardown":{"framework_id":{"value":"`+testMaster+`-0001"}}}`).Code,
	} {
		if w != 200 {
			t.Errorf("status %d", w)
		}
	}
	if len(cluster.operator.torn) != 3 {
		t.Errorf("torn down %v", cluster.operator.torn)
	}
	if w := do(master, "POST", "/teardown", "frameworkId=%zz"); w.Code != 400 {
		t.Errorf("malformed form: %d %q", w.Code, w.Body)
	}
}

// The endpoint of "clusterd kill".
func TestKill(t *testing.T) {
	cluster := newTestCluster()
	master := cluster.master()
	for body, want := range map[string]string{
		"frameworkId=F&taskId=t%2F1":               "200 ",
		"frameworkId=F&taskId=t&gracePeriod=5secs": "200 ",
		"taskId=t":                                     "400 Missing 'frameworkId' query parameter in the request body",
		"frameworkId=F":                                "400 Missing 'taskId' query parameter in the request body",
		"frameworkId=F&taskId=t&gracePeriod=abc":       "400 Invalid 'gracePeriod': ",
		"frameworkId=F&taskId=t&gracePeriod=-1secs":    "400 Invalid 'gracePeriod': it must not be negative",
		"frameworkId=F&taskId=t&gracePeriod=1fortnite": "400 Invalid 'gracePeriod': ",
	} {
		if w := do(master, "POST", "/master/kill", body); !strings.HasPrefix(fmt.Sprint(w.Code, " ", w.Body), want) {
			t.Errorf("%s: %d %q, want %q", body, w.Code, w.Body, want)
		}
	}
	slices.Sort(cluster.operator.killed)
	if want := []string{"F t 5s", "F t/1 -1ns"}; !slices.Equal(cluster.operator.killed, want) {
		t.Errorf("killed %q, want %q", cluster.operator.killed, want)
	}
	if w := do(master, "GET", "/kill", ""); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET: %d %v", w.Code, w.Header())
	}
}

// A page of another site cannot make a browser kill or tear down.
func TestCrossSiteForms(t *testing.T) {
	cluster := newTestCluster()
	master := cluster.master()
	for _, path := range []string{"/kill", "/teardown", "/master/shutdown"} {
		for _, header := range [][]string{{"Sec-Fetch-Site", "cross-site"}, {"Origin", "https://elsewhere.example"}} {
			if w := do(master, "POST", path, "frameworkId="+testMaster+"-0001&taskId=t", header...); w.Code != 403 {
				t.Errorf("%s %v: %d %q", path, header, w.Code, w.Body)
			}
		}
	}
	if w := do(master, "POST", "/teardown", "frameworkId="+testMaster+"-0001", "Sec-Fetch-Site", "same-origin"); w.Code != 200 {
		t.Errorf("own page: %d %q", w.Code, w.Body)
	}
	if len(cluster.operator.killed) != 0 || len(cluster.operator.torn) != 1 {
		t.Errorf("killed %v, torn down %v", cluster.operator.killed, cluster.operator.torn)
	}
}

// A build without facts about itself still answers with every key that is always there.
func TestVersionWithoutBuild(t *testing.T) {
	options := MasterOptions{Leader: &fakeLeader{}, Files: NewFiles(), Logger: quiet}
	w := do(NewMaster(options), "GET", "/version", "")
	if want := `{"build_date":"","build_time":0.0,"build_user":"","version":"1.12.0"}`; w.Body.String() != want {
		t.Errorf("%s, want %s", w.Body, want) // SCH-18 OPR-120
	}
	options.Build = testBuild
	options.Build.Time = time.Date(2024, 8, 23, 21, 0, 0, 0, time.FixedZone("", 7200))
	w = do(NewMaster(options), "GET", "/version", "")
	want := `{"build_date":"2024-08-23 19:00:00 UTC","build_time":1724439600.0,"build_user":"root","clusterd_version":"0.1.0",` +
		`"git_branch":"refs/heads/master","git_sha":"c1b42f79d157aa900be5cbb0c1023f1479962aa7","version":"1.12.0"}`
	if w.Body.String() != want {
		t.Errorf("%s, want %s", w.Body, want)
	}
}
