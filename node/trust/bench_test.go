package trust

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// BenchmarkHandshake is one mutual handshake over loopback, both sides.
func BenchmarkHandshake(b *testing.B) {
	a := newTestAuthority(b, testCluster, time.Now())
	node, peer := newTestNode(b, "node", RoleMaster, a), newTestNode(b, "peer", RoleAgent, a)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			raw, err := l.Accept()
			if err != nil {
				return
			}
			conn := tls.Server(raw, node.Listen(allProtocols...))
			if _, err := conn.Write([]byte{1}); err != nil {
				b.Error(err)
			}
			_ = conn.Close() // the other side has all
		}
	}()
	b.ReportAllocs()
	for b.Loop() {
		conn, err := tls.Dial("tcp", l.Addr().String(), peer.Dial("node", ProtocolNode))
		if err != nil {
			b.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, 1)); err != nil {
			b.Fatal(err)
		}
		_ = conn.Close() // it was closed by the other side
	}
	if err := l.Close(); err != nil {
		b.Error(err)
	}
	<-done
}

// BenchmarkSign is one certificate, as when all nodes renew because another authority issues.
func BenchmarkSign(b *testing.B) {
	now := time.Now()
	a := newTestAuthority(b, testCluster, now)
	_, request := newTestKey(b)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := a.Sign(request, Identity{testCluster, "x", RoleAgent}, now, Lifetime); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkPeer is what it costs to ask again who is on the other side, for each request of HTTP.
func BenchmarkPeer(b *testing.B) {
	a := newTestAuthority(b, testCluster, time.Now())
	node, peer := newTestNode(b, "node", RoleMaster, a), newTestNode(b, "peer", RoleAgent, a)
	m := meet(b, node.Listen(allProtocols...), peer.Dial("node", ProtocolNode))
	b.ReportAllocs()
	for b.Loop() {
		if _, ok := node.Peer(m.accepted); !ok {
			b.Fatal("no peer")
		}
	}
}

// BenchmarkRefuse is the list of removed nodes at its longest, set again at each change.
func BenchmarkRefuse(b *testing.B) {
	node := newTestNode(b, "node", RoleMaster, newTestAuthority(b, testCluster, time.Now()))
	removed := make([]string, 10_000)
	for i := range removed {
		removed[i] = NewSecret()
	}
	b.ReportAllocs()
	for b.Loop() {
		node.Refuse(removed)
	}
}

func BenchmarkParseToken(b *testing.B) {
	text := newTestToken(b, TokenAny).Text()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseToken(text); err != nil {
			b.Fatal(err)
		}
	}
}
