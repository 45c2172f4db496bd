package api

import (
	"encoding/json"
	"math"
	"os"
	"strings"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"

	"google.golang.org/protobuf/proto"
)

// The types below read the recorded answers of a real Mesos, and turn what they say into the views from
// which this package must make the same answers again.

type legacyState struct {
	Version     string  `json:"version"`
	StartTime   float64 `json:"start_time"`
	ElectedTime float64 `json:"elected_time"`
	ID          string  `json:"id"`
	PID         string  `json:"pid"`
	Hostname    string  `json:"hostname"`
	LeaderInfo  struct {
		Port uint32 `json:"port"`
	} `json:"leader_info"`
	Capabilities        []string          `json:"capabilities"`
	UnreachableSlaves   float64           `json:"unreachable_slaves"`
	Flags               map[string]string `json:"flags"`
	Slaves              []legacyAgent     `json:"slaves"`
	RecoveredSlaves     []legacyAgent     `json:"recovered_slaves"`
	Frameworks          []legacyFramework `json:"frameworks"`
	CompletedFrameworks []legacyFramework `json:"completed_frameworks"`
	Tasks               []legacyTask      `json:"tasks"`

	// Of agents.
	MasterHostname string                       `json:"master_hostname"`
	Attributes     map[string]json.RawMessage   `json:"attributes"`
	UnreservedFull []json.RawMessage            `json:"unreserved_resources_full"`
	ReservedFull   map[string][]json.RawMessage `json:"reserved_resources_full"`
	DrainConfig    json.RawMessage              `json:"drain_config"`
	DrainStart     int64                        `json:"estimated_drain_start_time_seconds"`
}

type legacyAgent struct {
	ID             string                       `json:"id"`
	Hostname       string                       `json:"hostname"`
	Port           int32                        `json:"port"`
	Attributes     map[string]json.RawMessage   `json:"attributes"`
	PID            string                       `json:"pid"`
	Registered     float64                      `json:"registered_time"`
	Reregistered   float64                      `json:"reregistered_time"`
	Resources      map[string]json.RawMessage   `json:"resources"`
	Used           map[string]json.RawMessage   `json:"used_resources"`
	Offered        map[string]json.RawMessage   `json:"offered_resources"`
	Active         bool                         `json:"active"`
	Deactivated    bool                         `json:"deactivated"`
	Version        string                       `json:"version"`
	Capabilities   []string                     `json:"capabilities"`
	DrainInfo      json.RawMessage              `json:"drain_info"`
	DrainStart     float64                      `json:"estimated_drain_start_time_seconds"`
	ReservedFull   map[string][]json.RawMessage `json:"reserved_resources_full"`
	UnreservedFull []json.RawMessage            `json:"unreserved_resources_full"`
	UsedFull       []json.RawMessage            `json:"used_resources_full"`
	OfferedFull    []json.RawMessage            `json:"offered_resources_full"`
}

type legacyFramework struct {
	ID               string                     `json:"id"`
	Name             string                     `json:"name"`
	Used             map[string]json.RawMessage `json:"used_resources"`
	Offered          map[string]json.RawMessage `json:"offered_resources"`
	Capabilities     []string                   `json:"capabilities"`
	Hostname         string                     `json:"hostname"`
	WebUI            string                     `json:"webui_url"`
	Active           bool                       `json:"active"`
	Connected        bool                       `json:"connected"`
	Recovered        bool                       `json:"recovered"`
	User             string                     `json:"user"`
	FailoverTimeout  float64                    `json:"failover_timeout"`
	Checkpoint       bool                       `json:"checkpoint"`
	Registered       float64                    `json:"registered_time"`
	Unregistered     float64                    `json:"unregistered_time"`
	Reregistered     float64                    `json:"reregistered_time"`
	Principal        *string                    `json:"principal"`
	Role             *string                    `json:"role"`
	Roles            []string                   `json:"roles"`
	Tasks            []legacyTask               `json:"tasks"`
	UnreachableTasks []legacyTask               `json:"unreachable_tasks"`
	CompletedTasks   []legacyTask               `json:"completed_tasks"`
	Offers           []legacyOffer              `json:"offers"`
	Executors        []legacyExecutor           `json:"executors"`
	Completed        []legacyExecutor           `json:"completed_executors"`
	Labels           []json.RawMessage          `json:"labels"`
}

