package executor

import (
	"fmt"
	"strings"
	"time"

	"clusterd/node/mesos"
)

// settings are what the agent tells an executor by its environment (EXE-32, EXE-33).
type settings struct {
	framework, executor string
	endpoint            string
	sandbox             string
	token               string
	checkpoint          bool
	shutdownGrace       time.Duration
	recoveryTimeout     time.Duration
	backoffMax          time.Duration
	// env is handed on to the task.
	env []string
}

// tokenVariable is for the executor only (EXE-13).
const tokenVariable = "MESOS_EXECUTOR_AUTHENTICATION_TOKEN"

func parseSettings(env []string) (settings, error) {
	s := settings{recoveryTimeout: 15 * time.Minute, backoffMax: 2 * time.Second}
	values := map[string]string{}
	for _, entry := range env {
		name, value, _ := strings.Cut(entry, "=")
		values[name] = value
		if name != tokenVariable {
			s.env = append(s.env, entry)
		}
	}
	for _, v := range []struct {
		name string
		to   *string
	}{
		{"MESOS_FRAMEWORK_ID", &s.framework},
		{"MESOS_EXECUTOR_ID", &s.executor},
		{"MESOS_AGENT_ENDPOINT", &s.endpoint},
		{"MESOS_SANDBOX", &s.sandbox},
	} {
		if *v.to = values[v.name]; *v.to == "" {
			return s, fmt.Errorf("environment variable %s is missing", v.name)
		}
	}
	s.token = values[tokenVariable]
	s.checkpoint = values["MESOS_CHECKPOINT"] == "1"
	for _, v := range []struct {
		name     string
		to       *time.Duration
		optional bool
	}{
		{"MESOS_EXECUTOR_SHUTDOWN_GRACE_PERIOD", &s.shutdownGrace, false},
		{"MESOS_RECOVERY_TIMEOUT", &s.recoveryTimeout, true},
		{"MESOS_SUBSCRIPTION_BACKOFF_MAX", &s.backoffMax, true},
	} {
		text, ok := values[v.name]
		if !ok && v.optional {
			continue
		}
		d, err := mesos.ParseDuration(text)
		if err != nil {
			return s, fmt.Errorf("environment variable %s: %w", v.name, err)
		}
		*v.to = d
	}
	return s, nil
}
