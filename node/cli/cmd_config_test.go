package cli

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// CLU-9: every setting with where it comes from; all faults at once; secrets stay so.
func TestConfigCheck(t *testing.T) {
	dir := t.TempDir()
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"good.yaml": "gc_delay: 2days\nroles: [prod, dev]\njoin: [m1, m2]\ntoken: clusterd-1-very-secret\n",
		"bad.yaml":  "gc_dely: 2days\nquorum: 2\nmasters: 4\nlisten: nowhere\n",
	} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	t.Chdir(dir)
	t.Setenv("CLUSTERD_HOSTNAME", "h1")
	t.Setenv("CLUSTERD_ATRIBUTES", "rack:r1")
	good := runMain(t, "", nil, "config", "check", "--config", "good.yaml", "--role", "master")
	bad := runMain(t, "", nil, "config", "check", "--config", "bad.yaml")
	t.Chdir(here)
	golden(t, "config_check", notDefault(good))
	golden(t, "config_check_bad", notDefault(bad))
	t.Chdir(dir)
	text := runMain(t, "", nil, "config", "check", "--config", "good.yaml", "-o", "json")
	if strings.Contains(good+bad+text, "very-secret") {
		t.Error("the token is shown")
	}
	text = text[strings.Index(text, "{") : strings.LastIndex(text, "}")+1]
	var r settingsReport
	if err := json.Unmarshal([]byte(text), &r); err != nil {
		t.Fatal(err)
	}
	seen := make(map[string]settingEntry)
	for _, s := range r.Settings {
		seen[s.Name] = s
	}
	if want := (settingEntry{"token", "set", "file", "good.yaml:4"}); !r.Valid || len(r.Warnings) != 1 || seen["token"] != want || seen["hostname"].Where != "CLUSTERD_HOSTNAME" {
		t.Errorf("%+v", r)
	}
}

// notDefault leaves out what is at its default, because every new setting adds a line to that.
func notDefault(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		if !strings.HasSuffix(line, " default\n") || strings.HasPrefix(line, "gc-delay ") || strings.HasPrefix(line, "token ") {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "")
}
