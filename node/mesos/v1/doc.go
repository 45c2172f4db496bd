// Package v1 holds the messages and enumerations that the APIs of masters, agents, schedulers
// and executors of Mesos v1 share. It is generated from v1.proto by scripts/generate. Names,
// numbers and defaults are those of Mesos 1.12 and never change: package mesos tests them
// against the published list, and has the codecs.
package v1
