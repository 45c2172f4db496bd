package raft

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
)

// A snapshot that goes to another peer is read from its file, and received into a file beside the
// log. Only when that stands, checked and durable, the message that announces it (MsgSnap, which
// carries no state) is given to [Peer.Receive].

const (
	receivedPrefix = "received-"
	partial        = ".part"
)

// ErrNoSnapshot: there is no such snapshot, because a newer one took its place or it was not received.
var ErrNoSnapshot = errors.New("no such snapshot")

// SnapshotFile names the bytes of one snapshot file. Peers write the same state under the same index
// and term, but not the same bytes of necessity: a transfer is resumed only if all fields agree.
type SnapshotFile struct {
	Index, Term uint64
	Size        int64  // bytes, all of the file
	CRC         uint32 // CRC-32C of all but the last 4 bytes, which hold it
}

// exchange is what goroutines other than the loop do with the snapshot files of one directory.
type exchange struct {
	dir    string
	noSync bool

	mu        sync.Mutex
	pins      map[string]int  // readers of each snapshot, by the name of the file
	receiving map[string]bool // files that have a writer
}

func newExchange(dir string, noSync bool) *exchange {
	return &exchange{dir: dir, noSync: noSync, pins: make(map[string]int), receiving: make(map[string]bool)}
}

// SnapshotReader reads a snapshot file that is not removed before Close.
type SnapshotReader struct {
	file *os.File
	info SnapshotFile
	free func()
}

// File names what is read.
func (r *SnapshotReader) File() SnapshotFile { return r.info }

func (r *SnapshotReader) Read(p []byte) (int, error) { return r.file.Read(p) }

// Seek sets where the next Read begins.
func (r *SnapshotReader) Seek(offset int64, whence int) (int64, error) {
	return r.file.Seek(offset, whence)
}

// Close ends the reading; a snapshot that has a successor is removed some time after it.
func (r *SnapshotReader) Close() error {
	r.free()
	return r.file.Close()
}

// open pins and opens a snapshot, after it was checked: what was damaged on disk must not be sent.
func (x *exchange) open(index, term uint64) (*SnapshotReader, error) {
	path := snapshotPath(x.dir, index, term)
	name := filepath.Base(path)
	x.mu.Lock()
	x.pins[name]++
	x.mu.Unlock()
	free := sync.OnceFunc(func() {
		x.mu.Lock()
		defer x.mu.Unlock()
		if x.pins[name]--; x.pins[name] == 0 {
			delete(x.pins, name)
		}
	})
	f, err := os.Open(path)
	if err != nil {
		free()
		if errors.Is(err, os.ErrNotExist) {
			return nil, fmt.Errorf("%w: index %d, term %d", ErrNoSnapshot, index, term)
		}
		return nil, onDisk("open", path, err)
	}
	r := &SnapshotReader{file: f, free: free}
	if r.info, err = identify(f, index, term); err != nil {
		return nil, onDisk("check", path, errors.Join(err, r.Close()))
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, onDisk("read", path, errors.Join(err, r.Close()))
	}
	return r, nil
}

// identify checks a whole snapshot file, which must be the one at an index and term.
func identify(f *os.File, index, term uint64) (SnapshotFile, error) {
	size, crc, err := checkSum(f)
	if err != nil {
		return SnapshotFile{}, err
	}
	if _, _, err := openBody(f, size, index, term); err != nil {
		return SnapshotFile{}, err
	}
	return SnapshotFile{Index: index, Term: term, Size: size, CRC: crc}, nil
}

// SnapshotWriter receives a snapshot file, perhaps in several parts: what was written stays when it is
// closed before Commit, and the next writer of the same file goes on at its Offset.
type SnapshotWriter struct {
	in     *exchange
	info   SnapshotFile
	file   *os.File
	offset int64
}

// receive begins or resumes a snapshot. What was received of another one before is dropped.
func (x *exchange) receive(info SnapshotFile) (*SnapshotWriter, error) {
	path := fmt.Sprintf("%s-%x-%08x%s", receivedPath(x.dir, info.Index, info.Term), info.Size, info.CRC, partial)
	name := filepath.Base(path)
	x.mu.Lock()
	defer x.mu.Unlock()
	if x.receiving[name] {
		return nil, fmt.Errorf("snapshot at index %d, term %d is being received already", info.Index, info.Term)
	}
	if err := x.dropParts(name); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, onDisk("create", path, err)
	}
	offset, err := f.Seek(0, io.SeekEnd)
	if err == nil && offset > info.Size {
		offset, err = 0, f.Truncate(0)
	}
	if err == nil {
		_, err = f.Seek(offset, io.SeekStart)
	}
	if err != nil {
		return nil, onDisk("open", path, errors.Join(err, f.Close()))
	}
	x.receiving[name] = true
	return &SnapshotWriter{in: x, info: info, file: f, offset: offset}, nil
}

