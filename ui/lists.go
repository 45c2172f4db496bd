package ui

import (
	"cmp"
	"slices"
	"strings"
)

// taskGroups are the filters of the tasks page: a name for some states.
var taskGroups = map[string][]string{
	"pending":     {"TASK_STAGING", "TASK_STARTING"},
	"running":     {"TASK_RUNNING", "TASK_KILLING"},
	"unreachable": {"TASK_UNREACHABLE", "TASK_UNKNOWN"},
	"finished":    {"TASK_FINISHED"},
	"failed":      {"TASK_FAILED", "TASK_ERROR", "TASK_LOST", "TASK_DROPPED", "TASK_GONE", "TASK_GONE_BY_OPERATOR"},
	"killed":      {"TASK_KILLED"},
}

// groupOf is taskGroups the other way round.
var groupOf = func() map[string]string {
	m := map[string]string{}
	for group, states := range taskGroups {
		for _, s := range states {
			m[s] = group
		}
	}
	return m
}()

// inGroup reports whether the state passes the filter: a group, "active",
// "ended", the name of a state, or "" for all.
func inGroup(filter, state string) bool {
	switch filter {
	case "":
		return true
	case "active":
		return !terminal(state)
	case "ended":
		return terminal(state)
	}
	return groupOf[state] == filter || state == filter
}

// taskList is one page of the tasks that match, with the number of matches by
// group, so that the filters can show how many each would give.
func (b *builder) taskList(q listQuery) *content {
	groups := map[string]int{}
	var found []taskFacts
	for _, f := range b.tasks {
		t := f.task
		if q.framework != "" && t.FrameworkID != q.framework || q.agent != "" && t.AgentID != q.agent {
			continue
		}
		if !b.taskMatches(t, q.text) {
			continue
		}
		groups["all"]++
		groups[groupOf[t.State]]++
		if terminal(t.State) {
			groups["ended"]++
		} else {
			groups["active"]++
		}
		if inGroup(q.state, t.State) {
			found = append(found, f)
		}
	}
	rows, more := page(found, q, b.taskOrder(q.sort), func(x, y taskFacts) int {
		return cmp.Or(cmp.Compare(x.task.FrameworkID, y.task.FrameworkID), cmp.Compare(x.task.ID, y.task.ID), cmp.Compare(y.order(), x.order()))
	})
	more["groups"] = groups
	c := &content{fields: fields(more)}
	for i, key := range b.keys(rows) {
		c.rows = append(c.rows, row{key: key, body: encode(b.taskRow(rows[i], key))})
	}
	return c
}

func (b *builder) taskMatches(t *Task, words []string) bool {
	for _, w := range words {
		ok := contains(t.ID, w) || contains(t.Name, w) || contains(t.State, w) || contains(t.Role, w) ||
			contains(t.FrameworkID, w) || contains(b.frameworkName(t.FrameworkID), w) ||
			contains(t.AgentID, w) || contains(b.host(t.AgentID), w) || labelsMatch(t.Labels, w)
		if !ok {
			return false
		}
	}
	return true
}

func labelsMatch(labels []Label, word string) bool {
	for _, l := range labels {
		if contains(l.Key, word) || contains(l.Value, word) || contains(l.Key+"="+l.Value, word) || contains(l.Key+":"+l.Value, word) {
			return true
		}
	}
	return false
}

func (b *builder) taskOrder(key string) func(x, y taskFacts) int {
	text := func(get func(*Task) string) func(x, y taskFacts) int {
		return func(x, y taskFacts) int { return natural(get(x.task), get(y.task)) }
	}
	number := func(get func(Resources) float64) func(x, y taskFacts) int {
		return func(x, y taskFacts) int { return cmp.Compare(get(x.task.Resources), get(y.task.Resources)) }
	}
	switch key {
	case "id":
		return text(func(t *Task) string { return t.ID })
	case "name":
		return text(func(t *Task) string { return t.Name })
	case "state":
		return text(func(t *Task) string { return t.State })
	case "framework":
		return text(func(t *Task) string { return b.frameworkName(t.FrameworkID) })
	case "agent":
		return text(func(t *Task) string { return b.host(t.AgentID) })
	case "role":
		return text(func(t *Task) string { return t.Role })
	case "ended":
		return func(x, y taskFacts) int { return cmp.Compare(x.ended, y.ended) }
	case "cpus", "gpus", "mem", "disk":
		return number(scalar(key))
	}
	return func(x, y taskFacts) int { return cmp.Compare(x.order(), y.order()) }
}

