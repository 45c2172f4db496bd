package master

import (
	"fmt"
	"testing"
)

// SCH-243, SCH-266: a task that was given up because its agent disconnected is not called gone before
// the agent is back: it may bring the task along.
func TestReconcileGivenUpTask(t *testing.T) {
	info := aware("f")
	info.Checkpoint = nil
	h, a, f := running(t, info, "t1")
	h.take(1)
	h.do(AgentDisconnected{Conn: 1})
	same(t, "after the disconnection", brief(h.take(1)), []string{
		"RESCIND m-O1",
		"UPDATE t1 TASK_LOST SOURCE_MASTER REASON_AGENT_DISCONNECTED: Agent a1 disconnected",
	})
	reconcile := fmt.Sprintf(`{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"},"agent_id":{"value":%q}}]}}`, a)
	h.send(1, reconcile)
	same(t, "while the agent is away", brief(h.take(1)), []string{})

	agent := agentInfo[:len(agentInfo)-1] + fmt.Sprintf(`,"id":{"value":%q}}`, a)
	task := fmt.Sprintf(`{"name":"t1","task_id":{"value":"t1"},"framework_id":{"value":%q},"agent_id":{"value":%q},"state":"TASK_RUNNING"}`, f, a)
	h.agent(2, fmt.Sprintf(`{"register":{"agent":%s,"version":"1","ip":"10.0.0.1","tasks":[%s]}}`, agent, task))
	if got := brief(h.take(1)); len(got) == 0 || got[0] != "UPDATE t1 TASK_RUNNING SOURCE_MASTER REASON_AGENT_REREGISTERED: Unreachable agent re-reregistered" {
		t.Errorf("when the agent is back: %q", got)
	}

	h.do(AgentDisconnected{Conn: 2})
	h.agent(3, fmt.Sprintf(`{"register":{"agent":%s,"version":"1","ip":"10.0.0.1"}}`, agent))
	h.take(1)
	h.send(1, reconcile)
	same(t, "when it is back without the task", brief(h.take(1)), []string{
		"UPDATE t1 TASK_GONE SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is unknown to the agent",
	})
}
