package node

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/trust"
	"clusterd/raft/registry"
)

// tlsName is the directory of the node's key and certificates below the data directory.
const tlsName = "tls"

// newcomer is a node that has its identity and certificate, but not on disk yet.
type newcomer struct {
	id        *identity
	key       trust.Key
	chain     [][]byte // DER
	authority *trust.Authority
}

// found makes the identity of the first node of a new cluster. It becomes true when the registry has
// it: until then nothing is written, so that a crash in between leaves an empty directory.
func (n *Node) found(now time.Time) (*newcomer, error) {
	id := &identity{ClusterID: mesos.NewUUID(newRand()).String(), NodeID: newNodeID(), Name: n.name, Role: n.config.Role, RaftID: 1}
	authority, err := trust.NewAuthority(id.ClusterID, now)
	if err != nil {
		return nil, fmt.Errorf("make the cluster's certificate authority: %w", err)
	}
	return n.certify(id, authority, now)
}

// certify gives an identity a new key and a certificate of the authority.
func (n *Node) certify(id *identity, authority *trust.Authority, now time.Time) (*newcomer, error) {
	key, err := trust.NewKey()
	if err != nil {
		return nil, fmt.Errorf("make the node's key: %w", err)
	}
	request, err := trust.Request(key)
	if err != nil {
		return nil, fmt.Errorf("request the node's certificate: %w", err)
	}
	cert, err := authority.Sign(request, trust.Identity{ClusterID: id.ClusterID, NodeID: id.NodeID, Role: trust.RoleMaster}, now, n.config.CertificateLifetime)
	if err != nil {
		return nil, fmt.Errorf("sign the node's certificate: %w", err)
	}
	return &newcomer{id: id, key: key, chain: [][]byte{cert, authority.CertificateDER()}, authority: authority}, nil
}

// form makes the cluster true that this node has founded, once it leads a registry without one. If the
// registry has a cluster already, this node founded it in an earlier life that ended before it could
// write down who it is: it becomes that node again.
func (n *Node) form(ctx context.Context, m *member) error {
	n.mu.Lock()
	fresh := n.fresh
	n.mu.Unlock()
	if fresh == nil {
		return nil
	}
	now := time.Now()
	if c, ok := m.machine.View().Cluster(); ok {
		again, err := n.refound(m.machine.View(), c, m.id, now)
		if err != nil {
			return err
		}
		fresh = again
	} else {
		op := &registry.FormCluster{
			ClusterId: &fresh.id.ClusterID, Time: proto.Int64(now.UnixNano()), Node: n.record(fresh.id),
			Authority: &registry.Authority{Certificate: fresh.authority.CertificateDER(), Key: fresh.authority.KeyDER()},
			Settings:  &registry.Settings{Masters: proto.Uint32(uint32(n.config.Masters))},
		}
		op.Node.KeyHash, op.Node.MayBeMaster = trust.KeyHash(fresh.key.Public()), proto.Bool(true)
		if _, err := m.propose(ctx, &registry.Op{Op: &registry.Op_FormCluster{FormCluster: op}}); err != nil {
			return fmt.Errorf("form the cluster: %w", err)
		}
	}
	n.founded.Store(true)
	return n.settle(fresh)
}

// Founded says whether this process has formed a new cluster.
func (n *Node) Founded() bool { return n.founded.Load() }

// refound is the node of a registry whose identity was never written down.
func (n *Node) refound(s *registry.State, c *registry.Snapshot_Cluster, raftID uint64, now time.Time) (*newcomer, error) {
	node, ok := s.NodeByRaftID(raftID)
	if !ok {
		return nil, fmt.Errorf("%s is missing and the registry has no node of raft member %d: join the cluster with an empty --data-dir", identityName, raftID)
	}
	issuing := c.GetAuthorities()[0]
	authority, err := trust.ParseAuthority(issuing.GetCertificate(), issuing.GetKey())
	if err != nil {
		return nil, fmt.Errorf("certificate authority in the registry: %w", err)
	}
	id := &identity{ClusterID: c.GetId(), NodeID: node.GetId(), Name: node.GetName(), Role: roleNames[node.GetRole()], RaftID: raftID}
	return n.certify(id, authority, now)
}

// settle makes an identity durable: first the key and certificates, then the name that makes them count.
func (n *Node) settle(fresh *newcomer) error {
	if err := n.files.Save(fresh.key, fresh.chain, fresh.authorities()); err != nil {
		return fmt.Errorf("write certificates: %w", err)
	}
	if err := fresh.id.save(n.config.DataDir); err != nil {
		return fmt.Errorf("write identity: %w", err)
	}
	n.mu.Lock()
	n.id, n.fresh = fresh.id, nil
	n.mu.Unlock()
	return n.credentials.Replace(fresh.key, fresh.chain, fresh.authorities())
}

