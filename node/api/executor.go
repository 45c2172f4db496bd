package api

import (
	"context"
	"log/slog"
	"net/http"

	"clusterd/node/mesos/v1executor"
)

// Executors is an agent as its executors see it.
type Executors interface {
	// Ready is false until the agent has loaded its checkpoints; every request gets 503 before (EXE-3).
	Ready() bool
	// Call hands over a call other than SUBSCRIBE and HEARTBEAT that has passed the stateless checks.
	// UNKNOWN calls are handed over so that an unknown framework or executor is answered first; the
	// api answers 501 to those that pass with 2xx (EXE-8).
	Call(ctx context.Context, call *v1executor.Call) (Answer, error)
	// Subscribe returns a stream together with status 200, or any other answer without a stream. If ctx
	// ends before it returns, the executor is gone and the stream must be closed by the callee.
	Subscribe(ctx context.Context, call *v1executor.Call) (Answer, ExecutorStream, error)
}

// ExecutorStream is the queue of events for one subscribed executor. It is read by one goroutine.
type ExecutorStream interface {
	// Next waits for events and returns all that are queued. It returns io.EOF after the last one.
	Next(ctx context.Context) ([]*v1executor.Event, error)
	// Close tells the core that the executor is gone. It may be called at any time, more than once.
	Close()
}

// executorEndpoint serves POST /api/v1/executor on an agent.
type executorEndpoint struct {
	executors Executors
	log       *slog.Logger
}

// agentNotRecovered is the answer of an agent that has not loaded its checkpoints yet (EXE-3, OPR-27).
var agentNotRecovered = unavailable(ErrRecovering.Error())

func (e *executorEndpoint) serve(w http.ResponseWriter, r *http.Request) {
	if !e.executors.Ready() {
		agentNotRecovered.respond(w)
		return
	}
	call := new(v1executor.Call)
	if refused := readCall(w, r, frameworkCallText, call); refused != nil {
		refused.respond(w)
		return
	}
	if err := validateExecutorCall(call); err != nil {
		badRequest("Failed to validate Executor::Call: " + err.Error()).respond(w)
		return
	}
	switch call.GetType() {
	case v1executor.Call_HEARTBEAT:
		Answer{Status: http.StatusAccepted}.respond(w) // EXE-8: no one is looked up.
		return
	case v1executor.Call_SUBSCRIBE:
		e.subscribe(w, r, call)
		return
	}
	answer, err := e.executors.Call(r.Context(), call)
	if err != nil {
		failed(r, e.log, err).respond(w)
		return
	}
	if call.GetType() == v1executor.Call_UNKNOWN && answer.Status < 300 {
		answer = status(http.StatusNotImplemented)
	}
	answer.respond(w)
}

func (e *executorEndpoint) subscribe(w http.ResponseWriter, r *http.Request, call *v1executor.Call) {
	mediaType, ok := acceptable(r)
	if !ok {
		notAcceptable.respond(w)
		return
	}
	answer, stream, err := e.executors.Subscribe(r.Context(), call)
	switch {
	case err != nil:
		failed(r, e.log, err).respond(w)
	case stream == nil:
		answer.respond(w)
	default:
		copyEvents(w, r, e.log, mediaType, stream)
	}
}
