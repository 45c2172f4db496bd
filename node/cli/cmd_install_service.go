package cli

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"clusterd/node"
)

const unitName = "clusterd.service"

// machine is where the service is installed.
type machine struct {
	uid    int
	booted string // directory that is there if and only if systemd runs the machine (sd_booted(3))
	unit   string // path of the unit
	config string // path of the settings that are given as flags
	// patience is how long a node that was started may take until it answers.
	patience time.Duration
}

func thisMachine() machine {
	return machine{
		uid: os.Geteuid(), booted: "/run/systemd/system", unit: "/etc/systemd/system/" + unitName,
		config: "/etc/clusterd/clusterd.yaml", patience: 30 * time.Second,
	}
}

// serviceFlags are those of install-service that are no setting of the node.
type serviceFlags struct{ now, print, force, uninstall bool }

func newInstallServiceCommand(m machine) *cobra.Command {
	cfg := node.DefaultConfig()
	var do serviceFlags
	cmd := &cobra.Command{
		Use:   "install-service",
		Short: "Let systemd run this machine's node",
		Long: `Write a unit of systemd that runs clusterd start with this program, and have it started with the machine. Every
setting of clusterd start can be given as a flag: they are written to ` + m.config + `; or name a file or
directory of settings with --config. With --join and --token-file the node joins a cluster at its first start.
Settings in the environment are not taken over.

Tasks go on when the service is stopped or restarted, and so when this program is replaced by a newer version: the
next start finds them again. What this command would change of what somebody has written it leaves alone, and says so.
To remove the service for good: clusterd leave --drain, then clusterd install-service --uninstall; settings and data stay.`,
		Example: `  clusterd install-service --now
  clusterd install-service --now --join 10.0.0.1 --token-file /root/clusterd.token --attributes 'rack:r1'
  clusterd install-service --config /etc/clusterd.yaml --print
  clusterd install-service --uninstall`,
		GroupID: "node",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if do.uninstall {
				return m.uninstall(cmd, do)
			}
			return m.install(cmd, &cfg, do)
		},
	}
	cfg.AddFlags(cmd.Flags())
	cfg.AddClusterFlags(cmd.Flags())
	cmd.Flags().BoolVar(&do.now, "now", false, "start the node now too, or restart it if the unit has changed")
	cmd.Flags().BoolVar(&do.print, "print", false, "only print what would be written")
	cmd.Flags().BoolVarP(&do.force, "force", "f", false, "replace or remove files that somebody has changed")
	cmd.Flags().BoolVar(&do.uninstall, "uninstall", false, "stop the node and remove the unit")
	return cmd
}

// serviceFile is a file to write. shown is its text without secrets.
type serviceFile struct {
	path, text, shown string
	mode              os.FileMode
}

// installation is all that is to be written.
type installation struct {
	files   []serviceFile // the unit is the last
	dataDir string
}

func (m machine) install(cmd *cobra.Command, cfg *node.Config, do serviceFlags) error {
	if do.print && do.now {
		return usageError{errors.New("--print: starts nothing; leave --now out")}
	}
	if !do.print {
		if err := m.check(); err != nil {
			return err
		}
	}
	in, err := m.plan(cmd.Flags(), cfg)
	if err != nil {
		return err
	}
	for _, name := range strayVariables(os.Environ()) {
		note(cmd, "%s is set here, but not for the service: give it as a flag if the service is to have it", name)
	}
	if do.print {
		return in.print(cmd)
	}
	changed, err := in.write(cmd, do.force)
	if err != nil {
		return err
	}
	if err := systemctl(cmd.Context(), "daemon-reload"); err != nil {
		return err
	}
	if err := systemctl(cmd.Context(), "enable", unitName); err != nil {
		return err
	}
	if !do.now {
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "The node starts with this machine. To start it now, or again with what has changed: systemctl restart clusterd\n")
		return err
	}
	return m.start(cmd, in.dataDir, changed)
}

