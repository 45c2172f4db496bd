package isolate

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// testDaemon is the life of a daemon that a test kills: it launches the
// containers described on its input and waits.
func testDaemon(dir string) {
	step := os.Getenv("CLUSTERD_TEST_STEP")
	atStep = func(s string) {
		if s == step {
			_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	r, err := Open(Config{StateDir: dir, CgroupRoot: testRoot(), Plain: os.Getenv("CLUSTERD_TEST_PLAIN") != ""})
	if err != nil {
		fmt.Println("open:", err)
		return
	}
	if os.Getenv("CLUSTERD_TEST_REPORT") != "" {
		fmt.Printf("containers %v, missing %v\n", r.Isolation().Containers, r.Isolation().Missing)
	}
	in := json.NewDecoder(os.Stdin)
	for {
		var s Spec
		if err := in.Decode(&s); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			fmt.Println("decode:", err)
			return
		}
		if _, err := r.Launch(context.Background(), s); err != nil {
			fmt.Println("launch:", err)
			return
		}
		fmt.Println("launched")
	}
}

// daemon is a daemon in a process of its own.
type daemon struct {
	cmd *exec.Cmd
	in  *json.Encoder
	out *bufio.Reader
}

func startDaemon(t *testing.T, dir, step string, plain bool) *daemon {
	t.Helper()
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), daemonMark+"="+dir, "CLUSTERD_TEST_ROOT="+testRoot(), "CLUSTERD_TEST_STEP="+step)
	if plain {
		cmd.Env = append(cmd.Env, "CLUSTERD_TEST_PLAIN=1")
	}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return &daemon{cmd: cmd, in: json.NewEncoder(in), out: bufio.NewReader(out)}
}

func (d *daemon) launch(t *testing.T, s Spec) {
	t.Helper()
	if err := d.in.Encode(s); err != nil {
		t.Fatal(err)
	}
	if line, err := d.out.ReadString('\n'); err != nil || line != "launched\n" {
		t.Fatalf("daemon says %q (%v)", line, err)
	}
}

func (d *daemon) kill(t *testing.T) {
	t.Helper()
	if err := d.cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
		t.Fatal(err)
	}
	_ = d.cmd.Wait() // killed
}

// adoptAll makes this process the parent of what a killed daemon leaves, as
// the machine's init would be, and reaps it at the end.
func adoptAll(t *testing.T) {
	t.Helper()
	if err := adoptOrphans(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		table, err := processTable()
		if err != nil {
			t.Error(err)
		}
		for _, p := range table {
			if p.ppid == os.Getpid() && p.zombie {
				waitChild(p.pid)
			}
		}
	})
}

