package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/cluster"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
	"clusterd/raft/registry"
)

// authority is the one that issues certificates now. It is read once: to check it costs as much as to
// sign with it, which is felt when very many nodes join.
func (s *steward) authority() (*trust.Authority, error) {
	c, ok := s.registry().Cluster()
	if !ok || len(c.GetAuthorities()) == 0 {
		return nil, errNotSettled
	}
	issuing := c.GetAuthorities()[0]
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.issuing != nil && bytes.Equal(s.issuing.CertificateDER(), issuing.GetCertificate()) {
		return s.issuing, nil
	}
	a, err := trust.ParseAuthority(issuing.GetCertificate(), issuing.GetKey())
	if err != nil {
		return nil, fmt.Errorf("certificate authority in the registry: %w", err)
	}
	s.issuing = a
	return a, nil
}

// sign gives a node its certificate. What it may do follows from the registry, not from what it asks.
func (s *steward) sign(request []byte, node *registry.Node, now time.Time) (chain [][]byte, err error) {
	a, err := s.authority()
	if err != nil {
		return nil, err
	}
	role := trust.RoleAgent
	if node.GetMayBeMaster() && node.GetRole() != registry.Node_AGENT {
		role = trust.RoleMaster
	}
	cert, err := a.Sign(request, trust.Identity{ClusterID: s.n.identity().ClusterID, NodeID: node.GetId(), Role: role}, now, s.n.config.CertificateLifetime)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of node %s: %w", node.GetId(), err)
	}
	return [][]byte{cert, a.CertificateDER()}, nil
}

// admit lets a node in (CLU-20, CLU-22). What is wrong with the request is a *rejection; any other error
// may be over at the next try.
func (s *steward) admit(ctx context.Context, ask *wire.JoinRequest, remote string) (*wire.Joined, error) {
	now := time.Now()
	s.mu.Lock()
	allowed := s.limiter.Allow(now, remote)
	s.mu.Unlock()
	if !allowed {
		return nil, &rejection{reason: "too many failed tries to join from " + remote + ": wait a minute", quiet: true}
	}
	refuse := func(reason string) error {
		s.mu.Lock()
		s.limiter.Failed(now, remote)
		s.mu.Unlock()
		return &rejection{reason: reason}
	}
	key, err := trust.ParseRequest(ask.GetRequest())
	if err != nil {
		return nil, refuse(fmt.Sprintf("certificate request: %v", err))
	}
	keyHash := trust.KeyHash(key)
	role := registry.Token_UNKNOWN_ROLE
	fault := cluster.CheckJoin(now, s.registry(), ask, cluster.JoinContext{
		Version: Version, KeyHash: keyHash,
		TokenRole: func(secret string) (registry.Token_Role, error) {
			var err error
			role, err = s.tokenRole(secret, now)
			return role, err
		},
		At: func(address string) string { return s.l.roll.at(address, now) },
	})
	if fault != nil {
		return nil, refuse(fault.Reason)
	}
	node := &registry.Node{
		Id: ask.NodeId, Name: ask.Name, Role: roleValues[ask.GetRole()].Enum(), PeerAddress: ask.Addresses.Peer, MasterAddress: ask.Addresses.Master,
		AgentAddress: ask.Addresses.Agent, Version: ask.Version, Domain: ask.Domain, Attributes: ask.Attributes,
		MayBeMaster: proto.Bool(role == registry.Token_ANY), KeyHash: keyHash,
	}
	chain, err := s.sign(ask.GetRequest(), node, now)
	if err != nil {
		return nil, refuse(err.Error())
	}
	op := &registry.Op{Op: &registry.Op_AdmitNode{AdmitNode: &registry.AdmitNode{Node: node, Time: proto.Int64(now.UnixNano())}}}
	var refused *refusedError
	switch _, err := s.m.propose(ctx, op); {
	case errors.As(err, &refused):
		return nil, refuse(refused.reason)
	case err != nil:
		return nil, fmt.Errorf("admit node %s: %w", node.GetId(), err)
	}
	s.log.Info("node admitted", slog.String("node_id", node.GetId()), slog.String("name", printable(node.GetName())),
		slog.String("role", ask.GetRole()), slog.String("remote", remote))
	s.stir()
	roster := s.roster(s.registry())
	return &wire.Joined{
		ClusterId: proto.String(s.n.identity().ClusterID), Certificates: chain, Authorities: roster.GetAuthorities(),
		Leader: s.l.self.addresses, Members: roster.GetMembers(),
	}, nil
}

