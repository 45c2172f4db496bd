package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"clusterd/alloc"
	"clusterd/node/master"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// Config is everything that can be set on a node. The zero value is not usable: start from
// DefaultConfig, change fields or parse flags, then Validate.
//
// To add a setting: a field here with its unit, its default in DefaultConfig, one line in AddFlags
// (the flag keeps Mesos's name where the meaning is the same) and, if values can be wrong, one check
// in Validate that names the flag. To retire one: keep the flag for a release with
// FlagSet.MarkDeprecated and drop the field.
type Config struct {
	// ConfigPath is a YAML or JSON file of settings, or a directory with one file for each (ApplySources).
	ConfigPath string
	// DataDir holds everything that must survive: the raft log, the agent's checkpoint, sandboxes.
	DataDir string
	// Ephemeral says that DataDir was made for this run: it is removed by Close, and all tasks end
	// with the node (clusterd dev without --data-dir).
	Ephemeral bool
	// StopTasks says that a clean stop ends all tasks too (clusterd dev).
	StopTasks bool

	Listen      string // master API and dashboard, HOST:PORT
	AgentListen string // agent API, HOST:PORT
	PeerListen  string // traffic between nodes, HOST:PORT
	Advertise   string // address that others are told; empty: taken from Listen and AgentListen
	Hostname    string // name shown to people; empty: reverse look-up of the advertised address
	Cluster     string // name of the cluster in the dashboard
	Name        string // of this node, shown to people; empty: name of the machine (NodeName)
	Domain      string // fault domain: REGION/ZONE or DomainInfo as JSON; empty: none (FaultDomain)

	// Join names nodes of a cluster, HOST, HOST:PORT or [v6]:PORT, to join if DataDir belongs to no cluster
	// yet (PeerAddresses); empty: form a new one.
	Join []string
	// Token and TokenFile are where the join token stands, at most one of them: use JoinToken.
	Token     string
	TokenFile string
	Role      string // auto, master, agent or both (CLU-4)
	Masters   int    // voters to keep in a cluster that this node forms: 1, 3, 5 or 7 (CLU-5)
	// MasterReplaceAfter is how long a master may be unreachable until another node takes its place.
	MasterReplaceAfter time.Duration
	// CertificateLifetime is that of the certificates that this node issues as the leader (CLU-21).
	CertificateLifetime time.Duration

	Resources   string // --resources text or JSON; what is missing is detected
	Attributes  string // --attributes text
	DefaultRole string // role of resources that name none

	Roles                         []string
	Weights                       string
	AllocationInterval            time.Duration
	MinAllocatableResources       string
	FilterGPUResources            bool
	OfferTimeout                  time.Duration // 0: offers do not expire
	RootSubmissions               bool
	AgentPingTimeout              time.Duration
	MaxAgentPingTimeouts          int
	AgentReregisterTimeout        time.Duration
	AgentRemovalRateLimit         string // "1/10mins"; empty: no limit
	RecoveryAgentRemovalLimit     string // "0%" to "100%"
	MaxCompletedFrameworks        int
	MaxCompletedTasksPerFramework int
	MaxUnreachableTasks           int

	ExecutorRegistrationTimeout   time.Duration
	ExecutorReregistrationTimeout time.Duration
	ExecutorShutdownGracePeriod   time.Duration
	ExecutorEnvironment           string // JSON object; empty: only PATH and MESOS_* are given
	RecoveryTimeout               time.Duration
	MaxCompletedExecutors         int
	SwitchUser                    bool
	GCDelay                       time.Duration
	GCDiskHeadroom                float64
	DiskWatchInterval             time.Duration
	CgroupsRoot                   string
	CgroupsEnableCFS              bool
	FrameworksHome                string

	LogLevel string // debug, info, warn, error
}

