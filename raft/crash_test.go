package raft

import (
	"bufio"
	"context"

	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
)

// The tests in this file run a peer in a process of its own: this binary, started again with these
// variables. It proposes from several goroutines and prints a line for each acknowledged entry.
const (
	childDir   = "RAFT_TEST_CHILD_DIR"
	childRound = "RAFT_TEST_CHILD_ROUND"
	childLimit = "RAFT_TEST_CHILD_FILE_BYTES"
	childPart  = "RAFT_TEST_CHILD_PART"
)

func TestMain(m *testing.M) {
	if dir, part := os.Getenv(childDir), os.Getenv(childPart); dir != "" && part != "" {
		os.Exit(mortal(dir, part))
	}
	if dir := os.Getenv(childDir); dir != "" {
		os.Exit(child(dir, os.Getenv(childRound), os.Getenv(childLimit)))
	}
	os.Exit(m.Run())
}

func childConfig(dir string) Config {
	return Config{Dir: dir, ID: 1, SnapshotEntries: 25, KeepEntries: 5}
}

// child proposes until the peer ends or the process is killed.
func child(dir, round, limit string) int {
	if limit != "" {
		bytes, err := strconv.ParseUint(limit, 10, 64)
		if err != nil {
			fmt.Println("error", err)
			return 2
		}
		signal.Ignore(syscall.SIGXFSZ)
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: bytes, Max: bytes}); err != nil {
			fmt.Println("error", err)
			return 2
		}
	}
	p, err := Open(childConfig(dir), &journal{})
	if err != nil {
		fmt.Println("error", err)
		return 1
	}
	for l := range p.Leadership() {
		if l.Leader {
			break
		}
	}
	var wg sync.WaitGroup
	for c := range 8 {
		wg.Go(func() {
			filler := strings.Repeat("x", 700*c)
			for i := 0; ; i++ {
				id := fmt.Sprintf("%s/%d/%d", round, c, i)
				if _, _, err := p.Propose(context.Background(), []byte(id+" "+filler)); err != nil {
					return
				}
				os.Stdout.WriteString("ack " + id + "\n") // one write: lines of goroutines do not mix
			}
		})
	}
	wg.Wait()
	<-p.Done()
	fmt.Println("error", p.Err())
	return 1
}

// acknowledged is what the parent knows of its children.
type acknowledged struct {
	t    *testing.T
	dir  string
	acks map[string]bool
	rng  *rand.Rand
}

// run starts a child and kills it after n acknowledgements, or waits for its end if n is 0. It
// returns the error that the child printed.
func (a *acknowledged) run(round int, n int, env ...string) string {
	a.t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), append(env, childDir+"="+a.dir, childRound+"="+strconv.Itoa(round))...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		a.t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		a.t.Fatal(err)
	}
	failure, seen := "", 0
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		if err != nil { // the last line may be cut off by the kill: it was not an acknowledgement
			if err != io.EOF {
				a.t.Fatal(err)
			}
			break
		}
		if text, ok := strings.CutPrefix(line, "error "); ok {
			failure = strings.TrimSpace(text)
			continue
		}
		a.acks[strings.TrimSpace(strings.TrimPrefix(line, "ack "))] = true
		if seen++; seen == n {
			if err := cmd.Process.Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				a.t.Fatal(err)
			}
		}
	}
	err = cmd.Wait()
	if n > 0 && failure == "" {
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.Sys().(syscall.WaitStatus).Signal() != syscall.SIGKILL {
			a.t.Fatalf("child ended with %v", err)
		}
	}
	return failure
}

// check opens the directory and looks for every acknowledged entry, once and in the order of its
// proposer.
func (a *acknowledged) check() {
	a.t.Helper()
	j := &journal{}
	p := mustOpen(a.t, childConfig(a.dir), j)
	mustClose(a.t, p)
	found := map[string]bool{}
	next := map[string]int{}
	for _, e := range j.all() {
		id, filler, _ := strings.Cut(e, " ")
		if found[id] {
			a.t.Errorf("%s was applied twice", id)
		}
		found[id] = true
		at := strings.LastIndexByte(id, '/')
		proposer := id[:at]
		if want := fmt.Sprint(next[proposer]); id[at+1:] != want {
			a.t.Errorf("%s follows number %s of its proposer", id, want)
		}
		next[proposer]++
		if strings.Trim(filler, "x") != "" || len(filler)%700 != 0 {
			a.t.Errorf("%s has a filler of %d bytes", id, len(filler))
		}
	}
	lost := 0
	for id := range a.acks {
		if !found[id] {
			lost++
			if lost < 10 {
				a.t.Errorf("%s was acknowledged and is lost", id)
			}
		}
	}
	if len(a.acks) == 0 || lost > 0 {
		a.t.Fatalf("%d of %d acknowledged entries are lost", lost, len(a.acks))
	}
}

// kill -9 at any moment, while entries and snapshots are written and the log is cut: what was
// acknowledged is there, once, and no repair is needed. CLU-31
func TestKillLosesNothing(t *testing.T) {
	const seed = 42
	a := &acknowledged{t: t, dir: filepath.Join(t.TempDir(), "raft"), acks: map[string]bool{}, rng: rand.New(rand.NewPCG(seed, seed))}
	rounds := 12
	if testing.Short() {
		rounds = 5
	}
	for round := range rounds {
		if failure := a.run(round, 1+a.rng.IntN(300)); failure != "" {
			t.Fatalf("round %d: %s", round, failure)
		}
		if round%4 == 3 {
			a.check()
		}
	}
	a.check()
	t.Logf("%d entries acknowledged in %d rounds (seed %d)", len(a.acks), rounds, seed)
}

// A file system without room stops the peer with an error that says so; with room again everything
// acknowledged is there. CLU-31 CLU-32
func TestFileLimit(t *testing.T) {
	for _, limit := range []string{"100000", "300000", "1000000", "5000000"} {
		t.Run(limit, func(t *testing.T) {
			a := &acknowledged{t: t, dir: filepath.Join(t.TempDir(), "raft"), acks: map[string]bool{}}
			failure := a.run(0, 20)
			if failure != "" {
				t.Fatal(failure)
			}
			failure = a.run(1, 0, childLimit+"="+limit)
			if !strings.Contains(failure, a.dir) || !strings.Contains(failure, "make room on the file system") {
				t.Errorf("the child ended with %q", failure)
			}
			a.check()
			if failure := a.run(2, 100); failure != "" {
				t.Errorf("with room again: %s", failure)
			}
			a.check()
		})
	}
}
