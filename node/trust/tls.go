package trust

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
)

// The protocols between nodes, as ALPN names them.
const (
	ProtocolJoin = "clusterd-join"
	ProtocolNode = "clusterd-node"
	ProtocolRaft = "clusterd-raft"
	ProtocolHTTP = "http/1.1"
)

// Checklist, new protocol: its name above, what either side must show in clientAuth, acceptsFrom and
// answersFrom, its line in doc.go, and the table in tls_test.go.

// clientAuth says what the dialling side must show. What it shows is verified in any case.
func clientAuth(protocol string) tls.ClientAuthType {
	switch protocol {
	case ProtocolJoin:
		return tls.NoClientCert
	case ProtocolHTTP:
		return tls.RequestClientCert
	default:
		return tls.RequireAnyClientCert
	}
}

// acceptsFrom tells whether the dialling side may have this role.
func acceptsFrom(protocol string, role Role) bool {
	return protocol != ProtocolRaft || role == RoleMaster
}

// answersFrom tells whether the dialled side may have this role. Who dials clusterd-node takes orders
// from the other side, so that must be one that may lead.
func answersFrom(protocol string, role Role) bool {
	return protocol != ProtocolRaft && protocol != ProtocolNode || role == RoleMaster
}

// base is common to all configurations. Session tickets would let a node in again without a look at
// its certificate, whatever happened since.
func base(protocols ...string) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS13, NextProtos: protocols, SessionTicketsDisabled: true}
}

// Listen is the configuration for connections that come in for these protocols. What was agreed on is
// in ConnectionState.NegotiatedProtocol, who it is tells Peer.
func (c *Credentials) Listen(protocols ...string) *tls.Config {
	config := base(protocols...)
	config.GetConfigForClient = func(hello *tls.ClientHelloInfo) (*tls.Config, error) {
		if len(hello.SupportedProtos) == 0 {
			return nil, fmt.Errorf("other side not trusted: %w: it names none", ErrProtocol)
		}
		i := slices.IndexFunc(protocols, func(p string) bool { return slices.Contains(hello.SupportedProtos, p) })
		if i < 0 {
			// The handshake will fail by itself, and tell the other side why.
			refuse := base(protocols...)
			refuse.GetCertificate = config.GetCertificate
			return refuse, nil
		}
		return c.listen(protocols[i]), nil
	}
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate(), nil }
	return config
}

// listen is the configuration for one connection of one protocol.
func (c *Credentials) listen(protocol string) *tls.Config {
	config := base(protocol)
	config.ClientAuth = clientAuth(protocol)
	config.GetCertificate = func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.certificate(), nil }
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.NegotiatedProtocol != protocol {
			return fmt.Errorf("other side not trusted: %w: it wants %q", ErrProtocol, state.NegotiatedProtocol)
		}
		if len(state.PeerCertificates) == 0 {
			return nil // crypto/tls insists on one where ClientAuth does
		}
		id, err := c.admit(state, x509.ExtKeyUsageClientAuth)
		if err != nil {
			return err
		}
		if !acceptsFrom(protocol, id.Role) {
			return fmt.Errorf("node %s not trusted: %w: %s is for masters, its certificate is that of an %s", id.NodeID, ErrRole, protocol, id.Role)
		}
		return nil
	}
	return config
}

// Dial is the configuration to reach a node of the cluster, whichever if expectNodeID is empty. The
// address that is dialled does not matter.
func (c *Credentials) Dial(expectNodeID, protocol string) *tls.Config {
	config := base(protocol)
	config.InsecureSkipVerify = true // VerifyConnection does it, by identity in place of host name
	config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c.certificate(), nil }
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.NegotiatedProtocol != protocol {
			return fmt.Errorf("other side not trusted: %w", ErrProtocol)
		}
		id, err := c.admit(state, x509.ExtKeyUsageServerAuth)
		if err != nil {
			return err
		}
		if expectNodeID != "" && id.NodeID != expectNodeID {
			return fmt.Errorf("node %s not trusted: %w: %s was expected", id.NodeID, ErrOtherNode, expectNodeID)
		}
		if !answersFrom(protocol, id.Role) {
			return fmt.Errorf("node %s not trusted: %w: %s is for masters, its certificate is that of an %s", id.NodeID, ErrRole, protocol, id.Role)
		}
		return nil
	}
	return config
}

// JoinDial is the configuration of a machine that wants to join and has nothing but a token: the other
// side must have a certificate of the authority with this fingerprint. Its time is not checked: the
// clock of this machine may be wrong, which the cluster will tell. JoinPeer tells who answered.
func JoinDial(fingerprint string) *tls.Config {
	config := base(ProtocolJoin)
	config.InsecureSkipVerify = true // VerifyConnection does it, by fingerprint
	config.VerifyConnection = func(state tls.ConnectionState) error {
		if state.NegotiatedProtocol != ProtocolJoin {
			return fmt.Errorf("other side not trusted: %w", ErrProtocol)
		}
		_, err := joinPeer(state, fingerprint)
		return err
	}
	return config
}

// JoinPeer is the identity of the node that a machine has reached with JoinDial and the same
// fingerprint. A token that lets masters in should be sent to nobody but a master.
func JoinPeer(state tls.ConnectionState, fingerprint string) (Identity, error) {
	if !state.HandshakeComplete {
		return Identity{}, errors.New("other side not trusted: the handshake is not complete")
	}
	return joinPeer(state, fingerprint)
}

func joinPeer(state tls.ConnectionState, fingerprint string) (Identity, error) {
	if len(state.PeerCertificates) == 0 {
		return Identity{}, errors.New("other side not trusted: it has shown no certificate")
	}
	cert, chain := state.PeerCertificates[0], state.PeerCertificates[1:]
	i := slices.IndexFunc(chain, func(a *x509.Certificate) bool { return Fingerprint(a.Raw) == fingerprint })
	if i < 0 {
		return Identity{}, fmt.Errorf("other side not trusted: %w than that in the token: it is another cluster, or the token is older than the cluster's present authority, or somebody is in between", ErrOtherAuthority)
	}
	_, roots, err := parseAuthorities([][]byte{chain[i].Raw})
	if err != nil {
		return Identity{}, fmt.Errorf("other side not trusted: %w", err)
	}
	id, _, err := verify(cert, roots, x509.ExtKeyUsageServerAuth, cert.NotAfter)
	if err != nil {
		return Identity{}, fmt.Errorf("other side not trusted: %w", err)
	}
	return id, nil
}
