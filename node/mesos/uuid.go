package mesos

import (
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
)

// ErrUUID is returned for text or bytes that are not a UUID. Its text is the one clients see.
var ErrUUID error = invalidUUID{}

type invalidUUID struct{}

func (invalidUUID) Error() string { return "Not a valid UUID" }

// UUID is an RFC 9562 UUID in its 16-byte wire form. The zero value is no valid UUID.
type UUID [16]byte

// NewUUID returns a version 4 UUID drawn from r.
func NewUUID(r *rand.Rand) UUID {
	var u UUID
	binary.LittleEndian.PutUint64(u[:8], r.Uint64())
	binary.LittleEndian.PutUint64(u[8:], r.Uint64())
	u[6] = u[6]&0x0f | 0x40
	u[8] = u[8]&0x3f | 0x80
	return u
}

// ParseUUID reads the 36-character text form in either letter case. It returns ErrUUID for anything
// else.
func ParseUUID(text string) (UUID, error) {
	var u UUID
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return UUID{}, ErrUUID
	}
	digits := make([]byte, 0, 32)
	digits = append(digits, text[:8]...)
	digits = append(digits, text[9:13]...)
	digits = append(digits, text[14:18]...)
	digits = append(digits, text[19:23]...)
	digits = append(digits, text[24:]...)
	if _, err := hex.Decode(u[:], digits); err != nil || !u.valid() {
		return UUID{}, ErrUUID
	}
	return u, nil
}

// UUIDFromBytes reads the wire form. It returns ErrUUID unless there are 16 bytes that carry a
// version; all zeros carry none.
func UUIDFromBytes(b []byte) (UUID, error) {
	var u UUID
	if len(b) != len(u) {
		return UUID{}, ErrUUID
	}
	copy(u[:], b)
	if !u.valid() {
		return UUID{}, ErrUUID
	}
	return u, nil
}

// valid reports whether the version digit is one that RFC 9562 assigns. The original knows 1 to 5
// only; executors written today may send newer ones.
func (u UUID) valid() bool { v := u[6] >> 4; return 1 <= v && v <= 8 }

// String returns the 36-character text form in lower case.
func (u UUID) String() string {
	var b [36]byte
	hex.Encode(b[:8], u[:4])
	hex.Encode(b[9:13], u[4:6])
	hex.Encode(b[14:18], u[6:8])
	hex.Encode(b[19:23], u[8:10])
	hex.Encode(b[24:], u[10:])
	b[8], b[13], b[18], b[23] = '-', '-', '-', '-'
	return string(b[:])
}

// Bytes returns the 16-byte wire form in a slice of its own.
func (u UUID) Bytes() []byte { return append([]byte(nil), u[:]...) }
