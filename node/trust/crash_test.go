package trust

import (
	"bufio"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

var errCrash = errors.New("crashed")

// CLU-23: whatever the step at which Save ends, what is loaded is the old set or the new one, and the
// next Save works.
func TestSaveEndsAtEachStep(t *testing.T) {
	old, fresh, third := newTestSet(t, "x"), newTestSet(t, "x"), newTestSet(t, "x")
	for _, first := range []bool{true, false} {
		became := false
		for step := 0; ; step++ {
			f := NewFiles(filepath.Join(t.TempDir(), "tls"))
			if !first {
				if err := old.save(f); err != nil {
					t.Fatal(err)
				}
			}
			n, at := 0, ""
			f.before = func(what string) error {
				n++
				if n > step {
					at = what
					return errCrash
				}
				return nil
			}
			err := fresh.save(f)
			if err != nil && !errors.Is(err, errCrash) {
				t.Fatal(err)
			}
			again := NewFiles(f.dir)
			stored, loadErr := again.Load()
			switch {
			case loadErr == nil && fresh.is(stored):
				became = true
			case became:
				t.Errorf("first %t, step %d, %s: the new set was there and is gone", first, step, at)
			case first && errors.Is(loadErr, fs.ErrNotExist):
			case !first && loadErr == nil && old.is(stored):
			default:
				t.Errorf("first %t, step %d, %s: %v: neither the old nor the new set", first, step, at, loadErr)
			}
			if err := third.save(again); err != nil {
				t.Errorf("first %t, step %d, %s: the next save: %v", first, step, at, err)
			} else if stored, err := again.Load(); err != nil || !third.is(stored) {
				t.Errorf("first %t, step %d, %s: after the next save: %v", first, step, at, err)
			}
			if err == nil {
				if step < 10 || !became {
					t.Errorf("it took only %d steps", step)
				}
				break
			}
		}
	}
}

// A file that was half written by a process that died does not count.
func TestHalfWrittenSetIsIgnored(t *testing.T) {
	s := newTestSet(t, "x")
	f, dir := saved(t, s)
	writing := filepath.Join(dir, writingName)
	if err := errors.Join(os.Mkdir(writing, 0o700), os.WriteFile(filepath.Join(writing, keyName), []byte("-----BEGIN PRIV"), 0o600)); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.Load(); err != nil || !s.is(stored) {
		t.Errorf("%v", err)
	}
	fresh := newTestSet(t, "x")
	if err := fresh.save(f); err != nil {
		t.Fatal(err)
	}
	if stored, err := f.Load(); err != nil || !fresh.is(stored) {
		t.Errorf("%v", err)
	}
}

const crashVariable = "CLUSTERD_TRUST_CRASH_DIR"

// saveForEver writes one set after the other, and a line after each.
func saveForEver(t *testing.T, dir string) {
	f := NewFiles(dir)
	for {
		if err := newTestSet(t, "x").save(f); err != nil {
			t.Fatal(err)
		}
		fmt.Println("saved")
	}
}

// CLU-23, CLU-31: a process is killed while it saves, again and again; what is there is always whole.
func TestKilledWhileSaving(t *testing.T) {
	if dir := os.Getenv(crashVariable); dir != "" { // this is the process to be killed
		saveForEver(t, dir)
	}
	dir := filepath.Join(t.TempDir(), "tls")
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	leftovers := 0
	for round := range 20 {
		cmd := exec.Command(program, "-test.run=^TestKilledWhileSaving$")
		cmd.Env = append(os.Environ(), crashVariable+"="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := bufio.NewReader(out)
		for range 1 + round%4 {
			if line, err := lines.ReadString('\n'); err != nil || line != "saved\n" {
				t.Errorf("round %d: %q, %v", round, line, err)
			}
		}
		// Somewhere in the next one: later from round to round.
		for range round * 200 {
			if _, err := os.Lstat(dir); err != nil {
				t.Error(err)
			}
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil {
			t.Error("it ended by itself")
		}
		for _, name := range []string{nextName, writingName} {
			if _, err := os.Lstat(filepath.Join(dir, name)); err == nil {
				leftovers++
			}
		}
		stored, err := NewFiles(dir).Load()
		if err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if _, err := NewCredentials(stored.Key, stored.Chain, stored.Authorities); err != nil {
			t.Fatalf("round %d: %v: the files are of two sets", round, err)
		}
	}
	t.Logf("%d of 20 were killed in the middle", leftovers)
}
