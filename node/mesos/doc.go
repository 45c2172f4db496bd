// Package mesos is the wire of clusterd: the messages of the Mesos v1 HTTP API (in the v1 packages
// below it), their JSON and protobuf codecs, RecordIO framing, the private master-agent frames
// (package wire), and the few rules about these values that every part must agree on: identifiers,
// role names, durations, UUIDs, which task states are terminal.
//
// The package owns no state and starts no goroutine. Every function may be called from any
// goroutine as long as nobody changes the message passed in meanwhile. Nothing here is durable, but
// the protobuf form of the v1 messages is also what checkpoints and the registry are made of, so
// field numbers never change.
//
// # JSON
//
// The JSON form is that of Mesos 1.12, not that of package protojson: keys are the snake_case field
// names in the order of their declaration, 64-bit integers are numbers, doubles always carry a
// fraction or an exponent, and unset optional fields with an explicit default are written. Reading
// is lenient in the same places and as strict in the others as the original, down to the error
// texts, because clients match on them. The codec keeps one table for each message type, made on
// first use.
package mesos
