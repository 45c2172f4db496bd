// Package v1master holds the operator API of masters: Calls, Responses and the Events of its
// SUBSCRIBE stream. It is generated from v1master.proto by scripts/generate. Names, numbers
// and defaults are those of Mesos 1.12 and never change: package mesos tests them against the
// published list, and has the codecs.
package v1master
