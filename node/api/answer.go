package api

import (
	"errors"
	"log/slog"
	"net/http"
	"strconv"
)

// Answer is what a core says to one request: an HTTP status and, for failures, the text of the body.
// Status 0 does not occur.
type Answer struct {
	Status int
	Body   string
}

// respond writes a, as plain text if there is a body. A successful answer without a body has no
// Content-Type, because clients reject one that they do not expect (SCH-99, SCH-11, OPR-8).
func (a Answer) respond(w http.ResponseWriter) {
	h := w.Header()
	if a.Body != "" || a.Status >= 400 {
		h.Set("Content-Type", "text/plain; charset=utf-8")
	}
	h.Set("Content-Length", strconv.Itoa(len(a.Body)))
	w.WriteHeader(a.Status)
	// An error here means that the client is gone: nobody is left to tell.
	_, _ = w.Write([]byte(a.Body))
}

// status is the answer with the default text of the original: "404 Not Found." (OPR-8).
func status(code int) Answer {
	return Answer{Status: code, Body: strconv.Itoa(code) + " " + http.StatusText(code) + "."}
}

func badRequest(text string) Answer { return Answer{Status: http.StatusBadRequest, Body: text} }

func unavailable(text string) Answer {
	return Answer{Status: http.StatusServiceUnavailable, Body: text}
}

// failed is the answer to a request for which a core or the node in front of it returned err.
func failed(r *http.Request, log *slog.Logger, err error) Answer {
	switch {
	case errors.Is(err, ErrNotReady):
		return unavailable("503 Service Unavailable. " + err.Error())
	case r.Context().Err() != nil:
		// The client is gone: the answer reaches nobody.
		return status(http.StatusServiceUnavailable)
	default:
		log.Error("request failed", "method", r.Method, "path", r.URL.Path, "remote", r.RemoteAddr, "err", err)
		return Answer{Status: http.StatusInternalServerError, Body: err.Error()}
	}
}
