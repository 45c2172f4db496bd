//go:build linux && cgo

package isolate

import (
	"context"
	"fmt"
	"path/filepath"
	"sync"
	"testing"
	"time"

	libcgroups "github.com/opencontainers/cgroups"
	"github.com/opencontainers/runc/libcontainer"
	"github.com/opencontainers/runc/libcontainer/configs"
	"golang.org/x/sys/unix"
)

// atOnce is how many containers are started at the same time.
const atOnce = 4

// inParallel runs f for 0 to n-1, atOnce at a time.
func inParallel(n int, f func(i int)) {
	next := make(chan int)
	var wg sync.WaitGroup
	for range atOnce {
		wg.Go(func() {
			for i := range next {
				f(i)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	wg.Wait()
}

// cpuTime is what this process and all that it reaped have used so far.
func cpuTime(b *testing.B) time.Duration {
	b.Helper()
	var total time.Duration
	for _, who := range []int{unix.RUSAGE_SELF, unix.RUSAGE_CHILDREN} {
		var u unix.Rusage
		if err := unix.Getrusage(who, &u); err != nil {
			b.Fatal(err)
		}
		total += time.Duration(u.Utime.Nano() + u.Stime.Nano())
	}
	return total
}

// report prints starts per second, and the cpu time of each start, which other
// work on the machine disturbs less.
func report(b *testing.B, before time.Duration) {
	b.Helper()
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "starts/s")
	b.ReportMetric((cpuTime(b)-before).Seconds()*1000/float64(b.N), "cpu-ms/start")
}

// BenchmarkLaunch starts containers that run /bin/true, waits for their end
// and forgets them.
func BenchmarkLaunch(b *testing.B) {
	r := openContainers(b)
	dir := b.TempDir()
	before := cpuTime(b)
	b.ResetTimer()
	inParallel(b.N, func(i int) {
		c, err := r.Launch(context.Background(), Spec{
			ID: fmt.Sprintf("c%d", i), Args: []string{"/bin/true"}, Env: []string{"PATH=/bin:/usr/bin"}, Dir: dir,
			Limits: Limits{CPUSharesMilli: 500, MemorySoftBytes: 64 << 20, MemoryHardBytes: 64 << 20},
		})
		if err != nil {
			b.Error(err)
			return
		}
		<-c.Done()
		if e := c.Exit(); e.Status != 0 {
			b.Errorf("exit %+v", e)
		}
		if err := c.Forget(); err != nil {
			b.Error(err)
		}
	})
	report(b, before)
}

// BenchmarkLibcontainerAlone is the yardstick: the same containers made by
// libcontainer in this process, no shim, no daemon, no records.
func BenchmarkLibcontainerAlone(b *testing.B) {
	openContainers(b)
	state, rootfs := b.TempDir(), b.TempDir()
	errs := make(chan error, 1)
	before := cpuTime(b)
	b.ResetTimer()
	inParallel(b.N, func(i int) {
		if err := aloneOnce(state, rootfs, fmt.Sprintf("c%d", i)); err != nil {
			select {
			case errs <- err:
			default:
			}
		}
	})
	report(b, before)
	select {
	case err := <-errs:
		b.Fatal(err)
	default:
	}
	removeAloneRoot(b)
}

const aloneRoot = "clusterd-bench-alone"

func aloneOnce(state, rootfs, id string) error {
	c, err := libcontainer.Create(state, id, &configs.Config{
		Rootfs: rootfs,
		Namespaces: configs.Namespaces{
			{Type: configs.NEWNS}, {Type: configs.NEWPID}, {Type: configs.NEWIPC}, {Type: configs.NEWUTS},
		},
		Mounts: []*configs.Mount{
			{Source: "/dev", Destination: "/dev", Device: "bind", Flags: unix.MS_BIND | unix.MS_REC},
			{Source: "proc", Destination: "/proc", Device: "proc", Flags: unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC},
		},
		Cgroups: &libcgroups.Cgroup{
			Path:      "/" + aloneRoot + "/" + id,
			Resources: &libcgroups.Resources{CpuShares: 512, Memory: 64 << 20, MemoryReservation: 64 << 20},
		},
	})
	if err != nil {
		return err
	}
	p := &libcontainer.Process{Args: []string{"/bin/true"}, Env: []string{"PATH=/bin:/usr/bin"}, Cwd: "/", Init: true}
	if err := inHostRoot(rootfs, func() error { return c.Run(p) }); err != nil {
		return err
	}
	if _, err := p.Wait(); err != nil {
		return err
	}
	return c.Destroy()
}

func removeAloneRoot(b *testing.B) {
	dirs, err := filepath.Glob("/sys/fs/cgroup/*/" + aloneRoot)
	if err != nil {
		b.Fatal(err)
	}
	for _, d := range dirs {
		if err := unix.Rmdir(d); err != nil {
			b.Error(err)
		}
	}
}
