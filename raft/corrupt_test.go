package raft

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// oldLog makes a directory with a snapshot, a log that reaches back before it, and entries after
// it, and returns the entries.
func oldLog(t *testing.T, dir string) []string {
	t.Helper()
	cfg := Config{Dir: dir, ID: 1, SnapshotEntries: 40, KeepEntries: 10, NoSync: true}
	j := &journal{}
	p := mustOpen(t, cfg, j)
	proposeUntilSnapshot(t, p)
	for _, data := range numbered("after the snapshot, long enough for several pages", 60) {
		mustPropose(t, p, data)
	}
	mustClose(t, p)
	p = mustOpen(t, cfg, &journal{}) // one more term, to have pages that were used again
	mustClose(t, p)
	return j.all()
}

// reopen opens a damaged copy. It reports whether the peer refused to start, or stopped, with an
// error that names the file; anything but that or exactly the right entries fails the test.
func reopen(t *testing.T, dir, path, what string, want []string) (refused bool) {
	t.Helper()
	j := &journal{}
	p, err := Open(Config{Dir: dir, ID: 1, NoSync: true}, j)
	if err == nil {
		for l := range p.Leadership() {
			if l.Leader {
				break
			}
		}
		if cerr := p.Close(); cerr != nil {
			t.Errorf("%s: close: %v", what, cerr)
		}
		err = p.Err()
	}
	if err != nil {
		var disk *DiskError
		if !errors.As(err, &disk) || disk.Path != path {
			t.Errorf("%s: error %v, want a DiskError about %s", what, err, path)
		}
		return true
	}
	if !slices.Equal(j.all(), want) {
		t.Errorf("%s: %d entries, want %d: nobody noticed", what, len(j.all()), len(want))
	}
	return false
}

// copyDir copies the files of a directory into a new one.
func copyDir(t *testing.T, from string) string {
	t.Helper()
	to := t.TempDir()
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	return to
}

// Whatever byte of the log is damaged, the peer stops with the file's name or the byte meant
// nothing: it never goes on with other data. CLU-32
func TestDamagedLog(t *testing.T) {
	good := t.TempDir()
	want := oldLog(t, good)
	data, err := os.ReadFile(filepath.Join(good, logName))
	if err != nil {
		t.Fatal(err)
	}
	dir := copyDir(t, good)
	path := filepath.Join(dir, logName)
	const seed = 1
	r := rand.New(rand.NewPCG(seed, seed))
	page := os.Getpagesize()
	tries, refused := 0, 0
	for at := 0; at < len(data); {
		for _, flip := range []byte{0x01, 0xff} {
			damaged := slices.Clone(data)
			damaged[at] ^= flip
			if err := os.WriteFile(path, damaged, 0o600); err != nil {
				t.Fatal(err)
			}
			tries++
			if reopen(t, dir, path, fmt.Sprintf("byte %d of %d ^ %#x", at, len(data), flip), want) {
				refused++
			}
		}
		// All of the headers and the first elements, samples of the rest.
		if in := at % page; in < 96 {
			at++
		} else {
			at += 1 + r.IntN(300)
		}
	}
	t.Logf("%d of %d damages refused", refused, tries)
	if refused < tries/20 {
		t.Errorf("only %d of %d damages were refused", refused, tries)
	}
}

// A lost or half-written page, a file that is cut off, and an older version of a page. CLU-32
func TestDamagedPages(t *testing.T) {
	good := t.TempDir()
	want := oldLog(t, good)
	data, err := os.ReadFile(filepath.Join(good, logName))
	if err != nil {
		t.Fatal(err)
	}
	dir := copyDir(t, good)
	path := filepath.Join(dir, logName)
	page := os.Getpagesize()
	refused := 0
	try := func(what string, damaged []byte) bool {
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		hit := reopen(t, dir, path, what, want)
		if hit {
			refused++
		}
		return hit
	}
	for at := 0; at < len(data); at += page {
		zeroed := slices.Clone(data)
		clear(zeroed[at : at+page])
		try(fmt.Sprintf("page %d zeroed", at/page), zeroed)
		half := slices.Clone(data)
		clear(half[at+page/2 : at+page])
		try(fmt.Sprintf("page %d half zeroed", at/page), half)
		swapped := slices.Clone(data)
		other := (at + 3*page) % len(data)
		copy(swapped[at:at+page], data[other:other+page])
		try(fmt.Sprintf("page %d overwritten with page %d", at/page, other/page), swapped)
		if at == 0 {
			continue
		}
		try(fmt.Sprintf("cut off at page %d", at/page), data[:at])
		try(fmt.Sprintf("cut off in page %d", at/page), data[:at+page/3])
	}
	for _, small := range []int{1, 100, page - 1, page, page + 50} {
		if !try(fmt.Sprintf("cut to %d bytes", small), data[:small]) {
			t.Errorf("a log of %d bytes was accepted", small)
		}
	}
	if refused < 20 {
		t.Errorf("only %d damages were refused", refused)
	}
	if !try("empty", nil) {
		t.Error("an empty log was accepted")
	}
}

