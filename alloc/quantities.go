package alloc

import (
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Quantities are amounts by resource name, in thousandths.
type Quantities map[string]int64

// Names returns the names in ascending order.
func (q Quantities) Names() []string { return slices.Sorted(maps.Keys(q)) }

// String returns the amounts in order of their names: "cpus:4; mem:64".
func (q Quantities) String() string {
	if len(q) == 0 {
		return "{}"
	}
	var b strings.Builder
	for i, name := range q.Names() {
		if i > 0 {
			b.WriteString("; ")
		}
		b.WriteString(name + ":" + formatMilli(q[name]))
	}
	return b.String()
}

// ParseQuantities reads "cpus:4;mem:64". Amounts are scalars that are not
// negative; those of 0 are dropped, equal names are summed (RES-197).
func ParseQuantities(text string) (Quantities, error) {
	q := Quantities{}
	for token := range strings.SplitSeq(text, ";") {
		if strings.TrimSpace(token) == "" {
			continue
		}
		name, value, found := strings.Cut(token, ":")
		if !found || strings.Contains(value, ":") {
			return nil, &ParseError{text, "missing or extra ':'"}
		}
		name, value = strings.TrimSpace(name), stripBlanks(value)
		if name == "" {
			return nil, &ParseError{text, "missing resource name"}
		}
		amount, ok := parseScalar(value)
		if !ok {
			return nil, &ParseError{text, "the amount of '" + name + "' must be a number that is not negative, got '" + value + "'"}
		}
		milli := milliOf(amount)
		if milli > maxMilli {
			return nil, &ParseError{text, "the amount of '" + name + "' is too large"}
		}
		if milli > 0 {
			q[name] = addMilli(q[name], int64(milli))
		}
	}
	return q, nil
}

// ParseMinAllocatable reads --min_allocatable_resources: sets of quantities
// separated by '|', of which an offer must meet one (RES-195). An empty text
// allows every offer; the result is then empty and not nil.
func ParseMinAllocatable(text string) ([]Quantities, error) {
	sets := []Quantities{}
	if strings.TrimSpace(text) == "" {
		return sets, nil
	}
	for part := range strings.SplitSeq(text, "|") {
		q, err := ParseQuantities(part)
		if err != nil {
			return nil, err
		}
		sets = append(sets, q)
	}
	return sets, nil
}

// ParseError is the refusal of a flag text.
type ParseError struct{ Text, Reason string }

// Error returns "Failed to parse '<text>': <why>" (golden 81).
func (e *ParseError) Error() string { return "Failed to parse '" + e.Text + "': " + e.Reason }

// parseScalar reads a number that is neither negative nor special (RES-25).
func parseScalar(text string) (float64, bool) {
	if text == "" || strings.Trim(text, "0123456789.eE+-") != "" || text[0] == '-' {
		return 0, false
	}
	value, err := strconv.ParseFloat(text, 64)
	if err != nil || math.IsInf(value, 0) || math.IsNaN(value) {
		return 0, false
	}
	return value, true
}

// stripBlanks removes all white space.
func stripBlanks(text string) string { return strings.Join(strings.Fields(text), "") }
