package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	// With the race detector each process would wait a second at its end.
	shimEnv = append(shimEnv, "GORACE=atexit_sleep_ms=0")
	SetSupervisor(testSupervisor)
	MaybeInit()
	if os.Getpid() == 1 {
		guestMain()
		return
	}
	if dir := os.Getenv(daemonMark); dir != "" {
		testDaemon(dir)
		os.Exit(0)
	}
	// All directories of these tests lie below one of their own: other packages' tests make mounts too.
	dir, err := os.MkdirTemp("", "isolate-test-")
	if err == nil {
		err = errors.Join(os.Chmod(dir, 0o755), os.Setenv("TMPDIR", dir))
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	before := mainThread()
	code := m.Run()
	if code == 0 {
		code = leftovers()
	}
	if now := mainThread(); now != before {
		fmt.Fprintf(os.Stderr, "the main thread became %s, was %s\n", now, before)
		code = 1
	}
	if err := os.RemoveAll(dir); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// leftovers looks for what no test may leave behind: processes of ours,
// mounts, cgroups.
func leftovers() (code int) {
	complain := func(format string, args ...any) {
		fmt.Fprintf(os.Stderr, "left behind: "+format+"\n", args...)
		code = 1
	}
	table, err := processTable()
	if err != nil {
		complain("process table: %v", err)
	}
	self := os.Getpid()
	for _, p := range descendants(table, self, 0) {
		complain("process %d", p.pid)
	}
	for _, p := range table {
		if p.ppid == self && p.zombie {
			complain("zombie %d", p.pid)
		}
	}
	if mounts := ourMounts(); mounts != "" {
		complain("mounts:\n%s", mounts)
	}
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/clusterd-test-*")
	if err != nil {
		complain("cgroups: %v", err)
	}
	for _, dir := range dirs {
		if strings.HasSuffix(dir, fmt.Sprintf("clusterd-test-%d", self)) {
			complain("cgroup %s", dir)
		}
	}
	return code
}

// mainThread is what a thread may change for itself: our launches and fetches
// must not do it to this one.
func mainThread() string {
	ns, err := os.Readlink("/proc/self/ns/mnt")
	if err != nil {
		return "" // not Linux
	}
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return err.Error()
	}
	for line := range strings.Lines(string(status)) {
		if strings.HasPrefix(line, "Uid:") || strings.HasPrefix(line, "Groups:") {
			ns += " " + strings.TrimSpace(line)
		}
	}
	return ns
}

// ourMounts are the mounts on this side that tests could have made.
func ourMounts() string {
	data, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return "" // not Linux
	}
	var ours strings.Builder
	for line := range strings.Lines(string(data)) {
		if strings.Contains(line, " "+os.TempDir()+"/") || strings.Contains(line, " /mnt ") {
			ours.WriteString(line)
		}
	}
	return ours.String()
}

// testSupervisor does what the environment says:
//
//	DO=run     starts CMD with sh and returns its exit code
//	DO=signal  the same, and sends SIGTERM when the file "ready" is there
//	DO=idle    starts nothing and waits for the end of the context
//	DO=return  starts nothing and returns 7
func testSupervisor(ctx context.Context, env []string, start func(Command) (*Process, error), stderr *os.File) int {
	vars := map[string]string{}
	for _, kv := range env {
		name, value, _ := strings.Cut(kv, "=")
		vars[name] = value
	}
	switch vars["DO"] {
	case "idle":
		fmt.Fprintln(stderr, "idle")
		<-ctx.Done()
		return 0
	case "return":
		return 7
	}
	p, err := start(Command{Path: "/bin/sh", Args: []string{"sh", "-c", vars["CMD"]}, Env: append([]string{"IN=task"}, testEnv...), User: vars["AS"]})
	if err != nil {
		fmt.Fprintf(stderr, "start: %v\n", err)
		return 9
	}
	if _, err := start(Command{Path: "/bin/true"}); err == nil {
		fmt.Fprintln(stderr, "started twice")
		return 9
	}
	if vars["DO"] == "signal" {
		waitForFile(vars["READY"])
		if err := p.Signal(syscall.SIGTERM); err != nil {
			fmt.Fprintf(stderr, "signal: %v\n", err)
			return 9
		}
	}
	e := p.Wait()
	fmt.Fprintf(stderr, "status %d limited %v\n", e.Status, e.Limited)
	if err := p.Signal(syscall.SIGTERM); err != nil {
		fmt.Fprintf(stderr, "signal after the end: %v\n", err)
	}
	return syscall.WaitStatus(uint32(e.Status)).ExitStatus() & 0xff
}

