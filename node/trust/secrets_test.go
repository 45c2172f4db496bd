package trust

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/big"
	"reflect"
	"strings"
	"testing"
	"time"
)

// scalarOf is the secret part of a private key.
func scalarOf(t testing.TB, key crypto.Signer) []byte {
	t.Helper()
	switch k := unseal(key).(type) {
	case *ecdsa.PrivateKey:
		b, err := k.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		return b
	case ed25519.PrivateKey:
		return k.Seed()
	}
	t.Fatalf("a key of type %T", key)
	return nil
}

// tells says whether a text shows bytes in one of the ways in which Go prints them.
func tells(text string, secret []byte) bool {
	half := secret[:len(secret)/2] // the beginning alone would be bad enough
	forms := []string{
		string(half), hex.EncodeToString(half), strings.ToUpper(hex.EncodeToString(half)), strings.Trim(fmt.Sprint(half), "[]"),
		strings.TrimSuffix(fmt.Sprintf("%#v", half)[len("[]byte{"):], "}"), new(big.Int).SetBytes(secret).String(),
	}
	for shift := range 3 { // base64 of PEM and JSON, wherever the secret begins
		if shift <= len(half) {
			part := half[shift:]
			forms = append(forms, base64.StdEncoding.EncodeToString(part[:len(part)/3*3]))
		}
	}
	for _, f := range forms {
		if strings.Contains(text, f) {
			return true
		}
	}
	return false
}

// dump writes down all bytes that reflection finds in a value, through pointers, interfaces and
// unexported fields: what a tool that dumps variables shows.
func dump(v reflect.Value, seen map[uintptr]bool, out *bytes.Buffer) {
	switch v.Kind() {
	case reflect.Pointer:
		if !v.IsNil() && !seen[v.Pointer()] {
			seen[v.Pointer()] = true
			dump(v.Elem(), seen, out)
		}
	case reflect.Interface:
		if !v.IsNil() {
			dump(v.Elem(), seen, out)
		}
	case reflect.Struct:
		for i := range v.NumField() {
			dump(v.Field(i), seen, out)
		}
	case reflect.Map:
		for it := v.MapRange(); it.Next(); {
			dump(it.Key(), seen, out)
			dump(it.Value(), seen, out)
		}
	case reflect.Slice, reflect.Array:
		if v.Len() > 0 && v.Index(0).Kind() == reflect.Uint { // the words of a big.Int, lowest first
			for i := v.Len() - 1; i >= 0; i-- {
				out.Write(binary.BigEndian.AppendUint64(nil, v.Index(i).Uint()))
			}
			return
		}
		for i := range v.Len() {
			dump(v.Index(i), seen, out)
		}
		out.WriteByte(0)
	case reflect.Uint8:
		out.WriteByte(byte(v.Uint()))
	case reflect.String:
		out.WriteString(v.String())
	}
}

func dumped(v any) string {
	var out bytes.Buffer
	dump(reflect.ValueOf(v), make(map[uintptr]bool), &out)
	return out.String()
}

// shown is a value as everything prints it that may end up in a log, an answer or a crash.
func shown(t *testing.T, v any) map[string]string {
	t.Helper()
	out := make(map[string]string)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		out[verb] = fmt.Sprintf(verb, v)
		out["in a slice "+verb] = fmt.Sprintf(verb, []any{v})
		out["in a field "+verb] = fmt.Sprintf(verb, struct{ Field any }{v})
		out["in a hidden field "+verb] = fmt.Sprintf(verb, struct{ field any }{v})
	}
	var text, doc bytes.Buffer
	slog.New(slog.NewTextHandler(&text, nil)).Info("x", slog.Any("value", v), slog.Any("in", struct{ Field any }{v}))
	slog.New(slog.NewJSONHandler(&doc, nil)).Info("x", slog.Any("value", v), slog.Any("in", struct{ Field any }{v}))
	out["text log"], out["JSON log"] = text.String(), doc.String()
	if b, err := json.Marshal(v); err == nil { // some cannot be marshalled, which is as well
		out["JSON"] = string(b)
	}
	func() {
		defer func() { out["panic"] = fmt.Sprint(recover()) }()
		panic(fmt.Errorf("broken: %v", v))
	}()
	return out
}

