package api

import (
	"cmp"
	"net/http"
	"net/url"
	"slices"
	"strconv"

	v1 "clusterd/node/mesos/v1"
)

// defaultTaskLimit is how many tasks are listed unless the query says otherwise (OPR-114).
const defaultTaskLimit = 100

// tasks serves running, unreachable and completed tasks in the order of their first status.
func (m *master) tasks(w http.ResponseWriter, r *http.Request, view *MasterView) {
	page := selectTasks(view, r.URL.Query())
	serveJSON(w, r, func(d *document) {
		d.openObject()
		if d.tasks("tasks", page) {
			d.endObject()
		}
	})
}

// selectTasks applies the query. Equal times are ordered by id, so that pages of the same state are
// disjoint and complete (OPR-115).
func selectTasks(view *MasterView, query url.Values) []*v1.Task {
	framework, task := newFilter(query, "framework_id"), newFilter(query, "task_id")
	var found []*v1.Task
	lists := view.State.GetGetTasks()
	for _, list := range [][]*v1.Task{lists.GetTasks(), lists.GetUnreachableTasks(), lists.GetCompletedTasks()} {
		for _, t := range list {
			if framework.match(t.GetFrameworkId().GetValue()) && task.match(t.GetTaskId().GetValue()) {
				found = append(found, t)
			}
		}
	}
	direction := -1
	if query.Get("order") == "asc" {
		direction = 1
	}
	slices.SortFunc(found, func(a, b *v1.Task) int { return direction * compareTasks(a, b) })
	return paginate(found, query)
}

func compareTasks(a, b *v1.Task) int {
	return cmp.Or(
		cmp.Compare(firstTimestamp(a), firstTimestamp(b)),
		cmp.Compare(a.GetFrameworkId().GetValue(), b.GetFrameworkId().GetValue()),
		cmp.Compare(a.GetTaskId().GetValue(), b.GetTaskId().GetValue()),
	)
}

func firstTimestamp(t *v1.Task) float64 {
	if len(t.GetStatuses()) == 0 {
		return 0
	}
	return t.GetStatuses()[0].GetTimestamp()
}

// paginate cuts out the page that limit and offset name. Numbers that cannot be read count as absent; a
// negative limit is no limit, which goes with offset 0 only.
func paginate(tasks []*v1.Task, query url.Values) []*v1.Task {
	limit, offset := int64(defaultTaskLimit), int64(0)
	if n, err := strconv.ParseInt(query.Get("limit"), 10, 64); err == nil {
		limit = n
	}
	if n, err := strconv.ParseInt(query.Get("offset"), 10, 64); err == nil {
		offset = n
	}
	if offset < 0 || offset > int64(len(tasks)) || limit < 0 && offset > 0 {
		return nil
	}
	tasks = tasks[offset:]
	if limit >= 0 && limit < int64(len(tasks)) {
		tasks = tasks[:limit]
	}
	return tasks
}