func reopen(t *testing.T, dir string, plain bool) *Runtime {
	t.Helper()
	r, err := Open(Config{StateDir: dir, CgroupRoot: testRoot(), Plain: plain})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// EXE-149, EXE-157, ISO-403, ISO-532: containers outlive the daemon, and their
// true exit status is known to the next one.
func TestDaemonKilled(t *testing.T) {
	for _, plain := range []bool{true, false} {
		t.Run(map[bool]string{true: "plain", false: "contained"}[plain], func(t *testing.T) {
			if !plain {
				openContainers(t)
			}
			adoptAll(t)
			dir := t.TempDir()
			d := startDaemon(t, dir, "", plain)
			ends := shell(t, "echo ready > ready; while [ ! -e go ]; do sleep 0.01; done; exit 11")
			stays := shell(t, "echo ready > ready; while [ ! -e go ]; do sleep 0.01; done; exit 12")
			destroyed := shell(t, "trap '' TERM; echo ready > ready; while :; do sleep 0.01; done")
			supervised := shell(t, "")
			supervised.Supervised = true
			supervised.Env = append([]string{"DO=run", "CMD=echo ready > ready; while [ ! -e go ]; do sleep 0.01; done; exit 13"}, testEnv...)
			all := []Spec{ends, stays, destroyed, supervised}
			for _, s := range all {
				d.launch(t, s)
				waitForFile(filepath.Join(s.Dir, "ready"))
			}
			d.kill(t)
			// One ends while there is no daemon.
			record := shimRecord{}
			if err := readRecord(filepath.Join(dir, ends.ID), shimFile, &record); err != nil {
				t.Fatal(err)
			}
			w, err := watchProcess(record.Shim)
			if err != nil {
				t.Fatal(err)
			}
			letGo(t, ends)
			if err := w.wait(); err != nil {
				t.Fatal(err)
			}
			checkRecovered(t, reopen(t, dir, plain), all)
		})
	}
}

func letGo(t *testing.T, s Spec) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(s.Dir, "go"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// checkRecovered: of all, the first has ended with 11 and the third is to be
// destroyed; the others end with 12 and 13 when let go.
func checkRecovered(t *testing.T, r *Runtime, all []Spec) {
	t.Helper()
	found, err := r.Containers()
	if err != nil || len(found) != len(all) {
		t.Fatalf("found %v (%v)", found, err)
	}
	byID := map[string]*Container{}
	for _, c := range found {
		byID[c.ID()] = c
		defer discard(t, c)
	}
	first := byID[all[0].ID]
	select {
	case <-first.Done():
	default:
		t.Error("ended container is not done")
	}
	if e := first.Exit(); e.Status != 11<<8 || e.Err != "" {
		t.Errorf("exit %+v", e)
	}
	for i, status := range map[int]int{1: 12, 3: 13} {
		c := byID[all[i].ID]
		select {
		case <-c.Done():
			t.Fatal("running container is done")
		default:
		}
		if c.Dir() != all[i].Dir {
			t.Errorf("sandbox %s", c.Dir())
		}
		if _, err := c.Stats(); err != nil {
			t.Error(err)
		}
		if err := c.Update(Limits{CPUSharesMilli: 700, MemorySoftBytes: 70 << 20, MemoryHardBytes: 70 << 20}); err != nil {
			t.Error(err)
		}
		letGo(t, all[i])
		<-c.Done()
		if e := c.Exit(); e.Status != status<<8 || e.Err != "" {
			t.Errorf("exit %+v", e)
		}
	}
	c := byID[all[2].ID]
	if err := c.Destroy(context.Background()); err != nil {
		t.Error(err)
	}
	if e := c.Exit(); e.Status != int(syscall.SIGKILL) {
		t.Errorf("destroyed: %+v", e)
	}
}

// ISO-404: a daemon killed at any step of a launch leaves nothing that the next
// one does not remove.
func TestDaemonKilledLaunching(t *testing.T) {
	for _, plain := range []bool{true, false} {
		for _, step := range []string{"reserved", "cgroups", "shim", "container", "recorded"} {
			t.Run(fmt.Sprintf("%s plain=%v", step, plain), func(t *testing.T) {
				if !plain {
					openContainers(t)
				}
				adoptAll(t)
				dir := t.TempDir()
				d := startDaemon(t, dir, step, plain)
				s := shell(t, "echo x > ran; sleep 4291")
				if err := d.in.Encode(s); err != nil {
					t.Fatal(err)
				}
				if line, err := d.out.ReadString('\n'); err == nil {
					t.Fatalf("daemon says %q", line)
				}
				_ = d.cmd.Wait() // killed by itself
				r := reopen(t, dir, plain)
				found, err := r.Containers()
				if err != nil {
					t.Fatal(err)
				}
				for _, c := range found {
					<-c.Done() // the shim got no order
					if e := c.Exit(); e.Status > 0 && e.Status != int(syscall.SIGKILL) || e.Err == "" {
						t.Errorf("exit %+v", e)
					}
					discard(t, c)
				}
				nothingOf(t, r, s.ID)
				absent(t, filepath.Join(s.Dir, "ran"))
				if pids := running(t, "4291"); len(pids) != 0 {
					t.Errorf("still running: %v", pids)
				}
			})
		}
	}
}

// ISO-36, EXE-167: cgroups of containers whose state is gone are destroyed, those
// of others are left alone.
func TestOrphans(t *testing.T) {
	openContainers(t)
	adoptAll(t)
	dir := t.TempDir()
	d := startDaemon(t, dir, "", false)
	s := shell(t, "echo ready > ready; setsid sleep 4301 & sleep 4302")
	d.launch(t, s)
	waitForFile(filepath.Join(s.Dir, "ready"))
	for len(running(t, "4302")) == 0 { // the shell is about to start it
		pollPause()
	}
	d.kill(t)
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	other := openContainers(t) // another daemon with the same cgroup root
	if len(running(t, "4302")) != 1 {
		t.Error("a stranger's container was taken for an orphan")
	}
	r := reopen(t, dir, false)
	if pids := running(t, "430"); len(pids) != 0 {
		t.Errorf("still running: %v", pids)
	}
	nothingOf(t, r, s.ID)
	nothingOf(t, other, s.ID)
}

// ISO-405, style: a pid alone proves nothing.
func TestRecordsNotBelieved(t *testing.T) {
	for name, change := range map[string]func(*shimRecord){
		"another boot":  func(r *shimRecord) { r.BootID = "x" },
		"another start": func(r *shimRecord) { r.Shim.Start++ },
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			boot, err := bootID()
			if err != nil {
				t.Fatal(err)
			}
			self, err := findProcess(os.Getpid())
			if err != nil {
				t.Fatal(err)
			}
			record := shimRecord{BootID: boot, Shim: self, Plain: true}
			change(&record)
			if err := os.Mkdir(filepath.Join(dir, "c"), 0o700); err != nil {
				t.Fatal(err)
			}
			if err := writeRecord(filepath.Join(dir, "c"), shimFile, record, false); err != nil {
				t.Fatal(err)
			}
			r := reopen(t, dir, true)
			found, err := r.Containers()
			if err != nil || len(found) != 1 {
				t.Fatalf("found %v (%v)", found, err)
			}
			<-found[0].Done()
			if e := found[0].Exit(); e.Status != -1 || e.Err == "" {
				t.Errorf("exit %+v", e)
			}
			discard(t, found[0])
		})
	}
}

