package node

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/pflag"
)

// Where a setting came from, in the order in which they win (CLU-9).
const (
	FromFlag        = "flag"
	FromEnvironment = "environment"
	FromFile        = "file"
	FromDefault     = "default"
)

// Setting is one effective setting and where it came from.
type Setting struct {
	Name   string // of the flag, without dashes before it
	Value  string // "" for a secret
	Secret bool
	Set    bool   // it has a value
	From   string // FromFlag, FromEnvironment, FromFile or FromDefault
	Where  string // --NAME, name of the variable, or FILE:LINE; "" for a default
}

// Sources are the effective settings of a node.
type Sources struct {
	// Settings in the order of their names.
	Settings []Setting
	// Warnings are about variables that look like misspelt settings.
	Warnings []string
}

// NewFlagSet returns the flags of every setting, which change c.
func (c *Config) NewFlagSet(name string) *pflag.FlagSet {
	fs := pflag.NewFlagSet(name, pflag.ContinueOnError)
	c.AddFlags(fs)
	c.AddClusterFlags(fs)
	return fs
}

// ApplySources sets each flag that the command line left alone from the environment (CLUSTERD_NAME, or
// else MESOS_NAME), or else from the file or directory that --config names. environ is in the form of
// os.Environ. Settings that fs does not have, but another command does, are passed over. The error
// names every fault, and the source of each. A value file://PATH stands for the content of that file, as
// in Mesos.
func ApplySources(fs *pflag.FlagSet, environ []string) (*Sources, error) {
	defaults := DefaultConfig()
	a := &applier{fs: fs, known: defaults.NewFlagSet("known"), where: make(map[string][2]string)}
	fs.Visit(func(f *pflag.Flag) { a.where[f.Name] = [2]string{FromFlag, "--" + f.Name} })
	variables, warnings := a.environment(environ)
	a.errs = append(a.errs, a.applyAll(FromEnvironment, variables)...)
	if config := fs.Lookup(configFlag); config != nil && config.Value.String() != "" {
		values, err := readConfig(config.Value.String())
		if err != nil {
			a.errs = append(a.errs, fmt.Errorf("--%s: %w", configFlag, err))
		}
		a.errs = append(a.errs, a.applyAll(FromFile, values)...)
	}
	a.expandFiles()
	return &Sources{Settings: a.settings(), Warnings: warnings}, errors.Join(a.errs...)
}

const configFlag = "config"

// given is one value as a source has it.
type given struct {
	name  string // as it is written there
	where string
	text  string
	list  []string // instead of text
}

type applier struct {
	fs    *pflag.FlagSet
	known *pflag.FlagSet // all settings that there are
	where map[string][2]string
	errs  []error
}

// environment returns the variables that are settings, CLUSTERD_ before MESOS_, and warnings for those
// that look like one. Other programs may have variables that begin alike (Kubernetes makes
// CLUSTERD_SERVICE_HOST for a service of this name): they are no errors.
func (a *applier) environment(environ []string) (values []given, warnings []string) {
	for _, prefix := range []string{"CLUSTERD_", "MESOS_"} {
		for _, variable := range environ {
			name, value, _ := strings.Cut(variable, "=")
			setting, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			canonical := a.name(setting)
			switch {
			case canonical == "master": // for commands that look for the leading master
			case canonical == configFlag && prefix == "MESOS_":
			case a.known.Lookup(canonical) != nil:
				values = append(values, given{name: setting, where: name, text: value})
			case prefix == "CLUSTERD_":
				if near := a.nearest(canonical); near != "" {
					warnings = append(warnings, fmt.Sprintf("environment variable %s is no setting: did you mean %s?", name, variableName(near)))
				}
			}
		}
	}
	slices.Sort(warnings)
	return values, warnings
}

