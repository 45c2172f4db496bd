package ui

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

const (
	// fetchEvery is the least time between two snapshots of the source, and
	// fetchShare the part of the time that they may take at most: after a
	// snapshot of d the next one starts d*fetchShare after it, within
	// fetchSlowest.
	fetchEvery   = 100 * time.Millisecond
	fetchShare   = 5
	fetchSlowest = 5 * time.Second
	fetchTimeout = 10 * time.Second
	retryEvery   = time.Second
	// beatEvery is how often a stream says that it is alive when nothing
	// changes; the page calls itself stale after a few missed beats.
	beatEvery = 5 * time.Second

	defaultMaxClients = 256
	maxSubscriptions  = 16
)

// Options configure a Hub. Source is required.
type Options struct {
	Source Source
	// Logger gets what an operator would act on; nil means slog.Default().
	Logger *slog.Logger
	// MaxClients bounds the open streams, and the log tails and downloads
	// together; 0 means 256. Further ones get 503.
	MaxClients int
}

// Hub serves the page and its websockets. Create it with New, mount Handler at
// "/" and end it with Close.
type Hub struct {
	source Source
	log    *slog.Logger
	assets *assets
	ctx    context.Context
	cancel context.CancelFunc

	// wg counts every goroutine of the hub and every connection it has taken
	// over; entering is refused once closed is set.
	mu     sync.Mutex
	closed bool
	wg     sync.WaitGroup

	streams chan struct{} // a place for each open stream
	readers chan struct{} // a place for each log tail or download
	calls   chan func()   // work for the loop

	// Owned by the loop.
	clients  map[*client]bool
	views    map[string]*view
	state    *State // newest; dropped while nobody watches
	counts   map[string]int64
	history  history
	encoded  json.RawMessage // the history as the overview shows it
	dirty    bool            // the source has changed since the last fetch
	rebuild  bool            // all views are to be built anew
	sample   bool            // a sample for the history is due
	working  bool            // a job is under way
	results  chan result
	earliest time.Time // of the next fetch
	pace     *time.Timer
	trouble  string // why the source does not answer; empty when it does
}

// result is what a job has found.
type result struct {
	state    *State // nil when it was not asked for
	err      error
	took     time.Duration
	began    time.Time
	contents map[string]*content
}

// New starts a hub. Its goroutines end in Close.
func New(o Options) *Hub {
	if o.MaxClients <= 0 {
		o.MaxClients = defaultMaxClients
	}
	h := &Hub{
		source: o.Source, log: o.Logger, assets: loadAssets(),
		streams: make(chan struct{}, o.MaxClients), readers: make(chan struct{}, o.MaxClients),
		calls: make(chan func(), 64), results: make(chan result, 1),
		clients: map[*client]bool{}, views: map[string]*view{},
		dirty: true, sample: true, pace: time.NewTimer(0),
	}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.encoded = h.history.encode()
	h.ctx, h.cancel = context.WithCancel(context.Background())
	h.wg.Go(h.loop)
	return h
}

// Handler serves the page at "/" and everything it needs below "/ui/".
func (h *Hub) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.assets.servePage)
	mux.HandleFunc("GET /ui/static/{name...}", h.assets.serveFile)
	mux.HandleFunc("GET /ui/stream", h.serveStream)
	mux.HandleFunc("GET /ui/tail", h.serveTail)
	mux.HandleFunc("GET /ui/download", h.serveDownload)
	mux.HandleFunc("POST /ui/kill", h.serveKill)
	return mux
}

// Close ends all connections with code 1001 (going away) and returns when
// every goroutine of the hub has ended.
func (h *Hub) Close() {
	h.mu.Lock()
	h.closed = true
	h.mu.Unlock()
	h.cancel()
	h.wg.Wait()
}

