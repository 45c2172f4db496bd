package isolate

import (
	"archive/tar"
	"archive/zip"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ulikunitz/xz"
)

// entry is one member of a test archive.
type entry struct {
	name, body, link string
	kind             byte // of archive/tar; 0 is a regular file
	mode             int64
}

func tarOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, e := range entries {
		h := &tar.Header{Name: e.name, Linkname: e.link, Typeflag: e.kind, Mode: e.mode, Size: int64(len(e.body)), ModTime: time.Unix(1e9, 0)}
		if e.kind == 0 {
			h.Typeflag = tar.TypeReg
		}
		if h.Mode == 0 {
			h.Mode = 0o644
		}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(w, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func zipOf(t testing.TB, entries ...entry) []byte {
	t.Helper()
	var b bytes.Buffer
	w := zip.NewWriter(&b)
	for _, e := range entries {
		h := &zip.FileHeader{Name: e.name, Method: zip.Deflate}
		mode := fs.FileMode(0o644)
		if e.mode != 0 {
			mode = fs.FileMode(e.mode)
		}
		if e.kind == tar.TypeSymlink {
			mode, e.body = fs.ModeSymlink|0o777, e.link
		}
		h.SetMode(mode)
		f, err := w.CreateHeader(h)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, e.body); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// pack compresses with a writer of one of the libraries.
func pack[W io.WriteCloser](t testing.TB, data []byte, open func(io.Writer) (W, error)) []byte {
	t.Helper()
	var b bytes.Buffer
	w, err := open(&b)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func gzipped(t testing.TB, data []byte) []byte {
	return pack(t, data, func(w io.Writer) (*gzip.Writer, error) { return gzip.NewWriter(w), nil })
}

// serve answers paths with bodies; the query is ignored.
func serve(t testing.TB, files map[string][]byte) string {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/moved" {
			http.Redirect(w, r, "/plain.txt", http.StatusFound)
			return
		}
		data, ok := files[r.URL.Path]
		if !ok {
			http.Error(w, "no", http.StatusNotFound)
			return
		}
		_, _ = w.Write(data)
	}))
	t.Cleanup(s.Close)
	return s.URL
}

func contents(t testing.TB, dir, name string) string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func absent(t testing.TB, path string) {
	t.Helper()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%s is there (%v)", path, err)
	}
}

