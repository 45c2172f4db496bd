package node

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
)

func writeFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// apply runs the command line args, the environment and the files of a fresh directory, which DIR stands
// for in args, env and want.
func apply(t *testing.T, args, env []string, files map[string]string) (cfg Config, sources *Sources, dir string, err error) {
	t.Helper()
	dir = t.TempDir()
	writeFiles(t, dir, files)
	cfg = DefaultConfig()
	fs := cfg.NewFlagSet("test")
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "DIR", dir)
	}
	for i, e := range env {
		env[i] = strings.ReplaceAll(e, "DIR", dir)
	}
	if err := fs.Parse(args); err != nil {
		t.Fatal(err)
	}
	sources, err = ApplySources(fs, env)
	return cfg, sources, dir, err
}

// CLU-9: every source, their order, and the same meaning of '_' and '-'.
func TestSourcesOrder(t *testing.T) {
	file := `
# all kinds of values
gc_delay: 2days
cluster: from file
hostname: from file
node-name: n-file
roles: [a, b]
switch_user: false
masters: 5
resources:
  - {name: cpus, type: SCALAR, scalar: {value: 4}}
executor_environment_variables: {PATH: /bin}
`
	cfg, sources, dir, err := apply(t, []string{"--config", "DIR/c.yaml", "--node_name", "n-flag"},
		[]string{"CLUSTERD_HOSTNAME=from env", "CLUSTERD_NODE_NAME=n-env", "MESOS_CLUSTER=mesos env", "MESOS_HOSTNAME=mesos env", "CLUSTERD_MASTER=m1", "MESOS_MASTER=zk://z", "PATH=/bin"},
		map[string]string{"c.yaml": file})
	if err != nil {
		t.Fatal(err)
	}
	if err := cfg.Validate(); err != nil {
		t.Error(err)
	}
	if cfg.GCDelay != 48*time.Hour || cfg.Hostname != "from env" || cfg.Name != "n-flag" || cfg.Cluster != "mesos env" ||
		!slices.Equal(cfg.Roles, []string{"a", "b"}) || cfg.SwitchUser || cfg.Masters != 5 || cfg.LogLevel != "info" ||
		cfg.ExecutorEnvironment != `{"PATH":"/bin"}` || !strings.Contains(cfg.Resources, `"name":"cpus"`) {
		t.Errorf("%+v", cfg)
	}
	want := map[string][2]string{
		"node-name": {FromFlag, "--node-name"}, "hostname": {FromEnvironment, "CLUSTERD_HOSTNAME"}, "cluster": {FromEnvironment, "MESOS_CLUSTER"},
		"gc-delay": {FromFile, filepath.Join(dir, "c.yaml") + ":3"}, "roles": {FromFile, filepath.Join(dir, "c.yaml") + ":7"},
		"logging-level": {FromDefault, ""}, "config": {FromFlag, "--config"},
	}
	found := 0
	for _, s := range sources.Settings {
		if w, ok := want[s.Name]; ok {
			found++
			if s.From != w[0] || s.Where != w[1] {
				t.Errorf("%s comes from %q %q, want %q", s.Name, s.From, s.Where, w)
			}
		}
		if isRefused(s.Name) {
			t.Errorf("%s is among the settings", s.Name)
		}
	}
	if found != len(want) || !slices.IsSortedFunc(sources.Settings, func(a, b Setting) int { return strings.Compare(a.Name, b.Name) }) {
		t.Errorf("settings %+v", sources.Settings)
	}
}

// CLU-9: JSON, and a directory with one file for each flag as Mesos's packages have it.
func TestSourcesForms(t *testing.T) {
	for name, c := range map[string]struct {
		args  []string
		files map[string]string
	}{
		"json":      {[]string{"--config", "DIR/c.json"}, map[string]string{"c.json": "{\n\t\"gc-delay\": \"90s\",\n\t\"attributes\": \"rack:r1\", \"join\": [\"a\", \"b:1\"], \"switch_user\": false\n}"}},
		"yaml":      {[]string{"--config", "DIR/c"}, map[string]string{"c": "gc_delay: 90s\nattributes: rack:r1\njoin: a,b:1\nSWITCH-USER: false\n"}},
		"directory": {[]string{"--config", "DIR"}, map[string]string{"gc_delay": "90s\n", "attributes": " rack:r1\n", "join": "a,b:1", "?no-switch_user": "", ".hidden": "x", "gc_delay~": "x", "gc_delay.dpkg-old": "x"}},
		"variable":  {nil, map[string]string{"gc-delay": "90s", "attributes": "rack:r1", "join": "a,b:1", "switch_user": "0"}},
		"file://":   {[]string{"--attributes=file://DIR/text", "--join", "file://DIR/peers", "--gc-delay", "90s", "--switch-user=false"}, map[string]string{"text": "rack:r1\n", "peers": "a,b:1\n"}},
	} {
		var env []string
		if c.args == nil {
			env = []string{"CLUSTERD_CONFIG=DIR"}
		}
		cfg, _, _, err := apply(t, c.args, env, c.files)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if cfg.GCDelay != 90*time.Second || cfg.Attributes != "rack:r1" || !slices.Equal(cfg.Join, []string{"a", "b:1"}) || cfg.SwitchUser {
			t.Errorf("%s: %v %q %q %v", name, cfg.GCDelay, cfg.Attributes, cfg.Join, cfg.SwitchUser)
		}
	}
	if cfg, _, _, err := apply(t, []string{"--config", "DIR/empty"}, nil, map[string]string{"empty": "# nothing\n"}); err != nil || cfg.GCDelay != DefaultConfig().GCDelay {
		t.Errorf("empty file: %v", err)
	}
}

