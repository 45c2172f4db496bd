package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// report is what a run found.
type report struct {
	Version    string    `json:"version"`
	Date       time.Time `json:"date"`
	Machine    machine   `json:"machine"`
	LoadBefore []float64 `json:"load_before,omitempty"` // run queue over 1, 5 and 15 minutes
	LoadAfter  []float64 `json:"load_after,omitempty"`
	Figures    []figure  `json:"figures"`
}

// figure is one measured value beside its reference.
type figure struct {
	Name      string   `json:"name"`
	Value     float64  `json:"value"`
	Unit      string   `json:"unit"`
	Reference *float64 `json:"reference,omitempty"` // nil: there is none
	Against   string   `json:"against,omitempty"`   // what the reference is, or why there is none
	Ratio     *float64 `json:"ratio,omitempty"`     // Value / Reference
	Goal      *goal    `json:"goal,omitempty"`
	Met       *bool    `json:"met,omitempty"` // nil: no goal, or no reference to compare with
	Samples   int      `json:"samples"`
	Note      string   `json:"note,omitempty"`
}

// goal bounds a figure's ratio or its value.
type goal struct {
	Of    string  `json:"of"` // "ratio" or "value"
	Least bool    `json:"least"`
	Limit float64 `json:"limit"`
}

func atLeast(of string, limit float64) *goal { return &goal{of, true, limit} }
func atMost(of string, limit float64) *goal  { return &goal{of, false, limit} }

func (g *goal) met(v float64) bool {
	if g.Least {
		return v >= g.Limit
	}
	return v <= g.Limit
}

// add completes a figure and keeps it.
func (r *report) add(f figure) {
	if f.Reference != nil {
		f.Ratio = ratio(f.Value, *f.Reference)
	}
	if f.Goal != nil {
		v := &f.Value
		if f.Goal.Of == "ratio" {
			v = f.Ratio
		}
		if v != nil {
			met := f.Goal.met(*v)
			f.Met = &met
		}
	}
	r.Figures = append(r.Figures, f)
}

// ratio is nil where there is nothing to divide by.
func ratio(a, b float64) *float64 {
	if b == 0 || math.IsNaN(a) || math.IsNaN(b) {
		return nil
	}
	q := a / b
	return &q
}

// percentile is the smallest sample that at least p percent of all are not above (nearest rank).
func percentile[T cmp.Ordered](samples []T, p float64) T {
	if len(samples) == 0 {
		panic("percentile of no samples")
	}
	sorted := slices.Sorted(slices.Values(samples))
	rank := int(math.Ceil(p / 100 * float64(len(sorted))))
	return sorted[min(max(rank, 1), len(sorted))-1]
}

// median is the middle sample, or the mean of the two in the middle.
func median(samples []float64) float64 {
	if len(samples) == 0 {
		panic("median of no samples")
	}
	sorted := slices.Sorted(slices.Values(samples))
	n := len(sorted)
	return (sorted[(n-1)/2] + sorted[n/2]) / 2
}

// perSecond is a rate.
func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }

func (r *report) writeJSON(w io.Writer) error {
	enc := json.NewEncoder(w)
	enc.SetIndent("", "  ")
	return enc.Encode(r)
}

func (r *report) writeTable(w io.Writer) error {
	fmt.Fprintf(w, "clusterd %s on %s, %s\nload average %s before, %s after\n\n",
		r.Version, r.Machine, r.Date.Format("2006-01-02 15:04 UTC"), loadText(r.LoadBefore), loadText(r.LoadAfter))
	tw := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	fmt.Fprintln(tw, "FIGURE\tVALUE\tREFERENCE\tRATIO\tGOAL\tMET\tSAMPLES")
	for _, f := range r.Figures {
		reference, quotient, wanted, met := "-", "-", "-", "-"
		if f.Reference != nil {
			reference = valueText(*f.Reference, f.Unit)
		}
		if f.Ratio != nil {
			quotient = number(*f.Ratio)
		}
		if f.Goal != nil {
			wanted = f.goalText()
		}
		if f.Met != nil {
			met = map[bool]string{true: "yes", false: "no"}[*f.Met]
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%d\n", f.Name, valueText(f.Value, f.Unit), reference, quotient, wanted, met, f.Samples)
	}
	if err := tw.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(w)
	for _, f := range r.Figures {
		var notes []string
		if f.Against != "" {
			notes = append(notes, "reference: "+f.Against)
		}
		if f.Note != "" {
			notes = append(notes, f.Note)
		}
		if len(notes) == 0 {
			continue
		}
		if _, err := fmt.Fprintf(w, "%s: %s\n", f.Name, strings.Join(notes, "; ")); err != nil {
			return err
		}
	}
	return nil
}

func (f *figure) goalText() string {
	sign := "<="
	if f.Goal.Least {
		sign = ">="
	}
	if f.Goal.Of == "ratio" {
		return fmt.Sprintf("%s %s x", sign, number(f.Goal.Limit))
	}
	return sign + " " + valueText(f.Goal.Limit, f.Unit)
}

func valueText(v float64, unit string) string { return strings.TrimSpace(number(v) + " " + unit) }

// number prints three significant digits, whole numbers as such.
func number(v float64) string {
	if v == math.Trunc(v) && math.Abs(v) < 1e6 {
		return strconv.FormatFloat(v, 'f', -1, 64)
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	return strconv.FormatFloat(v, 'f', min(max(digits, 0), 4), 64)
}

func loadText(load []float64) string {
	if len(load) == 0 {
		return "unknown"
	}
	return strconv.FormatFloat(load[0], 'f', 2, 64)
}

// list prints the values of single rounds.
func list(values []float64) string {
	texts := make([]string, 0, len(values))
	for _, v := range values {
		texts = append(texts, number(v))
	}
	return strings.Join(texts, " ")
}
