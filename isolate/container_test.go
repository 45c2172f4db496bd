package isolate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// EXE-42, EXE-43, EXE-45, EXE-49, ISO-396
func TestExit(t *testing.T) {
	tests := []struct {
		name           string
		spec           func(s *Spec)
		files          map[string]string // name to content, mode 0755
		status         int
		stdout, stderr string
	}{
		{name: "success", spec: func(s *Spec) { s.Path, s.Args = "/bin/echo", []string{"echo", "$X", "*"} }, stdout: "$X *\n"},
		{name: "code", spec: func(s *Spec) { s.Args[2] = "exit 3" }, status: 3 << 8},
		{name: "signal", spec: func(s *Spec) { s.Args[2] = "kill -TERM $$" }, status: int(syscall.SIGTERM)},
		{name: "killed", spec: func(s *Spec) { s.Args[2] = "kill -KILL $$" }, status: int(syscall.SIGKILL)},
		{name: "shell finds nothing", spec: func(s *Spec) { s.Args[2] = "/no/such 2>/dev/null" }, status: 127 << 8},
		{name: "absent", spec: func(s *Spec) { s.Path, s.Args = "/no/such", nil }, status: 1 << 8, stderr: "Failed to execute '/no/such': No such file or directory\n"},
		{name: "absent in path", spec: func(s *Spec) { s.Path, s.Args = "", []string{"no-such"} }, status: 1 << 8, stderr: "Failed to execute 'no-such': No such file or directory\n"},
		{name: "a directory", spec: func(s *Spec) { s.Path = "/etc" }, status: 1 << 8, stderr: "Failed to execute '/etc': Permission denied\n"},
		{name: "another machine's", files: map[string]string{"prog": "\177ELF garbage"}, spec: func(s *Spec) { s.Path = "./prog" }, status: 1 << 8, stderr: "Failed to execute './prog': Exec format error\n"},
		{name: "in path", spec: func(s *Spec) { s.Path, s.Args = "", []string{"echo", "hi"} }, stdout: "hi\n"},
		{name: "in path, own argv0", spec: func(s *Spec) { s.Path, s.Args = "sh", []string{"me", "-c", "echo $0"} }, stdout: "me\n"},
		{name: "without arguments", spec: func(s *Spec) { s.Path, s.Args = "pwd", nil }, stdout: "DIR\n"},
		{name: "in the sandbox", files: map[string]string{"prog": "#!/bin/sh\necho here\n"}, spec: func(s *Spec) { s.Path, s.Args = "prog", nil }, stdout: "here\n"},
		{name: "relative", files: map[string]string{"prog": "#!/bin/sh\necho here\n"}, spec: func(s *Spec) { s.Path, s.Args = "./prog", nil }, stdout: "here\n"},
		{name: "path before sandbox", files: map[string]string{"echo": "#!/bin/sh\nfalse"}, spec: func(s *Spec) { s.Path, s.Args = "echo", []string{"echo", "1"} }, stdout: "1\n"},
		{name: "no PATH", spec: func(s *Spec) { s.Path, s.Args, s.Env = "env", nil, nil }, stdout: ""},
	}
	eachMode(t, func(t *testing.T, r *Runtime) {
		for _, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				s := shell(t, "")
				test.spec(&s)
				for name, content := range test.files {
					if err := os.WriteFile(filepath.Join(s.Dir, name), []byte(content), 0o755); err != nil {
						t.Fatal(err)
					}
				}
				got := runIt(t, r, s)
				want := strings.ReplaceAll(test.stdout, "DIR", s.Dir)
				if got.exit.Status != test.status || got.exit.Err != "" || got.exit.OOM || got.stdout != want || got.stderr != test.stderr {
					t.Errorf("got %d %q %q %q", got.exit.Status, got.exit.Err, got.stdout, got.stderr)
				}
			})
		}
	})
}

