package agent

import (
	"slices"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// View is the agent as operators see it. It is immutable: the messages inside are never changed
// after publication, and slices are fresh.
type View struct {
	// Index grows with every event that may have changed the agent.
	Index uint64
	// Recovering is set until the agent has reconnected to its executors: state endpoints and the
	// operator API answer 503 meanwhile (EXE-3).
	Recovering bool
	// Registered says whether a master knows the agent now; Master is the last one that did.
	Registered bool
	Master     *v1.MasterInfo
	Info       *v1.AgentInfo
	// Capabilities as announced to the master.
	Capabilities []*v1.AgentInfo_Capability
	Started      time.Time
	// Drain is what the agent drains with since DrainStart; nil when it does not, or is done.
	Drain      *v1.DrainConfig
	DrainStart time.Time
	// Allocated are the resources of live executors and tasks, allocation roles set.
	Allocated           []*v1.Resource
	Frameworks          []*FrameworkView
	CompletedFrameworks []*FrameworkView
	// Metrics has the names and values of Mesos: slave/..., gc/....
	Metrics map[string]float64
}

// FrameworkView is a framework with executors on this agent.
type FrameworkView struct {
	Info               *v1.FrameworkInfo
	Executors          []*ExecutorView
	CompletedExecutors []*ExecutorView
}

// ExecutorView is one run of an executor.
type ExecutorView struct {
	Info *v1.ExecutorInfo
	// Command is set for the generated executor of a command task: its tasks are shown with an
	// empty executor id (EXE-52).
	Command     bool
	FrameworkID mesos.FrameworkID
	ContainerID mesos.ContainerID
	// Directory is the real path of the sandbox (EXE-182).
	Directory string
	// Pid of the container's first process, 0 before it runs.
	Pid int
	// Alive until the container has ended.
	Alive bool
	// State is REGISTERING, RUNNING, TERMINATING or TERMINATED.
	State string
	// Limits are those wanted for the container now.
	Limits Limits
	// Resources of the executor and its live tasks; of a completed executor what it was given itself.
	Resources []*v1.Resource
	// Queued wait for the executor to subscribe, Launched were sent to it, Terminated have an
	// unacknowledged update, Completed none.
	Queued     []*v1.Task
	Launched   []*v1.Task
	Terminated []*v1.Task
	Completed  []*v1.Task
}

func (a *Agent) view() *View {
	v := &View{
		Index:               a.index,
		Recovering:          a.phase == loading || a.phase == reconnecting,
		Registered:          a.master.registered,
		Master:              a.master.info,
		Info:                a.info,
		Capabilities:        capabilities,
		Started:             a.started,
		Allocated:           a.allocated(),
		CompletedFrameworks: slices.Clone(a.completed),
		Metrics:             a.metricValues(),
	}
	if a.drain != nil {
		v.Drain, v.DrainStart = a.drain.GetConfig(), time.Unix(0, a.drain.GetTime())
	}
	for _, f := range a.frameworks {
		fv := &FrameworkView{Info: f.info, CompletedExecutors: slices.Clone(f.completed)}
		for _, e := range f.executors {
			fv.Executors = append(fv.Executors, a.executorView(e))
		}
		v.Frameworks = append(v.Frameworks, fv)
	}
	return v
}

func (a *Agent) executorView(e *executor) *ExecutorView {
	v := &ExecutorView{
		Info:        e.info,
		Command:     e.command,
		FrameworkID: e.f.id,
		ContainerID: e.container,
		Directory:   e.directory,
		Pid:         e.pid,
		Alive:       e.state != terminated,
		State:       e.state.String(),
		Limits:      e.limits,
		Resources:   sumOf(e.resources()),
		Completed:   slices.Clone(e.completed),
	}
	for _, t := range e.tasks {
		switch {
		case t.terminal():
			v.Terminated = append(v.Terminated, t.view)
		case t.delivered || t.unsure:
			v.Launched = append(v.Launched, t.view)
		default:
			v.Queued = append(v.Queued, t.view)
		}
	}
	return v
}

// resources of an executor and its live tasks; none when it has ended.
func (e *executor) resources() [][]*v1.Resource {
	if e.state == terminated {
		return nil
	}
	all := [][]*v1.Resource{e.info.GetResources()}
	for _, t := range e.tasks {
		if !t.terminal() {
			all = append(all, t.info.GetResources())
		}
	}
	return all
}

func (a *Agent) allocated() []*v1.Resource {
	var all [][]*v1.Resource
	for _, f := range a.frameworks {
		for _, e := range f.executors {
			all = append(all, e.resources()...)
		}
	}
	return sumOf(all)
}

// sumOf adds up resources. What the master let through adds up; anything else is listed as it is.
func sumOf(all [][]*v1.Resource) []*v1.Resource {
	var sum alloc.Resources
	var rest []*v1.Resource
	for _, part := range all {
		if r, err := alloc.FromProto(part); err == nil {
			sum = sum.Add(r)
		} else {
			rest = append(rest, part...)
		}
	}
	return append(sum.Proto(), rest...)
}
