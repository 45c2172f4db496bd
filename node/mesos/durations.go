package mesos

import (
	"math"
	"reflect"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/types/known/durationpb"
)

// Mesos writes days and weeks too, and spells its units out: "90secs", "2weeks".
const (
	day  = 24 * time.Hour
	week = 7 * day
)

// durationUnits is in ascending order.
var durationUnits = [...]struct {
	name string
	size time.Duration
}{
	{"ns", time.Nanosecond},
	{"us", time.Microsecond},
	{"ms", time.Millisecond},
	{"secs", time.Second},
	{"mins", time.Minute},
	{"hrs", time.Hour},
	{"days", day},
	{"weeks", week},
}

// FormatDuration writes a duration as Mesos does in flags, messages and /state: in the largest unit
// that fits, or in the next smaller one where only that gives a whole number ("10days", not
// "1.42857142857143weeks"). ParseDuration reads it back, to 15 digits.
func FormatDuration(d time.Duration) string {
	sign := ""
	abs := uint64(d)
	if d < 0 {
		sign, abs = "-", -abs
	}
	i := len(durationUnits) - 1
	for i > 0 && abs < uint64(durationUnits[i].size) {
		i--
	}
	if i > 0 && abs%uint64(durationUnits[i].size) != 0 && abs%uint64(durationUnits[i-1].size) == 0 {
		i--
	}
	value := float64(abs) / float64(durationUnits[i].size)
	return sign + strconv.FormatFloat(value, 'g', 15, 64) + durationUnits[i].name
}

// DurationError says why a text is not a duration.
type DurationError struct{ Reason string }

// Error returns the reason alone, as it is shown to users.
func (e *DurationError) Error() string { return e.Reason }

// ParseDuration reads a number followed by one of the units ns, us, ms, secs, mins, hrs, days and
// weeks, without a blank between them. The error texts are those a Mesos user sees:
// "Invalid duration '5'", "Unknown duration unit 'x'", "Failed to convert 'a' to number". A failure is a
// *DurationError.
func ParseDuration(text string) (time.Duration, error) {
	split := 0
	for split < len(text) && isDurationDigit(text[split]) {
		split++
	}
	if split == len(text) {
		return 0, &DurationError{"Invalid duration '" + text + "'"}
	}
	value, err := strconv.ParseFloat(text[:split], 64)
	if err != nil {
		return 0, &DurationError{"Failed to convert '" + text[:split] + "' to number"}
	}
	for _, unit := range durationUnits {
		if unit.name != text[split:] {
			continue
		}
		ns := value * float64(unit.size)
		// 2^63 is the first float64 beyond the range.
		if ns >= math.MaxInt64 || ns <= math.MinInt64 {
			return 0, &DurationError{"Argument out of the range that a Duration can represent due to int64_t's size limit"}
		}
		return time.Duration(math.Round(ns)), nil
	}
	return 0, &DurationError{"Unknown duration unit '" + text[split:] + "'"}
}

func isDurationDigit(c byte) bool { return '0' <= c && c <= '9' || c == '.' || c == '-' }

// durationName is the one message that JSON may also give as a string (OPR-57).
const durationName = "google.protobuf.Duration"

// durationFromString sets a google.protobuf.Duration from the text that its JSON form has elsewhere
// ("1.5s"), or from a duration as Mesos writes it ("10mins"). The original takes only an object.
func durationFromString(f *fieldCodec, v reflect.Value, text string) error {
	d, err := ParseDuration(text)
	if seconds, ok := strings.CutSuffix(text, "s"); err != nil && ok {
		d, err = ParseDuration(seconds + "secs")
	}
	if err != nil {
		return &ConvertError{"Failed to parse '" + text + "' as a duration such as '600s' or '10mins' for field '" + f.name + "': " + err.Error()}
	}
	set := f.place(v).Addr().Interface().(*durationpb.Duration)
	set.Seconds, set.Nanos = int64(d/time.Second), int32(d%time.Second)
	return nil
}
