package isolate

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// setting is one value for one cgroup file.
type setting struct {
	controller, file, value string
}

// cfsPeriodMicros is the period of cpu bounds; minQuotaMicros the least time
// in each (ISO-46).
const (
	cfsPeriodMicros = 100_000
	minQuotaMicros  = 1_000
)

// settings turns limits into files, in an order in which each step is allowed.
func (m *cgroups) settings(l Limits) []setting {
	if m.version == 2 {
		return settingsV2(l)
	}
	return settingsV1(l)
}

func settingsV1(l Limits) []setting {
	quota := int64(-1)
	if l.CPUQuotaMilli > 0 {
		quota = quotaMicros(l.CPUQuotaMilli)
	}
	hard := "-1"
	if l.MemoryHardBytes > 0 {
		hard = strconv.FormatInt(max(l.MemoryHardBytes, MinMemoryBytes), 10)
	}
	s := []setting{
		{"cpu", "cpu.cfs_period_us", strconv.Itoa(cfsPeriodMicros)},
		{"cpu", "cpu.cfs_quota_us", strconv.FormatInt(quota, 10)},
		{"memory", "memory.limit_in_bytes", hard},
	}
	if l.CPUSharesMilli > 0 {
		s = append(s, setting{"cpu", "cpu.shares", strconv.FormatInt(max(l.CPUSharesMilli*1024/1000, 2), 10)})
	}
	if l.MemorySoftBytes > 0 {
		s = append(s, setting{"memory", "memory.soft_limit_in_bytes", strconv.FormatInt(max(l.MemorySoftBytes, MinMemoryBytes), 10)})
	}
	return s
}

func settingsV2(l Limits) []setting {
	quota := "max"
	if l.CPUQuotaMilli > 0 {
		quota = strconv.FormatInt(quotaMicros(l.CPUQuotaMilli), 10)
	}
	hard := "max"
	if l.MemoryHardBytes > 0 {
		hard = strconv.FormatInt(max(l.MemoryHardBytes, MinMemoryBytes), 10)
	}
	s := []setting{
		{"cpu", "cpu.max", quota + " " + strconv.Itoa(cfsPeriodMicros)},
		{"memory", "memory.max", hard},
	}
	if l.CPUSharesMilli > 0 {
		// The kernel takes 1 to 10000.
		s = append(s, setting{"cpu", "cpu.weight", strconv.FormatInt(min(max(l.CPUSharesMilli/10, 1), 10000), 10)})
	}
	if l.MemorySoftBytes > 0 {
		s = append(s, setting{"memory", "memory.low", strconv.FormatInt(max(l.MemorySoftBytes, MinMemoryBytes), 10)})
	}
	return s
}

func quotaMicros(milli int64) int64 { return max(milli*cfsPeriodMicros/1000, minQuotaMicros) }

// write sets values; those of controllers that are missing were reported by
// Isolation and are left out.
func (m *cgroups) write(id string, settings []setting) error {
	for _, s := range settings {
		dir, ok := m.controller(s.controller, id)
		if !ok {
			continue
		}
		err := writeCgroupFile(dir, s.file, s.value)
		if errors.Is(err, fs.ErrNotExist) && strings.HasPrefix(s.file, "cpu.cfs_") && !strings.HasPrefix(s.value, "-") && s.file == "cpu.cfs_period_us" {
			continue // a kernel without CFS bandwidth: the quota below tells
		}
		if errors.Is(err, fs.ErrNotExist) && s.value == "-1" {
			continue // no bound, and none possible
		}
		if err != nil {
			return fmt.Errorf("set %s to %s: %w", s.file, s.value, err)
		}
	}
	return nil
}

// update writes new limits. A memory bound below what is in use would make the
// kernel kill: it is left as it is (ISO-58).
func (m *cgroups) update(id string, l Limits) error {
	settings := m.settings(l)
	limit, usage := "memory.limit_in_bytes", "memory.usage_in_bytes"
	if m.version == 2 {
		limit, usage = "memory.max", "memory.current"
	}
	if dir, ok := m.controller("memory", id); ok {
		used, err := readCgroupInt(dir, usage)
		if err != nil {
			return err
		}
		kept := settings[:0]
		for _, s := range settings {
			if n, err := strconv.ParseInt(s.value, 10, 64); s.file == limit && err == nil && n >= 0 && n <= used {
				continue
			}
			kept = append(kept, s)
		}
		settings = kept
	}
	return m.write(id, settings)
}

// readCgroupInt reads a number; "max" and the largest value of version 1 are 0:
// no bound.
func readCgroupInt(dir, name string) (int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return 0, err
	}
	text := string(bytes.TrimSpace(data))
	if text == "max" {
		return 0, nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%s: %w", name, err)
	}
	if n > 1<<62 {
		return 0, nil
	}
	return n, nil
}

// readCgroupKeys reads "name number" lines.
func readCgroupKeys(dir, name string) (map[string]int64, error) {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return nil, err
	}
	keys := map[string]int64{}
	for line := range strings.Lines(string(data)) {
		key, value, ok := strings.Cut(strings.TrimSpace(line), " ")
		if n, err := strconv.ParseInt(value, 10, 64); ok && err == nil {
			keys[key] = n
		}
	}
	return keys, nil
}

