package api

import (
	"maps"
	"net/http"
	"slices"

	v1 "clusterd/node/mesos/v1"
)

// countedStates are the states whose tasks the summary counts, in its order (OPR-117).
var countedStates = [...]v1.TaskState{
	v1.TaskState_TASK_STAGING, v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING, v1.TaskState_TASK_KILLING,
	v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_KILLED, v1.TaskState_TASK_FAILED, v1.TaskState_TASK_LOST,
	v1.TaskState_TASK_ERROR, v1.TaskState_TASK_UNREACHABLE,
}

// tally counts the tasks of an agent or a framework and collects its counterparts.
type tally struct {
	states [len(countedStates)]int64
	others map[string]bool // ids of frameworks or agents
}

// tallies are kept by id.
type tallies map[string]*tally

func (t tallies) add(id, other string, state v1.TaskState) {
	entry := t[id]
	if entry == nil {
		entry = &tally{others: make(map[string]bool)}
		t[id] = entry
	}
	if i := slices.Index(countedStates[:], state); i >= 0 {
		entry.states[i]++
	}
	entry.others[other] = true
}

// summarise counts tasks, finished history included.
func summarise(view *MasterView) (agents, frameworks tallies) {
	agents, frameworks = make(tallies), make(tallies)
	lists := view.State.GetGetTasks()
	for _, list := range [][]*v1.Task{lists.GetTasks(), lists.GetUnreachableTasks(), lists.GetCompletedTasks()} {
		for _, t := range list {
			framework, agent := t.GetFrameworkId().GetValue(), t.GetAgentId().GetValue()
			agents.add(agent, framework, t.GetState())
			frameworks.add(framework, agent, t.GetState())
		}
	}
	return agents, frameworks
}

func (d *document) tally(t *tally, others string) {
	if t == nil {
		t = new(tally)
	}
	for i, state := range countedStates {
		d.integer(state.String(), t.states[i])
	}
	d.array(others)
	for _, id := range slices.Sorted(maps.Keys(t.others)) {
		d.textElement(id)
	}
	d.endArray()
}

// stateSummary serves agents and frameworks without the lists of tasks (OPR-117).
func (m *master) stateSummary(w http.ResponseWriter, r *http.Request, view *MasterView) {
	agents, frameworks := summarise(view)
	serveJSON(w, r, func(d *document) {
		d.openObject()
		d.text("hostname", view.Info.GetHostname())
		if cluster := m.Flags()["cluster"]; cluster != "" {
			d.text("cluster", cluster)
		}
		d.array("slaves")
		for _, a := range view.State.GetGetAgents().GetAgents() {
			d.openObject()
			d.agent(a)
			d.tally(agents[a.GetAgentInfo().GetId().GetValue()], "framework_ids")
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
		d.array("frameworks")
		for _, f := range view.State.GetGetFrameworks().GetFrameworks() {
			d.openObject()
			d.frameworkSummary(f)
			d.tally(frameworks[f.GetFrameworkInfo().GetId().GetValue()], "slave_ids")
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
		d.endObject()
	})
}