// scalar picks the named quantity.
func scalar(key string) func(Resources) float64 {
	switch key {
	case "cpus":
		return func(r Resources) float64 { return r.CPUs }
	case "gpus":
		return func(r Resources) float64 { return r.GPUs }
	case "mem":
		return func(r Resources) float64 { return r.MemMB }
	}
	return func(r Resources) float64 { return r.DiskMB }
}

// frameworkList is one page of the frameworks that match. The filter is a
// state, or "current" for all that have not completed.
func (b *builder) frameworkList(q listQuery) *content {
	groups := map[string]int{}
	var found []*Framework
	for _, f := range b.state.Frameworks {
		if !frameworkMatches(f, q.text) {
			continue
		}
		state := frameworkState(f)
		groups["all"]++
		groups[state]++
		if !f.Completed {
			groups["current"]++
		}
		if q.state == "" || q.state == state || (q.state == "current" && !f.Completed) {
			found = append(found, f)
		}
	}
	rows, more := page(found, q, b.frameworkOrder(q.sort), func(x, y *Framework) int { return cmp.Compare(x.ID, y.ID) })
	more["groups"] = groups
	c := &content{fields: fields(more)}
	for _, f := range rows {
		c.rows = append(c.rows, row{key: f.ID, body: encode(b.frameworkRow(f))})
	}
	return c
}

func frameworkMatches(f *Framework, words []string) bool {
	for _, w := range words {
		ok := contains(f.ID, w) || contains(f.Name, w) || contains(f.User, w) || contains(f.Principal, w) ||
			contains(f.Hostname, w) || contains(frameworkState(f), w) || labelsMatch(f.Labels, w) ||
			slices.ContainsFunc(f.Roles, func(r string) bool { return contains(r, w) })
		if !ok {
			return false
		}
	}
	return true
}

func (b *builder) frameworkOrder(key string) func(x, y *Framework) int {
	text := func(get func(*Framework) string) func(x, y *Framework) int {
		return func(x, y *Framework) int { return natural(get(x), get(y)) }
	}
	switch key {
	case "id":
		return text(func(f *Framework) string { return f.ID })
	case "name":
		return text(func(f *Framework) string { return f.Name })
	case "user":
		return text(func(f *Framework) string { return f.User })
	case "host":
		return text(func(f *Framework) string { return f.Hostname })
	case "roles":
		return text(func(f *Framework) string { return strings.Join(f.Roles, ",") })
	case "principal":
		return text(func(f *Framework) string { return f.Principal })
	case "state":
		return text(frameworkState)
	case "tasks":
		b.counts()
		return func(x, y *Framework) int { return cmp.Compare(live(b.byFW[x.ID]), live(b.byFW[y.ID])) }
	case "share":
		return func(x, y *Framework) int { return cmp.Compare(b.share(x.Allocated), b.share(y.Allocated)) }
	case "ended":
		return func(x, y *Framework) int { return x.Unregistered.Compare(y.Unregistered) }
	case "cpus", "gpus", "mem", "disk":
		get := scalar(key)
		return func(x, y *Framework) int { return cmp.Compare(get(x.Allocated), get(y.Allocated)) }
	}
	return func(x, y *Framework) int { return x.Registered.Compare(y.Registered) }
}

// agentList is one page of the agents that match. The filter is a state.
func (b *builder) agentList(q listQuery) *content {
	groups := map[string]int{}
	var found []*Agent
	for _, a := range b.state.Agents {
		if !agentMatches(a, q.text) {
			continue
		}
		groups["all"]++
		groups[a.State]++
		if q.state == "" || q.state == a.State {
			found = append(found, a)
		}
	}
	rows, more := page(found, q, b.agentOrder(q.sort), func(x, y *Agent) int { return cmp.Compare(x.ID, y.ID) })
	more["groups"], more["join"] = groups, b.state.Cluster.Join
	c := &content{fields: fields(more)}
	for _, a := range rows {
		c.rows = append(c.rows, row{key: a.ID, body: encode(b.agentRow(a))})
	}
	return c
}

func agentMatches(a *Agent, words []string) bool {
	for _, w := range words {
		ok := contains(a.ID, w) || contains(a.Hostname, w) || contains(a.Address, w) || contains(a.State, w) ||
			contains(a.Region, w) || contains(a.Zone, w) || contains(a.Version, w) || labelsMatch(a.Attributes, w)
		if !ok {
			return false
		}
	}
	return true
}

