package ui_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"clusterd/ui"
)

// still is a cluster in which nothing happens.
type still struct{}

func (still) Changed() <-chan struct{} { return nil }
func (still) Snapshot(context.Context) (*ui.State, error) {
	return &ui.State{Cluster: ui.Cluster{Name: "lab"}}, nil
}
func (still) Files(context.Context, string, string) ([]ui.File, error) { return nil, ui.ErrNotFound }
func (still) Read(context.Context, string, string, int64, int) ([]byte, int64, error) {
	return nil, 0, ui.ErrNotFound
}
func (still) Kill(context.Context, string, string) error { return ui.ErrNotFound }

// A hub is mounted at "/", beside the routes of the API.
func Example() {
	hub := ui.New(ui.Options{Source: still{}})
	defer hub.Close()
	mux := http.NewServeMux()
	mux.Handle("/", hub.Handler())
	answer := httptest.NewRecorder()
	mux.ServeHTTP(answer, httptest.NewRequest("GET", "/", nil))
	fmt.Println(answer.Code, answer.Header().Get("Content-Type"))
	// Output: 200 text/html; charset=utf-8
}
