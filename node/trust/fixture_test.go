package trust

import (
	"crypto"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"testing"
	"time"
)

const testCluster = "11111111-2222-3333-4444-555555555555"

func newTestAuthority(t testing.TB, cluster string, now time.Time) *Authority {
	t.Helper()
	a, err := NewAuthority(cluster, now)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// newTestKey is a key and its signing request.
func newTestKey(t testing.TB) (Key, []byte) {
	t.Helper()
	key, err := NewKey()
	if err != nil {
		t.Fatal(err)
	}
	request, err := Request(key)
	if err != nil {
		t.Fatal(err)
	}
	return key, request
}

func sign(t testing.TB, a *Authority, request []byte, node string, role Role, now time.Time, lifetime time.Duration) []byte {
	t.Helper()
	der, err := a.Sign(request, Identity{a.ClusterID(), node, role}, now, lifetime)
	if err != nil {
		t.Fatal(err)
	}
	return der
}

// newTestNode has a certificate of the first authority and trusts all.
func newTestNode(t testing.TB, node string, role Role, authorities ...*Authority) *Credentials {
	t.Helper()
	key, request := newTestKey(t)
	c, err := NewCredentials(key, [][]byte{sign(t, authorities[0], request, node, role, time.Now(), Lifetime)}, certificatesOf(authorities))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func certificatesOf(authorities []*Authority) [][]byte {
	var out [][]byte
	for _, a := range authorities {
		out = append(out, a.CertificateDER())
	}
	return out
}

// A meeting is what the two sides of one connection have seen of each other.
type meeting struct {
	dialErr, acceptErr error // of handshake and one byte from the accepting side
	dialed, accepted   tls.ConnectionState
}

func (m *meeting) failed() bool { return m.dialErr != nil && m.acceptErr != nil }

// meet makes one connection over loopback.
func meet(t testing.TB, accept, dial *tls.Config) *meeting {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := &meeting{}
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.acceptErr = func() error {
			raw, err := l.Accept()
			if err != nil {
				return err
			}
			conn := tls.Server(raw, accept)
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
				return err
			}
			if err := conn.Handshake(); err != nil {
				return err
			}
			m.accepted = conn.ConnectionState()
			_, err = conn.Write([]byte{1})
			return err
		}()
	}()
	m.dialErr = func() error {
		raw, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			return err
		}
		conn := tls.Client(raw, dial)
		defer conn.Close()
		if err := conn.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
			return err
		}
		if err := conn.Handshake(); err != nil {
			return err
		}
		m.dialed = conn.ConnectionState()
		_, err = io.ReadFull(conn, make([]byte, 1))
		return err
	}()
	<-done
	return m
}

var allProtocols = []string{ProtocolNode, ProtocolRaft, ProtocolHTTP, ProtocolJoin}

// stranger is the configuration of an attacker who shows these certificates and speaks this protocol.
func stranger(key crypto.Signer, protocol string, chain ...[]byte) *tls.Config {
	config := &tls.Config{InsecureSkipVerify: true}
	if protocol != "" {
		config.NextProtos = []string{protocol}
	}
	if len(chain) > 0 {
		cert := &tls.Certificate{Certificate: chain, PrivateKey: key}
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return cert, nil }
		config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return cert, nil }
	}
	return config
}

func wantError(t testing.TB, what string, got, want error) {
	t.Helper()
	if got == nil || want != nil && !errors.Is(got, want) {
		t.Errorf("%s: %v, want an error that is %q", what, got, want)
	}
}
