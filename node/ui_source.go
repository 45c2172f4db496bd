package node

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"
	"clusterd/raft"
	"clusterd/raft/registry"
	"clusterd/ui"
)

// uiSource shows the cluster to the dashboard: the leading master's view, and the sandboxes through
// the agents' public API, so that every agent is read the same way.
type uiSource struct {
	n       *Node
	changes chan struct{}

	mu   sync.Mutex
	rows rowCache
	last *ui.State // of the last time that this node led
}

// rowCache keeps rows whose messages have not changed: the view's messages are immutable, so equal
// pointers mean equal rows.
type rowCache struct {
	tasks map[*v1.Task]*ui.Task
}

func newUISource(n *Node) *uiSource {
	return &uiSource{n: n, changes: make(chan struct{}, 1)}
}

// leaderChanged makes the source follow the changes of a new leading master until that ends.
func (s *uiSource) leaderChanged(l *leader) {
	s.n.wg.Go(func() {
		s.changed()
		for {
			select {
			case <-l.changed:
				s.changed()
			case <-l.box.done:
				s.changed()
				return
			}
		}
	})
}

func (s *uiSource) changed() {
	select {
	case s.changes <- struct{}{}:
	default:
	}
}

// Changed implements ui.Source.
func (s *uiSource) Changed() <-chan struct{} { return s.changes }

// Snapshot implements ui.Source.
func (s *uiSource) Snapshot(ctx context.Context) (*ui.State, error) {
	n := s.n
	l := s.leader(ctx)
	if l == nil {
		return s.remembered()
	}
	v, err := l.view(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ui.ErrUnavailable, err)
	}
	out := &ui.State{Index: v.Index, Cluster: s.cluster(l, v), Problems: append(absence(v), n.problems()...)}
	for _, f := range v.State.GetGetFrameworks().GetFrameworks() {
		out.Frameworks = append(out.Frameworks, frameworkRow(f, false))
	}
	for _, f := range v.State.GetGetFrameworks().GetCompletedFrameworks() {
		out.Frameworks = append(out.Frameworks, frameworkRow(f, true))
	}
	s.agents(out, v)
	s.tasks(out, v)
	s.mu.Lock()
	s.last = out
	s.mu.Unlock()
	return out, nil
}

// remembered is what this node knows while there is no leading master: what it showed last as the leader,
// or else its own copy of the registry, which has no tasks. It is stale, and said to be (CLU-35).
func (s *uiSource) remembered() (*ui.State, error) {
	m := s.n.member.Load()
	if m == nil {
		return nil, fmt.Errorf("%w: this node has no contact with a leading master", ui.ErrUnavailable)
	}
	s.mu.Lock()
	last := s.last
	s.mu.Unlock()
	if last == nil {
		last = s.registered(m.machine.View())
	}
	out := *last
	out.Cluster.Leading, out.Cluster.Leader, out.Cluster.Masters = false, "", nil
	status := &api.ClusterStatus{}
	s.n.memberStatus(m, status)
	for _, node := range status.Nodes {
		if node.RaftID == 0 {
			continue
		}
		state := "follower"
		if node.RaftID != m.id && !m.hears(node.RaftID, time.Now()) {
			state = "unreachable"
		}
		out.Cluster.Masters = append(out.Cluster.Masters, ui.Master{ID: node.Name, Address: node.MasterAddress, State: state})
	}
	out.Problems = []ui.Problem{{
		Code: "stale", Severity: "error", Text: "There is no leading master: this is what was known last. Tasks go on all the same.",
		Do: "Nothing, if a master was just restarted. Otherwise see the masters below.",
	}}
	for _, p := range status.Problems {
		out.Problems = append(out.Problems, ui.Problem{Code: p.Code, Severity: p.Severity, Text: p.Text, Do: p.Do})
	}
	out.Problems = append(out.Problems, s.n.problems()...)
	return &out, nil
}

// registered is what the registry alone tells.
func (s *uiSource) registered(state *registry.State) *ui.State {
	out := &ui.State{Index: state.Index(), Cluster: ui.Cluster{Name: s.n.config.Cluster, Version: Version, MasterID: state.MasterID(), Started: s.n.started}}
	for _, a := range state.Agents() {
		row := agentRow(a.GetInfo())
		row.State, row.Total = ui.AgentRecovered, amounts(a.GetInfo().GetResources())
		out.Agents = append(out.Agents, row)
	}
	for _, u := range state.Unreachables() {
		row := agentRow(u.GetInfo())
		row.State, row.Unreachable, row.Total = ui.AgentUnreachable, time.Unix(0, u.GetTime()), amounts(u.GetInfo().GetResources())
		out.Agents = append(out.Agents, row)
	}
	for _, f := range state.Frameworks() {
		out.Frameworks = append(out.Frameworks, frameworkRow(&v1master.Response_GetFrameworks_Framework{FrameworkInfo: f.GetInfo()}, false))
	}
	return out
}

