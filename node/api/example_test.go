package api_test

import (
	"fmt"
	"log/slog"
	"net/http/httptest"
	"time"

	"clusterd/node/api"
)

// nobody leads yet.
type nobody struct{}

func (nobody) Leader() (hostport string, self, recovered bool) { return "", false, false }

// A master answers before anybody leads.
func ExampleNewMaster() {
	master := api.NewMaster(api.MasterOptions{
		Leader: nobody{}, Files: api.NewFiles(), Logger: slog.New(slog.DiscardHandler),
		Build: api.Build{Version: "0.1.0", Time: time.Unix(0, 0), User: "ci"},
	})
	for _, path := range []string{"/health", "/version", "/master/state"} {
		w := httptest.NewRecorder()
		master.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Printf("%s %d %q\n", path, w.Code, w.Body)
	}
	// Output:
	// /health 200 ""
	// /version 200 "{\"build_date\":\"1970-01-01 00:00:00 UTC\",\"build_time\":0.0,\"build_user\":\"ci\",\"clusterd_version\":\"0.1.0\",\"version\":\"1.12.0\"}"
	// /master/state 503 "No leader elected"
}
