package api

import (
	"math"
	"strings"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

func scalarResource(name string, value float64) *v1.Resource {
	return &v1.Resource{Name: proto.String(name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(value)}}
}

func reservation(kind v1.Resource_ReservationInfo_Type, role, principal string) *v1.Resource_ReservationInfo {
	return &v1.Resource_ReservationInfo{Type: kind.Enum(), Role: proto.String(role), Principal: optional(principal)}
}

// OPR-39 OPR-112: reservations are shown in the older form and as a stack, whichever the core holds.
func TestBothForms(t *testing.T) {
	const static, dynamic = v1.Resource_ReservationInfo_STATIC, v1.Resource_ReservationInfo_DYNAMIC
	const head = `{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}`
	for _, test := range []struct {
		name   string
		change func(*v1.Resource)
		want   string
	}{
		{"unreserved", func(*v1.Resource) {}, `,"role":"*"}`},
		{"unreserved, older form", func(r *v1.Resource) { r.Role = proto.String("*") }, `,"role":"*"}`},
		{"static", func(r *v1.Resource) {
			r.Reservations = []*v1.Resource_ReservationInfo{reservation(static, "db", "")}
		}, `,"role":"db","reservations":[{"type":"STATIC","role":"db"}]}`},
		{"dynamic", func(r *v1.Resource) {
			r.Reservations = []*v1.Resource_ReservationInfo{reservation(dynamic, "db", "ops")}
		}, `,"role":"db","reservation":{"principal":"ops"},"reservations":[{"type":"DYNAMIC","role":"db","principal":"ops"}]}`},
		{"dynamic without principal", func(r *v1.Resource) {
			r.Reservations = []*v1.Resource_ReservationInfo{reservation(dynamic, "db", "")}
		}, `,"role":"db","reservation":{},"reservations":[{"type":"DYNAMIC","role":"db"}]}`},
		{"refined", func(r *v1.Resource) {
			r.Reservations = []*v1.Resource_ReservationInfo{reservation(static, "db", ""), reservation(dynamic, "db/sub", "ops")}
		}, `,"reservations":[{"type":"STATIC","role":"db"},{"type":"DYNAMIC","role":"db/sub","principal":"ops"}]}`},
		{"static, older form", func(r *v1.Resource) { r.Role = proto.String("db") },
			`,"role":"db","reservations":[{"type":"STATIC","role":"db"}]}`},
		{"dynamic, older form", func(r *v1.Resource) {
			r.Role, r.Reservation = proto.String("db"), &v1.Resource_ReservationInfo{Principal: proto.String("ops")}
		}, `,"role":"db","reservation":{"principal":"ops"},"reservations":[{"type":"DYNAMIC","role":"db","principal":"ops"}]}`},
	} {
		r := scalarResource("cpus", 1)
		test.change(r)
		before := proto.Clone(r)
		got, err := mesos.MarshalJSON(bothForms(r))
		if err != nil || string(got) != head+test.want {
			t.Errorf("%s: %s, %v; want %s", test.name, got, err, head+test.want)
		}
		if !proto.Equal(r, before) {
			t.Errorf("%s: the resource was changed", test.name)
		}
	}
}

// OPR-108 OPR-109: every optional member of a task, in its place.
func TestTaskMembers(t *testing.T) {
	labels := &v1.Labels{Labels: []*v1.Label{{Key: proto.String("k"), Value: proto.String("v")}, {Key: proto.String("k2")}}}
	task := &v1.Task{
		Name: proto.String("n"), TaskId: mesos.TaskID("t").Proto(), FrameworkId: mesos.FrameworkID("f").Proto(),
		ExecutorId: mesos.ExecutorID("e").Proto(), AgentId: mesos.AgentID("a").Proto(), State: v1.TaskState_TASK_RUNNING.Enum(),
		Limits: map[string]*v1.Value_Scalar{"mem": {Value: proto.Float64(math.Inf(1))}, "cpus": {Value: proto.Float64(2)}},
		Statuses: []*v1.TaskStatus{{
			State: v1.TaskState_TASK_RUNNING.Enum(), Timestamp: proto.Float64(1.5), Labels: labels, Healthy: proto.Bool(false),
			ContainerStatus: &v1.ContainerStatus{
				ContainerId: &v1.ContainerID{Value: proto.String("c"), Parent: mesos.ContainerID("p").Proto()}, ExecutorPid: proto.Uint32(1),
				CgroupInfo: &v1.CgroupInfo{NetCls: &v1.CgroupInfo_NetCls{Classid: proto.Uint32(7)}},
				NetworkInfos: []*v1.NetworkInfo{{
					Groups: []string{"g"}, Labels: labels, Name: proto.String("net"),
					IpAddresses:  []*v1.NetworkInfo_IPAddress{{IpAddress: proto.String("::1"), Protocol: v1.NetworkInfo_IPv6.Enum()}, {}},
					PortMappings: []*v1.NetworkInfo_PortMapping{{HostPort: proto.Uint32(1), ContainerPort: proto.Uint32(2)}},
				}},
			},
		}},
		User: proto.String("u"), Labels: labels, Container: &v1.ContainerInfo{Type: v1.ContainerInfo_MESOS.Enum()},
	}
	const want = `{"id":"t","name":"n","framework_id":"f","executor_id":"e","slave_id":"a","state":"TASK_RUNNING",` +
		`"resources":{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0},"limits":{"cpus":2.0,"mem":"Infinity"},` +
		`"statuses":[{"state":"TASK_RUNNING","timestamp":1.5,"labels":[{"key":"k","value":"v"},{"key":"k2"}],` +
		`"container_status":{"container_id":{"value":"c","parent":{"value":"p"}},` +
		`"network_infos":[{"groups":["g"],"labels":[{"key":"k","value":"v"},{"key":"k2"}],` +
		`"ip_addresses":[{"protocol":"IPv6","ip_address":"::1"},{"protocol":"IPv4"}],"name":"net",` +
		`"port_mappings":[{"host_port":1,"container_port":2}]}],"cgroup_info":{"net_cls":{"classid":7}}},"healthy":false}],` +
		`"user":"u","labels":[{"key":"k","value":"v"},{"key":"k2"}],"container":{"type":"MESOS"}}`
	d := &document{}
	d.task(task)
	if string(d.buf) != want || d.err != nil {
		t.Errorf("%s, %v\nwant %s", d.buf, d.err, want)
	}
}

// OPR-107 OPR-110: a framework with everything that is optional, and an executor with a command.
func TestFrameworkMembers(t *testing.T) {
	view := emptyMasterView()
	id := mesos.FrameworkID("f").Proto()
	view.State.GetExecutors = &v1master.Response_GetExecutors{Executors: []*v1master.Response_GetExecutors_Executor{{
		AgentId: mesos.AgentID("a").Proto(),
		ExecutorInfo: &v1.ExecutorInfo{
			ExecutorId: mesos.ExecutorID("e").Proto(), FrameworkId: id, Name: proto.String("x"), Type: v1.ExecutorInfo_CUSTOM.Enum(),
			Labels: &v1.Labels{Labels: []*v1.Label{{Key: proto.String("k")}}},
			Command: &v1.CommandInfo{
				Shell: proto.Bool(false), Value: proto.String("./run"), Arguments: []string{"run", "-v"},
				Environment: &v1.Environment{Variables: []*v1.Environment_Variable{{Name: proto.String("A"), Value: proto.String("1")}}},
				Uris:        []*v1.CommandInfo_URI{{Value: proto.String("http://h/run"), Executable: proto.Bool(true)}},
			},
		},
	}}}
	view.State.GetFrameworks = &v1master.Response_GetFrameworks{Frameworks: []*v1master.Response_GetFrameworks_Framework{{
		FrameworkInfo: &v1.FrameworkInfo{
			User: proto.String("u"), Name: proto.String("n"), Id: id, Principal: proto.String("p"), Hostname: proto.String("h"),
			WebuiUrl: proto.String("http://h/"), Labels: &v1.Labels{Labels: []*v1.Label{{Key: proto.String("k")}}},
		},
		Active: proto.Bool(true), Connected: proto.Bool(false), Recovered: proto.Bool(true),
		RegisteredTime: timeInfo(1), ReregisteredTime: timeInfo(2),
		OfferConstraints: &v1scheduler.OfferConstraints{RoleConstraints: map[string]*v1scheduler.OfferConstraints_RoleConstraints{"r": {}}},
	}}}
	const want = `"active":true,"connected":false,"recovered":true,"user":"u","failover_timeout":0.0,"checkpoint":false,` +
		`"registered_time":1.0,"unregistered_time":0.0,"principal":"p","resources":{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0},` +
		`"reregistered_time":2.0,"role":"*","tasks":[],"unreachable_tasks":[],"completed_tasks":[],"offers":[],` +
		`"executors":[{"executor_id":"e","name":"x","framework_id":"f","command":{"shell":false,"value":"./run","argv":["run","-v"],` +
		`"environment":{"variables":[{"name":"A","type":"VALUE","value":"1"}]},"uris":[{"value":"http://h/run","executable":true}]},` +
		`"resources":{"disk":0.0,"mem":0.0,"gpus":0.0,"cpus":0.0},"labels":[{"key":"k"}],"type":"CUSTOM","slave_id":"a"}],` +
		`"labels":[{"key":"k"}],"offer_constraints":{"role_constraints":{"r":{}}}}`
	cluster := newTestCluster()
	cluster.state.view = view
	if body := do(cluster.master(), "GET", "/frameworks", "").Body.String(); !strings.Contains(body, want) {
		t.Errorf("%s\nlacks %s", body, want)
	}
}

// OPR-44 OPR-116: ranges count, reservations are consumed, weights and ancestors are listed.
func TestRoles(t *testing.T) {
	allocated := scalarResource("cpus", 2)
	allocated.AllocationInfo = &v1.Resource_AllocationInfo{Role: proto.String("a/b")}
	ports := &v1.Resource{
		Name: proto.String("ports"), Type: v1.Value_RANGES.Enum(), AllocationInfo: &v1.Resource_AllocationInfo{Role: proto.String("a/b")},
		Ranges: &v1.Value_Ranges{Range: []*v1.Value_Range{{Begin: proto.Uint64(31000), End: proto.Uint64(32000)}}},
	}
	reserved := scalarResource("cpus", 3)
	reserved.Reservations = []*v1.Resource_ReservationInfo{reservation(v1.Resource_ReservationInfo_DYNAMIC, "db", "")}
	used := proto.Clone(reserved).(*v1.Resource)
	used.Scalar.Value = proto.Float64(1)
	used.AllocationInfo = &v1.Resource_AllocationInfo{Role: proto.String("db")}
	view := emptyMasterView()
	view.Weights = map[string]float64{"a": 2.5}
	view.State.GetFrameworks = &v1master.Response_GetFrameworks{Frameworks: []*v1master.Response_GetFrameworks_Framework{{
		FrameworkInfo: &v1.FrameworkInfo{
			User: proto.String("u"), Name: proto.String("n"), Id: mesos.FrameworkID("f").Proto(), Roles: []string{"a/b", "db"},
			Capabilities: []*v1.FrameworkInfo_Capability{{Type: v1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}},
		},
		AllocatedResources: []*v1.Resource{allocated, used}, OfferedResources: []*v1.Resource{ports},
	}}}
	view.State.GetAgents = &v1master.Response_GetAgents{Agents: []*v1master.Response_GetAgents_Agent{{TotalResources: []*v1.Resource{reserved}}}}
	quota := func(role, consumed string) string {
		return `"quota":{"role":"` + role + `","guarantee":{},"limit":{},"consumed":{` + consumed + `}}`
	}
	const ab = `"resources":{"cpus":2.0,"ports":1001.0},"allocated":{"cpus":2.0},"offered":{"ports":1001.0},"reserved":{}`
	want := []string{
		`{"name":"a","weight":2.5,` + quota("a", `"cpus":2.0`) + `,` + ab + `,"frameworks":[]}`,
		`{"name":"a/b","weight":1.0,` + quota("a/b", `"cpus":2.0`) + `,` + ab + `,"frameworks":["f"]}`,
		`{"name":"db","weight":1.0,` + quota("db", `"cpus":3.0`) +
			`,"resources":{"cpus":1.0},"allocated":{"cpus":1.0},"offered":{},"reserved":{"cpus":3.0},"frameworks":["f"]}`,
	}
	cluster := newTestCluster()
	cluster.state.view = view
	master := cluster.master()
	compareText(t, "/roles", do(master, "GET", "/roles", "").Body.String(), `{"roles":[`+strings.Join(want, ",")+`]}`)
	compareText(t, "GET_ROLES", post(master, "/api/v1", `{"type":"GET_ROLES"}`).Body.String(),
		`{"type":"GET_ROLES","get_roles":{"roles":[{"name":"a","weight":2.5,"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":2.0}}]},`+
			`{"name":"a/b","weight":1.0,"frameworks":[{"value":"f"}],"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":2.0}}]},`+
			`{"name":"db","weight":1.0,"frameworks":[{"value":"f"}],"resources":[{"name":"cpus","type":"SCALAR","scalar":{"value":1.0}}]}]}}`)
	// A static list leaves no others, and lists those without use.
	view.Roles = []string{"db", "idle"}
	compareText(t, "/roles", do(master, "GET", "/roles", "").Body.String(), `{"roles":[`+want[2]+
		`,{"name":"idle","weight":1.0,`+quota("idle", "")+`,"resources":{},"allocated":{},"offered":{},"reserved":{},"frameworks":[]}]}`)
}

// What an agent does not isolate is told at the end of its state. OPR-127: no id before registration.
func TestMissingIsolation(t *testing.T) {
	cluster := newTestCluster()
	cluster.agentState.view.Missing = []Missing{{What: "memory", Why: "not root"}}
	body := do(cluster.agent(), "GET", "/state", "").Body.String()
	if !strings.HasSuffix(body, `"completed_frameworks":[],"missing_isolation":[{"what":"memory","why":"not root"}]}`) ||
		!strings.Contains(body, `"id":"","pid":"slave(1)@127.0.0.1:15051"`) || strings.Contains(body, "master_hostname") {
		t.Errorf("%s", body)
	}
}

// OPR-158
func TestSystemStats(t *testing.T) {
	cluster := newTestCluster()
	cluster.metrics = map[string]float64{
		"system/load_1min": 0.25, "system/load_5min": 1, "system/load_15min": 2.5, "system/cpus_total": 2,
		"system/mem_total_bytes": 8589934592, "system/mem_free_bytes": 1024,
	}
	const want = `{"avg_load_15min":2.5,"avg_load_1min":0.25,"avg_load_5min":1.0,"cpus_total":2,"mem_free_bytes":1024,"mem_total_bytes":8589934592}`
	if w := do(cluster.agent(), "GET", "/system/stats.json", ""); w.Body.String() != want {
		t.Errorf("%s, want %s", w.Body, want)
	}
}

// OPR-155 OPR-202: keys are sorted, and the leader check finds its text.
func TestMetrics(t *testing.T) {
	cluster := newTestCluster()
	for _, path := range []string{"/metrics/snapshot", "/metrics/snapshot?timeout=5secs"} {
		want := `{"master/elected":1.0,"system/cpus_total":2.0,"system/load_1min":0.25}`
		if w := do(cluster.master(), "GET", path, ""); w.Body.String() != want {
			t.Errorf("%s, want %s", w.Body, want)
		}
	}
}
