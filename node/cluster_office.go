package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/api"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/trust"
	"clusterd/raft/registry"
)

// clusterOffice is the cluster as its operators see and change it. It implements api.Cluster.
type clusterOffice struct{ n *Node }

var _ api.Cluster = clusterOffice{}

// steward is that of the leading master of this node.
func (o clusterOffice) steward() (*steward, error) {
	if l := o.n.acting(); l != nil {
		return l.steward, nil
	}
	return nil, o.n.noLeader()
}

// changed turns what the registry says of a change into an answer.
func changed(err error) error {
	var refused *refusedError
	if errors.As(err, &refused) {
		return &api.ConflictError{Text: refused.reason}
	}
	return err
}

// Token implements api.Cluster. The tokens without an end follow from the authority's key, so that
// nothing but hashes of the others need be kept (CLU-23).
func (o clusterOffice) Token(ctx context.Context, r api.TokenRequest) (*api.TokenAnswer, error) {
	s, err := o.steward()
	if err != nil {
		return nil, err
	}
	role := registry.Token_ANY
	if r.Role == api.TokenAgent {
		role = registry.Token_AGENT
	}
	now := time.Now()
	if r.Rotate {
		op := &registry.Op{Op: &registry.Op_RotateTokens{RotateTokens: &registry.RotateTokens{Role: role.Enum()}}}
		if _, err := s.m.propose(ctx, op); err != nil {
			return nil, changed(err)
		}
	}
	a, err := s.authority()
	if err != nil {
		return nil, err
	}
	answer := &api.TokenAnswer{Role: tokenRoles[role], Peers: s.peers()}
	secret := ""
	if ttl := r.TTL(); ttl > 0 {
		answer.Expires = now.Add(ttl)
		secret = trust.NewSecret()
		token := &registry.Token{Role: role.Enum(), Hash: trust.HashSecret(secret), Expires: proto.Int64(answer.Expires.UnixNano())}
		op := &registry.Op{Op: &registry.Op_AddToken{AddToken: &registry.AddToken{Token: token, Time: proto.Int64(now.UnixNano())}}}
		if _, err := s.m.propose(ctx, op); err != nil {
			return nil, changed(err)
		}
	} else {
		c, _ := s.registry().Cluster()
		generation := c.GetAnyGeneration()
		if role == registry.Token_AGENT {
			generation = c.GetAgentGeneration()
		}
		secret = trust.DeriveSecret(a, tokenRoles[role], generation)
	}
	answer.Token = trust.Token{Role: tokenRoles[role], Fingerprint: a.Fingerprint(), Secret: secret}.Text()
	return answer, nil
}

// peers are where others best join: at this node, then at the other masters.
func (s *steward) peers() []string {
	out := []string{s.n.host.peer()}
	for _, node := range s.registry().Nodes() {
		if node.GetRaftId() != 0 && node.GetRaftId() != s.m.id {
			out = append(out, node.GetPeerAddress())
		}
	}
	return out
}

// JoinCommand is what to run on another machine to join the cluster of this node, if it leads.
func (n *Node) JoinCommand(ctx context.Context) (string, error) {
	answer, err := clusterOffice{n}.Token(ctx, api.TokenRequest{Role: api.TokenAny})
	if err != nil {
		return "", err
	}
	return "clusterd join " + answer.Peers[0] + " --token " + answer.Token, nil
}

// ChangeNode implements api.Cluster.
func (o clusterOffice) ChangeNode(ctx context.Context, id, verb string, r api.DrainRequest) error {
	s, err := o.steward()
	if err != nil {
		return err
	}
	node, ok := s.registry().Node(id)
	if !ok {
		return &api.UnknownNodeError{Node: id}
	}
	switch verb {
	case api.NodePromote:
		return s.place(ctx, node, registry.Node_PREFERRED)
	case api.NodeDemote:
		return s.place(ctx, node, registry.Node_BARRED)
	case api.NodeRemove:
		return s.remove(ctx, node)
	case api.NodeDrain:
		return s.drain(ctx, node, r)
	case api.NodeActivate:
		return s.activate(ctx, node)
	}
	return &api.InputError{Text: fmt.Sprintf("verb %q is not one of %s", verb, strings.Join(api.NodeVerbs, ", "))}
}

