package node

import (
	"os"
	"path/filepath"
	"testing"

	"clusterd/node/agent"
	"clusterd/node/api"
)

// What the daemon writes into a sandbox cannot be turned elsewhere by its owner, who may replace any
// file as soon as the directory is his. EXE-48, EXE-178
func TestSandboxStderrCannotBeTurned(t *testing.T) {
	work := t.TempDir()
	s := &agentShell{config: shellConfig{WorkDir: work, Files: api.NewFiles()}}
	dir := filepath.Join(work, "slaves", "S0", "frameworks", "F", "executors", "E", "runs", "C")
	spec := agent.LaunchSpec{ID: "C", FrameworkID: "F", ExecutorID: "E", Directory: dir}
	stderr, err := s.makeSandbox(spec, "")
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	victim := filepath.Join(work, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "stderr")); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(victim, filepath.Join(dir, "stderr")); err != nil {
		t.Fatal(err)
	}
	if _, err := stderr.WriteString("Overwriting environment variable 'A'\n"); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(victim); err != nil || string(got) != "untouched" {
		t.Errorf("the file behind the link holds %q, %v", got, err)
	}
	if info, err := os.Stat(dir); err != nil || info.Mode().Perm() != 0o750 {
		t.Errorf("sandbox: %v, %v", info.Mode(), err)
	}
	// A second sandbox in the same place is refused, and a failed one leaves nothing.
	if f, err := s.makeSandbox(spec, ""); err == nil {
		f.Close()
		t.Error("made twice")
	}
	spec.Directory = filepath.Join(filepath.Dir(dir), "D")
	if f, err := s.makeSandbox(spec, "no-such-user"); err == nil {
		f.Close()
		t.Error("made for an unknown user")
	}
	if _, err := os.Lstat(spec.Directory); !os.IsNotExist(err) {
		t.Errorf("left behind: %v", err)
	}
}