// EXE-38, ISO-339: the environment is what was asked for and nothing else.
func TestEnvironment(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, "")
		s.Path, s.Args = "/usr/bin/env", []string{"env"}
		s.Env = []string{"A=1", "EMPTY=", "LD_PRELOAD_X=y", "_CLUSTERD_INIT=1", "_LIBCONTAINER_INITPIPE=9", "B=two words"}
		got := runIt(t, r, s)
		if want := strings.Join(s.Env, "\n") + "\n"; got.stdout != want {
			t.Errorf("environment %q", got.stdout)
		}
		s = shell(t, "true")
		s.Env = []string{"LD_PRELOAD=/no/such.so", "LD_LIBRARY_PATH=" + s.Dir}
		// Each program of the task complains once, nothing of ours does.
		if got := runIt(t, r, s); strings.Count(got.stderr, "ld.so") > 1 || got.exit.Status != 0 {
			t.Errorf("stderr %q", got.stderr)
		}
	})
}

// EXE-51, ISO-119, ISO-120: descriptors, signals, umask, session, stdin.
func TestProcessState(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		got := runIt(t, r, shell(t, `umask; ls /proc/self/fd | tr '\n' ' '; echo; readlink /proc/self/fd/0
			grep -E '^(SigBlk|SigIgn)' /proc/self/status; cut -d' ' -f1,5,6 /proc/$$/stat; pwd`))
		lines := strings.Split(got.stdout, "\n")
		if len(lines) < 7 {
			t.Fatalf("got %q %q", got.stdout, got.stderr)
		}
		if lines[0] != "0022" || lines[1] != "0 1 2 3 " || lines[2] != "/dev/null" {
			t.Errorf("umask, descriptors, stdin: %q", lines[:3])
		}
		for _, line := range lines[3:5] {
			if !strings.HasSuffix(line, "0000000000000000") {
				t.Errorf("signals: %s", line)
			}
		}
		ids := strings.Fields(lines[5])
		if ids[0] != ids[1] || ids[0] != ids[2] {
			t.Errorf("pid, group, session: %v", ids)
		}
	})
}

// ISO-103, ISO-128, ISO-132, ISO-137, ISO-470
func TestNamespaces(t *testing.T) {
	r := openContainers(t)
	var script strings.Builder
	kinds := []string{"mnt", "pid", "ipc", "uts", "net", "user"}
	for _, k := range kinds {
		fmt.Fprintf(&script, "readlink /proc/self/ns/%s\n", k)
	}
	script.WriteString("cat /proc/1/comm; ls -d /proc/[0-9]* | wc -l; hostname; hostname inside; mount -t tmpfs none /mnt && echo mounted\n")
	got := runIt(t, r, shell(t, script.String()))
	lines := strings.Fields(got.stdout)
	if len(lines) != len(kinds)+4 {
		t.Fatalf("got %q %q", got.stdout, got.stderr)
	}
	for i, k := range kinds {
		own, err := os.Readlink("/proc/self/ns/" + k)
		if err != nil {
			t.Fatal(err)
		}
		if shared := k == "net" || k == "user"; (own == lines[i]) != shared {
			t.Errorf("namespace %s is %s, ours %s", k, lines[i], own)
		}
	}
	rest := lines[len(kinds):]
	host, err := os.Hostname()
	if err != nil {
		t.Fatal(err)
	}
	if n, err := strconv.Atoi(rest[1]); rest[0] != "clusterd-init" || err != nil || n > 5 || rest[2] != host || rest[3] != "mounted" {
		t.Errorf("init, processes, hostname, mount: %q", rest)
	}
	if now, err := os.Hostname(); err != nil || now != host {
		t.Errorf("the host's name became %q", now)
	}
	if mounts := ourMounts(); mounts != "" {
		t.Errorf("mounts of the container are seen outside:\n%s", mounts)
	}
}

