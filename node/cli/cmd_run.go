package cli

import (
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"os/user"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// runOptions are the flags of `clusterd run`.
type runOptions struct {
	name      string
	cpus, mem float64
	disk      float64
	env       []string
	uris      []string
	role      string
	user      string
	shell     bool
	detach    bool
	instances int
	grace     time.Duration
	args      []string
}

func newRunCommand(c *common) *cobra.Command {
	o := &runOptions{}
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARGUMENT...]",
		Short: "Run a command in the cluster",
		Long: `Run a command as a task somewhere in the cluster, as 'docker run' does on one machine. Its output is
shown live, Ctrl-C kills it (a second Ctrl-C at once), and clusterd run exits with its exit status
(128 + signal number if a signal ended it). With --detach the task goes on by itself.`,
		Example: `  clusterd run -- echo hello
  clusterd run --cpus 0.5 --mem 64 --name hello -- sh -c 'echo hi'
  clusterd run --shell -- 'sort data.txt | uniq -c' --uri http://files/data.txt
  clusterd run --detach --instances 3 --name web -- python3 -m http.server`,
		GroupID: "task",
		Args:    argsBetween(1, math.MaxInt, "COMMAND"),
		RunE: func(cmd *cobra.Command, args []string) error {
			o.args = args
			if err := o.check(); err != nil {
				return usageError{err}
			}
			cl, err := c.dial(cmd.Context())
			if err != nil {
				return err
			}
			return newRunner(c, cl, o, cmd.OutOrStdout(), cmd.ErrOrStderr()).run(cmd.Context())
		},
	}
	c.addTo(cmd)
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "`NAME` of the task (default: made up)")
	f.Float64Var(&o.cpus, "cpus", 1, "`NUMBER` of processors")
	f.Float64Var(&o.mem, "mem", 128, "memory in `MB`")
	f.Float64Var(&o.disk, "disk", 0, "disk space in `MB`")
	f.StringArrayVarP(&o.env, "env", "e", nil, "`NAME=VALUE` for the command's environment (NAME alone: as here); may be repeated")
	f.StringArrayVar(&o.uris, "uri", nil, "`URI` to fetch into the sandbox, archives are extracted; may be repeated")
	f.StringVar(&o.role, "role", "*", "`ROLE` whose share of the cluster is used")
	f.StringVar(&o.user, "user", "", "`USER` to run as (default: the one who calls)")
	f.BoolVar(&o.shell, "shell", false, "hand the command to /bin/sh -c")
	f.BoolVarP(&o.detach, "detach", "d", false, "print the task's id and leave it running")
	f.IntVar(&o.instances, "instances", 1, "`NUMBER` of equal tasks")
	f.DurationVar(&o.grace, "grace", -1, "time between SIGTERM and SIGKILL when it is killed (default 3s)")
	f.Lookup("grace").DefValue = ""
	return cmd
}

func (o *runOptions) check() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	if !(o.cpus > 0) || o.cpus > 1e6 {
		bad("--cpus: %v is not a positive number", o.cpus)
	}
	if !(o.mem >= 1) || o.mem > 1e9 {
		bad("--mem: %v is not at least 1 (MB)", o.mem)
	}
	if !(o.disk >= 0) || o.disk > 1e12 {
		bad("--disk: %v is negative", o.disk)
	}
	if o.instances < 1 || o.instances > 10000 {
		bad("--instances: %d is not between 1 and 10000", o.instances)
	}
	if err := mesos.ValidateRole(o.role); err != nil {
		bad("--role: %v", err)
	}
	if o.name == "" {
		o.name = fmt.Sprintf("run-%08x", rand.Uint32())
	}
	if err := mesos.ValidateID(o.name); err != nil {
		bad("--name: %v", err)
	}
	if o.user == "" {
		if u, err := user.Current(); err == nil {
			o.user = u.Username
		}
	}
	for i, e := range o.env {
		name, _, given := strings.Cut(e, "=")
		if name == "" {
			bad("--env: %q is not NAME=VALUE", e)
		}
		if !given {
			o.env[i] = name + "=" + os.Getenv(name)
		}
	}
	for _, u := range o.uris {
		if u == "" {
			bad("--uri: must not be empty")
		}
	}
	return errors.Join(errs...)
}

