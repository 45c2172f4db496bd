package main

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// watch looks at a run from time to time, and notes when it came how far.
type watch struct {
	began        time.Time
	agents, want int64 // that there are to be, and tasks
	perAgent     int64 // tasks

	joined, registered, full time.Time // when all were
	offered                  time.Time // the first offer
	peakLaunches             float64   // per second, in a line
	peakUpdates              float64

	printed  time.Time
	previous struct {
		picture picture
		figures figures
	}
}

// look takes in where the run stands. Once a second it returns a line about it.
func (w *watch) look(now time.Time, p picture, f figures, fs faults) string {
	reached := func(at *time.Time, ok bool) {
		if at.IsZero() && ok {
			*at = now
		}
	}
	reached(&w.joined, p.Counts[joined] >= w.agents)
	reached(&w.registered, p.Counts[registered] >= w.agents-p.Counts[expelled])
	reached(&w.full, !w.registered.IsZero() && f.Running >= w.want-p.Counts[expelled]*w.perAgent)
	reached(&w.offered, f.Offers > 0)
	if w.printed.IsZero() {
		w.printed = w.began
	}
	passed := now.Sub(w.printed)
	if passed < time.Second {
		return ""
	}
	rate := func(now, before int64) float64 { return float64(now-before) / passed.Seconds() }
	launches := rate(f.Ran, w.previous.figures.Ran)
	updated := rate(p.Counts[acknowledged], w.previous.picture.Counts[acknowledged])
	called := rate(f.Calls, w.previous.figures.Calls)
	w.peakLaunches, w.peakUpdates = max(w.peakLaunches, launches), max(w.peakUpdates, updated)
	w.printed, w.previous.picture, w.previous.figures = now, p, f
	line := fmt.Sprintf("%4.0fs  agents %d joined, %d linked, %d registered", now.Sub(w.began).Seconds(), p.Counts[joined], p.Counts[linked], p.Counts[registered])
	if w.want > 0 {
		line += fmt.Sprintf("; tasks %d launched, %d running (%.0f/s); %.0f calls/s", f.Launched, f.Running, launches, called)
	}
	return line + fmt.Sprintf("; %.0f updates/s; %d errors; %d MB", updated, fs.total(), p.Memory>>20)
}

// summary is what came of a run. Times are seconds.
type summary struct {
	Agents        int64   `json:"agents"`
	TasksPerAgent int     `json:"tasks_per_agent"`
	Frameworks    int     `json:"frameworks"`
	Processes     int     `json:"processes"`
	Seconds       float64 `json:"seconds"`
	// All times count from the beginning; null: not reached.
	AllJoined     *float64 `json:"all_joined"`
	AllRegistered *float64 `json:"all_registered"`
	AllRunning    *float64 `json:"all_running"`
	// Launches is how many tasks came to run in a second, from the first offer to the last task; the peak
	// is that of one second.
	Launches     *float64 `json:"launches_per_second"`
	LaunchesPeak float64  `json:"launches_per_second_peak"`
	UpdatesPeak  float64  `json:"updates_per_second_peak"`
	LaunchMedian float64  `json:"launch_seconds_median"`
	Launch99     float64  `json:"launch_seconds_p99"`
	Offices      []reign  `json:"leaders"`
	Counts       counts   `json:"agents_counts"`
	Figures      figures  `json:"framework_counts"`
	Faults       faults   `json:"errors"`
	Memory       int64    `json:"memory_bytes"`
	PerAgent     int64    `json:"memory_bytes_per_agent"`
}

// reign is how the agents came to a leading master.
type reign struct {
	Term   uint64 `json:"term"`
	Agents int64  `json:"agents"`
	// Back is the time from the first agent's loss of the leader before to the last one's registration;
	// null for the first leader.
	Back   *float64 `json:"all_back_seconds"`
	First  *float64 `json:"first_back_seconds"`
	Median float64  `json:"median_seconds"` // of the time in which an agent came back
	P99    float64  `json:"p99_seconds"`
	Worst  float64  `json:"worst_seconds"`
}