// EXE-47, ISO-117, ISO-118, ISO-182, EXE-48, ISO-344
func TestUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the user needs root")
	}
	nobody, err := lookupUser("nobody")
	if err != nil {
		t.Skip(err)
	}
	eachMode(t, func(t *testing.T, r *Runtime) {
		for _, test := range []struct{ user, want string }{
			{"nobody", fmt.Sprintf("%d %d %s", nobody.UID, nobody.GID, groupText(nobody))},
			{strconv.Itoa(int(nobody.UID)), fmt.Sprintf("%d %d %s", nobody.UID, nobody.GID, groupText(nobody))},
			{"54321", "54321 54321 54321"},
			{"root", ""},
		} {
			s := shell(t, "echo $(id -u) $(id -g) $(id -G); grep -E '^Cap(Eff|Prm|Inh|Amb)' /proc/self/status")
			s.User = test.user
			got := runIt(t, r, s)
			ids, caps, _ := strings.Cut(got.stdout, "\n")
			if test.want != "" && (ids != test.want || strings.Count(caps, "0000000000000000") != 4) {
				t.Errorf("user %s: %s\n%s", test.user, ids, caps)
			}
			if test.want == "" && (!strings.HasPrefix(ids, "0 0 ") || strings.Count(caps, "0000000000000000") != 2) {
				t.Errorf("root: %s\n%s", ids, caps)
			}
			for _, name := range []string{"stdout", "stderr"} {
				st, err := os.Stat(filepath.Join(s.Dir, name))
				if err != nil {
					t.Fatal(err)
				}
				uid := st.Sys().(*syscall.Stat_t).Uid
				if st.Mode() != 0o644 || test.want != "" && strconv.Itoa(int(uid)) != strings.Fields(test.want)[0] {
					t.Errorf("%s: mode %v, owner %d", name, st.Mode(), uid)
				}
			}
		}
		s := shell(t, "true")
		s.User = "no-such-user"
		var unknown *UnknownUserError
		if _, err := r.Launch(context.Background(), s); !errors.As(err, &unknown) || unknown.Error() != "No such user 'no-such-user'" {
			t.Errorf("unknown user: %v", err)
		}
		nothingOf(t, r, s.ID)
	})
}

func groupText(c *credential) string {
	var ids []string
	for _, g := range c.Groups {
		ids = append(ids, strconv.Itoa(int(g)))
	}
	return strings.Join(ids, " ")
}

// nothingOf checks that a container has left no trace.
func nothingOf(tb testing.TB, r *Runtime, id string) {
	tb.Helper()
	absent(tb, filepath.Join(r.stateDir, id))
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/" + testRoot() + "/" + id)
	if err != nil || len(dirs) != 0 {
		tb.Errorf("cgroups %v (%v)", dirs, err)
	}
	if r.engine.runcRoot != "" {
		absent(tb, filepath.Join(r.engine.runcRoot, id))
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.containers[id] != nil {
		tb.Errorf("container %s is known", id)
	}
}

// ISO-502: what stands in the place of an output file is not written through.
func TestOutputAttacks(t *testing.T) {
	r := openPlain(t)
	victim := filepath.Join(t.TempDir(), "victim")
	if err := os.WriteFile(victim, []byte("kept"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, place := range map[string]func(path string) error{
		"link":      func(path string) error { return os.Symlink(victim, path) },
		"dangling":  func(path string) error { return os.Symlink(victim+"x", path) },
		"hard link": func(path string) error { return os.Link(victim, path) },
		"fifo":      func(path string) error { return syscall.Mkfifo(path, 0o666) },
		"directory": func(path string) error { return os.Mkdir(path, 0o755) },
	} {
		for _, file := range []string{"stdout", "stderr"} {
			t.Run(name+" "+file, func(t *testing.T) {
				s := shell(t, "echo x; echo x >&2")
				if err := place(filepath.Join(s.Dir, file)); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Launch(context.Background(), s); err == nil {
					t.Error("launched")
				}
				nothingOf(t, r, s.ID)
				if got := contents(t, filepath.Dir(victim), "victim"); got != "kept" {
					t.Errorf("victim holds %q", got)
				}
				if st, err := os.Stat(victim); err != nil || st.Mode() != 0o600 {
					t.Errorf("victim: %v %v", st, err)
				}
				absent(t, victim+"x")
			})
		}
	}
}

// EXE-48: output is appended to what is there.
func TestOutputAppends(t *testing.T) {
	r := openPlain(t)
	s := shell(t, "echo new")
	if err := os.WriteFile(filepath.Join(s.Dir, "stdout"), []byte("old\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if got := runIt(t, r, s); got.stdout != "old\nnew\n" {
		t.Errorf("stdout %q", got.stdout)
	}
}

func TestSpecRefused(t *testing.T) {
	r := openPlain(t)
	for name, change := range map[string]func(*Spec){
		"no id":           func(s *Spec) { s.ID = "" },
		"climbing id":     func(s *Spec) { s.ID = ".." },
		"slash in id":     func(s *Spec) { s.ID = "a/b" },
		"long id":         func(s *Spec) { s.ID = strings.Repeat("x", 243) },
		"blank id":        func(s *Spec) { s.ID = "a b" },
		"no command":      func(s *Spec) { s.Path, s.Args = "", nil },
		"NUL in argument": func(s *Spec) { s.Args = []string{"a", "b\x00"} },
		"no name":         func(s *Spec) { s.Env = []string{"=x"} },
		"no value":        func(s *Spec) { s.Env = []string{"X"} },
		"NUL in env":      func(s *Spec) { s.Env = []string{"X=\x00"} },
		"relative dir":    func(s *Spec) { s.Dir = "x" },
		"no dir":          func(s *Spec) { s.Dir = filepath.Join(s.Dir, "none") },
	} {
		s := shell(t, "true")
		change(&s)
		if _, err := r.Launch(context.Background(), s); err == nil {
			t.Errorf("%s: launched", name)
		}
	}
	if all, err := r.Containers(); err != nil || len(all) != 0 {
		t.Errorf("known are %v (%v)", all, err)
	}
	entries, err := os.ReadDir(r.stateDir)
	if err != nil || len(entries) != 1 {
		t.Errorf("state directory holds %v (%v)", entries, err)
	}
}

// ISO-9, ISO-34
func TestSameID(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, "sleep 1000")
		c := launchIt(t, r, s)
		if _, err := r.Launch(context.Background(), s); !errors.Is(err, ErrExists) {
			t.Errorf("second launch: %v", err)
		}
		select {
		case <-c.Done():
			t.Error("the first container ended")
		default:
		}
		if err := c.Forget(); err == nil {
			t.Error("a running container was forgotten")
		}
	})
}

// EXE-70, ISO-29, ISO-398, ISO-478: nothing outlives the task.
func TestLeftBehindChildren(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, fmt.Sprintf(`sleep 4241 &
			setsid sleep 4242 &
			setsid sh -c 'setsid sleep 4243 & exit' &
			(setsid sh -c 'trap "" TERM HUP; sleep 4244' &)
			while [ $(ps -e -o args | grep -c '^sleep 424[1-4]%s$') != 4 ]; do :; done
			exit 5`, fraction()))
		if got := runIt(t, r, s); got.exit.Status != 5<<8 {
			t.Errorf("exit %+v", got.exit)
		}
		if pids := running(t, "424"); len(pids) != 0 {
			t.Errorf("still running: %v", pids)
		}
	})
}

