// Package v1allocator holds the inverse offer status that the operator API shows. It is generated
// from v1allocator.proto by scripts/generate. Names, numbers and defaults are those of Mesos
// 1.12 and never change: package mesos tests them against the published list, and has the codecs.
package v1allocator