func variableName(flag string) string {
	return "CLUSTERD_" + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

func (a *applier) name(s string) string { return string(NormalizeFlag(a.fs, s)) }

// applyAll sets what no source before has set. Of the environment a second value for the same setting
// is passed over, of a file it is a fault.
func (a *applier) applyAll(from string, values []given) (errs []error) {
	seen := make(map[string]string)
	for _, v := range values {
		name := a.name(v.name)
		if err := a.check(from, name, v); err != nil {
			errs = append(errs, err)
			continue
		}
		if before, ok := seen[name]; ok {
			if from == FromFile {
				errs = append(errs, fmt.Errorf("%s: %s stands in %s already", v.where, name, before))
			}
			continue
		}
		seen[name] = v.where
		f := a.fs.Lookup(name)
		if _, ok := a.where[name]; ok || f == nil {
			continue
		}
		if err := v.set(f); err != nil {
			errs = append(errs, fmt.Errorf("%s: --%s: %w", v.where, name, err))
			continue
		}
		f.Changed = true
		a.where[name] = [2]string{from, v.where}
	}
	return errs
}

// check refuses names that are no setting.
func (a *applier) check(from, name string, v given) error {
	switch {
	case isRefused(name):
		return fmt.Errorf("%s: %w", v.where, refusal(name))
	case name == configFlag && from == FromFile:
		return fmt.Errorf("%s: config is for the command line and %s only", v.where, variableName(configFlag))
	case a.known.Lookup(name) != nil:
		return nil
	}
	if near := a.nearest(name); near != "" {
		return fmt.Errorf("%s: %q is no setting: did you mean %q?", v.where, v.name, near)
	}
	return fmt.Errorf("%s: %q is no setting (clusterd config check lists all)", v.where, v.name)
}

// set gives f the value.
func (v given) set(f *pflag.Flag) error {
	if v.list == nil {
		err := f.Value.Set(v.text)
		if _, ok := errors.AsType[*strconv.NumError](err); ok {
			return fmt.Errorf("%q is not %s", v.text, map[string]string{"bool": "true or false", "int": "a whole number", "float64": "a number"}[f.Value.Type()])
		}
		return err
	}
	s, ok := f.Value.(pflag.SliceValue)
	if !ok {
		return errors.New("a list is not allowed here")
	}
	return s.Replace(v.list)
}

// expandFiles replaces values file://PATH by what the file holds.
func (a *applier) expandFiles() {
	a.fs.VisitAll(func(f *pflag.Flag) {
		text := f.Value.String()
		if s, ok := f.Value.(pflag.SliceValue); ok {
			text = strings.Join(s.GetSlice(), ",")
		}
		path, ok := strings.CutPrefix(text, "file://")
		if _, changed := a.where[f.Name]; !ok || !changed || a.known.Lookup(f.Name) == nil {
			return
		}
		content, err := readBounded(path)
		if err == nil {
			err = replace(f, strings.TrimSpace(content))
		}
		if err != nil {
			a.errs = append(a.errs, fmt.Errorf("--%s: %w", f.Name, err))
		}
	})
}

func replace(f *pflag.Flag, text string) error {
	if s, ok := f.Value.(pflag.SliceValue); ok {
		return s.Replace(strings.Split(text, ","))
	}
	return f.Value.Set(text)
}

// maxConfigBytes bounds each file of settings.
const maxConfigBytes = 1 << 20

func readBounded(path string) (string, error) {
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.Size() > maxConfigBytes {
		return "", fmt.Errorf("%s has %d bytes: at most %d are allowed", path, st.Size(), maxConfigBytes)
	}
	content, err := os.ReadFile(path)
	return string(content), err
}

func (a *applier) settings() []Setting {
	var all []Setting
	a.fs.VisitAll(func(f *pflag.Flag) {
		if a.known.Lookup(f.Name) == nil || isRefused(f.Name) {
			return
		}
		s := Setting{Name: f.Name, Value: f.Value.String(), Secret: isSecret(f), From: FromDefault}
		if list, ok := f.Value.(pflag.SliceValue); ok {
			s.Value = strings.Join(list.GetSlice(), ",")
		}
		if where, ok := a.where[f.Name]; ok {
			s.From, s.Where = where[0], where[1]
		}
		s.Set = s.Value != ""
		if s.Secret {
			s.Value = ""
		}
		all = append(all, s)
	})
	return all
}

// nearest is the setting that name may be a misspelling of, "" if none is near.
func (a *applier) nearest(name string) string {
	best, limit := "", len(name)/3+1
	a.known.VisitAll(func(f *pflag.Flag) {
		if d := distance(name, f.Name); d < limit && !isRefused(f.Name) {
			best, limit = f.Name, d
		}
	})
	return best
}

// distance is the number of single characters to insert, remove or exchange (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // row i, column j
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			before, row[j+1] = row[j+1], min(row[j]+1, row[j+1]+1, before+cost)
		}
	}
	return row[len(b)]
}

// RefusedError is a flag of Mesos that clusterd has not, because there is nothing to set.
type RefusedError struct{ Flag, Why string }

func (e *RefusedError) Error() string { return "--" + e.Flag + ": " + e.Why }

// refused are flags that Mesos needs and that would do harm if they were silently taken (CLU-9).
var refused = map[string]string{
	"quorum": "is automatic: the cluster keeps its quorum by itself (--masters says how many masters it keeps)",
	"zk":     "is automatic: consensus is built in and there is no ZooKeeper (join a cluster with clusterd join PEER)",
	"master": "is automatic: a node finds the leading master by itself (join a cluster with clusterd join PEER)",
}

func isRefused(name string) bool { return refused[name] != "" }

// refusal is nil for a name that is not refused.
func refusal(name string) error {
	if why, ok := refused[name]; ok {
		return &RefusedError{name, why}
	}
	return nil
}

// refusedFlag is the value of a flag that cannot be set.
type refusedFlag string

func (r refusedFlag) Set(string) error { return refusal(string(r)) }
func (refusedFlag) String() string     { return "" }
func (refusedFlag) Type() string       { return "string" }

// addRefusedFlags declares the refused flags, hidden, so that their use is answered with the reason.
func addRefusedFlags(fs *pflag.FlagSet) {
	for name := range refused {
		fs.Var(refusedFlag(name), name, "")
		f := fs.Lookup(name)
		f.Hidden = true
		f.NoOptDefVal = "true"
	}
}
