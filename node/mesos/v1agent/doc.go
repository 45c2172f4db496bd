// Package v1agent holds the operator API of agents: Calls, Responses and the records of
// container input and output. It is generated from v1agent.proto by scripts/generate. Names,
// numbers and defaults are those of Mesos 1.12 and never change: package mesos tests them
// against the published list, and has the codecs.
package v1agent
