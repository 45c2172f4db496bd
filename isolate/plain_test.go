package isolate

import (
	"context"
	"os"
	"path/filepath"
	"testing"
)

func TestMain(m *testing.M) {
	MaybeInit()
	os.Exit(m.Run())
}

func openPlain(t *testing.T, dir string) *Runtime {
	t.Helper()
	r, err := Open(Config{StateDir: dir, Plain: true})
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func TestPlainExit(t *testing.T) {
	r := openPlain(t, t.TempDir())
	dir := t.TempDir()
	c, err := r.Launch(context.Background(), Spec{ID: "a", Args: []string{"sh", "-c", "echo $X; env; exit 3"}, Env: []string{"X=1"}, Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	<-c.Done()
	if e := c.Exit(); e.Status != 3<<8 || e.Err != "" {
		t.Errorf("exit %+v", e)
	}
	out, err := os.ReadFile(filepath.Join(dir, "stdout"))
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("%s", out)
	if err := c.Forget(); err != nil {
		t.Fatal(err)
	}
}
