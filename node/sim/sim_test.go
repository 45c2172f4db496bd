package sim

import (
	"bufio"
	"flag"
	"io"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 0, "number of seeds of TestSeeds; 300 if 0, 30 with -short, 10 with the race detector")
	from  = flag.Uint64("from", 1, "the first of them")
	tell  = flag.Bool("show", false, "print all that happens")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a run is short-lived, and so is most of what it makes
	os.Exit(m.Run())
}

// check runs one seed, and says how to repeat it if it fails.
func check(t *testing.T, seed uint64) {
	var trace io.Writer
	if *tell {
		out := bufio.NewWriterSize(os.Stdout, 1<<20)
		defer out.Flush() // of what goes to a terminal nothing is lost that could be missed
		trace = out
	}
	if o := simulate(seed, flaw{}, trace); o.err != "" {
		t.Errorf("seed %d: %s\n\trepeat with: scripts/sim -from %d -trace", seed, o.err, seed)
	}
}

// A cluster in which everything goes wrong comes to rest with nothing lost: no acknowledged write, no
// task, no container, no node; one leading master acts at a time; all members have the same registry.
// CLU-5, CLU-30 to CLU-33, CLU-35 to CLU-37, CLU-60 to CLU-62, SCH-72, SCH-85, SCH-87, SCH-225, SCH-226,
// SCH-268, SCH-269, EXE-149, EXE-154, EXE-157, EXE-168 to EXE-172
func TestSeeds(t *testing.T) {
	n := *seeds
	switch {
	case n > 0:
	case raced:
		n = 10
	case testing.Short():
		n = 30
	default:
		n = 300
	}
	for seed := *from; seed < *from+n; seed++ {
		check(t, seed)
	}
}

// Seeds that have found something stay, one in each line of testdata/seeds, with what they found.
func TestKeptSeeds(t *testing.T) {
	text, err := os.ReadFile("testdata/seeds")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for line := range strings.Lines(string(text)) {
		number, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number == "" || number == "#" {
			continue
		}
		seed, err := strconv.ParseUint(number, 10, 64)
		if err != nil {
			t.Fatalf("testdata/seeds: %q: %v", line, err)
		}
		n++
		check(t, seed)
	}
	if n == 0 {
		t.Error("testdata/seeds holds none")
	}
}

// A seed is one history: two runs of it are the same to the last step, runs of others are not.
func TestOneSeedIsOneHistory(t *testing.T) {
	sums := make(map[uint64]uint64)
	for seed := uint64(1); seed <= 5; seed++ {
		first, second := simulate(seed, flaw{}, nil), simulate(seed, flaw{}, io.Discard)
		if first != second {
			t.Errorf("seed %d: %+v and then %+v", seed, first, second)
		}
		if other, ok := sums[first.sum]; ok {
			t.Errorf("seeds %d and %d are the same history", other, seed)
		}
		sums[first.sum] = seed
	}
}
