package node

import (
	"context"
	"fmt"

	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/ui"
)

// drain empties an agent for an operator; it goes on after the answer.
func (l *leader) drain(ctx context.Context, id mesos.AgentID, config *v1.DrainConfig) (api.Answer, error) {
	return l.operate(ctx, func(r master.RequestID) master.Event { return master.DrainAgent{Request: r, Agent: id, Config: config} })
}

// deactivate ends offers of an agent for an operator.
func (l *leader) deactivate(ctx context.Context, id mesos.AgentID) (api.Answer, error) {
	return l.operate(ctx, func(r master.RequestID) master.Event { return master.DeactivateAgent{Request: r, Agent: id} })
}

// reactivate undoes drain and deactivate.
func (l *leader) reactivate(ctx context.Context, id mesos.AgentID) (api.Answer, error) {
	return l.operate(ctx, func(r master.RequestID) master.Event { return master.ReactivateAgent{Request: r, Agent: id} })
}

// absence tells that so many agents stay away that none of them is given up (SCH-278).
func absence(v *master.View) []ui.Problem {
	if v.Overdue == 0 {
		return nil
	}
	return []ui.Problem{{
		Code: "agents-absent", Severity: "error",
		Text: fmt.Sprintf("%d agents have not come back since the leader was elected, more than --recovery-agent-removal-limit lets it give up.", v.Overdue),
		Do:   "Look for what they have in common, such as a network. A node that is lost for good: clusterd node remove NODE.",
	}}
}

// markGone ends an agent for good for an operator, or because its node is removed.
func (l *leader) markGone(ctx context.Context, id mesos.AgentID) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.MarkAgentGone{Request: master.RequestID(request), Agent: id})
	})
	return re.answer, err
}

// DrainAgent implements api.Operator.
func (o office) DrainAgent(ctx context.Context, _ string, id mesos.AgentID, config *v1.DrainConfig) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.drain(ctx, id, config)
}

// DeactivateAgent implements api.Operator.
func (o office) DeactivateAgent(ctx context.Context, _ string, id mesos.AgentID) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.deactivate(ctx, id)
}

// ReactivateAgent implements api.Operator.
func (o office) ReactivateAgent(ctx context.Context, _ string, id mesos.AgentID) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.reactivate(ctx, id)
}

// MarkAgentGone implements api.Operator.
func (o office) MarkAgentGone(ctx context.Context, _ string, id mesos.AgentID) (api.Answer, error) {
	l, err := o.leader()
	if err != nil {
		return api.Answer{}, err
	}
	return l.markGone(ctx, id)
}
