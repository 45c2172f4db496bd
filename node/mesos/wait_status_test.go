package mesos

import "testing"

// EXE-59
func TestWaitStatusText(t *testing.T) {
	for _, c := range []struct {
		status int
		want   string
	}{
		{0, "exited with status 0"},
		{3 << 8, "exited with status 3"},
		{255 << 8, "exited with status 255"},
		{9, "terminated with signal Killed"},
		{15, "terminated with signal Terminated"},
		{11, "terminated with signal Segmentation fault"},
		{11 | 0x80, "terminated with signal Segmentation fault (core dumped)"},
		{6 | 0x80, "terminated with signal Aborted (core dumped)"},
		{1, "terminated with signal Hangup"},
		{36, "terminated with signal Real-time signal 2"},
		{100, "terminated with signal Unknown signal 100"},
	} {
		if got := WaitStatusText(c.status); got != c.want {
			t.Errorf("WaitStatusText(%d) is %q, want %q", c.status, got, c.want)
		}
	}
}
