package ui

import (
	"strings"
	"testing"
	"unicode/utf8"
)

// UI-15: one sentence says why a task is pending or what ended it.
func TestExplain(t *testing.T) {
	sick := false
	tests := []struct {
		state, reason, message, want string
		healthy                      *bool
	}{
		{"TASK_STAGING", "", "", "Waiting for node-01 to start it.", nil},
		{"TASK_STARTING", "", "", "Its executor has it and has not said yet that it runs.", nil},
		{"TASK_RUNNING", "", "", "", nil},
		{"TASK_RUNNING", "", "connection refused", "Running, but its health check fails: connection refused.", &sick},
		{"TASK_KILLING", "", "", "Asked to end; when its grace period is over it will be killed.", nil},
		{"TASK_FINISHED", "", "Command exited with status 0", "", nil},
		{"TASK_UNREACHABLE", "REASON_AGENT_REMOVED", "", "The master has lost node-01; the task may still be running there.", nil},
		{"TASK_UNKNOWN", "", "", "The master does not know what became of it.", nil},
		{"TASK_KILLED", "", "Command terminated with signal Terminated", "Killed on request.", nil},
		{"TASK_KILLED", "", "Command terminated with signal Killed", "Killed on request, by force: it did not end within its grace period.", nil},
		{"TASK_KILLED", "REASON_FRAMEWORK_REMOVED", "Framework f removed", "Killed: its framework was removed.", nil},
		{"TASK_KILLED", "REASON_TASK_KILLED_DURING_LAUNCH", "", "Killed: it was killed before it started.", nil},
		{"TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", memoryMessage, "Killed: it used 64 MB of its limit of 64 MB memory.", nil},
		{"TASK_FAILED", "REASON_CONTAINER_LIMITATION_MEMORY", "oom", "Killed: it used more memory than its limit.", nil},
		{"TASK_FAILED", "REASON_CONTAINER_LIMITATION_DISK", "Disk usage (2GB) exceeds quota (1GB)", "Killed: it used more disk than it asked for: Disk usage (2GB) exceeds quota (1GB).", nil},
		{"TASK_FAILED", "REASON_COMMAND_EXECUTOR_FAILED", "Command exited with status 1", "Failed: the command exited with status 1.", nil},
		{"TASK_FAILED", "REASON_COMMAND_EXECUTOR_FAILED", "Command exited with status 127", "Failed: the command exited with status 127 (command not found).", nil},
		{"TASK_FAILED", "REASON_COMMAND_EXECUTOR_FAILED", "Command terminated with signal Segmentation fault", "Failed: the command was ended by the signal Segmentation fault.", nil},
		{"TASK_FAILED", "", "Container exited with status 3", "Failed: the command exited with status 3.", nil},
		{"TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", "Failed to launch container: Failed to fetch all URIs for container 'x': exited with status 1", "Never started: its files could not be fetched; its stderr says why.", nil},
		{"TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", "Failed to launch container: no such user", "Never started: no such user.", nil},
		{"TASK_FAILED", "REASON_CONTAINER_LAUNCH_FAILED", "", "Never started: its container could not be made.", nil},
		{"TASK_FAILED", "REASON_EXECUTOR_TERMINATED", "Abnormal executor termination: unknown container", "Its executor ended before the task: unknown container.", nil},
		{"TASK_FAILED", "REASON_MAX_COMPLETION_TIME_REACHED", "Command terminated with signal Killed", "Failed: it ran longer than the completion time it was given.", nil},
		{"TASK_FAILED", "REASON_EXECUTOR_REGISTRATION_TIMEOUT", "Executor did not register within 1mins", "Failed: its executor did not subscribe in time.", nil},
		{"TASK_FAILED", "REASON_GC_ERROR", "", "Failed: gc error.", nil},
		{"TASK_FAILED", "", "", "Failed: no reason was given.", nil},
		{"TASK_FAILED", "", "out of luck.\nsecond line", "Failed: out of luck.", nil},
		{"TASK_ERROR", "REASON_TASK_INVALID", "Task has duplicate ID: x", "Refused: Task has duplicate ID: x.", nil},
		{"TASK_DROPPED", "REASON_INVALID_OFFERS", "Offer x is no longer valid", "Never started: the offer it was launched on was no longer valid.", nil},
		{"TASK_LOST", "REASON_AGENT_REMOVED", "Agent removed", "Lost: the agent was removed.", nil},
		{"TASK_LOST", "", "", "Lost.", nil},
		{"TASK_GONE_BY_OPERATOR", "REASON_AGENT_REMOVED_BY_OPERATOR", "", "Ended with its agent: an operator marked the agent as gone.", nil},
	}
	for _, tt := range tests {
		task := &Task{State: tt.state, Healthy: tt.healthy}
		if tt.state != "TASK_STAGING" {
			task.Statuses = []Status{{State: "TASK_STARTING"}, {State: tt.state, Reason: tt.reason, Message: tt.message}}
		}
		if got := explain(task, "node-01"); got != tt.want {
			t.Errorf("%s %s %q:\n got %s\nwant %s", tt.state, tt.reason, tt.message, got, tt.want)
		}
	}
	long := explain(&Task{State: "TASK_FAILED", Statuses: []Status{{Message: strings.Repeat("ä", 5000)}}}, "")
	if n := utf8.RuneCountInString(long); n > maxDetailRunes+20 {
		t.Errorf("a sentence of %d letters", n)
	}
}
