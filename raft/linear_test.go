package raft

import (
	"context"
	"encoding/gob"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"
)

// The run lasts CLUSTERD_LINEAR_TIME, for example 30m, in place of 20 s; with CLUSTERD_LINEAR_SEED it
// is one history with that seed.
const (
	linearTimeVariable = "CLUSTERD_LINEAR_TIME"
	linearSeedVariable = "CLUSTERD_LINEAR_SEED"
	linearTime         = 20 * time.Second
	linearShortTime    = 3 * time.Second
)

// Clients on a faulty group of 3 to 5 peers see one register file that does one thing after the other,
// whatever the network loses, delays, repeats, reorders and cuts, and whatever peers crash, are added
// or removed. CLU-30, CLU-31, CLU-33, CLU-37
func TestLinearizable(t *testing.T) {
	run := linearTime
	if testing.Short() {
		run = linearShortTime
	}
	if text := os.Getenv(linearTimeVariable); text != "" {
		d, err := time.ParseDuration(text)
		if err != nil {
			t.Fatalf("%s: %v", linearTimeVariable, err)
		}
		run = d
	}
	seed, one := rand.Uint64(), false
	if text := os.Getenv(linearSeedVariable); text != "" {
		n, err := strconv.ParseUint(text, 10, 64)
		if err != nil {
			t.Fatalf("%s: %v", linearSeedVariable, err)
		}
		seed, one = n, true
	}
	var total historyFigures
	for begun := time.Now(); !t.Failed() && (total.histories == 0 || !one && time.Since(begun) < run); seed++ {
		h := &history{seed: seed}
		synctest.Test(t, h.run)
		if !t.Failed() {
			h.check(t)
		}
		if t.Failed() {
			t.Logf("history with seed %d (%s=%d):\n%s", seed, linearSeedVariable, seed, strings.Join(h.log, "\n"))
		}
		total.add(h)
	}
	t.Logf("last seed %d; %+v", seed-1, total)
	if total.certain == 0 || total.unjudged > total.histories/20 || total.reads == 0 || !one && total.histories > 20 && (total.leaders < 20 || total.crashes == 0 || total.changes == 0 || total.transfers == 0 || total.snapshots == 0) {
		t.Errorf("the run proves little: %+v", total)
	}
}

// historyFigures is how much happened.
type historyFigures struct {
	histories, certain, unknown, refused, reads, leaseReads, crashes, cuts, transfers, changes, leaders, snapshots int
	unjudged                                                                                                       int
}

func (f *historyFigures) add(h *history) {
	f.histories++
	f.certain += h.figures.certain
	f.unknown += h.figures.unknown
	f.refused += h.figures.refused
	f.reads += h.figures.reads
	f.leaseReads += h.figures.leaseReads
	f.crashes += h.figures.crashes
	f.cuts += h.figures.cuts
	f.transfers += h.figures.transfers
	f.changes += h.figures.changes
	f.leaders += h.figures.leaders
	f.snapshots += h.figures.snapshots
	f.unjudged += h.figures.unjudged
}

// registers is a state machine: values by key, which are set or appended to.
type registers struct {
	mu    sync.Mutex
	of    map[string]string
	count uint64 // entries applied
}

// operation is what a client does.
type operation struct {
	Kind       string // "put", "append", "read" or "read in lease"
	Key, Value string
}

