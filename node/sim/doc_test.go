// Package sim runs a whole cluster in one goroutine from one seed: masters with their raft members and
// registries, agents with their containers, frameworks, the network between them and the disks below
// them. The cores are the ones that run in production; what surrounds them is a model, in which
// everything goes wrong that can.
//
//	scripts/sim -seeds 10000            # many seeds, in one process for each cpu
//	go test ./node/sim                  # the seeds of every test run
//	go test ./node/sim -run TestSeeds -from 4711 -seeds 1 -show
//
// # What is real and what is a model
//
//	real    node/master, node/agent, alloc, raft.Member, raft/registry, node/cluster (Plan)
//	model   shell_*.go: what package node does around the cores, as events instead of goroutines
//	        network, disk, clock, containers: the world
//	        framework: scripted schedulers; operator and faults: what is done to all of them
//
// # Rules of the world
//
// Time is virtual: a queue of events, each at an instant; those of one instant in the order in which
// they were made. Nothing reads a clock, starts a goroutine or walks a map for its effects. All chance
// comes from the seed, also that of the protocol library, which draws its election time-outs from
// crypto/rand.Reader. So a seed is a history, and a trace of it is an explanation.
//
// Every machine has a wall clock, which may jump, and a monotonic clock, which runs a little fast or
// slow. What a core is given as now has both readings, as time.Now has.
//
// A stream between two processes is TCP: in order, delayed, stalled, cut; its two ends learn of that
// at different times or, after a power cut, by silence only. Raft messages are lost, repeated and
// reordered besides. A write is durable when its sync has ended; a crash keeps any prefix of those that
// were under way.
//
// # What is checked
//
// After each step of a core its own Check; after each applied entry that all members applied the same
// to the same state; whenever a master acts, that no other may (CLU-33). Frameworks check that what
// they are told makes sense. At the end of a run faults cease, and within a bounded time everything
// has to be right again by itself: see outcome_test.go.
package sim