type legacyTask struct {
	ID          string                     `json:"id"`
	Name        string                     `json:"name"`
	FrameworkID string                     `json:"framework_id"`
	ExecutorID  string                     `json:"executor_id"`
	AgentID     string                     `json:"slave_id"`
	State       string                     `json:"state"`
	Resources   map[string]json.RawMessage `json:"resources"`
	Role        string                     `json:"role"`
	Statuses    []struct {
		State           string            `json:"state"`
		Timestamp       float64           `json:"timestamp"`
		Labels          []json.RawMessage `json:"labels"`
		ContainerStatus json.RawMessage   `json:"container_status"`
		Healthy         *bool             `json:"healthy"`
	} `json:"statuses"`
	Labels      []json.RawMessage `json:"labels"`
	Discovery   json.RawMessage   `json:"discovery"`
	HealthCheck json.RawMessage   `json:"health_check"`
}

type legacyOffer struct {
	ID          string                     `json:"id"`
	FrameworkID string                     `json:"framework_id"`
	AgentID     string                     `json:"slave_id"`
	Allocation  json.RawMessage            `json:"allocation_info"`
	Resources   map[string]json.RawMessage `json:"resources"`
}

type legacyExecutor struct {
	ExecutorID  string                     `json:"executor_id"` // of masters
	ID          string                     `json:"id"`          // of agents
	Name        string                     `json:"name"`
	FrameworkID string                     `json:"framework_id"`
	AgentID     string                     `json:"slave_id"`
	Resources   map[string]json.RawMessage `json:"resources"`
	Role        string                     `json:"role"`
	Type        string                     `json:"type"`
	Source      string                     `json:"source"`
	Container   string                     `json:"container"`
	Directory   string                     `json:"directory"`
	Tasks       []legacyTask               `json:"tasks"`
	Completed   []legacyTask               `json:"completed_tasks"`
}

// recorded reads an answer, as text and as facts.
func recorded(t testing.TB, file string) (string, *legacyState) {
	t.Helper()
	b, err := os.ReadFile("testdata/" + file)
	if err != nil {
		t.Fatal(err)
	}
	state := new(legacyState)
	if b[0] == '{' {
		if err := json.Unmarshal(b, state); err != nil {
			t.Fatal(err)
		}
	}
	return strings.TrimSpace(string(b)), state
}

func fromJSON[M proto.Message](t testing.TB, raw json.RawMessage, m M) M {
	t.Helper()
	if err := mesos.UnmarshalJSON(raw, m); err != nil {
		t.Fatalf("%s: %v", raw, err)
	}
	return m
}

func fullResources(t testing.TB, list []json.RawMessage) []*v1.Resource {
	t.Helper()
	var out []*v1.Resource
	for _, raw := range list {
		r := fromJSON(t, raw, new(v1.Resource))
		// The cores hold the form with a stack of reservations only.
		r.Role, r.Reservation = nil, nil
		out = append(out, r)
	}
	return out
}

// sums turns {"cpus":1.0,"ports":"[1-2]"} back into resources.
func sums(t testing.TB, m map[string]json.RawMessage, role string) []*v1.Resource {
	t.Helper()
	var out []*v1.Resource
	for _, name := range []string{"cpus", "mem", "disk", "gpus", "ports"} {
		raw, ok := m[name]
		if !ok {
			continue
		}
		r := &v1.Resource{Name: proto.String(name)}
		if role != "" {
			r.AllocationInfo = &v1.Resource_AllocationInfo{Role: proto.String(role)}
		}
		var value float64
		if err := json.Unmarshal(raw, &value); err == nil {
			if value == 0 {
				continue
			}
			r.Type = v1.Value_SCALAR.Enum()
			r.Scalar = &v1.Value_Scalar{Value: proto.Float64(value)}
		} else {
			if string(raw) != `"[31000-32000]"` {
				t.Fatalf("ranges %s", raw)
			}
			r.Type = v1.Value_RANGES.Enum()
			r.Ranges = &v1.Value_Ranges{Range: []*v1.Value_Range{{Begin: proto.Uint64(31000), End: proto.Uint64(32000)}}}
		}
		out = append(out, r)
	}
	return out
}