// plan says what is to be written for the flags of the command line. It changes nothing.
func (m machine) plan(flags *pflag.FlagSet, cfg *node.Config) (*installation, error) {
	defaults := node.DefaultConfig()
	given, err := givenSettings(flags, defaults.NewFlagSet("known"))
	if err != nil {
		return nil, usageError{err}
	}
	file := serviceFile{path: cfg.ConfigPath, mode: 0o644}
	ours := file.path == ""
	switch {
	case !ours && len(given) > 0:
		return nil, usageError{fmt.Errorf("--%s: is for the settings too: write it into %s, or leave --config out", given[0].name, file.path)}
	case ours:
		file.path = m.config
	}
	if file.path, err = filepath.Abs(file.path); err != nil {
		return nil, fmt.Errorf("--config: %w", err)
	}
	if _, err := os.Stat(file.path); ours && len(given) == 0 && err == nil { // those of an earlier time hold
		ours = false
		if err := flags.Set("config", file.path); err != nil {
			return nil, err
		}
	}
	sources, err := node.ApplySources(flags, nil)
	if err := errors.Join(err, cfg.Validate()); err != nil {
		return nil, usageError{err}
	}
	in := &installation{dataDir: cfg.DataDir}
	if ours {
		secret := make(map[string]bool)
		for _, s := range sources.Settings {
			secret[s.Name] = s.Secret
		}
		if slices.ContainsFunc(given, func(s serviceSetting) bool { return secret[s.name] }) {
			file.mode = 0o600
		}
		if file.text, err = settingsText(given, nil); err != nil {
			return nil, err
		}
		if file.shown, err = settingsText(given, secret); err != nil {
			return nil, err
		}
		in.files = append(in.files, file)
		if in.dataDir, err = filepath.Abs(in.dataDir); err != nil {
			return nil, fmt.Errorf("--data-dir: %w", err)
		}
	}
	if !filepath.IsAbs(in.dataDir) {
		return nil, fmt.Errorf("%s: data-dir: %q is not absolute, and the service runs in another directory", file.path, in.dataDir)
	}
	program, err := programPath()
	if err != nil {
		return nil, err
	}
	text, err := unit(program, in.dataDir, file.path, systemdVersion())
	in.files = append(in.files, serviceFile{path: m.unit, text: text, shown: text, mode: 0o644})
	return in, err
}

// programPath is this program by the name that it was called by, so that a link that upgrades move is kept.
func programPath() (string, error) {
	path, err := os.Executable()
	if err != nil {
		return "", fmt.Errorf("path of this program: %w", err)
	}
	self, err := os.Stat(path)
	if err != nil {
		return "", fmt.Errorf("path of this program: %w: was it replaced just now?", err)
	}
	if called, err := exec.LookPath(os.Args[0]); err == nil {
		if st, err := os.Stat(called); err == nil && os.SameFile(st, self) {
			return filepath.Abs(called)
		}
	}
	return path, nil
}

// systemdVersion is the version of the systemd of this machine. If it cannot be told, because there is none,
// the unit that is shown is for one of these days.
func systemdVersion() int {
	out, err := exec.Command("systemctl", "--version").Output()
	if fields := strings.Fields(string(out)); err == nil && len(fields) > 1 {
		if v, err := strconv.Atoi(fields[1]); err == nil {
			return v
		}
	}
	return backOffSince
}

// strayVariables are the variables that clusterd start would take for settings.
func strayVariables(environ []string) []string {
	defaults := node.DefaultConfig()
	known := defaults.NewFlagSet("known")
	var names []string
	for _, variable := range environ {
		name, _, _ := strings.Cut(variable, "=")
		for _, prefix := range []string{"CLUSTERD_", "MESOS_"} {
			if setting, ok := strings.CutPrefix(name, prefix); ok {
				if f := known.Lookup(setting); f != nil && !f.Hidden {
					names = append(names, name)
				}
			}
		}
	}
	slices.Sort(names)
	return names
}

// check says why no service can be installed here, if so.
func (m machine) check() error {
	if st, err := os.Stat(m.booted); err != nil || !st.IsDir() {
		return fmt.Errorf("systemd does not run this machine (%s is not there): have clusterd start run by what does; --print shows how it would be done", m.booted)
	}
	if m.uid != 0 {
		return fmt.Errorf("only root may change %s: run it as root; --print shows what would be done", m.unit)
	}
	return nil
}

// print shows the files, each under a line with its name.
func (in *installation) print(cmd *cobra.Command) error {
	for i, f := range in.files {
		space := ""
		if i > 0 {
			space = "\n"
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "%s# %s\n%s", space, f.path, f.shown); err != nil {
			return err
		}
	}
	return nil
}

