package cli

import (
	"context"
	"fmt"
	"net"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
)

// The parts of /state that the commands read.
type (
	clusterState struct {
		Leader     string           `json:"leader"`
		Agents     []agentEntry     `json:"slaves"`
		Frameworks []frameworkEntry `json:"frameworks"`
		Completed  []frameworkEntry `json:"completed_frameworks"`
	}
	agentEntry struct {
		ID       string `json:"id"`
		Hostname string `json:"hostname"`
		Port     int    `json:"port"`
		PID      string `json:"pid"`
	}
	frameworkEntry struct {
		ID          string      `json:"id"`
		Name        string      `json:"name"`
		User        string      `json:"user"`
		Tasks       []taskEntry `json:"tasks"`
		Unreachable []taskEntry `json:"unreachable_tasks"`
		Completed   []taskEntry `json:"completed_tasks"`
	}
	taskEntry struct {
		ID                            string            `json:"id"`
		Name                          string            `json:"name"`
		Framework                     string            `json:"framework_id"`
		Executor                      string            `json:"executor_id"`
		Agent                         string            `json:"slave_id"`
		State                         string            `json:"state"`
		Resources                     map[string]any    `json:"resources"`
		Statuses                      []taskStatusEntry `json:"statuses"`
		frameworkName, user, hostname string
		agentAddr                     string
		done                          bool
	}
	taskStatusEntry struct {
		State     string  `json:"state"`
		Timestamp float64 `json:"timestamp"`
		Container struct {
			ID struct {
				Value string `json:"value"`
			} `json:"container_id"`
		} `json:"container_status"`
	}
)

// address is the agent's HOST:PORT: that of its pid, agent(1)@HOST:PORT, which is what it advertises.
func (a agentEntry) address() string {
	if _, addr, ok := strings.Cut(a.PID, "@"); ok {
		return addr
	}
	return net.JoinHostPort(a.Hostname, strconv.Itoa(a.Port))
}

func (t taskEntry) scalar(name string) float64 {
	v, _ := t.Resources[name].(float64)
	return v
}

// container is the id of the container that the task ran in last, "" if none is known.
func (t taskEntry) container() string {
	for _, s := range slices.Backward(t.Statuses) {
		if s.Container.ID.Value != "" {
			return s.Container.ID.Value
		}
	}
	return ""
}

// changed is when the task's state last changed; zero if unknown.
func (t taskEntry) changed() time.Time {
	if len(t.Statuses) == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(t.Statuses[len(t.Statuses)-1].Timestamp * 1e6))
}

// sandbox is the path of the task's sandbox in the agent's files API.
func (t taskEntry) sandbox() string {
	executor := t.Executor
	if executor == "" {
		executor = t.ID // a command task runs under an executor of its own name
	}
	run := t.container()
	if run == "" {
		run = "latest"
	}
	return "/frameworks/" + t.Framework + "/executors/" + executor + "/runs/" + run
}

// tasks returns every task that the leading master remembers, newest last; all includes ended ones.
func (cl *client) tasks(ctx context.Context, all bool) ([]taskEntry, error) {
	var st clusterState
	if err := cl.getJSON(ctx, cl.leader, "/master/state", nil, &st); err != nil {
		return nil, err
	}
	agents := make(map[string]agentEntry)
	for _, a := range st.Agents {
		agents[a.ID] = a
	}
	var out []taskEntry
	add := func(f frameworkEntry, tasks []taskEntry, done bool) {
		for _, t := range tasks {
			a := agents[t.Agent]
			t.frameworkName, t.user, t.done, t.hostname = f.Name, f.User, done, a.Hostname
			if a.ID != "" {
				t.agentAddr = a.address()
			}
			out = append(out, t)
		}
	}
	for _, f := range st.Frameworks {
		add(f, f.Tasks, false)
		add(f, f.Unreachable, false)
		if all {
			add(f, f.Completed, true)
		}
	}
	if all {
		for _, f := range st.Completed {
			add(f, f.Tasks, true)
			add(f, f.Completed, true)
		}
	}
	sort.SliceStable(out, func(i, j int) bool { return first(out[i]) < first(out[j]) })
	return out, nil
}

func first(t taskEntry) float64 {
	if len(t.Statuses) == 0 {
		return float64(time.Now().Unix())
	}
	return t.Statuses[0].Timestamp
}

// task finds one task by its id or a unique beginning of it. A running one comes before ended ones
// of the same id, the newest before older ones.
func (cl *client) task(ctx context.Context, name string) (taskEntry, error) {
	tasks, err := cl.tasks(ctx, true)
	if err != nil {
		return taskEntry{}, err
	}
	return pickTask(tasks, name)
}

func pickTask(tasks []taskEntry, name string) (taskEntry, error) {
	best := func(match func(taskEntry) bool) (found []taskEntry) {
		seen := make(map[string]int)
		for _, t := range tasks {
			if !match(t) {
				continue
			}
			i, ok := seen[t.ID]
			switch {
			case !ok:
				seen[t.ID] = len(found)
				found = append(found, t)
			case !t.done || found[i].done:
				found[i] = t
			}
		}
		return found
	}
	found := best(func(t taskEntry) bool { return t.ID == name })
	if len(found) == 0 && name != "" {
		found = best(func(t taskEntry) bool { return strings.HasPrefix(t.ID, name) })
	}
	switch len(found) {
	case 0:
		return taskEntry{}, fmt.Errorf("task %q is not known (clusterd ps -a lists all)", name)
	case 1:
		return found[0], nil
	}
	ids := make([]string, len(found))
	for i, t := range found {
		ids[i] = t.ID
	}
	sort.Strings(ids)
	if len(ids) > 5 {
		ids = append(ids[:5], "...")
	}
	return taskEntry{}, fmt.Errorf("task %q is not unique: %s", name, strings.Join(ids, ", "))
}