// DefaultConfig returns the settings of a node started without flags.
func DefaultConfig() Config {
	return Config{
		DataDir:                       "/var/lib/clusterd",
		Listen:                        ":5050",
		AgentListen:                   ":5051",
		PeerListen:                    ":5055",
		DefaultRole:                   "*",
		Role:                          "auto",
		Masters:                       3,
		MasterReplaceAfter:            5 * time.Minute,
		CertificateLifetime:           90 * 24 * time.Hour,
		AllocationInterval:            time.Second,
		MinAllocatableResources:       "cpus:0.01|mem:32",
		FilterGPUResources:            true,
		RootSubmissions:               true,
		AgentPingTimeout:              15 * time.Second,
		MaxAgentPingTimeouts:          5,
		AgentReregisterTimeout:        10 * time.Minute,
		RecoveryAgentRemovalLimit:     "100%",
		MaxCompletedFrameworks:        50,
		MaxCompletedTasksPerFramework: 1000,
		MaxUnreachableTasks:           1000,
		ExecutorRegistrationTimeout:   time.Minute,
		ExecutorReregistrationTimeout: 2 * time.Second,
		ExecutorShutdownGracePeriod:   5 * time.Second,
		RecoveryTimeout:               15 * time.Minute,
		MaxCompletedExecutors:         150,
		SwitchUser:                    true,
		GCDelay:                       7 * 24 * time.Hour,
		GCDiskHeadroom:                0.1,
		DiskWatchInterval:             time.Minute,
		CgroupsRoot:                   "clusterd",
		LogLevel:                      "info",
	}
}

