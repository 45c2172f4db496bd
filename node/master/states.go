package master

import v1 "clusterd/node/mesos/v1"

// transitions lists for each state of a task the states that may follow (SCH-231, SCH-232). What is
// not listed is refused: the master keeps what it knows. A status update that is refused here, such
// as a late duplicate, is still forwarded to the framework.
//
// The states are those kept internally: a task on an unreachable agent is TASK_UNREACHABLE also
// where its framework is told TASK_LOST, so that it can come back.
var transitions = map[v1.TaskState][]v1.TaskState{
	v1.TaskState_TASK_STAGING: {
		v1.TaskState_TASK_STAGING, v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING,
		v1.TaskState_TASK_KILLING, v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FAILED,
		v1.TaskState_TASK_KILLED, v1.TaskState_TASK_ERROR, v1.TaskState_TASK_LOST,
		v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_GONE, v1.TaskState_TASK_GONE_BY_OPERATOR,
		v1.TaskState_TASK_UNREACHABLE,
	},
	v1.TaskState_TASK_STARTING: {
		v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING, v1.TaskState_TASK_KILLING,
		v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FAILED, v1.TaskState_TASK_KILLED,
		v1.TaskState_TASK_ERROR, v1.TaskState_TASK_LOST, v1.TaskState_TASK_DROPPED,
		v1.TaskState_TASK_GONE, v1.TaskState_TASK_GONE_BY_OPERATOR, v1.TaskState_TASK_UNREACHABLE,
	},
	v1.TaskState_TASK_RUNNING: {
		v1.TaskState_TASK_RUNNING, v1.TaskState_TASK_KILLING, v1.TaskState_TASK_FINISHED,
		v1.TaskState_TASK_FAILED, v1.TaskState_TASK_KILLED, v1.TaskState_TASK_ERROR,
		v1.TaskState_TASK_LOST, v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_GONE,
		v1.TaskState_TASK_GONE_BY_OPERATOR, v1.TaskState_TASK_UNREACHABLE,
	},
	v1.TaskState_TASK_KILLING: {
		v1.TaskState_TASK_KILLING, v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FAILED,
		v1.TaskState_TASK_KILLED, v1.TaskState_TASK_ERROR, v1.TaskState_TASK_LOST,
		v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_GONE, v1.TaskState_TASK_GONE_BY_OPERATOR,
		v1.TaskState_TASK_UNREACHABLE,
	},
	// Whatever the agent reports when it comes back; or the end of the framework or of the agent.
	v1.TaskState_TASK_UNREACHABLE: {
		v1.TaskState_TASK_STAGING, v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING,
		v1.TaskState_TASK_KILLING, v1.TaskState_TASK_FINISHED, v1.TaskState_TASK_FAILED,
		v1.TaskState_TASK_KILLED, v1.TaskState_TASK_ERROR, v1.TaskState_TASK_LOST,
		v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_GONE, v1.TaskState_TASK_GONE_BY_OPERATOR,
	},
	// Terminal states are final. TASK_UNKNOWN is an answer, never the state of a task.
	v1.TaskState_TASK_FINISHED:         nil,
	v1.TaskState_TASK_FAILED:           nil,
	v1.TaskState_TASK_KILLED:           nil,
	v1.TaskState_TASK_ERROR:            nil,
	v1.TaskState_TASK_LOST:             nil,
	v1.TaskState_TASK_DROPPED:          nil,
	v1.TaskState_TASK_GONE:             nil,
	v1.TaskState_TASK_GONE_BY_OPERATOR: nil,
	v1.TaskState_TASK_UNKNOWN:          nil,
}

// mayFollow reports whether a task in state from may go to state to.
func mayFollow(from, to v1.TaskState) bool {
	for _, s := range transitions[from] {
		if s == to {
			return true
		}
	}
	return false
}

// lostState is the state as a framework that is not PARTITION_AWARE knows it (SCH-114).
func lostState(s v1.TaskState, partitionAware bool) v1.TaskState {
	if partitionAware {
		return s
	}
	switch s {
	case v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_UNREACHABLE, v1.TaskState_TASK_GONE,
		v1.TaskState_TASK_GONE_BY_OPERATOR, v1.TaskState_TASK_UNKNOWN:
		return v1.TaskState_TASK_LOST
	}
	return s
}
