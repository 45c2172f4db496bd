package main

import (
	"cmp"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"clusterd/alloc"
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// settings are the command line.
type settings struct {
	agents, first int
	processes     int
	part          int // of processes, in one that another has started; -1 else
	seed          uint64
	state         string

	dataDir, master  string
	token, tokenFile string

	resources, attributes string
	racks, regions        int
	script                script

	tasksPerAgent int
	frameworks    int
	roles         string
	taskResources string
	atOnce        int
	user          string
	media         mesos.MediaType

	joins, dials int
	most, hold   time.Duration
	leave        bool
	output       string
}

const usageText = `usage: scripts/fleet -data-dir DIR -agents N [-tasks-per-agent M] [flags]

Simulates N agents without containers. They join a real cluster, speak the real protocol, and run tasks
by a script. With -tasks-per-agent, frameworks of its own keep each of them at M tasks.

  scripts/fleet -data-dir /var/lib/clusterd -agents 1000 -tasks-per-agent 10
  scripts/fleet -master 192.0.2.7:5050 -token-file token -agents 5000 -racks 40 -disconnect-every 10m -away 1s-2m

flags (a SPAN is ` + spanUsage + `):

`

// usageError is a mistake on the command line.
type usageError struct{ error }

// parse reads the command line.
func parse(args []string, usage io.Writer) (*settings, error) {
	s := &settings{}
	fs := flag.NewFlagSet("fleet", flag.ContinueOnError)
	fs.SetOutput(io.Discard)
	s.declareAgents(fs)
	s.declareRun(fs)
	err := fs.Parse(args)
	if errors.Is(err, flag.ErrHelp) {
		fmt.Fprint(usage, usageText)
		fs.SetOutput(usage)
		fs.PrintDefaults()
		return nil, err
	}
	if err == nil && fs.NArg() > 0 {
		err = fmt.Errorf("argument %q: only flags are allowed", fs.Arg(0))
	}
	if err == nil {
		err = s.validate()
	}
	if err != nil {
		return nil, usageError{err}
	}
	return s, nil
}

// declareAgents declares what the agents are like.
func (s *settings) declareAgents(fs *flag.FlagSet) {
	fs.IntVar(&s.agents, "agents", 100, "`number` of agents")
	fs.IntVar(&s.first, "first", 0, "`number` of the first agent: fleets on one cluster need different ones")
	fs.Uint64Var(&s.seed, "seed", 1, "`number` from which all chance follows, but for the times of the network")
	fs.StringVar(&s.state, "state", "", "`directory` in which identities are kept, so that the next run is the same agents")
	fs.StringVar(&s.dataDir, "data-dir", "", "data `directory` of a node on this machine, through which everything else is found out")
	fs.StringVar(&s.master, "master", "", "`HOST:PORT` of the public API of a master, instead of -data-dir")
	fs.StringVar(&s.token, "token", "", "join `token`, with -master; environment: CLUSTERD_TOKEN")
	fs.StringVar(&s.tokenFile, "token-file", "", "`file` with the join token")
	fs.StringVar(&s.resources, "resources", "cpus:16;mem:65536;disk:1048576;ports:[31000-32000]", "`resources` of an agent as --resources of clusterd has them; several kinds of agents with | between")
	fs.StringVar(&s.attributes, "attributes", "", "`attributes` of an agent as --attributes of clusterd has them; {n} is its number")
	fs.IntVar(&s.racks, "racks", 0, "`number` of racks: each agent has an attribute rack")
	fs.IntVar(&s.regions, "regions", 0, "`number` of regions: each agent has a fault domain, its rack is the zone")
	s.script = script{
		StartDelay: span{low: 50 * time.Millisecond, high: 200 * time.Millisecond}, RunTime: span{low: forever, high: forever},
		KillDelay: span{high: 500 * time.Millisecond}, Ends: outcomes{finished: 1}, Away: span{low: time.Second, high: 30 * time.Second},
	}
	fs.Var(&s.script.StartDelay, "start-delay", "`SPAN` from the launch of a task to TASK_RUNNING")
	fs.Var(&s.script.RunTime, "run-time", "`SPAN` for which a task runs")
	fs.Var(&s.script.KillDelay, "kill-delay", "`SPAN` from a kill to the end of the task, within its grace period")
	fs.Var(&s.script.Ends, "ends", "`shares` of the ways in which tasks end: finished=8,failed=1,killed=1")
	fs.BoolVar(&s.script.NoStarting, "no-starting", false, "tasks do not report TASK_STARTING before TASK_RUNNING")
	fs.Var(&s.script.Delay, "delay", "`SPAN` by which each message between agent and master is late, in each direction")
	fs.DurationVar(&s.script.DisconnectEvery, "disconnect-every", 0, "mean `time` between two disconnections of an agent; 0: never")
	fs.Var(&s.script.Away, "away", "`SPAN` for which it is away then")
	fs.Float64Var(&s.script.Reboots, "reboots", 0, "`share` of the disconnections, 0 to 1, after which its tasks are gone")
}

// declareRun declares what is done with them.
func (s *settings) declareRun(fs *flag.FlagSet) {
	fs.IntVar(&s.tasksPerAgent, "tasks-per-agent", 0, "`number` of tasks that each agent is kept at")
	fs.IntVar(&s.frameworks, "frameworks", 1, "`number` of frameworks that share these tasks")
	fs.StringVar(&s.roles, "roles", "fleet", "`roles` of the frameworks in turn, with commas between")
	fs.StringVar(&s.taskResources, "task-resources", "cpus:0.1;mem:32", "what one task needs; the default fits 160 times into an agent")
	fs.IntVar(&s.atOnce, "at-once", 10000, "`number` of tasks that may be launched and not run yet, over all frameworks")
	fs.StringVar(&s.user, "user", "nobody", "`user` of the frameworks")
	fs.Func("content", "protobuf (if not given) or json: encoding of the frameworks' calls and events", func(text string) error {
		media, ok := map[string]mesos.MediaType{"protobuf": mesos.Protobuf, "json": mesos.JSON}[text]
		if !ok {
			return fmt.Errorf("%q is not one of protobuf, json", text)
		}
		s.media = media
		return nil
	})
	s.media = mesos.Protobuf
	fs.IntVar(&s.processes, "processes", 0, "`number` of processes that share the agents; 0: as many as their connections need")
	fs.IntVar(&s.joins, "joins", 64, "`number` of joins at the same time; a master takes 128 joins and new connections from one address")
	fs.IntVar(&s.dials, "dials", 64, "`number` of connections that are opened at the same time")
	fs.DurationVar(&s.most, "for", 0, "end after this `time`; 0: when interrupted")
	fs.DurationVar(&s.hold, "hold", 0, "end this `time` after all agents are registered and all tasks run; an error if -for is over before")
	fs.BoolVar(&s.leave, "leave", false, "the agents unregister at the end; else they are just gone")
	fs.StringVar(&s.output, "o", "table", "summary as table or json")
	s.part = -1
	fs.Func("part", "for the program's own use", func(text string) (err error) {
		s.part, err = strconv.Atoi(text)
		return err
	})
}

func (s *settings) validate() error {
	var errs []error
	least := func(name string, n, low int) {
		if n < low {
			errs = append(errs, fmt.Errorf("-%s: %d is less than %d", name, n, low))
		}
	}
	least("agents", s.agents, 1)
	least("first", s.first, 0)
	least("processes", s.processes, 0)
	least("racks", s.racks, 0)
	least("regions", s.regions, 0)
	least("tasks-per-agent", s.tasksPerAgent, 0)
	least("frameworks", s.frameworks, 1)
	least("at-once", s.atOnce, s.frameworks)
	least("joins", s.joins, 1)
	least("dials", s.dials, 1)
	if s.first+s.agents > maxNumber {
		errs = append(errs, fmt.Errorf("-agents: with -first %d up to %d are allowed", s.first, max(0, maxNumber-s.first)))
	}
	if (s.dataDir == "") == (s.master == "") && s.part < 0 {
		errs = append(errs, errors.New("one of -data-dir and -master is needed to find the cluster"))
	}
	if s.token != "" && s.tokenFile != "" {
		errs = append(errs, errors.New("-token: -token-file is given too: give one of them"))
	}
	if s.script.Reboots < 0 || s.script.Reboots > 1 {
		errs = append(errs, fmt.Errorf("-reboots: %g is not between 0 and 1", s.script.Reboots))
	}
	if s.script.DisconnectEvery < 0 || s.most < 0 || s.hold < 0 {
		errs = append(errs, errors.New("-disconnect-every, -for and -hold: a time must not be negative"))
	}
	if s.output != "table" && s.output != "json" {
		errs = append(errs, fmt.Errorf("-o: %q is not one of table, json", s.output))
	}
	if s.frameworks > max(1, s.tasksPerAgent) {
		errs = append(errs, fmt.Errorf("-frameworks: %d frameworks cannot share %d tasks", s.frameworks, s.tasksPerAgent))
	}
	for _, role := range s.roleList() {
		if err := mesos.ValidateRole(role); err != nil {
			errs = append(errs, fmt.Errorf("-roles: %w", err))
		}
	}
	errs = append(errs, s.validateResources())
	return errors.Join(errs...)
}

// validateResources checks what is parsed again later.
func (s *settings) validateResources() error {
	task, err := s.task()
	if err != nil {
		return err
	}
	kinds, err := s.kinds()
	if err != nil {
		return err
	}
	for i, kind := range kinds {
		if n := fits(kind, task); n < s.tasksPerAgent {
			return fmt.Errorf("-tasks-per-agent: only %d tasks of %s fit into an agent of %s", n, s.taskResources, strings.Split(s.resources, "|")[i])
		}
	}
	_, err = s.profile(0, kinds)
	return err
}

// task is what one task needs.
func (s *settings) task() ([]*v1.Resource, error) {
	list, err := alloc.ParseResourceList(s.taskResources, mesos.DefaultRole)
	if err != nil {
		return nil, fmt.Errorf("-task-resources: %w", err)
	}
	if len(list) == 0 {
		return nil, errors.New("-task-resources: a task needs something")
	}
	for _, r := range list {
		if r.GetType() != v1.Value_SCALAR || r.GetScalar().GetValue() <= 0 {
			return nil, fmt.Errorf("-task-resources: %s is not an amount above 0", r.GetName())
		}
	}
	return list, nil
}

// kinds are the resources of the kinds of agents.
func (s *settings) kinds() ([][]*v1.Resource, error) {
	var kinds [][]*v1.Resource
	for text := range strings.SplitSeq(s.resources, "|") {
		list, err := alloc.ParseResourceList(text, mesos.DefaultRole)
		if err != nil {
			return nil, fmt.Errorf("-resources: %w", err)
		}
		kinds = append(kinds, list)
	}
	return kinds, nil
}

// maxNumber bounds the numbers of agents.
const maxNumber = 1 << 20

// profile is what the agent of a number looks like.
func (s *settings) profile(number int, kinds [][]*v1.Resource) (*profile, error) {
	ip, shift := addressOf(number)
	p := &profile{name: fmt.Sprintf("fleet-%06d", number), ip: ip, port: int32(agentPort + shift), resources: kinds[number%len(kinds)]}
	text := strings.ReplaceAll(s.attributes, "{n}", strconv.Itoa(number))
	rack := ""
	if s.racks > 0 {
		rack = fmt.Sprintf("rack-%d", number%s.racks)
		text += ";rack:" + rack
	}
	var err error
	if p.attributes, err = alloc.ParseAttributes(text); err != nil {
		return nil, fmt.Errorf("-attributes: %w", err)
	}
	if s.regions > 0 {
		p.domain = &v1.DomainInfo{FaultDomain: &v1.DomainInfo_FaultDomain{
			Region: &v1.DomainInfo_FaultDomain_RegionInfo{Name: proto.String(fmt.Sprintf("region-%d", number%s.regions))},
			Zone:   &v1.DomainInfo_FaultDomain_ZoneInfo{Name: proto.String(cmp.Or(rack, "zone"))},
		}}
	}
	return p, nil
}

// profiles are those of the agents from first to end-1. Equal attributes and domains are shared.
func (s *settings) profiles(first, end int) ([]*profile, error) {
	kinds, err := s.kinds()
	if err != nil {
		return nil, err
	}
	attributes, domains := make(map[string][]*v1.Attribute), make(map[string]*v1.DomainInfo)
	all := make([]*profile, 0, end-first)
	for number := first; number < end; number++ {
		p, err := s.profile(number, kinds)
		if err != nil {
			return nil, err
		}
		p.attributes = shared(attributes, fmt.Sprint(p.attributes), p.attributes)
		p.domain = shared(domains, fmt.Sprint(p.domain), p.domain)
		all = append(all, p)
	}
	return all, nil
}

// shared is the first value that came with this text.
func shared[T any](known map[string]T, text string, v T) T {
	if first, ok := known[text]; ok {
		return first
	}
	known[text] = v
	return v
}

// secret is the join token that was given; empty if none was.
func (s *settings) secret() (string, error) {
	if s.tokenFile != "" {
		text, err := os.ReadFile(s.tokenFile)
		if err != nil {
			return "", fmt.Errorf("-token-file: %w", err)
		}
		return strings.TrimSpace(string(text)), nil
	}
	return cmp.Or(s.token, os.Getenv("CLUSTERD_TOKEN")), nil
}

// roleList are the roles of the frameworks.
func (s *settings) roleList() []string { return strings.Split(s.roles, ",") }
