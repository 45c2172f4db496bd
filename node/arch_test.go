package node_test

import (
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// A rule says what a package may import of clusterd, and what it must never import at all, with the
// reason. Standard and third-party packages are free unless forbidden.
type rule struct {
	may    []string // packages of clusterd, by path below the module; "node/mesos/..." is a prefix
	never  []string // import paths or prefixes ending in "/..."
	reason string
}

// ioPackages are what a pure core must not touch. net/netip and net/url only take text apart.
var ioPackages = []string{"net", "net/http", "net/http/...", "net/rpc", "net/smtp", "net/textproto", "os", "os/...", "io/ioutil", "log", "log/...", "math/rand", "crypto/rand", "sync", "sync/...", "golang.org/x/sys/..."}

// A wait status is read with syscall.WaitStatus: syscall itself is allowed, its calls are not needed.
const pure = "a core is a function of its events: no clock, chance, disk, net, lock or log"

var rules = map[string]rule{
	"":                        {may: []string{"isolate", "node/cli", "node/executor"}, reason: "main only hands over"},
	"node/mesos":              {may: []string{"node/mesos/..."}, never: []string{"net/http"}, reason: "the wire is the leaf that everyone imports"},
	"alloc":                   {may: []string{"node/mesos", "node/mesos/..."}, never: ioPackages, reason: pure},
	"raft":                    {reason: "consensus knows nothing of what it replicates"},
	"raft/registry":           {may: []string{"node/mesos", "node/mesos/..."}, never: []string{"net", "net/...", "os", "os/...", "log", "log/...", "math/rand", "math/rand/...", "crypto/rand", "go.etcd.io/..."}, reason: "Apply must do the same on every peer"},
	"node/master":             {may: []string{"node/mesos", "node/mesos/...", "alloc", "raft/registry"}, never: ioPackages, reason: pure},
	"node/agent":              {may: []string{"node/mesos", "node/mesos/...", "alloc"}, never: ioPackages, reason: pure},
	"isolate":                 {reason: "containers know nothing of masters and frameworks"},
	"node/cluster":            {may: []string{"node/mesos", "node/mesos/...", "raft/registry"}, never: ioPackages, reason: pure},
	"node/trust":              {never: []string{"net/http"}, reason: "keys and certificates know nothing of what they are for"},
	"node/executor":           {may: []string{"node/mesos", "node/mesos/..."}, reason: "it runs beside the task and must stay small"},
	"node/api":                {may: []string{"node/mesos", "node/mesos/..."}, reason: "HTTP declares the interfaces that it needs"},
	"ui":                      {reason: "the dashboard declares its source"},
	"node":                    {may: []string{"node/mesos", "node/mesos/...", "alloc", "raft", "raft/registry", "node/master", "node/agent", "node/api", "node/cluster", "node/trust", "isolate", "ui"}, reason: "the daemon does not know its command line"},
	"node/cli":                {may: []string{"node", "node/api", "node/mesos", "node/mesos/...", "isolate"}, reason: "commands are thin clients of the HTTP API"},
	"scripts/examples/primes": {reason: "an example uses nothing but the public API"},
	"scripts/agents":          {may: []string{"alloc", "node/mesos", "node/mesos/...", "node/trust"}, reason: "it speaks with the cluster over the network only"},
	"scripts/measure":         {reason: "it measures from outside"},
	"scripts/measure/raft":    {may: []string{"raft"}, reason: "it measures consensus alone, beside etcd's"},
}

// pureFiles are parts of impure packages that are cores all the same.
var pureFiles = map[string]string{
	"raft/core.go":          "the protocol is stepped by one loop",
	"node/executor/core.go": "the life of a task is stepped by one loop",
}

func allows(patterns []string, path string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		if prefix, ok := strings.CutSuffix(p, "/..."); ok {
			return strings.HasPrefix(path, prefix+"/")
		}
		return p == path
	})
}

