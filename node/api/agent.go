package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
)

// AgentOptions are the parts of a node that NewAgent speaks for. All but Other are needed.
type AgentOptions struct {
	State      AgentState
	Executors  Executors
	Containers Containers
	Files      *Files
	// Metrics returns the present metrics by name, also during recovery.
	Metrics func(ctx context.Context) map[string]float64
	// Flags returns the flags that have a value, with the text form of that value (OPR-217).
	Flags func() map[string]string
	Build Build
	// Other answers every path without a route; nil means 404.
	Other  http.Handler
	Logger *slog.Logger
}

// NewAgent returns the public API of an agent. Its process name is "slave(1)", which is part of URLs
// that tools build from the agent's pid (OPR-1).
func NewAgent(options AgentOptions) http.Handler {
	a := &agent{AgentOptions: options}
	executor := &executorEndpoint{executors: options.Executors, log: options.Logger}
	process := &processEndpoints{files: options.Files, metrics: options.Metrics, flags: options.Flags, build: options.Build}
	table := append(process.routes(), []route{
		{path: "/api/v1/executor", scoped: true, serve: executor.serve},
		{path: "/api/v1", scoped: true, serve: a.recovered(a.call)},
		{path: "/state", scoped: true, serve: a.recovered(a.state)},
		{path: "/state.json", scoped: true, serve: a.recovered(a.state)},
		{path: "/monitor/statistics", scoped: true, serve: a.statistics},
		{path: "/monitor/statistics.json", scoped: true, serve: a.statistics},
		{path: "/containers", scoped: true, serve: a.containers},
	}...)
	return newRouter("slave(1)", table, options.Other)
}

type agent struct{ AgentOptions }

// recovered lets requests pass once the agent has loaded its checkpoints and has its executors back
// (OPR-27, EXE-3).
func (a *agent) recovered(serve http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if !a.Executors.Ready() {
			agentNotRecovered.respond(w)
			return
		}
		if _, err := a.State.View(r.Context()); errors.Is(err, ErrRecovering) {
			agentNotRecovered.respond(w)
			return
		}
		serve(w, r)
	}
}
