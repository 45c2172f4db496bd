package trust

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// CLU-21: two thirds into the lifetime, counted from the signing, whatever the lifetime is.
func TestRenewAt(t *testing.T) {
	now := time.Now().Truncate(time.Second)
	a := newTestAuthority(t, testCluster, now)
	key, request := newTestKey(t)
	for _, tt := range []struct {
		lifetime, from, to time.Duration
	}{
		{Lifetime, 60 * 24 * time.Hour, 69 * 24 * time.Hour},
		{2 * time.Minute, 80 * time.Second, 92 * time.Second},
		{30 * time.Second, 20 * time.Second, 23 * time.Second},
	} {
		c, err := NewCredentials(key, [][]byte{sign(t, a, request, "x", RoleMaster, now, tt.lifetime)}, [][]byte{a.CertificateDER()})
		if err != nil {
			t.Fatal(err)
		}
		for _, j := range []struct {
			jitter float64
			want   time.Duration
		}{{0, tt.from}, {1, tt.to}, {0.5, (tt.from + tt.to) / 2}, {-3, tt.from}, {7, tt.to}} {
			if got := c.RenewAt(j.jitter).Sub(now); got != j.want {
				t.Errorf("lifetime %v, jitter %v: after %v, want %v", tt.lifetime, j.jitter, got, j.want)
			}
		}
		if !c.NotAfter().Equal(now.Add(tt.lifetime)) {
			t.Errorf("ends at %v", c.NotAfter())
		}
	}
}

// CLU-21: when another authority issues, all renew within a minute.
func TestRenewAtWhenAnotherAuthorityIssues(t *testing.T) {
	now := time.Now()
	a, b := newTestAuthority(t, testCluster, now), newTestAuthority(t, testCluster, now)
	c := newTestNode(t, "x", RoleMaster, a)
	c.now = func() time.Time { return now }
	trust := func(authorities ...*Authority) {
		t.Helper()
		if err := c.Trust(certificatesOf(authorities)); err != nil {
			t.Fatal(err)
		}
	}
	regular := c.RenewAt(0)
	trust(a, b)
	if got := c.RenewAt(0); !got.Equal(regular) {
		t.Errorf("the new one is only trusted: %v, want %v", got, regular)
	}
	trust(b, a)
	c.now = func() time.Time { return now.Add(time.Hour) }
	trust(b, a) // the time counts from the first
	c.Refuse([]string{"y"})
	if first, last := c.RenewAt(0), c.RenewAt(1); !first.Equal(now) || !last.Equal(now.Add(outdatedSpread)) {
		t.Errorf("from %v to %v", first.Sub(now), last.Sub(now))
	}
	if err := c.Renew([][]byte{sign(t, b, mustRequest(t, c.Key()), "x", RoleMaster, now, Lifetime)}, certificatesOf([]*Authority{b, a})); err != nil {
		t.Fatal(err)
	}
	if got := c.RenewAt(0).Sub(now); got < 59*24*time.Hour {
		t.Errorf("renewed: after %v", got)
	}
	if !c.Trusts(a.Fingerprint()) || !c.Trusts(b.Fingerprint()) || c.Trusts("") {
		t.Error("it does not trust what it was told to")
	}
	// Left behind: it knows that it must renew, although nobody will take its certificate.
	old := newTestNode(t, "y", RoleMaster, a)
	if err := old.Trust([][]byte{b.CertificateDER()}); err != nil {
		t.Fatal(err)
	}
	if got := old.RenewAt(0); time.Since(got) < 0 {
		t.Errorf("left behind: due at %v", got)
	}
	wantError(t, "a node that was left behind", meet(t, c.Listen(allProtocols...), old.Dial("", ProtocolNode)).dialErr, nil)
}