// summary is where the run stands now.
func (c *campaign) summary() summary {
	now, p, f, w := time.Now(), c.herd.picture(), c.figures(), &c.watch
	s := summary{
		Agents: w.agents, TasksPerAgent: c.tasksPerAgent, Frameworks: len(c.sessions), Processes: c.parts, Seconds: now.Sub(w.began).Seconds(),
		AllJoined: w.since(w.joined), AllRegistered: w.since(w.registered), LaunchesPeak: w.peakLaunches, UpdatesPeak: w.peakUpdates,
		Counts: p.Counts, Figures: f, Faults: c.allFaults(), Memory: p.Memory, PerAgent: p.Memory / w.agents,
		LaunchMedian: f.Latency.percentile(50).Seconds(), Launch99: f.Latency.percentile(99).Seconds(),
	}
	if w.want > 0 {
		s.AllRunning = w.since(w.full)
		if passed := w.full.Sub(w.offered).Seconds(); !w.full.IsZero() && passed > 0 {
			rate := float64(w.want) / passed
			s.Launches = &rate
		}
	}
	for _, o := range p.Offices {
		r := reign{Term: o.Term, Agents: o.Agents}
		if !o.Lost.IsZero() {
			back, first := o.Last.Sub(o.Lost).Seconds(), o.First.Sub(o.Lost).Seconds()
			r.Back, r.First = &back, &first
		}
		r.Median, r.P99, r.Worst = o.Waits.percentile(50).Seconds(), o.Waits.percentile(99).Seconds(), o.Waits.Most.Seconds()
		s.Offices = append(s.Offices, r)
	}
	return s
}

// since is an instant as seconds from the beginning; nil if it did not come.
func (w *watch) since(at time.Time) *float64 {
	if at.IsZero() {
		return nil
	}
	s := at.Sub(w.began).Seconds()
	return &s
}

func (s *summary) write(out io.Writer, format string) error {
	if format == "json" {
		enc := json.NewEncoder(out)
		enc.SetIndent("", "  ")
		return enc.Encode(s)
	}
	w := tabwriter.NewWriter(out, 0, 8, 2, ' ', 0)
	line := func(name, format string, args ...any) { fmt.Fprintf(w, name+"\t"+format+"\n", args...) }
	line("agents", "%d in %d processes, %s of memory, %s for each", s.Agents, s.Processes, bytesText(s.Memory), bytesText(s.PerAgent))
	line("all joined after", "%s (%d joins, %d tries failed)", secondsText(s.AllJoined), s.Counts[joins], s.Counts[joinFailures])
	line("all registered after", "%s (%d registrations in all)", secondsText(s.AllRegistered), s.Counts[registrations])
	if s.TasksPerAgent > 0 {
		rate := "-"
		if s.Launches != nil {
			rate = fmt.Sprintf("%.0f", *s.Launches)
		}
		line("all tasks running after", "%s", secondsText(s.AllRunning))
		line("launches per second", "%s from the first offer, %.0f at most", rate, s.LaunchesPeak)
		line("ACCEPT to TASK_RUNNING", "%.2f s median, %.2f s p99", s.LaunchMedian, s.Launch99)
		line("tasks", "%d launched, %d live, %d running, %d finished, %d failed, %d killed, %d lost, %d refused",
			s.Figures.Launched, s.Figures.Live, s.Figures.Running, s.Figures.Finished, s.Figures.Failed, s.Figures.Killed, s.Figures.Lost, s.Figures.Refused)
		line("offers", "%d, %d declined, %d rescinded", s.Figures.Offers, s.Figures.Declined, s.Figures.Rescinded)
	}
	line("updates", "%d acknowledged, %.0f per second at most, %d sent again", s.Counts[acknowledged], s.UpdatesPeak, s.Counts[resent])
	line("streams", "%d opened, %d scripted disconnections, %d lost, %d dials failed, %d redirected",
		s.Counts[registrations], s.Counts[disconnects], s.Counts[losses], s.Counts[dialFailures], s.Counts[redirects])
	for _, r := range s.Offices {
		if r.Back == nil {
			line(fmt.Sprintf("leader of term %d", r.Term), "%d agents", r.Agents)
			continue
		}
		line(fmt.Sprintf("leader of term %d", r.Term), "%d agents back within %.2f s, the first after %.2f s; each one %.2f s median, %.2f s p99, %.2f s at most",
			r.Agents, *r.Back, *r.First, r.Median, r.P99, r.Worst)
	}
	for _, kind := range s.Faults.kinds() {
		line("error: "+kind, "%d times, the last: %s", s.Faults[kind].Count, strings.ReplaceAll(s.Faults[kind].Last, "\n", "; "))
	}
	return w.Flush()
}

func secondsText(s *float64) string {
	if s == nil {
		return "not reached"
	}
	return fmt.Sprintf("%.1f s", *s)
}

// bytesText shows a size with two digits or more.
func bytesText(n int64) string {
	switch {
	case n >= 10<<30:
		return fmt.Sprintf("%d GB", n>>30)
	case n >= 10<<20:
		return fmt.Sprintf("%d MB", n>>20)
	case n >= 10<<10:
		return fmt.Sprintf("%d KB", n>>10)
	}
	return fmt.Sprintf("%d bytes", n)
}
