package agent

import (
	"testing"
	"time"

	v1 "clusterd/node/mesos/v1"
)

// EXE-189: a wall clock that was set back while the agent was down hides no sandbox: the oldest one is
// that of the earliest time, whichever came first. (Check compares.)
func TestSandboxesAfterTheClockWasSetBack(t *testing.T) {
	r := newRig(t)
	first := r.start(frameworkInfo(true), "t1", 1, commandTask("t1", "x"))
	r.update("t1", status("t1", v1.TaskState_TASK_FINISHED, 1))
	r.step(ContainerExited{ID: first.ID})
	r.ack("t1", uuid(1))
	r.now = r.now.Add(-time.Hour)
	r.crash(nil)
	r.register()
	second := r.start(frameworkInfo(true), "t2", 2, commandTask("t2", "x"))
	r.update("t2", status("t2", v1.TaskState_TASK_FINISHED, 2))
	r.step(ContainerExited{ID: second.ID})
	if at := r.a.garbage.next(); !at.Equal(r.now.Add(r.a.garbage.allowedAge())) {
		t.Errorf("the next sandbox is due at %v, that of %s at %v", at, second.ID, r.now.Add(r.a.garbage.allowedAge()))
	}
}
