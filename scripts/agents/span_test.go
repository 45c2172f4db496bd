package main

import (
	"math/rand/v2"
	"strings"
	"testing"
	"time"
)

func TestParseSpan(t *testing.T) {
	for _, test := range []struct {
		text, want string // what it is written as again, or a part of the error
		least      time.Duration
		most       time.Duration
		fault      bool
	}{
		{"0", "0s", 0, 0, false},
		{"2s", "2s", 2 * time.Second, 2 * time.Second, false},
		{"1s-5s", "1s-5s", time.Second, 5 * time.Second, false},
		{"0-1m30s", "0s-1m30s", 0, 90 * time.Second, false},
		{"~10s", "~10s", 0, 100 * time.Second, false},
		{"forever", "forever", forever, forever, false},
		{"", "no unit", 0, 0, true},
		{"5", "no unit", 0, 0, true},
		{"-5s", "no unit", 0, 0, true},
		{"5s-1s", "its end is before its beginning", 0, 0, true},
		{"~", "no unit", 0, 0, true},
		{"1s-", "no unit", 0, 0, true},
		{"2000000h", "not between 0 and 100 years", 0, 0, true},
	} {
		var s span
		err := s.Set(test.text)
		if test.fault {
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%q: error %v, want one with %q", test.text, err, test.want)
			}
			continue
		}
		if err != nil || s.String() != test.want {
			t.Errorf("%q is %v, %v; want %s", test.text, s, err, test.want)
			continue
		}
		if s.most() != test.most || s.none() != (test.most == 0) {
			t.Errorf("%q: at most %v, none %v", test.text, s.most(), s.none())
		}
		r := rand.New(rand.NewPCG(1, 2))
		var sum time.Duration
		const draws = 1000
		for range draws {
			d := s.draw(r)
			if d < test.least || d > test.most {
				t.Fatalf("%q: drew %v", test.text, d)
			}
			sum += d / draws
		}
		if s.mean > 0 && (sum < s.mean*8/10 || sum > s.mean*12/10) {
			t.Errorf("%q: the mean is %v", test.text, sum)
		}
	}
}

func TestOutcomes(t *testing.T) {
	var o outcomes
	for _, text := range []string{"", "finished", "finished=x", "lost=1", "finished=0", "finished=-1", "finished=NaN", "finished=+Inf"} {
		if err := o.Set(text); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	if err := o.Set("finished=6, failed=3,killed=1"); err != nil || o.String() != "finished=6,failed=3,killed=1" {
		t.Fatalf("%s, %v", o.String(), err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	var drawn [endings]int
	for range 10000 {
		drawn[o.draw(r)]++
	}
	for e, want := range []int{6000, 3000, 1000} {
		if drawn[e] < want-300 || drawn[e] > want+300 {
			t.Errorf("%s: %d of 10000", endingNames[e], drawn[e])
		}
	}
	if (&outcomes{}).draw(r) != finished {
		t.Error("without shares tasks do not finish")
	}
}

// Timers fire in the order of their instants, then in that of their setting; one that was stopped does not.
func TestTimers(t *testing.T) {
	var ts timers
	var fired []int
	begin := time.Unix(0, 0)
	set := func(n int, after time.Duration) *timer {
		return ts.start(begin.Add(after), func() { fired = append(fired, n) })
	}
	set(3, 2*time.Second)
	set(1, time.Second)
	stopped := set(9, time.Second)
	set(2, time.Second)
	set(4, time.Hour)
	ts.stop(stopped)
	ts.stop(stopped)
	ts.stop(nil)
	if at, ok := ts.next(); !ok || !at.Equal(begin.Add(time.Second)) {
		t.Errorf("next at %v", at)
	}
	for x := ts.due(begin.Add(2 * time.Second)); x != nil; x = ts.due(begin.Add(2 * time.Second)) {
		x.fire()
		ts.stop(x)
	}
	if len(fired) != 3 || fired[0] != 1 || fired[1] != 2 || fired[2] != 3 {
		t.Errorf("fired %v", fired)
	}
}
