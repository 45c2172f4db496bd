//go:build !linux || !cgo

package isolate

// guestMain is only for machines with containers.
func guestMain() {}
