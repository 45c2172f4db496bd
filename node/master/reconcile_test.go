package master

import (
	"fmt"
	"strings"
	"testing"
	"time"

	v1 "clusterd/node/mesos/v1"
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

// SCH-243, SCH-270: a task that an unreachable agent did not bring back has ended for whoever was told so,
// and does not end again when the agent is marked gone.
func TestUnreachableTaskThatDoesNotComeBack(t *testing.T) {
	h, a, _ := running(t, aware("f"), "t1")
	h.mute = true
	h.wait(2 * time.Minute)
	if n := len(h.view().State.GetGetTasks().GetUnreachableTasks()); n != 1 {
		t.Fatalf("%d tasks are unreachable", n)
	}
	h.mute = false
	agent := agentInfo[:len(agentInfo)-1] + fmt.Sprintf(`,"id":{"value":%q}}`, a)
	h.agent(2, fmt.Sprintf(`{"register":{"agent":%s,"version":"1","ip":"10.0.0.1"}}`, agent))
	h.take(1)
	h.send(1, fmt.Sprintf(`{"type":"RECONCILE","reconcile":{"tasks":[{"task_id":{"value":"t1"},"agent_id":{"value":%q}}]}}`, a))
	same(t, "when the agent is back", brief(h.take(1)), []string{
		"UPDATE t1 TASK_GONE SOURCE_MASTER REASON_RECONCILIATION: Reconciliation: Task is unknown to the agent",
	})
	tasks := h.view().State.GetGetTasks()
	if len(tasks.GetUnreachableTasks()) != 0 || len(tasks.GetCompletedTasks()) != 1 || tasks.GetCompletedTasks()[0].GetState() != v1.TaskState_TASK_GONE {
		t.Errorf("tasks %v", tasks)
	}
	h.do(MarkAgentGone{Request: 1000, Agent: a})
	for _, line := range brief(h.take(1)) {
		if strings.HasPrefix(line, "UPDATE") {
			t.Errorf("when it is marked gone: %s", line)
		}
	}
}
