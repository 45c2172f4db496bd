package trust

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// CLU-20, CLU-22: who may speak what to whom, for each protocol and each pair of roles.
func TestRolesOfProtocols(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	nodes := map[Role]*Credentials{RoleMaster: newTestNode(t, "m", RoleMaster, a), RoleAgent: newTestNode(t, "a", RoleAgent, a)}
	allowed := map[string]map[[2]Role]bool{ // dialling, dialled
		ProtocolNode: {{RoleMaster, RoleMaster}: true, {RoleAgent, RoleMaster}: true},
		ProtocolRaft: {{RoleMaster, RoleMaster}: true},
		ProtocolHTTP: {{RoleMaster, RoleMaster}: true, {RoleMaster, RoleAgent}: true, {RoleAgent, RoleMaster}: true, {RoleAgent, RoleAgent}: true},
	}
	for protocol, pairs := range allowed {
		for dialing, d := range nodes {
			for dialed, l := range nodes {
				m := meet(t, l.Listen(allProtocols...), d.Dial("", protocol))
				ok := m.dialErr == nil && m.acceptErr == nil
				if ok != pairs[[2]Role{dialing, dialed}] {
					t.Errorf("%s: %s to %s: %v, %v", protocol, dialing, dialed, m.dialErr, m.acceptErr)
				}
				if !ok {
					if !errors.Is(m.dialErr, ErrRole) && !errors.Is(m.acceptErr, ErrRole) {
						t.Errorf("%s: %s to %s: %v, %v: neither is ErrRole", protocol, dialing, dialed, m.dialErr, m.acceptErr)
					}
					continue
				}
				if id, ok := l.Peer(m.accepted); !ok || id != d.Identity() {
					t.Errorf("%s: accepted from %v, %t, want %v", protocol, id, ok, d.Identity())
				}
				if id, ok := d.Peer(m.dialed); !ok || id != l.Identity() {
					t.Errorf("%s: dialled %v, %t, want %v", protocol, id, ok, l.Identity())
				}
				if m.accepted.Version != tls.VersionTLS13 || m.accepted.NegotiatedProtocol != protocol {
					t.Errorf("%s: version %x, protocol %q", protocol, m.accepted.Version, m.accepted.NegotiatedProtocol)
				}
			}
		}
	}
}

