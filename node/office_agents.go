package node

import (
	"context"

	"clusterd/node/api"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// drain empties an agent for an operator; it goes on after the answer.
func (l *leader) drain(ctx context.Context, id mesos.AgentID, config *v1.DrainConfig) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.DrainAgent{Request: master.RequestID(request), Agent: id, Config: config})
	})
	return re.answer, err
}

// deactivate ends offers of an agent for an operator.
func (l *leader) deactivate(ctx context.Context, id mesos.AgentID) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.DeactivateAgent{Request: master.RequestID(request), Agent: id})
	})
	return re.answer, err
}

// reactivate undoes drain and deactivate.
func (l *leader) reactivate(ctx context.Context, id mesos.AgentID) (api.Answer, error) {
	re, err := l.front.ask(ctx, l.box.done, func(request uint64) error {
		return l.box.offer(ctx, master.ReactivateAgent{Request: master.RequestID(request), Agent: id})
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
