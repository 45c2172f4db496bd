package raft

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

const (
	snapshotMagic  = "clusterd snapshot 1\n"
	snapshotPrefix = "snapshot-"
	temporary      = ".tmp"
	// maxHeaderBytes bounds what a damaged length can make a reader allocate.
	maxHeaderBytes = 1 << 20
	crcBytes       = 4
)

// castagnoli is the polynomial with hardware support. It is made at its first use: every re-execution of
// this program as a container's shim would spend the time otherwise.
var castagnoli = sync.OnceValue(func() *crc32.Table { return crc32.MakeTable(crc32.Castagnoli) })

// errCancelled ends the writing of a snapshot when the peer is closed.
var errCancelled = errors.New("snapshot cancelled")

// snapshotPath is the file of the snapshot at an index.
func snapshotPath(dir string, index, term uint64) string {
	return filepath.Join(dir, fmt.Sprintf("%s%016x-%016x", snapshotPrefix, index, term))
}

// writeSnapshot writes a snapshot file: aside, synced, renamed, the directory synced. When it
// returns without an error the snapshot is durable. A closed stop ends it early.
func writeSnapshot(dir string, meta *raftpb.SnapshotMetadata, body func(io.Writer) error, noSync bool, stop <-chan struct{}) (err error) {
	path := snapshotPath(dir, meta.GetIndex(), meta.GetTerm())
	header, err := proto.Marshal(meta)
	if err != nil {
		return fmt.Errorf("encode snapshot header: %w", err)
	}
	return writeAside(path, noSync, func(f io.Writer) error {
		buffered := bufio.NewWriterSize(f, 256<<10)
		w := &snapshotWriter{w: buffered, crc: crc32.New(castagnoli()), stop: stop}
		if _, err := io.WriteString(w, snapshotMagic); err != nil {
			return err
		}
		if _, err := w.Write(append(binary.AppendUvarint(nil, uint64(len(header))), header...)); err != nil {
			return err
		}
		if err := body(w); err != nil {
			return err
		}
		if _, err := buffered.Write(binary.BigEndian.AppendUint32(nil, w.crc.Sum32())); err != nil {
			return err
		}
		return buffered.Flush()
	})
}

// writeAside makes a file with all of its content or not at all.
func writeAside(path string, noSync bool, write func(io.Writer) error) (err error) {
	aside := path + temporary
	f, err := os.OpenFile(aside, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return onDisk("create", aside, err)
	}
	defer func() {
		if err != nil {
			// The half-written file is of no use; if it stays, the next start removes it.
			_ = f.Close()
			_ = os.Remove(aside)
		}
	}()
	if err := write(f); err != nil {
		return onDisk("write", aside, err)
	}
	if !noSync {
		if err := f.Sync(); err != nil {
			return onDisk("sync", aside, err)
		}
	}
	if err := f.Close(); err != nil {
		return onDisk("close", aside, err)
	}
	if err := os.Rename(aside, path); err != nil {
		return onDisk("rename", aside, err)
	}
	if noSync {
		return nil
	}
	return syncDir(filepath.Dir(path))
}

// snapshotWriter sums what is written through it.
type snapshotWriter struct {
	w    io.Writer
	crc  hash.Hash32
	stop <-chan struct{}
}

func (w *snapshotWriter) Write(p []byte) (int, error) {
	select {
	case <-w.stop:
		return 0, errCancelled
	default:
	}
	n, err := w.w.Write(p)
	w.crc.Write(p[:n]) // a hash never fails
	return n, err
}

// readSnapshot checks a whole snapshot file, which must be the one at an index and term, and then gives
// its header and its body to read.
func readSnapshot(path string, index, term uint64, read func(*raftpb.SnapshotMetadata, io.Reader) error) error {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return onDisk("open", path, fmt.Errorf("%w: the log needs this snapshot: %w", ErrCorrupt, err))
	}
	if err != nil {
		return onDisk("open", path, err)
	}
	defer f.Close() // only read
	size, _, err := checkSum(f)
	if err != nil {
		return onDisk("check", path, err)
	}
	meta, body, err := openBody(f, size, index, term)
	if err != nil {
		return onDisk("read", path, err)
	}
	if err := read(meta, body); err != nil {
		return onDisk("restore", path, err)
	}
	return nil
}

// checkSum compares the checksum at the end of a snapshot with its content. It returns the size and
// the checksum.
func checkSum(f *os.File) (size int64, sum uint32, err error) {
	info, err := f.Stat()
	if err != nil {
		return 0, 0, err
	}
	size = info.Size()
	if size < int64(len(snapshotMagic))+1+crcBytes {
		return 0, 0, fmt.Errorf("%w: %d bytes are too few", ErrCorrupt, size)
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return 0, 0, err
	}
	crc := crc32.New(castagnoli())
	if _, err := io.CopyN(crc, f, size-crcBytes); err != nil {
		return 0, 0, err
	}
	tail := make([]byte, crcBytes)
	if _, err := io.ReadFull(f, tail); err != nil {
		return 0, 0, err
	}
	sum = binary.BigEndian.Uint32(tail)
	if sum != crc.Sum32() {
		return 0, 0, fmt.Errorf("%w: checksum is %08x, of the content %08x", ErrCorrupt, sum, crc.Sum32())
	}
	return size, sum, nil
}

// openBody reads the header of a snapshot whose checksum was right, and checks that it is the one at
// an index and term. The body follows.
func openBody(f *os.File, size int64, index, term uint64) (*raftpb.SnapshotMetadata, io.Reader, error) {
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, nil, err
	}
	meta, body, err := splitSnapshot(io.LimitReader(f, size-crcBytes))
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		err = fmt.Errorf("%w: it ends in its header", ErrCorrupt)
	}
	if err != nil {
		return nil, nil, err
	}
	if meta.GetIndex() != index || meta.GetTerm() != term {
		return nil, nil, fmt.Errorf("%w: it is the snapshot at index %d of term %d", ErrCorrupt, meta.GetIndex(), meta.GetTerm())
	}
	return meta, body, nil
}

// splitSnapshot reads the header of a snapshot whose checksum was right; the body follows.
func splitSnapshot(r io.Reader) (*raftpb.SnapshotMetadata, io.Reader, error) {
	in := bufio.NewReaderSize(r, 256<<10)
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in, magic); err != nil {
		return nil, nil, err
	}
	if string(magic) != snapshotMagic {
		return nil, nil, fmt.Errorf("%w: it does not begin with %q", ErrCorrupt, strings.TrimSpace(snapshotMagic))
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return nil, nil, err
	}
	if n > maxHeaderBytes {
		return nil, nil, fmt.Errorf("%w: header of %d bytes", ErrCorrupt, n)
	}
	header := make([]byte, n)
	if _, err := io.ReadFull(in, header); err != nil {
		return nil, nil, err
	}
	meta := &raftpb.SnapshotMetadata{}
	if err := proto.Unmarshal(header, meta); err != nil {
		return nil, nil, fmt.Errorf("%w: header: %w", ErrCorrupt, err)
	}
	return raftpb.EnsureSnapshotMetadata(meta), in, nil
}
