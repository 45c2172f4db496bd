package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"time"
)

// sharedCPUs are filled by one framework in each of the roles below.
const sharedCPUs = 60

var sharingRoles = []struct {
	name   string
	weight int
}{{"one", 1}, {"two", 2}, {"three", 3}}

// filling is one framework taking one cpu from each offer.
type filling struct {
	*framework
	role  string
	taken chan<- launched
	up    chan<- time.Time
}

// launched is one task on its way.
type launched struct {
	role string
	at   time.Time
}

// measureShares lets three frameworks fill the agent. Each takes one task of one cpu from each offer
// and gives the rest back. The tasks are real containers, whatever the flags say.
func measureShares(ctx context.Context, b *bench) (err error) {
	var weights []string
	for _, r := range sharingRoles {
		weights = append(weights, fmt.Sprintf("%s=%d", r.name, r.weight))
	}
	d, err := startDaemon(ctx, b.binary, b.progress, "--weights", strings.Join(weights, ","),
		"--resources", fmt.Sprintf("cpus:%d;mem:%d;disk:100000", sharedCPUs, 100*sharedCPUs*taskMemMB))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, d.stop()) }()
	frameworks := make([]*framework, 0, len(sharingRoles))
	defer func() {
		for _, f := range frameworks {
			err = errors.Join(err, f.close())
		}
	}()
	for _, r := range sharingRoles {
		f, err := subscribe(ctx, d.master, r.name)
		if err != nil {
			return fmt.Errorf("role %s: %w", r.name, err)
		}
		frameworks = append(frameworks, f)
	}
	return b.fill(ctx, frameworks)
}

// fill starts the clock when all frameworks are there: nobody has answered an offer before.
func (b *bench) fill(ctx context.Context, frameworks []*framework) error {
	ctx, cancel := context.WithCancelCause(ctx)
	taken := make(chan launched, 2*sharedCPUs)
	upAt := make(chan time.Time, 2*sharedCPUs)
	began := time.Now()
	var ended sync.WaitGroup
	for i, f := range frameworks {
		fl := &filling{framework: f, role: sharingRoles[i].name, taken: taken, up: upAt}
		ended.Go(func() { cancel(fmt.Errorf("role %s: %w", fl.role, fl.fill(ctx))) })
	}
	shares := make(map[string]int)
	var full, up time.Time
	var err error
	for n, count := 0, 0; err == nil && count < sharedCPUs; {
		select {
		case l := <-taken:
			n, full = n+1, l.at
			shares[l.role]++
		case up = <-upAt:
			count++
		case <-ctx.Done():
			err = fmt.Errorf("%d of %d cpus are taken, %d tasks run: %w", n, sharedCPUs, count, context.Cause(ctx))
		}
	}
	cancel(nil)
	ended.Wait()
	if err != nil {
		return err
	}
	b.addShares(full.Sub(began), up.Sub(began), shares)
	return nil
}

// fill answers offers until ctx ends or something goes wrong: that is its error.
func (f *filling) fill(ctx context.Context) error {
	for n := 0; ; {
		ev, err := f.next(ctx)
		if err != nil {
			return err
		}
		switch ev.Type {
		case "OFFERS":
			for _, o := range ev.Offers.Offers {
				if o.cpus() < 1 {
					if err := f.decline(o.ID); err != nil {
						return err
					}
					continue
				}
				if err := f.accept(&o, tasks(&o, fmt.Sprintf("%s-%d", f.role, n), 1, 1, sleepArgv...)); err != nil {
					return err
				}
				n++
				f.taken <- launched{f.role, time.Now()}
			}
		case "UPDATE":
			s := ev.Update.Status
			switch s.State {
			case staging, starting:
			case running:
				f.up <- ev.at
			default:
				return fmt.Errorf("task %s is %s: %s", s.TaskID.Value, s.State, s.Message)
			}
		}
	}
}

func (b *bench) addShares(taken, up time.Duration, shares map[string]int) {
	weights, worst := 0, 0.0
	for _, r := range sharingRoles {
		weights += r.weight
	}
	var got, exact []string
	for _, r := range sharingRoles {
		due := float64(sharedCPUs*r.weight) / float64(weights)
		worst = max(worst, math.Abs(float64(shares[r.name])-due))
		got, exact = append(got, fmt.Sprint(shares[r.name])), append(exact, number(due))
	}
	// One offer for each agent in each allocation interval of one second, the first at once.
	mesos := float64(sharedCPUs - 1)
	b.report.add(figure{
		Name: fmt.Sprintf("three roles fill %d cpus, to last TASK_RUNNING", sharedCPUs), Value: up.Seconds(), Unit: "s",
		Reference: &mesos, Against: "computed for Mesos: one offer of the agent in each allocation interval of 1 s",
		Goal: atMost("value", 3), Samples: 1,
		Note: fmt.Sprintf("last ACCEPT after %s s; tasks are sleep in real containers", number(taken.Seconds())),
	})
	b.report.add(figure{
		Name: "largest difference from the exact shares", Value: worst, Unit: "cpus", Goal: atMost("value", 0), Samples: 1,
		Note: fmt.Sprintf("weights 1:2:3, exact %s, got %s", strings.Join(exact, ":"), strings.Join(got, ":")),
	})
	b.say("shares: %s after %s s", strings.Join(got, ":"), number(up.Seconds()))
}
