package api

import (
	"net/http"
	"strconv"
	"strings"

	"clusterd/node/mesos"
)

// The two media types of calls and events, in the order in which they are preferred (SCH-13).
var mediaTypes = [...]mesos.MediaType{mesos.JSON, mesos.Protobuf}

// contentType reads the header Content-Type. Letter case and parameters are ignored (SCH-6, OPR-15).
func contentType(r *http.Request) (t mesos.MediaType, given, known bool) {
	values := r.Header.Values("Content-Type")
	if len(values) == 0 {
		return 0, false, false
	}
	name := bareType(values[0])
	for _, t := range mediaTypes {
		if name == t.String() {
			return t, true, true
		}
	}
	return 0, true, false
}

// acceptable chooses the media type of an answer from the header Accept: JSON whenever it is allowed at
// all, whatever the q values say (SCH-13, OPR-14). Without the header everything is allowed; an empty
// one allows nothing.
func acceptable(r *http.Request) (mesos.MediaType, bool) {
	for _, t := range mediaTypes {
		if accepts(r, t.String()) {
			return t, true
		}
	}
	return 0, false
}

// accepts tells whether the header Accept allows name. Of the ranges that match, the most specific one
// counts; q=0 excludes.
func accepts(r *http.Request, name string) bool {
	values := r.Header.Values("Accept")
	if len(values) == 0 {
		return true
	}
	group, _, _ := strings.Cut(name, "/")
	best, allowed := 0, false
	for part := range strings.SplitSeq(strings.Join(values, ","), ",") {
		item, q := acceptItem(part)
		rank := 0
		switch item {
		case name:
			rank = 3
		case group + "/*":
			rank = 2
		case "*/*", "*":
			rank = 1
		}
		if rank > best {
			best, allowed = rank, q > 0
		}
	}
	return allowed
}

// acceptItem splits one item of an Accept header into its name in lower case and its weight, 1 if it
// has none or one that cannot be read.
func acceptItem(item string) (name string, q float64) {
	name, parameters, _ := strings.Cut(item, ";")
	q = 1
	for p := range strings.SplitSeq(parameters, ";") {
		k, v, ok := strings.Cut(p, "=")
		if ok && strings.EqualFold(strings.TrimSpace(k), "q") {
			if f, err := strconv.ParseFloat(strings.TrimSpace(v), 64); err == nil {
				q = f
			}
		}
	}
	return strings.ToLower(strings.TrimSpace(name)), q
}

func bareType(value string) string {
	name, _, _ := strings.Cut(value, ";")
	return strings.ToLower(strings.TrimSpace(name))
}
