package registry

import (
	"bufio"
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
var ErrCorrupt = errors.New("registry data is corrupt")

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
	if err := seal(w, s.writeRecords); err != nil {
		return fmt.Errorf("write registry snapshot: %w", err)
	}
	return nil
}

// seal writes what write does, and the SHA-256 of it.
func seal(w io.Writer, write func(io.Writer) error) error {
	h := sha256.New()
	buffered := bufio.NewWriterSize(w, 64<<10)
	if err := write(io.MultiWriter(buffered, h)); err != nil {
		return err
	}
	if _, err := buffered.Write(h.Sum(nil)); err != nil {
		return err
	}
	return buffered.Flush()
}

func (s *State) writeRecords(w io.Writer) error {
	if _, err := io.WriteString(w, snapshotMagic); err != nil {
		return err
	}
	r := recorder{w: w, part: &Snapshot{MasterId: proto.String(s.master), Index: proto.Uint64(s.index)}}
	if s.requires != "" {
		r.part.Requires = proto.String(s.requires)
	}
	r.flush()
	s.recordContent(&r)
	s.recordCluster(&r)
	return r.end()
}

// recordContent writes what a backup restores: all but the cluster itself and its run.
func (s *State) recordContent(r *recorder) {
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
	for _, drain := range s.drains.all() {
		r.part.Drains = append(r.part.Drains, drain)
		r.added()
	}
	r.flush()
}

// recordCluster writes the cluster's own identity and members.
func (s *State) recordCluster(r *recorder) {
	r.part.Cluster = s.cluster
	r.flush()
	for _, node := range s.nodes.all() {
		r.part.Nodes = append(r.part.Nodes, node)
		r.added()
	}
	r.flush()
	for _, removed := range s.removedNodes.all() {
		r.part.RemovedNodes = append(r.part.RemovedNodes, removed)
		r.added()
	}
	r.flush()
	for _, token := range s.tokens.all() {
		r.part.Tokens = append(r.part.Tokens, token)
		r.added()
	}
	r.flush()
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
	if proto.Size(r.part) > 0 {
		r.write(r.part)
	}
	r.part, r.n = &Snapshot{}, 0
}

// write writes one record.
func (r *recorder) write(m proto.Message) {
	if r.err == nil {
		r.buf, r.err = proto.MarshalOptions{Deterministic: true, AllowPartial: true}.MarshalAppend(r.buf[:0], m)
	}
	if r.err == nil {
		_, r.err = r.w.Write(binary.AppendUvarint(nil, uint64(len(r.buf))))
	}
	if r.err == nil {
		_, r.err = r.w.Write(r.buf)
	}
}

// end writes the end of the records and returns the first error.
func (r *recorder) end() error {
	if r.err == nil {
		_, r.err = r.w.Write([]byte{0})
	}
	return r.err
}
