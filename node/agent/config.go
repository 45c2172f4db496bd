package agent

import (
	"math/rand/v2"
	"time"

	v1 "clusterd/node/mesos/v1"
)

// Config is what an agent is started with. It is not changed afterwards.
//
// To add an entry: give unit, default and the flag it comes from; set the default in
// [DefaultConfig].
type Config struct {
	// Info describes this agent: hostname, port, resources, attributes, domain. Without id unless
	// the checkpoint gave one.
	Info *v1.AgentInfo
	// Version of this program, announced to the master.
	Version string
	// WorkDir is the absolute directory below which all sandboxes live (--work_dir).
	WorkDir string
	// Endpoint is ip:port of the agent's public API as executors reach it.
	Endpoint string
	// BootID tells one run of the machine from the next. A checkpoint of another boot has no
	// living containers (EXE-160).
	BootID string
	// Checkpoint is what [LoadCheckpoint] made of the stored keys; nil on the first start.
	Checkpoint *SavedState
	// Rand gives container ids and the uuids of status updates.
	Rand *rand.Rand

	// ExecutorRegistrationTimeout counts from the launch, fetching and image pull included
	// (--executor_registration_timeout, EXE-131).
	ExecutorRegistrationTimeout time.Duration
	// ExecutorReregistrationTimeout is how long recovery waits for executors to subscribe again
	// before the agent registers with the master (--executor_reregistration_timeout, EXE-153).
	ExecutorReregistrationTimeout time.Duration
	// ExecutorReregistrationExtension is how much longer a custom executor whose processes are
	// alive may take. Built-in executors may take RecoveryTimeout: they do come back or end.
	ExecutorReregistrationExtension time.Duration
	// ExecutorShutdownGracePeriod lies between SHUTDOWN and the end of the container, unless the
	// ExecutorInfo has its own (--executor_shutdown_grace_period, EXE-143).
	ExecutorShutdownGracePeriod time.Duration
	// RecoveryTimeout is how long executors wait for a lost agent (--recovery_timeout, EXE-156).
	RecoveryTimeout time.Duration
	// SubscriptionBackoffMax bounds the executors' delay before they subscribe again (EXE-33).
	SubscriptionBackoffMax time.Duration
	// MasterPingTimeout without a ping makes the agent look for the leader anew, unless the master
	// announced its own limit (EXE-169).
	MasterPingTimeout time.Duration
	// GCDelay is the age at which the sandbox of an ended executor is removed (--gc_delay).
	GCDelay time.Duration
	// GCDiskHeadroom is the part of the disk, 0 to 1, that collection keeps free
	// (--gc_disk_headroom, EXE-190).
	GCDiskHeadroom float64
	// SwitchUser runs tasks as their own user instead of the agent's (--switch_user, EXE-47).
	SwitchUser bool
	// CgroupsEnableCFS makes a cpu request a hard quota (--cgroups_enable_cfs, ISO-46).
	CgroupsEnableCFS bool
	// ExecutorEnvironment replaces what executors inherit (--executor_environment_variables,
	// EXE-38). Nil gives PATH only.
	ExecutorEnvironment map[string]string

	// Bounds of the history shown in state endpoints (EXE-188).
	MaxCompletedFrameworks            int
	MaxCompletedExecutorsPerFramework int
	MaxCompletedTasksPerExecutor      int
}

// DefaultConfig has the defaults of Mesos; Info, WorkDir, Endpoint and Rand are left to the caller.
func DefaultConfig() Config {
	return Config{
		ExecutorRegistrationTimeout:       time.Minute,
		ExecutorReregistrationTimeout:     2 * time.Second,
		ExecutorReregistrationExtension:   8 * time.Second,
		ExecutorShutdownGracePeriod:       5 * time.Second,
		RecoveryTimeout:                   15 * time.Minute,
		SubscriptionBackoffMax:            2 * time.Second,
		MasterPingTimeout:                 75 * time.Second,
		GCDelay:                           7 * 24 * time.Hour,
		GCDiskHeadroom:                    0.1,
		SwitchUser:                        true,
		MaxCompletedFrameworks:            50,
		MaxCompletedExecutorsPerFramework: 150,
		MaxCompletedTasksPerExecutor:      200,
	}
}
