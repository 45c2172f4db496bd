package sim

import (
	"testing"
	"time"
	"unsafe"
)

// epoch is the wall clock at the beginning of every run.
var epoch = time.Unix(1_800_000_000, 0)

// clock is what a machine takes for the time.
type clock struct {
	w *world
	// wall is how far the wall clock is off. It jumps.
	wall time.Duration
	// drift is how much faster the monotonic clock runs, in millionths. The wall clock follows it.
	drift int64
}

// monotonic is the reading of the machine's monotonic clock.
func (c *clock) monotonic() time.Duration { return c.w.now + c.w.now/1_000_000*time.Duration(c.drift) }

// read is what time.Now would return on the machine.
func (c *clock) read() time.Time {
	m := c.monotonic()
	return instant(epoch.Add(m+c.wall), m)
}

// until is how long the world has to wait for an instant of this machine's clock, as a timer of the
// machine would, which does not notice when the wall clock jumps.
func (c *clock) until(t time.Time) time.Duration {
	d := t.Sub(c.read())
	return d - d/1_000_000*time.Duration(c.drift)
}

// instant makes a time.Time of both readings. There is no other way to such a value than time.Now, so
// it knows how package time lays out its fields; TestInstant fails when that changes.
func instant(wall time.Time, monotonic time.Duration) time.Time {
	const (
		hasMonotonic = 1 << 63
		secondsShift = 30
		// year1885 is where the seconds of a time with a monotonic reading count from.
		year1885 = -2682288000
	)
	t := wall
	fields := (*struct {
		wall uint64
		ext  int64
		loc  *time.Location
	})(unsafe.Pointer(&t))
	fields.wall = hasMonotonic | uint64(wall.Unix()-year1885)<<secondsShift | uint64(wall.Nanosecond())
	fields.ext = int64(monotonic) + 1 // package time takes 0 for none
	return t
}

// A time has the readings that it was made of: wall for what is written down, monotonic for what is
// measured.
func TestInstant(t *testing.T) {
	wall := time.Unix(1_800_000_123, 456_789_012)
	before := instant(wall, time.Second)
	after := instant(wall.Add(-time.Hour), 3*time.Second)
	if before.UnixNano() != wall.UnixNano() || after.UnixNano() != wall.Add(-time.Hour).UnixNano() {
		t.Errorf("wall clocks are %v and %v", before, after)
	}
	if d := after.Sub(before); d != 2*time.Second {
		t.Errorf("2 s are measured as %v", d)
	}
	if d := after.Sub(wall); d != -time.Hour {
		t.Errorf("against a time without a monotonic reading: %v", d)
	}
	if at := before.Add(2 * time.Second); at.After(after) || after.After(at) {
		t.Errorf("%v is not %v", at, after)
	}
	if got := before.Round(0); !got.Equal(wall) {
		t.Errorf("without its monotonic reading it is %v", got)
	}
}
