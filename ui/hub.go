package ui

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
)

// Options configure a Hub. Source is required.
type Options struct {
	Source Source
	// Logger gets what an operator would act on; nil means slog.Default().
	Logger *slog.Logger
	// MaxClients bounds the open websockets of each kind (streams, tails);
	// 0 means 256. Further ones get 503.
	MaxClients int
}

// Hub serves the page and its websockets. Create it with New, mount Handler at
// "/" and end it with Close.
type Hub struct {
	source Source
	log    *slog.Logger
	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup
	assets *assets
}

// New starts a hub. Its goroutines end in Close.
func New(o Options) *Hub {
	h := &Hub{source: o.Source, log: o.Logger, assets: loadAssets()}
	if h.log == nil {
		h.log = slog.Default()
	}
	h.ctx, h.cancel = context.WithCancel(context.Background())
	return h
}

// Handler serves the page at "/" and everything it needs below "/ui/".
func (h *Hub) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", h.assets.servePage)
	mux.HandleFunc("GET /ui/static/{name...}", h.assets.serveFile)
	return mux
}

// Close ends all connections with code 1001 (going away) and returns when
// every goroutine of the hub has ended.
func (h *Hub) Close() {
	h.cancel()
	h.wg.Wait()
}
