package mesos

import (
	"fmt"

	"google.golang.org/protobuf/proto"
)

// MediaType is the encoding of a request body or of the events on a stream.
type MediaType int

// The two encodings of the v1 API.
const (
	JSON MediaType = iota
	Protobuf
)

// String returns the value of the Content-Type header.
func (t MediaType) String() string {
	if t == Protobuf {
		return "application/x-protobuf"
	}
	return "application/json"
}

// Marshal encodes the message. It returns an error if a required field is missing.
func (t MediaType) Marshal(m proto.Message) ([]byte, error) {
	if t == JSON {
		return MarshalJSON(m)
	}
	b, err := proto.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", m.ProtoReflect().Descriptor().FullName(), err)
	}
	return b, nil
}

// Unmarshal replaces the contents of the message. JSON errors are those of UnmarshalJSON; protobuf
// errors have no text of use to a client.
func (t MediaType) Unmarshal(data []byte, m proto.Message) error {
	if t == JSON {
		return UnmarshalJSON(data, m)
	}
	return unmarshalProtobuf(data, m)
}
