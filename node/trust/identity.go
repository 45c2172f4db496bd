package trust

import (
	"crypto/x509"
	"errors"
	"fmt"
)

// Role is what a certificate allows a node to be.
type Role string

// RoleMaster may become a master and run tasks; RoleAgent may only run tasks (CLU-22).
const (
	RoleMaster Role = "master"
	RoleAgent  Role = "agent"
)

// maxNameBytes is the upper bound of X.520 for an organisation and a common name.
const maxNameBytes = 64

// Identity is whom a certificate names.
type Identity struct {
	ClusterID string
	NodeID    string
	Role      Role
}

// validate checks what is going to be signed. Node ids come from the nodes themselves.
func (id Identity) validate() error {
	if err := validName("cluster id", id.ClusterID); err != nil {
		return err
	}
	if err := validName("node id", id.NodeID); err != nil {
		return err
	}
	if id.Role != RoleMaster && id.Role != RoleAgent {
		return fmt.Errorf("role %q: %q and %q are allowed", id.Role, RoleMaster, RoleAgent)
	}
	return nil
}

func validName(what, name string) error {
	if name == "" {
		return fmt.Errorf("%s is empty", what)
	}
	if len(name) > maxNameBytes {
		return fmt.Errorf("%s has %d bytes: up to %d are allowed", what, len(name), maxNameBytes)
	}
	for i := range len(name) {
		switch c := name[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return fmt.Errorf("%s %q: letters, digits, '-', '_' and '.' are allowed", what, name)
		}
	}
	return nil
}

// identityIn reads the identity of a node's certificate, which must look like those that
// Authority.Sign makes.
func identityIn(cert *x509.Certificate) (Identity, error) {
	s := cert.Subject
	if cert.IsCA {
		return Identity{}, errors.New("it is the certificate of an authority, not of a node")
	}
	if len(s.Names) != 3 || len(s.Organization) != 1 || len(s.OrganizationalUnit) != 1 {
		return Identity{}, errors.New("it does not name a cluster, a role and a node")
	}
	id := Identity{ClusterID: s.Organization[0], NodeID: s.CommonName, Role: Role(s.OrganizationalUnit[0])}
	if err := id.validate(); err != nil {
		return Identity{}, err
	}
	if len(cert.DNSNames)+len(cert.IPAddresses)+len(cert.EmailAddresses)+len(cert.URIs) != 0 {
		return Identity{}, errors.New("it has alternative names, which no node has")
	}
	return id, nil
}
