package mesos

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"

	"google.golang.org/protobuf/proto"
)

// frameHeaderBytes is the size of the big-endian length before each frame.
const frameHeaderBytes = 4

// AppendFrame appends the message as one frame of the streams between nodes: the length of its protobuf
// form as 4 bytes, most significant first, then the form itself. After an error dst is as it was.
func AppendFrame(dst []byte, m proto.Message) ([]byte, error) {
	begin := len(dst)
	frame, err := proto.MarshalOptions{}.MarshalAppend(append(dst, make([]byte, frameHeaderBytes)...), m)
	if err != nil {
		return dst, fmt.Errorf("encode frame: %w", err)
	}
	n := len(frame) - begin - frameHeaderBytes
	if n > math.MaxUint32 {
		return dst, fmt.Errorf("write frame of %d bytes: %w", n, ErrTooLarge)
	}
	binary.BigEndian.PutUint32(frame[begin:], uint32(n))
	return frame, nil
}

// WriteFrame writes the message as one frame, see AppendFrame, in a single Write.
func WriteFrame(w io.Writer, m proto.Message) error {
	frame, err := AppendFrame(make([]byte, 0, frameHeaderBytes+proto.Size(m)), m)
	if err != nil {
		return err
	}
	if _, err := w.Write(frame); err != nil {
		return fmt.Errorf("write frame: %w", err)
	}
	return nil
}

// ReadFrame reads one frame into the message, replacing its contents. It returns io.EOF when the
// stream ends between two frames, io.ErrUnexpectedEOF (wrapped) when it ends inside of one, and an
// error that wraps ErrTooLarge for a frame of more than maxBytes. After an error the stream cannot
// be read any further. It reads no byte beyond the frame.
func ReadFrame(r io.Reader, m proto.Message, maxBytes int) error {
	var header [frameHeaderBytes]byte
	if _, err := io.ReadFull(r, header[:]); err != nil {
		if err == io.EOF {
			return io.EOF
		}
		return fmt.Errorf("read frame length: %w", err)
	}
	n := binary.BigEndian.Uint32(header[:])
	if uint64(n) > uint64(max(maxBytes, 0)) {
		return fmt.Errorf("read frame of %d bytes: %w of %d bytes", n, ErrTooLarge, maxBytes)
	}
	frame, err := readExactly(r, int(n))
	if err != nil {
		return fmt.Errorf("read frame of %d bytes: %w", n, err)
	}
	if err := (proto.UnmarshalOptions{AllowPartial: true}).Unmarshal(frame, m); err != nil {
		return fmt.Errorf("decode frame of %d bytes: %w", n, err)
	}
	// Unmarshal would look for missing required fields in the first member of a oneof only.
	if err := proto.CheckInitialized(m); err != nil {
		return fmt.Errorf("decode frame of %d bytes: %w", n, err)
	}
	return nil
}
