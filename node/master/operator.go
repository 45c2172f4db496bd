package master

import (
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// killByOperator forwards a kill as if the task's own framework had asked for it; the framework
// learns of it by the status updates.
func (m *Master) killByOperator(ev KillTask) {
	f, known := m.frameworks.get(ev.Framework)
	if known {
		_, known = f.tasks.get(ev.Task)
	}
	if !known {
		m.respond(ev.Request, 404, "Task cannot be found")
		return
	}
	call := &v1scheduler.Call_Kill{TaskId: ev.Task.Proto()}
	if ev.Grace >= 0 {
		nanoseconds := int64(ev.Grace)
		call.KillPolicy = &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: &nanoseconds}}
	}
	m.kill(f, call)
	m.respond(ev.Request, 202, "")
}