func timeInfo(seconds float64) *v1.TimeInfo {
	if seconds == 0 {
		return nil
	}
	return &v1.TimeInfo{Nanoseconds: proto.Int64(int64(math.Round(seconds*1e3)) * 1e6)}
}

func attributes(t testing.TB, m map[string]json.RawMessage) []*v1.Attribute {
	t.Helper()
	var out []*v1.Attribute
	for _, name := range []string{"rack", "zone"} {
		var text string
		if err := json.Unmarshal(m[name], &text); err != nil {
			t.Fatal(err)
		}
		out = append(out, &v1.Attribute{
			Name: proto.String(name), Type: v1.Value_TEXT.Enum(), Text: &v1.Value_Text{Value: proto.String(text)},
		})
	}
	return out
}

func labelList(t testing.TB, list []json.RawMessage) *v1.Labels {
	t.Helper()
	if list == nil {
		return nil
	}
	labels := new(v1.Labels)
	for _, raw := range list {
		labels.Labels = append(labels.Labels, fromJSON(t, raw, new(v1.Label)))
	}
	return labels
}

func (l legacyTask) proto(t testing.TB) *v1.Task {
	t.Helper()
	task := &v1.Task{
		Name: proto.String(l.Name), TaskId: mesos.TaskID(l.ID).Proto(), FrameworkId: mesos.FrameworkID(l.FrameworkID).Proto(),
		AgentId: mesos.AgentID(l.AgentID).Proto(), State: v1.TaskState(v1.TaskState_value[l.State]).Enum(),
		Resources: sums(t, l.Resources, l.Role), Labels: labelList(t, l.Labels),
	}
	if l.ExecutorID != "" {
		task.ExecutorId = mesos.ExecutorID(l.ExecutorID).Proto()
	}
	if l.Discovery != nil {
		task.Discovery = fromJSON(t, l.Discovery, new(v1.DiscoveryInfo))
	}
	if l.HealthCheck != nil {
		task.HealthCheck = fromJSON(t, l.HealthCheck, new(v1.HealthCheck))
	}
	for _, s := range l.Statuses {
		status := &v1.TaskStatus{
			TaskId: task.TaskId, State: v1.TaskState(v1.TaskState_value[s.State]).Enum(), Timestamp: proto.Float64(s.Timestamp),
			Labels: labelList(t, s.Labels), Healthy: s.Healthy,
			// What must not be shown:
			Message: proto.String("message"), Reason: v1.TaskStatus_REASON_RECONCILIATION.Enum(), Data: []byte("data"),
		}
		if s.ContainerStatus != nil {
			status.ContainerStatus = fromJSON(t, s.ContainerStatus, new(v1.ContainerStatus))
			status.ContainerStatus.ExecutorPid = proto.Uint32(17)
		}
		task.Statuses = append(task.Statuses, status)
	}
	return task
}

func (l legacyFramework) info(t testing.TB) *v1.FrameworkInfo {
	t.Helper()
	info := &v1.FrameworkInfo{
		User: proto.String(l.User), Name: proto.String(l.Name), Id: mesos.FrameworkID(l.ID).Proto(),
		FailoverTimeout: proto.Float64(l.FailoverTimeout), Checkpoint: proto.Bool(l.Checkpoint), Role: l.Role, Roles: l.Roles,
		Principal: l.Principal, Hostname: optional(l.Hostname), WebuiUrl: optional(l.WebUI), Labels: labelList(t, l.Labels),
	}
	for _, c := range l.Capabilities {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{
			Type: v1.FrameworkInfo_Capability_Type(v1.FrameworkInfo_Capability_Type_value[c]).Enum(),
		})
	}
	if l.Capabilities == nil && l.Role == nil { // Agents do not show capabilities; roles tell.
		info.Capabilities = []*v1.FrameworkInfo_Capability{{Type: v1.FrameworkInfo_Capability_MULTI_ROLE.Enum()}}
	}
	return info
}

