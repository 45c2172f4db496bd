package master

import (
	"bytes"
	"strconv"
	"strings"

	v1 "clusterd/node/mesos/v1"
)

func formatMilli(n int64) string { return strconv.FormatFloat(float64(n)/1000, 'f', -1, 64) }

// nonNegative checks a time in seconds.
func nonNegative(name string, v float64) error {
	if v < 0 {
		return refusal("Expecting '" + name + "' to be non-negative")
	}
	return nil
}

// firstOf returns the first error.
func firstOf(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// validateCheck checks a CheckInfo (SCH-178).
func validateCheck(c *v1.CheckInfo) error {
	if c.Type == nil {
		return refusal("CheckInfo must specify 'type'")
	}
	switch c.GetType() {
	case v1.CheckInfo_COMMAND:
		if c.Command == nil {
			return refusal("Expecting 'command' to be set for COMMAND check")
		}
		if err := validateCheckCommand("Command check", "Check's", c.GetCommand().GetCommand()); err != nil {
			return err
		}
	case v1.CheckInfo_HTTP:
		if c.Http == nil {
			return refusal("Expecting 'http' to be set for HTTP check")
		}
		if err := validatePath("HTTP check", c.GetHttp().Path); err != nil {
			return err
		}
	case v1.CheckInfo_TCP:
		if c.Tcp == nil {
			return refusal("Expecting 'tcp' to be set for TCP check")
		}
	default:
		return refusalf("'%s' is not a valid check type", c.GetType())
	}
	return firstOf(
		nonNegative("delay_seconds", c.GetDelaySeconds()),
		nonNegative("interval_seconds", c.GetIntervalSeconds()),
		nonNegative("timeout_seconds", c.GetTimeoutSeconds()))
}

// validateHealthCheck checks a HealthCheck (SCH-179).
func validateHealthCheck(c *v1.HealthCheck) error {
	if c.Type == nil {
		return refusal("HealthCheck must specify 'type'")
	}
	switch c.GetType() {
	case v1.HealthCheck_COMMAND:
		if c.Command == nil {
			return refusal("Expecting 'command' to be set for COMMAND health check")
		}
		if err := validateCheckCommand("Command health check", "Health check's", c.GetCommand()); err != nil {
			return err
		}
	case v1.HealthCheck_HTTP:
		if c.Http == nil {
			return refusal("Expecting 'http' to be set for HTTP health check")
		}
		if s := c.GetHttp().Scheme; s != nil && *s != "http" && *s != "https" {
			return refusal("Unsupported HTTP health check scheme: '" + *s + "'")
		}
		if err := validatePath("HTTP health check", c.GetHttp().Path); err != nil {
			return err
		}
	case v1.HealthCheck_TCP:
		if c.Tcp == nil {
			return refusal("Expecting 'tcp' to be set for TCP health check")
		}
	default:
		return refusalf("'%s' is not a valid health check type", c.GetType())
	}
	return firstOf(
		nonNegative("delay_seconds", c.GetDelaySeconds()),
		nonNegative("grace_period_seconds", c.GetGracePeriodSeconds()),
		nonNegative("interval_seconds", c.GetIntervalSeconds()),
		nonNegative("timeout_seconds", c.GetTimeoutSeconds()))
}

func validateCheckCommand(what, whose string, c *v1.CommandInfo) error {
	if c.Value == nil {
		if c.GetShell() {
			return refusal(what + " must contain 'shell command'")
		}
		return refusal(what + " must contain 'executable path'")
	}
	if err := validateCommand(c); err != nil {
		return refusal(whose + " `CommandInfo` is invalid: " + err.Error())
	}
	return nil
}

func validatePath(what string, path *string) error {
	if path != nil && !strings.HasPrefix(*path, "/") {
		return refusal("The path '" + *path + "' of " + what + " must start with '/'")
	}
	return nil
}

// validateCommand checks the environment of a command (SCH-180).
func validateCommand(c *v1.CommandInfo) error {
	for _, v := range c.GetEnvironment().GetVariables() {
		if err := validateVariable(v); err != nil {
			return err
		}
	}
	return nil
}

func validateVariable(v *v1.Environment_Variable) error {
	name := "Environment variable '" + v.GetName() + "' "
	switch v.GetType() {
	case v1.Environment_Variable_VALUE:
		if v.Value == nil {
			return refusal(name + "of type 'VALUE' must have a value set")
		}
		if v.Secret != nil {
			return refusal(name + "of type 'VALUE' must not have a secret set")
		}
	case v1.Environment_Variable_SECRET:
		if v.Secret == nil {
			return refusal(name + "of type 'SECRET' must have a secret set")
		}
		if v.Value != nil {
			return refusal(name + "of type 'SECRET' must not have a value set")
		}
		if err := validateSecret(v.Secret); err != nil {
			return refusal(name + "specifies an invalid secret: " + err.Error())
		}
		if bytes.IndexByte(v.Secret.GetValue().GetData(), 0) >= 0 {
			return refusal(name + "specifies a secret containing null bytes, which is not allowed in the environment")
		}
	default:
		return refusal("Environment variable of type 'UNKNOWN' is not allowed")
	}
	return nil
}

func validateSecret(s *v1.Secret) error {
	switch s.GetType() {
	case v1.Secret_REFERENCE:
		if s.Reference == nil {
			return refusal("Secret of type REFERENCE must have the 'reference' field set")
		}
		if s.Value != nil {
			return refusal("Secret '" + s.GetReference().GetName() + "' of type REFERENCE must not have the 'value' field set")
		}
	case v1.Secret_VALUE:
		if s.Value == nil {
			return refusal("Secret of type VALUE must have the 'value' field set")
		}
		if s.Reference != nil {
			return refusal("Secret of type VALUE must not have the 'reference' field set")
		}
	default:
		return refusal("Secret of type UNKNOWN is not allowed")
	}
	return nil
}

// validateContainer checks volumes and the parts that a type needs (SCH-181).
func validateContainer(c *v1.ContainerInfo) error {
	if c == nil {
		return nil
	}
	for _, v := range c.GetVolumes() {
		if err := validateVolume(v); err != nil {
			return refusal("Invalid volume: " + err.Error())
		}
	}
	if c.GetType() == v1.ContainerInfo_DOCKER {
		if c.Docker == nil {
			return refusal("DockerInfo 'docker' is not set for DOCKER typed ContainerInfo")
		}
		for _, p := range c.GetDocker().GetParameters() {
			if p.GetKey() == "name" {
				return refusal("Parameter in DockerInfo must not be 'name'")
			}
		}
	}
	return nil
}

func validateVolume(v *v1.Volume) error {
	set := 0
	for _, is := range []bool{v.HostPath != nil, v.Image != nil, v.Source != nil} {
		if is {
			set++
		}
	}
	if set != 1 {
		return refusal("Only one of them should be set: 'host_path', 'image' and 'source'")
	}
	s := v.Source
	if s == nil {
		return nil
	}
	missing := ""
	switch s.GetType() {
	case v1.Volume_Source_DOCKER_VOLUME:
		if s.DockerVolume == nil {
			missing = "docker_volume"
		}
	case v1.Volume_Source_HOST_PATH:
		if s.HostPath == nil {
			missing = "host_path"
		}
	case v1.Volume_Source_SANDBOX_PATH:
		if s.SandboxPath == nil {
			missing = "sandbox_path"
		}
	case v1.Volume_Source_SECRET:
		if s.Secret == nil {
			missing = "secret"
		}
	case v1.Volume_Source_CSI_VOLUME:
		if s.CsiVolume == nil {
			missing = "csi_volume"
		}
	default:
		return refusal("'source.type' is unknown")
	}
	if missing != "" {
		return refusalf("'source.%s' is not set for %s volume", missing, s.GetType())
	}
	return nil
}
