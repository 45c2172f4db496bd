package master

import (
	"net/url"
	"strings"

	"clusterd/alloc"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
)

// counters are the metrics that only grow, under the names that Mesos has for them.
type counters struct {
	byName map[string]float64
}

// counterNames are shown from the start, at zero.
var counterNames = strings.Fields(`
dropped_messages
invalid_executor_to_framework_messages invalid_framework_to_executor_messages
invalid_operation_status_update_acknowledgements invalid_operation_status_updates
invalid_status_update_acknowledgements invalid_status_updates
messages_authenticate messages_deactivate_framework messages_decline_offers
messages_executor_to_framework messages_exited_executor messages_framework_to_executor
messages_kill_task messages_launch_tasks messages_operation_status_update
messages_operation_status_update_acknowledgement messages_reconcile_operations
messages_reconcile_tasks messages_register_framework messages_register_slave
messages_reregister_framework messages_reregister_slave messages_resource_request
messages_revive_offers messages_status_update messages_status_update_acknowledgement
messages_suppress_offers messages_unregister_framework messages_unregister_slave
messages_update_slave
operations/dropped operations/error operations/failed operations/finished
operations/gone_by_operator operations/pending operations/recovering operations/total
operations/unreachable
recovery_slave_removals slave_registrations slave_removals slave_removals/reason_registered
slave_removals/reason_unhealthy slave_removals/reason_unregistered slave_reregistrations
slave_shutdowns_canceled slave_shutdowns_completed slave_shutdowns_scheduled
slave_unreachable_canceled slave_unreachable_completed slave_unreachable_scheduled
tasks_dropped tasks_error tasks_failed tasks_finished tasks_gone tasks_gone_by_operator
tasks_killed tasks_lost
valid_executor_to_framework_messages valid_framework_to_executor_messages
valid_operation_status_update_acknowledgements valid_operation_status_updates
valid_status_update_acknowledgements valid_status_updates
`)

// operationNames are the operations that have counters of their own in all views.
var operationNames = strings.Fields(`
create create_disk destroy destroy_disk grow_volume reserve shrink_volume unreserve`)

var operationStates = strings.Fields(`
dropped error failed finished gone_by_operator pending recovering total unreachable`)

func newCounters() counters {
	c := counters{byName: make(map[string]float64)}
	for _, name := range counterNames {
		c.byName["master/"+name] = 0
	}
	for _, op := range operationNames {
		for _, state := range operationStates {
			c.byName["master/operations/"+op+"/"+state] = 0
		}
	}
	return c
}

func (c *counters) add(name string) { c.byName[name]++ }

// removal counts an agent that is no longer registered, with the reason.
func (c *counters) removal(reason string) {
	c.add("master/slave_removals")
	c.add("master/slave_removals/reason_" + reason)
}

// terminal counts a task that has ended, with source and reason where Mesos has a counter for them.
func (c *counters) terminal(f *framework, state v1.TaskState, s *v1.TaskStatus) {
	name := strings.ToLower(state.String()) // task_killed
	c.add("master/tasks_" + strings.TrimPrefix(name, "task_"))
	f.counters.terminal[state]++
	if s.Source == nil || s.Reason == nil {
		return
	}
	source := strings.Replace(strings.ToLower(s.GetSource().String()), "agent", "slave", 1)
	reason := strings.Replace(strings.ToLower(s.GetReason().String()), "agent", "slave", 1)
	c.add("master/" + name + "/" + source + "/" + reason)
}

func (c *counters) operationError(t v1.Offer_Operation_Type) {
	name := strings.ToLower(t.String())
	c.add("master/operations/error")
	c.add("master/operations/total")
	c.add("master/operations/" + name + "/error")
	c.add("master/operations/" + name + "/total")
}

// frameworkCounters are the metrics of one framework (SCH-101).
type frameworkCounters struct {
	prefix     string
	calls      map[v1scheduler.Call_Type]uint64
	events     map[v1scheduler.Event_Type]uint64
	operations map[v1.Offer_Operation_Type]uint64
	terminal   map[v1.TaskState]uint64

	offersSent, offersAccepted, offersDeclined, offersRescinded uint64
}