// CLU-20: what a stranger may show to a node that listens, and what comes of it.
func TestStrangersThatDial(t *testing.T) {
	now := time.Now()
	a, b := newTestAuthority(t, testCluster, now), newTestAuthority(t, "other", now)
	namesake := newTestAuthority(t, testCluster, now) // another authority that says it is ours
	node := newTestNode(t, "node", RoleMaster, a)
	key, request := newTestKey(t)
	otherKey, otherRequest := newTestKey(t)
	good := sign(t, a, request, "x", RoleMaster, now, time.Hour)
	agent := sign(t, a, request, "x", RoleAgent, now, time.Hour)
	forge := func(issuer *Authority, public any, change func(*x509.Certificate)) []byte {
		return forged(t, issuer, public, change)
	}

	tests := []struct {
		name   string
		config *tls.Config
		want   error // of the accepting side, if one of ours
	}{
		{"another cluster's authority", stranger(key, ProtocolRaft, sign(t, b, request, "x", RoleMaster, now, time.Hour), b.CertificateDER()), ErrOtherAuthority},
		{"an authority with our cluster's name", stranger(key, ProtocolRaft, sign(t, namesake, request, "x", RoleMaster, now, time.Hour), namesake.CertificateDER()), ErrOtherAuthority},
		{"its leaf with our authority behind it", stranger(key, ProtocolRaft, sign(t, namesake, request, "x", RoleMaster, now, time.Hour), a.CertificateDER()), ErrOtherAuthority},
		{"an agent for raft", stranger(key, ProtocolRaft, agent), ErrRole},
		{"ended", stranger(key, ProtocolNode, sign(t, a, request, "x", RoleMaster, now.Add(-2*time.Hour), time.Hour)), ErrExpired},
		{"not begun", stranger(key, ProtocolNode, sign(t, a, request, "x", RoleMaster, now.Add(2*time.Hour), time.Hour)), ErrExpired},
		{"none for nodes", stranger(nil, ProtocolNode), nil},
		{"none for raft", stranger(nil, ProtocolRaft), nil},
		{"an unknown protocol", stranger(key, "h2", good), nil},
		{"no protocol", stranger(key, "", good), ErrProtocol},
		{"another's certificate without its key", stranger(otherKey, ProtocolRaft, good), nil},
		{"a bad one where none is needed", stranger(key, ProtocolHTTP, sign(t, b, request, "x", RoleMaster, now, time.Hour)), ErrOtherAuthority},
		{"signed by a node as if it were an authority", stranger(otherKey, ProtocolRaft, nodeSigned(t, good, key, otherKey), good, a.CertificateDER()), ErrOtherAuthority},
		{"signed by an authority below ours", func() *tls.Config {
			below := forge(a, key.Public(), func(c *x509.Certificate) {
				c.IsCA, c.KeyUsage, c.MaxPathLen = true, x509.KeyUsageCertSign, -1
			})
			return stranger(otherKey, ProtocolRaft, nodeSigned(t, below, key, otherKey), below, a.CertificateDER())
		}(), ErrOtherAuthority},
		{"an authority's", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) { c.IsCA = true })), nil},
		{"the authority's own", stranger(a.key, ProtocolRaft, a.CertificateDER()), nil},
		{"only good for those who are dialled", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		})), nil},
		{"another cluster in its name", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) { c.Subject.Organization = []string{"other"} })), nil},
		{"two roles", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) {
			c.Subject.OrganizationalUnit = []string{"agent", "master"}
		})), nil},
		{"an unknown role", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) { c.Subject.OrganizationalUnit = []string{"root"} })), nil},
		{"no node", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) { c.Subject.CommonName = "" })), nil},
		{"a node with a line break", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) { c.Subject.CommonName = "x\ny" })), nil},
		{"two nodes", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) {
			name := asn1.ObjectIdentifier{2, 5, 4, 3}
			c.Subject.ExtraNames = []pkix.AttributeTypeAndValue{{Type: name, Value: "node"}, {Type: name, Value: "x"}}
		})), nil},
		{"a host name", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) { c.DNSNames = []string{"node"} })), nil},
		{"an unknown critical extension", stranger(key, ProtocolRaft, forge(a, key.Public(), func(c *x509.Certificate) {
			c.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{1, 2, 3}, Critical: true, Value: []byte{5, 0}}}
		})), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := meet(t, node.Listen(allProtocols...), tt.config)
			if !m.failed() {
				t.Fatalf("let in: %v, %v", m.dialErr, m.acceptErr)
			}
			wantError(t, "accepting side", m.acceptErr, tt.want)
		})
	}
	t.Run("the good one", func(t *testing.T) { // what all others differ from
		for _, chain := range [][][]byte{{good}, {good, a.CertificateDER()}, {forge(a, key.Public(), func(*x509.Certificate) {})}, {sign(t, a, otherRequest, "x", RoleMaster, now, time.Hour)}} {
			k := key
			if cert, err := x509.ParseCertificate(chain[0]); err != nil || !samePublic(cert.PublicKey, k.Public()) {
				k = otherKey
			}
			if m := meet(t, node.Listen(allProtocols...), stranger(k, ProtocolRaft, chain...)); m.dialErr != nil || m.acceptErr != nil {
				t.Fatal(m.dialErr, m.acceptErr)
			}
		}
	})
}

