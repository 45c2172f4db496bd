package master

import (
	"testing"
	"time"

	"clusterd/node/mesos"
)

// An operator kills a task as its framework would; unknown tasks are refused.
func TestKillByOperator(t *testing.T) {
	h, _, id := running(t, aware("f"), "t1")
	h.frames[1] = nil
	kill := func(f mesos.FrameworkID, task mesos.TaskID, grace time.Duration) Respond {
		h.request++
		h.do(KillTask{Request: h.request, Framework: f, Task: task, Grace: grace})
		return h.answers[h.request]
	}
	if r := kill(id, "t1", 7*time.Second); r.Status != 202 {
		t.Fatalf("%+v", r)
	}
	if r := kill(id, "t1", -1); r.Status != 202 {
		t.Fatalf("%+v", r)
	}
	frames := h.takeFrames(1)
	if len(frames) != 2 || frames[0].GetKillTask().GetKillPolicy().GetGracePeriod().GetNanoseconds() != 7e9 ||
		frames[1].GetKillTask().GetKillPolicy() != nil {
		t.Fatalf("frames: %v", frames)
	}
	for _, r := range []Respond{kill(id, "zz", -1), kill("zz", "t1", -1)} {
		if r.Status != 404 || r.Body != "Task cannot be found" {
			t.Errorf("%+v", r)
		}
	}
}
