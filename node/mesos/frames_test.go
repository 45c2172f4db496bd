package mesos

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

func pingFrame(t testing.TB) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := WriteFrame(&b, &wire.FromAgent{Message: &wire.FromAgent_Pong{Pong: &wire.Pong{}}}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestFrames(t *testing.T) {
	var stream bytes.Buffer
	big := &wire.ExecutorMessage{
		FrameworkId: FrameworkID("f").Proto(),
		ExecutorId:  ExecutorID("e").Proto(),
		Data:        bytes.Repeat([]byte("d"), 2*readChunkBytes),
	}
	sent := []*wire.FromAgent{
		{Message: &wire.FromAgent_Pong{Pong: &wire.Pong{}}},
		{},
		{Message: &wire.FromAgent_ExecutorMessage{ExecutorMessage: big}},
	}
	for _, m := range sent {
		if err := WriteFrame(&stream, m); err != nil {
			t.Fatal(err)
		}
	}
	r := iotest.HalfReader(&stream)
	got := &wire.FromAgent{}
	for i, want := range sent {
		if err := ReadFrame(r, got, 1<<20); err != nil || !proto.Equal(got, want) {
			t.Fatalf("frame %d: %v", i, err)
		}
	}
	if err := ReadFrame(r, got, 1<<20); err != io.EOF {
		t.Errorf("got %v, want EOF", err)
	}
}

func TestReadFrameErrors(t *testing.T) {
	frame := pingFrame(t)
	over := binary.BigEndian.AppendUint32(nil, 1<<31)
	garbage := append(binary.BigEndian.AppendUint32(nil, 2), 0xff, 0xff)
	// An ExecutorExited without any of its fields: not the first member of its oneof.
	incomplete := append(binary.BigEndian.AppendUint32(nil, 2), 4<<3|2, 0)
	broken := errors.New("broken")
	for _, test := range []struct {
		name string
		r    io.Reader
		max  int
		want error // nil: any other error
	}{
		{"ends in the length", bytes.NewReader(frame[:3]), 100, io.ErrUnexpectedEOF},
		{"ends after the length", bytes.NewReader(frame[:4]), 100, io.ErrUnexpectedEOF},
		{"ends in the frame", bytes.NewReader(frame[:len(frame)-1]), 100, io.ErrUnexpectedEOF},
		{"over the limit", bytes.NewReader(over), 1 << 30, ErrTooLarge},
		{"nothing allowed", bytes.NewReader(frame), -1, ErrTooLarge},
		{"garbage", bytes.NewReader(garbage), 100, nil},
		{"required fields missing", bytes.NewReader(incomplete), 100, nil},
		{"broken stream", iotest.ErrReader(broken), 100, broken},
	} {
		err := ReadFrame(test.r, &wire.FromAgent{}, test.max)
		if err == nil || test.want != nil && !errors.Is(err, test.want) {
			t.Errorf("%s: got %v, want %v", test.name, err, test.want)
		}
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestWriteFrameErrors(t *testing.T) {
	broken := errors.New("broken")
	if err := WriteFrame(brokenWriter{broken}, &wire.FromAgent{}); !errors.Is(err, broken) {
		t.Errorf("got %v", err)
	}
	if err := WriteFrame(io.Discard, &v1.TaskID{}); err == nil || !strings.Contains(err.Error(), "required") {
		t.Errorf("an incomplete message was written: %v", err)
	}
}

// FuzzReadFrame checks that nothing a peer sends makes the reader panic or read over the frame, and
// that what was read can be written again.
func FuzzReadFrame(f *testing.F) {
	f.Add(pingFrame(f))
	f.Add([]byte{0, 0, 0, 2, 0xff, 0xff})
	f.Add([]byte{0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(t *testing.T, stream []byte) {
		const maxBytes = 1 << 16
		r := bytes.NewReader(stream)
		m := &wire.FromAgent{}
		if err := ReadFrame(r, m, maxBytes); err != nil {
			return
		}
		if want := len(stream) - frameHeaderBytes - int(binary.BigEndian.Uint32(stream)); r.Len() != want {
			t.Fatalf("%d bytes left, want %d", r.Len(), want)
		}
		var again bytes.Buffer
		if err := WriteFrame(&again, m); err != nil {
			t.Fatal(err)
		}
		back := &wire.FromAgent{}
		if err := ReadFrame(&again, back, 2*maxBytes); err != nil || !proto.Equal(m, back) {
			t.Fatalf("got %v, %v, want %v", back, err, m)
		}
	})
}