// place records where an operator wants a node; the steward follows.
func (s *steward) place(ctx context.Context, node *registry.Node, where registry.Node_Placement) error {
	if where == registry.Node_PREFERRED && (node.GetRole() == registry.Node_AGENT || !node.GetMayBeMaster()) {
		return &api.ConflictError{Text: fmt.Sprintf("node %s joined as an agent and cannot become a master: remove it and join again with a token for any role", node.GetName())}
	}
	if where == registry.Node_BARRED {
		if other := s.couldLead(node.GetId()); !other {
			return &api.ConflictError{Text: fmt.Sprintf("node %s is the only one that may be a master now", node.GetName())}
		}
	}
	op := &registry.Op{Op: &registry.Op_SetPlacement{SetPlacement: &registry.SetPlacement{NodeId: node.Id, Placement: where.Enum()}}}
	if _, err := s.m.propose(ctx, op); err != nil {
		return changed(err)
	}
	s.stir()
	return nil
}

// couldLead says whether a node other than this one is there to be a master.
func (s *steward) couldLead(but string) bool {
	for _, m := range s.picture(time.Now()).Nodes {
		if m.Node.GetId() != but && m.Alive && m.Node.GetMayBeMaster() && m.Node.GetRole() != registry.Node_AGENT && m.Node.GetPlacement() != registry.Node_BARRED {
			return true
		}
	}
	return false
}

const (
	// removeTime is how long the removal of a master may take: its place is given to another first.
	removeTime = 30 * time.Second
	removeLook = 50 * time.Millisecond
)

// remove takes a node out of the cluster for good: first out of the masters, then its agent is gone, and
// last its certificate is refused (CLU-6, CLU-21).
func (s *steward) remove(ctx context.Context, node *registry.Node) error {
	if len(s.registry().Nodes()) == 1 {
		return &api.ConflictError{Text: fmt.Sprintf("node %s is the only one of the cluster", node.GetName())}
	}
	ctx, cancel := context.WithTimeout(ctx, removeTime)
	defer cancel()
	if node.GetRaftId() != 0 {
		if err := s.place(ctx, node, registry.Node_BARRED); err != nil {
			return err
		}
		if err := s.released(ctx, node.GetId()); err != nil {
			return err
		}
	}
	if err := s.endAgent(ctx, node.GetId()); err != nil {
		return err
	}
	until := time.Now().Add(s.n.config.CertificateLifetime + time.Hour)
	op := &registry.Op{Op: &registry.Op_RemoveNode{RemoveNode: &registry.RemoveNode{
		NodeId: node.Id, Time: proto.Int64(time.Now().UnixNano()), Until: proto.Int64(until.UnixNano())}}}
	if _, err := s.m.propose(ctx, op); err != nil {
		return changed(err)
	}
	s.log.Info("node removed", slog.String("node_id", node.GetId()), slog.String("name", node.GetName()))
	s.stir()
	return nil
}

// released waits until a node is no raft member any more.
func (s *steward) released(ctx context.Context, id string) error {
	tick := time.NewTicker(removeLook)
	defer tick.Stop()
	for {
		node, ok := s.registry().Node(id)
		if !ok || node.GetRaftId() == 0 {
			return nil
		}
		if s.n.leading.Load() != s.l {
			return fmt.Errorf("%w: leadership has moved to another master, which goes on with it", s.n.noLeader())
		}
		s.stir()
		select {
		case <-ctx.Done():
			return &api.ConflictError{Text: fmt.Sprintf("node %s is still one of the masters: a quorum must remain without it, and another node must be there to take its place", node.GetName())}
		case <-tick.C:
		}
	}
}

