package ui

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/url"
	"slices"
	"strings"
	"time"
)

// encode turns a value of this package into JSON. Such values always can be.
func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		panic("ui: encode: " + err.Error())
	}
	return b
}

// millis is a time on the wire: milliseconds since 1970, 0 for none.
func millis(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// builder makes the contents of topics from one state. It is used by one
// goroutine and dropped with the state. What not every topic needs is worked
// out when it is asked for: there may be 100,000 tasks.
type builder struct {
	state      *State
	history    json.RawMessage
	frameworks map[string]*Framework
	agents     map[string]*Agent
	tasks      []taskFacts               // parallel to state.Tasks
	byFW       map[string]map[string]int // tasks by framework and state; see counts
	byAgent    map[string]map[string]int
	capacity   Resources
}

// taskFacts are what sorting needs of a task. Times are in nanoseconds since
// 1970, 0 for none.
type taskFacts struct {
	task    *Task
	started int64
	ended   int64
}

// neverStarted sorts a task without any status update as the newest.
const neverStarted = 1 << 62

func newBuilder(s *State, history json.RawMessage) *builder {
	b := &builder{
		state: s, history: history,
		frameworks: make(map[string]*Framework, len(s.Frameworks)),
		agents:     make(map[string]*Agent, len(s.Agents)),
		tasks:      make([]taskFacts, len(s.Tasks)),
	}
	for _, f := range s.Frameworks {
		b.frameworks[f.ID] = f
	}
	for _, a := range s.Agents {
		b.agents[a.ID] = a
		if reachable(a) {
			b.capacity = plus(b.capacity, a.Total)
		}
	}
	for i, t := range s.Tasks {
		b.tasks[i] = facts(t)
	}
	return b
}

// counts works out byFW and byAgent.
func (b *builder) counts() {
	if b.byFW != nil {
		return
	}
	b.byFW, b.byAgent = map[string]map[string]int{}, map[string]map[string]int{}
	count := func(in map[string]map[string]int, id, state string) {
		m := in[id]
		if m == nil {
			m = map[string]int{}
			in[id] = m
		}
		m[state]++
	}
	for _, t := range b.state.Tasks {
		count(b.byFW, t.FrameworkID, t.State)
		count(b.byAgent, t.AgentID, t.State)
	}
}

func facts(t *Task) taskFacts {
	f := taskFacts{task: t}
	for _, s := range t.Statuses {
		if f.started == 0 || s.State == "TASK_RUNNING" {
			f.started = s.Timestamp.UnixNano()
		}
		if s.State == "TASK_RUNNING" {
			break // the first time; later ones tell of health
		}
	}
	if n := len(t.Statuses); n > 0 && terminal(t.State) {
		f.ended = t.Statuses[n-1].Timestamp.UnixNano()
	}
	return f
}

// order is what the newest task has the most of.
func (f taskFacts) order() int64 {
	if f.started == 0 {
		return neverStarted
	}
	return f.started
}

// newer reports whether x shows more than y of two tasks with one id.
func newer(x, y taskFacts) bool {
	if xe, ye := terminal(x.task.State), terminal(y.task.State); xe != ye {
		return ye
	}
	return x.order() > y.order()
}

// taskID names a task: its id is unique among the live tasks of a framework.
type taskID struct{ framework, id string }

// keys names the tasks for a list. A framework may use the id of a task that
// has ended again: then the newest has the plain key.
func (b *builder) keys(rows []taskFacts) []string {
	newest := make(map[taskID]taskFacts, len(rows))
	for _, f := range rows {
		newest[taskID{f.task.FrameworkID, f.task.ID}] = f
	}
	for _, f := range b.tasks {
		id := taskID{f.task.FrameworkID, f.task.ID}
		if n, ok := newest[id]; ok && newer(f, n) {
			newest[id] = f
		}
	}
	taken := make(map[string]bool, len(rows))
	out := make([]string, len(rows))
	for i, f := range rows {
		key := taskKey(f.task.FrameworkID, f.task.ID)
		if newest[taskID{f.task.FrameworkID, f.task.ID}].task != f.task {
			key = fmt.Sprintf("%s#%d", key, f.order())
		}
		for taken[key] {
			key += "'"
		}
		taken[key] = true
		out[i] = key
	}
	return out
}

// reachable reports whether the agent's resources count as the cluster's.
func reachable(a *Agent) bool {
	switch a.State {
	case AgentUnreachable, AgentGone, AgentRecovered:
		return false
	}
	return true
}

func plus(a, b Resources) Resources {
	return Resources{CPUs: a.CPUs + b.CPUs, GPUs: a.GPUs + b.GPUs, MemMB: a.MemMB + b.MemMB, DiskMB: a.DiskMB + b.DiskMB}
}

// build returns what the topic shows.
func (b *builder) build(t topic) *content {
	switch t.kind {
	case topicOverview:
		return b.overview()
	case topicFrameworks:
		return b.frameworkList(t.list)
	case topicFramework:
		return b.framework(t.ids[0])
	case topicAgents:
		return b.agentList(t.list)
	case topicAgent:
		return b.agent(t.ids[0])
	case topicTasks:
		return b.taskList(t.list)
	case topicTask:
		return b.task(t.ids[0], t.ids[1])
	}
	panic("ui: no content for topic " + t.kind)
}

// fields encodes every value of a map.
func fields(m map[string]any) map[string]json.RawMessage {
	out := make(map[string]json.RawMessage, len(m))
	for k, v := range m {
		out[k] = encode(v)
	}
	return out
}

func missing() *content { return &content{fields: fields(map[string]any{"missing": true})} }

func (b *builder) overview() *content {
	var total, allocated, offered Resources
	agents := map[string]int{}
	for _, a := range b.state.Agents {
		agents[a.State]++
		if reachable(a) {
			total, allocated, offered = plus(total, a.Total), plus(allocated, a.Allocated), plus(offered, a.Offered)
		}
	}
	frameworks := map[string]int{}
	for _, f := range b.state.Frameworks {
		frameworks[frameworkState(f)]++
	}
	c := b.state.Cluster
	masters := []any{}
	for _, m := range c.Masters {
		masters = append(masters, map[string]any{"id": m.ID, "address": m.Address, "state": m.State, "term": m.Term, "applied": m.Applied})
	}
	problems := []any{}
	for _, p := range b.state.Problems {
		problems = append(problems, map[string]any{"code": p.Code, "severity": p.Severity, "text": p.Text, "do": p.Do})
	}
	f := fields(map[string]any{
		"cluster": map[string]any{
			"name": c.Name, "version": c.Version, "build": c.Build, "id": c.MasterID, "leader": c.Leader,
			"leading": c.Leading, "started": millis(c.Started), "elected": millis(c.Elected), "isolation": c.Isolation, "join": c.Join,
		},
		"masters": masters, "problems": problems, "agents": agents, "frameworks": frameworks,
		"tasks":     b.state.TaskCounts,
		"resources": map[string]any{"total": total, "allocated": allocated, "offered": offered},
		"running":   b.latest(8, func(t taskFacts) bool { return !terminal(t.task.State) }, taskFacts.order),
		"ended":     b.latest(8, func(t taskFacts) bool { return terminal(t.task.State) }, func(t taskFacts) int64 { return t.ended }),
	})
	f["history"] = b.history
	return &content{fields: f}
}

// latest returns the n tasks that keep accepts with the greatest order.
func (b *builder) latest(n int, keep func(taskFacts) bool, order func(taskFacts) int64) []any {
	var top []taskFacts // greatest first
	for _, t := range b.tasks {
		if !keep(t) || (len(top) == n && order(t) <= order(top[n-1])) {
			continue
		}
		at, _ := slices.BinarySearchFunc(top, order(t), func(e taskFacts, o int64) int { return cmp.Compare(o, order(e)) })
		top = slices.Insert(top, at, t)
		top = top[:min(n, len(top))]
	}
	out := []any{}
	for i, key := range b.keys(top) {
		out = append(out, b.taskRow(top[i], key))
	}
	return out
}

// frameworkState is one word for what the framework is.
func frameworkState(f *Framework) string {
	switch {
	case f.Completed:
		return "completed"
	case f.Recovered:
		return "recovered"
	case !f.Connected:
		return "disconnected"
	case !f.Active:
		return "inactive"
	}
	return "active"
}

// share is the dominant share: the largest part of the cluster's cpus, gpus,
// mem or disk that r is.
func (b *builder) share(r Resources) float64 {
	part := func(of, total float64) float64 {
		if total <= 0 {
			return 0
		}
		return of / total
	}
	return max(part(r.CPUs, b.capacity.CPUs), part(r.GPUs, b.capacity.GPUs), part(r.MemMB, b.capacity.MemMB), part(r.DiskMB, b.capacity.DiskMB))
}

// live is the number of tasks that have not ended.
func live(counts map[string]int) int {
	n := 0
	for state, c := range counts {
		if !terminal(state) {
			n += c
		}
	}
	return n
}

func (b *builder) frameworkRow(f *Framework) map[string]any {
	b.counts()
	row := map[string]any{
		"key": f.ID, "id": f.ID, "name": f.Name, "user": f.User, "principal": f.Principal, "host": f.Hostname,
		"roles": notNil(f.Roles), "state": frameworkState(f), "tasks": live(b.byFW[f.ID]),
		"allocated": f.Allocated, "offered": f.Offered, "share": b.share(f.Allocated),
		"registered": millis(f.Registered), "reregistered": millis(f.Reregistered), "ended": millis(f.Unregistered),
		"webui": webLink(f.WebUIURL), "failover": f.FailoverTimeout.Milliseconds(),
	}
	if !f.Disconnected.IsZero() && !f.Completed {
		row["disconnected"] = millis(f.Disconnected)
		row["failover_until"] = millis(f.Disconnected.Add(f.FailoverTimeout))
	}
	return row
}

// webLink returns the address when it is one of the web, else nothing: a
// framework must not be able to put a script behind a link.
func webLink(text string) string {
	u, err := url.Parse(text)
	if err != nil || (u.Scheme != "http" && u.Scheme != "https") || u.Host == "" {
		return ""
	}
	return u.String()
}

func notNil[T any](s []T) []T {
	if s == nil {
		return []T{}
	}
	return s
}

func (b *builder) framework(id string) *content {
	f, ok := b.frameworks[id]
	if !ok {
		return missing()
	}
	m := b.frameworkRow(f)
	m["capabilities"] = notNil(f.Capabilities)
	m["labels"] = notNil(f.Labels)
	m["checkpoint"] = f.Checkpoint
	m["counts"] = notNilMap(b.byFW[id])
	m["total"] = b.capacity
	return &content{fields: fields(m)}
}

func notNilMap(m map[string]int) map[string]int {
	if m == nil {
		return map[string]int{}
	}
	return m
}

func (b *builder) agentRow(a *Agent) map[string]any {
	b.counts()
	return map[string]any{
		"key": a.ID, "id": a.ID, "host": a.Hostname, "address": a.Address, "state": a.State, "version": a.Version,
		"region": a.Region, "zone": a.Zone, "attributes": notNil(a.Attributes), "tasks": live(b.byAgent[a.ID]),
		"total": a.Total, "allocated": a.Allocated, "offered": a.Offered,
		"registered": millis(a.Registered), "reregistered": millis(a.Reregistered), "unreachable": millis(a.Unreachable),
	}
}

func (b *builder) agent(id string) *content {
	a, ok := b.agents[id]
	if !ok {
		return missing()
	}
	m := b.agentRow(a)
	m["capabilities"] = notNil(a.Capabilities)
	m["isolation"] = a.Isolation
	m["counts"] = notNilMap(b.byAgent[id])
	m["frameworks"] = b.frameworksOn(id)
	return &content{fields: fields(m)}
}

// frameworksOn lists the frameworks with tasks on the agent and what those
// tasks hold there.
func (b *builder) frameworksOn(agentID string) []any {
	type use struct {
		tasks int
		r     Resources
	}
	uses := map[string]*use{}
	for _, t := range b.state.Tasks {
		if t.AgentID != agentID || terminal(t.State) {
			continue
		}
		u := uses[t.FrameworkID]
		if u == nil {
			u = &use{}
			uses[t.FrameworkID] = u
		}
		u.tasks++
		u.r = plus(u.r, t.Resources)
	}
	out := []any{}
	ids := make([]string, 0, len(uses))
	for id := range uses {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		out = append(out, map[string]any{"id": id, "name": b.frameworkName(id), "tasks": uses[id].tasks, "allocated": uses[id].r})
	}
	return out
}

func (b *builder) frameworkName(id string) string {
	if f, ok := b.frameworks[id]; ok {
		return f.Name
	}
	return ""
}

func (b *builder) host(agentID string) string {
	if a, ok := b.agents[agentID]; ok {
		return a.Hostname
	}
	return ""
}

func (b *builder) taskRow(f taskFacts, key string) map[string]any {
	t := f.task
	return map[string]any{
		"key": key, "id": t.ID, "name": t.Name,
		"framework": t.FrameworkID, "framework_name": b.frameworkName(t.FrameworkID),
		"agent": t.AgentID, "host": b.host(t.AgentID), "role": t.Role,
		"state": t.State, "healthy": t.Healthy, "resources": t.Resources,
		"started": f.started / 1e6, "ended": f.ended / 1e6, "why": explain(t, b.host(t.AgentID)), "sandbox": t.Sandbox,
	}
}

// taskKey names a task among all: ids of tasks are unique within a framework
// only, and "/" may not be in either.
func taskKey(frameworkID, taskID string) string { return frameworkID + "/" + taskID }

func (b *builder) task(frameworkID, id string) *content {
	var found taskFacts
	for _, f := range b.tasks {
		if f.task.ID == id && f.task.FrameworkID == frameworkID && (found.task == nil || newer(f, found)) {
			found = f
		}
	}
	if found.task == nil {
		return missing()
	}
	return b.taskDetail(found)
}

func (b *builder) taskDetail(f taskFacts) *content {
	t, m := f.task, b.taskRow(f, taskKey(f.task.FrameworkID, f.task.ID))
	statuses := []any{}
	for _, s := range t.Statuses {
		statuses = append(statuses, map[string]any{
			"state": s.State, "reason": s.Reason, "message": s.Message, "source": s.Source,
			"at": millis(s.Timestamp), "healthy": s.Healthy,
		})
	}
	m["statuses"] = statuses
	m["labels"] = notNil(t.Labels)
	m["ports"] = notNil(t.Ports)
	m["ips"] = notNil(t.IPs)
	m["limits"] = t.Limits
	m["user"] = t.User
	m["executor"] = t.ExecutorID
	m["container"] = t.ContainerID
	m["command"] = t.Command
	m["discovery"] = t.Discovery
	m["terminal"] = terminal(t.State)
	m["agent_state"] = ""
	if a, ok := b.agents[t.AgentID]; ok {
		m["agent_state"] = a.State
	}
	return &content{fields: fields(m)}
}

// terminal reports whether a task in this state has ended for good. A task of
// an unreachable agent may come back.
func terminal(state string) bool {
	switch strings.TrimPrefix(state, "TASK_") {
	case "FINISHED", "FAILED", "KILLED", "ERROR", "LOST", "DROPPED", "GONE", "GONE_BY_OPERATOR":
		return true
	}
	return false
}
