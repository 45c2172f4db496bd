package main

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// forever is longer than any run.
const forever = 100 * 365 * 24 * time.Hour

// tail cuts an exponential distribution off, at so many times its mean.
const tail = 10

// span is a length of time that is drawn anew each time: fixed, evenly between two bounds, or
// exponential. The zero span is always 0.
type span struct {
	low, high time.Duration // equal if it is fixed
	mean      time.Duration // of an exponential one, else 0
}

const spanUsage = "2s, 1s-5s (evenly between), ~10s (exponential, by its mean) or forever"

// parseSpan reads a span as spanUsage describes it.
func parseSpan(text string) (span, error) {
	fault := func(why string) (span, error) {
		return span{}, fmt.Errorf("%q is not a span of time: %s; allowed are %s", text, why, spanUsage)
	}
	if text == "forever" {
		return span{low: forever, high: forever}, nil
	}
	if mean, ok := strings.CutPrefix(text, "~"); ok {
		d, err := parseLength(mean)
		if err != nil {
			return fault(err.Error())
		}
		return span{mean: d}, nil
	}
	from, to, ranged := strings.Cut(text, "-")
	low, err := parseLength(from)
	if err != nil {
		return fault(err.Error())
	}
	high := low
	if ranged {
		if high, err = parseLength(to); err != nil {
			return fault(err.Error())
		}
	}
	if high < low {
		return fault("its end is before its beginning")
	}
	return span{low: low, high: high}, nil
}

func parseLength(text string) (time.Duration, error) {
	if text == "0" {
		return 0, nil
	}
	d, err := time.ParseDuration(text)
	if err != nil {
		return 0, fmt.Errorf("%q has no unit or is no number", text)
	}
	if d < 0 || d > forever {
		return 0, fmt.Errorf("%s is not between 0 and %d years", text, int(forever.Hours()/24/365))
	}
	return d, nil
}

// String is the span as parseSpan reads it.
func (s span) String() string {
	switch {
	case s.mean > 0:
		return "~" + s.mean.String()
	case s.low >= forever:
		return "forever"
	case s.low == s.high:
		return s.low.String()
	}
	return s.low.String() + "-" + s.high.String()
}

// Set implements flag.Value.
func (s *span) Set(text string) (err error) {
	*s, err = parseSpan(text)
	return err
}

// none says that the span is always 0.
func (s span) none() bool { return s.high == 0 && s.mean == 0 }

// draw is one length of time.
func (s span) draw(r *rand.Rand) time.Duration {
	switch {
	case s.mean > 0:
		return time.Duration(min(r.ExpFloat64(), tail) * float64(s.mean))
	case s.low == s.high:
		return s.low
	}
	return s.low + time.Duration(r.Int64N(int64(s.high-s.low)+1))
}

// ending is how a task ends by itself.
type ending int

const (
	finished ending = iota
	failed
	killed
	endings
)

var endingNames = [endings]string{"finished", "failed", "killed"}

// outcomes are the shares of the endings. Without any, all tasks finish.
type outcomes [endings]float64

// String is the shares as Set reads them.
func (o *outcomes) String() string {
	var parts []string
	for e, share := range o {
		if share > 0 {
			parts = append(parts, endingNames[e]+"="+strconv.FormatFloat(share, 'g', -1, 64))
		}
	}
	return strings.Join(parts, ",")
}

// Set implements flag.Value: finished=8,failed=1,killed=1.
func (o *outcomes) Set(text string) error {
	var next outcomes
	sum := 0.0
	for part := range strings.SplitSeq(text, ",") {
		name, value, _ := strings.Cut(part, "=")
		share, err := strconv.ParseFloat(value, 64)
		e := endingOf(strings.TrimSpace(name))
		if err != nil || e == endings || share < 0 || math.IsInf(share, 0) || math.IsNaN(share) {
			return fmt.Errorf("%q is not ENDING=SHARE with one of %s and a number that is not negative", part, strings.Join(endingNames[:], ", "))
		}
		next[e] += share
		sum += share
	}
	if sum <= 0 || math.IsInf(sum, 0) {
		return fmt.Errorf("%q: one share at least must be above 0", text)
	}
	*o = next
	return nil
}

func endingOf(name string) ending {
	for e, known := range endingNames {
		if known == name {
			return ending(e)
		}
	}
	return endings
}

// draw is the end of one task.
func (o *outcomes) draw(r *rand.Rand) ending {
	sum := 0.0
	for _, share := range o {
		sum += share
	}
	at := r.Float64() * sum
	for e, share := range o {
		if at < share {
			return ending(e)
		}
		at -= share
	}
	return finished
}

// most is the longest that is drawn.
func (s span) most() time.Duration {
	if s.mean > 0 {
		return tail * s.mean
	}
	return s.high
}
