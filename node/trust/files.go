package trust

import (
	"bytes"
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

const (
	keyName       = "node.key"
	certName      = "node.crt"
	authorityName = "ca.crt"

	nextName    = "next"
	writingName = "next.tmp"

	keyBlock  = "PRIVATE KEY"
	certBlock = "CERTIFICATE"

	maxFileBytes = 64 << 10
	maxCerts     = 16
)

var names = []string{keyName, certName, authorityName}

// Files is the directory of a node's key and certificates (CLU-23). One process at a time uses it, and
// one goroutine of that.
type Files struct {
	dir string
	// Called before each change of the file system; an error ends Save there, as a crash would.
	before func(step string) error
}

// Stored is what the files hold.
type Stored struct {
	Key         Key
	Chain       [][]byte // DER, the node's own first
	Authorities [][]byte // DER, the issuing one first
}

// NewFiles are the files in this directory, which Save makes if there is none.
func NewFiles(dir string) *Files {
	return &Files{dir: dir, before: func(string) error { return nil }}
}

// Load reads the files. The error is fs.ErrNotExist if nothing was saved yet. It changes nothing.
func (f *Files) Load() (*Stored, error) {
	if err := checkDir(f.dir); err != nil {
		return nil, err
	}
	complete := false
	if err := checkDir(filepath.Join(f.dir, nextName)); err == nil {
		complete = true
	} else if !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	contents := make(map[string][]byte)
	missing := ""
	for _, name := range names {
		data, err := f.read(name, complete)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			missing = name
		case err != nil:
			return nil, err
		default:
			contents[name] = data
		}
	}
	if len(contents) == 0 {
		return nil, fmt.Errorf("%s: no key yet: %w", f.dir, fs.ErrNotExist)
	}
	if missing != "" {
		return nil, fmt.Errorf("%s is missing, but other files of its set are there: restore it, or empty the directory and join again as a new node", filepath.Join(f.dir, missing))
	}
	return f.parse(contents)
}

// read gives the content of a file: of the set that waits to be moved into place, if that has it.
func (f *Files) read(name string, complete bool) ([]byte, error) {
	if complete {
		data, err := readFile(filepath.Join(f.dir, nextName, name))
		if !errors.Is(err, fs.ErrNotExist) {
			return data, err
		}
	}
	return readFile(filepath.Join(f.dir, name))
}

func (f *Files) parse(contents map[string][]byte) (*Stored, error) {
	s := &Stored{}
	var err error
	if s.Key, err = parseKeyFile(contents[keyName]); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.dir, keyName), err)
	}
	if s.Chain, err = parseCertFile(contents[certName]); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.dir, certName), err)
	}
	if s.Authorities, err = parseCertFile(contents[authorityName]); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(f.dir, authorityName), err)
	}
	if cert, err := x509.ParseCertificate(s.Chain[0]); err != nil || !samePublic(cert.PublicKey, s.Key.Public()) {
		return nil, fmt.Errorf("%s: it does not belong to the key in %s", filepath.Join(f.dir, certName), keyName)
	}
	return s, nil
}

// Save writes key and certificates durably, as a whole or not at all. They are what NewCredentials
// takes, or what Credentials tells of itself.
func (f *Files) Save(key crypto.Signer, chainDER, authoritiesDER [][]byte) error {
	if _, err := ownCertificate(key, chainDER); err != nil {
		return err
	}
	if _, _, err := parseAuthorities(authoritiesDER); err != nil {
		return err
	}
	keyDER, err := MarshalKey(key)
	if err != nil {
		return err
	}
	contents := map[string][]byte{
		keyName:       pem.EncodeToMemory(&pem.Block{Type: keyBlock, Bytes: keyDER}),
		certName:      encodeCerts(chainDER),
		authorityName: encodeCerts(authoritiesDER),
	}
	if err := f.makeDir(); err != nil {
		return err
	}
	if err := f.moveIntoPlace(); err != nil { // what an earlier Save has left
		return err
	}
	if err := f.writeNext(contents); err != nil {
		return err
	}
	return f.moveIntoPlace()
}

func encodeCerts(ders [][]byte) []byte {
	var b bytes.Buffer
	for _, der := range ders {
		b.Write(pem.EncodeToMemory(&pem.Block{Type: certBlock, Bytes: der}))
	}
	return b.Bytes()
}

// makeDir makes the directory if there is none. One that is there is not changed, but must be as it
// should: whoever could read it before may have done so.
func (f *Files) makeDir() error {
	err := checkDir(f.dir)
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := f.step("make directory", func() error { return os.Mkdir(f.dir, 0o700) }); err != nil {
		return err
	}
	return f.syncDir(filepath.Dir(f.dir))
}