// EXE-50, ISO-366, ISO-370, ISO-372, ISO-373, ISO-374
func TestFetchForms(t *testing.T) {
	inner := tarOf(t, entry{name: "dir/", kind: tar.TypeDir, mode: 0o755}, entry{name: "dir/run.sh", body: "#!/bin/sh\n", mode: 0o755}, entry{name: "dir/link", link: "run.sh", kind: tar.TypeSymlink})
	bz2, err := exec.LookPath("bzip2")
	if err != nil {
		t.Log("no bzip2 program: .tar.bz2 is not tested")
	}
	files := map[string][]byte{
		"/plain.txt": []byte("plain"), "/a.tar": inner, "/a.tar.gz": gzipped(t, inner), "/a.tgz": gzipped(t, inner),
		"/a.tar.xz": pack(t, inner, func(w io.Writer) (*xz.Writer, error) { return xz.NewWriter(w) }),
		"/a.zip":    zipOf(t, entry{name: "dir/run.sh", body: "#!/bin/sh\n", mode: 0o755}, entry{name: "dir/link", link: "run.sh", kind: tar.TypeSymlink}),
		"/b.gz":     gzipped(t, []byte("inside")),
	}
	if bz2 != "" {
		cmd := exec.Command(bz2)
		cmd.Stdin = bytes.NewReader(inner)
		if files["/a.tbz2"], err = cmd.Output(); err != nil {
			t.Fatal(err)
		}
	}
	base := serve(t, files)
	local := filepath.Join(t.TempDir(), "here.txt")
	if err := os.WriteFile(local, []byte("local"), 0o640); err != nil {
		t.Fatal(err)
	}
	type test struct {
		uri  URI
		want map[string]string // name to content
		not  []string
	}
	unpacked := map[string]string{"dir/run.sh": "#!/bin/sh\n"}
	tests := []test{
		{uri: URI{Value: base + "/plain.txt", Extract: true}, want: map[string]string{"plain.txt": "plain"}},
		{uri: URI{Value: "  " + base + "/plain.txt"}, want: map[string]string{"plain.txt": "plain"}},
		{uri: URI{Value: base + "/moved"}, want: map[string]string{"moved": "plain"}},
		{uri: URI{Value: base + "/plain.txt?x=/../y"}, want: map[string]string{"plain.txt?x=_.._y": "plain"}},
		{uri: URI{Value: base + "/plain.txt", OutputFile: "sub/dir/out"}, want: map[string]string{"sub/dir/out": "plain"}},
		{uri: URI{Value: local}, want: map[string]string{"here.txt": "local"}},
		{uri: URI{Value: "file://" + local}, want: map[string]string{"here.txt": "local"}},
		{uri: URI{Value: "file://localhost" + local, OutputFile: "l"}, want: map[string]string{"l": "local"}},
		{uri: URI{Value: base + "/a.tar.gz"}, want: map[string]string{"a.tar.gz": string(files["/a.tar.gz"])}, not: []string{"dir"}},
		{uri: URI{Value: base + "/a.tar.gz", Extract: true, Executable: true}, not: []string{"dir"}},
		{uri: URI{Value: base + "/a.tar.gz?token=1", Extract: true}, want: unpacked},
		{uri: URI{Value: base + "/b.gz", Extract: true}, want: map[string]string{"b": "inside", "b.gz": string(files["/b.gz"])}},
	}
	for name := range files {
		if strings.HasPrefix(name, "/a.") {
			tests = append(tests, test{uri: URI{Value: base + name, Extract: true}, want: map[string]string{"dir/run.sh": "#!/bin/sh\n", name[1:]: string(files[name])}})
		}
	}
	for _, test := range tests {
		t.Run(strings.TrimPrefix(test.uri.Value, base), func(t *testing.T) {
			dir := t.TempDir()
			var log bytes.Buffer
			if err := Fetch(context.Background(), FetchSpec{Dir: dir, URIs: []URI{test.uri}, Log: &log}); err != nil {
				t.Fatal(err)
			}
			for name, want := range test.want {
				if got := contents(t, dir, name); got != want {
					t.Errorf("%s holds %q", name, got)
				}
			}
			for _, name := range test.not {
				absent(t, filepath.Join(dir, name))
			}
			if log.Len() == 0 || strings.Contains(log.String(), "token") {
				t.Errorf("log %q", &log)
			}
			if st, err := os.Stat(filepath.Join(dir, "dir/run.sh")); err == nil && st.Mode().Perm() != 0o755 {
				t.Errorf("mode of dir/run.sh is %v", st.Mode())
			}
			if test.uri.Executable {
				if st, err := os.Stat(filepath.Join(dir, "a.tar.gz")); err != nil || st.Mode().Perm() != 0o755 {
					t.Errorf("executable: %v %v", st, err)
				}
			}
		})
	}
}

