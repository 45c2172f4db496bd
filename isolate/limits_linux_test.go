package isolate

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// ISO-43, ISO-44, ISO-46, ISO-47, ISO-48, ISO-56, ISO-57
func TestSettings(t *testing.T) {
	const mb = 1 << 20
	for _, test := range []struct {
		limits Limits
		v1, v2 map[string]string
	}{
		{
			Limits{CPUSharesMilli: 1100, MemorySoftBytes: 96 * mb, MemoryHardBytes: 96 * mb},
			map[string]string{"cpu.shares": "1126", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1", "memory.soft_limit_in_bytes": "100663296", "memory.limit_in_bytes": "100663296"},
			map[string]string{"cpu.weight": "110", "cpu.max": "max 100000", "memory.low": "100663296", "memory.max": "100663296"},
		},
		{
			Limits{CPUSharesMilli: 200, CPUQuotaMilli: 600, MemorySoftBytes: 8 * mb, MemoryHardBytes: 8 * mb},
			map[string]string{"cpu.shares": "204", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "60000", "memory.soft_limit_in_bytes": "33554432", "memory.limit_in_bytes": "33554432"},
			map[string]string{"cpu.weight": "20", "cpu.max": "60000 100000", "memory.low": "33554432", "memory.max": "33554432"},
		},
		{
			Limits{CPUSharesMilli: 1, CPUQuotaMilli: 1, MemorySoftBytes: 64 * mb, MemoryHardBytes: 256 * mb},
			map[string]string{"cpu.shares": "2", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "1000", "memory.soft_limit_in_bytes": "67108864", "memory.limit_in_bytes": "268435456"},
			map[string]string{"cpu.weight": "1", "cpu.max": "1000 100000", "memory.low": "67108864", "memory.max": "268435456"},
		},
		{
			Limits{CPUSharesMilli: 500000},
			map[string]string{"cpu.shares": "512000", "cpu.cfs_period_us": "100000", "cpu.cfs_quota_us": "-1", "memory.limit_in_bytes": "-1"},
			map[string]string{"cpu.weight": "10000", "cpu.max": "max 100000", "memory.max": "max"},
		},
	} {
		for version, want := range map[int]map[string]string{1: test.v1, 2: test.v2} {
			got := map[string]string{}
			for _, s := range (&cgroups{version: version}).settings(test.limits) {
				got[s.file] = s.value
			}
			if !reflect.DeepEqual(got, want) {
				t.Errorf("%+v, version %d: %v, want %v", test.limits, version, got, want)
			}
		}
	}
}

// cgroupValue reads a file of a running container's cgroup.
func cgroupValue(tb testing.TB, r *Runtime, id, controller, file string) string {
	tb.Helper()
	dir, ok := r.cgroups.controller(controller, id)
	if !ok {
		tb.Skipf("no controller %s here", controller)
	}
	data, err := os.ReadFile(filepath.Join(dir, file))
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(data))
}

// waiting is a container that runs until it is destroyed.
func waiting(tb testing.TB, r *Runtime, l Limits) *Container {
	tb.Helper()
	s := shell(tb, "cat /proc/self/cgroup > groups; cat /proc/self/oom_score_adj > score; echo ready > ready; sleep 1000")
	s.Limits = l
	c := launchIt(tb, r, s)
	waitForFile(filepath.Join(s.Dir, "ready"))
	return c
}

// ISO-30, ISO-31, ISO-50, ISO-58, ISO-70: what the kernel was told.
func TestLimitFiles(t *testing.T) {
	r := openContainers(t)
	l := Limits{CPUSharesMilli: 600, CPUQuotaMilli: 700, MemorySoftBytes: 64 << 20, MemoryHardBytes: 128 << 20}
	c := waiting(t, r, l)
	check := func(l Limits) {
		t.Helper()
		for _, s := range r.cgroups.settings(l) {
			if got := cgroupValue(t, r, c.ID(), s.controller, s.file); got != s.value {
				t.Errorf("%s is %s, want %s", s.file, got, s.value)
			}
		}
	}
	check(l)
	if r.cgroups.version == 2 {
		if got := cgroupValue(t, r, c.ID(), "memory", "task/memory.oom.group"); got != "1" { // ISO-69
			t.Errorf("memory.oom.group is %s", got)
		}
	}
	groups := contents(t, c.Dir(), "groups")
	below := "/" + testRoot() + "/" + c.ID()
	for _, want := range map[int][]string{
		1: {":cpu", ":cpuacct", ":memory", ":freezer", ":pids"}, 2: {"0::" + below + "/task"},
	}[r.cgroups.version] {
		if !strings.Contains(groups, want) {
			t.Errorf("no %s in\n%s", want, groups)
		}
	}
	for line := range strings.Lines(groups) {
		id, rest, _ := strings.Cut(strings.TrimSpace(line), ":")
		names, path, _ := strings.Cut(rest, ":")
		ours := false
		for _, name := range strings.Split(names, ",") {
			_, known := r.cgroups.controller(name, c.ID())
			ours = ours || known || r.cgroups.version == 2 && id == "0"
		}
		if ours != strings.HasPrefix(path, below) {
			t.Errorf("hierarchy %q is at %s", names, path)
		}
	}
	if got, want := strings.TrimSpace(contents(t, c.Dir(), "score")), strconv.Itoa(int(1000-1000*l.MemorySoftBytes/r.memoryBytes)); got != want {
		t.Errorf("oom_score_adj is %s, want %s", got, want)
	}
	l = Limits{CPUSharesMilli: 1000, MemorySoftBytes: 200 << 20, MemoryHardBytes: 200 << 20}
	if err := c.Update(l); err != nil {
		t.Fatal(err)
	}
	check(l)
	l = Limits{CPUSharesMilli: 500, CPUQuotaMilli: 500, MemorySoftBytes: 50 << 20, MemoryHardBytes: 50 << 20}
	if err := c.Update(l); err != nil {
		t.Fatal(err)
	}
	check(l)
	if c.Exit().OOM {
		t.Error("an update killed")
	}
}