// renew signs a new certificate for a node that is in contact (CLU-21).
func (s *steward) renew(a *attendance, r *wire.Renew) error {
	node, ok := s.registry().Node(a.node)
	if !ok {
		return &rejection{reason: "the node was removed from the cluster", final: true}
	}
	chain, err := s.sign(r.GetRequest(), node, time.Now())
	if err != nil {
		return err
	}
	s.log.Info("certificate renewed", slog.String("node_id", a.node))
	a.conn.send(&wire.ToNode{Message: &wire.ToNode_Renewed{Renewed: &wire.Renewed{
		Certificates: chain, Authorities: s.roster(s.registry()).GetAuthorities()}}})
	return nil
}

// rotate begins a new authority. Both are trusted from now on; nodes ask for certificates of the new
// one as soon as they hear of it, and the old one is retired when none of its certificates is good any
// more (CLU-21).
func (s *steward) rotate(ctx context.Context) error {
	c, ok := s.registry().Cluster()
	if !ok {
		return errNotSettled
	}
	fresh, err := trust.NewAuthority(c.GetId(), time.Now())
	if err != nil {
		return fmt.Errorf("make a certificate authority: %w", err)
	}
	next := []*registry.Authority{{Certificate: fresh.CertificateDER(), Key: fresh.KeyDER()}}
	for _, old := range c.GetAuthorities() {
		next = append(next, &registry.Authority{Certificate: old.GetCertificate()})
	}
	// Nodes must trust the new authority before anyone shows them a certificate of it: it is announced
	// with the issuing one still first, and put first a beat later.
	announced := append([]*registry.Authority{c.GetAuthorities()[0], next[0]}, next[2:]...)
	if err := s.setAuthorities(ctx, announced); err != nil {
		return err
	}
	s.stir()
	pause(ctx, 2*s.l.beat())
	return s.setAuthorities(ctx, next)
}

func (s *steward) setAuthorities(ctx context.Context, list []*registry.Authority) error {
	_, err := s.m.propose(ctx, &registry.Op{Op: &registry.Op_SetAuthorities{SetAuthorities: &registry.SetAuthorities{Authorities: list}}})
	return err
}

// retireAfter is how long beyond the lifetime of certificates an old authority is trusted: it may have signed
// one while the new one was being announced, on another master's clock.
const retireAfter = 10 * time.Minute

// retireAuthorities drops authorities of which every certificate has ended.
func (s *steward) retireAuthorities(ctx context.Context, now time.Time) error {
	c, ok := s.registry().Cluster()
	if !ok || len(c.GetAuthorities()) < 2 {
		return nil
	}
	// A certificate of an older one was signed before the newest came to issue, which is soon after it was
	// made. An announced successor stands behind the issuing one and is younger.
	newest, err := trust.AuthorityMade(c.GetAuthorities()[0].GetCertificate())
	if err != nil {
		return err
	}
	var keep []*registry.Authority
	for i, a := range c.GetAuthorities() {
		made, err := trust.AuthorityMade(a.GetCertificate())
		if err != nil {
			return err
		}
		if i == 0 || made.After(newest) || now.Before(newest.Add(s.n.config.CertificateLifetime+retireAfter)) {
			keep = append(keep, a)
		}
	}
	if len(keep) == len(c.GetAuthorities()) {
		return nil
	}
	s.log.Info("retiring old certificate authorities", slog.Int("count", len(c.GetAuthorities())-len(keep)))
	return s.setAuthorities(ctx, keep)
}

// tokenRole says what a token allows.
func (s *steward) tokenRole(secret string, now time.Time) (registry.Token_Role, error) {
	a, err := s.authority()
	if err != nil {
		return registry.Token_UNKNOWN_ROLE, err
	}
	c, _ := s.registry().Cluster()
	for role, generation := range map[registry.Token_Role]uint64{registry.Token_ANY: c.GetAnyGeneration(), registry.Token_AGENT: c.GetAgentGeneration()} {
		if trust.SecretMatches(secret, trust.HashSecret(trust.DeriveSecret(a, tokenRoles[role], generation))) {
			return role, nil
		}
	}
	for _, t := range s.registry().Tokens() {
		if trust.SecretMatches(secret, t.GetHash()) {
			if end := time.Unix(0, t.GetExpires()); !now.Before(end) {
				return registry.Token_UNKNOWN_ROLE, fmt.Errorf("the token expired at %s", end.UTC().Format(time.RFC3339))
			}
			return t.GetRole(), nil
		}
	}
	return registry.Token_UNKNOWN_ROLE, errors.New("the token is not valid, or was rotated")
}

