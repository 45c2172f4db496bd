package trust

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"slices"
	"time"
)

const (
	// Lifetime of a node's certificate (CLU-21).
	Lifetime = 90 * 24 * time.Hour
	// AuthorityLifetime of an authority's certificate.
	AuthorityLifetime = 10 * 365 * 24 * time.Hour
	// Backdate is how long before it was signed a certificate begins: clocks that are behind by less
	// do no harm.
	Backdate = time.Hour
	// authorityBackdate is more, so that it begins before all that it signs, by whichever master's clock.
	authorityBackdate = 24 * time.Hour
)

// Authority is a certificate authority of a cluster, with its key (CLU-20). Safe for concurrent use.
type Authority struct {
	cert *x509.Certificate
	key  Key
}

// NewAuthority makes the authority of a new cluster, or another one for a cluster that replaces its own.
func NewAuthority(clusterID string, now time.Time) (*Authority, error) {
	if err := validName("cluster id", clusterID); err != nil {
		return nil, err
	}
	key, err := NewKey()
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{clusterID}, CommonName: "clusterd authority"},
		NotBefore:             now.Add(-authorityBackdate).UTC().Truncate(time.Second),
		NotAfter:              now.Add(AuthorityLifetime).UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageCertSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true, // it signs nodes, never another authority
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return nil, fmt.Errorf("sign the authority's own certificate: %w", err)
	}
	cert, err := parseAuthority(der)
	if err != nil {
		return nil, err
	}
	return &Authority{cert: cert, key: key}, nil
}

// ParseAuthority reads an authority that was written with CertificateDER and KeyDER.
func ParseAuthority(certDER, keyDER []byte) (*Authority, error) {
	cert, err := parseAuthority(certDER)
	if err != nil {
		return nil, err
	}
	key, err := ParseKey(keyDER)
	if err != nil {
		return nil, fmt.Errorf("key of the authority: %w", err)
	}
	if !samePublic(cert.PublicKey, key.Public()) {
		return nil, errors.New("key of the authority: it is not that of the certificate")
	}
	return &Authority{cert: cert, key: key}, nil
}

// parseAuthority reads the certificate of an authority, which must look like those that NewAuthority
// makes: it is going to be trusted.
func parseAuthority(der []byte) (*x509.Certificate, error) {
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("certificate of the authority: %w", err)
	}
	switch {
	case !cert.BasicConstraintsValid || !cert.IsCA || cert.KeyUsage&x509.KeyUsageCertSign == 0:
		err = errors.New("it is not that of an authority")
	case cert.MaxPathLen != 0 || !cert.MaxPathLenZero:
		err = errors.New("it allows further authorities below it")
	case len(cert.Subject.Organization) != 1:
		err = errors.New("it does not name one cluster")
	default:
		err = errors.Join(allowedKey(cert.PublicKey), validName("cluster id", cert.Subject.Organization[0]), cert.CheckSignatureFrom(cert))
	}
	if err != nil {
		return nil, fmt.Errorf("certificate of the authority: %w", err)
	}
	return cert, nil
}

// ClusterID is the cluster whose authority it is.
func (a *Authority) ClusterID() string { return a.cert.Subject.Organization[0] }

// CertificateDER is its certificate.
func (a *Authority) CertificateDER() []byte { return slices.Clone(a.cert.Raw) }

// KeyDER is its private key in PKCS #8: for the registry, which keeps it where only masters are.
func (a *Authority) KeyDER() []byte {
	der, err := MarshalKey(a.key)
	if err != nil {
		panic(err) // NewAuthority and ParseAuthority let no such key in
	}
	return der
}

// AuthorityMade is when the authority of a certificate was made, as NewAuthority was told.
func AuthorityMade(certDER []byte) (time.Time, error) {
	cert, err := parseAuthority(certDER)
	if err != nil {
		return time.Time{}, err
	}
	return cert.NotBefore.Add(authorityBackdate), nil
}

// NotAfter is when its certificate ends, and with it all that it has signed.
func (a *Authority) NotAfter() time.Time { return a.cert.NotAfter }

// Fingerprint identifies its certificate; it is what tokens carry.
func (a *Authority) Fingerprint() string { return Fingerprint(a.cert.Raw) }

// Fingerprint is the SHA-256 of a certificate (DER) in lower-case base32, 52 letters and digits.
func Fingerprint(certDER []byte) string {
	sum := sha256.Sum256(certDER)
	return base32Text.EncodeToString(sum[:])
}

// Format shows whose authority it is.
func (a *Authority) Format(f fmt.State, _ rune) {
	if a == nil {
		_, _ = io.WriteString(f, "no authority")
		return
	}
	_, _ = fmt.Fprintf(f, "authority %s of cluster %s", a.Fingerprint(), a.ClusterID())
}

// LogValue shows whose authority it is.
func (a *Authority) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(a)) }

// Sign gives the sender of a signing request (PKCS #10, DER) the certificate of a node, valid from
// Backdate before now until lifetime after it, or until the authority's own end. Only the public key
// is taken from the request, and its signature checked; whom the certificate names and what it
// allows is for the caller to say.
func (a *Authority) Sign(requestDER []byte, id Identity, now time.Time, lifetime time.Duration) ([]byte, error) {
	if err := id.validate(); err != nil {
		return nil, err
	}
	if id.ClusterID != a.ClusterID() {
		return nil, fmt.Errorf("cluster id %q: this authority is that of cluster %q", id.ClusterID, a.ClusterID())
	}
	public, err := ParseRequest(requestDER)
	if err != nil {
		return nil, err
	}
	if samePublic(public, a.cert.PublicKey) {
		return nil, errors.New("signing request: its key is the authority's own")
	}
	end := now.Add(lifetime)
	if end.After(a.cert.NotAfter) {
		end = a.cert.NotAfter
	}
	if lifetime < time.Second || !end.After(now) {
		return nil, fmt.Errorf("lifetime %v: a second or more is allowed, until the end of the authority at %s", lifetime, a.cert.NotAfter.Format(time.RFC3339))
	}
	template := &x509.Certificate{
		Subject:               pkix.Name{Organization: []string{id.ClusterID}, OrganizationalUnit: []string{string(id.Role)}, CommonName: id.NodeID},
		NotBefore:             now.Add(-Backdate).UTC().Truncate(time.Second),
		NotAfter:              end.UTC().Truncate(time.Second),
		KeyUsage:              x509.KeyUsageDigitalSignature,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
		BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, public, a.key)
	if err != nil {
		return nil, fmt.Errorf("sign certificate of node %s: %w", id.NodeID, err)
	}
	return der, nil
}