// Any damage to a snapshot is noticed before the state machine sees it. CLU-32
func TestDamagedSnapshot(t *testing.T) {
	good := t.TempDir()
	oldLog(t, good)
	dir := copyDir(t, good)
	path := snapshotFiles(t, dir)[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	try := func(what string, damaged []byte) {
		t.Helper()
		if err := os.WriteFile(path, damaged, 0o600); err != nil {
			t.Fatal(err)
		}
		j := &journal{}
		_, err := Open(Config{Dir: dir, ID: 1, NoSync: true}, j)
		var disk *DiskError
		if !errors.As(err, &disk) || disk.Path != path || !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: error %v, want corruption of %s", what, err, path)
		}
		if len(j.all()) > 0 {
			t.Errorf("%s: the state machine got %v", what, j.all())
		}
	}
	for at := range data {
		damaged := slices.Clone(data)
		damaged[at] ^= 0x10
		try(fmt.Sprintf("byte %d of %d", at, len(data)), damaged)
	}
	for n := 0; n < len(data); n += 1 + len(data)/50 {
		try(fmt.Sprintf("cut to %d bytes", n), data[:n])
	}
	try("bytes after the end", append(slices.Clone(data), 0))
	// A snapshot of another index under this name.
	other := t.TempDir()
	p := mustOpen(t, Config{Dir: other, ID: 1, SnapshotEntries: 3, NoSync: true}, &journal{})
	proposeUntilSnapshot(t, p)
	mustClose(t, p)
	if data, err = os.ReadFile(snapshotFiles(t, other)[0]); err != nil {
		t.Fatal(err)
	}
	try("another snapshot", data)
}

// An entry whose content does not match its checksum is noticed also while running. CLU-32
func TestDamagedEntryWhileRunning(t *testing.T) {
	dir := t.TempDir()
	cfg, err := Config{Dir: dir, ID: 1, NoSync: true}.withDefaults()
	if err != nil {
		t.Fatal(err)
	}
	l, err := openLog(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := l.close(); err != nil {
			t.Error(err)
		}
	}()
	err = l.db.Update(func(tx *bbolt.Tx) error {
		bucket := tx.Bucket(entryBucket)
		value := slices.Clone(bucket.Get(entryKey(1)))
		value[len(value)-1] ^= 1
		return bucket.Put(entryKey(1), value)
	})
	if err != nil {
		t.Fatal(err)
	}
	l.tail = nil
	if _, err = l.Entries(1, 2, 1<<20); err == nil {
		t.Fatal("a damaged entry was read")
	}
	wantDiskError(t, err, ErrCorrupt, l.path)
	// From then on nothing else works.
	if _, again := l.Term(1); again != err {
		t.Errorf("term: %v, want %v", again, err)
	}
	if again := l.Save(nil, nil, true); again != err {
		t.Errorf("save: %v, want %v", again, err)
	}
}

func FuzzCheckPages(f *testing.F) {
	dir := f.TempDir()
	path := filepath.Join(dir, "db")
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{PageSize: 1024, NoFreelistSync: true})
	if err != nil {
		f.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		for _, name := range []string{"small", "large"} {
			b, err := tx.CreateBucket([]byte(name))
			if err != nil {
				return err
			}
			for i := range 40 {
				if name == "small" && i > 2 {
					break
				}
				if err := b.Put(entryKey(uint64(i)), make([]byte, 10*i)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		f.Fatal(err)
	}
	if err := db.Close(); err != nil {
		f.Fatal(err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		f.Fatal(err)
	}
	if err := checkPages(bytes.NewReader(data), int64(len(data))); err != nil {
		f.Fatalf("a good file: %v", err)
	}
	f.Add(data, uint16(0), byte(0))
	f.Add(data, uint16(1024+8), byte(1))
	f.Add(data[:3000], uint16(2048), byte(255))
	f.Fuzz(func(t *testing.T, data []byte, at uint16, flip byte) {
		if int(at) < len(data) {
			data = slices.Clone(data)
			data[at] ^= flip
		}
		if err := checkPages(bytes.NewReader(data), int64(len(data))); err != nil {
			return
		}
		// What was found good can be walked by bbolt.
		path := filepath.Join(t.TempDir(), "db")
		if err := os.WriteFile(path, data, 0o600); err != nil {
			t.Fatal(err)
		}
		db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoFreelistSync: true, NoSync: true})
		if err != nil {
			t.Fatalf("open: %v", err)
		}
		err = db.View(func(tx *bbolt.Tx) error {
			for err := range tx.Check() {
				t.Errorf("check: %v", err)
			}
			return nil
		})
		if err != nil {
			t.Errorf("view: %v", err)
		}
		if err := db.Close(); err != nil {
			t.Errorf("close: %v", err)
		}
	})
}