// write writes what is not there yet. It writes nothing at all if something else is there, unless force is
// given.
func (in *installation) write(cmd *cobra.Command, force bool) (changed bool, err error) {
	var news []serviceFile
	var errs []error
	for _, f := range in.files {
		old, err := os.ReadFile(f.path)
		switch {
		case err == nil && string(old) == f.text:
			continue
		case err == nil && !force:
			errs = append(errs, fmt.Errorf("%s is there, and differs from what would be written (--print shows that): replace it with --force", f.path))
		case err != nil && !errors.Is(err, os.ErrNotExist):
			errs = append(errs, err)
		}
		news = append(news, f)
	}
	if err := errors.Join(errs...); err != nil {
		return false, err
	}
	for _, f := range news {
		if err := writeWhole(f); err != nil {
			return false, err
		}
		if _, err := fmt.Fprintf(cmd.OutOrStdout(), "Written: %s\n", f.path); err != nil {
			return false, err
		}
	}
	return len(news) > 0, nil
}

// writeWhole writes a file aside and gives it its name when all of it is on the disk.
func writeWhole(f serviceFile) (err error) {
	dir := filepath.Dir(f.path)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	out, err := os.CreateTemp(dir, "."+filepath.Base(f.path)+".partial-")
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(out.Name()))
		}
	}()
	_, err = out.WriteString(f.text)
	if err = errors.Join(err, out.Chmod(f.mode), out.Sync(), out.Close()); err != nil {
		return err
	}
	if err := os.Rename(out.Name(), f.path); err != nil {
		return err
	}
	return syncDir(dir)
}

// start starts the service and waits until its node answers. It does not start one beside a node that was
// started in another way.
func (m machine) start(cmd *cobra.Command, dataDir string, changed bool) error {
	ctx := cmd.Context()
	socket := filepath.Join(dataDir, node.SocketName)
	active := systemctl(ctx, "is-active", "--quiet", unitName) == nil
	if !active && answers(ctx, socket) {
		return fmt.Errorf("--now: a node runs with %s already, but not as a service: stop it (its tasks go on), then: systemctl start clusterd", dataDir)
	}
	verb := "start"
	if changed {
		verb = "restart"
	}
	if err := systemctl(ctx, verb, unitName); err != nil {
		return err
	}
	within, cancel := context.WithTimeout(ctx, m.patience)
	defer cancel()
	if err := watch(within, func() (bool, error) { return answers(within, socket), nil }); err != nil {
		return fmt.Errorf("the service is started, but its node does not answer after %s: journalctl -u clusterd says why; it is tried again and again", m.patience)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "The node runs, and starts with this machine. Its log: journalctl -u clusterd\nOther machines join with the line that this prints: clusterd token --data-dir %s\n", dataDir)
	return err
}

// answers says whether a node is at the socket.
func answers(ctx context.Context, socket string) bool {
	conn, err := dialSocket(ctx, socket)
	if err != nil {
		return false
	}
	_ = conn.Close() // nothing was said
	return true
}

func (m machine) uninstall(cmd *cobra.Command, do serviceFlags) error {
	var others []string
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Name != "uninstall" && f.Name != "force" {
			others = append(others, "--"+f.Name)
		}
	})
	if len(others) > 0 {
		return usageError{fmt.Errorf("--uninstall: only --force can be given too, not %s", strings.Join(others, ", "))}
	}
	if err := m.check(); err != nil {
		return err
	}
	text, err := os.ReadFile(m.unit)
	switch {
	case errors.Is(err, os.ErrNotExist):
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "No service is installed: %s is not there\n", m.unit)
		return err
	case err != nil:
		return err
	case !strings.HasPrefix(string(text), unitMark) && !do.force:
		return fmt.Errorf("%s was not written by this command: remove it with --force", m.unit)
	}
	if err := systemctl(cmd.Context(), "disable", "--now", unitName); err != nil {
		return err
	}
	if err := os.Remove(m.unit); err != nil {
		return err
	}
	if err := syncDir(filepath.Dir(m.unit)); err != nil {
		return err
	}
	if err := systemctl(cmd.Context(), "daemon-reload"); err != nil {
		return err
	}
	_, err = fmt.Fprintf(cmd.OutOrStdout(), "The node is stopped, and %s is removed. Settings, data and running tasks of checkpointing frameworks are left as they are.\n", m.unit)
	return err
}

// systemctl asks systemd for something. The error is what it says.
func systemctl(ctx context.Context, args ...string) error {
	out, err := exec.CommandContext(ctx, "systemctl", args...).CombinedOutput()
	if err == nil {
		return nil
	}
	if text := strings.TrimSpace(string(out)); text != "" {
		err = errors.New(text)
	}
	return fmt.Errorf("systemctl %s: %w", strings.Join(args, " "), err)
}
