package cli

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/pflag"
	"go.yaml.in/yaml/v4"
)

// The first lines of the files that install-service writes. The one of the unit tells it from a unit that
// somebody else has made.
const (
	unitMark     = "# Written by clusterd install-service."
	settingsHead = `# Settings of clusterd start, for the service. Change them here, then: systemctl restart clusterd
# Which there are: clusterd start --help. Are they right: clusterd config check --config FILE
`
)

// unitText is the unit of a node. What stands in it besides the paths is for one end: containers outlive
// the daemon, however it ends, and are not touched by what systemd does to its unit.
//
// Cgroups of containers lie below --cgroups-root, not below the unit. With cgroup version 2 the processes
// of containers are forked into theirs and systemd counts none of them to the unit. With version 1, and
// for plain processes, shims and tasks stay in the unit as far as systemd keeps count of it.
const unitText = unitMark + ` Changes are better made with: systemctl edit clusterd
[Unit]
Description=clusterd node
Wants=network-online.target
After=network-online.target
RequiresMountsFor=%[2]s %[3]s
# It is tried again for ever: a machine that is cut off for an hour comes back by itself.
StartLimitIntervalSec=0

[Service]
Type=exec
ExecStart=%[1]s start --config %[3]s
# The first start of a cluster prints a join token: it must not stand in the journal. The log goes to stderr.
StandardOutput=null
StandardError=journal

Restart=on-failure
RestartSec=2s
%[4]s
# Containers outlive the daemon: at a stop, a restart or a crash only its main process is ended, and the next start
# finds the rest. Delegate= keeps systemd from moving their processes to other cgroups when it is reloaded
# (version 1), and keeps the controllers switched on above --cgroups-root (version 2).
KillMode=process
Delegate=yes
# A task that runs out of memory is no failure of the node.
OOMPolicy=continue
OOMScoreAdjust=-900
TasksMax=infinity

# The daemon raises its own limit to the second number; tasks begin with the first.
LimitNOFILE=1024:1048576
# Its memory holds keys: no core dumps. Tasks may raise the limit.
LimitCORE=0:infinity

# More hardening would harm tasks: they inherit NoNewPrivileges=, SystemCallFilter=, CapabilityBoundingSet= and the
# like, and what PrivateTmp=, ProtectSystem=, ProtectHome= or PrivateDevices= do to the daemon's file system would
# become the file system of all containers, another one after each restart.

[Install]
WantedBy=multi-user.target
`

// backOff makes each pause before another try longer than the one before.
const backOff = `# Each pause is longer than the one before.
RestartSteps=6
RestartMaxDelaySec=1min
`

// backOffSince is the version of systemd that knows backOff. An older one would complain of it at each
// reload; its pauses are all the same.
const backOffSince = 254

// unit is the text of the unit that runs program with the settings of config, for a version of systemd.
func unit(program, dataDir, config string, systemd int) (string, error) {
	for _, path := range []string{program, dataDir, config} {
		if !utf8.ValidString(path) || strings.ContainsFunc(path, unicode.IsControl) || strings.Contains(path, "$") || path == program && strings.ContainsAny(path, `"'\`) {
			return "", fmt.Errorf("%q has a character that a unit of systemd cannot have there", path)
		}
	}
	pauses := ""
	if systemd >= backOffSince {
		pauses = backOff
	}
	return fmt.Sprintf(unitText, unitWord(program), unitWord(dataDir), unitWord(config), pauses), nil
}

// unitWord writes a path as one word of a unit: quoted where it must be (systemd.syntax(7)), and with
// nothing that systemd would replace (systemd.unit(5), specifiers).
func unitWord(path string) string {
	path = strings.ReplaceAll(path, "%", "%%")
	if !strings.ContainsAny(path, " \\\"';") {
		return path
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(path) + `"`
}

// serviceSetting is a setting that was given on the command line for the service.
type serviceSetting struct {
	name string
	kind string // of the flag's value
	text string
	list []string // instead of text
}

// pathFlags are settings that are a path of a file or a directory.
var pathFlags = map[string]bool{"data-dir": true, "token-file": true, "frameworks-home": true}

// givenSettings are the settings among the flags of the command line, as they were written but for paths:
// the service runs in another directory. known are all settings that there are.
func givenSettings(flags, known *pflag.FlagSet) ([]serviceSetting, error) {
	var all []serviceSetting
	var errs []error
	flags.Visit(func(f *pflag.Flag) {
		if known.Lookup(f.Name) == nil || f.Name == "config" {
			return
		}
		s := serviceSetting{name: f.Name, kind: f.Value.Type(), text: f.Value.String()}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			s.list = list.GetSlice()
		}
		var err error
		if path, ok := strings.CutPrefix(s.text, "file://"); ok {
			if !filepath.IsAbs(path) {
				err = fmt.Errorf("%s: %q is not absolute, and the service runs in another directory", s.text, path)
			}
		} else if pathFlags[f.Name] && s.text != "" {
			s.text, err = filepath.Abs(s.text)
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("--%s: %w", f.Name, err))
		}
		all = append(all, s)
	})
	return all, errors.Join(errs...)
}

// settingsText is a file of settings for --config. Values of the settings in hidden are left out.
func settingsText(given []serviceSetting, hidden map[string]bool) (string, error) {
	if len(given) == 0 {
		return settingsHead, nil
	}
	top := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range given {
		value := &yaml.Node{Kind: yaml.ScalarNode, Value: s.text}
		switch {
		case hidden[s.name]:
			value.Value = "(not shown)"
		case s.list != nil:
			value = &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
			for _, e := range s.list {
				value.Content = append(value.Content, &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: e})
			}
		case s.kind == "bool" || s.kind == "int" || s.kind == "float64":
		default:
			value.Tag = "!!str" // quoted where it would be read as something else
		}
		top.Content = append(top.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: s.name}, value)
	}
	var b bytes.Buffer
	b.WriteString(settingsHead)
	enc := yaml.NewEncoder(&b)
	if err := errors.Join(enc.Encode(top), enc.Close()); err != nil {
		return "", err
	}
	return b.String(), nil
}