// dropParts removes what was received of other snapshots and is not being received now.
func (x *exchange) dropParts(but string) error {
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return onDisk("list", x.dir, err)
	}
	for _, e := range entries {
		name := e.Name()
		part := strings.HasPrefix(name, receivedPrefix) && strings.HasSuffix(name, partial)
		if !part || name == but || x.receiving[name] {
			continue
		}
		if err := os.Remove(filepath.Join(x.dir, name)); err != nil {
			return onDisk("remove", filepath.Join(x.dir, name), err)
		}
	}
	return nil
}

// Offset is how many bytes are there already.
func (w *SnapshotWriter) Offset() int64 { return w.offset }

// Write adds bytes at the Offset. More than the size that was announced are refused.
func (w *SnapshotWriter) Write(p []byte) (int, error) {
	if int64(len(p)) > w.info.Size-w.offset {
		return 0, fmt.Errorf("%w: snapshot at index %d is longer than %d bytes", ErrCorrupt, w.info.Index, w.info.Size)
	}
	n, err := w.file.Write(p)
	w.offset += int64(n)
	if err != nil {
		return n, onDisk("write", w.file.Name(), err)
	}
	return n, nil
}

// Commit checks the whole file and makes it durable under its name; then the message that announces
// it can be given to [Peer.Receive]. A file that was damaged on the way is dropped, with an error that
// is an [ErrCorrupt]: it must be sent again from the beginning. Commit closes the writer.
func (w *SnapshotWriter) Commit() error {
	path := w.file.Name()
	got, err := identify(w.file, w.info.Index, w.info.Term)
	if err == nil && got != w.info {
		err = fmt.Errorf("%w: it is %+v, not %+v", ErrCorrupt, got, w.info)
	}
	if err != nil {
		err = fmt.Errorf("received snapshot at index %d, term %d: %w", w.info.Index, w.info.Term, err)
		return errors.Join(err, w.Close(), os.Remove(path))
	}
	if !w.in.noSync {
		if err := w.file.Sync(); err != nil {
			return onDisk("sync", path, errors.Join(err, w.Close()))
		}
	}
	if err := w.Close(); err != nil {
		return err
	}
	if err := os.Rename(path, receivedPath(w.in.dir, w.info.Index, w.info.Term)); err != nil {
		return onDisk("rename", path, err)
	}
	if w.in.noSync {
		return nil
	}
	return syncDir(w.in.dir)
}

// Close ends the receiving for now. It may be called after Commit.
func (w *SnapshotWriter) Close() error {
	if w.file == nil {
		return nil
	}
	path := w.file.Name()
	err := w.file.Close()
	w.file = nil
	w.in.mu.Lock()
	defer w.in.mu.Unlock()
	delete(w.in.receiving, filepath.Base(path))
	return onDisk("close", path, err)
}

// receivedPath is the file of a snapshot that came whole from another peer and is not installed yet.
func receivedPath(dir string, index, term uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x-%016x", receivedPrefix, index, term))
}

// arrived says whether a snapshot was received whole.
func (x *exchange) arrived(meta *raftpb.SnapshotMetadata) error {
	path := receivedPath(x.dir, meta.GetIndex(), meta.GetTerm())
	_, err := os.Stat(path)
	if errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("%w: index %d, term %d was not received", ErrNoSnapshot, meta.GetIndex(), meta.GetTerm())
	}
	return onDisk("open", path, err)
}

// adopt gives a received snapshot the name of one of this peer's own.
func (x *exchange) adopt(meta *raftpb.SnapshotMetadata) error {
	from := receivedPath(x.dir, meta.GetIndex(), meta.GetTerm())
	if err := os.Rename(from, snapshotPath(x.dir, meta.GetIndex(), meta.GetTerm())); err != nil {
		return onDisk("rename", from, err)
	}
	if x.noSync {
		return nil
	}
	return syncDir(x.dir)
}

// clean removes what is of no more use: snapshots that the log does not name and nobody reads, received
// ones that are not newer than the log's, and at a start files half written, which nobody writes then.
func (x *exchange) clean(index, term uint64, start bool) error {
	entries, err := os.ReadDir(x.dir)
	if err != nil {
		return onDisk("list", x.dir, err)
	}
	keep := ""
	if index > 0 {
		keep = filepath.Base(snapshotPath(x.dir, index, term))
	}
	x.mu.Lock()
	defer x.mu.Unlock()
	for _, e := range entries {
		name := e.Name()
		left := false
		switch {
		case strings.HasSuffix(name, temporary):
			left = start
		case strings.HasPrefix(name, snapshotPrefix):
			left = name != keep && x.pins[name] == 0
		case strings.HasPrefix(name, receivedPrefix):
			at, ok := receivedIndex(name)
			left = (!ok || at <= index) && !x.receiving[name]
		}
		if !left {
			continue
		}
		if err := os.Remove(filepath.Join(x.dir, name)); err != nil && !errors.Is(err, os.ErrNotExist) {
			return onDisk("remove", filepath.Join(x.dir, name), err)
		}
	}
	return nil
}

// receivedIndex reads the index out of the name of a received file.
func receivedIndex(name string) (uint64, bool) {
	rest := strings.TrimPrefix(name, receivedPrefix)
	if len(rest) < 16 {
		return 0, false
	}
	at, err := strconv.ParseUint(rest[:16], 16, 64)
	return at, err == nil
}