// addTo puts a framework, its tasks and its executors into a state.
func (l legacyFramework) addTo(t testing.TB, state *v1master.Response_GetState) *v1master.Response_GetFrameworks_Framework {
	t.Helper()
	f := &v1master.Response_GetFrameworks_Framework{
		FrameworkInfo: l.info(t), Active: &l.Active, Connected: &l.Connected, Recovered: &l.Recovered,
		RegisteredTime: timeInfo(l.Registered), ReregisteredTime: timeInfo(l.Registered), UnregisteredTime: timeInfo(l.Unregistered),
		AllocatedResources: sums(t, l.Used, "*"), OfferedResources: sums(t, l.Offered, "*"),
	}
	if l.Reregistered != 0 {
		f.ReregisteredTime = timeInfo(l.Reregistered)
	}
	for _, o := range l.Offers {
		f.Offers = append(f.Offers, &v1.Offer{
			Id: mesos.OfferID(o.ID).Proto(), FrameworkId: mesos.FrameworkID(o.FrameworkID).Proto(),
			AgentId: mesos.AgentID(o.AgentID).Proto(), Resources: sums(t, o.Resources, "*"),
			AllocationInfo: fromJSON(t, o.Allocation, new(v1.Resource_AllocationInfo)),
		})
	}
	for _, task := range l.Tasks {
		state.GetTasks.Tasks = append(state.GetTasks.Tasks, task.proto(t))
	}
	for _, task := range l.UnreachableTasks {
		state.GetTasks.UnreachableTasks = append(state.GetTasks.UnreachableTasks, task.proto(t))
	}
	for _, task := range l.CompletedTasks {
		state.GetTasks.CompletedTasks = append(state.GetTasks.CompletedTasks, task.proto(t))
	}
	for _, e := range l.Executors {
		state.GetExecutors.Executors = append(state.GetExecutors.Executors, &v1master.Response_GetExecutors_Executor{
			AgentId: mesos.AgentID(e.AgentID).Proto(),
			ExecutorInfo: &v1.ExecutorInfo{
				Type: executorType(e.Type), ExecutorId: mesos.ExecutorID(e.ExecutorID).Proto(),
				FrameworkId: mesos.FrameworkID(e.FrameworkID).Proto(), Resources: sums(t, e.Resources, e.Role),
			},
		})
	}
	return f
}

func executorType(name string) *v1.ExecutorInfo_Type {
	if name == "" {
		return nil
	}
	return v1.ExecutorInfo_Type(v1.ExecutorInfo_Type_value[name]).Enum()
}

func (l legacyAgent) proto(t testing.TB) *v1master.Response_GetAgents_Agent {
	t.Helper()
	a := &v1master.Response_GetAgents_Agent{
		AgentInfo: &v1.AgentInfo{
			Hostname: proto.String(l.Hostname), Port: proto.Int32(l.Port), Id: mesos.AgentID(l.ID).Proto(), Attributes: attributes(t, l.Attributes),
		},
		Active: &l.Active, Deactivated: &l.Deactivated, Version: &l.Version, Pid: &l.PID,
		RegisteredTime: timeInfo(l.Registered), ReregisteredTime: timeInfo(l.Reregistered),
		TotalResources: sums(t, l.Resources, ""), AllocatedResources: sums(t, l.Used, "*"), OfferedResources: sums(t, l.Offered, "*"),
	}
	if l.UnreservedFull != nil {
		a.TotalResources = fullResources(t, l.UnreservedFull)
		for _, list := range l.ReservedFull {
			a.TotalResources = append(a.TotalResources, fullResources(t, list)...)
		}
		a.AllocatedResources, a.OfferedResources = fullResources(t, l.UsedFull), fullResources(t, l.OfferedFull)
	}
	for _, c := range l.Capabilities {
		a.Capabilities = append(a.Capabilities, &v1.AgentInfo_Capability{
			Type: v1.AgentInfo_Capability_Type(v1.AgentInfo_Capability_Type_value[c]).Enum(),
		})
	}
	if l.DrainInfo != nil {
		a.DrainInfo = fromJSON(t, l.DrainInfo, new(v1.DrainInfo))
		a.EstimatedDrainStartTime = timeInfo(l.DrainStart)
	}
	return a
}