// waitForFile waits until a file has content. Only the other side's progress
// can end it; the test's own time limit is the bound.
func waitForFile(path string) string {
	for {
		if data, err := os.ReadFile(path); err == nil && len(data) > 0 && data[len(data)-1] == '\n' {
			return strings.TrimSpace(string(data))
		}
		pollPause()
	}
}

// pollPause lets other processes run between two looks at what has no event.
func pollPause() {
	tick := time.NewTimer(2 * time.Millisecond)
	<-tick.C
}

// testRoot is the cgroup root of this test process, and of its daemons.
var testRoot = sync.OnceValue(func() string {
	if root := os.Getenv("CLUSTERD_TEST_ROOT"); root != "" {
		return root
	}
	return fmt.Sprintf("clusterd-test-%d", os.Getpid())
})

// guestMark on the kernel's command line makes the test binary the init of a
// machine of its own.
const guestMark = "CLUSTERD_TEST_GUEST"

// daemonMark makes the test binary a daemon of its own, to be killed.
const daemonMark = "CLUSTERD_TEST_DAEMON"

// eachMode runs a test with plain processes and with containers.
func eachMode(t *testing.T, f func(t *testing.T, r *Runtime)) {
	t.Run("plain", func(t *testing.T) { f(t, openPlain(t)) })
	t.Run("contained", func(t *testing.T) { f(t, openContainers(t)) })
}

func openPlain(tb testing.TB) *Runtime {
	tb.Helper()
	r, err := Open(Config{StateDir: tb.TempDir(), Plain: true, CgroupRoot: testRoot()})
	if err != nil {
		tb.Fatal(err)
	}
	if r.Isolation().Containers || len(r.Isolation().Missing) == 0 {
		tb.Fatalf("plain runtime says %+v", r.Isolation())
	}
	return r
}

func openContainers(tb testing.TB) *Runtime {
	tb.Helper()
	r, err := Open(Config{StateDir: tb.TempDir(), CgroupRoot: testRoot()})
	if err != nil {
		tb.Fatal(err)
	}
	iso := r.Isolation()
	if os.Getenv(guestMark) != "" && iso.Cgroups != "v2" {
		tb.Fatalf("the guest has no cgroups version 2: %+v", iso)
	}
	if !iso.Containers {
		tb.Skipf("no containers here: %+v", iso.Missing)
	}
	return r
}

// sandbox makes a directory that every user can reach.
func sandbox(tb testing.TB) string {
	tb.Helper()
	dir := tb.TempDir()
	for d := dir; d != os.TempDir() && d != "/"; d = filepath.Dir(d) {
		if err := os.Chmod(d, 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	return dir
}

var testEnv = []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}

var nextID int

// marked are sleeps that tests look for. They get a fraction that tells them from
// those of another run of the tests on this machine.
var marked = regexp.MustCompile(`(sleep 4\d{3})`)

func fraction() string { return fmt.Sprintf(".%d", os.Getpid()) }

// shell is a container that runs a shell command.
func shell(tb testing.TB, command string) Spec {
	nextID++
	command = marked.ReplaceAllString(command, "${1}"+fraction())
	return Spec{
		ID: fmt.Sprintf("c%d", nextID), Path: "/bin/sh", Args: []string{"sh", "-c", command}, Env: testEnv, Dir: sandbox(tb),
		Limits: Limits{CPUSharesMilli: 500, MemorySoftBytes: 64 << 20, MemoryHardBytes: 64 << 20},
	}
}

// launch starts a container that the test's end destroys.
func launchIt(tb testing.TB, r *Runtime, s Spec) *Container {
	tb.Helper()
	c, err := r.Launch(context.Background(), s)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { discard(tb, c) })
	return c
}

func discard(tb testing.TB, c *Container) {
	tb.Helper()
	if err := c.Destroy(context.Background()); err != nil {
		tb.Error(err)
	}
	if err := c.Forget(); err != nil {
		tb.Error(err)
	}
}

// result is an ended container.
type result struct {
	exit           Exit
	stdout, stderr string
}

func finish(tb testing.TB, c *Container) result {
	tb.Helper()
	<-c.Done()
	return result{exit: c.Exit(), stdout: contents(tb, c.Dir(), "stdout"), stderr: contents(tb, c.Dir(), "stderr")}
}

func runIt(tb testing.TB, r *Runtime, s Spec) result {
	tb.Helper()
	return finish(tb, launchIt(tb, r, s))
}
