package main

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"math/rand/v2"
	"net"
	"strconv"
	"sync"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	"clusterd/node/mesos/wire"
	"clusterd/node/trust"
)

// Ports of a simulated node, of which none is open, and the network in which its address lies: that
// for measurements (RFC 2544), so that nothing else answers.
const (
	peerPort   = 5055
	masterPort = 5050
	agentPort  = 5051
	perNetwork = 1 << 16
	portStep   = 10 // between nodes of the same address
)

// addressOf is where a node of some number would be reached.
func addressOf(number int) (ip string, shift int) {
	host := number % perNetwork
	return net.IPv4(198, 19, byte(host>>8), byte(host)).String(), number / perNetwork * portStep
}

// node is the outside of one agent: who it is and its stream.
type node struct {
	number  int
	loop    *loop
	place   int // of its agent in the loop's core
	profile *profile
	started time.Time

	mu     sync.Mutex
	id     identity
	issuer string // fingerprint of the authority that signed its certificate
	// renewAt is when it asks for another certificate; asked is when it did.
	renewAt, asked time.Time
	ends           time.Time // of its certificate
	wanted         uint64    // number of the stream that is to be, 0 for none
	link           *link
	hint           whereabouts // of the leader
	hops           int         // redirections in a row
	next           int         // in the list of masters
	refusals       int         // of its certificate, in a row
}

// whereabouts is where a master is reached; the zero value is nowhere.
type whereabouts struct{ nodeID, peer string }

// addresses are those that the node tells.
func (n *node) addresses() *wire.Addresses {
	ip, shift := addressOf(n.number)
	at := func(port int) *string { return proto.String(net.JoinHostPort(ip, strconv.Itoa(port+shift))) }
	return &wire.Addresses{Peer: at(peerPort), Master: at(masterPort), Agent: at(agentPort)}
}

// become takes an identity over.
func (n *node) become(id identity, jitter float64) error {
	cert, err := x509.ParseCertificate(id.Certificate)
	if err != nil {
		return fmt.Errorf("certificate of node %s: %w", id.NodeID, err)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id, n.issuer = id, trust.Fingerprint(id.Issuer)
	n.ends, n.asked = cert.NotAfter, time.Time{}
	n.renewAt = renewal(cert.NotBefore, cert.NotAfter, jitter)
	return nil
}

// renewal is when a certificate is renewed: after two thirds of its lifetime (CLU-21), and up to a tenth
// later.
func renewal(notBefore, notAfter time.Time, jitter float64) time.Time {
	signed := notBefore.Add(trust.Backdate)
	lifetime := notAfter.Sub(signed)
	return signed.Add(lifetime*2/3 + time.Duration(jitter*float64(lifetime/10)))
}

// identity is who the node is now.
func (n *node) identity() identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.id
}

// certificate is what the node shows. It is made for each handshake: kept for each of very many nodes
// it would be most of what they need.
func (n *node) certificate() (*tls.Certificate, error) {
	id := n.identity()
	key, err := trust.ParseKey(id.Key)
	if err != nil {
		return nil, fmt.Errorf("key of node %s: %w", id.NodeID, err)
	}
	return &tls.Certificate{Certificate: [][]byte{id.Certificate, id.Issuer}, PrivateKey: key}, nil
}

// hello introduces the node.
func (n *node) hello(version string, term uint64, now time.Time) *wire.FromNode {
	id := n.identity()
	return &wire.FromNode{Message: &wire.FromNode_Hello{Hello: &wire.Hello{
		ClusterId: &id.ClusterID, NodeId: &id.NodeID, Version: &version, Addresses: n.addresses(), Name: &n.profile.name,
		Domain: n.profile.domain, Term: &term, Time: proto.Int64(now.UnixNano()), Started: proto.Int64(n.started.UnixNano()),
	}}}
}

// due says whether the node should ask for another certificate now, with its key for that. It says so
// once in renewRetry.
func (n *node) due(now time.Time, issuing string, jitter float64) (key []byte, ok bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link == nil || now.Sub(n.asked) < renewRetry {
		return nil, false
	}
	if issuing != "" && n.issuer != issuing && n.renewAt.After(now.Add(outdatedSpread)) {
		n.renewAt = now.Add(time.Duration(jitter * float64(outdatedSpread)))
	}
	if now.Before(n.renewAt) {
		return nil, false
	}
	n.asked = now
	return n.id.Key, true
}

const (
	// renewRetry is the least time between two requests for a certificate.
	renewRetry = 5 * time.Second
	// outdatedSpread is the time over which nodes renew when another authority issues.
	outdatedSpread = time.Minute
)

// renew asks for another certificate if it is time.
func (n *node) renew(now time.Time, issuing string) (asked bool, err error) {
	der, ok := n.due(now, issuing, rand.Float64())
	if !ok {
		return false, nil
	}
	key, err := trust.ParseKey(der)
	if err != nil {
		return false, err
	}
	request, err := trust.Request(key)
	if err != nil {
		return false, err
	}
	if l := n.linked(); l != nil {
		l.send(&wire.FromNode{Message: &wire.FromNode_Renew{Renew: &wire.Renew{Request: request}}})
	}
	return true, nil
}

// linked is the node's stream; nil if there is none.
func (n *node) linked() *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.link
}

// want says which stream is to be; 0 is none. A stream that is not wanted any more is returned.
func (n *node) want(stream uint64) *link {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.wanted = stream
	old := n.link
	n.link = nil
	return old
}

// attach makes a stream the node's own, if it is still wanted.
func (n *node) attach(l *link) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.wanted != l.stream {
		return false
	}
	n.link = l
	return true
}

// detach takes a stream that has ended away.
func (n *node) detach(l *link) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.link == l {
		n.link = nil
	}
}

// target is where the node looks for the leading master next.
func (n *node) target(masters []whereabouts) (whereabouts, bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if to := n.hint; to.peer != "" {
		n.hint = whereabouts{}
		return to, true
	}
	if len(masters) == 0 {
		return whereabouts{}, false
	}
	n.next++
	return masters[n.next%len(masters)], true
}

// maxHops bounds redirections that are followed at once.
const maxHops = 4

// welcomed notes that the node has found the leader.
func (n *node) welcomed(by whereabouts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hint, n.hops = by, 0
}

// redirected notes whom a master has named as the leader.
func (n *node) redirected(by, to whereabouts) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.hops++
	if to.nodeID == by.nodeID || n.hops > maxHops {
		to, n.hops = whereabouts{}, 0 // it will know better in a while
	}
	n.hint = to
}

// hinted says whether the node knows where to ask for the leader.
func (n *node) hinted() bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hint.peer != ""
}

// maxRefusals of its certificate in a row mean that the node was removed while it was away. One or the
// other may come of a master that has not heard of a new authority yet.
const maxRefusals = 10

// refused notes whether a master has refused the node's certificate. It says whether that is final.
func (n *node) refused(now bool) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	if !now {
		n.refusals = 0
		return false
	}
	n.refusals++
	return n.refusals == maxRefusals
}

// agentID notes the id of the node's agent.
func (n *node) agentID(id mesos.AgentID) identity {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.id.AgentID = string(id)
	return n.id
}
