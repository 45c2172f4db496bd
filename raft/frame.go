package raft

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// What goes over a connection between two members. The side that dialled says hello, the other side
// answers; after that both send frames:
//
//	hello   "clusterd raft\n", version (2), purpose (1), from (8), to (8)
//	answer  version (2), code (1), length of the text (1), text
//	frame   kind (1), length (4), payload
//
// Numbers are big-endian. The version in hello is the newest that the dialling side speaks, the one
// in the answer what both will speak. A connection carries either messages, from the side that
// dialled to the other, or one snapshot:
//
//	messages   →  message | part* end | ping        ←  pong
//	snapshot   →  offer, data*, message             ←  offset, busy*, outcome
//
// Messages above pieceBytes are cut into parts, so that urgent ones can go between these. A payload
// is not summed: the caller's connections are to keep it from being altered (TLS does), and a
// snapshot carries a checksum of its own.
const (
	wireMagic   = "clusterd raft\n"
	wireVersion = 1 // the newest that is spoken
	wireOldest  = 1 // the oldest that is

	helloBytes       = len(wireMagic) + 2 + 1 + 8 + 8
	answerBytes      = 2 + 1 + 1 // and the text
	frameHeaderBytes = 1 + 4

	// pieceBytes is what is written at once, in which time an urgent message waits.
	pieceBytes = 256 << 10
	// maxFrameBytes bounds the payload of a frame.
	maxFrameBytes = 1 << 20
	// maxWireBytes bounds a message: an append holds one proposal of any size, or several that are
	// not above maxMessageBytes together.
	maxWireBytes = maxProposalBytes + maxMessageBytes
)

// purpose is what a connection is for.
type purpose byte

const (
	forMessages purpose = 1
	forSnapshot purpose = 2
)

func (p purpose) String() string {
	switch p {
	case forMessages:
		return "messages"
	case forSnapshot:
		return "snapshot"
	default:
		return fmt.Sprintf("purpose %d", byte(p))
	}
}

// frameKind says what a frame holds.
type frameKind byte

const (
	frameMessage frameKind = 1  // a message
	framePart    frameKind = 2  // a piece of a message, more follow
	frameEnd     frameKind = 3  // its last piece
	framePing    frameKind = 4  // nothing, as a sign of life
	framePong    frameKind = 5  // nothing, as a sign of life from the other side
	frameOffer   frameKind = 6  // index, term, size (8 each), checksum (4) of the snapshot
	frameOffset  frameKind = 7  // how much of it is there already (8)
	frameData    frameKind = 8  // bytes of it
	frameBusy    frameKind = 9  // nothing, as a sign of life while it is taken over
	frameOutcome frameKind = 10 // empty if it was taken over, else why not
)

// errProtocol is a peer that sends what it must not.
var errProtocol = errors.New("peer breaks the protocol")

// hello is what the dialling side says first.
type hello struct {
	version  uint16
	purpose  purpose
	from, to uint64
}

func (h hello) encode() []byte {
	out := append(make([]byte, 0, helloBytes), wireMagic...)
	out = binary.BigEndian.AppendUint16(out, h.version)
	out = append(out, byte(h.purpose))
	out = binary.BigEndian.AppendUint64(out, h.from)
	return binary.BigEndian.AppendUint64(out, h.to)
}

func readHello(r io.Reader) (hello, error) {
	data := make([]byte, helloBytes)
	if _, err := io.ReadFull(r, data); err != nil {
		return hello{}, fmt.Errorf("read hello: %w", err)
	}
	if string(data[:len(wireMagic)]) != wireMagic {
		return hello{}, fmt.Errorf("%w: it does not begin with %q", errProtocol, wireMagic)
	}
	data = data[len(wireMagic):]
	return hello{
		version: binary.BigEndian.Uint16(data), purpose: purpose(data[2]),
		from: binary.BigEndian.Uint64(data[3:]), to: binary.BigEndian.Uint64(data[11:]),
	}, nil
}

// answerCode is whether a connection is taken.
type answerCode byte

const (
	answerAccepted answerCode = 0
	answerRefused  answerCode = 1 // the text says why
	answerRemoved  answerCode = 2 // the dialling member was removed from the group
)

// answer is what the accepting side says to a hello.
type answer struct {
	version uint16
	code    answerCode
	text    string // at most 255 bytes are sent
}

func (a answer) encode() []byte {
	text := a.text[:min(len(a.text), 255)]
	out := binary.BigEndian.AppendUint16(nil, a.version)
	out = append(out, byte(a.code), byte(len(text)))
	return append(out, text...)
}

func readAnswer(r io.Reader) (answer, error) {
	data := make([]byte, answerBytes)
	if _, err := io.ReadFull(r, data); err != nil {
		return answer{}, fmt.Errorf("read answer to hello: %w", err)
	}
	text := make([]byte, data[3])
	if _, err := io.ReadFull(r, text); err != nil {
		return answer{}, fmt.Errorf("read answer to hello: %w", err)
	}
	return answer{version: binary.BigEndian.Uint16(data), code: answerCode(data[2]), text: string(text)}, nil
}

// err is the answer as the dialling side sees it.
func (a answer) err() error {
	switch {
	case a.code == answerRemoved:
		return fmt.Errorf("%w: it says: %q", ErrRemoved, a.text)
	case a.code != answerAccepted:
		return fmt.Errorf("peer refuses the connection: it says: %q", a.text)
	case a.version < wireOldest || a.version > wireVersion:
		return fmt.Errorf("%w: it wants to speak version %d, not %d to %d", errProtocol, a.version, wireOldest, wireVersion)
	}
	return nil
}

