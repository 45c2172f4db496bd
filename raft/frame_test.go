package raft

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.etcd.io/raft/v3/raftpb"
	"google.golang.org/protobuf/proto"
)

// Hello and answer survive their encoding; a text that is too long is cut.
func TestGreetings(t *testing.T) {
	h := hello{version: 7, purpose: forSnapshot, from: 1 << 60, to: 3}
	if got, err := readHello(bytes.NewReader(h.encode())); err != nil || got != h {
		t.Errorf("hello %+v, %v", got, err)
	}
	a := answer{version: 1, code: answerRefused, text: strings.Repeat("x", 300)}
	got, err := readAnswer(bytes.NewReader(a.encode()))
	if a.text = a.text[:255]; err != nil || got != a {
		t.Errorf("answer %+v, %v", got, err)
	}
	for n := range helloBytes {
		if _, err := readHello(bytes.NewReader(h.encode()[:n])); err == nil {
			t.Errorf("hello of %d bytes", n)
		}
	}
}

// encoded is what a sender writes for a message of any size.
func encoded(t testing.TB, m *raftpb.Message) []byte {
	t.Helper()
	if payloadBytes(m) <= pieceBytes {
		out, err := appendMessage(nil, m)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	data, err := proto.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	for len(data) > 0 {
		piece, kind := data[:min(len(data), pieceBytes)], framePart
		if data = data[len(piece):]; len(data) == 0 {
			kind = frameEnd
		}
		out = append(appendHeader(out, kind, len(piece)), piece...)
	}
	return out
}

// FuzzFrames reads messages out of any bytes: no panic, no more memory than was sent, and what is
// accepted is from and to the right members and survives being sent again.
func FuzzFrames(f *testing.F) {
	f.Add([]byte{})
	f.Add(encoded(f, heartbeat(1, 2)))
	f.Add(encoded(f, appendTo(2, 5, "a", "b")))
	beat := encoded(f, heartbeat(1, 2))
	parts := append(append(appendHeader(nil, framePart, 4), beat[frameHeaderBytes:frameHeaderBytes+4]...), beat...)
	rest := beat[frameHeaderBytes+4:]
	f.Add(append(append(parts, appendHeader(nil, frameEnd, len(rest))...), rest...))
	f.Add(append(appendHeader(nil, framePart, 2), 0x08, 0x03))
	f.Add(appendHeader(nil, frameMessage, maxFrameBytes+1))
	f.Add(appendHeader(nil, frameKind(200), 1<<31))
	f.Fuzz(func(t *testing.T, data []byte) {
		frames := newFrameReader(bytes.NewReader(data))
		messages := messageReader{from: 1, to: 2}
		for {
			kind, payload, err := frames.next()
			if cap(frames.buf) > 2*len(data)+2*pieceBytes {
				t.Fatalf("%d bytes are allocated for %d", cap(frames.buf), len(data))
			}
			if err == io.EOF || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, errProtocol) {
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			m, err := messages.take(kind, payload)
			if len(messages.whole) > len(data) {
				t.Fatalf("%d bytes are kept of %d", len(messages.whole), len(data))
			}
			if err != nil {
				if !errors.Is(err, errProtocol) {
					t.Fatal(err)
				}
				return
			}
			if m == nil {
				continue
			}
			again := newFrameReader(bytes.NewReader(encoded(t, m)))
			second := messageReader{from: 1, to: 2}
			for {
				kind, payload, err := again.next()
				if err != nil {
					t.Fatal(err)
				}
				back, err := second.take(kind, payload)
				if err != nil {
					t.Fatalf("%v is refused: %v", m, err)
				}
				if back != nil {
					if !proto.Equal(back, m) {
						t.Fatalf("%v became %v", m, back)
					}
					break
				}
			}
		}
	})
}

// FuzzGreetings reads hello and answer out of any bytes.
func FuzzGreetings(f *testing.F) {
	f.Add(hello{version: 1, purpose: forMessages, from: 1, to: 2}.encode())
	f.Add(answer{version: 1, code: answerRemoved, text: "member 2 was removed"}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		if h, err := readHello(bytes.NewReader(data)); err == nil && !bytes.Equal(h.encode(), data[:helloBytes]) {
			t.Errorf("%+v is %x", h, data)
		}
		if a, err := readAnswer(bytes.NewReader(data)); err == nil {
			if out := a.encode(); !bytes.Equal(out, data[:len(out)]) {
				t.Errorf("%+v is %x", a, data)
			}
			if err := a.err(); (err == nil) != (a.code == answerAccepted && a.version == wireVersion) {
				t.Errorf("%+v: %v", a, err)
			}
		}
	})
}

