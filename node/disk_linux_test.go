package node_test

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// A node whose disk is full ends, as if it had crashed: its tasks go on. With room on the disk the next
// run finds them, and what was acknowledged to an executor is not lost. EXE-149, EXE-157, EXE-172
func TestFullDisk(t *testing.T) {
	needContainers(t)
	disk := t.TempDir()
	for _, dir := range []string{disk, filepath.Dir(disk)} {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := syscall.Mount("tmpfs", disk, "tmpfs", 0, "size=24m,mode=755"); err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(disk, 0); err != nil {
			t.Error(err)
		}
	})
	c := &cluster{t: t, dir: filepath.Join(disk, "data"), args: []string{"--resources", "cpus:8;mem:4096;disk:1000"}, master: freePort(t), agent: freePort(t)}
	c.start()
	t.Cleanup(c.stop)
	f := newFramework(t, c, mesos.Protobuf, nil)
	hold := filepath.Join(disk, "hold")
	if err := os.WriteFile(hold, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f.launch(shell("goes-on", "sleep 1000"), shell("fails", "while [ -e "+hold+" ]; do sleep 0.05; done; exit 3"))
	for _, id := range []string{"goes-on", "fails"} {
		f.reach(id, v1.TaskState_TASK_RUNNING)
	}
	fill, err := os.Create(filepath.Join(disk, "fill"))
	if err != nil {
		t.Fatal(err)
	}
	defer fill.Close()
	for size := 1 << 20; size > 0; {
		if _, err := fill.Write(make([]byte, size)); errors.Is(err, syscall.ENOSPC) {
			size /= 16
		} else if err != nil {
			t.Fatal(err)
		}
	}
	f.launch(shell("late", "true"))
	select {
	case err := <-c.ended:
		if err == nil {
			t.Error("the node ended without an error")
		}
	case <-time.After(patience):
		t.Fatalf("the node goes on with a full disk\n%s", c.log)
	}
	f.body.Close()
	if err := errors.Join(fill.Close(), os.Remove(fill.Name()), os.Remove(hold)); err != nil {
		t.Fatal(err)
	}
	c.start()
	f.subscribe()
	if st := f.end("fails"); st.GetMessage() != "Command exited with status 3" {
		t.Errorf("ended %v %q", st.GetState(), st.GetMessage())
	}
	f.kill("goes-on", 0)
	if st := f.end("goes-on"); st.GetState() != v1.TaskState_TASK_KILLED || st.GetSource() != v1.TaskStatus_SOURCE_EXECUTOR {
		t.Errorf("ended %v", st)
	}
}
