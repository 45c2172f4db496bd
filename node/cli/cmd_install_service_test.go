package cli

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"clusterd/node"
)

// testMachine is a machine below a directory of its own, with a systemctl that notes what it is asked.
type testMachine struct {
	machine
	dir   string
	calls string // file with a line for each call of systemctl
}

func newTestMachine(t *testing.T) *testMachine {
	t.Helper()
	dir := t.TempDir()
	m := &testMachine{dir: dir, calls: filepath.Join(dir, "calls")}
	m.machine = machine{
		booted: filepath.Join(dir, "run"), unit: filepath.Join(dir, "etc/systemd", unitName),
		config: filepath.Join(dir, "etc/clusterd/clusterd.yaml"), patience: 30 * time.Second,
	}
	if err := os.Mkdir(m.booted, 0o755); err != nil {
		t.Fatal(err)
	}
	m.systemctl(t, "")
	return m
}

// systemctl sets what the program does besides noting the call; active services are those of which
// is-active finds a file.
func (m *testMachine) systemctl(t *testing.T, script string) {
	t.Helper()
	bin := filepath.Join(m.dir, "bin")
	text := "#!/bin/sh\nif [ \"$1\" = --version ]; then echo \"systemd ${SYSTEMD:-255} (255.4-1)\"; exit; fi\necho \"$*\" >> " + m.calls + "\nif [ \"$1\" = is-active ]; then test -e " + m.dir + "/active; exit; fi\n" + script + "\n"
	if err := errors.Join(os.MkdirAll(bin, 0o755), os.WriteFile(filepath.Join(bin, "systemctl"), []byte(text), 0o755)); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":/usr/bin:/bin")
}

// called returns what systemctl was asked since the last time.
func (m *testMachine) called(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(m.calls)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(m.calls); err != nil {
		t.Fatal(err)
	}
	return strings.ReplaceAll(strings.TrimSpace(string(text)), "\n", "; ")
}

// run is runMain for this machine.
func (m *testMachine) run(t *testing.T, args ...string) string {
	t.Helper()
	root := newRoot()
	here, _, err := root.Find([]string{"install-service"})
	if err != nil {
		t.Fatal(err)
	}
	root.RemoveCommand(here)
	root.AddCommand(newInstallServiceCommand(m.machine))
	program, err := programPath()
	if err != nil {
		t.Fatal(err)
	}
	var out, errOut bytes.Buffer
	code := execute(root, append([]string{"install-service"}, args...), nil, &out, &errOut)
	text := "$ clusterd install-service " + strings.Join(args, " ") + "\n" + out.String()
	if errOut.Len() > 0 {
		text += "--- beside it\n" + errOut.String()
	}
	text += fmt.Sprintf("--- exit %d\n", code)
	return strings.NewReplacer(program, "PROGRAM", m.dir, "DIR").Replace(text)
}

