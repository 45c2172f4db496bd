// Package wire holds the private messages between a leading master and its agents, generated from
// wire.proto by scripts/generate. They travel as the frames of mesos.WriteFrame on the one stream
// that an agent opens, in protobuf form only. Nothing outside of clusterd speaks them; fields are
// only ever added, so that nodes of two neighbouring versions understand each other.
package wire
