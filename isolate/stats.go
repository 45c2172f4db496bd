package isolate

import "time"

// Stats is the usage of a container. Counters never go backwards while it
// lives. Fields that a mechanism does not measure are absent (nil), not 0.
type Stats struct {
	Timestamp time.Time

	CPUUser, CPUSystem   time.Duration
	CPUSharesMilli       int64 // cpus_soft_limit
	CPULimitMilli        int64 // cpus_limit; 0: none
	CPUPeriods           *int64
	CPUThrottledPeriods  *int64
	CPUThrottled         *time.Duration
	Processes, Threads   *int64
	MemorySoftLimitBytes int64 // mem_soft_limit_bytes
	MemoryLimitBytes     int64 // mem_limit_bytes; 0: none
	MemoryRSSBytes       int64 // mem_rss_bytes

	// Cgroup is nil for plain processes.
	Memory *MemoryStats
}

// MemoryStats are the numbers of a memory cgroup, in bytes (ISO-72 to ISO-76).
type MemoryStats struct {
	Total       int64 // mem_total_bytes
	Anon        int64 // mem_anon_bytes, mem_rss_bytes
	File        int64 // mem_file_bytes, mem_cache_bytes
	MappedFile  int64 // mem_mapped_file_bytes
	Swap        int64 // mem_swap_bytes
	Unevictable int64 // mem_unevictable_bytes
	KernelUsage int64 // mem_kmem_usage_bytes
	KernelTCP   int64 // mem_kmem_tcp_usage_bytes
}

// Stats measures a running container.
func (c *Container) Stats() (Stats, error) {
	c.mu.Lock()
	l := c.record.Limits
	c.mu.Unlock()
	s := Stats{Timestamp: time.Now(), CPUSharesMilli: l.CPUSharesMilli, CPULimitMilli: l.CPUQuotaMilli,
		MemorySoftLimitBytes: l.MemorySoftBytes, MemoryLimitBytes: l.MemoryHardBytes}
	if !c.record.Plain {
		return s, c.runtime.cgroups.measure(c.id, &s)
	}
	return s, c.measureTree(&s)
}

func (s *Stats) throttled(periods, throttled int64, time time.Duration) {
	s.CPUPeriods, s.CPUThrottledPeriods, s.CPUThrottled = &periods, &throttled, &time
}

// measureTree sums the processes of the container: shim, its descendants and
// the task's session.
func (c *Container) measureTree(s *Stats) error {
	table, err := processTable()
	if err != nil {
		return err
	}
	tree := descendants(table, c.Pid(), c.task().Pid)
	if p, err := readProcess(c.Pid()); err == nil {
		tree = append(tree, p)
	}
	var processes, threads int64
	for _, p := range tree {
		user, sys := p.cpu()
		s.CPUUser += user
		s.CPUSystem += sys
		s.MemoryRSSBytes += p.rssBytes()
		processes++
		threads += p.threads
	}
	s.Processes, s.Threads = &processes, &threads
	return nil
}
