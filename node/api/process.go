package api

import (
	"context"
	"maps"
	"net/http"
	"slices"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// processEndpoints tell about the process itself and its files; masters and agents both have them. None
// of them needs a leader (OPR-21).
type processEndpoints struct {
	files   *Files
	metrics func(context.Context) map[string]float64
	flags   func() map[string]string
	build   Build
}

func (c *processEndpoints) routes() []route {
	return []route{
		{path: "/health", scoped: true, serve: c.serveHealth},
		{path: "/flags", scoped: true, serve: c.serveFlags},
		{path: "/version", serve: c.serveVersion},
		{path: "/metrics/snapshot", serve: c.serveMetrics},
		{path: "/system/stats.json", serve: c.serveSystem},
		{path: "/files/browse", serve: c.files.serveBrowse},
		{path: "/files/browse.json", serve: c.files.serveBrowse},
		{path: "/files/read", serve: c.files.serveRead},
		{path: "/files/read.json", serve: c.files.serveRead},
		{path: "/files/download", serve: c.files.serveDownload},
		{path: "/files/download.json", serve: c.files.serveDownload},
		{path: "/files/debug", serve: c.files.serveDebug},
		{path: "/files/debug.json", serve: c.files.serveDebug},
	}
}

// serveHealth answers as soon as the process does (OPR-119).
func (c *processEndpoints) serveHealth(w http.ResponseWriter, _ *http.Request) {
	Answer{Status: http.StatusOK}.respond(w)
}

// serveFlags: OPR-118.
func (c *processEndpoints) serveFlags(w http.ResponseWriter, r *http.Request) {
	serveJSON(w, r, func(d *document) {
		d.openObject()
		d.flags(c.flags())
		d.endObject()
	})
}

func (d *document) flags(flags map[string]string) {
	d.object("flags")
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		d.name(name)
		d.buf = appendString(d.buf, flags[name])
	}
	d.endObject()
}

// serveVersion: OPR-120, SCH-18. Keys are in alphabetical order; clusterd_version is ours.
func (c *processEndpoints) serveVersion(w http.ResponseWriter, r *http.Request) {
	serveJSON(w, r, func(d *document) {
		d.openObject()
		d.text("build_date", c.build.date())
		d.number("build_time", unixSeconds(c.build.Time))
		d.text("build_user", c.build.User)
		if c.build.Version != "" {
			d.text("clusterd_version", c.build.Version)
		}
		d.optionalText("git_branch", c.build.GitBranch)
		d.optionalText("git_sha", c.build.GitSHA)
		d.optionalText("git_tag", c.build.GitTag)
		d.text("version", MesosVersion)
		d.endObject()
	})
}

// serveMetrics: OPR-155. Metrics are always at hand, so that the time limit is only checked.
func (c *processEndpoints) serveMetrics(w http.ResponseWriter, r *http.Request) {
	if query := r.URL.Query(); query.Has("timeout") {
		if _, err := mesos.ParseDuration(query.Get("timeout")); err != nil {
			badRequest("Invalid timeout '" + query.Get("timeout") + "': " + err.Error() + ".\n").respond(w)
			return
		}
	}
	serveJSON(w, r, func(d *document) {
		metrics := c.metrics(r.Context())
		d.openObject()
		for _, name := range slices.Sorted(maps.Keys(metrics)) {
			d.name(name)
			d.buf = appendDouble(d.buf, metrics[name])
			d.spill()
		}
		d.endObject()
	})
}

// systemKeys are the members of /system/stats.json and the metrics behind them (OPR-158).
var systemKeys = []struct {
	key, metric string
	whole       bool
}{
	{"avg_load_15min", "system/load_15min", false},
	{"avg_load_1min", "system/load_1min", false},
	{"avg_load_5min", "system/load_5min", false},
	{"cpus_total", "system/cpus_total", true},
	{"mem_free_bytes", "system/mem_free_bytes", true},
	{"mem_total_bytes", "system/mem_total_bytes", true},
}

func (c *processEndpoints) serveSystem(w http.ResponseWriter, r *http.Request) {
	serveJSON(w, r, func(d *document) {
		metrics := c.metrics(r.Context())
		d.openObject()
		for _, k := range systemKeys {
			value, ok := metrics[k.metric]
			switch {
			case !ok:
			case k.whole:
				d.integer(k.key, int64(value))
			default:
				d.number(k.key, value)
			}
		}
		d.endObject()
	})
}

// optionalText leaves out a member without a value.
func (d *document) optionalText(k, v string) {
	if v != "" {
		d.text(k, v)
	}
}

// protoFlags, protoVersion and protoMetrics are the same facts for the calls of /api/v1.
func protoFlags(flags map[string]string) []*v1.Flag {
	list := make([]*v1.Flag, 0, len(flags))
	for _, name := range slices.Sorted(maps.Keys(flags)) {
		list = append(list, &v1.Flag{Name: proto.String(name), Value: proto.String(flags[name])})
	}
	return list
}

func protoMetrics(metrics map[string]float64) []*v1.Metric {
	list := make([]*v1.Metric, 0, len(metrics))
	for _, name := range slices.Sorted(maps.Keys(metrics)) {
		list = append(list, &v1.Metric{Name: proto.String(name), Value: proto.Float64(metrics[name])})
	}
	return list
}

func (b Build) proto() *v1.VersionInfo {
	return &v1.VersionInfo{
		Version:   proto.String(MesosVersion),
		BuildDate: proto.String(b.date()),
		BuildTime: proto.Float64(unixSeconds(b.Time)),
		BuildUser: proto.String(b.User),
		GitSha:    optional(b.GitSHA),
		GitBranch: optional(b.GitBranch),
		GitTag:    optional(b.GitTag),
	}
}

func (b Build) date() string {
	if b.Time.IsZero() {
		return ""
	}
	return b.Time.UTC().Format("2006-01-02 15:04:05 UTC")
}

// state writes the members with which both states begin.
func (b Build) state(d *document) {
	d.text("version", MesosVersion)
	d.optionalText("git_sha", b.GitSHA)
	d.optionalText("git_branch", b.GitBranch)
	d.optionalText("git_tag", b.GitTag)
	d.text("build_date", b.date())
	d.number("build_time", unixSeconds(b.Time))
	d.text("build_user", b.User)
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// capabilityNames writes an array of enum names.
func capabilityNames[C interface{ GetType() T }, T interface{ String() string }](d *document, capabilities []C) {
	d.array("capabilities")
	for _, c := range capabilities {
		d.textElement(c.GetType().String())
	}
	d.endArray()
}
