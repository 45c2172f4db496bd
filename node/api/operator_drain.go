package api

import (
	"math"
	"net/http"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1master"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/durationpb"
)

// changeAgent serves the calls that take an agent out of service and back, or end it (OPR-56, OPR-57, OPR-59).
func (m *master) changeAgent(w http.ResponseWriter, r *http.Request, call *v1master.Call) {
	var answer Answer
	var err error
	switch call.GetType() {
	case v1master.Call_DRAIN_AGENT:
		drain := call.GetDrainAgent()
		answer, err = m.Operator.DrainAgent(r.Context(), "", agentID(drain.GetAgentId()), drainConfig(drain))
	case v1master.Call_DEACTIVATE_AGENT:
		answer, err = m.Operator.DeactivateAgent(r.Context(), "", agentID(call.GetDeactivateAgent().GetAgentId()))
	case v1master.Call_REACTIVATE_AGENT:
		answer, err = m.Operator.ReactivateAgent(r.Context(), "", agentID(call.GetReactivateAgent().GetAgentId()))
	case v1master.Call_MARK_AGENT_GONE:
		answer, err = m.Operator.MarkAgentGone(r.Context(), "", agentID(call.GetMarkAgentGone().GetAgentId()))
	}
	if err != nil {
		answer = failed(r, m.Logger, err)
	}
	answer.respond(w)
}

func agentID(id *v1.AgentID) mesos.AgentID { return mesos.AgentID(id.GetValue()) }

// drainConfig is what a DRAIN_AGENT asks for, as the agent is shown with it (OPR-57).
func drainConfig(drain *v1master.Call_DrainAgent) *v1.DrainConfig {
	config := &v1.DrainConfig{MarkGone: proto.Bool(drain.GetMarkGone())}
	if d := drain.GetMaxGracePeriod(); d != nil {
		config.MaxGracePeriod = &v1.DurationInfo{Nanoseconds: proto.Int64(nanoseconds(d))}
	}
	return config
}

// nanoseconds of a duration that may be longer than they can tell: then the most that they can.
func nanoseconds(d *durationpb.Duration) int64 {
	const most = math.MaxInt64 / int64(time.Second)
	switch s := d.GetSeconds(); {
	case s >= most:
		return math.MaxInt64
	case s <= -most:
		return math.MinInt64
	default:
		return s*int64(time.Second) + int64(d.GetNanos())
	}
}