// Reconnect ends all open streams with code 1012 (service restart): their pages come back at once, and
// whatever stands before the hub may then send them elsewhere.
func (h *Hub) Reconnect() {
	h.do(func() {
		for c := range h.clients {
			c.drop(websocket.CloseServiceRestart, "another node answers now")
		}
	})
}

// enter counts a connection in until leave is called. It fails after Close, and
// when all places are taken.
func (h *Hub) enter(places chan struct{}) (leave func(), err error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.closed {
		return nil, errClosed
	}
	select {
	case places <- struct{}{}:
	default:
		return nil, errFull
	}
	h.wg.Add(1)
	return func() { <-places; h.wg.Done() }, nil
}

var (
	errClosed = errors.New("the node is stopping")
	errFull   = errors.New("too many connections to the dashboard")
)

// do runs f in the loop, unless the hub is closing.
func (h *Hub) do(f func()) {
	select {
	case h.calls <- f:
	case <-h.ctx.Done():
	}
}

func (h *Hub) loop() {
	beat, sample := time.NewTicker(beatEvery), time.NewTicker(sampleEvery)
	defer beat.Stop()
	defer sample.Stop()
	defer h.pace.Stop()
	changed := h.source.Changed()
	for {
		select {
		case <-h.ctx.Done():
			h.end()
			return
		case f := <-h.calls:
			f()
		case _, open := <-changed:
			if !open {
				changed = nil // the source has ended; what we have stays
			}
			h.dirty = true
		case r := <-h.results:
			h.finish(r)
		case <-h.pace.C:
		case <-sample.C:
			h.sample = true
		case <-beat.C:
			h.broadcast(message{Type: "beat", At: now()})
		}
		h.advance()
	}
}

func now() int64 { return time.Now().UnixMilli() }

// end closes all streams and waits for the job under way.
func (h *Hub) end() {
	for c := range h.clients {
		c.drop(websocket.CloseGoingAway, "the node is stopping")
	}
	for _, v := range h.views {
		if v.stop != nil {
			v.stop()
		}
	}
	if h.working {
		<-h.results
	}
}

// advance starts the next job when one is needed and allowed.
func (h *Hub) advance() {
	if h.working {
		return
	}
	if h.sample && !h.dirty {
		h.record()
	}
	watched, waiting := h.watched()
	fetch := len(watched) > 0 && (h.dirty || h.state == nil) || h.sample
	if fetch {
		if wait := time.Until(h.earliest); wait > 0 {
			h.pace.Reset(wait)
			fetch = false
			if h.state == nil {
				return
			}
		}
	}
	switch {
	case fetch, h.rebuild && h.state != nil:
		h.start(fetch, watched)
	case len(waiting) > 0 && h.state != nil:
		h.start(false, waiting)
	case len(watched) == 0:
		h.state = nil
	}
}

// watched returns the topics that come from the state, and those of them that
// have no content yet.
func (h *Hub) watched() (all, waiting []topic) {
	for _, v := range h.views {
		if v.topic.kind == topicFiles {
			continue
		}
		all = append(all, v.topic)
		if v.content == nil {
			waiting = append(waiting, v.topic)
		}
	}
	return all, waiting
}

// start runs a job: it asks for the state if fetch is set, and builds the
// contents of the topics.
func (h *Hub) start(fetch bool, topics []topic) {
	h.working = true
	state, encoded := h.state, h.encoded
	if fetch {
		h.dirty = false
	}
	h.rebuild = false
	h.wg.Go(func() {
		r := result{began: time.Now(), contents: map[string]*content{}}
		if fetch {
			ctx, cancel := context.WithTimeout(h.ctx, fetchTimeout)
			defer cancel()
			if state, r.err = h.source.Snapshot(ctx); r.err == nil {
				r.state = state
			}
		}
		if r.err == nil && len(topics) > 0 {
			b := newBuilder(state, encoded)
			for _, t := range topics {
				r.contents[t.text] = b.build(t)
			}
		}
		r.took = time.Since(r.began)
		h.results <- r
	})
}

