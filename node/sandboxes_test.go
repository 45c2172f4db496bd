package node

import (
	"maps"
	"os"
	"path/filepath"
	"testing"

	"clusterd/node/api"
)

// Sandboxes of earlier runs are found below any work directory, each under its real name, and the
// newest run of an executor under latest. EXE-181, EXE-182
func TestAttachSandboxes(t *testing.T) {
	work := filepath.Join(t.TempDir(), "odd [name] *")
	executor := filepath.Join("S0", "frameworks", "F", "executors", "e [1]*", "runs")
	runs := filepath.Join(work, "slaves", executor)
	for _, run := range []string{"c1", "c2", "c3"} {
		if err := os.MkdirAll(filepath.Join(runs, run), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for link, target := range map[string]string{filepath.Join(runs, "latest"): "c2", filepath.Join(work, "slaves", "latest"): "S0"} {
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
	}
	n := &Node{agentFiles: api.NewFiles()}
	if err := n.attachSandboxes(work); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		filepath.Join(runs, "latest"):                filepath.Join(runs, "c2"),
		"/frameworks/F/executors/e [1]*/runs/latest": filepath.Join(runs, "c2"),
	}
	for _, run := range []string{"c1", "c2", "c3"} {
		want[filepath.Join(runs, run)] = filepath.Join(runs, run)
		want["/frameworks/F/executors/e [1]*/runs/"+run] = filepath.Join(runs, run)
	}
	if got := n.agentFiles.Paths(); !maps.Equal(got, want) {
		t.Errorf("attached %v\nwant %v", got, want)
	}
}