// leader is the leading master. A node that has just been started is given a moment to elect it.
func (s *uiSource) leader(ctx context.Context) *leader {
	const moment = 2 * time.Second
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for {
		if l := s.n.leading.Load(); l != nil || time.Since(s.n.started) > moment {
			return l
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (s *uiSource) cluster(l *leader, v *master.View) ui.Cluster {
	isolation := s.n.Isolation()
	c := ui.Cluster{
		Name: s.n.config.Cluster, Version: Version, MasterID: v.Info.GetId(), Leader: s.n.host.master(),
		Started: s.n.started, Elected: v.Elected, Isolation: isolationText(isolation.Containers, isolation.Cgroups),
	}
	st := l.steward.m.peer.Status()
	peers := make(map[uint64]raft.PeerStatus)
	for _, p := range st.Peers {
		peers[p.ID] = p
	}
	for _, node := range l.registry().Nodes() {
		id := node.GetRaftId()
		if id == 0 {
			continue
		}
		m := ui.Master{ID: node.GetName(), Address: node.GetMasterAddress(), State: "learner", Term: st.Term, Applied: peers[id].Match}
		switch {
		case id == st.ID:
			m.State, m.Applied = "leader", st.Applied
		case slices.Contains(st.Voters, id) && peers[id].Active:
			m.State = "follower"
		case slices.Contains(st.Voters, id):
			m.State = "unreachable"
		}
		c.Masters = append(c.Masters, m)
	}
	// With several masters the page may have come by way of another node than this one.
	c.Leading = len(c.Masters) < 2
	return c
}

func isolationText(containers bool, cgroups string) string {
	switch {
	case containers && cgroups != "":
		return "containers, cgroups " + cgroups
	case containers:
		return "containers"
	}
	return "plain processes"
}

func frameworkRow(f *v1master.Response_GetFrameworks_Framework, completed bool) *ui.Framework {
	info := f.GetFrameworkInfo()
	row := &ui.Framework{
		ID: info.GetId().GetValue(), Name: info.GetName(), User: info.GetUser(), Principal: info.GetPrincipal(), Hostname: info.GetHostname(),
		WebUIURL: info.GetWebuiUrl(), Roles: mesos.Roles(info), Labels: labels(info.GetLabels()),
		Active: f.GetActive(), Connected: f.GetConnected(), Recovered: f.GetRecovered(), Completed: completed, Checkpoint: info.GetCheckpoint(),
		FailoverTimeout: seconds(info.GetFailoverTimeout()),
		Registered:      instant(f.GetRegisteredTime()), Reregistered: instant(f.GetReregisteredTime()), Unregistered: instant(f.GetUnregisteredTime()),
		Allocated: amounts(f.GetAllocatedResources()), Offered: amounts(f.GetOfferedResources()),
	}
	for _, c := range info.GetCapabilities() {
		row.Capabilities = append(row.Capabilities, c.GetType().String())
	}
	return row
}

func (s *uiSource) agents(out *ui.State, v *master.View) {
	for _, a := range v.State.GetGetAgents().GetAgents() {
		row := agentRow(a.GetAgentInfo())
		row.Version = a.GetVersion()
		row.State = ui.AgentActive
		switch {
		case a.GetDeactivated():
			row.State = ui.AgentDeactivated
		case !a.GetActive():
			row.State = ui.AgentDisconnected
		}
		if _, addr, ok := strings.Cut(a.GetPid(), "@"); ok {
			row.Address = addr
		}
		row.Registered, row.Reregistered = instant(a.GetRegisteredTime()), instant(a.GetReregisteredTime())
		row.Total, row.Allocated, row.Offered = amounts(a.GetTotalResources()), amounts(a.GetAllocatedResources()), amounts(a.GetOfferedResources())
		for _, c := range a.GetCapabilities() {
			row.Capabilities = append(row.Capabilities, c.GetType().String())
		}
		out.Agents = append(out.Agents, row)
	}
	for _, info := range v.State.GetGetAgents().GetRecoveredAgents() {
		row := agentRow(info)
		row.State = ui.AgentRecovered
		row.Total = amounts(info.GetResources())
		out.Agents = append(out.Agents, row)
	}
	for _, u := range v.Unreachable {
		row := agentRow(u.Info)
		row.State, row.Unreachable = ui.AgentUnreachable, u.Since
		row.Total = amounts(u.Info.GetResources())
		out.Agents = append(out.Agents, row)
	}
}

func agentRow(info *v1.AgentInfo) *ui.Agent {
	row := &ui.Agent{ID: info.GetId().GetValue(), Hostname: info.GetHostname()}
	fault := info.GetDomain().GetFaultDomain()
	row.Region, row.Zone = fault.GetRegion().GetName(), fault.GetZone().GetName()
	for _, a := range info.GetAttributes() {
		row.Attributes = append(row.Attributes, ui.Label{Key: a.GetName(), Value: attributeText(a)})
	}
	return row
}

func (s *uiSource) tasks(out *ui.State, v *master.View) {
	out.TaskCounts = make(map[string]int64)
	s.mu.Lock()
	defer s.mu.Unlock()
	cache := make(map[*v1.Task]*ui.Task)
	all := v.State.GetGetTasks()
	for _, list := range [][]*v1.Task{all.GetTasks(), all.GetUnreachableTasks(), all.GetCompletedTasks()} {
		for _, t := range list {
			row := s.rows.tasks[t]
			if row == nil {
				row = taskRow(t)
			}
			cache[t] = row
			out.Tasks = append(out.Tasks, row)
			if !mesos.Terminal(t.GetState()) {
				out.TaskCounts[t.GetState().String()]++
			}
		}
	}
	s.rows.tasks = cache
	for name, state := range map[string]string{
		"finished": "TASK_FINISHED", "failed": "TASK_FAILED", "killed": "TASK_KILLED", "lost": "TASK_LOST", "error": "TASK_ERROR",
		"dropped": "TASK_DROPPED", "gone": "TASK_GONE", "gone_by_operator": "TASK_GONE_BY_OPERATOR",
	} {
		if n := v.Metrics["master/tasks_"+name]; n > 0 {
			out.TaskCounts[state] = int64(n)
		}
	}
}

func taskRow(t *v1.Task) *ui.Task {
	row := &ui.Task{
		ID: t.GetTaskId().GetValue(), Name: t.GetName(), FrameworkID: t.GetFrameworkId().GetValue(), AgentID: t.GetAgentId().GetValue(),
		ExecutorID: t.GetExecutorId().GetValue(), User: t.GetUser(), State: t.GetState().String(), Resources: amounts(t.GetResources()),
		Labels: labels(t.GetLabels()), Discovery: t.GetDiscovery().GetName(),
	}
	for _, r := range t.GetResources() {
		row.Role = r.GetAllocationInfo().GetRole()
	}
	for name, limit := range t.GetLimits() {
		switch name {
		case "cpus":
			row.Limits.CPUs = limit.GetValue()
		case "mem":
			row.Limits.MemMB = limit.GetValue()
		}
	}
	for _, p := range t.GetDiscovery().GetPorts().GetPorts() {
		row.Ports = append(row.Ports, ui.Port{Number: p.GetNumber(), Name: p.GetName(), Protocol: p.GetProtocol()})
	}
	for _, st := range t.GetStatuses() {
		status := ui.Status{State: st.GetState().String(), Message: st.GetMessage(), Healthy: st.Healthy,
			Timestamp: time.UnixMicro(int64(st.GetTimestamp() * 1e6))}
		if st.Source != nil {
			status.Source = st.GetSource().String()
		}
		if st.Reason != nil {
			status.Reason = st.GetReason().String()
		}
		row.Statuses = append(row.Statuses, status)
		row.Healthy = st.Healthy
		container := st.GetContainerStatus()
		if id := container.GetContainerId().GetValue(); id != "" {
			row.ContainerID = id
			row.IPs = nil
			for _, n := range container.GetNetworkInfos() {
				for _, ip := range n.GetIpAddresses() {
					row.IPs = append(row.IPs, ip.GetIpAddress())
				}
			}
		}
	}
	executor := row.ExecutorID
	if executor == "" {
		executor = row.ID // the generated executor of a command task has the task's id (EXE-52)
	}
	if row.ContainerID != "" {
		row.Sandbox = "/frameworks/" + row.FrameworkID + "/executors/" + executor + "/runs/" + row.ContainerID
	}
	return row
}

func labels(l *v1.Labels) []ui.Label {
	var out []ui.Label
	for _, e := range l.GetLabels() {
		out = append(out, ui.Label{Key: e.GetKey(), Value: e.GetValue()})
	}
	return out
}

func instant(t *v1.TimeInfo) time.Time {
	if t == nil {
		return time.Time{}
	}
	return time.Unix(0, t.GetNanoseconds())
}

// seconds turns a time-out of the API into a duration; what does not fit is the longest there is.
func seconds(s float64) time.Duration {
	const longest = 1<<63 - 1
	if s*1e9 >= longest {
		return longest
	}
	return time.Duration(s * 1e9)
}

// amounts sums up resources, whatever their role.
func amounts(resources []*v1.Resource) ui.Resources {
	var out ui.Resources
	var ports []string
	for _, r := range resources {
		value := r.GetScalar().GetValue()
		switch r.GetName() {
		case "cpus":
			out.CPUs += value
		case "gpus":
			out.GPUs += value
		case "mem":
			out.MemMB += value
		case "disk":
			out.DiskMB += value
		case "ports":
			for _, p := range r.GetRanges().GetRange() {
				ports = append(ports, fmt.Sprintf("%d-%d", p.GetBegin(), p.GetEnd()))
			}
		}
	}
	if len(ports) > 0 {
		out.Ports = "[" + strings.Join(ports, ", ") + "]"
	}
	return out
}

func attributeText(a *v1.Attribute) string {
	switch a.GetType() {
	case v1.Value_SCALAR:
		return strconv.FormatFloat(a.GetScalar().GetValue(), 'f', -1, 64)
	case v1.Value_TEXT:
		return a.GetText().GetValue()
	case v1.Value_SET:
		return "{" + strings.Join(a.GetSet().GetItem(), ", ") + "}"
	}
	var parts []string
	for _, r := range a.GetRanges().GetRange() {
		parts = append(parts, fmt.Sprintf("%d-%d", r.GetBegin(), r.GetEnd()))
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// nodeOf is where the node of an agent is reached.
func (s *uiSource) nodeOf(agentID string) (whereabouts, error) {
	l := s.n.leading.Load()
	if l == nil {
		return whereabouts{}, fmt.Errorf("%w: no leading master", ui.ErrUnavailable)
	}
	if node, ok := l.nodeOf(mesos.AgentID(agentID)); ok {
		return nodeAt(node), nil
	}
	return whereabouts{}, fmt.Errorf("%w: the node of agent %s is not known", ui.ErrUnavailable, agentID)
}

func (s *uiSource) get(ctx context.Context, agentID, endpoint string, query url.Values, v any) error {
	to, err := s.nodeOf(agentID)
	if err != nil {
		return err
	}
	resp, err := s.n.fromAgent(ctx, to, endpoint, query.Encode())
	if err != nil {
		return fmt.Errorf("%w: %w", ui.ErrUnavailable, err)
	}
	defer resp.Body.Close()
	switch resp.StatusCode {
	case http.StatusOK:
		return json.NewDecoder(resp.Body).Decode(v)
	case http.StatusNotFound:
		return fmt.Errorf("%w: %s", ui.ErrNotFound, path.Base(query.Get("path")))
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1024))
	if err != nil {
		return err
	}
	return errors.New(strings.TrimSpace(string(text)))
}

// Files implements ui.Source.
func (s *uiSource) Files(ctx context.Context, agentID, dir string) ([]ui.File, error) {
	var entries []struct {
		Path  string  `json:"path"`
		Mode  string  `json:"mode"`
		NLink int     `json:"nlink"`
		UID   string  `json:"uid"`
		GID   string  `json:"gid"`
		Size  int64   `json:"size"`
		MTime float64 `json:"mtime"`
	}
	if err := s.get(ctx, agentID, "/files/browse", url.Values{"path": {dir}}, &entries); err != nil {
		return nil, err
	}
	out := make([]ui.File, len(entries))
	for i, e := range entries {
		out[i] = ui.File{Name: path.Base(e.Path), Mode: e.Mode, Links: e.NLink, User: e.UID, Group: e.GID, Size: e.Size, Modified: time.Unix(int64(e.MTime), 0)}
	}
	return out, nil
}

// Read implements ui.Source.
func (s *uiSource) Read(ctx context.Context, agentID, file string, offset int64, length int) ([]byte, int64, error) {
	size, err := s.read(ctx, agentID, file, -1, 0)
	if err != nil || offset < 0 || offset >= size.Offset {
		return nil, size.Offset, err
	}
	part, err := s.read(ctx, agentID, file, offset, length)
	return []byte(part.Data), size.Offset, err
}

type fileRead struct {
	Data   string `json:"data"`
	Offset int64  `json:"offset"`
}

func (s *uiSource) read(ctx context.Context, agentID, file string, offset int64, length int) (r fileRead, err error) {
	q := url.Values{"path": {file}, "offset": {strconv.FormatInt(offset, 10)}}
	if offset >= 0 {
		q.Set("length", strconv.Itoa(length))
	}
	return r, s.get(ctx, agentID, "/files/read", q, &r)
}

// Kill implements ui.Source.
func (s *uiSource) Kill(ctx context.Context, frameworkID, taskID string) error {
	l := s.n.leading.Load()
	if l == nil {
		return fmt.Errorf("%w: no leading master", ui.ErrUnavailable)
	}
	answer, err := l.kill(ctx, mesos.FrameworkID(frameworkID), mesos.TaskID(taskID), -1)
	switch {
	case err != nil:
		return err
	case answer.Status == http.StatusNotFound:
		return fmt.Errorf("%w: %s", ui.ErrNotFound, answer.Body)
	case answer.Status >= 300:
		return errors.New(answer.Body)
	}
	return nil
}
