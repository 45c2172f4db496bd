package node

import (
	"crypto/rand"
	"fmt"
	randv2 "math/rand/v2"
	"path/filepath"
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/alloc"
	"clusterd/isolate"
	"clusterd/node/agent"
	v1 "clusterd/node/mesos/v1"
)

// startAgent recovers the agent from disk and starts its shell.
func (n *Node) startAgent() error {
	work := filepath.Join(n.config.DataDir, "agent")
	var err error
	if n.store, err = openCheckpoints(work); err != nil {
		return fmt.Errorf("agent checkpoint: %w", err)
	}
	keys, err := n.store.load()
	if err != nil {
		return fmt.Errorf("agent checkpoint: %w", err)
	}
	recovered, err := agent.LoadCheckpoint(keys)
	if err != nil {
		return fmt.Errorf("agent checkpoint %s: %w", n.store.db.Path(), err)
	}
	n.runtime, err = isolate.Open(isolate.Config{StateDir: filepath.Join(work, "containers"), CgroupRoot: n.config.CgroupsRoot, Logger: n.log})
	if err != nil {
		return err
	}
	found, err := n.runtime.Containers()
	if err != nil {
		return err
	}
	cfg, err := n.agentConfig(work)
	if err != nil {
		return err
	}
	cfg.Checkpoint = recovered
	if err := n.attachSandboxes(work); err != nil {
		return err
	}
	shell := shellConfig{WorkDir: work, SwitchUser: n.config.SwitchUser, FrameworksHome: n.config.FrameworksHome, Files: n.agentFiles}
	n.recovery = time.Since(n.started)
	n.agent = newAgentShell(agent.New(cfg, time.Now()), shell, n.store, n.runtime, found, n.log)
	return nil
}

func (n *Node) agentConfig(work string) (agent.Config, error) {
	cfg := agent.DefaultConfig()
	resources, err := n.config.agentResources(work)
	if err != nil {
		return cfg, err
	}
	attributes, err := alloc.ParseAttributes(n.config.Attributes)
	if err != nil {
		return cfg, fmt.Errorf("--attributes: %w", err)
	}
	cfg.Info = &v1.AgentInfo{
		Hostname: proto.String(n.host.hostname), Port: proto.Int32(int32(n.host.agentPort)),
		Resources: resources, Attributes: attributes,
	}
	cfg.Version = MesosVersion
	cfg.WorkDir, cfg.Endpoint, cfg.BootID = work, n.host.agent(), bootID()
	cfg.Rand = newRand()
	cfg.ExecutorRegistrationTimeout = n.config.ExecutorRegistrationTimeout
	cfg.ExecutorReregistrationTimeout = n.config.ExecutorReregistrationTimeout
	cfg.ExecutorShutdownGracePeriod = n.config.ExecutorShutdownGracePeriod
	cfg.RecoveryTimeout = n.config.RecoveryTimeout
	cfg.MasterPingTimeout = n.config.AgentPingTimeout * time.Duration(n.config.MaxAgentPingTimeouts)
	cfg.GCDelay, cfg.GCDiskHeadroom = n.config.GCDelay, n.config.GCDiskHeadroom
	cfg.SwitchUser, cfg.CgroupsEnableCFS = n.config.SwitchUser, n.config.CgroupsEnableCFS
	cfg.MaxCompletedExecutorsPerFramework = n.config.MaxCompletedExecutors
	cfg.ExecutorEnvironment, err = n.config.executorEnvironment()
	return cfg, err
}

// newRand is seeded by the system: ids must differ between runs.
func newRand() *randv2.Rand {
	var seed [32]byte
	_, _ = rand.Read(seed[:]) // never fails
	return randv2.New(randv2.NewChaCha8(seed))
}

// jitter is a random time below most.
func jitter(most time.Duration) time.Duration {
	return randv2.N(max(most, 1))
}
