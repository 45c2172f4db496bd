package trust

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A set is what Save writes.
type set struct {
	key         Key
	chain       [][]byte
	authorities [][]byte
}

func newTestSet(t testing.TB, node string) *set {
	t.Helper()
	a := newTestAuthority(t, testCluster, time.Now())
	key, request := newTestKey(t)
	return &set{key, [][]byte{sign(t, a, request, node, RoleMaster, time.Now(), time.Hour), a.CertificateDER()}, [][]byte{a.CertificateDER()}}
}

func (s *set) save(f *Files) error { return f.Save(s.key, s.chain, s.authorities) }

func (s *set) is(stored *Stored) bool {
	same := func(a, b [][]byte) bool {
		return fmt.Sprintf("%x", a) == fmt.Sprintf("%x", b)
	}
	return samePublic(s.key.Public(), stored.Key.Public()) && same(s.chain, stored.Chain) && same(s.authorities, stored.Authorities)
}

// saved is a directory with one set.
func saved(t testing.TB, s *set) (*Files, string) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tls")
	f := NewFiles(dir)
	if err := s.save(f); err != nil {
		t.Fatal(err)
	}
	return f, dir
}

// CLU-23
func TestFilesReadBack(t *testing.T) {
	old := syscall.Umask(0) // nothing may rest on it
	defer syscall.Umask(old)
	f := NewFiles(filepath.Join(t.TempDir(), "tls"))
	if _, err := f.Load(); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("nothing saved: %v", err)
	}
	for i := range 3 {
		s := newTestSet(t, "x")
		if err := s.save(f); err != nil {
			t.Fatal(err)
		}
		stored, err := f.Load()
		if err != nil || !s.is(stored) {
			t.Fatalf("set %d: %v, the same %t", i, err, err == nil && s.is(stored))
		}
	}
	modes := make(map[string]fs.FileMode)
	if err := filepath.WalkDir(f.dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := os.Lstat(path)
		if err == nil {
			modes[filepath.Base(path)] = info.Mode()
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	want := map[string]fs.FileMode{"tls": fs.ModeDir | 0o700, keyName: 0o600, certName: 0o600, authorityName: 0o600}
	if fmt.Sprint(modes) != fmt.Sprint(want) {
		t.Errorf("files: %v, want %v", modes, want)
	}
}

// What Credentials tell of themselves can be saved, even by a node that was left behind.
func TestFilesOfCredentials(t *testing.T) {
	a, b := newTestAuthority(t, testCluster, time.Now()), newTestAuthority(t, testCluster, time.Now())
	c := newTestNode(t, "x", RoleMaster, a)
	f := NewFiles(filepath.Join(t.TempDir(), "tls"))
	for _, trusted := range [][]*Authority{{a}, {a, b}, {b}} {
		if err := c.Trust(certificatesOf(trusted)); err != nil {
			t.Fatal(err)
		}
		if err := f.Save(c.Key(), c.Chain(), c.Authorities()); err != nil {
			t.Fatal(err)
		}
		stored, err := f.Load()
		if err != nil || len(stored.Authorities) != len(trusted) {
			t.Fatalf("%v", err)
		}
		_, err = NewCredentials(stored.Key, stored.Chain, stored.Authorities)
		if left := trusted[0] == b; left != errors.Is(err, ErrOtherAuthority) {
			t.Errorf("trusting %d: %v", len(trusted), err)
		}
	}
}

func TestSaveRefuses(t *testing.T) {
	good, other := newTestSet(t, "x"), newTestSet(t, "y")
	f, _ := saved(t, good)
	for name, bad := range map[string]*set{
		"no key":                {Key{}, good.chain, good.authorities},
		"another key":           {other.key, good.chain, good.authorities},
		"no certificate":        {good.key, nil, good.authorities},
		"no authority":          {good.key, good.chain, nil},
		"a node as authority":   {good.key, good.chain, good.chain},
		"a damaged certificate": {good.key, [][]byte{good.chain[0][1:]}, good.authorities},
	} {
		if err := bad.save(f); err == nil {
			t.Errorf("%s: saved", name)
		}
	}
	if stored, err := f.Load(); err != nil || !good.is(stored) {
		t.Errorf("the good one is not there any more: %v", err)
	}
}

// CLU-23: files and directories that others could have read or made are refused, with name and mode.
func TestLoadRefusesWhatOthersCanUse(t *testing.T) {
	s := newTestSet(t, "x")
	for _, tt := range []struct {
		name  string
		spoil func(dir string) error
		want  []string
	}{
		{"key for the group", func(d string) error { return os.Chmod(filepath.Join(d, keyName), 0o640) }, []string{keyName, "0640", "0600"}},
		{"key for all", func(d string) error { return os.Chmod(filepath.Join(d, keyName), 0o644) }, []string{keyName, "0644"}},
		{"key that all can write", func(d string) error { return os.Chmod(filepath.Join(d, keyName), 0o602) }, []string{keyName, "0602"}},
		{"key to be executed", func(d string) error { return os.Chmod(filepath.Join(d, keyName), 0o700) }, []string{keyName, "0700"}},
		{"certificate for all", func(d string) error { return os.Chmod(filepath.Join(d, certName), 0o644) }, []string{certName, "0644"}},
		{"authorities that all can write", func(d string) error { return os.Chmod(filepath.Join(d, authorityName), 0o666) }, []string{authorityName, "0666"}},
		{"directory for the group", func(d string) error { return os.Chmod(d, 0o750) }, []string{"tls", "0750", "0700"}},
		{"directory for all", func(d string) error { return os.Chmod(d, 0o755) }, []string{"tls", "0755"}},
		{"directory that all can write", func(d string) error { return os.Chmod(d, 0o702) }, []string{"tls", "0702"}},
		{"key behind a link", func(d string) error {
			return errors.Join(os.Rename(filepath.Join(d, keyName), filepath.Join(d, "key")), os.Symlink("key", filepath.Join(d, keyName)))
		}, []string{keyName, "symbolic link"}},
		{"directory behind a link", func(d string) error { return errors.Join(os.Rename(d, d+"2"), os.Symlink(d+"2", d)) }, []string{"tls", "symbolic link"}},
		{"key is a directory", func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, keyName)), os.Mkdir(filepath.Join(d, keyName), 0o600))
		}, []string{keyName, "a directory"}},
		{"key is a named pipe", func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, keyName)), syscall.Mkfifo(filepath.Join(d, keyName), 0o600))
		}, []string{keyName, "named pipe"}},
		{"directory is a file", func(d string) error { return errors.Join(os.RemoveAll(d), os.WriteFile(d, nil, 0o600)) }, []string{"tls", "a file"}},
		{"waiting set for all", func(d string) error {
			return errors.Join(os.Mkdir(filepath.Join(d, nextName), 0o755), os.Chmod(filepath.Join(d, nextName), 0o755))
		}, []string{nextName, "0755"}},
		{"waiting set behind a link", func(d string) error { return os.Symlink("/", filepath.Join(d, nextName)) }, []string{nextName, "symbolic link"}},
		{"huge", func(d string) error {
			return os.WriteFile(filepath.Join(d, certName), make([]byte, maxFileBytes+1), 0o600)
		}, []string{certName, "65536"}},
		{"no key", func(d string) error { return os.Remove(filepath.Join(d, keyName)) }, []string{keyName, "missing"}},
		{"no certificate", func(d string) error { return os.Remove(filepath.Join(d, certName)) }, []string{certName, "missing"}},
		{"no authorities", func(d string) error { return os.Remove(filepath.Join(d, authorityName)) }, []string{authorityName, "missing"}},
		{"two keys", func(d string) error { return repeat(filepath.Join(d, keyName)) }, []string{keyName, "PEM"}},
		{"another node's key", func(d string) error {
			_, other := saved(t, newTestSet(t, "y"))
			return os.Rename(filepath.Join(other, keyName), filepath.Join(d, keyName))
		}, []string{certName, keyName}},
		{"key in place of the certificate", func(d string) error {
			return errors.Join(os.Remove(filepath.Join(d, certName)), os.Link(filepath.Join(d, keyName), filepath.Join(d, certName)))
		}, []string{certName, "PEM"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, dir := saved(t, s)
			if err := tt.spoil(dir); err != nil {
				t.Fatal(err)
			}
			_, err := f.Load()
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				t.Fatalf("loaded: %v", err)
			}
			for _, want := range tt.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%v: it does not say %q", err, want)
				}
			}
			noKeyIn(t, err.Error(), s.key)
		})
	}
}

