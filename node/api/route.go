package api

import (
	"net/http"
	"net/url"
	"strings"
	"time"
)

// A route answers requests for one path. New endpoints are added to the tables in master.go and
// agent.go; nothing else has to know.
type route struct {
	path string
	// scoped routes are also served below the name of the process, as /master/state (OPR-1).
	scoped bool
	// exact routes answer for no other spelling and no longer path (OPR-2).
	exact bool
	serve http.HandlerFunc
}

// router finds the route for a path. Unlike the standard multiplexer it never redirects, because
// clients post to whatever spelling they grew up with.
type router struct {
	routes map[string]route
	pages  http.Handler // the dashboard; nil answers 404
}

func newRouter(process string, table []route, pages http.Handler) *router {
	rt := &router{routes: make(map[string]route, 2*len(table)), pages: pages}
	for _, r := range table {
		rt.routes[r.path] = r
		if r.scoped {
			rt.routes["/"+process+r.path] = r
		}
	}
	return rt
}

func (rt *router) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	found, ok := rt.find(r.URL.Path)
	if !ok && rt.pages != nil && isPage(r.URL.Path) {
		// It sets its own time limits: take back the one of the request before on this connection.
		_ = http.NewResponseController(w).SetWriteDeadline(time.Time{})
		rt.pages.ServeHTTP(w, r)
		return
	}
	w = newTimedWriter(w)
	limitBody(w, r)
	if !ok || strings.Contains(r.URL.Path, "/..") {
		status(http.StatusNotFound).respond(w)
		return
	}
	if _, err := url.ParseQuery(r.URL.RawQuery); err != nil {
		badRequest("Failed to parse the query: " + err.Error()).respond(w) // OPR-278
		return
	}
	found.serve(w, r)
}

// isPage reports whether the path is the dashboard's.
func isPage(path string) bool { return path == "/" || strings.HasPrefix(path, "/ui/") }

// find ignores slashes at the end; a longer path belongs to the longest route above it (OPR-2).
func (rt *router) find(asked string) (route, bool) {
	for path := strings.TrimRight(asked, "/"); path != ""; {
		if r, ok := rt.routes[path]; ok {
			return r, !r.exact || path == asked
		}
		path = strings.TrimRight(path[:strings.LastIndexByte(path, '/')+1], "/")
	}
	return route{}, false
}

// writeTimeout is the time that a client has to take each piece of an answer (SCH-291).
const writeTimeout = 30 * time.Second

// timedWriter gives every write its own time limit. A limit for the whole answer would end event
// streams and large downloads.
type timedWriter struct {
	http.ResponseWriter
	control *http.ResponseController
}

func newTimedWriter(w http.ResponseWriter) *timedWriter {
	t := &timedWriter{ResponseWriter: w, control: http.NewResponseController(w)}
	t.extend()
	return t
}

// extend starts the time limit anew. It fails on connections without deadlines, as in a test: then
// there is no limit.
func (t *timedWriter) extend() { _ = t.control.SetWriteDeadline(time.Now().Add(writeTimeout)) }

func (t *timedWriter) WriteHeader(status int) {
	t.extend()
	t.ResponseWriter.WriteHeader(status)
}

func (t *timedWriter) Write(b []byte) (int, error) {
	t.extend()
	return t.ResponseWriter.Write(b)
}

// FlushError is what http.ResponseController calls.
func (t *timedWriter) FlushError() error {
	t.extend()
	return t.control.Flush()
}

// Unwrap gives http.ResponseController the rest.
func (t *timedWriter) Unwrap() http.ResponseWriter { return t.ResponseWriter }
