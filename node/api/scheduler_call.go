package api

import (
	"errors"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"
)

// expecting is the complaint about a field that is not there.
func expecting(field string) error { return errors.New("Expecting '" + field + "' to be present") }

// validateSchedulerCall checks what can be known from a call alone. Its errors follow the prefix
// "Failed to validate scheduler::Call: " (SCH-9).
func validateSchedulerCall(call *v1scheduler.Call) error {
	if call.Type == nil {
		return expecting("type") // SCH-10: also a type that this version does not know.
	}
	if call.GetType() == v1scheduler.Call_SUBSCRIBE {
		return validateSubscribe(call)
	}
	if call.GetFrameworkId() == nil {
		return expecting("framework_id") // SCH-95
	}
	if name, present := schedulerCallBody(call); !present {
		return expecting(name) // SCH-100
	}
	switch call.GetType() {
	case v1scheduler.Call_ACKNOWLEDGE: // SCH-227
		_, err := mesos.UUIDFromBytes(call.GetAcknowledge().GetUuid())
		return err
	case v1scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS: // SCH-250
		if _, err := mesos.UUIDFromBytes(call.GetAcknowledgeOperationStatus().GetUuid()); err != nil {
			return err
		}
		if call.GetAcknowledgeOperationStatus().GetAgentId() == nil {
			return expecting("agent_id")
		}
	case v1scheduler.Call_UPDATE_FRAMEWORK:
		if call.GetUpdateFramework().GetFrameworkInfo().GetId().GetValue() != call.GetFrameworkId().GetValue() {
			return errors.New("'framework_id' differs from 'update_framework.framework_info.id'")
		}
	}
	return nil
}

func validateSubscribe(call *v1scheduler.Call) error {
	if call.GetSubscribe() == nil {
		return expecting("subscribe") // SCH-51
	}
	// SCH-49, SCH-50: an empty id is no id.
	if call.GetSubscribe().GetFrameworkInfo().GetId().GetValue() != call.GetFrameworkId().GetValue() {
		return errors.New("'framework_id' differs from 'subscribe.framework_info.id'")
	}
	return nil
}

// schedulerCallBody names the sub-message that a call of this type needs and tells whether it is there.
func schedulerCallBody(call *v1scheduler.Call) (name string, present bool) {
	switch call.GetType() {
	case v1scheduler.Call_ACCEPT:
		return "accept", call.Accept != nil
	case v1scheduler.Call_DECLINE:
		return "decline", call.Decline != nil
	case v1scheduler.Call_ACCEPT_INVERSE_OFFERS:
		return "accept_inverse_offers", call.AcceptInverseOffers != nil
	case v1scheduler.Call_DECLINE_INVERSE_OFFERS:
		return "decline_inverse_offers", call.DeclineInverseOffers != nil
	case v1scheduler.Call_KILL:
		return "kill", call.Kill != nil
	case v1scheduler.Call_SHUTDOWN:
		return "shutdown", call.Shutdown != nil
	case v1scheduler.Call_ACKNOWLEDGE:
		return "acknowledge", call.Acknowledge != nil
	case v1scheduler.Call_ACKNOWLEDGE_OPERATION_STATUS:
		return "acknowledge_operation_status", call.AcknowledgeOperationStatus != nil
	case v1scheduler.Call_RECONCILE:
		return "reconcile", call.Reconcile != nil
	case v1scheduler.Call_RECONCILE_OPERATIONS:
		return "reconcile_operations", call.ReconcileOperations != nil
	case v1scheduler.Call_MESSAGE:
		return "message", call.Message != nil
	case v1scheduler.Call_REQUEST:
		return "request", call.Request != nil
	case v1scheduler.Call_UPDATE_FRAMEWORK:
		return "update_framework", call.UpdateFramework != nil
	}
	return "", true // TEARDOWN, REVIVE and SUPPRESS need none; UNKNOWN has none.
}
