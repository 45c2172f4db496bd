package raft

import (
	"encoding/binary"
	"errors"
	"fmt"
)

// The first byte of an entry's data says what follows. The empty entry of a new leader has no data at
// all; changes of members are entries of another type.
const (
	entryProposal = 1 // number of the proposal, payload
	entryMark     = 2 // nothing: all peers take a picture of their state here
	entrySum      = 3 // index of a mark, hash of the leader's state there
)

// entry is the data of one entry.
type entry struct {
	format  byte
	number  uint64
	payload []byte
}

// encodeEntry makes the data of a proposal.
func encodeEntry(seq uint64, data []byte) []byte { return encodeNumbered(entryProposal, seq, data) }

func encodeNumbered(format byte, number uint64, data []byte) []byte {
	out := make([]byte, 0, 1+binary.MaxVarintLen64+len(data))
	out = binary.AppendUvarint(append(out, format), number)
	return append(out, data...)
}

// decodeEntry reads the data of an entry, of which there is at least one byte.
func decodeEntry(data []byte) (entry, error) {
	e := entry{format: data[0]}
	switch e.format {
	case entryMark:
		if len(data) > 1 {
			return entry{}, fmt.Errorf("mark has %d bytes, want 1", len(data))
		}
		return e, nil
	case entryProposal, entrySum:
		number, n := binary.Uvarint(data[1:])
		if n <= 0 {
			return entry{}, errors.New("entry has no number")
		}
		e.number, e.payload = number, data[1+n:]
		return e, nil
	default:
		return entry{}, fmt.Errorf("entry format %d is unknown to this clusterd: start a newer version on this node", e.format)
	}
}