// newFrameworkCounters keeps the name of the first subscription in the names of the metrics.
func newFrameworkCounters(info *v1.FrameworkInfo) frameworkCounters {
	return frameworkCounters{
		prefix:     "master/frameworks/" + url.PathEscape(info.GetName()) + "/" + info.GetId().GetValue() + "/",
		calls:      make(map[v1scheduler.Call_Type]uint64),
		events:     make(map[v1scheduler.Event_Type]uint64),
		operations: make(map[v1.Offer_Operation_Type]uint64),
		terminal:   make(map[v1.TaskState]uint64),
	}
}

func (c *frameworkCounters) call(t v1scheduler.Call_Type)        { c.calls[t]++ }
func (c *frameworkCounters) event(t v1scheduler.Event_Type)      { c.events[t]++ }
func (c *frameworkCounters) operation(t v1.Offer_Operation_Type) { c.operations[t]++ }

// metrics are all counters and gauges of the master and its allocator.
func (m *Master) metrics() map[string]float64 {
	out := make(map[string]float64, len(m.counters.byName)+128*m.frameworks.len()+64)
	for name, v := range m.counters.byName {
		out[name] = v
	}
	out["master/elected"] = 1
	out["master/uptime_secs"] = m.now.Sub(m.cfg.Started).Seconds()
	out["master/outstanding_offers"] = float64(m.offers.len())
	m.agentMetrics(out)
	m.frameworkMetrics(out)
	m.taskMetrics(out)
	m.allocatorMetrics(out)
	return out
}

var gaugeResources = [...]string{"cpus", "disk", "gpus", "mem"}

func (m *Master) agentMetrics(out map[string]float64) {
	var total, used, revocableTotal, revocableUsed [len(gaugeResources)]int64
	connected, active := 0, 0
	for a := range m.agents.values() {
		connected += toInt(a.connected())
		active += toInt(a.active)
		v := m.agentView(a)
		for i := range gaugeResources {
			total[i] += v.total[i]
			used[i] += v.used[i]
			revocableTotal[i] += v.revocableTotal[i]
			revocableUsed[i] += v.revocableUsed[i]
		}
	}
	for i, name := range gaugeResources {
		setShare(out, "master/"+name, used[i], total[i])
		setShare(out, "master/"+name+"_revocable", revocableUsed[i], revocableTotal[i])
	}
	out["master/slaves_connected"] = float64(connected)
	out["master/slaves_disconnected"] = float64(m.agents.len() - connected)
	out["master/slaves_active"] = float64(active)
	out["master/slaves_inactive"] = float64(m.agents.len() - active)
	out["master/slaves_recovering"] = float64(m.recovered.len())
	out["master/slaves_recovering_overdue"] = float64(m.absence.overdue) // ours
	out["master/slaves_unreachable"] = float64(m.registry.Counts().Unreachable)
}

// setShare sets total, used and percent, which is a fraction despite its name.
func setShare(out map[string]float64, name string, used, total int64) {
	out[name+"_total"] = float64(total) / 1000
	out[name+"_used"] = float64(used) / 1000
	percent := 0.0
	if total > 0 {
		percent = float64(used) / float64(total)
	}
	out[name+"_percent"] = percent
}

// activeStates are the states of which a framework's tasks are counted while they last.
var activeStates = []v1.TaskState{
	v1.TaskState_TASK_STAGING, v1.TaskState_TASK_STARTING, v1.TaskState_TASK_RUNNING, v1.TaskState_TASK_KILLING,
	v1.TaskState_TASK_UNREACHABLE, v1.TaskState_TASK_UNKNOWN,
}

var terminalStates = []v1.TaskState{
	v1.TaskState_TASK_DROPPED, v1.TaskState_TASK_ERROR, v1.TaskState_TASK_FAILED, v1.TaskState_TASK_FINISHED,
	v1.TaskState_TASK_GONE, v1.TaskState_TASK_GONE_BY_OPERATOR, v1.TaskState_TASK_KILLED, v1.TaskState_TASK_LOST,
}

func (m *Master) taskMetrics(out map[string]float64) {
	sum := make(map[v1.TaskState]int)
	for f := range m.frameworks.values() {
		for s, n := range f.states {
			sum[s] += n
		}
		if !m.cfg.PublishPerFrameworkMetrics {
			continue
		}
		for _, s := range activeStates {
			out[f.counters.prefix+"tasks/active/"+strings.ToLower(s.String())] = float64(f.states[s])
		}
	}
	for _, s := range activeStates[:5] {
		out["master/tasks_"+strings.TrimPrefix(strings.ToLower(s.String()), "task_")] = float64(sum[s])
	}
}