// ISO-367: relative to frameworks_home.
func TestFetchRelative(t *testing.T) {
	home, dir := t.TempDir(), t.TempDir()
	if err := os.WriteFile(filepath.Join(home, "f"), []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Fetch(context.Background(), FetchSpec{Dir: dir, URIs: []URI{{Value: "f"}}, FrameworksHome: home}); err != nil {
		t.Fatal(err)
	}
	if got := contents(t, dir, "f"); got != "x" {
		t.Errorf("got %q", got)
	}
}

// ISO-367, ISO-369, ISO-371, ISO-511: refused before anything is fetched.
func TestFetchRefused(t *testing.T) {
	for _, test := range []struct {
		uri  URI
		want string
	}{
		{URI{Value: "rel/ative"}, "Could not fetch: A relative path was passed for the resource but the Mesos framework home was not specified"},
		{URI{Value: ""}, "Could not fetch: A relative path was passed"},
		{URI{Value: "http://h/it's"}, "Could not fetch: Illegal characters in URI"},
		{URI{Value: `http://h/a\b`}, "Could not fetch: Illegal characters in URI"},
		{URI{Value: "http://h/a\x00b"}, "Could not fetch: Illegal characters in URI"},
		{URI{Value: "http://h"}, "Could not fetch: Malformed URI (missing path)"},
		{URI{Value: "http://h/"}, "Could not fetch: Malformed URI (missing path)"},
		{URI{Value: "http://h/a/"}, "Could not fetch: Malformed URI (missing path)"},
		{URI{Value: "http://h/a/.."}, "Could not fetch: Malformed URI (missing path)"},
		{URI{Value: "http://u:secret@h/a/.."}, "Could not fetch: Malformed URI (missing path): http://h/a/.."},
		{URI{Value: "file:///"}, "Could not fetch: Malformed URI (missing path)"},
		{URI{Value: "file://other/host"}, "Could not fetch: File URI only supports absolute path"},
		{URI{Value: "gopher://h/x"}, "Could not fetch: Scheme 'gopher' is not supported"},
		{URI{Value: "http://h/x", OutputFile: "/abs"}, "Could not fetch: URI output file must be within the sandbox directory"},
		{URI{Value: "http://h/x", OutputFile: "../x"}, "Could not fetch: URI output file must be within the sandbox directory"},
		{URI{Value: "http://h/x", OutputFile: "a/../../x"}, "Could not fetch: URI output file must be within the sandbox directory"},
	} {
		dir := t.TempDir()
		local := filepath.Join(t.TempDir(), "first")
		if err := os.WriteFile(local, nil, 0o600); err != nil {
			t.Fatal(err)
		}
		err := Fetch(context.Background(), FetchSpec{Dir: dir, URIs: []URI{{Value: local}, test.uri}})
		var refused *RefusedURIError
		if !errors.As(err, &refused) || !strings.HasPrefix(err.Error(), test.want) {
			t.Errorf("%q, %q: %v", test.uri.Value, test.uri.OutputFile, err)
		}
		absent(t, filepath.Join(dir, "first"))
	}
}

// ISO-378, ISO-375
func TestFetchFails(t *testing.T) {
	gone := httptest.NewServer(http.NotFoundHandler())
	goneURL := gone.URL
	gone.Close()
	short := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = io.WriteString(w, "less")
	}))
	t.Cleanup(short.Close)
	headers := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("X", strings.Repeat("x", 2*maxHeaderBytes))
	}))
	t.Cleanup(headers.Close)
	loop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, r.URL.Path, http.StatusFound)
	}))
	t.Cleanup(loop.Close)
	toFile := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Location", "file:///etc/passwd")
		w.WriteHeader(http.StatusFound)
	}))
	t.Cleanup(toFile.Close)
	base := serve(t, map[string][]byte{
		"/bad.tar.gz": []byte("not an archive"), "/cut.tgz": gzipped(t, tarOf(t, entry{name: "x", body: strings.Repeat("x", 5000)}))[:60],
		"/bad.zip": []byte("PK"), "/bad.tar": []byte(strings.Repeat("z", 2000)), "/bad.gz": {0x1f}, "/bad.tar.xz": []byte("x"), "/bad.tbz2": []byte("BZ"),
	})
	for _, test := range []struct{ uri, want string }{
		{base + "/none?secret=1", "Failed to fetch '" + base + "/none': Error downloading resource, received HTTP return code 404"},
		{goneURL + "/x", "Failed to fetch '" + goneURL + "/x': Error downloading resource: Couldn't connect to server"},
		{short.URL + "/x", "unexpected EOF"},
		{headers.URL + "/x", "Error downloading resource: "},
		{loop.URL + "/x", "too many redirects"},
		{toFile.URL + "/x", "unsupported protocol scheme"},
		{"/no/such/file", "no such file or directory"},
		{t.TempDir(), "is not an ordinary file"},
		{"/dev/zero", "is not an ordinary file"},
		{base + "/bad.tar.gz", "extract 'bad.tar.gz'"}, {base + "/cut.tgz", "extract 'cut.tgz'"}, {base + "/bad.zip", "extract 'bad.zip'"},
		{base + "/bad.tar", "extract 'bad.tar'"}, {base + "/bad.gz", "extract 'bad.gz'"}, {base + "/bad.tar.xz", "extract 'bad.tar.xz'"},
		{base + "/bad.tbz2", "extract 'bad.tbz2'"},
	} {
		err := Fetch(context.Background(), FetchSpec{Dir: t.TempDir(), URIs: []URI{{Value: test.uri, Extract: true}}})
		var failed *FetchError
		if !errors.As(err, &failed) || !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v", test.uri, err)
		}
	}
}

