package agent

import (
	v1 "clusterd/node/mesos/v1"
)

// counters only grow while the agent lives. Their names are in [Agent.metricValues].
type counters struct {
	tasks                                            map[v1.TaskState]float64
	executorsTerminated, containerLaunchErrors       float64
	validStatusUpdates, invalidStatusUpdates         float64
	validFrameworkMessages, invalidFrameworkMessages float64
}

func (c *counters) ended(state v1.TaskState) {
	if c.tasks == nil {
		c.tasks = map[v1.TaskState]float64{}
	}
	c.tasks[state]++
}

// metricValues are the agent's metrics under their Mesos names.
func (a *Agent) metricValues() map[string]float64 {
	m := map[string]float64{
		"slave/container_launch_errors":                 a.metrics.containerLaunchErrors,
		"slave/executor_directory_max_allowed_age_secs": a.garbage.allowedAge().Seconds(),
		"slave/executors_preempted":                     0,
		"slave/executors_registering":                   0,
		"slave/executors_running":                       0,
		"slave/executors_terminated":                    a.metrics.executorsTerminated,
		"slave/executors_terminating":                   0,
		"slave/frameworks_active":                       float64(len(a.frameworks)),
		"slave/invalid_framework_messages":              a.metrics.invalidFrameworkMessages,
		"slave/invalid_status_updates":                  a.metrics.invalidStatusUpdates,
		"slave/recovery_errors":                         0,
		"slave/registered":                              0,
		"slave/tasks_failed":                            a.metrics.tasks[v1.TaskState_TASK_FAILED],
		"slave/tasks_finished":                          a.metrics.tasks[v1.TaskState_TASK_FINISHED],
		"slave/tasks_gone":                              a.metrics.tasks[v1.TaskState_TASK_GONE],
		"slave/tasks_killed":                            a.metrics.tasks[v1.TaskState_TASK_KILLED],
		"slave/tasks_killing":                           0,
		"slave/tasks_lost":                              a.metrics.tasks[v1.TaskState_TASK_LOST],
		"slave/tasks_running":                           0,
		"slave/tasks_staging":                           0,
		"slave/tasks_starting":                          0,
		"slave/uptime_secs":                             a.now.Sub(a.started).Seconds(),
		"slave/valid_framework_messages":                a.metrics.validFrameworkMessages,
		"slave/valid_status_updates":                    a.metrics.validStatusUpdates,
		"gc/path_removals_failed":                       a.garbage.failed,
		"gc/path_removals_pending":                      float64(len(a.garbage.ended)),
		"gc/path_removals_succeeded":                    a.garbage.succeeded,
	}
	if a.master.registered {
		m["slave/registered"] = 1
	}
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			if name := executorGauges[e.state]; name != "" {
				m[name]++
			}
			for _, t := range e.tasks {
				if name := taskGauges[t.view.GetState()]; name != "" {
					m[name]++
				}
			}
		}
	}
	a.resourceMetrics(m)
	return m
}

var executorGauges = map[executorState]string{
	registering: "slave/executors_registering",
	running:     "slave/executors_running",
	terminating: "slave/executors_terminating",
}

var taskGauges = map[v1.TaskState]string{
	v1.TaskState_TASK_STAGING:  "slave/tasks_staging",
	v1.TaskState_TASK_STARTING: "slave/tasks_starting",
	v1.TaskState_TASK_RUNNING:  "slave/tasks_running",
	v1.TaskState_TASK_KILLING:  "slave/tasks_killing",
}

func (a *Agent) resourceMetrics(m map[string]float64) {
	allocated := a.allocated()
	for _, name := range []string{"cpus", "mem", "disk", "gpus"} {
		for _, kind := range []struct {
			infix     string
			revocable bool
		}{{"_", false}, {"_revocable_", true}} {
			total := scalarOf(a.info.GetResources(), name, kind.revocable)
			used := scalarOf(allocated, name, kind.revocable)
			prefix := "slave/" + name + kind.infix
			m[prefix+"total"], m[prefix+"used"], m[prefix+"percent"] = total, used, 0
			if total > 0 {
				m[prefix+"percent"] = used / total
			}
		}
	}
}

func scalarOf(resources []*v1.Resource, name string, revocable bool) float64 {
	var total int64
	for _, r := range resources {
		if r.GetName() == name && (r.Revocable != nil) == revocable {
			total += milli(r.GetScalar().GetValue())
		}
	}
	return float64(total) / 1000
}
