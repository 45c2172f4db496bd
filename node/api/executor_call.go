package api

import (
	"errors"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1executor"
)

// validateExecutorCall checks what can be known from a call alone. Its errors follow the prefix
// "Failed to validate Executor::Call: " (EXE-2, EXE-21).
func validateExecutorCall(call *v1executor.Call) error {
	if call.Type == nil {
		return expecting("type")
	}
	switch call.GetType() {
	case v1executor.Call_SUBSCRIBE:
		if call.Subscribe == nil {
			return expecting("subscribe")
		}
	case v1executor.Call_UPDATE:
		if call.Update == nil {
			return expecting("update")
		}
		return validateUpdate(call)
	case v1executor.Call_MESSAGE:
		if call.Message == nil {
			return expecting("message")
		}
	}
	return nil
}

// validateUpdate checks the status of an UPDATE call (EXE-21).
func validateUpdate(call *v1executor.Call) error {
	status := call.GetUpdate().GetStatus()
	executor, framework := call.GetExecutorId().GetValue(), call.GetFrameworkId().GetValue()
	if status.Uuid == nil {
		return expecting("uuid")
	}
	if _, err := mesos.UUIDFromBytes(status.GetUuid()); err != nil {
		return err
	}
	if given := status.GetExecutorId(); given != nil && given.GetValue() != executor {
		return errors.New("ExecutorID in Call: " + executor + " does not match ExecutorID in TaskStatus: " + given.GetValue())
	}
	if status.Source == nil || status.GetSource() != v1.TaskStatus_SOURCE_EXECUTOR {
		return errors.New("Received Call from executor " + executor + " of framework " + framework +
			" with invalid source, expecting 'SOURCE_EXECUTOR'")
	}
	if status.GetState() == v1.TaskState_TASK_STAGING {
		return errors.New("Received TASK_STAGING from executor " + executor + " of framework " + framework +
			" which is not allowed")
	}
	if status.CheckStatus != nil {
		return validateCheckStatus(status.GetCheckStatus())
	}
	return nil
}

func validateCheckStatus(check *v1.CheckStatusInfo) error {
	// An empty status is the one of a check that has not run yet.
	if check.Type == nil {
		return nil
	}
	missing := ""
	switch check.GetType() {
	case v1.CheckInfo_COMMAND:
		if check.Command == nil {
			missing = "command"
		}
	case v1.CheckInfo_HTTP:
		if check.Http == nil {
			missing = "http"
		}
	case v1.CheckInfo_TCP:
		if check.Tcp == nil {
			missing = "tcp"
		}
	}
	if missing != "" {
		return errors.New("Expecting '" + missing + "' to be set for " + check.GetType().String() + " check's status")
	}
	return nil
}
