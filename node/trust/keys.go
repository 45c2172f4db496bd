package trust

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log/slog"
)

const hidden = "(private key)"

// Key is a private key, ECDSA P-256 or Ed25519, that can sign but not be seen: it is behind a
// function, where neither fmt, log/slog, encoding/json nor reflection finds it. The zero Key has none.
type Key struct{ signer func() crypto.Signer }

// NewKey makes a private key (ECDSA P-256).
func NewKey() (Key, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return Key{}, fmt.Errorf("generate key: %w", err)
	}
	return seal(key), nil
}

// ParseKey reads a private key in PKCS #8, DER.
func ParseKey(der []byte) (Key, error) {
	parsed, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		// The text of the cause may tell of what is inside.
		return Key{}, errors.New("it is not a private key in PKCS #8")
	}
	switch key := parsed.(type) {
	case *ecdsa.PrivateKey:
		if key.Curve == elliptic.P256() {
			return seal(key), nil
		}
	case ed25519.PrivateKey:
		return seal(key), nil
	}
	return Key{}, errors.New("it is of a kind that is not used here: ECDSA P-256 and Ed25519 are allowed")
}

// MarshalKey is a private key in PKCS #8, DER: for a file that only its owner can read.
func MarshalKey(key crypto.Signer) ([]byte, error) {
	der, err := x509.MarshalPKCS8PrivateKey(unseal(key))
	if err != nil {
		return nil, errors.New("marshal key: it is of a kind that cannot be written")
	}
	return der, nil
}

func seal(key crypto.Signer) Key {
	if k, ok := key.(Key); ok {
		return k
	}
	return Key{func() crypto.Signer { return key }}
}

// unseal gives the key itself, in the hands of crypto/x509 only.
func unseal(key crypto.Signer) crypto.Signer {
	if k, ok := key.(Key); ok && k.signer != nil {
		return k.signer()
	}
	return key
}

// Public is the public key. It panics on the zero Key, as Sign does.
func (k Key) Public() crypto.PublicKey { return k.signer().Public() }

// Sign implements crypto.Signer.
func (k Key) Sign(random io.Reader, digest []byte, opts crypto.SignerOpts) ([]byte, error) {
	return k.signer().Sign(random, digest, opts)
}

// Format hides the key whatever the verb.
func (k Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, hidden) }

// LogValue hides the key.
func (k Key) LogValue() slog.Value { return slog.StringValue(hidden) }

// KeyHash is the SHA-256 of a public key (SubjectPublicKeyInfo): nil if it is of an unknown kind.
func KeyHash(key crypto.PublicKey) []byte {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return nil
	}
	sum := sha256.Sum256(der)
	return sum[:]
}

// allowedKey tells whether a public key is of a kind that nodes and authorities use.
func allowedKey(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *ecdsa.PublicKey:
		if key.Curve == elliptic.P256() {
			return nil
		}
	case ed25519.PublicKey:
		return nil
	}
	return errors.New("its key is of a kind that is not used here: ECDSA P-256 and Ed25519 are allowed")
}

// samePublic tells whether two public keys are the same.
func samePublic(a, b crypto.PublicKey) bool {
	k, ok := a.(interface{ Equal(crypto.PublicKey) bool })
	return ok && k.Equal(b)
}

// maxRequestBytes bounds a signing request; those of nodes have less than 300 bytes.
const maxRequestBytes = 4096

// Request is a signing request (PKCS #10, DER) for a key. It names nobody: the identity is decided by
// whoever signs.
func Request(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make signing request: %w", err)
	}
	return der, nil
}

// ParseRequest gives the public key of a signing request whose sender has proven to hold the private
// one. What else the request asks for is left aside.
func ParseRequest(der []byte) (crypto.PublicKey, error) {
	if len(der) > maxRequestBytes {
		return nil, fmt.Errorf("signing request has %d bytes: up to %d are allowed", len(der), maxRequestBytes)
	}
	request, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := allowedKey(request.PublicKey); err != nil {
		return nil, fmt.Errorf("signing request: %w", err)
	}
	if err := request.CheckSignature(); err != nil {
		return nil, fmt.Errorf("signing request: its signature is not by its own key: %w", err)
	}
	return request.PublicKey, nil
}
