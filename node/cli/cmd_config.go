package cli

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"clusterd/node"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "config",
		Short:   "Look at the settings of a node",
		Long:    "Look at the settings of a node.",
		Example: "  clusterd config check --config /etc/clusterd.yaml",
		GroupID: "node",
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return usageError{fmt.Errorf("unknown command %q: check is known", args[0])}
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newConfigCheckCommand())
	return cmd
}

// settingsReport is the answer of config check.
type settingsReport struct {
	Valid    bool           `json:"valid"`
	Errors   []string       `json:"errors"`
	Warnings []string       `json:"warnings"`
	Settings []settingEntry `json:"settings"`
}

type settingEntry struct {
	Name  string `json:"name"`
	Value string `json:"value"` // set or not set for a secret
	From  string `json:"from"`
	Where string `json:"where,omitempty"`
}

func newConfigCheckCommand() *cobra.Command {
	cfg := node.DefaultConfig()
	a := &admin{}
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Check the settings of a node and print them",
		Long: `Check all settings that clusterd start would have with the same flags, in the same environment and with the same
--config, and print them, each with where it comes from. Every setting is a flag of clusterd start. It can be given, in this
order of precedence, on the command line (--gc-delay 2days), in the environment (CLUSTERD_GC_DELAY=2days), or in --config:
a YAML or JSON file (gc_delay: 2days), or a directory in which a file of each name holds the value. In names _ and - are
the same. A value file://PATH stands for the content of that file. Nothing is started or changed.`,
		Example: "  clusterd config check --config /etc/clusterd.yaml\n  CLUSTERD_CONFIG=/etc/clusterd.d clusterd config check -o json",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			sources, err := node.ApplySources(cmd.Flags(), os.Environ())
			r := report(sources, errors.Join(err, cfg.Validate()))
			asJSON, err := a.json()
			if err != nil {
				return err
			}
			if asJSON {
				err = writeJSON(cmd.OutOrStdout(), r)
			} else {
				err = writeSettings(cmd, r)
			}
			if err == nil && !r.Valid {
				return exitError{1}
			}
			return err
		},
	}
	cfg.AddFlags(cmd.Flags())
	cfg.AddClusterFlags(cmd.Flags())
	a.addFormat(cmd)
	return cmd
}

func report(sources *node.Sources, err error) settingsReport {
	r := settingsReport{Valid: err == nil, Errors: []string{}, Warnings: append([]string{}, sources.Warnings...)}
	if err != nil {
		r.Errors = strings.Split(err.Error(), "\n")
	}
	for _, s := range sources.Settings {
		e := settingEntry{Name: s.Name, Value: s.Value, From: s.From, Where: s.Where}
		if s.Secret && s.Set {
			e.Value = "set"
		} else if s.Secret {
			e.Value = "not set"
		}
		r.Settings = append(r.Settings, e)
	}
	return r
}

// writeSettings prints the settings, and the faults beside the output.
func writeSettings(cmd *cobra.Command, r settingsReport) error {
	t := newTable(cmd.OutOrStdout(), "SETTING", "VALUE", "FROM")
	for _, s := range r.Settings {
		from := s.From
		if s.Where != "" {
			from += " " + s.Where
		}
		t.row(s.Name, s.Value, from)
	}
	if err := t.flush(); err != nil {
		return err
	}
	return writeFaults(cmd.ErrOrStderr(), r)
}

func writeFaults(out io.Writer, r settingsReport) error {
	for _, w := range r.Warnings {
		if _, err := fmt.Fprintln(out, "warning:", w); err != nil {
			return err
		}
	}
	for _, e := range r.Errors {
		if _, err := fmt.Fprintln(out, "error:", e); err != nil {
			return err
		}
	}
	return nil
}