// running finds the sleeps of this run whose seconds begin so.
func running(tb testing.TB, seconds string) []int {
	tb.Helper()
	table, err := processTable()
	if err != nil {
		tb.Fatal(err)
	}
	var pids []int
	for _, p := range table {
		cmdline, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", p.pid))
		text := string(cmdline)
		if err == nil && strings.HasPrefix(text, "sleep\x00"+seconds) && strings.HasSuffix(text, fraction()+"\x00") {
			pids = append(pids, p.pid)
		}
	}
	return pids
}

// ISO-8, ISO-399, ISO-463, ISO-503, ISO-504: Destroy ends everything, whatever
// it does.
func TestDestroy(t *testing.T) {
	for name, command := range map[string]string{
		"plain":        "echo ready > ready; sleep 1000",
		"deaf":         "trap '' TERM INT HUP; echo ready > ready; while :; do sleep 0.01; done",
		"sessions":     "setsid sleep 4251 & setsid setsid sleep 4252 & echo ready > ready; wait",
		"stopped":      "echo ready > ready; kill -STOP $$",
		"forking":      "echo ready > ready; while :; do sleep 0.001 & done",
		"kills itself": "kill -9 -1; kill -9 1; echo ready > ready; sleep 1000", // its init cannot be killed from inside
	} {
		t.Run(name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, r *Runtime) {
				if r.plain && name == "kills itself" {
					t.Skip("would kill everything on the machine")
				}
				s := shell(t, command)
				c := launchIt(t, r, s)
				waitForFile(filepath.Join(s.Dir, "ready"))
				var wg sync.WaitGroup
				for range 3 { // from several goroutines, and again
					wg.Go(func() {
						if err := c.Destroy(context.Background()); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
				select {
				case <-c.Done():
				default:
					t.Error("not done after Destroy")
				}
				if e := c.Exit(); e.Status != int(syscall.SIGKILL) || e.Err != "" {
					t.Errorf("exit %+v", e)
				}
				if pids := running(t, "425"); len(pids) != 0 {
					t.Errorf("still running: %v", pids)
				}
			})
		})
	}
}