// bytesConn is a connection from which fixed bytes come.
type bytesConn struct {
	io.Reader
	said bytes.Buffer
}

func (c *bytesConn) Write(p []byte) (int, error)      { return c.said.Write(p) }
func (c *bytesConn) Close() error                     { return nil }
func (c *bytesConn) LocalAddr() net.Addr              { return nil }
func (c *bytesConn) RemoteAddr() net.Addr             { return nil }
func (c *bytesConn) SetDeadline(time.Time) error      { return nil }
func (c *bytesConn) SetReadDeadline(time.Time) error  { return nil }
func (c *bytesConn) SetWriteDeadline(time.Time) error { return nil }

// FuzzSnapshotStream gives the receiving side of a transfer any bytes: a snapshot is taken over only if
// it is whole and right, and what is left on disk is not more than was sent.
func FuzzSnapshotStream(f *testing.F) {
	source := newInbox(f)
	m, data := makeSnapshot(f, source, 100, 50)
	file := SnapshotFile{Index: 100, Term: 3, Size: int64(len(data)), CRC: binary.BigEndian.Uint32(data[len(data)-4:])}
	whole := append(appendHeader(nil, frameOffer, offerBytes), encodeOffer(file)...)
	whole = append(append(appendHeader(whole, frameData, len(data)), data...), encoded(f, m)...)
	f.Add(whole)
	f.Add(whole[:len(whole)-20])
	f.Add(whole[:frameHeaderBytes+offerBytes])
	f.Add(encoded(f, m))
	f.Fuzz(func(t *testing.T, stream []byte) {
		box := newInbox(t)
		n := NewNetwork(NetworkConfig{ID: 2})
		n.Attach(box)
		r := &remote{id: 1, net: n}
		conn := &bytesConn{Reader: bytes.NewReader(stream)}
		err := n.receiveSnapshot(context.Background(), r, conn)
		if cerr := n.Close(); cerr != nil {
			t.Fatal(cerr)
		}
		names, rerr := os.ReadDir(box.dir)
		if rerr != nil {
			t.Fatal(rerr)
		}
		left := 0
		for _, name := range names {
			content, err := os.Open(filepath.Join(box.dir, name.Name()))
			if err != nil {
				t.Fatal(err)
			}
			size, err := content.Seek(0, io.SeekEnd)
			if err != nil {
				t.Fatal(err)
			}
			left += int(size)
			if strings.HasSuffix(name.Name(), partial) {
				err = nil
			} else if _, err = content.Seek(0, io.SeekStart); err == nil {
				_, _, err = checkSum(content)
			}
			if err := errors.Join(err, content.Close()); err != nil {
				t.Fatalf("%s was taken over: %v", name.Name(), err)
			}
		}
		if left > len(stream) {
			t.Fatalf("%d bytes are left of %d", left, len(stream))
		}
		if (err == nil) != (len(box.got()) == 1) {
			t.Fatalf("error %v, %d messages", err, len(box.got()))
		}
	})
}

// FuzzSnapshotReceiver gives the sending side of a transfer any bytes: it always comes to an end.
func FuzzSnapshotReceiver(f *testing.F) {
	offset := append(appendHeader(nil, frameOffset, offsetBytes), make([]byte, offsetBytes)...)
	f.Add(append(offset, appendHeader(nil, frameOutcome, 0)...))
	f.Add(append(offset, append(appendHeader(appendHeader(nil, frameBusy, 0), frameOutcome, 2), "no"...)...))
	f.Add(offset)
	box := newInbox(f)
	m, _ := makeSnapshot(f, box, 100, 50)
	f.Fuzz(func(t *testing.T, replies []byte) {
		stream := append(answer{version: wireVersion}.encode(), replies...)
		n := NewNetwork(NetworkConfig{ID: 1, Dial: func(context.Context, uint64) (net.Conn, error) {
			return &bytesConn{Reader: bytes.NewReader(stream)}, nil
		}})
		n.Attach(box)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		r := &remote{id: 2, net: n}
		source, err := box.OpenSnapshot(100, 3)
		if err != nil {
			t.Fatal(err)
		}
		at, err := r.deliverOver(&transfer{ctx: ctx, cancel: cancel, message: m}, source)
		if at > source.File().Size {
			t.Errorf("began at %d", at)
		}
		if err == nil && !bytes.Contains(replies, appendHeader(nil, frameOutcome, 0)) {
			t.Error("delivered without a good outcome")
		}
		if err := errors.Join(source.Close(), n.Close()); err != nil {
			t.Fatal(err)
		}
	})
}
