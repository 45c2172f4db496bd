package trust

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"net"
	"strings"
	"testing"
	"time"
)

// CLU-20: what an authority looks like, and that it is the same after it was read back.
func TestAuthorityReadBack(t *testing.T) {
	now := time.Now()
	a := newTestAuthority(t, testCluster, now)
	if !a.cert.IsCA || a.cert.MaxPathLen != 0 || !a.cert.MaxPathLenZero || a.cert.KeyUsage != x509.KeyUsageCertSign {
		t.Errorf("CA %t, path length %d, usage %b", a.cert.IsCA, a.cert.MaxPathLen, a.cert.KeyUsage)
	}
	if end := now.Add(AuthorityLifetime); a.NotAfter().Sub(end).Abs() > time.Second {
		t.Errorf("ends at %v, want %v", a.NotAfter(), end)
	}
	b, err := ParseAuthority(a.CertificateDER(), a.KeyDER())
	if err != nil {
		t.Fatal(err)
	}
	if b.Fingerprint() != a.Fingerprint() || b.ClusterID() != testCluster || len(a.Fingerprint()) != printLetters {
		t.Errorf("%v, was %v", b, a)
	}
	if DeriveSecret(a, TokenAny, 1) != DeriveSecret(b, TokenAny, 1) {
		t.Error("another secret after it was read back")
	}
	_, request := newTestKey(t)
	cert, err := x509.ParseCertificate(sign(t, b, request, "x", RoleAgent, now, time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	if err := cert.CheckSignatureFrom(a.cert); err != nil {
		t.Error(err)
	}
}

func TestParseAuthorityRefuses(t *testing.T) {
	now := time.Now()
	a, b := newTestAuthority(t, testCluster, now), newTestAuthority(t, testCluster, now)
	key, request := newTestKey(t)
	node := sign(t, a, request, "x", RoleMaster, now, time.Hour)
	self := func(change func(*x509.Certificate)) []byte {
		template := &x509.Certificate{
			Subject: pkix.Name{Organization: []string{testCluster}}, NotBefore: now, NotAfter: now.Add(time.Hour),
			KeyUsage: x509.KeyUsageCertSign, BasicConstraintsValid: true, IsCA: true, MaxPathLenZero: true,
		}
		change(template)
		der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
		if err != nil {
			t.Fatal(err)
		}
		return der
	}
	keyDER, err := MarshalKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ParseAuthority(self(func(*x509.Certificate) {}), keyDER); err != nil {
		t.Fatal(err) // what all below differ from
	}
	below := forged(t, a, key.Public(), func(c *x509.Certificate) { // by another authority, not by itself
		c.IsCA, c.KeyUsage, c.MaxPathLenZero, c.ExtKeyUsage = true, x509.KeyUsageCertSign, true, nil
	})
	for _, tt := range []struct {
		name      string
		cert, key []byte
	}{
		{"nothing", nil, nil},
		{"no key", a.CertificateDER(), nil},
		{"another key", a.CertificateDER(), b.KeyDER()},
		{"trailing bytes", append(a.CertificateDER(), 0), a.KeyDER()},
		{"a node", node, keyDER},
		{"a path below", self(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = 1, false }), keyDER},
		{"any path below", self(func(c *x509.Certificate) { c.MaxPathLen, c.MaxPathLenZero = -1, false }), keyDER},
		{"not for signing", self(func(c *x509.Certificate) { c.KeyUsage = x509.KeyUsageDigitalSignature }), keyDER},
		{"no cluster", self(func(c *x509.Certificate) { c.Subject.Organization = nil }), keyDER},
		{"two clusters", self(func(c *x509.Certificate) { c.Subject.Organization = []string{"a", "b"} }), keyDER},
		{"a cluster with a blank", self(func(c *x509.Certificate) { c.Subject.Organization = []string{"a b"} }), keyDER},
		{"signed by another", below, keyDER},
	} {
		if _, err := ParseAuthority(tt.cert, tt.key); err == nil {
			t.Errorf("%s: taken", tt.name)
		}
	}
}

// CLU-20, CLU-22: whatever a request asks for, the certificate is what the caller says.
func TestSignGivesWhatTheCallerSays(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	a := newTestAuthority(t, testCluster, now)
	key, _ := newTestKey(t)
	ca, err := asn1.Marshal(struct{ CA bool }{true})
	if err != nil {
		t.Fatal(err)
	}
	greedy, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
		Subject:  pkix.Name{Organization: []string{"other"}, OrganizationalUnit: []string{"master"}, CommonName: "leader"},
		DNSNames: []string{"leader"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 19}, Critical: true, Value: ca}},
	}, key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(sign(t, a, greedy, "x", RoleAgent, now, Lifetime))
	if err != nil {
		t.Fatal(err)
	}
	id, err := identityIn(cert)
	if want := (Identity{testCluster, "x", RoleAgent}); err != nil || id != want {
		t.Errorf("%v, %v, want %v", id, err, want)
	}
	if cert.IsCA || len(cert.DNSNames)+len(cert.IPAddresses) != 0 || cert.KeyUsage != x509.KeyUsageDigitalSignature {
		t.Errorf("CA %t, names %v %v, usage %b", cert.IsCA, cert.DNSNames, cert.IPAddresses, cert.KeyUsage)
	}
	if !cert.NotBefore.Equal(now.Add(-Backdate)) || !cert.NotAfter.Equal(now.Add(Lifetime)) {
		t.Errorf("from %v to %v", cert.NotBefore, cert.NotAfter)
	}
	if hash := KeyHash(key.Public()); !bytes.Equal(hash, KeyHash(cert.PublicKey)) || len(hash) != 32 {
		t.Errorf("key hash %x", hash)
	}
}