// ISO-58: a bound below what is in use is not written.
func TestUpdateNeverKills(t *testing.T) {
	r := openContainers(t)
	s := shell(t, "head -c 100000000 /dev/zero > /dev/shm/$0.$$; echo ready > ready; sleep 1000")
	s.Limits = Limits{CPUSharesMilli: 500, MemorySoftBytes: 300 << 20, MemoryHardBytes: 300 << 20}
	c := launchIt(t, r, s)
	t.Cleanup(func() {
		files, err := filepath.Glob("/dev/shm/sh.*")
		if err != nil {
			t.Error(err)
		}
		for _, f := range files {
			if st, err := os.Stat(f); err == nil && st.Size() == 100000000 {
				if err := os.Remove(f); err != nil {
					t.Error(err)
				}
			}
		}
	})
	waitForFile(filepath.Join(s.Dir, "ready"))
	if err := c.Update(Limits{CPUSharesMilli: 500, MemorySoftBytes: 40 << 20, MemoryHardBytes: 40 << 20}); err != nil {
		t.Fatal(err)
	}
	file := map[int]string{1: "memory.limit_in_bytes", 2: "memory.max"}[r.cgroups.version]
	if got := cgroupValue(t, r, c.ID(), "memory", file); got != strconv.Itoa(300<<20) {
		t.Errorf("%s is %s", file, got)
	}
	if use := r.cgroups.memoryUse(c.ID()); use.OOM {
		t.Error("the update killed")
	}
}

// EXE-133, ISO-61, ISO-62, ISO-66, ISO-452, ISO-453
func TestOutOfMemory(t *testing.T) {
	r := openContainers(t)
	neighbour := waiting(t, r, Limits{CPUSharesMilli: 100, MemorySoftBytes: 64 << 20, MemoryHardBytes: 64 << 20})
	eat := "head -c 300000000 /dev/zero | tail > /dev/null"
	limits := Limits{CPUSharesMilli: 500, MemorySoftBytes: 64 << 20, MemoryHardBytes: 64 << 20}
	for name, change := range map[string]func(s *Spec){
		"task":       func(s *Spec) { s.Args[2] = "exec tail /dev/zero" },
		"child":      func(s *Spec) { s.Args[2] = eat + "; sleep 1000" }, // the whole container ends
		"supervised": func(s *Spec) { s.Supervised, s.Env = true, []string{"DO=run", "CMD=" + eat + "; sleep 1000"} },
	} {
		t.Run(name, func(t *testing.T) {
			s := shell(t, "")
			s.Limits = limits
			change(&s)
			got := runIt(t, r, s)
			e := got.exit
			if !e.OOM || e.MemoryLimitBytes != 64<<20 || e.MaxMemoryBytes < 60<<20 || e.MaxMemoryBytes > 64<<20 {
				t.Errorf("exit %+v", e)
			}
			if name == "supervised" && !strings.Contains(got.stderr, "status 9 limited true") {
				t.Errorf("supervisor saw %q", got.stderr)
			}
			if name != "supervised" && e.Status != int(syscall.SIGKILL) {
				t.Errorf("status %d", e.Status)
			}
			heading := map[int]string{1: "\n\nMEMORY STATISTICS: \n", 2: "\n\nMEMORY STATISTICS post-OOM: \n"}[r.cgroups.version]
			text := e.OOMMessage()
			if !strings.HasPrefix(text, "Memory limit exceeded: Requested: 64MB Maximum Used: ") || !strings.Contains(text, heading) || len(text) < 120 {
				t.Errorf("message %q", text)
			}
		})
	}
	select {
	case <-neighbour.Done():
		t.Error("the neighbour ended as well")
	default:
	}
	// A kill that nobody's bound caused is not one.
	s := shell(t, "kill -9 $$")
	if e := runIt(t, r, s).exit; e.OOM {
		t.Errorf("exit %+v", e)
	}
}