// agentOrder sorts quantities by the part that is allocated: that is what the
// bars show.
func (b *builder) agentOrder(key string) func(x, y *Agent) int {
	text := func(get func(*Agent) string) func(x, y *Agent) int {
		return func(x, y *Agent) int { return natural(get(x), get(y)) }
	}
	switch key {
	case "id":
		return text(func(a *Agent) string { return a.ID })
	case "state":
		return text(func(a *Agent) string { return a.State })
	case "zone":
		return text(func(a *Agent) string { return a.Region + "/" + a.Zone })
	case "version":
		return text(func(a *Agent) string { return a.Version })
	case "tasks":
		b.counts()
		return func(x, y *Agent) int { return cmp.Compare(live(b.byAgent[x.ID]), live(b.byAgent[y.ID])) }
	case "registered":
		return func(x, y *Agent) int { return x.Registered.Compare(y.Registered) }
	case "cpus", "gpus", "mem", "disk":
		get := scalar(key)
		load := func(a *Agent) float64 {
			if get(a.Total) <= 0 {
				return -1
			}
			return get(a.Allocated) / get(a.Total)
		}
		return func(x, y *Agent) int { return cmp.Compare(load(x), load(y)) }
	}
	return text(func(a *Agent) string { return a.Hostname })
}

// page returns the rows of the page in their order, and the fields that tell
// where it is. Rows that are equal in the order are in that of their keys, so
// that they do not change places without a reason. An offset past the end,
// because rows have gone meanwhile, gives the last page.
func page[T any](found []T, q listQuery, order, byKey func(x, y T) int) ([]T, map[string]any) {
	offset := q.offset
	if offset >= len(found) && q.limit > 0 {
		offset = max(0, (len(found)-1)/q.limit*q.limit)
	}
	end := min(offset+q.limit, len(found))
	rows := first(found, end, func(x, y T) int {
		c := order(x, y)
		if q.down {
			c = -c
		}
		if c == 0 {
			c = byKey(x, y)
		}
		return c
	})
	return rows[min(offset, end):], map[string]any{"matched": len(found), "offset": offset, "limit": q.limit}
}

// first returns the n least rows in order. It looks at most rows only once:
// a page near the start of a long list needs no sort of the list.
func first[T any](rows []T, n int, order func(x, y T) int) []T {
	if n == 0 {
		return nil
	}
	if n > len(rows)/8 {
		slices.SortFunc(rows, order)
		return rows[:n]
	}
	var least []T
	sorted := false // whether the first n of least are those of all seen before
	for _, r := range rows {
		if sorted && order(r, least[n-1]) >= 0 {
			continue
		}
		if least = append(least, r); len(least) == 4*n {
			slices.SortFunc(least, order)
			least, sorted = least[:n], true
		}
	}
	slices.SortFunc(least, order)
	return least[:n]
}

// contains reports whether the lower-case word occurs in text, where the case
// of ASCII letters does not matter. It does not allocate: a search goes over
// every task at each change.
func contains(text, word string) bool {
	if len(word) == 0 {
		return true
	}
	for i := 0; i+len(word) <= len(text); i++ {
		if lower(text[i]) == word[0] && equalFold(text[i:i+len(word)], word) {
			return true
		}
	}
	return false
}

// equalFold compares two texts of the same length.
func equalFold[T string | []byte](text, word T) bool {
	for i := range len(word) {
		if lower(text[i]) != lower(word[i]) {
			return false
		}
	}
	return true
}

func lower(c byte) byte {
	if 'A' <= c && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func upper(c byte) byte {
	if 'a' <= c && c <= 'z' {
		return c - 'a' + 'A'
	}
	return c
}

// natural compares texts so that numbers in them sort by value: web-2 before
// web-10.
func natural(x, y string) int {
	for len(x) > 0 && len(y) > 0 {
		nx, ny := digits(x), digits(y)
		if nx > 0 && ny > 0 {
			a, b := strings.TrimLeft(x[:nx], "0"), strings.TrimLeft(y[:ny], "0")
			if c := cmp.Or(cmp.Compare(len(a), len(b)), cmp.Compare(a, b)); c != 0 {
				return c
			}
			x, y = x[nx:], y[ny:]
			continue
		}
		if c := cmp.Compare(lower(x[0]), lower(y[0])); c != 0 {
			return c
		}
		x, y = x[1:], y[1:]
	}
	return cmp.Compare(len(x), len(y))
}

// digits is the length of the number at the start of s.
func digits(s string) int {
	n := 0
	for n < len(s) && '0' <= s[n] && s[n] <= '9' {
		n++
	}
	return n
}
