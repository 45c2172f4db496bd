//go:build linux && !cgo

package isolate

import "errors"

// haveContainers: a build without cgo cannot enter namespaces.
const haveContainers = false

func maybeContainerInit() {}

func (s *shim) startContained(Command, *credential) (*Process, error) {
	return nil, errors.New("built without cgo")
}