// CLU-20: what a node does not take for its own, and that it keeps what it has.
func TestCredentialsRefuse(t *testing.T) {
	now := time.Now()
	a, b, far := newTestAuthority(t, testCluster, now), newTestAuthority(t, testCluster, now), newTestAuthority(t, "far", now)
	key, request := newTestKey(t)
	otherKey, otherRequest := newTestKey(t)
	cert := sign(t, a, request, "x", RoleMaster, now, time.Hour)
	authorities := [][]byte{a.CertificateDER()}
	c, err := NewCredentials(key, [][]byte{cert}, authorities)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name        string
		chain       [][]byte
		authorities [][]byte
	}{
		{"no certificate", nil, authorities},
		{"no authority", [][]byte{cert}, nil},
		{"not DER", [][]byte{{1, 2}}, authorities},
		{"authority not DER", [][]byte{cert}, [][]byte{{1, 2}}},
		{"of another key", [][]byte{sign(t, a, otherRequest, "x", RoleMaster, now, time.Hour)}, authorities},
		{"of another authority", [][]byte{sign(t, b, request, "x", RoleMaster, now, time.Hour)}, authorities},
		{"a node as authority", [][]byte{cert}, [][]byte{cert}},
		{"authorities of two clusters", [][]byte{cert}, [][]byte{a.CertificateDER(), far.CertificateDER()}},
		{"with a host name", [][]byte{forged(t, a, key.Public(), func(c *x509.Certificate) { c.DNSNames = []string{"x"} })}, authorities},
	} {
		if _, err := NewCredentials(key, tt.chain, tt.authorities); err == nil {
			t.Errorf("new: %s: taken", tt.name)
		}
		if err := c.Renew(tt.chain, tt.authorities); err == nil {
			t.Errorf("renew: %s: taken", tt.name)
		}
		if err := c.Replace(key, tt.chain, tt.authorities); err == nil {
			t.Errorf("replace: %s: taken", tt.name)
		}
	}
	for _, id := range []Identity{{testCluster, "y", RoleMaster}, {testCluster, "x", RoleAgent}} {
		if err := c.Renew([][]byte{sign(t, a, request, id.NodeID, id.Role, now, time.Hour)}, authorities); err == nil {
			t.Errorf("renew as %v: taken", id)
		}
	}
	for _, bad := range [][][]byte{nil, {far.CertificateDER()}, {cert}, {a.CertificateDER(), far.CertificateDER()}} {
		if err := c.Trust(bad); err == nil {
			t.Errorf("trust %d certificates: taken", len(bad))
		}
	}
	if _, err := NewCredentials(nil, [][]byte{cert}, authorities); err == nil {
		t.Error("no key: taken")
	}
	if _, err := NewCredentials(Key{}, [][]byte{cert}, authorities); err == nil {
		t.Error("an empty key: taken")
	}
	if got := c.Chain(); len(got) != 2 || !bytes.Equal(got[0], cert) || !bytes.Equal(got[1], a.CertificateDER()) {
		t.Errorf("its chain has changed: %d certificates", len(got))
	}
	if err := c.Replace(otherKey, [][]byte{sign(t, a, otherRequest, "y", RoleAgent, now, time.Hour)}, authorities); err != nil || c.Identity() != (Identity{testCluster, "y", RoleAgent}) {
		t.Errorf("replace all: %v, %v", err, c.Identity())
	}
	ended, err := NewCredentials(key, [][]byte{sign(t, a, request, "x", RoleMaster, now.Add(-5*time.Hour), time.Hour)}, authorities)
	if err != nil || ended.NotAfter().After(now) {
		t.Errorf("an ended one: %v", err)
	}
}

// What is given out does not lead back to what is used.
func TestCredentialsGiveCopies(t *testing.T) {
	c := newTestNode(t, "x", RoleMaster, newTestAuthority(t, testCluster, time.Now()))
	for _, out := range append(c.Chain(), c.Authorities()...) {
		clear(out)
	}
	if _, err := x509.ParseCertificate(c.Chain()[0]); err != nil {
		t.Error(err)
	}
	if _, err := x509.ParseCertificate(c.Authorities()[0]); err != nil {
		t.Error(err)
	}
}

// A caller is one of two nodes that shake hands all the time.
type caller struct {
	from    *Credentials
	address string
	to      string
	done    atomic.Int64
}

