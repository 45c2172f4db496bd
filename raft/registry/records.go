package registry

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"io"
)

// Read reads a snapshot to its end. The error wraps [ErrCorrupt] if the bytes are not exactly what
// [State.Write] wrote, and is a [*NewerError] if they hold what this version does not know (CLU-38).
func Read(r io.Reader) (*State, error) {
	var loaded loader
	if err := readSealed(r, "registry snapshot", snapshotMagic, loaded.record); err != nil {
		return nil, err
	}
	return loaded.state()
}

// readSealed reads a stream that begins with a line and is sealed, and gives its records to each. The
// bytes of a record are good until the next one.
func readSealed(r io.Reader, what, magic string, each func(data []byte) error) error {
	h := sha256.New()
	in := &hashed{r: bufio.NewReaderSize(r, 64<<10), h: h, what: what}
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(in, begin); err != nil {
		return in.wrap("header", err)
	}
	if string(begin) != magic {
		return fmt.Errorf("%w: header of the %s is not %q", ErrCorrupt, what, magic)
	}
	var buf bytes.Buffer
	for {
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return in.wrap("record length", err)
		}
		if size == 0 {
			break
		}
		if size > maxRecordBytes {
			return fmt.Errorf("%w: record of %d bytes", ErrCorrupt, size)
		}
		buf.Reset()
		if _, err := io.CopyN(&buf, in, int64(size)); err != nil {
			return in.wrap("record", err)
		}
		if err := each(buf.Bytes()); err != nil {
			return err
		}
	}
	want := h.Sum(nil)
	sum := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, sum); err != nil {
		return in.wrap("checksum", err)
	}
	if !bytes.Equal(sum, want) {
		return fmt.Errorf("%w: checksum is %x, of the content %x", ErrCorrupt, sum, want)
	}
	switch _, err := in.ReadByte(); {
	case err == nil:
		return fmt.Errorf("%w: bytes after the checksum", ErrCorrupt)
	case err != io.EOF:
		return in.wrap("end", err)
	}
	return nil
}

// hashed is a reader that hashes what is read through it.
type hashed struct {
	what string
	r    *bufio.Reader
	h    io.Writer
	err  error // of r, other than its end
}

func (r *hashed) Read(p []byte) (int, error) {
	n, err := r.r.Read(p)
	r.h.Write(p[:n]) // a hash never fails
	r.note(err)
	return n, err
}

func (r *hashed) ReadByte() (byte, error) {
	b, err := r.r.ReadByte()
	if err == nil {
		r.h.Write([]byte{b})
	}
	r.note(err)
	return b, err
}

func (r *hashed) note(err error) {
	if err != nil && err != io.EOF {
		r.err = err
	}
}

// wrap makes corruption of an error, unless it came from the reader.
func (r *hashed) wrap(part string, err error) error {
	if r.err != nil {
		return fmt.Errorf("read %s: %s: %w", r.what, part, r.err)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, part, err)
}