// CLU-10: what would be written, with secrets left out and paths that hold in any directory.
func TestInstallServicePrint(t *testing.T) {
	m := newTestMachine(t)
	m.booted, m.uid = "/nonexistent", 1000 // neither is needed to look
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir(m.dir)
	if err := os.WriteFile("own.yaml", []byte("data_dir: /srv/own dir\nrole: agent\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("CLUSTERD_DATA_DIR", "/elsewhere")
	t.Setenv("CLUSTERD_MASTER", "m1")
	got := m.run(t, "--print") + "\n"
	t.Setenv("SYSTEMD", "253")
	got += m.run(t, "--print", "--config", "own.yaml") + "\n"
	all := m.run(t, "--print", "--data-dir", "data", "--join", "m1,m2:5055", "--token", "very-secret", "--role", "agent", "--masters", "5",
		"--agent_ping_timeout", "20secs", "--switch-user=false", "--attributes", "rack:r1")
	_, shown, _ := strings.Cut(all, "\n")
	got += shown
	if strings.Contains(shown, "very-secret") {
		t.Error("the token is shown")
	}
	if _, err := os.Stat(filepath.Join(m.dir, "etc")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("--print has written something: %v", err)
	}
	t.Chdir(here)
	golden(t, "install_service_print", got)
}

// CLU-10: a service comes, changes only when it is wanted, and goes.
func TestInstallService(t *testing.T) {
	m := newTestMachine(t)
	data := filepath.Join(m.dir, "data")
	steps := []struct {
		args   []string
		before func()
		calls  string
	}{
		{args: []string{"--uninstall"}},
		{args: []string{"--data-dir", data, "--role", "agent"}, calls: "daemon-reload; enable clusterd.service"},
		// The same again, and the settings of the first time without any: nothing to write.
		{args: []string{"--data-dir", data, "--role", "agent"}, calls: "daemon-reload; enable clusterd.service"},
		{args: []string{}, calls: "daemon-reload; enable clusterd.service"},
		// Others: only by force.
		{args: []string{"--data-dir", data, "--role", "master", "--token", "very-secret"}},
		{args: []string{"--data-dir", data, "--role", "master", "--token", "very-secret", "--force"}, calls: "daemon-reload; enable clusterd.service"},
		{
			before: func() { m.write(t, m.unit, "[Service]\n") },
			args:   []string{},
		},
		{args: []string{"--uninstall"}},
		{args: []string{"-f"}, calls: "daemon-reload; enable clusterd.service"},
		{args: []string{"--uninstall"}, calls: "disable --now clusterd.service; daemon-reload"},
		{
			before: func() { m.write(t, m.unit, "[Service]\n") },
			args:   []string{"--uninstall", "--force"}, calls: "disable --now clusterd.service; daemon-reload",
		},
	}
	var got string
	for _, s := range steps {
		if s.before != nil {
			s.before()
		}
		got += m.run(t, s.args...) + "\n"
		if calls := m.called(t); calls != s.calls {
			t.Errorf("%v: systemctl was asked %q, want %q", s.args, calls, s.calls)
		}
	}
	golden(t, "install_service", got)
	if st, err := os.Stat(m.config); err != nil || st.Mode() != 0o600 {
		t.Errorf("settings with a token: %v, %v", st, err)
	}
	if text, err := os.ReadFile(m.config); err != nil || !strings.Contains(string(text), "\ntoken: very-secret\n") {
		t.Errorf("settings are %q, %v", text, err)
	}
	for _, dir := range []string{filepath.Dir(m.config), filepath.Dir(m.unit)} {
		entries, err := os.ReadDir(dir)
		if err != nil || slices.ContainsFunc(entries, func(e os.DirEntry) bool { return strings.Contains(e.Name(), "partial") }) {
			t.Errorf("%s holds %v, %v", dir, entries, err)
		}
	}
}

func (m *testMachine) write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// CLU-10: --now starts the node, again if the unit has changed, and says whether it answers.
func TestInstallServiceNow(t *testing.T) {
	m := newTestMachine(t)
	data, aside := filepath.Join(m.dir, "data"), filepath.Join(m.dir, "aside")
	if err := errors.Join(os.Mkdir(data, 0o755), os.Mkdir(aside, 0o755)); err != nil {
		t.Fatal(err)
	}
	serveSocket(t, aside, http.NotFoundHandler())
	socket := filepath.Join(data, node.SocketName)
	// The node is there when systemctl has started it.
	m.systemctl(t, fmt.Sprintf("case $1 in start|restart) touch %s/active; test -e %s || mv %s/%s %s;; esac", m.dir, socket, aside, node.SocketName, socket))
	args := []string{"--now", "--data-dir", data}
	got := m.run(t, args...)
	const written = "daemon-reload; enable clusterd.service; is-active --quiet clusterd.service; "
	if calls := m.called(t); calls != written+"restart clusterd.service" {
		t.Errorf("first: %q", calls)
	}
	got += "\n" + m.run(t, args...)
	if calls := m.called(t); calls != written+"start clusterd.service" {
		t.Errorf("unchanged: %q", calls)
	}
	// A node that runs, but not as a service.
	if err := os.Remove(filepath.Join(m.dir, "active")); err != nil {
		t.Fatal(err)
	}
	got += "\n" + m.run(t, args...)
	if calls := m.called(t); calls != strings.TrimSuffix(written, "; ") {
		t.Errorf("another node: %q", calls)
	}
	// One that does not come up.
	if err := os.Remove(socket); err != nil {
		t.Fatal(err)
	}
	m.systemctl(t, "")
	m.patience = 10 * time.Millisecond
	got += "\n" + m.run(t, args...)
	golden(t, "install_service_now", got)
}

// CLU-10: clear errors.
func TestInstallServiceErrors(t *testing.T) {
	m := newTestMachine(t)
	file := filepath.Join(m.dir, "own.yaml")
	m.write(t, file, "data_dir: data\n")
	m.write(t, filepath.Join(m.dir, "bad.yaml"), "rolle: agent\n")
	var got strings.Builder
	for _, args := range [][]string{
		{"now"},
		{"--print", "--now"},
		{"--uninstall", "--now", "--role", "agent"},
		{"--config", file},
		{"--config", file, "--role", "agent"},
		{"--config", filepath.Join(m.dir, "bad.yaml")},
		{"--config", filepath.Join(m.dir, "missing.yaml")},
		{"--role", "king", "--masters", "4"},
		{"--resources", "file://resources.json"},
		{"--data-dir", "/srv/$HOME"},
		{"--quorum", "2"},
	} {
		got.WriteString(m.run(t, args...) + "\n")
	}
	user := *m
	user.uid = 1000
	got.WriteString(user.run(t) + "\n" + user.run(t, "--uninstall") + "\n")
	plain := *m
	plain.booted = filepath.Join(m.dir, "missing")
	got.WriteString(plain.run(t) + "\n")
	if calls := m.called(t); calls != "" {
		t.Errorf("systemctl was asked %q", calls)
	}
	m.systemctl(t, "echo 'Failed to reload daemon: Refusing to operate' >&2; exit 1")
	got.WriteString(m.run(t))
	golden(t, "install_service_errors", got.String())
}

// CLU-9, CLU-10: what is written for --config is read as what was given.
func TestServiceSettings(t *testing.T) {
	dir := t.TempDir()
	file := filepath.Join(dir, "resources.json")
	if err := os.WriteFile(file, []byte("cpus:3"), 0o600); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"--hostname=on", "--node-name=0777", "--cluster=it's: a \"test\" # 1", "--attributes=rack:r1;zone:z1", "--resources=file://" + file,
		"--roles=yes,1.0,a-b", "--weights=a=2", "--gc-delay=2days", "--gc-disk-headroom=0.25", "--masters=7", "--switch-user=false", "--filter-gpu-resources",
		"--executor-environment-variables={\"A\":\n  \"b\\n\"}", "--domain=eu/a", "--join=[::1]:5055,m1", "--token=x", "--data-dir=/srv/d", "--listen=:0",
	}
	config := node.DefaultConfig()
	flags := config.NewFlagSet("given")
	if err := flags.Parse(args); err != nil {
		t.Fatal(err)
	}
	given, err := givenSettings(flags, flags)
	if err != nil || len(given) != len(args) {
		t.Fatalf("%d settings, %v", len(given), err)
	}
	text, err := settingsText(given, nil)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "clusterd.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	read := node.DefaultConfig()
	fromFile := read.NewFlagSet("read")
	if err := errors.Join(fromFile.Parse([]string{"--config", path}), read.Validate()); err != nil {
		t.Fatal(err)
	}
	want, err := node.ApplySources(flags, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := node.ApplySources(fromFile, nil)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if read.Token != "x" || len(got.Settings) != len(want.Settings) {
		t.Errorf("token %q, %d settings, want %d", read.Token, len(got.Settings), len(want.Settings))
	}
	for i, w := range want.Settings {
		if g := got.Settings[i]; w.Name != "config" && (g.Value != w.Value || (g.From == node.FromFile) != (w.From == node.FromFlag)) {
			t.Errorf("%s: %q from %s, want %q from %s\n%s", w.Name, g.Value, g.From, w.Value, w.From, text)
		}
	}
}

// CLU-10: systemd takes the unit as it is meant, also with unusual paths.
func TestUnit(t *testing.T) {
	for _, paths := range [][3]string{{"/bin/clusterd", "/srv/a\nb", "/etc/c"}, {"/bin/a$b", "/srv", "/etc/c"}, {"/bin/it's", "/srv", "/etc/c"}, {"/bin/c", "/srv", "/etc/\xff"}} {
		if text, err := unit(paths[0], paths[1], paths[2], 252); err == nil {
			t.Errorf("%q are taken: %s", paths, text)
		}
	}
	for path, want := range map[string]string{
		"/srv/a": "/srv/a", "/srv/a b": `"/srv/a b"`, "/srv/100%": "/srv/100%%", `/srv/a"b\c`: `"/srv/a\"b\\c"`, "/srv/it's;": `"/srv/it's;"`,
	} {
		if got := unitWord(path); got != want {
			t.Errorf("%s is written %s, want %s", path, got, want)
		}
	}
	analyze, err := exec.LookPath("systemd-analyze")
	if err != nil {
		t.Skip("no systemd-analyze on this machine: the unit is not verified")
	}
	for _, name := range []string{"clusterd", "a b%c;e"} {
		dir := t.TempDir()
		self, err := os.Executable()
		if err != nil {
			t.Fatal(err)
		}
		program, path := filepath.Join(dir, name), filepath.Join(dir, unitName)
		text, err := unit(program, "/srv/"+name, "/etc/"+name, systemdVersion())
		if err := errors.Join(err, os.Symlink(self, program), os.WriteFile(path, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(analyze, "verify", "--man=no", path).CombinedOutput()
		for line := range strings.Lines(string(out)) {
			if strings.Contains(line, path) || strings.Contains(line, unitName) || err != nil {
				t.Errorf("systemd-analyze verify: %v: %s", err, line)
			}
		}
	}
	if out, err := exec.Command(analyze, "verify", "--man=no", filepath.Join("testdata", "broken.service")).CombinedOutput(); err == nil && len(out) == 0 {
		t.Error("systemd-analyze verify finds no fault in a broken unit: the test above proves nothing")
	}
}

// CLU-10: names of nodes are completed from the cluster as it is.
func TestCompleteNode(t *testing.T) {
	f := newTestNodes()
	f.status.Nodes = append(f.status.Nodes, f.status.Nodes[0])
	f.status.Nodes[4].ID = "55ee000000000005" // of the same name as another
	dir, public := f.dataDir(t, true), f.public(t, true)
	t.Setenv("CLUSTERD_MASTER", "127.0.0.1:1")
	var got string
	for _, args := range [][]string{
		{"drain", "--data-dir", dir, ""}, {"remove", "--data-dir", dir, "m"}, {"promote", "--data-dir", dir, "11a"}, {"demote", "--data-dir", dir, "a"},
		{"activate", "--data-dir", dir, "x"}, {"drain", "--data-dir", dir, "m2", "m"}, {"drain", "--data-dir", "EMPTY", ""},
	} {
		got += runMain(t, "", map[string]string{dir: "DIR"}, append([]string{"__complete", "node"}, args...)...) + "\n"
	}
	golden(t, "complete_node", got)
	// Who may not open the socket gets the same from a public port; a node that does not answer is not waited for.
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	for masters, want := range map[string]bool{public: true, silent.Addr().String(): false, silent.Addr().String() + "," + public: true} {
		t.Setenv("CLUSTERD_MASTER", masters)
		got := runMain(t, "", nil, "__complete", "node", "drain", "--data-dir", "EMPTY", "m")
		if offers := strings.Contains(got, "m2\t10.0.0.2:5055 voter"); offers != want || !strings.HasSuffix(got, "--- exit 0\n") {
			t.Errorf("%s: %s", masters, got)
		}
	}
}
