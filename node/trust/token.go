package trust

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"log/slog"
	"strings"
)

// What a token lets a node become: an agent only, or whatever it likes (CLU-22).
const (
	TokenAgent = "agent"
	TokenAny   = "any"
)

const (
	tokenPrefix     = "clusterd-1-"
	secretBytes     = 16
	checkBytes      = 4
	secretLetters   = 26
	printLetters    = 52 // of a fingerprint
	checkLetters    = 7
	tokenAlphabet   = "abcdefghijklmnopqrstuvwxyz234567"
	maxTokenLetters = 256
)

var base32Text = base32.NewEncoding(tokenAlphabet).WithPadding(base32.NoPadding)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

// ErrTyping says that a token is not as it was printed.
var ErrTyping = errors.New("it has a typing error or is cut off")

// Token is what a machine needs to join: whom to trust, and what makes it welcome (CLU-20). It is
// shown without its secret by fmt and log/slog, and encoding/json leaves the secret out.
type Token struct {
	Role        string // TokenAgent or TokenAny; what counts is the role that the cluster keeps with the hash
	Fingerprint string // of the authority
	Secret      string `json:"-"`
}

// ParseToken reads a token as it was printed by Text, also in capital letters and among white space.
// Errors never quote it.
func ParseToken(text string) (Token, error) {
	text = strings.TrimSpace(text)
	if text == "" {
		return Token{}, errors.New("the token is empty")
	}
	if len(text) > maxTokenLetters {
		return Token{}, fmt.Errorf("the token has %d characters: it should have about %d", len(text), len(tokenPrefix)+len(TokenAgent)+printLetters+secretLetters+checkLetters+2)
	}
	text = lower(text)
	rest, ok := strings.CutPrefix(text, tokenPrefix)
	if !ok {
		return Token{}, fmt.Errorf("the token does not begin with %q: it is cut off, or made by another version of clusterd", tokenPrefix)
	}
	parts := strings.Split(rest, "-")
	if len(parts) != 3 || len(parts[1]) != printLetters || len(parts[2]) != secretLetters+checkLetters {
		return Token{}, fmt.Errorf("token: %w: it should read %s%s|%s-FINGERPRINT-SECRET with %d and %d letters", ErrTyping, tokenPrefix, TokenAgent, TokenAny, printLetters, secretLetters+checkLetters)
	}
	t := Token{Role: parts[0], Fingerprint: parts[1], Secret: parts[2][:secretLetters]}
	if t.Role != TokenAgent && t.Role != TokenAny || !isBase32(t.Fingerprint) || !isBase32(t.Secret) || t.Text() != text {
		return Token{}, fmt.Errorf("token: %w: copy it again", ErrTyping)
	}
	return t, nil
}

// lower changes ASCII letters only: what is another letter stays one.
func lower(s string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, s)
}

// isBase32 tells whether a text is the one spelling of some bytes.
func isBase32(s string) bool {
	b, err := base32Text.DecodeString(s)
	return err == nil && base32Text.EncodeToString(b) == s
}

// Text is the whole token, to be shown to whoever may let machines join.
func (t Token) Text() string {
	body := tokenPrefix + t.Role + "-" + t.Fingerprint + "-" + t.Secret
	// A CRC finds every error within 32 bits for certain: any one letter, and any two that changed places.
	check := binary.BigEndian.AppendUint32(make([]byte, 0, checkBytes), crc32.Checksum([]byte(body), castagnoli))
	return body + base32Text.EncodeToString(check)
}

// Format shows the token without its secret.
func (t Token) Format(f fmt.State, _ rune) {
	_, _ = io.WriteString(f, tokenPrefix+t.Role+"-"+t.Fingerprint+"-(secret)")
}

// LogValue shows the token without its secret.
func (t Token) LogValue() slog.Value { return slog.StringValue(fmt.Sprint(t)) }

// NewSecret is the secret of a token that is to end at some time: 128 random bits.
func NewSecret() string {
	b := make([]byte, secretBytes)
	_, _ = rand.Read(b) // never fails
	return base32Text.EncodeToString(b)
}

// DeriveSecret is the secret of the standing token of a role. It follows from the authority's key, so
// that whoever has that key can print the token again, and nothing but its hash need be kept. Another
// generation has another secret.
func DeriveSecret(a *Authority, role string, generation uint64) string {
	var seed []byte
	var err error
	switch key := unseal(a.key).(type) {
	case *ecdsa.PrivateKey:
		seed, err = key.Bytes()
	case ed25519.PrivateKey:
		seed = key.Seed()
	}
	if err != nil || seed == nil {
		panic("authority with an unknown kind of key") // NewAuthority and ParseAuthority let none in
	}
	b, err := hkdf.Key(sha256.New, seed, nil, fmt.Sprintf("clusterd join token 1 %s %d", role, generation), secretBytes)
	if err != nil {
		panic(fmt.Errorf("derive token: %w", err)) // the length is constant and short
	}
	return base32Text.EncodeToString(b)
}

// HashSecret is what is kept of a token: its SHA-256. Secrets have 128 random bits, which nobody guesses.
func HashSecret(secret string) []byte {
	sum := sha256.Sum256([]byte(secret))
	return sum[:]
}

// SecretMatches tells whether a secret has this hash, in a time that tells nothing about either.
func SecretMatches(secret string, hash []byte) bool {
	return subtle.ConstantTimeCompare(HashSecret(secret), hash) == 1
}