// ISO-380: a transfer that brings nothing ends; so does one that is cancelled.
func TestFetchStalls(t *testing.T) {
	arrived := make(chan struct{}, 2)
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "some")
		w.(http.Flusher).Flush()
		arrived <- struct{}{}
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	err := Fetch(context.Background(), FetchSpec{Dir: t.TempDir(), URIs: []URI{{Value: s.URL + "/x"}}, StallTimeout: 20 * time.Millisecond})
	if !errors.Is(err, errStalled) {
		t.Errorf("stalled: %v", err)
	}
	<-arrived
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		<-arrived
		cancel()
	}()
	err = Fetch(ctx, FetchSpec{Dir: t.TempDir(), URIs: []URI{{Value: s.URL + "/x"}}})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

// ISO-376, ISO-510, ISO-511: nothing outside of the sandbox is written, linked
// or changed.
func TestFetchStaysInside(t *testing.T) {
	outer := t.TempDir()
	target := filepath.Join(outer, "target")
	abs := strings.TrimPrefix(target, "/")
	link := entry{name: "d", link: target, kind: tar.TypeSymlink}
	up := entry{name: "d", link: "../target", kind: tar.TypeSymlink}
	for name, archive := range map[string][]byte{
		"climb.tar":      tarOf(t, entry{name: "../evil", body: "x"}),
		"climb2.tar":     tarOf(t, entry{name: "a/../../evil", body: "x"}),
		"absolute.tar":   tarOf(t, entry{name: target + "/evil", body: "x"}),
		"through.tar":    tarOf(t, link, entry{name: "d/evil", body: "x"}),
		"through2.tar":   tarOf(t, up, entry{name: "d/evil", body: "x"}),
		"onto.tar":       tarOf(t, entry{name: "f", link: filepath.Join(target, "kept"), kind: tar.TypeSymlink}, entry{name: "f", body: "x"}),
		"dir.tar":        tarOf(t, link, entry{name: "d/sub/", kind: tar.TypeDir, mode: 0o755}),
		"mode.tar":       tarOf(t, link, entry{name: "d/", kind: tar.TypeDir, mode: 0o777}),
		"hard.tar":       tarOf(t, entry{name: "h", link: filepath.Join(target, "kept"), kind: tar.TypeLink}, entry{name: "h", body: "x"}),
		"hard2.tar":      tarOf(t, entry{name: "h", link: "../target/kept", kind: tar.TypeLink}),
		"hard3.tar":      tarOf(t, link, entry{name: "h", link: "d/kept", kind: tar.TypeLink}, entry{name: "h", body: "x"}),
		"linkdir.tar":    tarOf(t, link, entry{name: "d/l", link: "x", kind: tar.TypeSymlink}),
		"device.tar":     tarOf(t, entry{name: "null", kind: tar.TypeChar}),
		"fifo.tar":       tarOf(t, entry{name: "fifo", kind: tar.TypeFifo}),
		"setuid.tar":     tarOf(t, entry{name: "s", body: "x", mode: 0o4755}),
		"climb.zip":      zipOf(t, entry{name: "../evil", body: "x"}),
		"backslash.zip":  zipOf(t, entry{name: `..\..\evil`, body: "x"}),
		"absolute.zip":   zipOf(t, entry{name: target + "/evil", body: "x"}),
		"through.zip":    zipOf(t, link, entry{name: "d/evil", body: "x"}),
		"unlisted.zip":   zipOf(t, up, entry{name: "d/e/f/evil", body: "x"}),
		"longlink.zip":   zipOf(t, entry{name: "l", link: strings.Repeat("x", 5000), kind: tar.TypeSymlink}),
		"sandboxdir.tar": tarOf(t, entry{name: "./", kind: tar.TypeDir, mode: 0o777}),
	} {
		t.Run(name, func(t *testing.T) {
			if err := os.RemoveAll(target); err != nil {
				t.Fatal(err)
			}
			if err := errors.Join(os.Mkdir(target, 0o700), os.WriteFile(filepath.Join(target, "kept"), []byte("kept"), 0o600)); err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join(outer, "sandbox")
			if err := errors.Join(os.RemoveAll(dir), os.Mkdir(dir, 0o750)); err != nil {
				t.Fatal(err)
			}
			source := filepath.Join(t.TempDir(), name)
			if err := os.WriteFile(source, archive, 0o600); err != nil {
				t.Fatal(err)
			}
			err := Fetch(context.Background(), FetchSpec{Dir: dir, URIs: []URI{{Value: source, Extract: true}}})
			t.Logf("%v", err)
			absent(t, filepath.Join(target, "evil"))
			absent(t, filepath.Join(outer, "evil"))
			absent(t, filepath.Join(target, "sub"))
			absent(t, filepath.Join(target, "l"))
			if got := contents(t, target, "kept"); got != "kept" {
				t.Errorf("kept file holds %q", got)
			}
			for path, want := range map[string]fs.FileMode{target: 0o700, dir: 0o750, filepath.Join(target, "kept"): 0o600} {
				st, err := os.Stat(path)
				if err != nil {
					t.Fatal(err)
				}
				if st.Mode().Perm() != want {
					t.Errorf("mode of %s is %v", path, st.Mode())
				}
				if sys := st.Sys().(*syscall.Stat_t); !st.IsDir() && sys.Nlink != 1 {
					t.Errorf("%s has %d names", path, sys.Nlink)
				}
			}
			checkExtracted(t, dir, name, abs, err)
		})
	}
}