func (m *cgroups) memoryUse(id string) memoryUse {
	dir, ok := m.controller("memory", id)
	if !ok {
		return memoryUse{}
	}
	return readMemoryUse(dir, m.version)
}

// readMemoryUse reads the end of a container from its memory cgroup. What
// cannot be read stays zero: the cgroup may be going away.
func readMemoryUse(dir string, version int) memoryUse {
	var u memoryUse
	u.OOM = oomKilled(dir, version)
	if version == 1 {
		u.MaxBytes, _ = readCgroupInt(dir, "memory.max_usage_in_bytes")
		u.LimitBytes, _ = readCgroupInt(dir, "memory.limit_in_bytes")
		stat, _ := os.ReadFile(filepath.Join(dir, "memory.stat"))
		u.Stat = "MEMORY STATISTICS: \n" + string(stat)
		return u
	}
	var err error
	if u.MaxBytes, err = readCgroupInt(dir, "memory.peak"); err != nil { // since Linux 5.19
		u.MaxBytes, _ = readCgroupInt(dir, "memory.current")
	}
	u.LimitBytes, _ = readCgroupInt(dir, "memory.max")
	stat, _ := readCgroupKeys(dir, "memory.stat")
	u.Stat = fmt.Sprintf("MEMORY STATISTICS post-OOM: \nanon: %d\nfile: %d\nkernel: %d\n", stat["anon"], stat["file"], stat["kernel"])
	return u
}

// oomKilled reports whether a process was killed for this cgroup's own bound.
// The kill counter alone also counts kills for the machine's memory.
func oomKilled(dir string, version int) bool {
	if version == 1 {
		control, err := readCgroupKeys(dir, "memory.oom_control")
		if err != nil || control["oom_kill"] == 0 {
			return false
		}
		hits, err := readCgroupInt(dir, "memory.failcnt")
		return err == nil && hits > 0
	}
	events, err := readCgroupKeys(dir, "memory.events")
	return err == nil && events["oom_kill"] > 0 && events["oom"] > 0
}

// measure fills in what the cgroups of a container count.
func (m *cgroups) measure(id string, s *Stats) error {
	if m.version == 2 {
		return m.measureV2(id, s)
	}
	return m.measureV1(id, s)
}

func (m *cgroups) measureV1(id string, s *Stats) error {
	if dir, ok := m.controller("cpuacct", id); ok {
		ticks, err := readCgroupKeys(dir, "cpuacct.stat")
		if err != nil {
			return err
		}
		s.CPUUser = time.Duration(ticks["user"]) * time.Second / userHZ
		s.CPUSystem = time.Duration(ticks["system"]) * time.Second / userHZ
	}
	if dir, ok := m.controller("cpu", id); ok && s.CPULimitMilli > 0 {
		stat, err := readCgroupKeys(dir, "cpu.stat")
		if err != nil {
			return err
		}
		s.throttled(stat["nr_periods"], stat["nr_throttled"], time.Duration(stat["throttled_time"]))
	}
	dir, ok := m.controller("memory", id)
	if !ok {
		return nil
	}
	stat, err := readCgroupKeys(dir, "memory.stat")
	if err != nil {
		return err
	}
	mem := &MemoryStats{
		Anon: stat["total_rss"], File: stat["total_cache"], MappedFile: stat["total_mapped_file"],
		Swap: stat["total_swap"], Unevictable: stat["total_unevictable"],
	}
	if mem.Total, err = readCgroupInt(dir, "memory.usage_in_bytes"); err != nil {
		return err
	}
	// Not every kernel accounts its own memory.
	mem.KernelUsage, _ = readCgroupInt(dir, "memory.kmem.usage_in_bytes")
	mem.KernelTCP, _ = readCgroupInt(dir, "memory.kmem.tcp.usage_in_bytes")
	s.Memory, s.MemoryRSSBytes = mem, mem.Anon
	return nil
}

func (m *cgroups) measureV2(id string, s *Stats) error {
	dir := m.dir(m.hierarchies[0], id)
	cpu, err := readCgroupKeys(dir, "cpu.stat")
	if err != nil {
		return err
	}
	s.CPUUser = time.Duration(cpu["user_usec"]) * time.Microsecond
	s.CPUSystem = time.Duration(cpu["system_usec"]) * time.Microsecond
	if _, ok := m.controller("cpu", id); ok {
		s.throttled(cpu["nr_periods"], cpu["nr_throttled"], time.Duration(cpu["throttled_usec"])*time.Microsecond)
	}
	if _, ok := m.controller("memory", id); !ok {
		return nil
	}
	stat, err := readCgroupKeys(dir, "memory.stat")
	if err != nil {
		return err
	}
	mem := &MemoryStats{
		Anon: stat["anon"], File: stat["file"], MappedFile: stat["file_mapped"],
		Unevictable: stat["unevictable"], KernelUsage: stat["kernel"], KernelTCP: stat["sock"],
	}
	if mem.Total, err = readCgroupInt(dir, "memory.current"); err != nil {
		return err
	}
	mem.Swap, _ = readCgroupInt(dir, "memory.swap.current") // absent without swap accounting
	s.Memory, s.MemoryRSSBytes = mem, mem.Anon
	return nil
}
