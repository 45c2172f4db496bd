package api

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// MasterOptions are the parts of a node that NewMaster speaks for. All but Cluster and Dashboard are needed.
type MasterOptions struct {
	Leader Leader
	// Missing names the masters without which there is no quorum; nil if that is never known.
	Missing   func() []string
	State     MasterState
	Scheduler Scheduler
	Operator  Operator
	Files     *Files
	// Metrics returns the present metrics by name. It also works on a master that does not lead (OPR-183).
	Metrics func(ctx context.Context) map[string]float64
	// Flags returns the flags that have a value, with the text form of that value (OPR-217).
	Flags func() map[string]string
	Build Build
	// Cluster answers /cluster and every path below it (NewCluster, for readers only); nil means 404.
	Cluster http.Handler
	// Dashboard answers / and every path below /ui; nil means 404.
	Dashboard http.Handler
	Logger    *slog.Logger
}

// Operator is the leading master as operators see it, for calls that change something.
type Operator interface {
	// Teardown answers 200, or 400 with a text (OPR-125).
	Teardown(ctx context.Context, principal string, id mesos.FrameworkID) (Answer, error)
	// Kill ends one task of any framework. grace overrides the task's own grace period unless it is
	// negative. It answers 2xx, 404 for a task that is unknown, or another 4xx with a text.
	Kill(ctx context.Context, principal string, framework mesos.FrameworkID, task mesos.TaskID, grace time.Duration) (Answer, error)
	// DrainAgent answers 200 when the drain has begun, 400 or 409 with a text (OPR-57, OPR-58). The caller
	// does not change config afterwards.
	DrainAgent(ctx context.Context, principal string, agent mesos.AgentID, config *v1.DrainConfig) (Answer, error)
	// DeactivateAgent and ReactivateAgent answer 200, or 400 or 409 with a text (OPR-59).
	DeactivateAgent(ctx context.Context, principal string, agent mesos.AgentID) (Answer, error)
	ReactivateAgent(ctx context.Context, principal string, agent mesos.AgentID) (Answer, error)
	// MarkAgentGone answers 200 when the agent is gone for good, 404 or 503 with a text (OPR-56).
	MarkAgentGone(ctx context.Context, principal string, agent mesos.AgentID) (Answer, error)
}

// NewMaster returns the public API of a master.
func NewMaster(options MasterOptions) http.Handler {
	m := &master{MasterOptions: options}
	scheduler := &schedulerEndpoint{scheduler: options.Scheduler, log: options.Logger}
	process := &processEndpoints{files: options.Files, metrics: options.Metrics, flags: options.Flags, build: options.Build}
	table := append(process.routes(), []route{
		{path: "/api/v1/scheduler", scoped: true, serve: m.leading(m.recovered(scheduler.serve))},
		{path: "/api/v1", scoped: true, serve: m.leading(m.recovered(m.call))},
		{path: "/state", scoped: true, serve: m.viewed(m.state)},
		{path: "/state.json", scoped: true, serve: m.viewed(m.state)},
		{path: "/state-summary", scoped: true, serve: m.viewed(m.stateSummary)},
		{path: "/state-summary.json", scoped: true, serve: m.viewed(m.stateSummary)},
		{path: "/slaves", scoped: true, serve: m.viewed(m.agents)},
		{path: "/frameworks", scoped: true, serve: m.viewed(m.frameworks)},
		{path: "/tasks", scoped: true, serve: m.viewed(m.tasks)},
		{path: "/tasks.json", scoped: true, serve: m.viewed(m.tasks)},
		{path: "/roles", scoped: true, serve: m.viewed(m.roles)},
		{path: "/teardown", scoped: true, serve: m.leading(m.teardown)},
		{path: "/shutdown", scoped: true, serve: m.leading(m.teardown)}, // OPR-125: the older name
		{path: "/kill", scoped: true, serve: m.leading(m.kill)},         // ours
		{path: "/redirect", scoped: true, exact: true, serve: m.redirect},
	}...)
	if options.Cluster != nil {
		table = append(table, route{path: "/cluster", serve: options.Cluster.ServeHTTP})
	}
	return newRouter("master", table, options.Dashboard)
}

type master struct{ MasterOptions }

// noLeader is the answer while nobody leads (SCH-22). It says who is missing, if it is known (CLU-35).
func (m *master) noLeader(w http.ResponseWriter) {
	text := "No leader elected"
	if m.Missing != nil {
		if missing := m.Missing(); len(missing) > 0 {
			text += ": not reached: " + strings.Join(missing, ", ")
		}
	}
	w.Header().Set("Retry-After", "1")
	unavailable(text).respond(w)
}

// masterNotRecovered is the answer of a new leader that does not know its agents yet (SCH-23).
var masterNotRecovered = unavailable("Master has not finished recovery")

// leading lets only the leader serve; any other node sends the client there (SCH-20..SCH-22, OPR-19).
func (m *master) leading(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		hostport, self, _ := m.Leader.Leader()
		switch {
		case self:
			serve(w, r)
		case hostport == "":
			m.noLeader(w)
		default:
			target := "//" + hostport + r.URL.EscapedPath()
			if r.URL.RawQuery != "" {
				target += "?" + r.URL.RawQuery
			}
			redirectTo(w, target)
		}
	}
}

// recovered lets requests pass once the leader has finished recovery.
func (m *master) recovered(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, _, recovered := m.Leader.Leader(); !recovered {
			masterNotRecovered.respond(w)
			return
		}
		serve(w, r)
	}
}

// viewed serves an endpoint of the leader that reads its state and takes any method (OPR-9).
func (m *master) viewed(serve func(http.ResponseWriter, *http.Request, *MasterView)) http.HandlerFunc {
	return m.leading(func(w http.ResponseWriter, r *http.Request) {
		view, err := m.State.View(r.Context())
		if err != nil {
			failed(r, m.Logger, err).respond(w)
			return
		}
		serve(w, r, view)
	})
}

// redirect sends the client to the leader, also if that is this node (SCH-24, OPR-22).
func (m *master) redirect(w http.ResponseWriter, r *http.Request) {
	hostport, _, _ := m.Leader.Leader()
	if hostport == "" {
		m.noLeader(w)
		return
	}
	redirectTo(w, "//"+hostport)
}

func redirectTo(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	Answer{Status: http.StatusTemporaryRedirect}.respond(w)
}
