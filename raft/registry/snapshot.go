package registry

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"

	"google.golang.org/protobuf/proto"
)

const (
	snapshotMagic = "clusterd registry 1\n"
	// recordEntries is how many entries of one list a record holds. The hash of a state depends on
	// it: peers of different versions must agree.
	recordEntries = 64
	// maxRecordBytes bounds what a damaged length can make a reader allocate.
	maxRecordBytes = 1 << 30
)

// ErrCorrupt says that a snapshot is damaged. Nothing of it was used.
var ErrCorrupt = errors.New("registry snapshot is corrupt")

// Hash is the SHA-256 of the state in hexadecimal. States are equal if and only if their hashes
// are. It costs as much as writing a snapshot.
func (s *State) Hash() string {
	h := sha256.New()
	// A hash takes every write, and messages that were decoded can be encoded.
	if err := s.writeRecords(h); err != nil {
		panic("registry: hash of the state: " + err.Error())
	}
	return hex.EncodeToString(h.Sum(nil))
}

// Write writes a snapshot of the state. It returns the first error of w.
func (s *State) Write(w io.Writer) error {
	h := sha256.New()
	buffered := bufio.NewWriterSize(w, 64<<10)
	if err := s.writeRecords(io.MultiWriter(buffered, h)); err != nil {
		return fmt.Errorf("write registry snapshot: %w", err)
	}
	if _, err := buffered.Write(h.Sum(nil)); err != nil {
		return fmt.Errorf("write registry snapshot: %w", err)
	}
	if err := buffered.Flush(); err != nil {
		return fmt.Errorf("write registry snapshot: %w", err)
	}
	return nil
}

func (s *State) writeRecords(w io.Writer) error {
	if _, err := io.WriteString(w, snapshotMagic); err != nil {
		return err
	}
	r := recorder{w: w, part: &Snapshot{MasterId: proto.String(s.master), Index: proto.Uint64(s.index)}}
	r.flush()
	for _, agent := range s.agents.all() {
		r.part.Agents = append(r.part.Agents, agent)
		r.added()
	}
	r.flush()
	for _, agent := range s.unreachable.all() {
		r.part.Unreachable = append(r.part.Unreachable, agent)
		r.added()
	}
	r.flush()
	for id, time := range s.gone.all() {
		r.part.Gone = append(r.part.Gone, goneRecord(id, time))
		r.added()
	}
	r.flush()
	for _, framework := range s.frameworks.all() {
		r.part.Frameworks = append(r.part.Frameworks, framework)
		r.added()
	}
	r.flush()
	for id, removal := range s.removed.all() {
		r.part.RemovedFrameworks = append(r.part.RemovedFrameworks, removedRecord(id, removal))
		r.added()
	}
	r.flush()
	if r.err != nil {
		return r.err
	}
	_, err := w.Write([]byte{0})
	return err
}

// recorder cuts the state into records; it keeps the first error.
type recorder struct {
	w    io.Writer
	part *Snapshot
	n    int
	buf  []byte
	err  error
}

// added counts one entry and ends the record when it is full.
func (r *recorder) added() {
	if r.n++; r.n == recordEntries {
		r.flush()
	}
}

func (r *recorder) flush() {
	if r.err == nil && proto.Size(r.part) > 0 {
		r.buf, r.err = proto.MarshalOptions{Deterministic: true, AllowPartial: true}.MarshalAppend(r.buf[:0], r.part)
		if r.err == nil {
			_, r.err = r.w.Write(binary.AppendUvarint(nil, uint64(len(r.buf))))
		}
		if r.err == nil {
			_, r.err = r.w.Write(r.buf)
		}
	}
	r.part, r.n = &Snapshot{}, 0
}