// writeNext writes the whole set aside, and makes it count by the rename at the end.
func (f *Files) writeNext(contents map[string][]byte) error {
	writing := filepath.Join(f.dir, writingName)
	if err := f.step("remove "+writingName, func() error { return os.RemoveAll(writing) }); err != nil {
		return err
	}
	if err := f.step("make "+writingName, func() error { return os.Mkdir(writing, 0o700) }); err != nil {
		return err
	}
	for _, name := range names {
		if err := f.step("write "+name, func() error { return writeFile(filepath.Join(writing, name), contents[name]) }); err != nil {
			return err
		}
	}
	if err := f.syncDir(writing); err != nil {
		return err
	}
	if err := f.step("rename "+writingName, func() error { return os.Rename(writing, filepath.Join(f.dir, nextName)) }); err != nil {
		return err
	}
	return f.syncDir(f.dir)
}

// moveIntoPlace moves the files of a complete set to where they belong. It may be repeated.
func (f *Files) moveIntoPlace() error {
	next := filepath.Join(f.dir, nextName)
	switch err := checkDir(next); {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	}
	for _, name := range names {
		err := f.step("move "+name, func() error { return os.Rename(filepath.Join(next, name), filepath.Join(f.dir, name)) })
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	if err := f.syncDir(f.dir); err != nil {
		return err
	}
	if err := f.step("remove "+nextName, func() error { return os.Remove(next) }); err != nil {
		return err
	}
	return f.syncDir(f.dir)
}

func (f *Files) step(what string, do func() error) error {
	if err := f.before(what); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if err := do(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	return nil
}

func (f *Files) syncDir(dir string) error {
	return f.step("sync "+filepath.Base(dir), func() error {
		d, err := os.Open(dir)
		if err != nil {
			return err
		}
		return errors.Join(d.Sync(), d.Close())
	})
}

func writeFile(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	return errors.Join(err, f.Sync(), f.Close())
}

// checkDir tells whether a directory is this user's alone.
func checkDir(dir string) error {
	info, err := os.Lstat(dir)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s: it is not a directory but %s", dir, kind(info.Mode()))
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("%s: its mode is %#o, so that others than its owner can get in: 0700 is allowed; make new keys if somebody was there", dir, mode)
	}
	return checkOwner(dir, info)
}

// readFile reads a small file that is this user's alone. All is checked on the open file.
func readFile(path string) ([]byte, error) {
	// Without O_NONBLOCK the open of a named pipe would wait for a writer.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, syscall.ELOOP) {
		return nil, fmt.Errorf("%s: it is a symbolic link: a file is needed", path)
	}
	if err != nil {
		return nil, err
	}
	defer f.Close() // only read
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%s: it is not a file but %s", path, kind(info.Mode()))
	}
	if mode := info.Mode().Perm(); mode&0o177 != 0 {
		return nil, fmt.Errorf("%s: its mode is %#o, so that others than its owner can use it: 0600 is allowed; make new keys if somebody did", path, mode)
	}
	if err := checkOwner(path, info); err != nil {
		return nil, err
	}
	data, err := io.ReadAll(io.LimitReader(f, maxFileBytes+1))
	if err == nil && len(data) > maxFileBytes {
		err = fmt.Errorf("%s: it has more than %d bytes", path, maxFileBytes)
	}
	return data, err
}

func checkOwner(path string, info fs.FileInfo) error {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return fmt.Errorf("%s: its owner cannot be known", path)
	}
	if own := os.Geteuid(); int(stat.Uid) != own {
		return fmt.Errorf("%s: it belongs to user %d, but this process runs as user %d: change the one or the other", path, stat.Uid, own)
	}
	return nil
}

func kind(mode fs.FileMode) string {
	switch mode.Type() {
	case fs.ModeDir:
		return "a directory"
	case fs.ModeSymlink:
		return "a symbolic link"
	case fs.ModeNamedPipe:
		return "a named pipe"
	case fs.ModeSocket:
		return "a socket"
	case 0:
		return "a file"
	default:
		return "a device"
	}
}

var errNotPEM = errors.New("it is not PEM as clusterd has written it: it is damaged or cut off")

// parseKeyFile reads one private key, and nothing else.
func parseKeyFile(data []byte) (Key, error) {
	block, rest := pem.Decode(data)
	if block == nil || block.Type != keyBlock || len(block.Headers) != 0 || !bytes.Equal(pem.EncodeToMemory(block), data) || len(rest) != 0 {
		return Key{}, errNotPEM
	}
	return ParseKey(block.Bytes)
}

// parseCertFile reads one certificate or more, and nothing else.
func parseCertFile(data []byte) ([][]byte, error) {
	var certs [][]byte
	for rest := data; len(rest) > 0; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil || block.Type != certBlock || len(certs) == maxCerts {
			return nil, errNotPEM
		}
		if _, err := x509.ParseCertificate(block.Bytes); err != nil {
			return nil, err
		}
		certs = append(certs, block.Bytes)
	}
	if len(certs) == 0 || !bytes.Equal(encodeCerts(certs), data) {
		return nil, errNotPEM
	}
	return certs, nil
}