// ISO-51, ISO-52, ISO-71 to ISO-75, ISO-536
func TestStats(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, "i=0; while [ $i -lt 100000 ]; do i=$((i+1)); done; echo ready > ready; sleep 1000")
		s.Limits = Limits{CPUSharesMilli: 500, CPUQuotaMilli: 900, MemorySoftBytes: 64 << 20, MemoryHardBytes: 80 << 20}
		c := launchIt(t, r, s)
		waitForFile(filepath.Join(s.Dir, "ready"))
		got, err := c.Stats()
		if err != nil {
			t.Fatal(err)
		}
		if got.CPUUser <= 0 || got.CPUUser > time.Minute || got.MemoryRSSBytes < 100<<10 || time.Since(got.Timestamp) > time.Minute {
			t.Errorf("stats %+v", got)
		}
		if got.CPUSharesMilli != 500 || got.CPULimitMilli != 900 || got.MemorySoftLimitBytes != 64<<20 || got.MemoryLimitBytes != 80<<20 {
			t.Errorf("limits %+v", got)
		}
		if r.plain {
			if got.Memory != nil || got.CPUPeriods != nil || got.Processes == nil || *got.Processes < 3 {
				t.Errorf("plain %+v", got)
			}
			return
		}
		if m := got.Memory; m == nil || m.Anon <= 0 || m.Total < m.Anon || m.Anon != got.MemoryRSSBytes || m.Total > 80<<20 {
			t.Errorf("memory %+v", m)
		}
		if got.CPUPeriods == nil || *got.CPUPeriods <= 0 || got.CPUThrottled == nil {
			t.Errorf("throttling %+v", got)
		}
		later, err := c.Stats()
		if err != nil || later.CPUUser < got.CPUUser || later.CPUSystem < got.CPUSystem {
			t.Errorf("counters went back: %+v, %+v (%v)", got, later, err)
		}
	})
}