func TestImports(t *testing.T) {
	seen := make(map[string]bool)
	eachFile(t, func(path, pkg string, imports []string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		seen[pkg] = true
		r, ok := rules[pkg]
		if !ok && strings.HasPrefix(pkg, "node/mesos/") {
			r, ok = rule{may: []string{"node/mesos/..."}, reason: "generated wire types"}, true
		}
		if !ok {
			t.Errorf("%s: package %s has no rule: add one, and say what it hides", path, pkg)
			return
		}
		never := r.never
		reason, isPure := pureFiles[path]
		if isPure {
			never = ioPackages
		} else {
			reason = r.reason
		}
		for _, imported := range imports {
			if own, ok := strings.CutPrefix(imported, "clusterd/"); ok && own != pkg && !allows(r.may, own) {
				t.Errorf("%s imports %s: %s", path, imported, r.reason)
			}
			if allows(never, imported) {
				t.Errorf("%s imports %s: %s", path, imported, reason)
			}
		}
	})
	for pkg := range rules {
		if !seen[pkg] {
			t.Errorf("rule for package %q, which does not exist", pkg)
		}
	}
}

// Only isolate may need a C compiler: libcontainer does, and everything else must build without.
func TestOnlyIsolateUsesCgo(t *testing.T) {
	eachFile(t, func(path, pkg string, imports []string) {
		for _, imported := range imports {
			if pkg == "isolate" || pkg == "scripts/measure" { // the measure compares with libcontainer alone
				continue
			}
			if imported == "C" || strings.HasPrefix(imported, "github.com/opencontainers/runc/") {
				t.Errorf("%s imports %s: only package isolate may", path, imported)
			}
		}
	})
}

// One package comment each, in doc.go or in the file of a command.
func TestPackageComments(t *testing.T) {
	comments := make(map[string][]string)
	packages := make(map[string]bool)
	walk(t, func(path, pkg string) {
		if strings.HasSuffix(path, "_test.go") {
			return
		}
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.PackageClauseOnly|parser.ParseComments)
		if err != nil {
			t.Fatal(err)
		}
		packages[pkg] = true
		if f.Doc != nil && !strings.HasSuffix(path, ".pb.go") && !strings.Contains(f.Doc.Text(), "DO NOT EDIT") {
			comments[pkg] = append(comments[pkg], path)
		}
	})
	for pkg := range packages {
		if n := len(comments[pkg]); n != 1 {
			t.Errorf("package %q has %d package comments, want one: %v", pkg, n, comments[pkg])
		}
	}
}

// The top level is fixed.
func TestTopLevel(t *testing.T) {
	allowed := []string{"main.go", "node", "raft", "alloc", "isolate", "ui", "scripts", "go.mod", "go.sum", "LICENSE", "README.md", "CHANGELOG.md", "clusterd"}
	entries, err := os.ReadDir("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), ".") && !slices.Contains(allowed, e.Name()) {
			t.Errorf("%s at the top level: only %v", e.Name(), allowed)
		}
	}
}

func eachFile(t *testing.T, each func(path, pkg string, imports []string)) {
	walk(t, func(path, pkg string) {
		f, err := parser.ParseFile(token.NewFileSet(), filepath.Join("..", path), nil, parser.ImportsOnly)
		if err != nil {
			t.Fatal(err)
		}
		var imports []string
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				t.Fatal(err)
			}
			imports = append(imports, p)
		}
		each(path, pkg, imports)
	})
}

// walk visits every Go file with its path below the module and that of its package.
func walk(t *testing.T, visit func(path, pkg string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && (strings.HasPrefix(d.Name(), ".") && d.Name() != ".." || d.Name() == "testdata") {
			return filepath.SkipDir
		}
		if !d.IsDir() && strings.HasSuffix(path, ".go") {
			rel := strings.TrimPrefix(filepath.ToSlash(path), "../")
			pkg := ""
			if i := strings.LastIndexByte(rel, '/'); i >= 0 {
				pkg = rel[:i]
			}
			visit(rel, pkg)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
