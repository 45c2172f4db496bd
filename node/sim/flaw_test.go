package sim

import (
	"strings"
	"testing"
)

// flaw is something that the shells of the model do wrong, to prove that the simulation would find it.
type flaw struct {
	noLease         bool // a master acts without looking at its lease
	earlySync       bool // raft's log says that it is on disk before it is
	earlyCheckpoint bool // the agent's checkpoints likewise
	reorder         bool // a status update overtakes another on its way to the framework
	diverge         bool // a registry misses an operation, and nobody outside notices
	// faults are the names of those that bring it to light, with blanks between.
	faults string
}

// Each flaw is found within a bounded number of seeds.
func TestFlawsAreFound(t *testing.T) {
	const most = 40
	for _, test := range []struct {
		name string
		flaw flaw
		want []string // one of these is part of what is found
	}{
		{"no lease", flaw{noLease: true, faults: "leader"}, []string{"may act in term", "acts in term"}},
		{"log acknowledged before it is synced", flaw{earlySync: true, faults: "leader power"}, []string{
			"applies something else", "is lost", "acknowledged and is not", "raft invariant", "does not run", "was acknowledged before",
		}},
		{"checkpoint acknowledged before it is synced", flaw{earlyCheckpoint: true, faults: "kill power"}, []string{"runs twice", "it ended as", "has ended as", "came before", "destroyed"}},
		{"updates out of order", flaw{reorder: true}, []string{"came before", "came after"}},
		{"registries that differ", flaw{diverge: true}, []string{"that of the leader"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			for seed := uint64(1); seed <= most; seed++ {
				o := simulate(seed, test.flaw, nil)
				if o.err == "" {
					continue
				}
				t.Logf("seed %d: %s", seed, o.err)
				for _, want := range test.want {
					if strings.Contains(o.err, want) {
						return
					}
				}
				t.Fatalf("seed %d found something else: %s", seed, o.err)
			}
			t.Errorf("not found in %d seeds", most)
		})
	}
}