// checkExtracted looks at the cases that do not fail.
func checkExtracted(t *testing.T, dir, name, abs string, err error) {
	t.Helper()
	switch name {
	case "absolute.tar", "absolute.zip": // kept inside
		if err != nil || contents(t, dir, filepath.Join(abs, "evil")) != "x" {
			t.Errorf("not kept inside: %v", err)
		}
	case "onto.tar":
		if err != nil || contents(t, dir, "f") != "x" {
			t.Errorf("link not replaced: %v", err)
		}
	case "setuid.tar":
		st, serr := os.Stat(filepath.Join(dir, "s"))
		if err != nil || serr != nil || st.Mode() != 0o755 {
			t.Errorf("set-user-ID kept: %v %v %v", st, err, serr)
		}
	case "sandboxdir.tar":
		if err != nil {
			t.Error(err)
		}
	default:
		if err == nil {
			t.Error("was extracted")
		}
	}
	absent(t, filepath.Join(dir, "null"))
	absent(t, filepath.Join(dir, "fifo"))
}

// ISO-511: a link left by an earlier archive is not followed out.
func TestFetchOutputThroughLink(t *testing.T) {
	dir, outer := t.TempDir(), t.TempDir()
	archive := filepath.Join(t.TempDir(), "l.tar")
	if err := os.WriteFile(archive, tarOf(t, entry{name: "link", link: outer, kind: tar.TypeSymlink}), 0o600); err != nil {
		t.Fatal(err)
	}
	err := Fetch(context.Background(), FetchSpec{Dir: dir, URIs: []URI{{Value: archive, Extract: true}, {Value: archive, OutputFile: "link/x"}}})
	if err == nil {
		t.Error("written through a link")
	}
	absent(t, filepath.Join(outer, "x"))
}

