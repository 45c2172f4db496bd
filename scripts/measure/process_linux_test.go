package main

import (
	"os"
	"testing"
	"time"
)

func TestParseStat(t *testing.T) {
	p, err := parseStat([]byte("4711 (a) b (c) S 12 4711 4711 0 -1 4194560 1 2 3 4 150 50 700 300 20 0 3 0 9876 1 2\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := process{pid: 4711, parent: 12, start: 9876, name: "a) b (c", own: 2 * time.Second, reaped: 10 * time.Second}
	if p != want {
		t.Errorf("got %+v, want %+v", p, want)
	}
	for _, text := range []string{"", "1 (x", "1 (x) S 1", "x (x) S 12 0 0 0 -1 0 1 2 3 4 1 1 1 1 20 0 3 0 9 1", "1 (x) S 12 0 0 0 -1 0 1 2 3 4 - 1 1 1 20 0 3 0 9 1"} {
		if p, err := parseStat([]byte(text)); err == nil {
			t.Errorf("%q is %+v, want an error", text, p)
		}
	}
}

func TestOwnProcess(t *testing.T) {
	p, err := readProcess(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	if p.pid != os.Getpid() || p.parent != os.Getppid() || p.start == 0 {
		t.Errorf("got %+v", p)
	}
	for what, read := range map[string]func(int) (int64, error){"resident": residentBytes, "proportional": proportionalBytes} {
		if n, err := read(os.Getpid()); err != nil || n < 1<<20 {
			t.Errorf("%s memory %d, %v", what, n, err)
		}
	}
	children, err := childrenOf(os.Getppid())
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, c := range children {
		found = found || c.pid == os.Getpid()
	}
	if !found {
		t.Errorf("children of %d: %+v, want this process among them", os.Getppid(), children)
	}
	if shims, err := shimsOf(os.Getpid()); err != nil || len(shims) != 0 {
		t.Errorf("shims %+v, %v", shims, err)
	}
}
