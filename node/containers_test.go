package node

import (
	"testing"

	"clusterd/isolate"
)

// What a built-in executor ends with is not what its task ended with. EXE-59, EXE-157
func TestTranslateExit(t *testing.T) {
	status := func(n int) *int { return &n }
	for _, c := range []struct {
		name    string
		exit    isolate.Exit
		status  int
		message string
	}{
		{"custom executor", isolate.Exit{Status: 3 << 8}, 3 << 8, ""},
		{"no record", isolate.Exit{Status: 9, Err: "no record"}, 9, "no record"},
		{"task failed, nobody heard", isolate.Exit{Status: 0, Task: status(3 << 8)}, 3 << 8, ""},
		{"task was killed", isolate.Exit{Status: 0, Task: status(9)}, 9, ""},
		{"task ended, clearing up failed", isolate.Exit{Status: 0, Task: status(0), Err: "busy"}, 0, ""},
		{"task never started", isolate.Exit{Status: 0, Task: status(-1)}, -1, ""},
		{"task never started for a cause", isolate.Exit{Status: -1, Task: status(-1), Err: "no init"}, -1, "no init"},
	} {
		if got := translateExit(c.exit); got.Status != c.status || got.Message != c.message {
			t.Errorf("%s: %+v, want status %d and %q", c.name, got, c.status, c.message)
		}
	}
}