// CLU-9: all faults at once, with their places and the nearest name.
func TestSourcesFaults(t *testing.T) {
	for name, c := range map[string]struct {
		args, env []string
		files     map[string]string
		want      []string // in order; DIR is the directory
	}{
		"unknown": {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": "gc_dely: 1days\nquorum: 2\nxyzzy: 1\nzk: zk://a\nmaster: m1\n"}, []string{
			`DIR/c:1: "gc_dely" is no setting: did you mean "gc-delay"?`,
			"DIR/c:2: --quorum: is automatic: the cluster keeps its quorum by itself (--masters says how many masters it keeps)",
			`DIR/c:3: "xyzzy" is no setting (clusterd config check lists all)`,
			"DIR/c:4: --zk: is automatic: consensus is built in and there is no ZooKeeper (join a cluster with clusterd join PEER)",
			"DIR/c:5: --master: is automatic: a node finds the leading master by itself (join a cluster with clusterd join PEER)",
		}},
		"values": {[]string{"--config", "DIR/c"}, []string{"CLUSTERD_GC_DELAY=soon", "CLUSTERD_ZK=z", "MESOS_QUORUM=2"}, map[string]string{"c": "masters: three\nswitch_user: on\nweights:\ngc_disk_headroom: x\nlisten: *a\n"}, []string{
			`CLUSTERD_GC_DELAY: --gc-delay: "soon" is not a duration such as 15secs, 1mins or 2hrs`,
			"CLUSTERD_ZK: --zk: is automatic",
			"MESOS_QUORUM: --quorum: is automatic",
			"DIR/c: ",
		}},
		"types": {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": "masters: three\nswitch_user: on\nweights:\ngc_disk_headroom: x\nhostname: [a, b]\nlisten: {<<: {a: 1}}\n"}, []string{
			"DIR/c:3: weights: has no value", "DIR/c:6: listen: anchors and aliases are not allowed",
		}},
		"types 2": {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": "masters: three\nswitch_user: on\ngc_disk_headroom: x\nhostname: [a, b]\n"}, []string{
			`DIR/c:1: --masters: "three" is not a whole number`, `DIR/c:2: --switch-user: "on" is not true or false`,
			`DIR/c:3: --gc-disk-headroom: "x" is not a number`, "DIR/c:4: --hostname: a list is not allowed here",
		}},
		"twice":   {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": "gc_delay: 1days\ngc-delay: 2days\n"}, []string{"DIR/c:2: gc-delay stands in DIR/c:1 already"}},
		"nested":  {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": "config: other\n"}, []string{"DIR/c:1: config is for the command line and CLUSTERD_CONFIG only"}},
		"no map":  {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": "- a\n"}, []string{"--config: DIR/c:1: is not a mapping of settings to values, such as 'gc-delay: 2days'"}},
		"missing": {[]string{"--config", "DIR/none"}, nil, nil, []string{"--config: stat DIR/none: no such file or directory"}},
		"text":    {[]string{"--attributes", "file://DIR/none"}, nil, nil, []string{"--attributes: stat DIR/none: no such file or directory"}},
		"large":   {[]string{"--config", "DIR/c"}, nil, map[string]string{"c": strings.Repeat("#", maxConfigBytes+1)}, []string{"--config: DIR/c has 1048577 bytes: at most 1048576 are allowed"}},
	} {
		_, _, dir, err := apply(t, c.args, c.env, c.files)
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		lines := strings.Split(strings.ReplaceAll(err.Error(), dir, "DIR"), "\n")
		if len(lines) < len(c.want) {
			t.Errorf("%s: %q, want %q", name, lines, c.want)
			continue
		}
		for i, w := range c.want {
			if !strings.Contains(lines[i], w) {
				t.Errorf("%s: line %d is %q, want %q", name, i, lines[i], w)
			}
		}
	}
}

// A misspelt variable is a warning: other programs may have variables that begin alike.
func TestSourcesWarnings(t *testing.T) {
	_, sources, _, err := apply(t, nil, []string{"CLUSTERD_GC_DELY=1days", "CLUSTERD_SERVICE_HOST=10.0.0.1", "MESOS_GC_DELY=1days", "MESOS_CONFIG=x"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if want := []string{"environment variable CLUSTERD_GC_DELY is no setting: did you mean CLUSTERD_GC_DELAY?"}; !slices.Equal(sources.Warnings, want) {
		t.Errorf("warnings %q", sources.Warnings)
	}
}

// CLU-23: the token is in no list of settings.
func TestTokenStaysSecret(t *testing.T) {
	cfg := DefaultConfig()
	fs := cfg.NewFlagSet("test")
	if err := fs.Parse(nil); err != nil {
		t.Fatal(err)
	}
	sources, err := ApplySources(fs, []string{"CLUSTERD_TOKEN=clusterd-1-any-secret"})
	if err != nil {
		t.Fatal(err)
	}
	if token, err := cfg.JoinToken(); token != "clusterd-1-any-secret" || err != nil {
		t.Errorf("token %q, %v", token, err)
	}
	i := slices.IndexFunc(sources.Settings, func(s Setting) bool { return s.Name == "token" })
	if s := sources.Settings[i]; s.Value != "" || !s.Secret || !s.Set || s.From != FromEnvironment {
		t.Errorf("%+v", s)
	}
	if _, ok := FlagValues(fs)["token"]; ok {
		t.Error("/flags shows the token")
	}
}

// One file is for all commands: clusterd dev passes over how to join a cluster, but not over a wrong name.
func TestSourcesOfFewerFlags(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"c": "join: [a]\nmasters: 5\ngc_delay: 1days\n", "wrong": "joyn: [a]\n"})
	for name, want := range map[string]string{"c": "", "wrong": `:1: "joyn" is no setting: did you mean "join"?`} {
		cfg := DefaultConfig()
		fs := pflag.NewFlagSet("dev", pflag.ContinueOnError)
		cfg.AddFlags(fs)
		if err := fs.Parse([]string{"--config", filepath.Join(dir, name)}); err != nil {
			t.Fatal(err)
		}
		_, err := ApplySources(fs, []string{"CLUSTERD_TOKEN=x"})
		if want == "" && (err != nil || cfg.GCDelay != 24*time.Hour || cfg.Join != nil || cfg.Token != "") {
			t.Errorf("%v, %+v", err, cfg)
		}
		if want != "" && (err == nil || !strings.HasSuffix(err.Error(), want)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// CLU-9: refused as flags too, with and without a value.
func TestRefusedFlags(t *testing.T) {
	for _, args := range [][]string{{"--quorum", "2"}, {"--quorum=2"}, {"--zk", "zk://a"}, {"--quorum"}, {"--master=zk://a"}} {
		cfg := DefaultConfig()
		err := cfg.NewFlagSet("test").Parse(args)
		if refused, ok := errors.AsType[*RefusedError](err); !ok || !strings.HasPrefix(args[0], "--"+refused.Flag) {
			t.Errorf("%v: %v", args, err)
		}
	}
}

// Every setting can be given in the environment, and every flag says what it is for. CLU-9
func TestEverySettingHasAVariable(t *testing.T) {
	cfg := DefaultConfig()
	fs := cfg.NewFlagSet("test")
	fs.VisitAll(func(f *pflag.Flag) {
		if isRefused(f.Name) {
			return
		}
		if f.Usage == "" {
			t.Errorf("--%s has no text", f.Name)
		}
		if got := string(NormalizeFlag(fs, strings.TrimPrefix(variableName(f.Name), "CLUSTERD_"))); got != f.Name {
			t.Errorf("%s is --%s, want --%s", variableName(f.Name), got, f.Name)
		}
	})
}

// CLU-3
func TestParsePeer(t *testing.T) {
	for in, want := range map[string]string{
		"10.0.0.1": "10.0.0.1:5055", "10.0.0.1:99": "10.0.0.1:99", "m1.example": "m1.example:5055", "m1:1": "m1:1",
		"[fe80::1]:7": "[fe80::1]:7", "::1": "[::1]:5055", "[::1]": "[::1]:5055", "fe80::1%eth0": "[fe80::1%eth0]:5055",
		"":         `"" is not HOST, HOST:PORT or [IPV6]:PORT: the host is missing`,
		":5055":    `":5055" is not HOST, HOST:PORT or [IPV6]:PORT: the host is missing`,
		"m1:0":     `"m1:0" is not HOST, HOST:PORT or [IPV6]:PORT: port "0" is not between 1 and 65535`,
		"m1:http":  `"m1:http" is not HOST, HOST:PORT or [IPV6]:PORT: port "http" is not between 1 and 65535`,
		"http://m": `"http://m" is not HOST, HOST:PORT or [IPV6]:PORT: port "//m" is not between 1 and 65535`,
		"a b":      `"a b" is not HOST, HOST:PORT or [IPV6]:PORT: "a b" is neither a host name nor an IP address`,
		"[m1]":     `"[m1]" is not HOST, HOST:PORT or [IPV6]:PORT: "m1" is not an IPv6 address`,
	} {
		got, err := ParsePeer(in)
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("ParsePeer(%q) = %s, want %s", in, got, want)
		}
	}
}

// CLU-3 CLU-4 CLU-5 CLU-21
func TestClusterConfig(t *testing.T) {
	for _, c := range []struct{ args, want string }{
		{"", ""},
		{"--role both --masters 5 --join a,b:1 --join [::1]:7 --domain r/z --node-name m-1.x_y --certificate-lifetime 2mins --master-replace-after 10s", ""},
		{`--domain {"fault_domain":{"region":{"name":"r"},"zone":{"name":"z"}}}`, ""},
		{"--role master,agent", `--role: "master,agent" is not one of auto, master, agent, both`},
		{"--masters 4", "--masters: 4 is not one of 1, 3, 5, 7"},
		{"--join a:x", `--join: "a:x" is not HOST, HOST:PORT or [IPV6]:PORT: port "x" is not between 1 and 65535`},
		{"--token a --token-file b", "--token: --token-file is given too: give one of them"},
		{"--certificate-lifetime 59secs", "--certificate-lifetime: 59secs is not between 1mins and 3650days"},
		{"--domain r", `--domain: "r" is not REGION/ZONE`},
		{"--domain r/z/x", `--domain: "r/z/x" is not REGION/ZONE`},
		{`--domain {"fault_domain":{}}`, "--domain: "},
		{"--node-name a/b", `--node-name: "a/b" has '/': only letters, digits, '.', '-' and '_' are allowed`},
		{"--node-name " + strings.Repeat("n", 254), "--node-name: has 254 characters: at most 253 are allowed"},
	} {
		cfg := DefaultConfig()
		if err := cfg.NewFlagSet("test").Parse(strings.Fields(c.args)); err != nil {
			t.Errorf("%s: %v", c.args, err)
			continue
		}
		got := ""
		if err := cfg.Validate(); err != nil {
			got = err.Error()
		}
		if got != c.want && !(strings.HasSuffix(c.want, ": ") && strings.HasPrefix(got, c.want)) {
			t.Errorf("%s: %q, want %q", c.args, got, c.want)
		}
	}
	cfg := DefaultConfig()
	cfg.Domain = "r/z"
	if d, err := cfg.FaultDomain(); err != nil || d.GetFaultDomain().GetRegion().GetName() != "r" || d.GetFaultDomain().GetZone().GetName() != "z" {
		t.Errorf("domain %v, %v", d, err)
	}
	if name, err := cfg.NodeName(); err != nil || checkName(name) != nil || name == "" {
		t.Errorf("name of this machine %q, %v", name, err)
	}
}

func TestJoinToken(t *testing.T) {
	dir := t.TempDir()
	writeFiles(t, dir, map[string]string{"token": "clusterd-1-x\n", "empty": " \n", "large": strings.Repeat("x", maxTokenBytes+1)})
	for name, want := range map[string]string{
		"": "", "token": "clusterd-1-x", "empty": "does not hold a token", "large": "does not hold a token", "none": "--token-file: open",
	} {
		cfg := DefaultConfig()
		if name != "" {
			cfg.TokenFile = filepath.Join(dir, name)
		}
		got, err := cfg.JoinToken()
		if err != nil {
			got = err.Error()
		}
		if got != want && (err == nil || !strings.Contains(got, want)) {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

func FuzzConfigFile(f *testing.F) {
	for _, s := range []string{"gc_delay: 2days\n", "{\"a\": [1, {\"b\": null}]}", "a: &x [*x]\n", "? {a: b}\n: c\n", "a: !!binary x\n", "- a", "a: {<<: *b}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		values, err := parseConfig("f", []byte(text))
		if err != nil {
			return
		}
		for _, v := range values {
			if v.where == "" || v.list != nil && v.text != "" {
				t.Errorf("%+v", v)
			}
		}
	})
}
