package api

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"slices"
	"testing"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// OPR-56 OPR-57 OPR-58 OPR-59: the calls as a real master was sent them, and what it answered; but for durations
// as strings, which only we take.
func TestDrainCalls(t *testing.T) {
	const agent = `"agent_id":{"value":"` + testMaster + `-S0"}`
	const nobody = `"agent_id":{"value":"no-such-agent"}`
	for _, c := range []struct {
		body   string
		status int
		text   string
		done   string
	}{
		{`{"type":"DEACTIVATE_AGENT","deactivate_agent":{` + agent + `}}`, 200, "", "deactivate"},
		{`{"type":"REACTIVATE_AGENT","reactivate_agent":{` + agent + `}}`, 200, "", "reactivate"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `,"max_grace_period":{"seconds":2},"mark_gone":false}}`, 200, "", "drain 2s false"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `}}`, 200, "", "drain none false"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `,"mark_gone":true,"max_grace_period":{"seconds":"1","nanos":500000000}}}`, 200, "", "drain 1.5s true"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `,"max_grace_period":{"seconds":-1}}}`, 200, "", "drain -1s false"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `,"max_grace_period":"600s"}}`, 200, "", "drain 10m0s false"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `,"max_grace_period":"10mins"}}`, 200, "", "drain 10m0s false"},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + agent + `,"max_grace_period":"soon"}}`, 400,
			"Failed to convert JSON into Call protobuf: Failed to parse 'soon' as a duration such as '600s' or '10mins' for field 'max_grace_period': Failed to convert '' to number", ""},
		{`{"type":"DRAIN_AGENT","drain_agent":{` + nobody + `}}`, 400, "Unknown agent", ""},
		{`{"type":"DEACTIVATE_AGENT","deactivate_agent":{` + nobody + `}}`, 400, "Unknown agent", ""},
		{`{"type":"REACTIVATE_AGENT","reactivate_agent":{` + nobody + `}}`, 400, "Agent is not deactivated", ""},
		{`{"type":"MARK_AGENT_GONE","mark_agent_gone":{` + agent + `}}`, 200, "", "gone"},
		{`{"type":"MARK_AGENT_GONE","mark_agent_gone":{` + nobody + `}}`, 404, "Agent 'no-such-agent' not found", ""},
		{`{"type":"MARK_AGENT_GONE"}`, 400, "Failed to validate master::Call: Expecting 'mark_agent_gone' to be present", ""},
		{`{"type":"MARK_AGENT_GONE","mark_agent_gone":{}}`, 400,
			"Failed to convert JSON into Call protobuf: Missing required fields: mark_agent_gone.agent_id", ""},
	} {
		cluster := newTestCluster()
		w := post(cluster.master(), "/api/v1", c.body, "Accept", jsonType)
		if w.Code != c.status || w.Body.String() != c.text {
			t.Errorf("%s: %d %q, want %d %q", c.body, w.Code, w.Body, c.status, c.text)
		}
		if want := slices.DeleteFunc([]string{c.done}, func(s string) bool { return s == "" }); !slices.Equal(cluster.operator.changed, want) {
			t.Errorf("%s: done %q, want %q", c.body, cluster.operator.changed, want)
		}
		if h := w.Header(); c.status == 200 && (h.Get("Content-Length") != "0" || h.Get("Content-Type") != "") {
			t.Errorf("%s: headers %v", c.body, h)
		}
	}
}

// OPR-14 OPR-56 OPR-57: the same in protobuf.
func TestDrainCallsInProtobuf(t *testing.T) {
	agent := mesos.AgentID(testMaster + "-S0").Proto()
	for done, call := range map[string]*v1master.Call{
		"drain 7s true": {
			Type: v1master.Call_DRAIN_AGENT.Enum(),
			DrainAgent: &v1master.Call_DrainAgent{
				AgentId: agent, MaxGracePeriod: &durationpb.Duration{Seconds: 7}, MarkGone: proto.Bool(true),
			},
		},
		"gone": {
			Type:          v1master.Call_MARK_AGENT_GONE.Enum(),
			MarkAgentGone: &v1master.Call_MarkAgentGone{AgentId: agent},
		},
	} {
		body, err := proto.Marshal(call)
		if err != nil {
			t.Fatal(err)
		}
		cluster := newTestCluster()
		w := do(cluster.master(), "POST", "/master/api/v1", string(body), "Content-Type", "application/x-protobuf", "Accept", "application/x-protobuf")
		if w.Code != 200 || !slices.Equal(cluster.operator.changed, []string{done}) {
			t.Errorf("%s: %d %s, done %q", done, w.Code, w.Body, cluster.operator.changed)
		}
	}
}

// A grace beyond what nanoseconds can tell is as long as they can.
func TestDrainGraceOutOfRange(t *testing.T) {
	for seconds, want := range map[int64]int64{
		0: 0, 9_000_000_000: 9e18, math.MaxInt64: math.MaxInt64, 9_300_000_000: math.MaxInt64,
		math.MinInt64: math.MinInt64, -9_300_000_000: math.MinInt64, -3: -3e9,
	} {
		config := drainConfig(&v1master.Call_DrainAgent{MaxGracePeriod: &durationpb.Duration{Seconds: seconds}})
		if got := config.GetMaxGracePeriod().GetNanoseconds(); got != want {
			t.Errorf("%d s: %d", seconds, got)
		}
	}
}

// failingOperator does not lead any more.
type failingOperator struct{ fakeOperator }

func (*failingOperator) DrainAgent(context.Context, string, mesos.AgentID, *v1.DrainConfig) (Answer, error) {
	return Answer{}, fmt.Errorf("%w: this node does not lead", ErrNotReady)
}

func TestDrainWithoutLeader(t *testing.T) {
	cluster := newTestCluster()
	options := cluster.masterOptions()
	options.Operator = &failingOperator{}
	w := post(NewMaster(options), "/api/v1", `{"type":"DRAIN_AGENT","drain_agent":{"agent_id":{"value":"a"}}}`)
	if w.Code != http.StatusServiceUnavailable || w.Body.String() != "503 Service Unavailable. not ready: this node does not lead" {
		t.Fatalf("%d %q", w.Code, w.Body)
	}
	cluster.leader.self, cluster.leader.hostport = false, "other:5050"
	if w := post(cluster.master(), "/api/v1", `{"type":"DRAIN_AGENT"}`); w.Code != http.StatusTemporaryRedirect || w.Header().Get("Location") != "//other:5050/api/v1" {
		t.Fatalf("%d %v", w.Code, w.Header())
	}
}
