package node

import (
	"context"
	"maps"
	"strconv"
	"time"
)

// masterMetrics are the gauges and counters of the master (/metrics/snapshot) by Mesos's names. A node
// that does not lead has few of them, and master/elected is 0 (CLU-50).
func (n *Node) masterMetrics(ctx context.Context) map[string]float64 {
	out := map[string]float64{"master/elected": 0}
	if l := n.acting(); l != nil {
		if v, err := l.view(ctx); err == nil {
			maps.Copy(out, v.Metrics)
			out["master/elected"] = 1
		}
		waiting := float64(l.box.length())
		out["master/event_queue_messages"] = waiting
		out["master/event_queue_dispatches"] = 0
		out["master/event_queue_http_requests"] = float64(l.front.waiting())
		// These queues and caches of Mesos do not exist here: the allocator is called by the core itself.
		for _, name := range []string{"allocator/event_queue_dispatches", "allocator/mesos/event_queue_dispatches", "master/http_cache_hits", "master/operator_event_stream_subscribers"} {
			out[name] = 0
		}
		out["registrar/queued_operations"] = float64(len(l.proposals))
	}
	out["master/uptime_secs"] = time.Since(n.started).Seconds()
	n.raftMetrics(out)
	systemMetrics(out, n.config.DataDir)
	return out
}

// raftMetrics adds the replicated log's state (CLU-39); registrar/... are Mesos's names for it.
func (n *Node) raftMetrics(out map[string]float64) {
	m := n.member.Load()
	if m == nil {
		return
	}
	s := m.peer.Status()
	out["raft/term"] = float64(s.Term)
	out["raft/commit_index"] = float64(s.Commit)
	out["raft/applied_index"] = float64(s.Applied)
	out["raft/snapshot_index"] = float64(s.Snapshot)
	out["raft/proposals"] = float64(s.Proposals)
	out["raft/proposals_waiting"] = float64(s.Waiting)
	out["raft/leader_changes"] = float64(s.LeaderChanges)
	out["raft/fsync_ms/p50"] = milliseconds(s.FsyncLatency.P50)
	out["raft/fsync_ms/p99"] = milliseconds(s.FsyncLatency.P99)
	out["registrar/log/ensemble_size"] = float64(len(s.Voters))
	out["registrar/log/recovered"] = 1
	out["registrar/registry_size_bytes"] = float64(s.LogBytes)
	for _, p := range s.Peers {
		name := "raft/peers/" + strconv.FormatUint(p.ID, 10)
		if node, ok := m.machine.View().NodeByRaftID(p.ID); ok {
			name = "raft/peers/" + node.GetName()
		}
		out[name+"/lag"] = float64(p.Lag)
		out[name+"/active"] = 0
		if p.Active {
			out[name+"/active"] = 1
		}
	}
	l := s.CommitLatency
	out["registrar/state_store_ms"] = milliseconds(l.P50)
	out["registrar/state_store_ms/count"] = float64(l.Count)
	for name, d := range map[string]time.Duration{
		"min": l.Min, "max": l.Max, "p50": l.P50, "p90": l.P90, "p95": l.P95, "p99": l.P99, "p999": l.P999, "p9999": l.P9999,
	} {
		out["registrar/state_store_ms/"+name] = milliseconds(d)
	}
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

// agentMetrics are the gauges and counters of the agent by Mesos's names.
func (n *Node) agentMetrics(ctx context.Context) map[string]float64 {
	out := make(map[string]float64)
	if v, err := n.agent.view(ctx); err == nil {
		maps.Copy(out, v.Metrics)
	}
	out["slave/uptime_secs"] = time.Since(n.started).Seconds()
	out["slave/recovery_time_secs"] = n.recovery.Seconds()
	out["containerizer/mesos/containers"] = float64(len(n.agent.live()))
	out["containerizer/mesos/container_destroy_errors"] = float64(n.agent.destroyErrors.Load())
	out["containerizer/fetcher/task_fetches_succeeded"] = float64(n.agent.fetches.Load())
	out["containerizer/fetcher/task_fetches_failed"] = float64(n.agent.fetchErrors.Load())
	systemMetrics(out, n.config.DataDir)
	return out
}

// systemMetrics adds what the machine says of itself.
func systemMetrics(out map[string]float64, dir string) {
	out["system/cpus_total"] = float64(detectCPUs())
	if total := totalMemory(); total > 0 {
		out["system/mem_total_bytes"] = float64(total)
	}
	if free := freeMemory(); free > 0 {
		out["system/mem_free_bytes"] = float64(free)
	}
	if one, five, fifteen, ok := loadAverages(); ok {
		out["system/load_1min"], out["system/load_5min"], out["system/load_15min"] = one, five, fifteen
	}
	if total, free := diskUsage(dir); total > 0 {
		out["system/disk_total_bytes"], out["system/disk_free_bytes"] = float64(total), float64(free)
	}
}
