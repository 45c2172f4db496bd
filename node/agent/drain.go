package agent

import (
	"slices"
	"time"

	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// commandKillGrace is between SIGTERM and SIGKILL of a command task without a kill policy (EXE-62).
const commandKillGrace = 3 * time.Second

// setDrain begins to drain the agent, or begins anew with another config; without config it ends the
// drain (OPR-57). Tasks are killed, and new ones refused until nothing is left.
func (a *Agent) setDrain(d *wire.Drain) {
	if a.phase != serving {
		return // the master says it again when this agent, or the next, registers
	}
	if d.GetConfig() == nil {
		a.endDrain()
		return
	}
	if !proto.Equal(a.drain, d) {
		a.drain = d
		a.storeAgent()
		a.emit(Log{Message: "draining: all tasks are killed"})
	}
	for _, f := range slices.Clone(a.frameworks) {
		if f.terminating {
			continue
		}
		for _, t := range slices.Collect(f.tasks()) {
			if t.e != nil && !t.terminal() {
				a.kill(t, drainPolicy(t, d.GetConfig()))
			}
		}
	}
}

// drainPolicy is the kill policy for a task of a draining agent: what it would have anyway, with no
// longer a grace than the drain allows (SCH-273).
func drainPolicy(t *task, config *v1.DrainConfig) *v1.KillPolicy {
	var before *v1.KillPolicy // of a kill that went before
	if t.killing {
		before = t.policy
	}
	if config.MaxGracePeriod == nil {
		return before
	}
	most := config.GetMaxGracePeriod().GetNanoseconds()
	switch {
	case before.GetGracePeriod() != nil:
		if before.GetGracePeriod().GetNanoseconds() <= most {
			return before
		}
	case t.info.GetKillPolicy().GetGracePeriod() != nil:
		if t.info.GetKillPolicy().GetGracePeriod().GetNanoseconds() <= most {
			return before
		}
	case t.e.command:
		if int64(commandKillGrace) <= most {
			return before
		}
	}
	return &v1.KillPolicy{GracePeriod: &v1.DurationInfo{Nanoseconds: proto.Int64(most)}}
}

// drainedStatus is a status as a draining agent passes it on: whatever asked for the end of a task, it
// ends because of the drain. If the agent does not come back after it, that is told those frameworks
// that know the state (SCH-273).
func (a *Agent) drainedStatus(t *task, status *v1.TaskStatus) *v1.TaskStatus {
	state := status.GetState()
	if a.drain == nil || state != v1.TaskState_TASK_KILLING && state != v1.TaskState_TASK_KILLED {
		return status
	}
	status = proto.CloneOf(status)
	status.Reason = v1.TaskStatus_REASON_AGENT_DRAINING.Enum()
	if state == v1.TaskState_TASK_KILLED && a.drain.GetConfig().GetMarkGone() &&
		t.f.lost(v1.TaskState_TASK_GONE_BY_OPERATOR) == v1.TaskState_TASK_GONE_BY_OPERATOR {
		status.State = v1.TaskState_TASK_GONE_BY_OPERATOR.Enum()
	}
	return status
}

// drained ends the drain when no task is left, terminal ones with an unacknowledged update included.
func (a *Agent) drained() {
	if a.drain == nil || a.phase != serving {
		return
	}
	for _, f := range a.frameworks {
		for range f.tasks() {
			return
		}
	}
	a.endDrain()
}

func (a *Agent) endDrain() {
	if a.drain == nil {
		return
	}
	a.drain = nil
	a.storeAgent()
	a.emit(Log{Message: "no longer draining"})
}