func TestUnreadableRecord(t *testing.T) {
	dir := t.TempDir()
	if err := errors.Join(os.Mkdir(filepath.Join(dir, "c"), 0o700), os.WriteFile(filepath.Join(dir, "c", shimFile), []byte("{"), 0o600)); err != nil {
		t.Fatal(err)
	}
	_, err := Open(Config{StateDir: dir, Plain: true})
	if err == nil || !strings.Contains(err.Error(), filepath.Join(dir, "c", shimFile)) {
		t.Errorf("got %v", err)
	}
}

// Decision 7, ISO-14: without root everything works as plain processes, and the
// reason is told.
func TestNotRoot(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("not root anyway: the other tests are this one")
	}
	nobody, err := lookupUser("nobody")
	if err != nil {
		t.Skip(err)
	}
	adoptAll(t)
	s := shell(t, "id -u; exit 3")
	dir := filepath.Join(s.Dir, "state")
	if err := errors.Join(os.Mkdir(dir, 0o755), Chown(dir, "nobody"), Chown(s.Dir, "nobody")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/proc/self/exe")
	cmd.Env = append(os.Environ(), daemonMark+"="+dir, "CLUSTERD_TEST_ROOT="+testRoot(), "CLUSTERD_TEST_REPORT=1")
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: nobody.UID, Gid: nobody.GID}}
	in, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "containers false") || !strings.Contains(string(out), "not running as root") || !strings.Contains(string(out), "launched") {
		t.Fatalf("%v: %s", err, out)
	}
	found, err := reopen(t, dir, true).Containers()
	if err != nil || len(found) != 1 {
		t.Fatalf("found %v (%v)", found, err)
	}
	defer discard(t, found[0])
	got := finish(t, found[0])
	if got.exit.Status != 3<<8 || got.stdout != fmt.Sprintf("%d\n", nobody.UID) {
		t.Errorf("exit %+v, stdout %q, stderr %q", got.exit, got.stdout, got.stderr)
	}
}
