package trust

import (
	"bytes"
	"crypto/x509"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// What is taken as a token reads the same when it is printed again.
func FuzzParseToken(f *testing.F) {
	token := newTestToken(f, TokenAgent)
	f.Add(token.Text())
	f.Add(Token{Role: TokenAny, Fingerprint: token.Fingerprint, Secret: NewSecret()}.Text())
	f.Add("clusterd-1-any--")
	f.Add("CLUSTERD-1-AGENT-\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := ParseToken(text)
		if err != nil {
			if len(err.Error()) > 300 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
			return
		}
		if got.Text() != strings.ToLower(strings.TrimSpace(text)) {
			t.Errorf("%q reads %q", text, got.Text())
		}
	})
}

// FuzzLoad loads three files of any content: what is taken is a key with its certificate, and saving it
// gives the same files.
func FuzzLoad(f *testing.F) {
	s := newTestSet(f, "x")
	_, dir := saved(f, s)
	var whole [][]byte
	for _, name := range names {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			f.Fatal(err)
		}
		whole = append(whole, data)
	}
	f.Add(whole[0], whole[1], whole[2])
	f.Add(whole[0], whole[2], whole[1])
	f.Add(whole[0][:100], whole[1][:100], whole[2])
	f.Add(append(bytes.Clone(whole[0]), '\n'), whole[1], []byte{})
	f.Fuzz(func(t *testing.T, key, cert, authorities []byte) {
		files := NewFiles(filepath.Join(t.TempDir(), "tls"))
		stored, err := files.parse(map[string][]byte{keyName: key, certName: cert, authorityName: authorities})
		if err != nil {
			return
		}
		if !bytes.Equal(encodeCerts(stored.Chain), cert) || !bytes.Equal(encodeCerts(stored.Authorities), authorities) {
			t.Error("the certificates are not written as they were read")
		}
		if err := files.Save(stored.Key, stored.Chain, stored.Authorities); err != nil {
			return // Save also checks the authorities
		}
		again, err := files.Load()
		if err != nil || !samePublic(again.Key.Public(), stored.Key.Public()) {
			t.Errorf("read back: %v", err)
		}
	})
}

// FuzzSign signs any request: whatever comes out is a node's certificate with the caller's identity.
func FuzzSign(f *testing.F) {
	now := time.Now()
	a := newTestAuthority(f, testCluster, now)
	_, request := newTestKey(f)
	f.Add(request, "x")
	f.Add(request[:50], "x y")
	f.Add([]byte{0x30, 0x80}, "")
	f.Fuzz(func(t *testing.T, request []byte, node string) {
		id := Identity{testCluster, node, RoleAgent}
		der, err := a.Sign(request, id, now, time.Hour)
		if err != nil {
			return
		}
		cert, err := x509.ParseCertificate(der)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := identityIn(cert); err != nil || got != id {
			t.Errorf("%v, %v", got, err)
		}
	})
}
