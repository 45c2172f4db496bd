package mesos

import v1 "clusterd/node/mesos/v1"

// Terminal reports whether no further state can follow (SCH-231). TASK_UNREACHABLE and TASK_UNKNOWN
// are not terminal: the task may still run.
func Terminal(state v1.TaskState) bool {
	switch state {
	case v1.TaskState_TASK_FINISHED,
		v1.TaskState_TASK_FAILED,
		v1.TaskState_TASK_KILLED,
		v1.TaskState_TASK_ERROR,
		v1.TaskState_TASK_LOST,
		v1.TaskState_TASK_DROPPED,
		v1.TaskState_TASK_GONE,
		v1.TaskState_TASK_GONE_BY_OPERATOR:
		return true
	}
	return false
}