// masterView makes the view of which l is the picture.
func (l *legacyState) masterView(t testing.TB) *MasterView {
	t.Helper()
	view := emptyMasterView()
	view.State = &v1master.Response_GetState{
		GetTasks: new(v1master.Response_GetTasks), GetExecutors: new(v1master.Response_GetExecutors),
		GetFrameworks: new(v1master.Response_GetFrameworks), GetAgents: new(v1master.Response_GetAgents),
	}
	for _, c := range []v1.MasterInfo_Capability_Type{
		v1.MasterInfo_Capability_AGENT_UPDATE, v1.MasterInfo_Capability_AGENT_DRAINING, v1.MasterInfo_Capability_QUOTA_V2,
	} {
		view.Info.Capabilities = append(view.Info.Capabilities, &v1.MasterInfo_Capability{Type: c.Enum()})
	}
	view.UnreachableAgents = int(l.UnreachableSlaves)
	for _, a := range l.Slaves {
		view.State.GetAgents.Agents = append(view.State.GetAgents.Agents, a.proto(t))
	}
	for _, f := range l.Frameworks {
		view.State.GetFrameworks.Frameworks = append(view.State.GetFrameworks.Frameworks, f.addTo(t, view.State))
	}
	for _, f := range l.CompletedFrameworks {
		view.State.GetFrameworks.CompletedFrameworks = append(view.State.GetFrameworks.CompletedFrameworks, f.addTo(t, view.State))
	}
	for _, task := range l.Tasks {
		view.State.GetTasks.Tasks = append(view.State.GetTasks.Tasks, task.proto(t))
	}
	return view
}

func (l legacyFramework) agentFramework(t testing.TB) AgentFramework {
	t.Helper()
	f := AgentFramework{Info: l.info(t)}
	for _, e := range l.Executors {
		f.Executors = append(f.Executors, e.agentExecutor(t))
	}
	for _, e := range l.Completed {
		f.CompletedExecutors = append(f.CompletedExecutors, e.agentExecutor(t))
	}
	return f
}

func (l legacyExecutor) agentExecutor(t testing.TB) AgentExecutor {
	t.Helper()
	e := AgentExecutor{
		Info: &v1.ExecutorInfo{
			Type: executorType(l.Type), ExecutorId: mesos.ExecutorID(l.ID).Proto(), Name: optional(l.Name), Source: optional(l.Source),
		},
		ContainerID: mesos.ContainerID(l.Container).Proto(), Directory: l.Directory, Resources: sums(t, l.Resources, l.Role),
	}
	for _, task := range l.Tasks {
		e.Launched = append(e.Launched, task.proto(t))
	}
	// Half of the completed tasks are not acknowledged yet: they are shown behind the others.
	for i, task := range l.Completed {
		if i < len(l.Completed)/2 {
			e.Completed = append(e.Completed, task.proto(t))
		} else {
			e.Terminated = append(e.Terminated, task.proto(t))
		}
	}
	return e
}

// agentView makes the view of which l is the picture.
func (l *legacyState) agentView(t testing.TB) *AgentView {
	t.Helper()
	view := emptyAgentView()
	view.Info.Id = mesos.AgentID(l.ID).Proto()
	view.Info.Attributes = attributes(t, l.Attributes)
	view.Info.Resources = fullResources(t, l.UnreservedFull)
	for _, list := range l.ReservedFull {
		view.Info.Resources = append(view.Info.Resources, fullResources(t, list)...)
	}
	for _, c := range l.Capabilities {
		view.Capabilities = append(view.Capabilities, v1.AgentInfo_Capability_Type(v1.AgentInfo_Capability_Type_value[c]))
	}
	view.MasterHostname = l.MasterHostname
	if l.DrainConfig != nil {
		view.Drain = fromJSON(t, l.DrainConfig, new(v1.DrainConfig))
		view.DrainStart = time.Unix(l.DrainStart, 0)
	}
	for _, f := range l.Frameworks {
		view.Frameworks = append(view.Frameworks, f.agentFramework(t))
	}
	for _, f := range l.CompletedFrameworks {
		view.CompletedFrameworks = append(view.CompletedFrameworks, f.agentFramework(t))
	}
	return view
}
