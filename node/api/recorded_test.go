package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// Each row is a request that a real master was sent, and its answer. What the core says to unknown
// frameworks and wrong streams comes from a fake here and is tested with the core.
//
// SCH-1 SCH-3 SCH-4 SCH-5 SCH-7 SCH-8 SCH-9 SCH-10 SCH-11 SCH-14 SCH-39 SCH-49 SCH-51 SCH-95
// SCH-99 SCH-100 SCH-227
func TestSchedulerRequests(t *testing.T) {
	for _, row := range recordedRequests(t, "scheduler_requests.json") {
		t.Run(fmt.Sprintf("%d %s", row.Row, row.Name), func(t *testing.T) {
			switch row.Name {
			case "content type with charset parameter", "upper-case content type":
				// SCH-6: these are accepted here, so that the next check answers.
				row.Status = http.StatusNotAcceptable
				row.Text = &notAcceptable.Body
			}
			row.check(t, newTestCluster().master())
		})
	}
}

// OPR-8 OPR-9 OPR-14 OPR-25 OPR-26 OPR-34 OPR-36 OPR-37 OPR-77 OPR-78 OPR-120 OPR-125 OPR-155 OPR-279
// EXE-2 EXE-4 EXE-21
func TestOperatorRequests(t *testing.T) {
	for _, row := range recordedRequests(t, "operator_requests.json") {
		t.Run(fmt.Sprintf("%d %s", row.Row, row.Name), func(t *testing.T) {
			cluster := newTestCluster()
			if strings.HasPrefix(row.Name, "agent") {
				row.check(t, cluster.agent())
			} else {
				row.check(t, cluster.master())
			}
		})
	}
}