// framework describes the one that this run registers. It may be away for failover, so that the
// task survives a new leading master, and for ten years when it is left to itself.
func (o *runOptions) framework() *v1.FrameworkInfo {
	failover := 5 * time.Minute
	if o.detach {
		failover = 10 * 365 * 24 * time.Hour
	}
	host, err := os.Hostname()
	if err != nil {
		host = ""
	}
	info := &v1.FrameworkInfo{
		User: proto.String(o.user), Name: proto.String("clusterd run " + o.name), Roles: []string{o.role},
		Hostname: proto.String(host), Checkpoint: proto.Bool(true), FailoverTimeout: proto.Float64(failover.Seconds()),
	}
	for _, t := range []v1.FrameworkInfo_Capability_Type{
		v1.FrameworkInfo_Capability_MULTI_ROLE, v1.FrameworkInfo_Capability_PARTITION_AWARE,
		v1.FrameworkInfo_Capability_RESERVATION_REFINEMENT, v1.FrameworkInfo_Capability_TASK_KILLING_STATE,
	} {
		info.Capabilities = append(info.Capabilities, &v1.FrameworkInfo_Capability{Type: t.Enum()})
	}
	return info
}

// task describes instance i for one agent.
func (o *runOptions) task(id string, agent *v1.AgentID) *v1.TaskInfo {
	t := &v1.TaskInfo{
		Name: proto.String(o.name), TaskId: &v1.TaskID{Value: proto.String(id)}, AgentId: agent,
		Resources: o.resources(), Command: &v1.CommandInfo{},
	}
	if o.shell {
		t.Command.Value = proto.String(strings.Join(o.args, " "))
	} else {
		t.Command.Shell = proto.Bool(false)
		t.Command.Value = proto.String(o.args[0])
		t.Command.Arguments = o.args
	}
	for _, u := range o.uris {
		t.Command.Uris = append(t.Command.Uris, &v1.CommandInfo_URI{Value: proto.String(u)})
	}
	if len(o.env) > 0 {
		t.Command.Environment = &v1.Environment{}
		for _, e := range o.env {
			name, value, _ := strings.Cut(e, "=")
			t.Command.Environment.Variables = append(t.Command.Environment.Variables,
				&v1.Environment_Variable{Name: proto.String(name), Value: proto.String(value)})
		}
	}
	if o.grace >= 0 {
		t.KillPolicy = &v1.KillPolicy{GracePeriod: seconds(o.grace)}
	}
	return t
}

func (o *runOptions) resources() []*v1.Resource {
	var out []*v1.Resource
	for _, r := range []struct {
		name  string
		value float64
	}{{"cpus", o.cpus}, {"mem", o.mem}, {"disk", o.disk}} {
		if r.value > 0 {
			out = append(out, &v1.Resource{Name: proto.String(r.name), Type: v1.Value_SCALAR.Enum(), Scalar: &v1.Value_Scalar{Value: proto.Float64(r.value)}})
		}
	}
	return out
}

// fits says how often the resources of this run are in an offer.
func (o *runOptions) fits(offer *v1.Offer) int {
	n := math.MaxInt
	for _, want := range o.resources() {
		var have float64
		for _, r := range offer.GetResources() {
			if r.GetName() == want.GetName() {
				have += r.GetScalar().GetValue()
			}
		}
		// Mesos counts in thousandths: so do we, or 0.3 would not hold 3 times 0.1.
		n = min(n, int(math.Round(have*1000)/math.Round(want.GetScalar().GetValue()*1000)))
	}
	return n
}