// finish takes in what a job has found.
func (h *Hub) finish(r result) {
	h.working = false
	h.earliest = r.began.Add(min(fetchSlowest, max(fetchEvery, r.took*fetchShare)))
	if r.err != nil {
		h.dirty = true
		h.earliest = time.Now().Add(retryEvery)
		h.setTrouble(r.err.Error())
		return
	}
	if r.state != nil {
		h.setTrouble("")
		h.state, h.counts = r.state, r.state.TaskCounts
		if h.sample {
			h.record()
		}
	}
	for text, c := range r.contents {
		if v, ok := h.views[text]; ok {
			h.update(v, c)
		}
	}
}

// record adds the newest counts to the history. A source that has not answered
// leaves a hole.
func (h *Hub) record() {
	h.sample = false
	if h.counts == nil || h.trouble != "" {
		return
	}
	h.history.add(time.Now(), h.counts)
	h.encoded = h.history.encode()
	h.rebuild = true
}

// setTrouble tells every client, once, that the source does not answer or does
// so again.
func (h *Hub) setTrouble(text string) {
	if h.trouble == text {
		return
	}
	watched := slog.LevelDebug // what nobody looks at is no trouble
	if len(h.clients) > 0 {
		watched = slog.LevelWarn
	}
	if text == "" {
		h.log.Log(h.ctx, min(watched, slog.LevelInfo), "the dashboard has data again")
	} else if h.trouble == "" {
		h.log.Log(h.ctx, watched, "the dashboard has no data", "error", text)
	}
	h.trouble = text
	h.broadcast(message{Type: "trouble", At: now(), Text: text})
}

func (h *Hub) broadcast(m message) {
	body := encode(m)
	for c := range h.clients {
		c.send(body)
	}
}

// update makes c the content of the view and tells its clients.
func (h *Hub) update(v *view, c *content) {
	if v.content == nil {
		v.content, v.seq = c, 1
		body := encode(v.snapshot(now()))
		for to := range v.clients {
			to.send(body)
		}
		return
	}
	m, changed := v.advance(c, now())
	if !changed {
		return
	}
	body := encode(m)
	for to := range v.clients {
		to.send(body)
	}
}

// subscribe adds the client to the view of the topic and makes the view if it
// is the first. A client that is there already gets a new snapshot: that is
// how it asks again after a gap.
func (h *Hub) subscribe(c *client, t topic) {
	if !h.clients[c] {
		return
	}
	if !c.topics[t.text] && len(c.topics) >= maxSubscriptions {
		c.send(encode(message{Type: "error", Topic: t.text, At: now(), Text: "too many subscriptions on one stream"}))
		return
	}
	c.topics[t.text] = true
	v, ok := h.views[t.text]
	if !ok {
		v = &view{topic: t, clients: map[*client]bool{}}
		h.views[t.text] = v
		if t.kind == topicFiles {
			v.stop = h.pollFiles(v)
		}
	}
	v.clients[c] = true
	if v.content != nil {
		c.send(encode(v.snapshot(now())))
	}
}

// unsubscribe takes the client off the view; the last one ends it.
func (h *Hub) unsubscribe(c *client, text string) {
	delete(c.topics, text)
	v, ok := h.views[text]
	if !ok {
		return
	}
	delete(v.clients, c)
	if len(v.clients) == 0 {
		delete(h.views, text)
		if v.stop != nil {
			v.stop()
		}
	}
}

// join makes the client known and greets it.
func (h *Hub) join(c *client) {
	h.clients[c] = true
	c.send(encode(message{Type: "hello", At: now(), Build: h.assets.build}))
	if h.trouble != "" {
		c.send(encode(message{Type: "trouble", At: now(), Text: h.trouble}))
	}
}

func (h *Hub) leave(c *client) {
	delete(h.clients, c)
	for text := range c.topics {
		h.unsubscribe(c, text)
	}
}
