package ui

import (
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// Kinds of topics.
const (
	topicOverview   = "overview"
	topicFrameworks = "frameworks"
	topicFramework  = "framework"
	topicAgents     = "agents"
	topicAgent      = "agent"
	topicTasks      = "tasks"
	topicTask       = "task"
	topicFiles      = "files"
)

const (
	maxTopicBytes = 2048
	maxPageRows   = 200
	pageRows      = 50
)

// topic is a parsed subscription: a kind, the ids in its path, and for lists
// the page that is asked for.
type topic struct {
	text string // as the client wrote it; the name of the view
	kind string
	ids  []string
	path string // files: the directory
	list listQuery
}

// listQuery is one page of a list.
type listQuery struct {
	text      []string // all of these words must occur
	state     string
	framework string
	agent     string
	sort      string
	down      bool
	offset    int
	limit     int
}

// sortKeys are the columns that each list can be sorted by; the first is the
// default.
var sortKeys = map[string][]string{
	topicFrameworks: {"registered", "id", "name", "user", "roles", "principal", "state", "tasks", "cpus", "gpus", "mem", "disk", "share", "ended", "host"},
	topicAgents:     {"host", "id", "state", "zone", "version", "tasks", "cpus", "gpus", "mem", "disk", "registered"},
	topicTasks:      {"started", "id", "name", "state", "framework", "agent", "role", "cpus", "gpus", "mem", "disk", "ended"},
}

var topicIDs = map[string]int{
	topicOverview: 0, topicFrameworks: 0, topicAgents: 0, topicTasks: 0,
	topicFramework: 1, topicAgent: 1, topicFiles: 1, topicTask: 2,
}

// parseTopic reads a topic: path elements and query are escaped as in a URL,
// "tasks?q=web&sort=-started&offset=50" or "task/FRAMEWORK/TASK".
func parseTopic(text string) (topic, error) {
	t := topic{text: text}
	if len(text) > maxTopicBytes {
		return t, fmt.Errorf("topic has %d bytes, at most %d are allowed", len(text), maxTopicBytes)
	}
	where, rawQuery, _ := strings.Cut(text, "?")
	parts := strings.Split(where, "/")
	t.kind = parts[0]
	want, ok := topicIDs[t.kind]
	if !ok {
		return t, fmt.Errorf("unknown topic %q", t.kind)
	}
	if len(parts)-1 != want {
		return t, fmt.Errorf("topic %q takes %d ids, not %d", t.kind, want, len(parts)-1)
	}
	for _, p := range parts[1:] {
		id, err := url.PathUnescape(p)
		if err != nil || id == "" {
			return t, fmt.Errorf("topic %q: bad id %q", t.kind, p)
		}
		t.ids = append(t.ids, id)
	}
	q, err := url.ParseQuery(rawQuery)
	if err != nil {
		return t, fmt.Errorf("topic %q: query: %w", t.kind, err)
	}
	if t.kind == topicFiles {
		if t.path = q.Get("path"); t.path == "" {
			return t, fmt.Errorf("topic %q: path is missing", t.kind)
		}
	}
	if keys, ok := sortKeys[t.kind]; ok {
		if t.list, err = parseList(q, keys); err != nil {
			return t, fmt.Errorf("topic %q: %w", t.kind, err)
		}
	}
	return t, nil
}

func parseList(q url.Values, keys []string) (listQuery, error) {
	l := listQuery{
		text:      strings.Fields(strings.ToLower(q.Get("q"))),
		state:     q.Get("state"),
		framework: q.Get("framework"),
		agent:     q.Get("agent"),
		limit:     pageRows,
	}
	l.sort, l.down = strings.CutPrefix(q.Get("sort"), "-")
	if l.sort == "" {
		l.sort = keys[0]
	}
	if !slices.Contains(keys, l.sort) {
		return l, fmt.Errorf("cannot sort by %q, only by %s", l.sort, strings.Join(keys, ", "))
	}
	for _, n := range []struct {
		name string
		max  int
		to   *int
	}{{"offset", 1 << 30, &l.offset}, {"limit", maxPageRows, &l.limit}} {
		text := q.Get(n.name)
		if text == "" {
			continue
		}
		v, err := strconv.Atoi(text)
		if err != nil || v < 0 || v > n.max {
			return l, fmt.Errorf("%s is %q, must be a number from 0 to %d", n.name, text, n.max)
		}
		*n.to = v
	}
	return l, nil
}