// EXE-61: SIGTERM reaches every process of the task, in whatever session.
func TestSignalTree(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, "")
		s.Supervised = true
		child := "#!/bin/sh\ntrap 'echo $1 >> marks; exit' TERM\necho up >> up\nwhile :; do sleep 0.01; done\n"
		if err := os.WriteFile(filepath.Join(s.Dir, "child"), []byte(child), 0o755); err != nil {
			t.Fatal(err)
		}
		// The main process waits for the others' marks before it ends.
		command := `: > marks
			trap 'while [ $(grep -c . marks) -lt 3 ]; do :; done; echo main >> marks; exit 4' TERM
			./child child & setsid ./child session & (setsid ./child orphan &)
			while [ ! -e up ] || [ $(grep -c . up) -lt 3 ]; do sleep 0.01; done
			echo ready > ready
			while :; do sleep 0.01; done`
		s.Env = append([]string{"DO=signal", "CMD=" + command, "READY=" + filepath.Join(s.Dir, "ready")}, testEnv...)
		got := runIt(t, r, s)
		if got.exit.Status != 4<<8 || !strings.HasSuffix(got.stderr, "status 1024 limited false\n") {
			t.Errorf("exit %+v, stderr %q", got.exit, got.stderr)
		}
		marks := contents(t, s.Dir, "marks")
		for _, name := range []string{"child", "session", "orphan", "main"} {
			if strings.Count(marks, name) != 1 {
				t.Errorf("marks %q", marks)
			}
		}
	})
}

// EXE-57, contract of Supervisor.
func TestSupervisor(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		for _, test := range []struct {
			env            []string
			status, task   int
			stdout, stderr string
		}{
			{[]string{"DO=run", "CMD=echo $IN; exit 6"}, 6 << 8, 6 << 8, "task\n", "status 1536 limited false\n"},
			{[]string{"DO=run", "CMD=kill -9 $$"}, 0xff << 8, 9, "", "status 9 limited false\n"},
			{[]string{"DO=return"}, 7 << 8, -1, "", ""},
			{[]string{"DO=run", "CMD=true", "AS=somebody"}, 9 << 8, -1, "", "start: container runs as user \"\", not \"somebody\"\n"},
		} {
			s := shell(t, "")
			s.Supervised, s.Env, s.Args, s.Path = true, test.env, nil, ""
			got := runIt(t, r, s)
			if got.exit.Status != test.status || got.exit.Err != "" || got.stdout != test.stdout || got.stderr != test.stderr {
				t.Errorf("%v: %+v %q %q", test.env, got.exit, got.stdout, got.stderr)
			}
			if got.exit.Task == nil || *got.exit.Task != test.task {
				t.Errorf("%v: task %v, want %d", test.env, got.exit.Task, test.task)
			}
		}
		s := shell(t, "")
		s.Supervised, s.Env = true, []string{"DO=idle"}
		c := launchIt(t, r, s)
		if c.Pid() <= 0 {
			t.Errorf("pid %d", c.Pid())
		}
		if err := syscall.Kill(c.Pid(), syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if got := finish(t, c); got.exit.Status != 0 || got.stderr != "idle\n" {
			t.Errorf("ended by its context: %+v %q", got.exit, got.stderr)
		}
	})
}

// ISO-402, EXE-70: a shim that is killed takes its container along.
func TestShimKilled(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, "setsid sleep 4261 & echo ready > ready; sleep 4262")
		c := launchIt(t, r, s)
		waitForFile(filepath.Join(s.Dir, "ready"))
		if err := syscall.Kill(c.Pid(), syscall.SIGKILL); err != nil {
			t.Fatal(err)
		}
		<-c.Done()
		if e := c.Exit(); e.Status != int(syscall.SIGKILL) || e.Err == "" {
			t.Errorf("exit %+v", e)
		}
		if pids := running(t, "4262"); len(pids) != 0 {
			t.Errorf("still running: %v", pids)
		}
		if pids := running(t, "4261"); len(pids) != 0 {
			if !r.plain {
				t.Errorf("still running: %v", pids)
			}
			for _, pid := range pids { // a plain process in a session of its own is lost with its shim
				if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
					t.Error(err)
				}
			}
		}
	})
}