// Read reads a snapshot to its end. The error wraps [ErrCorrupt] if the bytes are not exactly what
// [State.Write] wrote.
func Read(r io.Reader) (*State, error) {
	h := sha256.New()
	in := &hashed{r: bufio.NewReaderSize(r, 64<<10), h: h}
	magic := make([]byte, len(snapshotMagic))
	if _, err := io.ReadFull(in, magic); err != nil {
		return nil, in.wrap("header", err)
	}
	if string(magic) != snapshotMagic {
		return nil, fmt.Errorf("%w: header is not %q", ErrCorrupt, snapshotMagic)
	}
	var (
		loaded loader
		buf    bytes.Buffer
	)
	for {
		size, err := binary.ReadUvarint(in)
		if err != nil {
			return nil, in.wrap("record length", err)
		}
		if size == 0 {
			break
		}
		if size > maxRecordBytes {
			return nil, fmt.Errorf("%w: record of %d bytes", ErrCorrupt, size)
		}
		buf.Reset()
		if _, err := io.CopyN(&buf, in, int64(size)); err != nil {
			return nil, in.wrap("record", err)
		}
		part := &Snapshot{}
		if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(buf.Bytes(), part); err != nil {
			return nil, fmt.Errorf("%w: record: %w", ErrCorrupt, err)
		}
		if err := loaded.add(part); err != nil {
			return nil, err
		}
	}
	want := h.Sum(nil)
	sum := make([]byte, sha256.Size)
	if _, err := io.ReadFull(in, sum); err != nil {
		return nil, in.wrap("checksum", err)
	}
	if !bytes.Equal(sum, want) {
		return nil, fmt.Errorf("%w: checksum is %x, of the content %x", ErrCorrupt, sum, want)
	}
	if _, err := in.ReadByte(); err != io.EOF {
		return nil, fmt.Errorf("%w: bytes after the checksum", ErrCorrupt)
	}
	return loaded.state()
}

// hashed is a reader that hashes what is read through it.
type hashed struct {
	r   *bufio.Reader
	h   io.Writer
	err error // of r, other than its end
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
func (r *hashed) wrap(what string, err error) error {
	if r.err != nil {
		return fmt.Errorf("read registry snapshot: %s: %w", what, r.err)
	}
	return fmt.Errorf("%w: %s: %w", ErrCorrupt, what, err)
}

// loader puts the records of a snapshot together again.
type loader struct {
	master      string
	index       uint64
	agents      builder[*Snapshot_Agent]
	unreachable builder[*Snapshot_Unreachable]
	gone        builder[int64]
	frameworks  builder[*Snapshot_Framework]
	removed     builder[removal]
}

func (l *loader) add(part *Snapshot) error {
	if part.MasterId != nil {
		l.master = part.GetMasterId()
	}
	if part.Index != nil {
		l.index = part.GetIndex()
	}
	ok := true
	for _, agent := range part.GetAgents() {
		ok = ok && l.agents.add(agent.GetInfo().GetId().GetValue(), agent)
	}
	for _, agent := range part.GetUnreachable() {
		ok = ok && l.unreachable.add(agent.GetInfo().GetId().GetValue(), agent)
	}
	for _, agent := range part.GetGone() {
		ok = ok && l.gone.add(agent.GetAgentId().GetValue(), agent.GetTime())
	}
	for _, framework := range part.GetFrameworks() {
		ok = ok && l.frameworks.add(framework.GetInfo().GetId().GetValue(), framework)
	}
	for _, r := range part.GetRemovedFrameworks() {
		ok = ok && l.removed.add(r.GetFrameworkId().GetValue(), newRemoval(r.GetTime(), r.GetCause()))
	}
	if !ok {
		return fmt.Errorf("%w: entries are not in the order of their ids", ErrCorrupt)
	}
	return nil
}

// state returns the whole, checked: an id is in one list only and is not empty.
func (l *loader) state() (*State, error) {
	s := &State{
		index: l.index, master: l.master,
		agents: l.agents.m, unreachable: l.unreachable.m, gone: l.gone.m,
		frameworks: l.frameworks.m, removed: l.removed.m,
	}
	for id := range s.unreachable.all() {
		if s.agents.has(id) {
			return nil, fmt.Errorf("%w: agent %q is in two lists", ErrCorrupt, id)
		}
	}
	for id := range s.gone.all() {
		if s.agents.has(id) || s.unreachable.has(id) {
			return nil, fmt.Errorf("%w: agent %q is in two lists", ErrCorrupt, id)
		}
	}
	for id := range s.removed.all() {
		if s.frameworks.has(id) {
			return nil, fmt.Errorf("%w: framework %q is in two lists", ErrCorrupt, id)
		}
	}
	if s.agents.has("") || s.unreachable.has("") || s.gone.has("") || s.frameworks.has("") || s.removed.has("") {
		return nil, fmt.Errorf("%w: an id is empty", ErrCorrupt)
	}
	return s, nil
}
