//go:build race

package sim

// raced says that the race detector watches, which makes everything slow and has nothing to find here:
// there is one goroutine.
const raced = true