// AddFlags declares every setting on fs but those of AddClusterFlags. Names with '_' and with '-' are the
// same flag.
func (c *Config) AddFlags(fs *pflag.FlagSet) {
	fs.SetNormalizeFunc(NormalizeFlag)
	addRefusedFlags(fs)
	fs.StringVar(&c.ConfigPath, configFlag, c.ConfigPath, "YAML or JSON `FILE` of settings, or a directory with one file for each")
	fs.StringVar(&c.DataDir, "data-dir", c.DataDir, "directory for all state of this node")
	fs.StringVar(&c.Listen, "listen", c.Listen, "address of the master API and the dashboard; port 0 picks a free one")
	fs.StringVar(&c.AgentListen, "agent-listen", c.AgentListen, "address of the agent API")
	fs.StringVar(&c.PeerListen, "peer-listen", c.PeerListen, "address for traffic between nodes")
	fs.StringVar(&c.Advertise, "advertise", c.Advertise, "IP address that frameworks, executors and other nodes are told")
	fs.StringVar(&c.Hostname, "hostname", c.Hostname, "name of this machine in offers and links (default: looked up)")
	fs.StringVar(&c.Cluster, "cluster", c.Cluster, "name of the cluster, shown in the dashboard")
	fs.StringVar(&c.Name, "node-name", c.Name, "name of this node in the cluster (default: name of the machine)")
	fs.StringVar(&c.Domain, "domain", c.Domain, "fault domain of this machine, `REGION/ZONE`; masters are spread over domains")
	fs.StringVar(&c.Resources, "resources", c.Resources, "resources of this machine, such as 'cpus:4;mem:2048'; what is missing is detected")
	fs.StringVar(&c.Attributes, "attributes", c.Attributes, "attributes of this machine, such as 'rack:r1;zone:z1'")
	fs.StringVar(&c.DefaultRole, "default-role", c.DefaultRole, "role of resources in --resources that name none")
	fs.StringSliceVar(&c.Roles, "roles", c.Roles, "the only roles that frameworks may use (default: any)")
	fs.StringVar(&c.Weights, "weights", c.Weights, "weights of roles, such as 'prod=2,dev=1'")
	durationVar(fs, &c.AllocationInterval, "allocation-interval", "time between two rounds of offers")
	fs.StringVar(&c.MinAllocatableResources, "min-allocatable-resources", c.MinAllocatableResources, "an agent with less of all of these is not offered")
	fs.BoolVar(&c.FilterGPUResources, "filter-gpu-resources", c.FilterGPUResources, "offer agents with GPUs only to frameworks that ask for them")
	durationVar(fs, &c.OfferTimeout, "offer-timeout", "take offers back that are unanswered for this long (0: never)")
	fs.BoolVar(&c.RootSubmissions, "root-submissions", c.RootSubmissions, "allow frameworks that run tasks as root")
	durationVar(fs, &c.AgentPingTimeout, "agent-ping-timeout", "an agent must answer a ping within this time")
	fs.IntVar(&c.MaxAgentPingTimeouts, "max-agent-ping-timeouts", c.MaxAgentPingTimeouts, "an agent that misses so many pings in a row is unreachable")
	durationVar(fs, &c.AgentReregisterTimeout, "agent-reregister-timeout", "time for agents to come back after a failover or a broken connection")
	fs.StringVar(&c.AgentRemovalRateLimit, "agent-removal-rate-limit", c.AgentRemovalRateLimit, "mark at most so many agents unreachable in a time, such as '1/10mins' (default: no limit)")
	fs.StringVar(&c.RecoveryAgentRemovalLimit, "recovery-agent-removal-limit", c.RecoveryAgentRemovalLimit, "a new leader keeps all agents as recovering if more than this part of them does not come back")
	fs.IntVar(&c.MaxCompletedFrameworks, "max-completed-frameworks", c.MaxCompletedFrameworks, "ended frameworks to remember")
	fs.IntVar(&c.MaxCompletedTasksPerFramework, "max-completed-tasks-per-framework", c.MaxCompletedTasksPerFramework, "ended tasks of each framework to remember")
	fs.IntVar(&c.MaxUnreachableTasks, "max-unreachable-tasks-per-framework", c.MaxUnreachableTasks, "unreachable tasks of each framework to remember")
	durationVar(fs, &c.ExecutorRegistrationTimeout, "executor-registration-timeout", "time for an executor to subscribe after its launch")
	durationVar(fs, &c.ExecutorReregistrationTimeout, "executor-reregistration-timeout", "time for executors to come back after a restart of the agent")
	durationVar(fs, &c.ExecutorShutdownGracePeriod, "executor-shutdown-grace-period", "time for an executor to shut down before it is killed")
	fs.StringVar(&c.ExecutorEnvironment, "executor-environment-variables", c.ExecutorEnvironment, `JSON object with the environment of executors, such as '{"PATH":"/bin"}'`)
	durationVar(fs, &c.RecoveryTimeout, "recovery-timeout", "executors wait this long for a lost agent before they end themselves")
	fs.IntVar(&c.MaxCompletedExecutors, "max-completed-executors-per-framework", c.MaxCompletedExecutors, "ended executors of each framework to remember")
	fs.BoolVar(&c.SwitchUser, "switch-user", c.SwitchUser, "run tasks as the user that they name")
	durationVar(fs, &c.GCDelay, "gc-delay", "keep sandboxes of ended executors for this long")
	fs.Float64Var(&c.GCDiskHeadroom, "gc-disk-headroom", c.GCDiskHeadroom, "share of the disk (0 to 1) kept free by removing sandboxes earlier")
	durationVar(fs, &c.DiskWatchInterval, "disk-watch-interval", "time between two looks at the disk's usage")
	fs.StringVar(&c.CgroupsRoot, "cgroups-root", c.CgroupsRoot, "name of the cgroup above all containers")
	fs.BoolVar(&c.CgroupsEnableCFS, "cgroups-enable-cfs", c.CgroupsEnableCFS, "cap tasks at their cpus instead of only weighing them")
	fs.StringVar(&c.FrameworksHome, "frameworks-home", c.FrameworksHome, "directory against which relative task URIs are resolved")
	fs.StringVar(&c.LogLevel, "logging-level", c.LogLevel, "debug, info, warn or error")
}

// NormalizeFlag makes '_' and '-' the same in flag names and accepts Mesos's older names.
func NormalizeFlag(_ *pflag.FlagSet, name string) pflag.NormalizedName {
	name = strings.ReplaceAll(strings.ToLower(name), "_", "-")
	if old, ok := strings.CutPrefix(name, "slave-"); ok {
		name = "agent-" + old
	}
	switch name {
	case "work-dir":
		name = "data-dir"
	case "advertise-ip":
		name = "advertise"
	case "max-slave-ping-timeouts":
		name = "max-agent-ping-timeouts"
	case "recovery-slave-removal-limit":
		name = "recovery-agent-removal-limit"
	}
	return pflag.NormalizedName(name)
}

// FlagValues returns every setting as Mesos's /flags shows it: name with '_', value as text. Secrets are
// left out.
func FlagValues(fs *pflag.FlagSet) map[string]string {
	out := make(map[string]string)
	fs.VisitAll(func(f *pflag.Flag) {
		if isSecret(f) {
			return
		}
		v := f.Value.String()
		if s, ok := f.Value.(pflag.SliceValue); ok {
			v = strings.Join(s.GetSlice(), ",")
		}
		if v != "" {
			out[strings.ReplaceAll(f.Name, "-", "_")] = v
		}
	})
	return out
}