// forged is a certificate that an authority would never sign: what happens if one did.
func forged(t testing.TB, issuer *Authority, public any, change func(*x509.Certificate)) []byte {
	t.Helper()
	template := &x509.Certificate{
		Subject:   pkix.Name{Organization: []string{issuer.ClusterID()}, OrganizationalUnit: []string{"master"}, CommonName: "x"},
		NotBefore: time.Now().Add(-time.Minute), NotAfter: time.Now().Add(time.Hour),
		KeyUsage: x509.KeyUsageDigitalSignature, BasicConstraintsValid: true,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	change(template)
	der, err := x509.CreateCertificate(rand.Reader, template, issuer.cert, public, issuer.key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// nodeSigned is a certificate for subject, signed with the key of another certificate.
func nodeSigned(t testing.TB, parentDER []byte, parentKey, subject Key) []byte {
	t.Helper()
	parent, err := x509.ParseCertificate(parentDER)
	if err != nil {
		t.Fatal(err)
	}
	return forged(t, &Authority{cert: parent, key: parentKey}, subject.Public(), func(c *x509.Certificate) {
		c.Subject.Organization = []string{testCluster}
	})
}

// CLU-20: whom a node that dials refuses.
func TestStrangersThatAreDialled(t *testing.T) {
	now := time.Now()
	a, b := newTestAuthority(t, testCluster, now), newTestAuthority(t, testCluster, now)
	node := newTestNode(t, "node", RoleAgent, a)
	key, request := newTestKey(t)
	otherKey, _ := newTestKey(t)
	good := sign(t, a, request, "x", RoleMaster, now, time.Hour)
	clientOnly := forged(t, a, key.Public(), func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth} })
	old := func(c *tls.Config) *tls.Config { c.MaxVersion = tls.VersionTLS12; return c }
	tests := []struct {
		name   string
		config *tls.Config
		expect string
		want   error
	}{
		{"another authority", stranger(key, ProtocolNode, sign(t, b, request, "x", RoleMaster, now, time.Hour), b.CertificateDER()), "", ErrOtherAuthority},
		{"ended", stranger(key, ProtocolNode, sign(t, a, request, "x", RoleMaster, now.Add(-2*time.Hour), time.Hour)), "", ErrExpired},
		{"an agent that gives orders", stranger(key, ProtocolNode, sign(t, a, request, "x", RoleAgent, now, time.Hour)), "", ErrRole},
		{"another node", stranger(key, ProtocolNode, good), "y", ErrOtherNode},
		{"no protocol", stranger(key, "", good), "", ErrProtocol},
		{"another protocol", stranger(key, ProtocolRaft, good), "", nil},
		{"TLS 1.2", old(stranger(key, ProtocolNode, good)), "", nil},
		{"only good for those who dial", stranger(key, ProtocolNode, clientOnly), "", nil},
		{"signed by a node", stranger(otherKey, ProtocolNode, nodeSigned(t, good, key, otherKey), good, a.CertificateDER()), "", ErrOtherAuthority},
		{"another's certificate without its key", stranger(otherKey, ProtocolNode, good), "", nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			m := meet(t, tt.config, node.Dial(tt.expect, ProtocolNode))
			wantError(t, "dialling side", m.dialErr, tt.want)
		})
	}
	if m := meet(t, stranger(key, ProtocolNode, good), node.Dial("x", ProtocolNode)); m.dialErr != nil {
		t.Errorf("the good one: %v", m.dialErr)
	}
}

// CLU-20: TLS 1.2 and older are refused by whoever listens.
func TestOldTLSIsRefused(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	node, peer := newTestNode(t, "node", RoleMaster, a), newTestNode(t, "peer", RoleMaster, a)
	for _, protocol := range allProtocols {
		config := stranger(peer.Key(), protocol, peer.Chain()...)
		config.MinVersion, config.MaxVersion = tls.VersionTLS10, tls.VersionTLS12
		m := meet(t, node.Listen(allProtocols...), config)
		if !m.failed() || !strings.Contains(m.dialErr.Error(), "protocol version") {
			t.Errorf("%s: %v, %v", protocol, m.dialErr, m.acceptErr)
		}
	}
}