// CLU-23: a private key is nowhere to be seen.
func TestKeysAreHidden(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, _ := newTestKey(t)
	for _, raw := range []crypto.Signer{ec, ed} {
		key := seal(raw)
		secret := scalarOf(t, key)
		a := newTestAuthority(t, testCluster, time.Now())
		chain := [][]byte{sign(t, a, mustRequest(t, key), "x", RoleMaster, time.Now(), time.Hour)}
		c, err := NewCredentials(raw, chain, [][]byte{a.CertificateDER()})
		if err != nil {
			t.Fatal(err)
		}
		files := NewFiles(t.TempDir() + "/tls")
		if err := files.Save(raw, chain, [][]byte{a.CertificateDER()}); err != nil {
			t.Fatal(err)
		}
		stored, err := files.Load()
		if err != nil {
			t.Fatal(err)
		}
		issuing := &Authority{cert: a.cert, key: key}
		for name, v := range map[string]any{
			"key": key, "pointer to key": &key, "credentials": c, "standing": c.current.Load(), "standing itself": *c.current.Load(),
			"authority": issuing, "authority itself": *issuing, "stored": stored, "stored itself": *stored, "files": files,
			"listen": c.Listen(allProtocols...), "dial": c.Dial("x", ProtocolNode), "certificate": c.certificate(),
		} {
			for how, text := range shown(t, v) {
				if tells(text, secret) {
					t.Errorf("%T: %s as %s shows the key", raw, name, how)
				}
			}
			if tells(dumped(v), secret) {
				t.Errorf("%T: a dump of %s shows the key", raw, name)
			}
		}
	}
}

// What the tests above look for would be found.
func TestHiddenKeysWouldBeFound(t *testing.T) {
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec, _ := newTestKey(t)
	bare := unseal(ec)
	if !tells(dumped(&tls.Certificate{PrivateKey: bare}), scalarOf(t, ec)) || !tells(dumped(struct{ key crypto.Signer }{ed}), ed.Seed()) {
		t.Error("a dump of a bare key does not show it")
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%x", "%X", "%s"} {
		if !tells(fmt.Sprintf(verb, []byte(ed)), ed.Seed()) {
			t.Errorf("%s of a bare key does not show it", verb)
		}
	}
	var doc bytes.Buffer
	slog.New(slog.NewJSONHandler(&doc, nil)).Info("x", slog.Any("in", struct{ Field any }{bare}))
	if !tells(doc.String(), scalarOf(t, ec)) {
		t.Error("a JSON log of a bare key does not show it")
	}
}

// CLU-23: a token is shown without its secret, except by Text.
func TestTokensAreHidden(t *testing.T) {
	token := newTestToken(t, TokenAny)
	secret := token.Secret
	for name, v := range map[string]any{"token": token, "pointer": &token} {
		for how, text := range shown(t, v) {
			if strings.Contains(text, secret) || strings.Contains(text, strings.ToUpper(secret)) || strings.Contains(text, hex.EncodeToString([]byte(secret))) {
				if !strings.HasPrefix(how, "in a hidden field") {
					t.Errorf("%s as %s shows the secret", name, how)
				}
			}
		}
	}
	if !strings.Contains(token.Text(), secret) {
		t.Error("Text does not show the secret")
	}
}

// Whose it is can be told.
func TestShownNames(t *testing.T) {
	a := newTestAuthority(t, testCluster, time.Now())
	c := newTestNode(t, "x", RoleMaster, a)
	for _, tt := range []struct {
		v    any
		want string
	}{
		{c, "credentials of master node x of cluster " + testCluster}, {a, "authority " + a.Fingerprint() + " of cluster " + testCluster},
		{(*Credentials)(nil), "no credentials"}, {(*Authority)(nil), "no authority"}, {a.key, hidden},
		{Token{Role: TokenAny, Fingerprint: "f", Secret: "s"}, "clusterd-1-any-f-(secret)"},
	} {
		if got := fmt.Sprint(tt.v); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
		if got := slog.AnyValue(tt.v).Resolve().String(); got != tt.want {
			t.Errorf("log: %q, want %q", got, tt.want)
		}
	}
}