func (r *registers) Apply(_ uint64, data []byte) (any, error) {
	parts := strings.Split(string(data), " ")
	if len(parts) != 3 {
		return nil, fmt.Errorf("%w: %q", errUnknownEntry, data)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.of == nil {
		r.of = map[string]string{}
	}
	r.count++
	if parts[0] == "append" {
		parts[2] = r.of[parts[1]] + parts[2]
	}
	r.of[parts[1]] = parts[2]
	return parts[2], nil
}

// registersImage is what a snapshot holds.
type registersImage struct {
	Of    map[string]string
	Count uint64
}

func (r *registers) image() registersImage {
	r.mu.Lock()
	defer r.mu.Unlock()
	return registersImage{maps.Clone(r.of), r.count}
}

func (r *registers) Snapshot() (func(io.Writer) error, error) {
	image := r.image()
	return func(w io.Writer) error { return gob.NewEncoder(w).Encode(image) }, nil
}

func (r *registers) Restore(in io.Reader) error {
	var image registersImage
	if err := gob.NewDecoder(in).Decode(&image); err != nil {
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of, r.count = image.Of, image.Count
	return nil
}

// Hash makes the peers compare their states. CLU-32
func (r *registers) Hash() func() string {
	image := r.image()
	return func() string {
		out := strconv.FormatUint(image.Count, 10)
		for _, key := range slices.Sorted(maps.Keys(image.Of)) {
			out += " " + key + "=" + image.Of[key]
		}
		return out
	}
}

func (r *registers) read(key string) string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.of[key]
}

// outcome of an operation for the model: unknown if it may or may not have happened, now or later.
type observed struct {
	unknown bool
	value   string // after the operation
}

var registerModel = porcupine.Model{
	Partition: func(all []porcupine.Operation) [][]porcupine.Operation {
		byKey := map[string][]porcupine.Operation{}
		for _, op := range all {
			key := op.Input.(operation).Key
			byKey[key] = append(byKey[key], op)
		}
		return slices.Collect(maps.Values(byKey))
	},
	Init: func() any { return "" },
	Step: func(state, input, output any) (bool, any) {
		in, out, now := input.(operation), output.(observed), state.(string)
		switch in.Kind {
		case "put":
			now = in.Value
		case "append":
			now += in.Value
		}
		return out.unknown || out.value == now, now
	},
	DescribeOperation: func(input, output any) string { return fmt.Sprintf("%+v: %+v", input, output) },
}

const (
	historyTime    = 40 * time.Second // of the bubble's clock, with faults
	historyClients = 5
	keyTime        = 5 * time.Second // after which clients go on to other keys
	maxPeers       = 5
	judgeTime      = 20 * time.Second // at most, after which there is no verdict
)

// history is one run of clients against a group with faults.
type history struct {
	seed     uint64
	t        *testing.T
	dir      string
	net      *faultyNetwork
	wg       sync.WaitGroup // clients, and what the nemesis began
	watching sync.WaitGroup // of leadership
	tick     atomic.Int64   // orders beginnings and ends of operations

	begun time.Time
	nodes map[uint64]*linearNode // of the nemesis only
	next  uint64                 // id of the next new member

	mu         sync.Mutex
	running    map[uint64]*linearNode // those that are up
	operations []porcupine.Operation
	log        []string
	figures    historyFigures
	keys       map[string]bool
}

// linearNode is one member, up or down.
type linearNode struct {
	id      uint64
	join    bool
	peer    *Peer
	machine *registers
}

func (h *history) logf(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.log = append(h.log, fmt.Sprintf("%8.3fs ", time.Since(h.begun).Seconds())+fmt.Sprintf(format, args...))
}

// random is a source of chance of its own for one goroutine.
func (h *history) random(name uint64) *rand.Rand { return rand.New(rand.NewPCG(h.seed, name)) }

// run makes one history, in a bubble.
func (h *history) run(t *testing.T) {
	h.t, h.dir, h.begun = t, t.TempDir(), time.Now()
	h.nodes, h.running, h.keys = map[uint64]*linearNode{}, map[uint64]*linearNode{}, map[string]bool{}
	h.net = newFaultyNetwork(h.random(1), h.seed%2 == 0)
	h.logf("over connections: %v", h.net.overConnections)
	for h.next = 1; h.next <= 3; h.next++ {
		h.open(&linearNode{id: h.next})
	}
	end := make(chan struct{})
	for i := range uint64(historyClients) {
		h.wg.Go(func() { h.client(i, end) })
	}
	h.nemesis(h.random(2))
	h.heal()
	close(end)
	h.wg.Wait()
	h.converge()
	for _, id := range slices.Sorted(maps.Keys(h.nodes)) {
		h.close(h.nodes[id])
	}
	h.watching.Wait()
	h.net.wg.Wait()
}

// open starts a member, again or for the first time.
func (h *history) open(n *linearNode) {
	n.machine = &registers{}
	cfg := Config{
		Dir: filepath.Join(h.dir, strconv.FormatUint(n.id, 10)), ID: n.id, Join: n.join, Transport: h.net.transport(n.id),
		SnapshotEntries: 40, KeepEntries: 10, NoSync: true,
	}
	if !n.join {
		cfg.Voters = []uint64{1, 2, 3}
	}
	p, err := Open(cfg, n.machine)
	if err != nil {
		h.t.Fatalf("open peer %d: %v", n.id, err)
	}
	n.peer = p
	h.net.attach(n.id, p)
	h.nodes[n.id] = n
	h.mu.Lock()
	h.running[n.id] = n
	h.mu.Unlock()
	h.watching.Go(func() {
		for l := range p.Leadership() {
			if l.Leader {
				h.logf("peer %d leads in term %d", n.id, l.Term)
				h.mu.Lock()
				h.figures.leaders++
				h.mu.Unlock()
			}
		}
	})
}

// close ends a member as a crash does that leaves what was written to the system.
func (h *history) close(n *linearNode) {
	if n.peer == nil {
		return
	}
	h.mu.Lock()
	delete(h.running, n.id)
	h.figures.snapshots += int(n.peer.Status().SnapshotsReceived)
	h.mu.Unlock()
	if err := errors.Join(h.net.detach(n.id), n.peer.Close(), n.peer.Err()); err != nil {
		h.t.Errorf("peer %d: %v", n.id, err)
	}
	n.peer = nil
}

// up returns the members that run, in the order of their ids.
func (h *history) up() []*linearNode {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.SortedFunc(maps.Values(h.running), func(a, b *linearNode) int { return int(a.id) - int(b.id) })
}

// leader is a member that may act now, nil if there is none. There must not be two. CLU-33
func (h *history) leader() *linearNode {
	var found *linearNode
	up := h.up()
	for _, n := range up {
		peer, _ := n.peerAndMachine(h)
		switch {
		case peer == nil || !peer.Leading():
		case found == nil:
			found = n
		default:
			// The first still acts, hence did when the second was asked.
			if first, _ := found.peerAndMachine(h); first != nil && first.Leading() {
				h.t.Errorf("seed %d: peers %d and %d act at the same time", h.seed, found.id, n.id)
			}
		}
	}
	return found
}

// client does one operation after the other.
func (h *history) client(id uint64, end <-chan struct{}) {
	random := h.random(100 + id)
	for n := 0; ; n++ {
		select {
		case <-end:
			return
		case <-time.After(time.Duration(random.Int64N(int64(150 * time.Millisecond)))):
		}
		up := h.up()
		if len(up) == 0 {
			continue
		}
		at := up[random.IntN(len(up))]
		op := operation{Key: fmt.Sprintf("k%d-%d", random.IntN(2), time.Since(h.begun)/keyTime), Value: fmt.Sprintf("%d.%d;", id, n)}
		switch kind := random.IntN(10); {
		case kind < 5:
			op.Kind = "append"
		case kind < 6:
			op.Kind = "put"
		case kind < 9:
			op.Kind, op.Value = "read", ""
		default:
			op.Kind, op.Value = "read in lease", ""
		}
		if leader := h.leader(); leader != nil && (op.Kind != "read" || random.IntN(2) == 0) && random.IntN(10) > 0 {
			at = leader
		}
		h.do(at, int(id), op, time.Duration(100+random.IntN(3000))*time.Millisecond)
	}
}

// do carries out one operation on one member and notes what was seen of it.
func (h *history) do(at *linearNode, client int, op operation, patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	call := h.tick.Add(1)
	var (
		out  observed
		sure = true
		err  error
	)
	peer, machine := at.peerAndMachine(h)
	if peer == nil {
		return
	}
	switch op.Kind {
	case "read":
		if _, err = peer.ReadIndex(ctx); err == nil {
			out.value = machine.read(op.Key)
		}
	case "read in lease":
		out.value = machine.read(op.Key)
		if !peer.Leading() { // it led when it read, if it still does
			err = ErrNotLeader
		}
	default:
		var result any
		_, result, err = peer.Propose(ctx, []byte(op.Kind+" "+op.Key+" "+op.Value))
		if err == nil {
			out.value = result.(string)
		}
		sure = err == nil || errors.Is(err, ErrNotLeader) || errors.Is(err, ErrBusy)
	}
	end := h.tick.Add(1)
	h.mu.Lock()
	defer h.mu.Unlock()
	switch {
	case err == nil && op.Kind == "read":
		h.figures.reads++
	case err == nil && op.Kind == "read in lease":
		h.figures.leaseReads++
	case err == nil:
		h.figures.certain++
	case sure:
		h.figures.refused++
		return // it never happens, and a read without an answer says nothing
	default:
		h.figures.unknown++
		end, out.unknown = math.MaxInt64, true
	}
	h.keys[op.Key] = true
	h.operations = append(h.operations, porcupine.Operation{ClientId: client, Input: op, Call: call, Output: out, Return: end})
}

// peerAndMachine is a member as it runs now; nil if it does not.
func (n *linearNode) peerAndMachine(h *history) (*Peer, *registers) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.running[n.id] != n {
		return nil, nil
	}
	return n.peer, n.machine
}

// check has the history judged. CLU-33
func (h *history) check(t *testing.T) {
	t.Helper()
	switch result, info := porcupine.CheckOperationsVerbose(registerModel, h.operations, judgeTime); result {
	case porcupine.Ok:
	case porcupine.Unknown:
		h.figures.unjudged++
		t.Logf("seed %d: no verdict on %d operations within %v", h.seed, len(h.operations), judgeTime)
	default:
		t.Errorf("seed %d: no order of the operations explains what the clients saw", h.seed)
		path := filepath.Join(t.ArtifactDir(), fmt.Sprintf("linear-%d.html", h.seed))
		if err := porcupine.VisualizePath(registerModel, info, path); err != nil {
			t.Error(err)
		}
		t.Logf("drawn in %s (kept with -artifacts)", path)
	}
}