// fakeGroup is a directory with files as the kernel has them.
func fakeGroup(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// ISO-63, ISO-64 and the measures of version 2, from files.
func TestVersion2Files(t *testing.T) {
	files := map[string]string{
		"cpu.stat":      "usage_usec 30\nuser_usec 1000000\nsystem_usec 500000\nnr_periods 7\nnr_throttled 3\nthrottled_usec 2000\n",
		"memory.stat":   "anon 100\nfile 200\nkernel 300\nsock 40\nfile_mapped 50\nunevictable 60\n",
		"memory.events": "low 0\nhigh 0\nmax 9\noom 1\noom_kill 1\n", "memory.current": "700\n", "memory.peak": "900\n", "memory.max": "1048576\n", "memory.swap.current": "5\n",
	}
	dir := fakeGroup(t, files)
	m := &cgroups{version: 2, root: ".", hierarchies: []hierarchy{{mount: filepath.Dir(dir), controllers: []string{"cpu", "memory"}, leaf: true}}}
	id := filepath.Base(dir)
	use := m.memoryUse(id)
	if want := (memoryUse{OOM: true, MaxBytes: 900, LimitBytes: 1 << 20, Stat: "MEMORY STATISTICS post-OOM: \nanon: 100\nfile: 200\nkernel: 300\n"}); use != want {
		t.Errorf("use %+v", use)
	}
	e := Exit{OOM: true, MaxMemoryBytes: use.MaxBytes, MemoryLimitBytes: use.LimitBytes, MemoryStat: use.Stat}
	if got := e.OOMMessage(); !strings.HasPrefix(got, "Memory limit exceeded: Requested: 1MB Maximum Used: 900B\n\nMEMORY STATISTICS post-OOM: \nanon: 100\n") {
		t.Errorf("message %q", got)
	}
	var s Stats
	if err := m.measure(id, &s); err != nil {
		t.Fatal(err)
	}
	if s.CPUUser != time.Second || s.CPUSystem != time.Second/2 || *s.CPUPeriods != 7 || *s.CPUThrottledPeriods != 3 || *s.CPUThrottled != 2*time.Millisecond {
		t.Errorf("cpu %+v", s)
	}
	if want := (MemoryStats{Total: 700, Anon: 100, File: 200, MappedFile: 50, Swap: 5, Unevictable: 60, KernelUsage: 300, KernelTCP: 40}); *s.Memory != want {
		t.Errorf("memory %+v", *s.Memory)
	}
	for events, want := range map[string]bool{"oom 0\noom_kill 1\n": false, "oom 1\noom_kill 0\n": false, "oom 2\noom_kill 1\n": true} {
		if got := oomKilled(fakeGroup(t, map[string]string{"memory.events": events}), 2); got != want {
			t.Errorf("%q is out of memory: %v", events, got)
		}
	}
	// Without memory.peak (before Linux 5.19) the present use stands in.
	delete(files, "memory.peak")
	if use := readMemoryUse(fakeGroup(t, files), 2); use.MaxBytes != 700 {
		t.Errorf("use %+v", use)
	}
}

// ISO-65: kills for the machine's memory are not the container's.
func TestVersion1OOM(t *testing.T) {
	for _, test := range []struct {
		control, failures string
		want              bool
	}{
		{"oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "12\n", true},
		{"oom_kill_disable 0\nunder_oom 0\noom_kill 1\n", "0\n", false},
		{"oom_kill_disable 0\nunder_oom 1\noom_kill 0\n", "12\n", false},
	} {
		dir := fakeGroup(t, map[string]string{"memory.oom_control": test.control, "memory.failcnt": test.failures})
		if got := oomKilled(dir, 1); got != test.want {
			t.Errorf("%+v: %v", test, got)
		}
	}
}

// ISO-25
func TestParseCgroupMounts(t *testing.T) {
	const table = `31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:5 - cgroup cgroup rw,cpu,cpuacct
35 31 0:32 / /cg/with\040blank rw,relatime - cgroup cgroup rw,memory
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
bad line
`
	got, err := parseCgroupMounts(bufio.NewScanner(strings.NewReader(table)))
	if err != nil {
		t.Fatal(err)
	}
	if got["cpu"] != "/sys/fs/cgroup/cpu,cpuacct" || got["cpuacct"] != got["cpu"] || got["memory"] != "/cg/with blank" || got["freezer"] != "" {
		t.Errorf("mounts %v", got)
	}
}

func FuzzParseCgroupMounts(f *testing.F) {
	f.Add("32 31 0:29 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu")
	f.Fuzz(func(t *testing.T, table string) {
		mounts, err := parseCgroupMounts(bufio.NewScanner(strings.NewReader(table)))
		if err == nil && len(mounts) > len(table) {
			t.Error("more mounts than bytes")
		}
	})
}

// ISO-62: the largest unit without a rest.
func TestFormatBytes(t *testing.T) {
	for n, want := range map[int64]string{0: "0B", 1023: "1023B", 1024: "1KB", 96 << 20: "96MB", 98765 << 10: "98765KB", 1 << 40: "1TB", 1 << 50: "1024TB"} {
		if got := formatBytes(n); got != want {
			t.Errorf("%d is %s, want %s", n, got, want)
		}
	}
}

// ISO-34: a cgroup that is there already is not joined, and stays.
func TestCgroupExists(t *testing.T) {
	r := openContainers(t)
	last := r.cgroups.hierarchies[len(r.cgroups.hierarchies)-1]
	s := shell(t, "true")
	dir := r.cgroups.dir(last, s.ID)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Launch(context.Background(), s); err == nil || !strings.Contains(err.Error(), "exists") {
		t.Errorf("launched: %v", err)
	}
	if _, err := os.Stat(dir); err != nil {
		t.Error(err)
	}
	if err := r.cgroups.destroy(s.ID); err != nil {
		t.Error(err)
	}
	nothingOf(t, r, s.ID)
}

// ISO-14, decision 7: what is missing has a reason.
func TestIsolationReport(t *testing.T) {
	_, iso := detect(Config{CgroupRoot: "../up"}, t.TempDir())
	if iso.Containers || len(iso.Missing) == 0 {
		t.Errorf("%+v", iso)
	}
	for _, m := range iso.Missing {
		if m.What == "" || m.Why == "" {
			t.Errorf("%+v", m)
		}
	}
	r := openContainers(t)
	iso = r.Isolation()
	if want := fmt.Sprintf("v%d", r.cgroups.version); iso.Cgroups != want {
		t.Errorf("%+v", iso)
	}
	for _, want := range []string{"namespaces/pid", "namespaces/ipc"} {
		if !strings.Contains(strings.Join(iso.Mechanisms, ","), want) {
			t.Errorf("%+v", iso)
		}
	}
	m := &cgroups{version: 1, root: testRoot(), owner: "x"}
	missing, err := m.findV1(map[string]string{"cpu": filepath.Join(t.TempDir(), "cpu"), "memory": "/proc/no"})
	if err != nil || len(missing) != len(wantedControllers)-1 || missing[1].What != "memory limit" {
		t.Errorf("missing %v (%v)", missing, err)
	}
	if _, err := (&cgroups{version: 1, root: "x"}).findV1(map[string]string{"memory": "/proc/no"}); err == nil {
		t.Error("found cgroups in /proc")
	}
}
