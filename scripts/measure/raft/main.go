// Command raft prints how many 1 KB proposals a second three members of clusterd's consensus group
// take on one disk, beside what three members of etcd do in the same run:
//
//	cd scripts/measure/raft && go run -mod=mod .            # two minutes
//	cd scripts/measure/raft && go run -mod=mod . -time 2s -rounds 3
//
// Both run in this process, with their own directories on the same file system, over plain TCP on
// loopback, with their default time-outs. Clients call the leader directly: clusterd's Peer.Propose
// with a state machine that keeps a map, etcd's EtcdServer.Put without its gRPC. Each proposal is
// acknowledged when two of three members have it on disk and the leader has applied it.
//
// It is a module of its own, so that clusterd does not depend on etcd's server.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"sync"
	"syscall"
	"time"
)

// settings are the command line.
type settings struct {
	clients, bytes, keys, rounds int
	warmUp, time                 time.Duration
	dir                          string
}

// group is three members that are measured.
type group interface {
	// put has the leader replicate one value.
	put(ctx context.Context, key string, value []byte) error
	close() error
}

// contestant is a kind of group.
type contestant struct {
	name string
	open func(ctx context.Context, dir string) (group, error)
}

var contestants = []contestant{{"clusterd", openClusterd}, {"etcd", openEtcd}}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	var s settings
	flag.IntVar(&s.clients, "clients", 64, "callers, each with one proposal under way")
	flag.IntVar(&s.bytes, "bytes", 1024, "size of a value")
	flag.IntVar(&s.keys, "keys", 10000, "keys that are written over and over")
	flag.IntVar(&s.rounds, "rounds", 5, "rounds, the median counts")
	flag.DurationVar(&s.warmUp, "warm-up", 2*time.Second, "time before each measurement")
	flag.DurationVar(&s.time, "time", 8*time.Second, "time of each measurement")
	flag.StringVar(&s.dir, "dir", "", "directory for the data, on the disk to be used (default: that for temporary files)")
	flag.Parse()
	if flag.NArg() > 0 || s.clients < 1 || s.bytes < 1 || s.keys < 1 || s.rounds < 1 || s.time <= 0 || s.warmUp < 0 {
		flag.Usage()
		os.Exit(2)
	}
	if err := run(ctx, s); err != nil {
		fmt.Fprintln(os.Stderr, "raft:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, s settings) error {
	fmt.Printf("%s, %s/%s, %d CPUs; %d clients, values of %d bytes, %d rounds of %v\n\n",
		runtime.Version(), runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), s.clients, s.bytes, s.rounds, s.time)
	fmt.Printf("%-6s %-10s %12s %10s %10s %10s\n", "round", "", "proposals/s", "p50", "p99", "cpu")
	found := make(map[string][]figure)
	for round := range s.rounds {
		for i := range contestants {
			c := contestants[(i+round)%len(contestants)] // take turns in being first
			f, err := measure(ctx, s, c)
			if err != nil {
				return fmt.Errorf("round %d of %s: %w", round+1, c.name, err)
			}
			found[c.name] = append(found[c.name], f)
			fmt.Printf("%-6d %-10s %12.0f %10v %10v %9.0f%%\n", round+1, c.name, f.perSecond,
				f.p50.Round(10*time.Microsecond), f.p99.Round(10*time.Microsecond), f.cpu*100)
		}
	}
	a, b := median(found["clusterd"]), median(found["etcd"])
	fmt.Printf("\nmedian of clusterd %.0f proposals/s, of etcd %.0f: ratio %.2f\n", a, b, a/b)
	return nil
}

// figure is what one round found.
type figure struct {
	perSecond float64
	p50, p99  time.Duration
	cpu       float64 // processors in use
}

func median(all []figure) float64 {
	var rates []float64
	for _, f := range all {
		rates = append(rates, f.perSecond)
	}
	slices.Sort(rates)
	if n := len(rates); n%2 == 0 {
		return (rates[n/2-1] + rates[n/2]) / 2
	}
	return rates[len(rates)/2]
}

// measure opens three members, lets them work and closes them.
func measure(ctx context.Context, s settings, c contestant) (f figure, err error) {
	dir, err := os.MkdirTemp(s.dir, "raft-measure-")
	if err != nil {
		return figure{}, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	g, err := c.open(ctx, dir)
	if err != nil {
		return figure{}, err
	}
	defer func() { err = errors.Join(err, g.close()) }()
	if _, err := load(ctx, s, g, s.warmUp); err != nil {
		return figure{}, err
	}
	return load(ctx, s, g, s.time)
}

// load has all clients put values for some time.
func load(ctx context.Context, s settings, g group, d time.Duration) (figure, error) {
	cpu, begun := cpuTime(), time.Now()
	end := begun.Add(d)
	var (
		wg   sync.WaitGroup
		mu   sync.Mutex
		took []time.Duration
		errs []error
	)
	for client := range s.clients {
		wg.Go(func() {
			value := make([]byte, s.bytes)
			var own []time.Duration
			var err error
			for i := client; err == nil; i += s.clients {
				at := time.Now()
				if at.After(end) {
					break
				}
				if err = g.put(ctx, fmt.Sprintf("key-%08d", i%s.keys), value); err == nil {
					own = append(own, time.Since(at))
				}
			}
			mu.Lock()
			defer mu.Unlock()
			took = append(took, own...)
			errs = append(errs, err)
		})
	}
	wg.Wait()
	if err := errors.Join(errs...); err != nil {
		return figure{}, err
	}
	elapsed := time.Since(begun)
	slices.Sort(took)
	f := figure{perSecond: float64(len(took)) / elapsed.Seconds(), cpu: float64(cpuTime()-cpu) / float64(elapsed)}
	if len(took) > 0 {
		f.p50, f.p99 = took[len(took)/2], took[len(took)*99/100]
	}
	return f, nil
}

// cpuTime is how long this process has used processors.
func cpuTime() time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