// appendHeader begins a frame.
func appendHeader(out []byte, kind frameKind, length int) []byte {
	return binary.BigEndian.AppendUint32(append(out, byte(kind)), uint32(length))
}

// appendMessage adds a message as one frame.
func appendMessage(out []byte, m *raftpb.Message) ([]byte, error) {
	start := len(out)
	out = appendHeader(out, frameMessage, 0)
	out, err := proto.MarshalOptions{}.MarshalAppend(out, m)
	if err != nil {
		return out[:start], fmt.Errorf("encode raft message: %w", err)
	}
	binary.BigEndian.PutUint32(out[start+1:], uint32(len(out)-start-frameHeaderBytes))
	return out, nil
}

// frameReader takes frames from a connection. It keeps one buffer of at most maxFrameBytes.
type frameReader struct {
	r   *bufio.Reader
	buf []byte
}

func newFrameReader(r io.Reader) *frameReader {
	return &frameReader{r: bufio.NewReaderSize(r, 64<<10)}
}

// next returns the next frame. Its payload is valid until the next call. The end of the stream
// between two frames is io.EOF, within one io.ErrUnexpectedEOF.
func (f *frameReader) next() (frameKind, []byte, error) {
	header, err := f.r.Peek(frameHeaderBytes)
	if err != nil {
		if err == io.EOF && len(header) > 0 {
			err = io.ErrUnexpectedEOF
		}
		return 0, nil, err
	}
	kind, length := frameKind(header[0]), binary.BigEndian.Uint32(header[1:])
	if length > maxFrameBytes {
		return 0, nil, fmt.Errorf("%w: frame of %d bytes, at most %d are allowed", errProtocol, length, maxFrameBytes)
	}
	if _, err := f.r.Discard(frameHeaderBytes); err != nil {
		return 0, nil, err
	}
	// A length that is only claimed costs nothing: the buffer grows with what has come.
	for have := 0; have < int(length); {
		step := min(int(length)-have, pieceBytes)
		f.buf = slices.Grow(f.buf[:have], step)[:have+step]
		n, err := io.ReadFull(f.r, f.buf[have:])
		if err == io.EOF {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return 0, nil, err
		}
		have += n
	}
	return kind, f.buf[:length], nil
}

// messageReader puts messages together from the frames of one peer.
type messageReader struct {
	from, to uint64 // the ids that every message must carry
	whole    []byte // pieces of a message that is not complete
}

// take looks at one frame. It returns a message if the frame completes one.
func (r *messageReader) take(kind frameKind, payload []byte) (*raftpb.Message, error) {
	switch kind {
	case frameMessage:
		return r.decode(payload)
	case framePart, frameEnd:
		if len(payload) == 0 || len(r.whole)+len(payload) > maxWireBytes {
			return nil, fmt.Errorf("%w: piece of %d bytes after %d of a message, at most %d together are allowed",
				errProtocol, len(payload), len(r.whole), maxWireBytes)
		}
		r.whole = append(r.whole, payload...)
		if kind == framePart {
			return nil, nil
		}
		m, err := r.decode(r.whole)
		r.whole = nil // it may be large, and the next one is not soon
		return m, err
	default:
		return nil, fmt.Errorf("%w: frame of kind %d in place of a message", errProtocol, kind)
	}
}

// decode takes a message apart and checks that it is one that its sender may send.
func (r *messageReader) decode(data []byte) (*raftpb.Message, error) {
	m, err := decodeMessage(data, r.from, r.to)
	if err != nil {
		return nil, err
	}
	if !betweenMembers[m.GetType()] || len(m.GetResponses()) > 0 {
		return nil, fmt.Errorf("%w: message %v, which does not go between members", errProtocol, m.GetType())
	}
	return m, checkEntries(m)
}

// decodeMessage takes a message apart that must be from one member to another.
func decodeMessage(data []byte, from, to uint64) (*raftpb.Message, error) {
	m := &raftpb.Message{}
	if err := proto.Unmarshal(data, m); err != nil {
		return nil, fmt.Errorf("%w: message: %w", errProtocol, err)
	}
	if m.GetFrom() != from || m.GetTo() != to {
		return nil, fmt.Errorf("%w: message from member %d to %d on the connection from %d to %d",
			errProtocol, m.GetFrom(), m.GetTo(), from, to)
	}
	return m, nil
}

// betweenMembers are the messages that the protocol sends to other members; a snapshot has a
// connection of its own. All others are a member's own, or wishes of its user.
var betweenMembers = map[raftpb.MessageType]bool{
	raftpb.MsgApp: true, raftpb.MsgAppResp: true,
	raftpb.MsgVote: true, raftpb.MsgVoteResp: true, raftpb.MsgPreVote: true, raftpb.MsgPreVoteResp: true,
	raftpb.MsgHeartbeat: true, raftpb.MsgHeartbeatResp: true,
	raftpb.MsgTimeoutNow: true, raftpb.MsgTransferLeader: true,
	raftpb.MsgReadIndex: true, raftpb.MsgReadIndexResp: true,
}

// checkEntries refuses an append that would make a log with a hole or a decreasing term.
func checkEntries(m *raftpb.Message) error {
	if m.GetType() != raftpb.MsgApp {
		return nil
	}
	index, term := m.GetIndex(), m.GetLogTerm()
	for _, e := range m.GetEntries() {
		if e.GetIndex() != index+1 || e.GetTerm() < term || e.GetTerm() > m.GetTerm() {
			return fmt.Errorf("%w: entry %d of term %d follows entry %d of term %d in an append of term %d",
				errProtocol, e.GetIndex(), e.GetTerm(), index, term, m.GetTerm())
		}
		index, term = e.GetIndex(), e.GetTerm()
	}
	return nil
}
