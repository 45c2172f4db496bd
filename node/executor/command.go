package executor

import (
	"errors"
	"fmt"
	"strings"

	v1 "clusterd/node/mesos/v1"
)

// command turns a CommandInfo into what to start (EXE-42 to EXE-47), with the names of the
// variables that it sets over the agent's. The agent has settled the user.
func (c *core) command(info *v1.CommandInfo) (command Command, overwritten []string, err error) {
	command = Command{Dir: c.s.sandbox, User: info.GetUser()}
	switch {
	case info.GetValue() == "" && info.GetShell():
		return command, nil, errors.New("'command.value' holds no shell command")
	case info.GetValue() == "":
		return command, nil, errors.New("'command.value' names no executable")
	case info.GetShell():
		command.Path, command.Args = "/bin/sh", []string{"sh", "-c", info.GetValue()}
	default:
		command.Path, command.Args = info.GetValue(), info.GetArguments()
		if len(command.Args) == 0 {
			command.Args = []string{info.GetValue()}
		}
	}
	command.Env, overwritten, err = overlay(c.s.env, info.GetEnvironment())
	return command, overwritten, err
}

// overlay puts the variables of a command over those that the agent gave; a later one wins
// (EXE-40).
func overlay(env []string, over *v1.Environment) (result, overwritten []string, err error) {
	place := map[string]int{}
	for _, entry := range env {
		name, _, _ := strings.Cut(entry, "=")
		place[name] = len(result)
		result = append(result, entry)
	}
	for _, v := range over.GetVariables() {
		name, value := v.GetName(), v.GetValue()
		if v.GetType() == v1.Environment_Variable_SECRET {
			if v.GetSecret().GetType() != v1.Secret_VALUE {
				return nil, nil, fmt.Errorf("environment variable '%s' is a secret of type %s, which cannot be resolved", name, v.GetSecret().GetType())
			}
			value = string(v.GetSecret().GetValue().GetData())
		}
		if name == "" || strings.ContainsAny(name, "=\x00") || strings.Contains(value, "\x00") {
			return nil, nil, fmt.Errorf("environment variable '%s' cannot be set: name and value must not hold NUL, the name not be empty nor hold '='", name)
		}
		if i, ok := place[name]; ok {
			overwritten = append(overwritten, name)
			result[i] = name + "=" + value
			continue
		}
		place[name] = len(result)
		result = append(result, name+"="+value)
	}
	return result, overwritten, nil
}
