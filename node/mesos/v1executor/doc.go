// Package v1executor holds the Calls an executor makes to its agent and the Events it receives. It
// is generated from v1executor.proto by scripts/generate. Names, numbers and defaults are
// those of Mesos 1.12 and never change: package mesos tests them against the published list,
// and has the codecs.
package v1executor