func (f *newcomer) authorities() [][]byte { return [][]byte{f.authority.CertificateDER()} }

// record is what the registry knows of this node.
func (n *Node) record(id *identity) *registry.Node {
	node := &registry.Node{
		Id: &id.NodeID, Name: &id.Name, Role: roleValues[id.Role].Enum(), PeerAddress: proto.String(n.host.peer()), MasterAddress: proto.String(n.host.master()),
		Version: proto.String(Version), Domain: n.domain, Attributes: n.attributes,
	}
	if runsTasks(id.Role) {
		node.AgentAddress = proto.String(n.host.agent())
	}
	if id.RaftID != 0 {
		node.RaftId = &id.RaftID
	}
	return node
}

var roleValues = map[string]registry.Node_Role{
	"auto": registry.Node_AUTO, "master": registry.Node_MASTER, "agent": registry.Node_AGENT, "both": registry.Node_BOTH,
}

var roleNames = map[registry.Node_Role]string{
	registry.Node_AUTO: "auto", registry.Node_MASTER: "master", registry.Node_AGENT: "agent", registry.Node_BOTH: "both",
}

// identify finds out who this node is: by its data directory, by joining, or by founding a cluster.
func (n *Node) identify() error {
	id, err := loadIdentity(n.config.DataDir)
	if err != nil {
		return err
	}
	n.files = trust.NewFiles(filepath.Join(n.config.DataDir, tlsName))
	switch {
	case id != nil:
		return n.returning(id)
	case len(n.config.Join) > 0:
		if _, err := os.Stat(filepath.Join(n.config.DataDir, raftName)); err == nil {
			return fmt.Errorf("--data-dir: %s holds the registry of a cluster: start it without join, or give an empty directory", n.config.DataDir)
		}
		return n.join()
	}
	if !mayLead(n.config.Role) {
		return fmt.Errorf("--role: the first node of a cluster cannot be %q: auto, master and both are allowed", n.config.Role)
	}
	fresh, err := n.found(time.Now())
	if err != nil {
		return err
	}
	n.fresh, n.id = fresh, fresh.id
	n.credentials, err = trust.NewCredentials(fresh.key, fresh.chain, fresh.authorities())
	return err
}

// returning is a node that belongs to a cluster already (CLU-3, CLU-36).
func (n *Node) returning(id *identity) error {
	stored, err := n.files.Load()
	if err != nil {
		return fmt.Errorf("read certificates: %w: restore %s, or empty the directory and join the cluster again as a new node", err, filepath.Join(n.config.DataDir, tlsName))
	}
	n.credentials, err = trust.NewCredentials(stored.Key, stored.Chain, stored.Authorities)
	if err != nil {
		return fmt.Errorf("read certificates: %w", err)
	}
	if n.config.Token != "" { // --token-file need not exist any more
		token, err := trust.ParseToken(n.config.Token)
		if err != nil {
			return fmt.Errorf("--token: %w", err)
		}
		if !n.credentials.Trusts(token.Fingerprint) {
			return fmt.Errorf("--data-dir: %s belongs to cluster %s, but the token is of another cluster: give an empty directory to join that one", n.config.DataDir, id.ClusterID)
		}
	}
	// A master has the authority's key in its registry and can help itself: see revive.
	if end := n.credentials.NotAfter(); time.Now().After(end) && id.RaftID == 0 {
		return fmt.Errorf("the certificate of this node ended at %s while it was away: remove the node from the cluster and join again with an empty --data-dir", end.Format(time.RFC3339))
	}
	if n.config.Role == "auto" { // what is not given
		n.config.Role = id.Role
	}
	if n.config.Role != id.Role {
		return fmt.Errorf("--role: this node joined as %q, not %q: remove it and join again to change that", id.Role, n.config.Role)
	}
	n.id = id
	n.log.Info("node of a cluster", slog.String("cluster_id", id.ClusterID), slog.String("node_id", id.NodeID))
	return nil
}

// identity is who this node is, for reading.
func (n *Node) identity() *identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// changeIdentity lets change alter a copy of the identity and makes it durable, if it says that there
// is something new.
func (n *Node) changeIdentity(change func(*identity) bool) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	next := *n.id
	if n.leaving.Load() || !change(&next) {
		return nil // a node that leaves is to be forgotten
	}
	if n.fresh == nil { // else nothing is durable yet: form writes it
		if err := next.save(n.config.DataDir); err != nil {
			return fmt.Errorf("write identity: %w", err)
		}
	} else {
		n.fresh.id = &next
	}
	n.id = &next
	return nil
}

var errNotSettled = errors.New("the node does not belong to a cluster yet")
