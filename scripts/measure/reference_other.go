//go:build !linux || !cgo

package main

import (
	"context"
	"time"
)

// reference is libcontainer, which this build does not have.
type reference struct{}

func newReference(int) (*reference, error) {
	return nil, &noReferenceError{"libcontainer needs Linux and a build with cgo"}
}

func (*reference) start(context.Context, int) (time.Duration, error) {
	panic("no reference")
}

func (*reference) run(context.Context, int) (took, cpu time.Duration, err error) {
	panic("no reference")
}

func (*reference) close() error { return nil }