func TestFetchNoRoom(t *testing.T) {
	f := &fetcher{spec: &FetchSpec{Log: io.Discard}, room: 1000}
	var err error
	if f.root, err = os.OpenRoot(t.TempDir()); err != nil {
		t.Fatal(err)
	}
	defer f.root.Close()
	if err := f.write(context.Background(), "a", 0o644, strings.NewReader(strings.Repeat("x", 600))); err != nil {
		t.Fatal(err)
	}
	bomb := gzipped(t, make([]byte, 1<<20))
	if err := os.WriteFile(filepath.Join(f.root.Name(), "b.gz"), bomb, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := f.extract(context.Background(), "b.gz", "gz"); !errors.Is(err, errNoRoom) {
		t.Errorf("got %v", err)
	}
}

// ISO-377, ISO-512
func TestFetchAsUser(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("changing the user needs root")
	}
	nobody, err := lookupUser("nobody")
	if err != nil {
		t.Skip(err)
	}
	dir := t.TempDir() // its parents are closed to others
	if err := Chown(dir, "nobody"); err != nil {
		t.Fatal(err)
	}
	private := filepath.Join(t.TempDir(), "shadow")
	if err := os.WriteFile(private, []byte("secret"), 0o600); err != nil {
		t.Fatal(err)
	}
	base := serve(t, map[string][]byte{"/a.tar": tarOf(t, entry{name: "d/f", body: "x"})})
	spec := FetchSpec{Dir: dir, User: "nobody", URIs: []URI{{Value: base + "/a.tar", Extract: true, OutputFile: "sub/a.tar"}}}
	if err := Fetch(context.Background(), spec); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"sub", "sub/a.tar", "d", "d/f"} {
		st, err := os.Stat(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		if sys := st.Sys().(*syscall.Stat_t); sys.Uid != nobody.UID || sys.Gid != nobody.GID {
			t.Errorf("%s belongs to %d:%d", name, sys.Uid, sys.Gid)
		}
	}
	spec.URIs = []URI{{Value: private}}
	if err := Fetch(context.Background(), spec); !errors.Is(err, fs.ErrPermission) {
		t.Errorf("read a private file: %v", err)
	}
	absent(t, filepath.Join(dir, "shadow"))
	// Our own rights are as before.
	if _, err := os.ReadFile(private); err != nil {
		t.Error(err)
	}
	spec.User = "no-such-user"
	var unknown *UnknownUserError
	if err := Fetch(context.Background(), spec); !errors.As(err, &unknown) || err.Error() != "No such user 'no-such-user'" {
		t.Errorf("unknown user: %v", err)
	}
}

func FuzzParseURI(f *testing.F) {
	for _, s := range []string{"http://h/a?b", "file:///x", "/x", "x", "http://h/..", "http://h/%2e%2e/x"} {
		f.Add(s, "")
		f.Add(s, "o/p")
	}
	f.Fuzz(func(t *testing.T, value, output string) {
		r, err := parseURI(URI{Value: value, OutputFile: output}, "")
		if err != nil {
			return
		}
		if !filepath.IsLocal(r.name) || r.name == "." {
			t.Errorf("%q, %q is stored as %q", value, output, r.name)
		}
	})
}

func FuzzEntryName(f *testing.F) {
	f.Add("a/b")
	f.Add("../x")
	f.Fuzz(func(t *testing.T, name string) {
		got, err := entryName(name)
		if err == nil && got != "" && !filepath.IsLocal(got) {
			t.Errorf("%q becomes %q", name, got)
		}
	})
}