// ISO-397: a launch that fails at any step leaves nothing.
func TestLaunchFails(t *testing.T) {
	for name, spoil := range map[string]func(t *testing.T, r *Runtime, s *Spec) context.Context{
		"cancelled before": func(t *testing.T, r *Runtime, s *Spec) context.Context {
			ctx, cancel := context.WithCancel(context.Background())
			cancel()
			return ctx
		},
		"no program": func(t *testing.T, r *Runtime, s *Spec) context.Context {
			r.executable = "/no/such/program"
			return context.Background()
		},
		"another program": func(t *testing.T, r *Runtime, s *Spec) context.Context {
			r.executable = "/bin/true"
			return context.Background()
		},
		"no mount point": func(t *testing.T, r *Runtime, s *Spec) context.Context {
			r.engine.rootfs += "x"
			return context.Background()
		},
		"no state": func(t *testing.T, r *Runtime, s *Spec) context.Context {
			r.engine.runcRoot = filepath.Join(t.TempDir(), "missing", "dir")
			return context.Background()
		},
		"not a supervisor's": func(t *testing.T, r *Runtime, s *Spec) context.Context {
			s.Env = []string{"X=" + strings.Repeat("x", maxMessageBytes)}
			return context.Background()
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := openContainers(t)
			for range 3 {
				s := shell(t, "sleep 4271")
				ctx := spoil(t, r, &s)
				if _, err := r.Launch(ctx, s); err == nil {
					t.Error("launched")
				} else {
					t.Logf("%.300v", err)
				}
				nothingOf(t, r, s.ID)
			}
			if pids := running(t, "4271"); len(pids) != 0 {
				t.Errorf("still running: %v", pids)
			}
		})
	}
}

func TestLaunchCancelledMidway(t *testing.T) {
	r := openContainers(t)
	defer func(f func(string)) { atStep = f }(atStep)
	for _, step := range []string{"reserved", "cgroups", "shim", "container", "recorded"} {
		ctx, cancel := context.WithCancel(context.Background())
		atStep = func(s string) {
			if s == step {
				cancel()
			}
		}
		s := shell(t, "sleep 4281")
		if _, err := r.Launch(ctx, s); !errors.Is(err, context.Canceled) {
			t.Errorf("cancelled at %s: %v", step, err)
		}
		nothingOf(t, r, s.ID)
		cancel()
	}
	if pids := running(t, "4281"); len(pids) != 0 {
		t.Errorf("still running: %v", pids)
	}
}

func TestManyAtOnce(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		var wg sync.WaitGroup
		for i := range 50 {
			s := shell(t, fmt.Sprintf("echo %d; exit %d", i, i))
			wg.Go(func() {
				c, err := r.Launch(context.Background(), s)
				if err != nil {
					t.Error(err)
					return
				}
				<-c.Done()
				out, err := os.ReadFile(filepath.Join(s.Dir, "stdout"))
				if e := c.Exit(); e.Status != i<<8 || err != nil || string(out) != fmt.Sprintf("%d\n", i) {
					t.Errorf("container %d: %+v %q %v", i, e, out, err)
				}
				if err := c.Forget(); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	})
}

// ISO-176: secrets in the environment are on no disk.
func TestEnvironmentNotStored(t *testing.T) {
	eachMode(t, func(t *testing.T, r *Runtime) {
		s := shell(t, "echo ready > ready; sleep 1000")
		s.Env = append([]string{"TOKEN=very-secret-value"}, testEnv...)
		c := launchIt(t, r, s)
		waitForFile(filepath.Join(s.Dir, "ready"))
		err := filepath.WalkDir(r.stateDir, func(path string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			data, err := os.ReadFile(path)
			if strings.Contains(string(data), "very-secret") {
				t.Errorf("%s holds the secret", path)
			}
			return err
		})
		if err != nil {
			t.Error(err)
		}
		for _, name := range []string{"environ", "cmdline"} {
			data, err := os.ReadFile(fmt.Sprintf("/proc/%d/%s", c.Pid(), name))
			if err != nil || strings.Contains(string(data), "very-secret") {
				t.Errorf("shim's %s: %v", name, err)
			}
		}
	})
}
