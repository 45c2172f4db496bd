package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"time"
)

// verify finds the authority that has signed a node's certificate, and reads its identity. at is
// moved into the certificate's own time: whether that is now is for the caller to decide. (At its end
// the authority is valid in any case: see Sign.) There are no intermediate certificates, so that none
// of a node can act as one.
func verify(cert *x509.Certificate, roots *x509.CertPool, usage x509.ExtKeyUsage, at time.Time) (Identity, *x509.Certificate, error) {
	if at.Before(cert.NotBefore) {
		at = cert.NotBefore
	}
	if at.After(cert.NotAfter) {
		at = cert.NotAfter
	}
	if err := allowedKey(cert.PublicKey); err != nil {
		return Identity{}, nil, err
	}
	chains, err := cert.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: at, KeyUsages: []x509.ExtKeyUsage{usage}})
	if unknown := (x509.UnknownAuthorityError{}); errors.As(err, &unknown) {
		return Identity{}, nil, ErrOtherAuthority
	}
	if err != nil {
		return Identity{}, nil, fmt.Errorf("its certificate: %w", err)
	}
	id, err := identityIn(cert)
	if err != nil {
		return Identity{}, nil, fmt.Errorf("its certificate: %w", err)
	}
	issuer := chains[0][len(chains[0])-1]
	if cluster := issuer.Subject.Organization[0]; id.ClusterID != cluster {
		return Identity{}, nil, fmt.Errorf("its certificate: it names cluster %s, but its authority is that of %s", id.ClusterID, cluster)
	}
	return id, issuer, nil
}

// validAt tells whether a certificate is within its time.
func validAt(cert *x509.Certificate, now time.Time) error {
	const layout = time.RFC3339
	switch {
	case now.Before(cert.NotBefore):
		return fmt.Errorf("%w: it begins at %s, by this machine's clock it is %s", ErrExpired, cert.NotBefore.Format(layout), now.UTC().Format(layout))
	case now.After(cert.NotAfter):
		return fmt.Errorf("%w: it ended at %s, by this machine's clock it is %s", ErrExpired, cert.NotAfter.Format(layout), now.UTC().Format(layout))
	}
	return nil
}

// Peer is the verified identity of the other side of a connection; false if it has shown none, or is
// trusted no more: for a connection that lasts, Peer may be asked again. That a certificate has ended
// since the handshake does no harm.
func (c *Credentials) Peer(state tls.ConnectionState) (Identity, bool) {
	if !state.HandshakeComplete || len(state.PeerCertificates) == 0 {
		return Identity{}, false
	}
	s := c.current.Load()
	id, _, err := verify(state.PeerCertificates[0], s.roots, x509.ExtKeyUsageAny, c.now())
	return id, err == nil && !s.removed[id.NodeID]
}

// admit verifies the other side during a handshake.
func (c *Credentials) admit(state tls.ConnectionState, usage x509.ExtKeyUsage) (Identity, error) {
	cert := state.PeerCertificates[0]
	s, now := c.current.Load(), c.now()
	id, _, err := verify(cert, s.roots, usage, now)
	if err != nil {
		return Identity{}, fmt.Errorf("other side not trusted: %w", err)
	}
	if s.removed[id.NodeID] {
		return Identity{}, fmt.Errorf("node %s not trusted: %w", id.NodeID, ErrRemoved)
	}
	if err := validAt(cert, now); err != nil {
		return Identity{}, fmt.Errorf("node %s not trusted: %w", id.NodeID, err)
	}
	return id, nil
}
