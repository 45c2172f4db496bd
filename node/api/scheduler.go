package api

import (
	"context"
	"log/slog"
	"net/http"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
)

// SchedulerRequest is one call of a scheduler that has passed every check that needs nothing but the
// request (SCH-2 up to the call's own rules).
type SchedulerRequest struct {
	// Principal is the authenticated one, "" without authentication.
	Principal string
	// StreamHeader is the value of Mesos-Stream-Id; HasStreamHeader tells an empty one from none (SCH-98).
	StreamHeader    string
	HasStreamHeader bool
	Call            *v1scheduler.Call
}

// Scheduler is the leading master as schedulers see it.
type Scheduler interface {
	// Call hands over any call but SUBSCRIBE and returns the answer: 202, or a 4xx with its text
	// (SCH-96..SCH-99). UNKNOWN calls are handed over as well, so that unknown framework and wrong
	// stream are answered first; the api answers 501 to those that pass with 2xx (SCH-10).
	Call(ctx context.Context, r SchedulerRequest) (Answer, error)
	// Subscribe returns a stream together with status 200, or any other answer without a stream. If ctx
	// ends before it returns, the subscriber is gone and the stream must be closed by the callee.
	Subscribe(ctx context.Context, r SchedulerRequest) (Answer, EventStream, error)
}

// EventStream is the queue of events for one subscription. It is read by one goroutine.
type EventStream interface {
	// StreamUUID is the text for the header Mesos-Stream-Id (SCH-38).
	StreamUUID() string
	// Next waits for events and returns all that are queued. It returns io.EOF after the last one,
	// and any error when the stream was cut off, for example because its queue overflowed (SCH-291).
	Next(ctx context.Context) ([]*v1scheduler.Event, error)
	// Close tells the core that the subscriber is gone. It may be called at any time, more than once.
	Close()
}

// schedulerEndpoint serves POST /api/v1/scheduler on a leading master.
type schedulerEndpoint struct {
	scheduler Scheduler
	log       *slog.Logger
}

const streamHeader = "Mesos-Stream-Id"

func (e *schedulerEndpoint) serve(w http.ResponseWriter, r *http.Request) {
	call := new(v1scheduler.Call)
	if refused := readCall(w, r, frameworkCallText, call); refused != nil {
		refused.respond(w)
		return
	}
	if err := validateSchedulerCall(call); err != nil {
		badRequest("Failed to validate scheduler::Call: " + err.Error()).respond(w)
		return
	}
	header, given := r.Header[streamHeader]
	request := SchedulerRequest{HasStreamHeader: given, Call: call}
	if given {
		request.StreamHeader = header[0]
	}
	mediaType := mesos.JSON
	switch call.GetType() {
	case v1scheduler.Call_SUBSCRIBE, v1scheduler.Call_RECONCILE_OPERATIONS:
		var ok bool
		if mediaType, ok = acceptable(r); !ok {
			notAcceptable.respond(w)
			return
		}
	}
	if call.GetType() == v1scheduler.Call_SUBSCRIBE {
		e.subscribe(w, r, request, mediaType)
		return
	}
	answer, err := e.scheduler.Call(r.Context(), request)
	if err != nil {
		failed(r, e.log, err).respond(w)
		return
	}
	if call.GetType() == v1scheduler.Call_UNKNOWN && answer.Status < 300 {
		answer = status(http.StatusNotImplemented) // SCH-10
	}
	answer.respond(w)
}

func (e *schedulerEndpoint) subscribe(w http.ResponseWriter, r *http.Request, request SchedulerRequest, t mesos.MediaType) {
	if request.HasStreamHeader {
		badRequest("Subscribe calls should not include the 'Mesos-Stream-Id' header").respond(w)
		return
	}
	answer, stream, err := e.scheduler.Subscribe(r.Context(), request)
	switch {
	case err != nil:
		failed(r, e.log, err).respond(w)
	case stream == nil:
		answer.respond(w)
	default:
		w.Header().Set(streamHeader, stream.StreamUUID())
		copyEvents(w, r, e.log, t, stream)
	}
}

var notAcceptable = Answer{
	Status: http.StatusNotAcceptable,
	Body:   "Expecting 'Accept' to allow 'application/x-protobuf' or 'application/json'",
}