var tokenRoles = map[registry.Token_Role]string{registry.Token_ANY: trust.TokenAny, registry.Token_AGENT: trust.TokenAgent}

// takeAuthorities trusts those that the leader names, and asks for a certificate of the issuing one.
func (n *Node) takeAuthorities(list [][]byte) error {
	if len(list) == 0 {
		return nil
	}
	if !sameCertificates(list, n.credentials.Authorities()) {
		n.log.Info("the cluster's certificate authorities have changed", slog.Int("count", len(list)))
		if err := n.credentials.Trust(list); err != nil {
			return fmt.Errorf("certificate authorities that the leader names: %w", err)
		}
		if err := n.saveCertificates(); err != nil {
			return err
		}
		select { // a certificate of the issuing one is due soon
		case n.renewal <- struct{}{}:
		default:
		}
	}
	return nil
}

// saveCertificates makes the credentials durable, unless the node's first ones are not yet.
func (n *Node) saveCertificates() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.fresh != nil {
		return nil
	}
	if err := n.files.Save(n.credentials.Key(), n.credentials.Chain(), n.credentials.Authorities()); err != nil {
		return fmt.Errorf("write certificates: %w", err)
	}
	return nil
}

// renewRetry is the least time between two requests for a certificate.
const renewRetry = 5 * time.Second

// keepCertified asks for a new certificate in time (CLU-21), with the key that the node has.
func (n *Node) keepCertified() {
	for {
		due := time.Until(n.credentials.RenewAt(rand.Float64()))
		timer := time.NewTimer(max(due, 0))
		select {
		case <-n.ctx.Done():
			timer.Stop()
			return
		case <-n.renewal:
			timer.Stop()
			continue
		case <-timer.C:
		}
		if err := n.askRenewal(); err != nil {
			n.log.Warn("certificate not renewed", slog.Time("ends", n.credentials.NotAfter()), slog.Any("error", err))
		}
		pause(n.ctx, renewRetry)
	}
}

func (n *Node) askRenewal() error {
	l := n.linked.Load()
	if l == nil {
		return errors.New("no stream to the leading master")
	}
	request, err := trust.Request(n.credentials.Key())
	if err != nil {
		return fmt.Errorf("request the node's certificate: %w", err)
	}
	l.conn.send(&wire.FromNode{Message: &wire.FromNode_Renew{Renew: &wire.Renew{Request: request}}})
	return nil
}

// renewed takes the new certificate over, for all connections from now on.
func (n *Node) renewed(r *wire.Renewed) error {
	if err := n.credentials.Renew(r.GetCertificates(), r.GetAuthorities()); err != nil {
		return fmt.Errorf("certificate that the leader has sent: %w", err)
	}
	if err := n.saveCertificates(); err != nil {
		return err
	}
	n.log.Info("certificate renewed", slog.Time("ends", n.credentials.NotAfter()))
	return nil
}

// revive gives a master a certificate when its own has ended while the whole cluster was away: its
// registry holds the authority's key, so it needs nobody else.
func (n *Node) revive(m *member) error {
	if time.Now().Before(n.credentials.NotAfter()) {
		return nil
	}
	c, ok := m.machine.View().Cluster()
	if !ok {
		return nil
	}
	a, err := trust.ParseAuthority(c.GetAuthorities()[0].GetCertificate(), c.GetAuthorities()[0].GetKey())
	if err != nil {
		return fmt.Errorf("certificate authority in the registry: %w", err)
	}
	request, err := trust.Request(n.credentials.Key())
	if err != nil {
		return fmt.Errorf("request the node's certificate: %w", err)
	}
	cert, err := a.Sign(request, n.credentials.Identity(), time.Now(), n.config.CertificateLifetime)
	if err != nil {
		return fmt.Errorf("sign the node's certificate: %w", err)
	}
	var list [][]byte
	for _, a := range c.GetAuthorities() {
		list = append(list, a.GetCertificate())
	}
	n.log.Warn("the certificate of this node had ended: it has signed itself a new one", slog.Time("ended", n.credentials.NotAfter()))
	return n.renewed(&wire.Renewed{Certificates: [][]byte{cert, a.CertificateDER()}, Authorities: list})
}
