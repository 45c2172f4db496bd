// Package v1maintenance holds the maintenance schedule and status messages of the operator
// API. It is generated from v1maintenance.proto by scripts/generate. Names, numbers and defaults
// are those of Mesos 1.12 and never change: package mesos tests them against the published list,
// and has the codecs.
package v1maintenance
