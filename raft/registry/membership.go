package registry

import (
	"bytes"
	"crypto/sha256"
	"fmt"

	"google.golang.org/protobuf/proto"
)

const (
	noCluster = "there is no cluster yet"
	// maxTokens is how many tokens with an end there may be at one time.
	maxTokens = 1000
)

// Cluster returns what holds for the cluster as a whole, false until it is formed.
func (s *State) Cluster() (*Snapshot_Cluster, bool) { return s.cluster, s.cluster != nil }

// Tokens returns the join tokens with an end, in the order of their hashes. Some may have expired.
func (s *State) Tokens() []*Token { return s.tokens.values() }

// changeCluster puts a changed copy in the place of the cluster's section.
func (s *State) changeCluster(change func(*Snapshot_Cluster)) {
	c := proto.CloneOf(s.cluster)
	change(c)
	s.cluster = c
}

// formCluster makes a cluster of its first node (CLU-2). There is one in the life of a registry.
func (s *State) formCluster(op *FormCluster) string {
	if s.cluster != nil {
		return fmt.Sprintf("cluster %s is formed already", s.cluster.GetId())
	}
	node, raftID := op.GetNode(), op.GetNode().GetRaftId()
	if op.GetClusterId() == "" {
		return "cluster id is empty"
	}
	if fault := faultyNode(node); fault != "" {
		return fault
	}
	switch {
	case !node.MayLead():
		return cannotLead(node)
	case raftID == 0 || raftID >= maxRaftID:
		return fmt.Sprintf("raft id of the first node is %d: 1 to %d are allowed", raftID, uint64(maxRaftID-1))
	}
	authorities := []*Authority{op.GetAuthority()}
	if fault := faultyAuthorities(authorities); fault != "" {
		return fault
	}
	if fault := faultySettings(op.GetSettings()); fault != "" {
		return fault
	}
	s.cluster = &Snapshot_Cluster{
		Id: proto.String(op.GetClusterId()), Formed: proto.Int64(op.GetTime()), Settings: op.GetSettings(),
		Authorities: authorities, NextRaftId: proto.Uint64(raftID + 1),
	}
	first := proto.CloneOf(node)
	first.Admitted, first.Placement = proto.Int64(op.GetTime()), nil
	s.nodes = s.nodes.with(node.GetId(), first)
	s.members = s.members.with(memberKey(raftID), node.GetId())
	return ""
}

// faultySettings says what is wrong with settings, empty if nothing is.
func faultySettings(settings *Settings) string {
	switch masters := settings.GetMasters(); masters {
	case 1, 3, 5, 7:
		return ""
	default:
		return fmt.Sprintf("number of masters is %d: 1, 3, 5 and 7 are allowed", masters)
	}
}

func (s *State) setSettings(op *SetSettings) string {
	if fault := faultySettings(op.GetSettings()); fault != "" {
		return fault
	}
	s.changeCluster(func(c *Snapshot_Cluster) { c.Settings = op.GetSettings() })
	return ""
}

// faultyAuthorities says what is wrong with a list of authorities, empty if nothing is.
func faultyAuthorities(authorities []*Authority) string {
	if len(authorities) == 0 {
		return "there must be a certificate authority"
	}
	for i, a := range authorities {
		if len(a.GetCertificate()) == 0 {
			return fmt.Sprintf("certificate authority %d has no certificate", i+1)
		}
		for _, b := range authorities[:i] {
			if bytes.Equal(a.GetCertificate(), b.GetCertificate()) {
				return fmt.Sprintf("certificate authority %d is in the list twice", i+1)
			}
		}
	}
	if len(authorities[0].GetKey()) == 0 {
		return "the first certificate authority has no key: it could not issue"
	}
	return ""
}

func (s *State) setAuthorities(op *SetAuthorities) string {
	if fault := faultyAuthorities(op.GetAuthorities()); fault != "" {
		return fault
	}
	s.changeCluster(func(c *Snapshot_Cluster) { c.Authorities = op.GetAuthorities() })
	return ""
}

func (s *State) addToken(op *AddToken) string {
	token := op.GetToken()
	hash := string(token.GetHash())
	switch {
	case token.GetRole() == Token_UNKNOWN_ROLE:
		return "role of a token is unknown: any and agent are allowed"
	case len(hash) != sha256.Size:
		return fmt.Sprintf("hash of a token has %d bytes, not %d", len(hash), sha256.Size)
	case token.GetExpires() <= op.GetTime():
		return "the token has expired already"
	}
	valid := s.tokens
	for id, old := range s.tokens.all() {
		if old.GetExpires() <= op.GetTime() {
			valid = valid.without(id)
		}
	}
	switch {
	case valid.has(hash):
		return "the token is known already"
	case valid.n >= maxTokens:
		return fmt.Sprintf("%d tokens are valid, which is the most: wait until one expires, or rotate them", valid.n)
	}
	s.tokens = valid.with(hash, token)
	return ""
}

func (s *State) rotateTokens(op *RotateTokens) string {
	switch op.GetRole() {
	case Token_ANY:
		s.changeCluster(func(c *Snapshot_Cluster) { c.AnyGeneration = proto.Uint64(c.GetAnyGeneration() + 1) })
	case Token_AGENT:
		s.changeCluster(func(c *Snapshot_Cluster) { c.AgentGeneration = proto.Uint64(c.GetAgentGeneration() + 1) })
	default:
		return "role of the tokens is unknown: any and agent are allowed"
	}
	for id, token := range s.tokens.all() {
		if token.GetRole() == op.GetRole() {
			s.tokens = s.tokens.without(id)
		}
	}
	return ""
}