// endAgent marks the agent of a node gone, if there is one: its tasks are gone at once, instead of when the
// agent has been missed for long, and it cannot come back (OPR-56). It waits for what else is happening to the
// agent, such as the end that it asks for itself when its node leaves.
func (s *steward) endAgent(ctx context.Context, node string) error {
	known, ok := s.registry().Node(node)
	if !ok || known.GetAgentId().GetValue() == "" {
		return nil
	}
	id := mesos.AgentID(known.GetAgentId().GetValue())
	tick := time.NewTicker(removeLook)
	defer tick.Stop()
	for {
		answer, err := s.l.markGone(ctx, id)
		switch {
		case s.n.leading.Load() != s.l:
			return fmt.Errorf("%w: leadership has moved to another master", s.n.noLeader())
		case err != nil:
			return err
		case answer.Status == http.StatusNotFound: // it has unregistered
			return nil
		case answer.Status != http.StatusServiceUnavailable:
			return answered(answer, nil)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("the agent of node %s is not gone: %s", known.GetName(), lowerFirst(answer.Body))
		case <-tick.C:
		}
	}
}

// agentOf is the agent of a node.
func (s *steward) agentOf(node *registry.Node) (mesos.AgentID, error) {
	if id := node.GetAgentId().GetValue(); id != "" {
		return mesos.AgentID(id), nil
	}
	return "", &api.ConflictError{Text: fmt.Sprintf("node %s has no agent", node.GetName())}
}

func (s *steward) drain(ctx context.Context, node *registry.Node, r api.DrainRequest) error {
	id, err := s.agentOf(node)
	if err != nil {
		return err
	}
	config := &v1.DrainConfig{MarkGone: &r.MarkGone}
	if r.MaxGraceSeconds != nil {
		config.MaxGracePeriod = &v1.DurationInfo{Nanoseconds: proto.Int64(*r.MaxGraceSeconds * int64(time.Second))}
	}
	return answered(s.l.drain(ctx, id, config))
}

func (s *steward) activate(ctx context.Context, node *registry.Node) error {
	id, err := s.agentOf(node)
	if err != nil {
		return err
	}
	return answered(s.l.reactivate(ctx, id))
}

// answered turns the answer of the master's core into an error.
func answered(a api.Answer, err error) error {
	switch {
	case err != nil:
		return err
	case a.Status >= http.StatusInternalServerError:
		return errors.New(a.Body)
	case a.Status >= http.StatusBadRequest:
		return &api.ConflictError{Text: lowerFirst(a.Body)}
	}
	return nil
}

func lowerFirst(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + s[1:]
}

// Backup implements api.Cluster (CLU-8). What it writes is a picture of one instant.
func (o clusterOffice) Backup(ctx context.Context) (api.BackupInfo, func(io.Writer) error, error) {
	s, err := o.steward()
	if err != nil {
		return api.BackupInfo{}, nil, err
	}
	if _, err := s.m.peer.ReadIndex(ctx); err != nil {
		return api.BackupInfo{}, nil, o.n.noLeader()
	}
	state, now := s.registry(), time.Now()
	c, _ := state.Cluster()
	info := api.BackupInfo{ClusterID: c.GetId(), Version: Version, Index: state.Index(), Time: now, StateHash: state.ContentHash()}
	return info, func(w io.Writer) error {
		return state.WriteBackup(w, registry.BackupInfo{ClusterID: info.ClusterID, Version: info.Version, Index: info.Index, Time: now})
	}, nil
}

// RotateAuthority implements api.Cluster.
func (o clusterOffice) RotateAuthority(ctx context.Context) error {
	s, err := o.steward()
	if err != nil {
		return err
	}
	return changed(s.rotate(ctx))
}

// SetMasters implements api.Cluster.
func (o clusterOffice) SetMasters(ctx context.Context, masters int) error {
	s, err := o.steward()
	if err != nil {
		return err
	}
	op := &registry.Op{Op: &registry.Op_SetSettings{SetSettings: &registry.SetSettings{Settings: &registry.Settings{Masters: proto.Uint32(uint32(masters))}}}}
	if _, err := s.m.propose(ctx, op); err != nil {
		return changed(err)
	}
	s.stir()
	return nil
}