func repeat(path string) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, data...), 0o600)
}

func noKeyIn(t *testing.T, text string, key Key) {
	t.Helper()
	der, err := MarshalKey(key)
	if err != nil {
		t.Fatal(err)
	}
	if tells(text, scalarOf(t, key)) || strings.Contains(text, base64.StdEncoding.EncodeToString(der)[64:80]) {
		t.Errorf("the text shows the key: %d bytes", len(text))
	}
}

// CLU-23: files of another user are refused.
func TestLoadRefusesAnotherOwner(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("only root can give files away")
	}
	s := newTestSet(t, "x")
	for _, name := range []string{".", keyName, certName, authorityName} {
		f, dir := saved(t, s)
		if err := os.Chown(filepath.Join(dir, name), 4242, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := f.Load(); err == nil || !strings.Contains(err.Error(), "4242") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Save neither widens nor trusts a directory that others could use.
func TestSaveRefusesAnOpenDirectory(t *testing.T) {
	s := newTestSet(t, "x")
	f, dir := saved(t, s)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := newTestSet(t, "y").save(f); err == nil || !strings.Contains(err.Error(), "0755") {
		t.Errorf("%v", err)
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.Load(); err != nil || !s.is(stored) {
		t.Errorf("the old set is not there any more: %v", err)
	}
}

// A link in the place of a file is replaced; what it points to is not touched.
func TestSaveDoesNotFollowLinks(t *testing.T) {
	s := newTestSet(t, "x")
	f, dir := saved(t, s)
	outside := filepath.Join(t.TempDir(), "outside")
	if err := os.WriteFile(outside, []byte("mine"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, name := range names {
		if err := errors.Join(os.Remove(filepath.Join(dir, name)), os.Symlink(outside, filepath.Join(dir, name))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink(filepath.Dir(outside), filepath.Join(dir, writingName)); err != nil {
		t.Fatal(err)
	}
	if err := s.save(f); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.Load(); err != nil || !s.is(stored) {
		t.Errorf("%v", err)
	}
	if data, err := os.ReadFile(outside); err != nil || string(data) != "mine" {
		t.Errorf("outside: %q, %v", data, err)
	}
}

// CLU-23, CLU-32: a file that is cut off or has changed bytes is told by name, and never with what it holds.
func TestLoadDamagedFiles(t *testing.T) {
	s := newTestSet(t, "x")
	f, dir := saved(t, s)
	for _, name := range names {
		path := filepath.Join(dir, name)
		whole, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		check := func(what string, data []byte) {
			t.Helper()
			if err := os.WriteFile(path, data, 0o600); err != nil {
				t.Fatal(err)
			}
			stored, err := f.Load()
			if err == nil {
				// A certificate may be changed where only its signature tells.
				if _, err = NewCredentials(stored.Key, stored.Chain, stored.Authorities); err == nil && !bytes.Equal(stored.Chain[0], s.chain[0]) {
					t.Errorf("%s: %s: taken", name, what)
				}
				return
			}
			if !strings.Contains(err.Error(), name) {
				t.Errorf("%s: %s: %v: it does not name the file", name, what, err)
			}
			noKeyIn(t, err.Error(), s.key)
		}
		for n := range len(whole) {
			check(fmt.Sprintf("cut off at %d", n), whole[:n])
			if _, err := f.Load(); err == nil && name != certName {
				t.Errorf("%s: cut off at %d: loaded", name, n)
			}
		}
		for n := range len(whole) {
			changed := bytes.Clone(whole)
			changed[n] ^= 1
			check(fmt.Sprintf("bit flipped at %d", n), changed)
		}
		if err := os.WriteFile(path, whole, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if stored, err := f.Load(); err != nil || !s.is(stored) {
		t.Errorf("undamaged: %v", err)
	}
}
