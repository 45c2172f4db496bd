package registry

import (
	"fmt"
	"strconv"
	"strings"

	"google.golang.org/protobuf/reflect/protoreflect"
)

// since is the first clusterd version that knows each operation, by field number.
var since = map[protoreflect.FieldNumber]string{
	1: firstVersion, 2: firstVersion, 3: firstVersion, 4: firstVersion, 5: firstVersion,
	6: firstVersion, 7: firstVersion, 8: firstVersion, 9: firstVersion, 10: firstVersion,
	11: firstVersion, 12: firstVersion, 13: firstVersion, 14: firstVersion, 15: firstVersion,
	16: firstVersion, 17: firstVersion, 18: firstVersion, 19: firstVersion, 20: firstVersion,
	21: firstVersion, 22: firstVersion, 23: firstVersion, 24: firstVersion, 25: firstVersion,
	26: firstVersion,
}

// firstVersion is the first version of all. A state whose operations need no newer one requires none.
const firstVersion = "0.1.0"

// Needs is the first clusterd version that knows an operation. Before it is proposed, every raft
// member must run that version or a newer one: an older one would have to stop (CLU-38). It is empty
// if op holds no operation that this version knows.
func Needs(op *Op) string {
	needs := op.GetSince()
	m := op.ProtoReflect()
	if f := m.WhichOneof(m.Descriptor().Oneofs().ByName("op")); f != nil && CompareVersions(since[f.Number()], needs) > 0 {
		needs = since[f.Number()]
	}
	return needs
}

// CompareVersions is negative if version a is older than b, 0 if they are the same and positive if it
// is newer. Only MAJOR.MINOR.PATCH counts: a build on the way to a version ("1.2.0-dev") knows what
// that version knows. What is missing or is not a number counts as 0, so that any two texts compare.
func CompareVersions(a, b string) int {
	x, y := versionNumbers(a), versionNumbers(b)
	for i := range x {
		switch {
		case x[i] < y[i]:
			return -1
		case x[i] > y[i]:
			return 1
		}
	}
	return 0
}

func versionNumbers(version string) (numbers [3]uint32) {
	version = strings.TrimPrefix(version, "v")
	if end := strings.IndexAny(version, "-+"); end >= 0 {
		version = version[:end]
	}
	for i, text := range strings.SplitN(version, ".", 3) {
		n, err := strconv.ParseUint(text, 10, 32)
		if err != nil {
			break // the rest counts as 0, as the comment above says
		}
		numbers[i] = uint32(n)
	}
	return numbers
}

// plainVersion is a version without all that does not count.
func plainVersion(version string) string {
	n := versionNumbers(version)
	return fmt.Sprintf("%d.%d.%d", n[0], n[1], n[2])
}

// newestVersion is the version that knows all operations of this one, whatever it calls itself.
func newestVersion() string {
	newest := firstVersion
	for _, version := range since {
		if CompareVersions(version, newest) > 0 {
			newest = version
		}
	}
	return newest
}

// NewerError is a snapshot or a backup of a cluster that has switched on what this clusterd does not
// know (CLU-38).
type NewerError struct {
	Requires string // the version that is needed
	Version  string // of this clusterd, empty if the reader was not told
}

func (e *NewerError) Error() string {
	this := ""
	if e.Version != "" {
		this = ", and this is " + e.Version
	}
	return fmt.Sprintf("the registry holds what only clusterd %s or newer knows%s: start version %s or newer on this node", e.Requires, this, e.Requires)
}

// known returns a [*NewerError] if a state requires a version that this one does not come up to.
func known(requires string) error {
	if CompareVersions(requires, newestVersion()) <= 0 {
		return nil
	}
	return &NewerError{Requires: requires}
}