// Validate reports every fault at once; each message names the flag and the values allowed.
func (c *Config) Validate() error {
	var errs []error
	bad := func(flag, format string, args ...any) {
		errs = append(errs, fmt.Errorf("--%s: %s", flag, fmt.Sprintf(format, args...)))
	}
	if c.DataDir == "" {
		bad("data-dir", "must name a directory")
	}
	for flag, addr := range map[string]string{"listen": c.Listen, "agent-listen": c.AgentListen, "peer-listen": c.PeerListen} {
		if err := checkAddress(addr); err != nil {
			bad(flag, "%v", err)
		}
	}
	if c.Advertise != "" && net.ParseIP(c.Advertise) == nil {
		bad("advertise", "%q is not an IP address", c.Advertise)
	}
	if c.Resources != "" {
		if _, err := alloc.ParseResourceList(c.Resources, c.DefaultRole); err != nil {
			bad("resources", "%v", err)
		}
	}
	if _, err := alloc.ParseAttributes(c.Attributes); err != nil {
		bad("attributes", "%v", err)
	}
	if err := mesos.ValidateRole(c.DefaultRole); err != nil {
		bad("default-role", "%v", err)
	}
	for _, r := range c.Roles {
		if err := mesos.ValidateRole(r); err != nil {
			bad("roles", "%v", err)
		}
	}
	if _, err := alloc.ParseWeights(c.Weights); err != nil {
		bad("weights", "%v", err)
	}
	if _, err := alloc.ParseMinAllocatable(c.MinAllocatableResources); err != nil {
		bad("min-allocatable-resources", "%v", err)
	}
	between := func(flag string, d, low, high time.Duration) {
		if d < low || d > high {
			bad(flag, "%s is not between %s and %s", mesos.FormatDuration(d), mesos.FormatDuration(low), mesos.FormatDuration(high))
		}
	}
	const forever = 100 * 365 * 24 * time.Hour
	between("allocation-interval", c.AllocationInterval, 10*time.Millisecond, time.Hour)
	between("offer-timeout", c.OfferTimeout, 0, forever)
	between("agent-ping-timeout", c.AgentPingTimeout, time.Second, 15*time.Minute)
	between("agent-reregister-timeout", c.AgentReregisterTimeout, time.Second, forever)
	if _, err := master.ParseRemovalRate(c.AgentRemovalRateLimit); err != nil {
		bad("agent-removal-rate-limit", "%v", err)
	}
	if _, err := master.ParseRemovalLimit(c.RecoveryAgentRemovalLimit); err != nil {
		bad("recovery-agent-removal-limit", "%v", err)
	}
	between("executor-registration-timeout", c.ExecutorRegistrationTimeout, time.Second, forever)
	between("executor-reregistration-timeout", c.ExecutorReregistrationTimeout, 100*time.Millisecond, 15*time.Minute)
	between("executor-shutdown-grace-period", c.ExecutorShutdownGracePeriod, 0, forever)
	between("recovery-timeout", c.RecoveryTimeout, time.Second, forever)
	between("gc-delay", c.GCDelay, 0, forever)
	between("disk-watch-interval", c.DiskWatchInterval, time.Second, forever)
	if c.MaxAgentPingTimeouts < 1 {
		bad("max-agent-ping-timeouts", "%d is less than 1", c.MaxAgentPingTimeouts)
	}
	for flag, n := range map[string]int{
		"max-completed-frameworks": c.MaxCompletedFrameworks, "max-completed-tasks-per-framework": c.MaxCompletedTasksPerFramework,
		"max-unreachable-tasks-per-framework": c.MaxUnreachableTasks, "max-completed-executors-per-framework": c.MaxCompletedExecutors,
	} {
		if n < 0 {
			bad(flag, "%d is negative", n)
		}
	}
	if c.GCDiskHeadroom < 0 || c.GCDiskHeadroom > 1 {
		bad("gc-disk-headroom", "%v is not between 0 and 1", c.GCDiskHeadroom)
	}
	if _, err := c.executorEnvironment(); err != nil {
		bad("executor-environment-variables", "%v", err)
	}
	if strings.Contains(c.CgroupsRoot, "..") || c.CgroupsRoot == "" || filepath.IsAbs(c.CgroupsRoot) {
		bad("cgroups-root", "%q is not a relative path below the cgroup hierarchy", c.CgroupsRoot)
	}
	if c.FrameworksHome != "" && !filepath.IsAbs(c.FrameworksHome) {
		bad("frameworks-home", "%q is not an absolute path", c.FrameworksHome)
	}
	if _, err := ParseLevel(c.LogLevel); err != nil {
		bad("logging-level", "%v", err)
	}
	c.validateCluster(bad, between)
	sort.Slice(errs, func(i, j int) bool { return errs[i].Error() < errs[j].Error() })
	return errors.Join(errs...)
}

