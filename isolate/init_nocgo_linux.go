//go:build linux && !cgo

package isolate

import (
	"context"
	"errors"
)

// haveContainers: a build without cgo cannot enter namespaces.
const haveContainers = false

func maybeContainerInit() {}

func (e *engine) start(context.Context, *launch) (processRef, error) {
	return processRef{}, errors.New("built without cgo")
}
