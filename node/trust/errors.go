package trust

import (
	"crypto/tls"
	"errors"
	"net"
)

// Why another node is not trusted. The errors of handshakes wrap them.
var (
	// ErrOtherAuthority: no trusted authority has signed the certificate of the other side.
	ErrOtherAuthority = errors.New("its certificate is of another authority")
	// ErrExpired: the certificate of the other side has ended or not begun.
	ErrExpired = errors.New("its certificate is not valid now")
	// ErrRemoved: the node was removed from the cluster.
	ErrRemoved = errors.New("it was removed from the cluster")
	// ErrOtherNode: another node than the expected one has answered.
	ErrOtherNode = errors.New("it is another node")
	// ErrRole: the role in the certificate does not allow this.
	ErrRole = errors.New("its role does not allow it")
	// ErrProtocol: the other side did not agree on a protocol of clusterd.
	ErrProtocol = errors.New("it does not speak a protocol of clusterd")
)

// Distrusted tells whether an error of a handshake is this side's refusal of the other's certificate.
func Distrusted(err error) bool {
	for _, reason := range []error{ErrOtherAuthority, ErrExpired, ErrRemoved, ErrOtherNode, ErrRole} {
		if errors.Is(err, reason) {
			return true
		}
	}
	return false
}

// Refused tells whether an error of a connection is the other side's refusal of this node's
// certificate: because the node was removed, its certificate has ended, its authority is not trusted
// there or its role does not allow the protocol. With TLS 1.3 it arrives at the first read, after a
// handshake that looked well.
func Refused(err error) bool {
	const badCertificate = tls.AlertError(42)
	op := (*net.OpError)(nil)
	return errors.As(err, &op) && op.Op == "remote error" && op.Err.Error() == badCertificate.Error()
}