// CLU-21: an authority is replaced while two nodes shake hands all the time, in both directions, and
// no handshake fails.
func TestReplaceAuthorityUnderLoad(t *testing.T) {
	now := time.Now()
	before, after := newTestAuthority(t, testCluster, now), newTestAuthority(t, testCluster, now)
	nodes := []*Credentials{newTestNode(t, "x", RoleMaster, before), newTestNode(t, "y", RoleMaster, before)}
	callers := make([]*caller, 0, 4)
	var accepting, calling sync.WaitGroup
	defer accepting.Wait() // after the listeners were closed
	for i, n := range nodes {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		accepting.Go(func() { serveBytes(t, tls.NewListener(l, n.Listen(allProtocols...))) })
		defer l.Close()
		for range 2 {
			callers = append(callers, &caller{from: nodes[1-i], address: l.Addr().String(), to: n.Identity().NodeID})
		}
	}
	stop := make(chan struct{})
	progress := make(chan struct{}, 1)
	for _, c := range callers {
		calling.Go(func() { c.call(t, stop, progress) })
	}
	// Two more handshakes of each: the second has begun after this call.
	settle := func() {
		start := make([]int64, len(callers))
		for i, c := range callers {
			start[i] = c.done.Load()
		}
		deadline := time.After(time.Minute)
		for {
			all := true
			for i, c := range callers {
				all = all && c.done.Load() >= start[i]+2
			}
			if all {
				return
			}
			select {
			case <-progress:
			case <-deadline:
				t.Error("no more handshakes")
				return
			}
		}
	}
	each := func(what string, do func(c *Credentials) error) {
		t.Helper()
		settle()
		for _, n := range nodes {
			if err := do(n); err != nil {
				t.Errorf("%s: %v", what, err)
			}
			settle()
		}
	}
	renew := func(by *Authority, authorities ...*Authority) func(*Credentials) error {
		return func(c *Credentials) error {
			return c.Renew([][]byte{sign(t, by, mustRequest(t, c.Key()), c.Identity().NodeID, RoleMaster, now, Lifetime)}, certificatesOf(authorities))
		}
	}
	for range 3 {
		each("trust both", func(c *Credentials) error { return c.Trust(certificatesOf([]*Authority{before, after})) })
		each("let the new one issue", func(c *Credentials) error { return c.Trust(certificatesOf([]*Authority{after, before})) })
		each("renew", renew(after, after, before))
		each("trust the new one alone", func(c *Credentials) error { return c.Trust(certificatesOf([]*Authority{after})) })
		each("renew in time", renew(after, after))
		before, after = after, newTestAuthority(t, testCluster, now)
	}
	close(stop)
	calling.Wait()
	for _, n := range nodes {
		if n.Trusts(after.Fingerprint()) || !n.Trusts(before.Fingerprint()) || len(n.Authorities()) != 1 {
			t.Errorf("%v trusts others than the newest authority", n)
		}
	}
	stale := newTestNode(t, "x", RoleMaster, after)
	if m := meet(t, nodes[1].Listen(allProtocols...), stale.Dial("", ProtocolRaft)); !m.failed() {
		t.Error("a node of an authority that is not trusted yet was let in")
	}
}

func (c *caller) call(t *testing.T, stop <-chan struct{}, progress chan<- struct{}) {
	config := c.from.Dial(c.to, ProtocolRaft)
	for {
		select {
		case <-stop:
			return
		default:
		}
		err := func() error {
			conn, err := tls.Dial("tcp", c.address, config)
			if err != nil {
				return err
			}
			defer conn.Close()
			if err := conn.SetDeadline(time.Now().Add(time.Minute)); err != nil {
				return err
			}
			_, err = io.ReadFull(conn, make([]byte, 1))
			return err
		}()
		if err != nil {
			t.Errorf("from %s to %s: %v", c.from.Identity().NodeID, c.to, err)
			return
		}
		c.done.Add(1)
		select {
		case progress <- struct{}{}:
		default:
		}
	}
}

// serveBytes sends one byte on each connection until the listener is closed.
func serveBytes(t *testing.T, l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			t.Error(err)
			return
		}
		if _, err := conn.Write([]byte{1}); err != nil {
			t.Errorf("accepting: %v", err)
		}
		_ = conn.Close() // the caller has its byte, or says what is wrong
	}
}
