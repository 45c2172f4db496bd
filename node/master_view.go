package node

import (
	"context"

	"clusterd/alloc"
	"clusterd/node/api"
)

// masterState shows the leading master's core to the HTTP API.
type masterState struct{ n *Node }

// View implements api.MasterState.
func (m masterState) View(ctx context.Context) (*api.MasterView, error) {
	l := m.n.acting()
	if l == nil {
		return nil, errNoOffice
	}
	v, err := l.view(ctx)
	if err != nil {
		return nil, err
	}
	weights, err := alloc.ParseWeights(m.n.config.Weights)
	if err != nil {
		return nil, err
	}
	return &api.MasterView{
		State: v.State, Info: v.Info, Started: m.n.started, Elected: v.Elected, UnreachableAgents: len(v.Unreachable),
		Weights: weights, Roles: m.n.config.Roles, Index: v.Index,
	}, nil
}
