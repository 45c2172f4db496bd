// Package v1quota holds the quota messages of the operator API. It is generated from v1quota.proto
// by scripts/generate. Names, numbers and defaults are those of Mesos 1.12 and never change:
// package mesos tests them against the published list, and has the codecs.
package v1quota
