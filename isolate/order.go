package isolate

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// order tells a shim what to run. It goes over a socket: the environment may
// hold secrets and must not touch a disk.
type order struct {
	ID         string      `json:"id"`
	StateDir   string      `json:"state_dir"` // of this container
	Command    Command     `json:"command"`
	User       *credential `json:"user"` // of Command.User
	Supervised bool        `json:"supervised"`
	Plain      bool        `json:"plain"`
	Cgroup     *cgroup     `json:"cgroup"`
	Init       processRef  `json:"init"` // of the container
}

// reply is the shim's answer, after the first process has been started or the
// supervisor is about to run.
type reply struct {
	Err string `json:"err,omitempty"`
}

// maxMessageBytes bounds one message between daemon and shim. The kernel
// allows arguments and environment of a few megabytes at most.
const maxMessageBytes = 64 << 20

var errMessageTooLong = errors.New("message is too long")

// writeMessage writes v as JSON after its length in four bytes, big endian.
func writeMessage(w io.Writer, v any) error {
	data, err := json.Marshal(v)
	if err != nil {
		return err
	}
	if len(data) > maxMessageBytes {
		return errMessageTooLong
	}
	_, err = w.Write(append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...))
	return err
}

// readMessage reads what writeMessage wrote; a message cut short is
// io.ErrUnexpectedEOF, none at all io.EOF.
func readMessage(r io.Reader, v any) error {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n > maxMessageBytes {
		return errMessageTooLong
	}
	data := make([]byte, n)
	if _, err := io.ReadFull(r, data); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode message: %w", err)
	}
	return nil
}