// RSA is not used here, whoever signed it.
func TestOtherKindsOfKeysAreRefused(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	node := newTestNode(t, "node", RoleMaster, a)
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	cert := forged(t, a, key.Public(), func(*x509.Certificate) {})
	if m := meet(t, node.Listen(allProtocols...), stranger(key, ProtocolNode, cert)); !m.failed() {
		t.Errorf("let in: %v, %v", m.dialErr, m.acceptErr)
	}
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		t.Fatal(err)
	}
	_, err = a.Sign(request, Identity{testCluster, "x", RoleAgent}, time.Now(), time.Hour)
	wantError(t, "sign", err, nil)
}

// A client that offers several protocols is held to what the chosen one needs.
func TestSeveralProtocolsOffered(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	node := newTestNode(t, "node", RoleMaster, a)
	config := stranger(nil, ProtocolJoin)
	config.NextProtos = []string{ProtocolJoin, ProtocolRaft}
	if m := meet(t, node.Listen(allProtocols...), config); !m.failed() {
		t.Errorf("raft without a certificate: %v, %v, protocol %s", m.dialErr, m.acceptErr, m.accepted.NegotiatedProtocol)
	}
	m := meet(t, node.Listen(ProtocolJoin, ProtocolRaft), config)
	if m.dialErr != nil || m.acceptErr != nil || m.accepted.NegotiatedProtocol != ProtocolJoin {
		t.Fatalf("%v, %v, protocol %q", m.dialErr, m.acceptErr, m.accepted.NegotiatedProtocol)
	}
	if id, ok := node.Peer(m.accepted); ok {
		t.Errorf("whoever joins is %v", id)
	}
}

// A protocol that is not listened for is not served, even if this package knows it.
func TestProtocolNotListenedFor(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	node, peer := newTestNode(t, "node", RoleMaster, a), newTestNode(t, "peer", RoleMaster, a)
	m := meet(t, node.Listen(ProtocolHTTP), peer.Dial("", ProtocolRaft))
	if !m.failed() || !strings.Contains(m.dialErr.Error(), "no application protocol") {
		t.Errorf("%v, %v", m.dialErr, m.acceptErr)
	}
}

// http/1.1 without a certificate comes in, without an identity.
func TestHTTPWithoutCertificate(t *testing.T) {
	node := newTestNode(t, "node", RoleMaster, newTestAuthority(t, testCluster, time.Now()))
	m := meet(t, node.Listen(allProtocols...), stranger(nil, ProtocolHTTP))
	if m.dialErr != nil || m.acceptErr != nil {
		t.Fatal(m.dialErr, m.acceptErr)
	}
	if id, ok := node.Peer(m.accepted); ok {
		t.Errorf("it is %v", id)
	}
}

// countingCache is the session cache of a client that would like to come again without its certificate.
type countingCache struct {
	tls.ClientSessionCache
	puts atomic.Int64
}

func (c *countingCache) Put(key string, s *tls.ClientSessionState) {
	c.puts.Add(1)
	c.ClientSessionCache.Put(key, s)
}