func checkAddress(addr string) error {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%q is not HOST:PORT", addr)
	}
	if n, err := strconv.Atoi(port); err != nil || n < 0 || n > 65535 {
		return fmt.Errorf("port %q of %q is not between 0 and 65535", port, addr)
	}
	if host != "" && net.ParseIP(host) == nil {
		if _, err := net.LookupHost(host); err != nil {
			return fmt.Errorf("host %q of %q is not known: %w", host, addr, err)
		}
	}
	return nil
}

// executorEnvironment decodes --executor-environment-variables; nil when the flag is not set.
func (c *Config) executorEnvironment() (map[string]string, error) {
	if c.ExecutorEnvironment == "" {
		return nil, nil
	}
	var any map[string]any
	if err := json.Unmarshal([]byte(c.ExecutorEnvironment), &any); err != nil {
		return nil, fmt.Errorf("not a JSON object: %w", err)
	}
	env := make(map[string]string, len(any))
	for k, v := range any {
		s, ok := v.(string)
		if !ok {
			return nil, errors.New("`executor_environment_variables` must only contain string values") // EXE-38
		}
		env[k] = s
	}
	return env, nil
}

func durationVar(fs *pflag.FlagSet, p *time.Duration, name, usage string) {
	fs.Var((*durationValue)(p), name, usage)
}

// durationValue is a flag in Mesos's form (15secs) that also reads Go's (15s).
type durationValue time.Duration

func (d *durationValue) Set(s string) error {
	v, err := mesos.ParseDuration(s)
	if err != nil {
		g, gerr := time.ParseDuration(s)
		if gerr != nil {
			return fmt.Errorf("%q is not a duration such as 15secs, 1mins or 2hrs", s)
		}
		v = g
	}
	*d = durationValue(v)
	return nil
}

func (d *durationValue) String() string { return mesos.FormatDuration(time.Duration(*d)) }
func (*durationValue) Type() string     { return "duration" }

// agentResources returns what this machine offers: --resources, completed by what is detected for
// each of cpus, mem, disk and ports that it does not name (RES-34..38).
func (c *Config) agentResources(workDir string) ([]*v1.Resource, error) {
	given, err := alloc.ParseResourceList(c.Resources, c.DefaultRole)
	if err != nil {
		return nil, fmt.Errorf("--resources: %w", err)
	}
	named := make(map[string]bool)
	for _, r := range given {
		named[r.GetName()] = true // also with an amount of 0
	}
	var missing []string
	for _, m := range []struct {
		name  string
		value func() string
	}{
		{"cpus", func() string { return strconv.Itoa(detectCPUs()) }},
		{"mem", func() string { return strconv.FormatInt(detectMemMB(), 10) }},
		{"disk", func() string { return strconv.FormatInt(detectDiskMB(workDir), 10) }},
		{"ports", func() string { return "[31000-32000]" }},
	} {
		if !named[m.name] {
			missing = append(missing, m.name+":"+m.value())
		}
	}
	detected, err := alloc.ParseResourceList(strings.Join(missing, ";"), c.DefaultRole)
	if err != nil {
		return nil, fmt.Errorf("detected resources %q: %w", missing, err)
	}
	all, err := alloc.FromProto(append(given, detected...))
	if err != nil {
		return nil, fmt.Errorf("--resources: %w", err)
	}
	return all.Proto(), nil
}
