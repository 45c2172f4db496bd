package sim

import (
	"flag"
	"fmt"
	"os"
	"runtime/debug"
	"testing"
)

var (
	seeds = flag.Uint64("seeds", 300, "number of seeds of TestSeeds")
	from  = flag.Uint64("from", 1, "the first of them")
	trace = flag.Bool("show", false, "print what happens")
)

func TestMain(m *testing.M) {
	flag.Parse()
	debug.SetGCPercent(400) // a run is short-lived, and so is most of what it makes
	os.Exit(m.Run())
}

func TestSeeds(t *testing.T) {
	for seed := *from; seed < *from+*seeds; seed++ {
		var o outcome
		if *trace {
			o = simulate(seed, flaw{}, os.Stdout)
		} else {
			o = simulate(seed, flaw{}, nil)
		}
		if o.err != "" {
			t.Errorf("seed %d: %s\nrepeat with: go test ./node/sim -run TestSeeds -seeds 1 -from %d -show", seed, o.err, seed)
		} else if testing.Verbose() {
			fmt.Printf("seed %d: %d steps, %d tasks, %x\n", seed, o.steps, o.tasks, o.sum)
		}
	}
}
