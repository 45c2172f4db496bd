package mesos

import "testing"

// EXE-59
func TestWaitStatusText(t *testing.T) {
	for status, want := range map[int]string{
		0:        "exited with status 0",
		3 << 8:   "exited with status 3",
		127 << 8: "exited with status 127",
		9:        "terminated with signal Killed",
		15:       "terminated with signal Terminated",
		11 | 128: "terminated with signal Segmentation fault (core dumped)",
		34:       "terminated with signal Real-time signal 0",
		64:       "terminated with signal Real-time signal 30",
		100:      "terminated with signal Unknown signal 100",
	} {
		if got := WaitStatusText(status); got != want {
			t.Errorf("%#x: got %q, want %q", status, got, want)
		}
	}
}
