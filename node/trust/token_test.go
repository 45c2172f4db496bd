package trust

import (
	"bytes"
	"encoding/hex"
	"errors"
	"strings"
	"testing"
	"time"
)

func newTestToken(t testing.TB, role string) Token {
	t.Helper()
	a := newTestAuthority(t, testCluster, time.Now())
	return Token{Role: role, Fingerprint: a.Fingerprint(), Secret: DeriveSecret(a, role, 1)}
}

// CLU-20
func TestTokenReadBack(t *testing.T) {
	for _, role := range []string{TokenAgent, TokenAny} {
		token := newTestToken(t, role)
		text := token.Text()
		for _, s := range []string{text, " " + text + "\n", strings.ToUpper(text)} {
			if got, err := ParseToken(s); err != nil || got != token {
				t.Errorf("%s: %v, same %t", role, err, got == token)
			}
		}
		if !strings.HasPrefix(text, "clusterd-1-"+role+"-"+token.Fingerprint+"-") {
			t.Errorf("it reads %s", text)
		}
	}
}

// CLU-22: a typing error is told as such: every changed, lost, doubled or swapped character.
func TestTokenTypingErrors(t *testing.T) {
	token := newTestToken(t, TokenAgent)
	text := token.Text()
	begin := len(tokenPrefix)
	check := func(what, bad string) {
		t.Helper()
		got, err := ParseToken(bad)
		if err == nil && got == token {
			return // two same letters changed places
		}
		if err == nil {
			t.Errorf("%s: taken as %v", what, got)
			return
		}
		if !errors.Is(err, ErrTyping) {
			t.Errorf("%s: %v, want a typing error", what, err)
		}
		if strings.Contains(err.Error(), token.Secret[:8]) {
			t.Errorf("%s: the error tells the secret", what)
		}
	}
	for i := begin; i < len(text); i++ {
		for _, c := range tokenAlphabet + "0189-_ é" {
			if byte(c) != text[i] {
				check("changed", text[:i]+string(c)+text[i+1:])
			}
		}
		check("lost", text[:i]+text[i+1:])
		check("doubled", text[:i]+text[i:i+1]+text[i:])
		for j := i + 1; j < min(i+6, len(text)); j++ {
			b := []byte(text)
			b[i], b[j] = b[j], b[i]
			check("swapped", string(b))
		}
		check("cut off", text[:i])
	}
	for _, bad := range []string{"", "x", "clusterd-2-" + text[begin:], text[:begin-1], strings.Repeat("a", 1000), "SWMTKN-1-abc-def"} {
		if _, err := ParseToken(bad); err == nil {
			t.Errorf("%q: taken", bad)
		}
	}
}

// CLU-22: role and generation make another secret; another authority too. CLU-23: the hash is what is kept.
func TestDerivedSecrets(t *testing.T) {
	a, b := newTestAuthority(t, testCluster, time.Now()), newTestAuthority(t, testCluster, time.Now())
	seen := make(map[string]bool)
	for _, authority := range []*Authority{a, b} {
		for _, role := range []string{TokenAgent, TokenAny} {
			for generation := range uint64(20) {
				secret := DeriveSecret(authority, role, generation)
				if seen[secret] || len(secret) != secretLetters || !isBase32(secret) {
					t.Errorf("%s %d: seen %t, %d letters", role, generation, seen[secret], len(secret))
				}
				seen[secret] = true
				if secret != DeriveSecret(authority, role, generation) {
					t.Errorf("%s %d: another secret the second time", role, generation)
				}
				hash := HashSecret(secret)
				if !SecretMatches(secret, hash) || bytes.Contains(hash, []byte(secret)) {
					t.Errorf("%s %d: its hash does not match", role, generation)
				}
			}
		}
	}
	hash := HashSecret(DeriveSecret(a, TokenAgent, 1))
	for _, other := range []string{"", DeriveSecret(a, TokenAny, 1), DeriveSecret(a, TokenAgent, 2), NewSecret()} {
		if SecretMatches(other, hash) {
			t.Errorf("%d letters match the hash of another", len(other))
		}
	}
	if SecretMatches("", nil) || SecretMatches(NewSecret(), nil) {
		t.Error("a secret matches no hash at all")
	}
}

// The secrets of a fixed key are always the same: a later version must print the same tokens.
func TestDerivedSecretsStay(t *testing.T) {
	const (
		key = "308187020100301306072a8648ce3d020106082a8648ce3d030107046d306b02010104207238574b1d9114e8d7578ea479ad430656f593ca76db8f5c" +
			"ff098cb08a102ab2a14403420004f40898a02156f6c49379c9bb30c10a38c9aad690463c7bd9ff22fe46071f2191b02970ef49012fd66203a29b4369" +
			"177fb0a50152ca84189dbca3b2df0654c7ce"
		cert = "308201df30820185a0030201020214228151f4fe5b00ee966328aff59eb76667450f94300a06082a8648ce3d040302304c312d302b060355040a1324" +
			"31313131313131312d323232322d333333332d343434342d353535353535353535353535311b301906035504031312636c7573746572642061757468" +
			"6f72697479301e170d3235313233313030303030305a170d3335313233303030303030305a304c312d302b060355040a132431313131313131312d32" +
			"3232322d333333332d343434342d353535353535353535353535311b301906035504031312636c75737465726420617574686f726974793059301306" +
			"072a8648ce3d020106082a8648ce3d03010703420004f40898a02156f6c49379c9bb30c10a38c9aad690463c7bd9ff22fe46071f2191b02970ef4901" +
			"2fd66203a29b4369177fb0a50152ca84189dbca3b2df0654c7cea3453043300e0603551d0f0101ff04040302020430120603551d130101ff04083006" +
			"0101ff020100301d0603551d0e04160414ad41e63aaae3f7aae73f3380641e6027c02bc667300a06082a8648ce3d04030203480030450220460ab9a9" +
			"bc7c5a81c9c92346f335d045082a45c0d71e6e770a0b318cd5161516022100ebe71cb7465e46633bc7284521bb0ee76c0389c33e39a4550986a3e6ce" +
			"9771ad"
	)
	a, err := ParseAuthority(mustHex(t, cert), mustHex(t, key))
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		role       string
		generation uint64
		want       string
	}{{TokenAgent, 0, "75vwf6hrrfb673npqwptdcplly"}, {TokenAgent, 1, "qtck7mr7wxb6lj5zprot3l7yim"}, {TokenAny, 1, "fldljniotahkfs7lwggks5lxoi"}} {
		if got := DeriveSecret(a, tt.role, tt.generation); got != tt.want {
			t.Errorf("%s %d: %s, want %s", tt.role, tt.generation, got, tt.want)
		}
	}
}

func mustHex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(s)
	if err != nil {
		t.Fatal(err)
	}
	return b
}
