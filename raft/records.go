package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"

	"go.etcd.io/bbolt"
	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// stateFormat is the first byte of the state record.
const stateFormat = 1

var (
	metaBucket  = []byte("meta")
	entryBucket = []byte("entries")
	stateKey    = []byte("state")
)

// logState is the one record that every transaction rewrites. All entries after start, up to last,
// are in the log.
type logState struct {
	id                    uint64 // of the member
	term, vote, commit    uint64 // hard state
	startIndex, startTerm uint64
	lastIndex, lastTerm   uint64
	snapIndex, snapTerm   uint64 // 0 if there is no snapshot
}

func entryKey(index uint64) []byte { return binary.BigEndian.AppendUint64(nil, index) }

// sealed puts the checksum of what follows in front of it.
func sealed(data []byte) []byte {
	binary.BigEndian.PutUint32(data, crc32.Checksum(data[crcBytes:], castagnoli()))
	return data
}

// unsealed checks and cuts off the checksum.
func unsealed(data []byte) ([]byte, error) {
	if len(data) < crcBytes {
		return nil, fmt.Errorf("%w: %d bytes are too few", ErrCorrupt, len(data))
	}
	if want, got := binary.BigEndian.Uint32(data), crc32.Checksum(data[crcBytes:], castagnoli()); want != got {
		return nil, fmt.Errorf("%w: checksum is %08x, of the content %08x", ErrCorrupt, want, got)
	}
	return data[crcBytes:], nil
}

func putEntries(tx *bbolt.Tx, entries []*raftpb.Entry) error {
	bucket := tx.Bucket(entryBucket)
	bucket.FillPercent = 0.9 // entries are appended
	for _, e := range entries {
		value, err := proto.MarshalOptions{}.MarshalAppend(make([]byte, crcBytes, crcBytes+proto.Size(e)), e)
		if err != nil {
			return fmt.Errorf("encode entry %d: %w", e.GetIndex(), err)
		}
		if err := bucket.Put(entryKey(e.GetIndex()), sealed(value)); err != nil {
			return err
		}
	}
	return nil
}

// dropEntries removes the entries from one index to another, both included.
func dropEntries(tx *bbolt.Tx, from, to uint64) error {
	bucket := tx.Bucket(entryBucket)
	for i := from; i <= to; i++ {
		if err := bucket.Delete(entryKey(i)); err != nil {
			return err
		}
	}
	return nil
}

// decodeStored reads an entry from the database, into memory of its own.
func decodeStored(key, value []byte) (*raftpb.Entry, error) {
	if len(key) != 8 {
		return nil, fmt.Errorf("%w: entry under a key of %d bytes", ErrCorrupt, len(key))
	}
	index := binary.BigEndian.Uint64(key)
	data, err := unsealed(value)
	if err != nil {
		return nil, fmt.Errorf("entry %d: %w", index, err)
	}
	e := &raftpb.Entry{}
	if err := proto.Unmarshal(data, e); err != nil {
		return nil, fmt.Errorf("%w: entry %d: %w", ErrCorrupt, index, err)
	}
	if e.GetIndex() != index {
		return nil, fmt.Errorf("%w: entry %d stands in the place of entry %d", ErrCorrupt, e.GetIndex(), index)
	}
	return e, nil
}

func putState(tx *bbolt.Tx, s logState) error {
	value := append(make([]byte, crcBytes), stateFormat)
	for _, n := range s.fields() {
		value = binary.BigEndian.AppendUint64(value, *n)
	}
	return tx.Bucket(metaBucket).Put(stateKey, sealed(value))
}

func decodeState(value []byte) (logState, error) {
	data, err := unsealed(value)
	if err != nil {
		return logState{}, fmt.Errorf("state: %w", err)
	}
	s := logState{}
	fields := s.fields()
	if len(data) == 0 || data[0] != stateFormat || len(data) != 1+8*len(fields) {
		return logState{}, errors.New("state has a format that is unknown to this clusterd: start a newer version on this node")
	}
	for i, n := range fields {
		*n = binary.BigEndian.Uint64(data[1+8*i:])
	}
	return s, nil
}

// fields are the numbers of a state in the order in which they are stored.
func (s *logState) fields() []*uint64 {
	return []*uint64{
		&s.id, &s.term, &s.vote, &s.commit, &s.startIndex, &s.startTerm,
		&s.lastIndex, &s.lastTerm, &s.snapIndex, &s.snapTerm,
	}
}

// validate checks that the numbers fit together.
func (s *logState) validate() error {
	if s.startIndex > s.snapIndex || s.snapIndex > s.commit || s.commit > s.lastIndex || s.lastTerm > s.term {
		return fmt.Errorf("%w: state does not fit together: %+v", ErrCorrupt, *s)
	}
	return nil
}
