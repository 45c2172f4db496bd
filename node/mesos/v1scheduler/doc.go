// Package v1scheduler holds the Calls a framework makes and the Events it receives. It is
// generated from v1scheduler.proto by scripts/generate. Names, numbers and defaults are those
// of Mesos 1.12 and never change: package mesos tests them against the published list, and
// has the codecs.
package v1scheduler
