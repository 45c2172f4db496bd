package master

import (
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"

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
	f.counters.terminal.add(int32(state))
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

// tally counts by the numbers of an enumeration of the API, of which those outside are not counted. It is
// copied with each picture.
type tally [24]uint64

func (t *tally) add(number int32) {
	if number >= 0 && int(number) < len(t) {
		t[number]++
	}
}

// frameworkCounters are the metrics of one framework (SCH-101).
type frameworkCounters struct {
	prefix                              string
	calls, events, operations, terminal tally

	offersSent, offersAccepted, offersDeclined, offersRescinded uint64
}

// newFrameworkCounters keeps the name of the first subscription in the names of the metrics.
func newFrameworkCounters(info *v1.FrameworkInfo) frameworkCounters {
	return frameworkCounters{prefix: "master/frameworks/" + url.PathEscape(info.GetName()) + "/" + info.GetId().GetValue() + "/"}
}

func (c *frameworkCounters) call(t v1scheduler.Call_Type)        { c.calls.add(int32(t)) }
func (c *frameworkCounters) event(t v1scheduler.Event_Type)      { c.events.add(int32(t)) }
func (c *frameworkCounters) operation(t v1.Offer_Operation_Type) { c.operations.add(int32(t)) }

// metrics are all counters and gauges of the master and its allocator.
func (p *Picture) metrics() map[string]float64 {
	out := make(map[string]float64, len(p.counters)+128*len(p.frameworks)+64)
	maps.Copy(out, p.counters)
	out["master/elected"] = 1
	out["master/uptime_secs"] = p.now.Sub(p.started).Seconds()
	out["master/outstanding_offers"] = float64(p.offers)
	p.agentMetrics(out)
	p.frameworkMetrics(out)
	p.taskMetrics(out)
	p.allocatorMetrics(out)
	return out
}

func (p *Picture) agentMetrics(out map[string]float64) {
	g := &p.gauges
	for i, name := range gaugeResources {
		setShare(out, "master/"+name, g.used[i], g.total[i])
		setShare(out, "master/"+name+"_revocable", g.revocableUsed[i], g.revocableTotal[i])
	}
	out["master/slaves_connected"] = float64(g.connected)
	out["master/slaves_disconnected"] = float64(p.registered - g.connected)
	out["master/slaves_active"] = float64(g.active)
	out["master/slaves_inactive"] = float64(p.registered - g.active)
	out["master/slaves_recovering"] = float64(p.awaited)
	out["master/slaves_recovering_overdue"] = float64(p.overdue) // ours, as the one above
	out["master/slaves_unreachable"] = float64(p.marked)
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

func (p *Picture) taskMetrics(out map[string]float64) {
	var total tally
	for i, f := range p.frameworks {
		for s, n := range f.states {
			total[s] += n
		}
		if !p.perFramework {
			continue
		}
		for _, s := range activeStates {
			out[p.frameworkCounters[i].prefix+"tasks/active/"+lowerName(s)] = float64(f.states[s])
		}
	}
	for _, s := range activeStates[:5] {
		out["master/tasks_"+strings.TrimPrefix(lowerName(s), "task_")] = float64(total[s])
	}
}

func lowerName(s fmt.Stringer) string { return strings.ToLower(s.String()) }

func (p *Picture) frameworkMetrics(out map[string]float64) {
	connected, active := 0, 0
	for i, f := range p.frameworks {
		connected += toInt(f.connected)
		active += toInt(f.active)
		if p.perFramework {
			f.publish(&p.frameworkCounters[i], out)
		}
	}
	out["master/frameworks_connected"] = float64(connected)
	out["master/frameworks_disconnected"] = float64(len(p.frameworks) - connected)
	out["master/frameworks_active"] = float64(active)
	out["master/frameworks_inactive"] = float64(len(p.frameworks) - active)
}

// publish sets the metrics of one framework.
func (f *frameworkPicture) publish(c *frameworkCounters, out map[string]float64) {
	out[c.prefix+"subscribed"] = toFloat(f.connected)
	for _, r := range f.roles {
		_, suppressed := slices.BinarySearch(f.suppressed, r)
		out[c.prefix+"roles/"+r+"/suppressed"] = toFloat(suppressed)
	}
	calls, events, operations := uint64(0), uint64(0), uint64(0)
	for number := range v1scheduler.Call_Type_name {
		if t := v1scheduler.Call_Type(number); t != v1scheduler.Call_UNKNOWN {
			out[c.prefix+"calls/"+lowerName(t)] = float64(c.calls[t])
			calls += c.calls[t]
		}
	}
	for number := range v1scheduler.Event_Type_name {
		if t := v1scheduler.Event_Type(number); t != v1scheduler.Event_UNKNOWN {
			out[c.prefix+"events/"+lowerName(t)] = float64(c.events[t])
			events += c.events[t]
		}
	}
	for number := range v1.Offer_Operation_Type_name {
		if t := v1.Offer_Operation_Type(number); t != v1.Offer_Operation_UNKNOWN {
			out[c.prefix+"operations/"+lowerName(t)] = float64(c.operations[t])
			operations += c.operations[t]
		}
	}
	out[c.prefix+"calls"], out[c.prefix+"events"], out[c.prefix+"operations"] = float64(calls), float64(events), float64(operations)
	for _, s := range terminalStates {
		out[c.prefix+"tasks/terminal/"+lowerName(s)] = float64(c.terminal[s])
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
func (p *Picture) allocatorMetrics(out map[string]float64) {
	const prefix = "allocator/mesos/"
	out[prefix+"allocation_runs"] = float64(p.stats.Runs)
	for name, n := range p.stats.Total {
		out[prefix+"resources/"+name+"/total"] = float64(n) / 1000
		out[prefix+"resources/"+name+"/offered_or_allocated"] = float64(p.stats.Allocated[name]) / 1000
	}
	for role, share := range p.stats.Shares {
		out[prefix+"roles/"+role+"/shares/dominant"] = share
		out[prefix+"offer_filters/roles/"+role+"/active"] = float64(p.stats.Filters[role])
	}
	consumed := make(map[string]int64) // by the name of the metric
	for key, n := range p.gauges.consumed {
		for _, path := range rolePath(key.role) {
			consumed[prefix+"quota/roles/"+path+"/resources/"+key.name+"/consumed"] += n
		}
	}
	for name, n := range consumed {
		out[name] = float64(n) / 1000
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
