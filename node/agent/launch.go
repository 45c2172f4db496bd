package agent

import (
	"errors"
	"fmt"
	"maps"
	"math"
	"net/netip"
	"path"
	"slices"
	"strings"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

const (
	// Overhead of the executor that is generated for a command task (EXE-54).
	overheadCPUs = 0.1
	overheadMem  = 32.0

	defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin" // EXE-39

	// reapGrace is what a built-in executor needs beyond the grace of its task (EXE-66).
	reapGrace = 2 * time.Second
)

// commandExecutor makes up the executor of a command task (EXE-52 to EXE-55).
func (a *Agent) commandExecutor(f *framework, task *v1.TaskInfo) *v1.ExecutorInfo {
	e := &v1.ExecutorInfo{
		ExecutorId:  mesos.ExecutorID(task.GetTaskId().GetValue()).Proto(),
		FrameworkId: f.id.Proto(),
		Name:        proto.String(commandExecutorName(task)),
		Source:      proto.String(task.GetTaskId().GetValue()),
		Container:   task.Container,
		Labels:      task.Labels,
		Discovery:   task.Discovery,
		Command: &v1.CommandInfo{
			Shell: proto.Bool(false),
			Value: proto.String("clusterd"),
			User:  task.GetCommand().User,
			Uris:  task.GetCommand().GetUris(),
		},
		Resources: overhead(task),
	}
	if grace := task.GetKillPolicy().GetGracePeriod(); grace != nil {
		total := time.Duration(grace.GetNanoseconds()) + reapGrace
		e.ShutdownGracePeriod = &v1.DurationInfo{Nanoseconds: proto.Int64(int64(total))}
	}
	return e
}

// overhead has the allocation role of the task's resources, which all have the same.
func overhead(task *v1.TaskInfo) []*v1.Resource {
	scalar := func(name string, value float64) *v1.Resource {
		r := &v1.Resource{
			Name:   proto.String(name),
			Type:   v1.Value_SCALAR.Enum(),
			Scalar: &v1.Value_Scalar{Value: proto.Float64(value)},
		}
		if all := task.GetResources(); len(all) > 0 {
			r.AllocationInfo = all[0].AllocationInfo
		}
		return r
	}
	return []*v1.Resource{scalar("cpus", overheadCPUs), scalar("mem", overheadMem)}
}

// commandExecutorName shows at most 15 characters of the command (EXE-53).
func commandExecutorName(task *v1.TaskInfo) string {
	const most, shown = 15, 12
	short := func(s string) string {
		if r := []rune(s); len(r) > most {
			return string(r[:shown]) + "..."
		}
		return s
	}
	c := task.GetCommand()
	var command string
	switch {
	case c.Value == nil && c.GetShell():
		command = "NO COMMAND"
	case c.Value == nil:
		command = "NO EXECUTABLE"
	case c.GetShell():
		command = "sh -c '" + short(c.GetValue()) + "'"
	default:
		command = "[" + short(c.GetValue()+", "+strings.Join(c.GetArguments(), ", ")) + "]"
	}
	return "Command Executor (Task: " + task.GetTaskId().GetValue() + ") (Command: " + command + ")"
}

// sandbox is the directory of an executor's run (EXE-176).
func (a *Agent) sandbox(e *executor) string {
	return path.Join(a.executorDirectory(e), "runs", string(e.container))
}

func (a *Agent) executorDirectory(e *executor) string {
	return path.Join(a.frameworkDirectory(e.f), "executors", string(e.id))
}

func (a *Agent) frameworkDirectory(f *framework) string {
	return path.Join(a.cfg.WorkDir, "slaves", string(a.id()), "frameworks", string(f.id))
}

// shutdownGrace is what an executor is given between SHUTDOWN and its end (EXE-143, EXE-66).
func (a *Agent) shutdownGrace(e *executor) time.Duration {
	if grace := e.info.GetShutdownGracePeriod(); grace != nil {
		return time.Duration(grace.GetNanoseconds())
	}
	return a.cfg.ExecutorShutdownGracePeriod
}

// launchSpec says what to start for an executor with its queued tasks.
func (a *Agent) launchSpec(e *executor) (LaunchSpec, error) {
	command := e.info.GetCommand()
	if e.command {
		command = e.queued()[0].info.GetCommand()
	} else if e.info.GetType() == v1.ExecutorInfo_DEFAULT {
		return LaunchSpec{}, errors.New("this version has no default executor: use a custom one for task groups")
	} else if fault := noCommand(command); fault != "" {
		return LaunchSpec{}, errors.New(fault)
	}
	environment, overwritten, err := a.environment(e)
	if err != nil {
		return LaunchSpec{}, err
	}
	return LaunchSpec{
		ID:            e.container,
		FrameworkID:   e.f.id,
		ExecutorID:    e.id,
		Executor:      e.info,
		Command:       command,
		CommandTask:   e.command,
		User:          a.user(e.f, command),
		Directory:     e.directory,
		Environment:   environment,
		Overwritten:   overwritten,
		Limits:        a.limits(e),
		ShutdownGrace: a.shutdownGrace(e),
	}, nil
}

// noCommand says what a custom executor lacks to be started (EXE-44). Built-in ones tell it of their
// task themselves.
func noCommand(c *v1.CommandInfo) string {
	switch {
	case c.GetValue() != "":
		return ""
	case c.GetShell():
		return "Failed to determine the launch command: Shell specified but no command value provided"
	}
	return "Failed to determine the launch command: No executable specified"
}

// user is whom a command runs as, empty for the agent's user (EXE-47).
func (a *Agent) user(f *framework, c *v1.CommandInfo) string {
	switch {
	case !a.cfg.SwitchUser:
		return ""
	case c.GetUser() != "":
		return c.GetUser()
	}
	return f.info.GetUser()
}

// launchInfo is a task as its executor is told of it. A command is told the user that the agent
// has settled on; everything else is as the framework gave it (EXE-71).
func (a *Agent) launchInfo(t *task) *v1.TaskInfo {
	if !t.e.command {
		return t.info
	}
	info := proto.CloneOf(t.info)
	if info.Command == nil {
		info.Command = &v1.CommandInfo{}
	}
	info.Command.User = nil
	if user := a.user(t.f, t.info.GetCommand()); user != "" {
		info.Command.User = proto.String(user)
	}
	return info
}

// environment of an executor, complete (EXE-32 to EXE-40). For a command task it is what the
// built-in executor hands on to the command, which overlays CommandInfo itself.
func (a *Agent) environment(e *executor) (environment, overwritten []string, err error) {
	set := map[string]string{"PATH": defaultPath}
	maps.Copy(set, a.cfg.ExecutorEnvironment)
	maps.Copy(set, map[string]string{
		"MESOS_FRAMEWORK_ID":                   string(e.f.id),
		"MESOS_EXECUTOR_ID":                    string(e.id),
		"MESOS_SLAVE_ID":                       string(a.id()),
		"MESOS_SLAVE_PID":                      "slave(1)@" + a.cfg.Endpoint,
		"MESOS_AGENT_ENDPOINT":                 a.cfg.Endpoint,
		"MESOS_DIRECTORY":                      e.directory,
		"MESOS_SANDBOX":                        e.directory,
		"MESOS_CHECKPOINT":                     "0",
		"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD": mesos.FormatDuration(a.shutdownGrace(e)),
		"MESOS_HTTP_COMMAND_EXECUTOR":          "0",
		"LIBPROCESS_PORT":                      "0",
	})
	if addr, err := netip.ParseAddrPort(a.cfg.Endpoint); err == nil {
		set["LIBPROCESS_IP"] = addr.Addr().Unmap().String()
	}
	if e.f.info.GetCheckpoint() {
		set["MESOS_CHECKPOINT"] = "1"
		set["MESOS_RECOVERY_TIMEOUT"] = mesos.FormatDuration(a.cfg.RecoveryTimeout)
		set["MESOS_SUBSCRIPTION_BACKOFF_MAX"] = mesos.FormatDuration(a.cfg.SubscriptionBackoffMax)
	}
	if e.command {
		set["MESOS_ALLOCATION_ROLE"] = allocationRole(e.info.GetResources())
	} else if overwritten, err = overlay(set, e.info.GetCommand().GetEnvironment()); err != nil {
		return nil, nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(set)) {
		environment = append(environment, name+"="+set[name])
	}
	return environment, overwritten, nil
}

// overlay puts a framework's variables over the agent's and returns the names that were there
// already. A later entry wins.
func overlay(set map[string]string, environment *v1.Environment) (overwritten []string, err error) {
	for _, v := range environment.GetVariables() {
		value := v.GetValue()
		if v.GetType() == v1.Environment_Variable_SECRET {
			if v.GetSecret().GetType() != v1.Secret_VALUE {
				return nil, fmt.Errorf("environment variable '%s': a secret of type %s cannot be resolved", v.GetName(), v.GetSecret().GetType())
			}
			value = string(v.GetSecret().GetValue().GetData())
		}
		if strings.ContainsAny(v.GetName(), "=\x00") || v.GetName() == "" || strings.Contains(value, "\x00") {
			return nil, errors.New("environment variable '" + v.GetName() + "' cannot be set: name and value must not hold NUL, the name not be empty nor hold '='")
		}
		if _, ok := set[v.GetName()]; ok {
			overwritten = append(overwritten, v.GetName())
		}
		set[v.GetName()] = value
	}
	return overwritten, nil
}

func allocationRole(resources []*v1.Resource) string {
	for _, r := range resources {
		if role := r.GetAllocationInfo().GetRole(); role != "" {
			return role
		}
	}
	return mesos.DefaultRole
}

// limits are what an executor and its live tasks need together (EXE-57, EXE-139, ISO-81).
func (a *Agent) limits(e *executor) Limits {
	cpus := sum{request: scalar(e.info.GetResources(), "cpus")}
	mem := sum{request: scalar(e.info.GetResources(), "mem")}
	disk := scalar(e.info.GetResources(), "disk")
	cpus.limit, mem.limit = cpus.request, mem.request
	for _, t := range e.tasks {
		if t.terminal() {
			continue
		}
		cpus.add(scalar(t.info.GetResources(), "cpus"), t.info.GetLimits()["cpus"])
		mem.add(scalar(t.info.GetResources(), "mem"), t.info.GetLimits()["mem"])
		disk += scalar(t.info.GetResources(), "disk")
	}
	l := Limits{
		CPUs:          cpus.request,
		CPULimit:      cpus.hard(a.cfg.CgroupsEnableCFS),
		MemBytes:      megabytes(mem.request),
		MemLimitBytes: megabytes(mem.hard(true)),
		DiskBytes:     megabytes(disk),
	}
	return l
}

// sum adds requests and limits of one resource, in thousandths.
type sum struct {
	request, limit    int64
	limited, infinite bool
}

func (s *sum) add(request int64, limit *v1.Value_Scalar) {
	s.request += request
	switch {
	case limit == nil:
		s.limit += request
	case math.IsInf(limit.GetValue(), 1):
		s.infinite = true
	default:
		s.limited = true
		s.limit += milli(limit.GetValue())
	}
}

// hard is the sum of limits; without any the request, if that binds; 0 is none.
func (s *sum) hard(requestBinds bool) int64 {
	switch {
	case s.infinite:
		return 0
	case s.limited:
		return s.limit
	case requestBinds:
		return s.request
	}
	return 0
}

// scalar sums a resource over all roles and reservations, in thousandths.
func scalar(resources []*v1.Resource, name string) int64 {
	var total int64
	for _, r := range resources {
		if r.GetName() == name {
			total += milli(r.GetScalar().GetValue())
		}
	}
	return total
}

func milli(value float64) int64 { return int64(math.Round(value * 1000)) }

// megabytes turns thousandths of a megabyte into bytes.
func megabytes(milli int64) int64 {
	whole, rest := milli/1000, milli%1000
	return whole<<20 + rest<<20/1000
}