// CLU-21: a removed node is refused at once, in both directions, and no session ticket helps it.
func TestRemovedNode(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	node, gone, other := newTestNode(t, "node", RoleMaster, a), newTestNode(t, "gone", RoleMaster, a), newTestNode(t, "other", RoleMaster, a)
	listen, dial := node.Listen(allProtocols...), node.Dial("gone", ProtocolRaft)
	cache := &countingCache{ClientSessionCache: tls.NewLRUClientSessionCache(8)}
	again := gone.Dial("node", ProtocolRaft)
	again.ClientSessionCache, again.SessionTicketsDisabled = cache, false
	again.ServerName = "node"

	before := meet(t, listen, again)
	if before.dialErr != nil || before.acceptErr != nil {
		t.Fatal(before.dialErr, before.acceptErr)
	}
	if n := cache.puts.Load(); n != 0 {
		t.Errorf("%d session tickets were given out", n)
	}
	if m := meet(t, gone.Listen(allProtocols...), dial); m.dialErr != nil {
		t.Fatal(m.dialErr)
	}

	node.Refuse([]string{"someone", "gone"})
	m := meet(t, listen, again)
	wantError(t, "accepting side", m.acceptErr, ErrRemoved)
	if m.dialErr == nil || m.accepted.DidResume {
		t.Errorf("dialling side: %v, resumed %t", m.dialErr, m.accepted.DidResume)
	}
	if !Refused(m.dialErr) {
		t.Errorf("dialling side: %v is not known as a refusal", m.dialErr)
	}
	wantError(t, "dialling a removed node", meet(t, gone.Listen(allProtocols...), dial).dialErr, ErrRemoved)
	if id, ok := node.Peer(before.accepted); ok {
		t.Errorf("the connection from before is still that of %v", id)
	}
	if m := meet(t, listen, other.Dial("node", ProtocolRaft)); m.dialErr != nil || m.acceptErr != nil {
		t.Errorf("another node: %v, %v", m.dialErr, m.acceptErr)
	}
	// A new certificate of the same node does not help; being forgotten does.
	if err := gone.Renew([][]byte{sign(t, a, mustRequest(t, gone.Key()), "gone", RoleMaster, time.Now(), time.Hour)}, gone.Authorities()); err != nil {
		t.Fatal(err)
	}
	wantError(t, "accepting side", meet(t, listen, again).acceptErr, ErrRemoved)
	node.Refuse(nil)
	if m := meet(t, listen, again); m.dialErr != nil || m.acceptErr != nil {
		t.Errorf("a forgotten node: %v, %v", m.dialErr, m.acceptErr)
	}
}

