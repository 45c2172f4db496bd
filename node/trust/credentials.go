package trust

import (
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// Credentials are a node's key and certificate and whom it trusts, at this moment. Whatever Listen
// and Dial gave out follows each change at its next handshake. Safe for concurrent use.
type Credentials struct {
	now func() time.Time

	mu      sync.Mutex // held by whoever changes current
	current atomic.Pointer[standing]
}

// standing is one state of the credentials; it does not change.
type standing struct {
	key         Key
	chain       []*x509.Certificate // the node's own, then that of its authority
	identity    Identity
	authorities []*x509.Certificate // the issuing one first
	roots       *x509.CertPool      // the authorities
	removed     map[string]bool     // node ids
	// When the node learned that its certificate is not of the issuing authority; zero if it is.
	outdated time.Time
}

// NewCredentials are those of a node with this key. chainDER is its certificate; authorities after it
// are left aside. authoritiesDER are all that are trusted, the issuing one first. A certificate that
// has ended is taken: NotAfter tells.
func NewCredentials(key crypto.Signer, chainDER, authoritiesDER [][]byte) (*Credentials, error) {
	c := &Credentials{now: time.Now}
	if err := c.Replace(key, chainDER, authoritiesDER); err != nil {
		return nil, err
	}
	return c, nil
}

// Replace changes all at once: the key, and possibly the identity. After an error nothing has changed.
func (c *Credentials) Replace(key crypto.Signer, chainDER, authoritiesDER [][]byte) error {
	return c.change(func(*standing) (*standing, error) { return newStanding(key, chainDER, authoritiesDER) })
}

// Renew changes the certificate and the authorities; key and identity must stay. After an error
// nothing has changed.
func (c *Credentials) Renew(chainDER, authoritiesDER [][]byte) error {
	return c.change(func(old *standing) (*standing, error) {
		s, err := newStanding(old.key, chainDER, authoritiesDER)
		if err == nil && s.identity != old.identity {
			err = fmt.Errorf("the new certificate is of %s node %s of cluster %s, not of %s node %s of cluster %s",
				s.identity.Role, s.identity.NodeID, s.identity.ClusterID, old.identity.Role, old.identity.NodeID, old.identity.ClusterID)
		}
		return s, err
	})
}

// Trust changes the trusted authorities, the issuing one first. The node's own certificate stays,
// even if its authority is not among them: then others will refuse it, and RenewAt is due.
func (c *Credentials) Trust(authoritiesDER [][]byte) error {
	return c.change(func(old *standing) (*standing, error) {
		authorities, roots, err := parseAuthorities(authoritiesDER)
		if err != nil {
			return nil, err
		}
		if cluster := authorities[0].Subject.Organization[0]; cluster != old.identity.ClusterID {
			return nil, fmt.Errorf("the authorities are those of cluster %s, this node belongs to %s", cluster, old.identity.ClusterID)
		}
		s := *old
		s.authorities, s.roots = authorities, roots
		return &s, nil
	})
}

// Refuse names all nodes whose certificates are refused from now on, in place of those named before.
func (c *Credentials) Refuse(removed []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := *c.current.Load()
	s.removed = make(map[string]bool, len(removed))
	for _, id := range removed {
		s.removed[id] = true
	}
	c.current.Store(&s)
}

func (c *Credentials) change(next func(old *standing) (*standing, error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	old := c.current.Load()
	s, err := next(old)
	if err != nil {
		return err
	}
	if old != nil {
		s.removed = maps.Clone(old.removed)
		s.outdated = old.outdated
	}
	switch {
	case s.chain[1].Equal(s.authorities[0]):
		s.outdated = time.Time{}
	case s.outdated.IsZero():
		s.outdated = c.now()
	}
	c.current.Store(s)
	return nil
}

// ownCertificate is the first of a node's chain, if it belongs to the node's key.
func ownCertificate(key crypto.Signer, chainDER [][]byte) (*x509.Certificate, error) {
	if k, sealed := key.(Key); key == nil || sealed && k.signer == nil {
		return nil, errors.New("key of the node: there is none")
	}
	if len(chainDER) == 0 {
		return nil, errors.New("certificate of the node: there is none")
	}
	cert, err := x509.ParseCertificate(chainDER[0])
	if err != nil {
		return nil, fmt.Errorf("certificate of the node: %w", err)
	}
	if !samePublic(cert.PublicKey, key.Public()) {
		return nil, errors.New("certificate of the node: it does not belong to the node's key")
	}
	return cert, nil
}

func newStanding(key crypto.Signer, chainDER, authoritiesDER [][]byte) (*standing, error) {
	cert, err := ownCertificate(key, chainDER)
	if err != nil {
		return nil, err
	}
	authorities, roots, err := parseAuthorities(authoritiesDER)
	if err != nil {
		return nil, err
	}
	id, issuer, err := verify(cert, roots, x509.ExtKeyUsageAny, cert.NotAfter)
	if err != nil {
		return nil, fmt.Errorf("certificate of the node: %w", err)
	}
	return &standing{
		key: seal(key), chain: []*x509.Certificate{cert, issuer}, identity: id, authorities: authorities, roots: roots,
	}, nil
}

// parseAuthorities reads certificates that are going to be trusted: one or more, of one cluster.
func parseAuthorities(ders [][]byte) ([]*x509.Certificate, *x509.CertPool, error) {
	if len(ders) == 0 {
		return nil, nil, errors.New("trusted authorities: there is none")
	}
	roots := x509.NewCertPool()
	var authorities []*x509.Certificate
	for _, der := range ders {
		cert, err := parseAuthority(der)
		if err != nil {
			return nil, nil, err
		}
		if len(authorities) > 0 && cert.Subject.Organization[0] != authorities[0].Subject.Organization[0] {
			return nil, nil, fmt.Errorf("trusted authorities: they are of two clusters, %s and %s", authorities[0].Subject.Organization[0], cert.Subject.Organization[0])
		}
		authorities = append(authorities, cert)
		roots.AddCert(cert)
	}
	return authorities, roots, nil
}

// Identity is whom the node's own certificate names.
func (c *Credentials) Identity() Identity { return c.current.Load().identity }

// NotAfter is when the node's own certificate ends.
func (c *Credentials) NotAfter() time.Time { return c.current.Load().chain[0].NotAfter }

// outdatedSpread bounds the time over which nodes spread their renewals when another authority issues.
const outdatedSpread = time.Minute

// RenewAt is when the node should ask for another certificate: after two thirds of the lifetime
// (CLU-21), or now if another authority issues than that of its own. jitter, from 0 to 1, spreads
// nodes that were certified together: 1 is later by a tenth of the lifetime.
func (c *Credentials) RenewAt(jitter float64) time.Time {
	s := c.current.Load()
	jitter = min(max(jitter, 0), 1)
	cert := s.chain[0]
	signed := cert.NotBefore.Add(Backdate)
	lifetime := cert.NotAfter.Sub(signed)
	at := signed.Add(lifetime*2/3 + time.Duration(jitter*float64(lifetime/10)))
	if s.outdated.IsZero() {
		return at
	}
	soon := s.outdated.Add(time.Duration(jitter * float64(min(outdatedSpread, max(lifetime/10, 0)))))
	if soon.Before(at) {
		return soon
	}
	return at
}

// Trusts tells whether the authority with this fingerprint is trusted.
func (c *Credentials) Trusts(fingerprint string) bool {
	return slices.ContainsFunc(c.current.Load().authorities, func(a *x509.Certificate) bool { return Fingerprint(a.Raw) == fingerprint })
}

// Chain is the node's own certificate and that of its authority, DER.
func (c *Credentials) Chain() [][]byte { return ders(c.current.Load().chain) }

// Authorities are the certificates that are trusted, DER, the issuing one first.
func (c *Credentials) Authorities() [][]byte { return ders(c.current.Load().authorities) }

// Key is the node's private key.
func (c *Credentials) Key() Key { return c.current.Load().key }

func ders(certs []*x509.Certificate) [][]byte {
	var out [][]byte
	for _, c := range certs {
		out = append(out, slices.Clone(c.Raw))
	}
	return out
}

// certificate is what the node shows to others.
func (c *Credentials) certificate() *tls.Certificate {
	s := c.current.Load()
	return &tls.Certificate{Certificate: [][]byte{s.chain[0].Raw, s.chain[1].Raw}, PrivateKey: s.key, Leaf: s.chain[0]}
}

// Format shows whose credentials they are.
func (c *Credentials) Format(f fmt.State, _ rune) {
	if c == nil {
		_, _ = io.WriteString(f, "no credentials")
		return
	}
	id := c.Identity()
	_, _ = fmt.Fprintf(f, "credentials of %s node %s of cluster %s", id.Role, id.NodeID, id.ClusterID)
}

// LogValue shows whose credentials they are.
func (c *Credentials) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(c)) }