func (m *Master) frameworkMetrics(out map[string]float64) {
	connected, active := 0, 0
	for f := range m.frameworks.values() {
		connected += toInt(f.connected())
		active += toInt(f.active)
		if m.cfg.PublishPerFrameworkMetrics {
			f.publish(out)
		}
	}
	out["master/frameworks_connected"] = float64(connected)
	out["master/frameworks_disconnected"] = float64(m.frameworks.len() - connected)
	out["master/frameworks_active"] = float64(active)
	out["master/frameworks_inactive"] = float64(m.frameworks.len() - active)
}

// publish sets the metrics of one framework.
func (f *framework) publish(out map[string]float64) {
	c := &f.counters
	lower := func(s interface{ String() string }) string { return strings.ToLower(s.String()) }
	out[c.prefix+"subscribed"] = toFloat(f.connected())
	for _, r := range f.roles {
		_, suppressed := f.suppressed[r]
		out[c.prefix+"roles/"+r+"/suppressed"] = toFloat(suppressed)
	}
	calls, events, operations := uint64(0), uint64(0), uint64(0)
	for number := range v1scheduler.Call_Type_name {
		if t := v1scheduler.Call_Type(number); t != v1scheduler.Call_UNKNOWN {
			out[c.prefix+"calls/"+lower(t)] = float64(c.calls[t])
			calls += c.calls[t]
		}
	}
	for number := range v1scheduler.Event_Type_name {
		if t := v1scheduler.Event_Type(number); t != v1scheduler.Event_UNKNOWN {
			out[c.prefix+"events/"+lower(t)] = float64(c.events[t])
			events += c.events[t]
		}
	}
	for number := range v1.Offer_Operation_Type_name {
		if t := v1.Offer_Operation_Type(number); t != v1.Offer_Operation_UNKNOWN {
			out[c.prefix+"operations/"+lower(t)] = float64(c.operations[t])
			operations += c.operations[t]
		}
	}
	out[c.prefix+"calls"], out[c.prefix+"events"], out[c.prefix+"operations"] = float64(calls), float64(events), float64(operations)
	for _, s := range terminalStates {
		out[c.prefix+"tasks/terminal/"+lower(s)] = float64(c.terminal[s])
	}
	out[c.prefix+"offers/sent"] = float64(c.offersSent)
	out[c.prefix+"offers/accepted"] = float64(c.offersAccepted)
	out[c.prefix+"offers/declined"] = float64(c.offersDeclined)
	out[c.prefix+"offers/rescinded"] = float64(c.offersRescinded)
}

func toInt(b bool) int {
	if b {
		return 1
	}
	return 0
}

func toFloat(b bool) float64 { return float64(toInt(b)) }

// allocatorMetrics are the gauges of the allocator and what roles consume.
func (m *Master) allocatorMetrics(out map[string]float64) {
	const prefix = "allocator/mesos/"
	stats := m.alloc.Stats()
	out[prefix+"allocation_runs"] = float64(stats.Runs)
	for name, n := range stats.Total {
		out[prefix+"resources/"+name+"/total"] = float64(n) / 1000
		out[prefix+"resources/"+name+"/offered_or_allocated"] = float64(stats.Allocated[name]) / 1000
	}
	for role, share := range stats.Shares {
		out[prefix+"roles/"+role+"/shares/dominant"] = share
		out[prefix+"offer_filters/roles/"+role+"/active"] = float64(stats.Filters[role])
	}
	consumed := make(map[string]alloc.Quantities)
	for a := range m.agents.values() {
		for role, quantities := range m.agentView(a).consumed {
			if consumed[role] == nil {
				consumed[role] = make(alloc.Quantities)
			}
			for name, n := range quantities {
				consumed[role][name] += n
			}
		}
	}
	for role, quantities := range consumed {
		for _, path := range rolePath(role) {
			for name, n := range quantities {
				out[prefix+"quota/roles/"+path+"/resources/"+name+"/consumed"] += float64(n) / 1000
			}
		}
	}
}

// rolePath lists a role and its ancestors, the root as "".
func rolePath(role string) []string {
	path := []string{"", role}
	for i := range len(role) {
		if role[i] == '/' {
			path = append(path, role[:i])
		}
	}
	return path
}