func mustRequest(t testing.TB, key Key) []byte {
	t.Helper()
	der, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// CLU-20: a clock that is behind by less than an hour takes part; CLU-21: an ended certificate does not.
func TestClock(t *testing.T) {
	now := time.Now()
	a := newTestAuthority(t, testCluster, now)
	peer := newTestNode(t, "peer", RoleMaster, a)
	for _, tt := range []struct {
		ahead time.Duration
		ok    bool
	}{
		{-61 * time.Minute, false}, {-59 * time.Minute, true}, {0, true}, {Lifetime - time.Hour, true}, {Lifetime + time.Minute, false},
	} {
		node := newTestNode(t, "node", RoleMaster, a)
		node.now = func() time.Time { return now.Add(tt.ahead) }
		in, out := meet(t, node.Listen(allProtocols...), peer.Dial("node", ProtocolNode)), meet(t, peer.Listen(allProtocols...), node.Dial("peer", ProtocolNode))
		if (in.acceptErr == nil) != tt.ok || (out.dialErr == nil) != tt.ok {
			t.Errorf("clock ahead by %v: accept %v, dial %v, want ok %t", tt.ahead, in.acceptErr, out.dialErr, tt.ok)
		}
		if !tt.ok {
			wantError(t, "accept", in.acceptErr, ErrExpired)
			wantError(t, "dial", out.dialErr, ErrExpired)
		}
	}
}

// A connection outlives the certificate that it began with.
func TestPeerOutlivesItsCertificate(t *testing.T) {
	now := time.Now()
	a := newTestAuthority(t, testCluster, now)
	node, peer := newTestNode(t, "node", RoleMaster, a), newTestNode(t, "peer", RoleAgent, a)
	m := meet(t, node.Listen(allProtocols...), peer.Dial("node", ProtocolNode))
	node.now = func() time.Time { return now.Add(2 * Lifetime) }
	if id, ok := node.Peer(m.accepted); !ok || id != peer.Identity() {
		t.Errorf("%v, %t", id, ok)
	}
	if _, ok := node.Peer(tls.ConnectionState{PeerCertificates: m.accepted.PeerCertificates}); ok {
		t.Error("a handshake that is not complete has an identity")
	}
	if _, ok := newTestNode(t, "far", RoleMaster, newTestAuthority(t, testCluster, now)).Peer(m.accepted); ok {
		t.Error("a state of a connection that trusts another authority has an identity")
	}
}

// CLU-20, CLU-22: a joining machine trusts the authority in its token, and nothing else, whatever its clock says.
func TestJoinDial(t *testing.T) {
	now := time.Now()
	a, b := newTestAuthority(t, testCluster, now.Add(-2000*time.Hour)), newTestAuthority(t, testCluster, now)
	key, request := newTestKey(t)
	otherKey, _ := newTestKey(t)
	good := sign(t, a, request, "x", RoleMaster, now, time.Hour)
	ended := sign(t, a, request, "x", RoleMaster, now.Add(-1000*time.Hour), time.Hour)
	node := newTestNode(t, "node", RoleMaster, a)
	m := meet(t, node.Listen(allProtocols...), JoinDial(a.Fingerprint()))
	if m.dialErr != nil || m.acceptErr != nil || m.accepted.NegotiatedProtocol != ProtocolJoin || len(m.accepted.PeerCertificates) != 0 {
		t.Fatalf("%v, %v, %v", m.dialErr, m.acceptErr, m.accepted.NegotiatedProtocol)
	}
	if id, err := JoinPeer(m.dialed, a.Fingerprint()); err != nil || id != node.Identity() {
		t.Errorf("%v, %v", id, err)
	}
	if _, err := JoinPeer(tls.ConnectionState{}, a.Fingerprint()); err == nil {
		t.Error("a connection without a handshake has a peer")
	}
	if m := meet(t, stranger(key, ProtocolJoin, ended, a.CertificateDER()), JoinDial(a.Fingerprint())); m.dialErr != nil {
		t.Errorf("at another time: %v", m.dialErr)
	}
	for _, tt := range []struct {
		name   string
		accept *tls.Config
		want   error
	}{
		{"another authority", newTestNode(t, "node", RoleMaster, b).Listen(allProtocols...), ErrOtherAuthority},
		{"another authority with ours behind it", stranger(key, ProtocolJoin, sign(t, b, request, "x", RoleMaster, now, time.Hour), a.CertificateDER()), ErrOtherAuthority},
		{"no authority", stranger(key, ProtocolJoin, good), ErrOtherAuthority},
		{"the authority alone", stranger(key, ProtocolJoin, a.CertificateDER(), a.CertificateDER()), nil},
		{"another's certificate without its key", stranger(otherKey, ProtocolJoin, good, a.CertificateDER()), nil},
		{"signed by a node", stranger(otherKey, ProtocolJoin, nodeSigned(t, good, key, otherKey), good, a.CertificateDER()), ErrOtherAuthority},
		{"no protocol", stranger(key, "", good, a.CertificateDER()), ErrProtocol},
	} {
		t.Run(tt.name, func(t *testing.T) {
			wantError(t, "dialling side", meet(t, tt.accept, JoinDial(a.Fingerprint())).dialErr, tt.want)
		})
	}
	for _, fingerprint := range []string{"", strings.ToUpper(a.Fingerprint()), a.Fingerprint()[:51]} {
		wantError(t, "fingerprint "+fingerprint, meet(t, node.Listen(allProtocols...), JoinDial(fingerprint)).dialErr, ErrOtherAuthority)
	}
	// The certificate of a node is no authority, whoever printed the token.
	wantError(t, "fingerprint of a node", meet(t, stranger(otherKey, ProtocolJoin, nodeSigned(t, good, key, otherKey), good), JoinDial(Fingerprint(good))).dialErr, nil)
}

func TestRefusedIsOnlyThat(t *testing.T) {
	remote := func(text string) error { return &net.OpError{Op: "remote error", Err: errors.New(text)} }
	for _, tt := range []struct {
		err  error
		want bool
	}{
		{nil, false}, {errors.New("tls: bad certificate"), false}, {&url.Error{Op: "Get", Err: remote("tls: bad certificate")}, true},
		{remote("tls: internal error"), false}, {&net.OpError{Op: "read", Err: errors.New("tls: bad certificate")}, false},
	} {
		if got := Refused(tt.err); got != tt.want {
			t.Errorf("Refused(%v) = %t", tt.err, got)
		}
	}
}