func TestSignRefuses(t *testing.T) {
	now := time.Now()
	a := newTestAuthority(t, testCluster, now)
	_, request := newTestKey(t)
	bent := bytes.Clone(request)
	bent[len(bent)-1] ^= 1
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	otherCurve, err := Request(p384)
	if err != nil {
		t.Fatal(err)
	}
	good := Identity{testCluster, "x", RoleMaster}
	for _, tt := range []struct {
		name     string
		request  []byte
		id       Identity
		now      time.Time
		lifetime time.Duration
		want     string
	}{
		{"no request", nil, good, now, time.Hour, "signing request"},
		{"a bent signature", bent, good, now, time.Hour, "not by its own key"},
		{"trailing bytes", append(bytes.Clone(request), 0), good, now, time.Hour, "signing request"},
		{"a huge request", make([]byte, 1<<20), good, now, time.Hour, "up to 4096"},
		{"another curve", otherCurve, good, now, time.Hour, "P-256"},
		{"the authority's key", mustRequest(t, a.key), good, now, time.Hour, "authority's own"},
		{"another cluster", request, Identity{"other", "x", RoleMaster}, now, time.Hour, `"other"`},
		{"no node", request, Identity{testCluster, "", RoleMaster}, now, time.Hour, "node id is empty"},
		{"a long node", request, Identity{testCluster, strings.Repeat("x", 65), RoleMaster}, now, time.Hour, "65 bytes"},
		{"a node with a line break", request, Identity{testCluster, "x\n", RoleMaster}, now, time.Hour, `"x\n"`},
		{"a node beyond ASCII", request, Identity{testCluster, "nöde", RoleMaster}, now, time.Hour, "are allowed"},
		{"no role", request, Identity{testCluster, "x", ""}, now, time.Hour, `"master" and "agent"`},
		{"an unknown role", request, Identity{testCluster, "x", "root"}, now, time.Hour, `"root"`},
		{"no lifetime", request, good, now, 0, "lifetime"},
		{"a past lifetime", request, good, now, -time.Hour, "lifetime"},
		{"an ended authority", request, good, now.Add(AuthorityLifetime + time.Second), time.Hour, "lifetime"},
	} {
		_, err := a.Sign(tt.request, tt.id, tt.now, tt.lifetime)
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", tt.name, err, tt.want)
		}
	}
	// Not refused: the end is that of the authority.
	cert, err := x509.ParseCertificate(sign(t, a, request, "x", RoleMaster, now.Add(AuthorityLifetime-time.Hour), Lifetime))
	if err != nil || !cert.NotAfter.Equal(a.NotAfter()) {
		t.Errorf("%v, %v", cert.NotAfter, err)
	}
}

func TestEd25519NodesWork(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	request, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	node, err := NewCredentials(key, [][]byte{sign(t, a, request, "ed", RoleMaster, time.Now(), time.Hour)}, [][]byte{a.CertificateDER()})
	if err != nil {
		t.Fatal(err)
	}
	peer := newTestNode(t, "peer", RoleMaster, a)
	if m := meet(t, node.Listen(allProtocols...), peer.Dial("ed", ProtocolRaft)); m.dialErr != nil || m.acceptErr != nil {
		t.Error(m.dialErr, m.acceptErr)
	}
	if m := meet(t, peer.Listen(allProtocols...), node.Dial("peer", ProtocolRaft)); m.dialErr != nil || m.acceptErr != nil {
		t.Error(m.dialErr, m.acceptErr)
	}
}

func TestKeyReadBack(t *testing.T) {
	key, _ := newTestKey(t)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []Key{key, seal(ed)} {
		der, err := MarshalKey(k)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseKey(der)
		if err != nil || !samePublic(again.Public(), k.Public()) {
			t.Errorf("%v, same %t", err, samePublic(again.Public(), k.Public()))
		}
	}
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := MarshalKey(p384)
	if err != nil {
		t.Fatal(err)
	}
	_, err = ParseKey(der)
	wantError(t, "another curve", err, nil)
}
