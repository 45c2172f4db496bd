package api

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"clusterd/node/mesos/v1agent"
)

// sandbox makes a sandbox as an agent lays it out, with a second one beside it, and attaches it.
//
//	<work>/secret
//	<work>/slaves/S0/frameworks/F/executors/E/runs/C1/{stdout,stderr,dir/inner,...}
//	<work>/slaves/S0/frameworks/F/executors/E/runs/C2/stdout
func sandbox(t *testing.T) (cluster *testCluster, work string, s Sandbox) {
	t.Helper()
	work = t.TempDir()
	s = Sandbox{FrameworkID: "F", ExecutorID: "E", ContainerID: "C1", Directory: work + "/slaves/S0/frameworks/F/executors/E/runs/C1"}
	write := func(name, text string) {
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write(work+"/secret", "secret")
	write(filepath.Dir(s.Directory)+"/C2/stdout", "other sandbox")
	write(s.Directory+"/stdout", "out\n")
	write(s.Directory+"/stderr", "")
	write(s.Directory+"/dir/inner", "inner")
	cluster = newTestCluster()
	cluster.files.AttachSandbox(s)
	return cluster, work, s
}

func link(t *testing.T, target, name string) {
	t.Helper()
	if err := os.Symlink(target, name); err != nil {
		t.Fatal(err)
	}
}

func filesURL(verb, path string, query ...string) string {
	return "/files/" + verb + "?path=" + url.QueryEscape(path) + strings.Join(query, "")
}

// OPR-147 OPR-152 OPR-3
func TestBrowse(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	mtime := time.Unix(1704164801, 999e6)
	if err := os.Chtimes(s.Directory+"/stdout", mtime, mtime); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(s.Directory+"/stdout", 0o640); err != nil {
		t.Fatal(err)
	}
	link(t, "stdout", s.Directory+"/link")
	link(t, "nowhere", s.Directory+"/dangling")
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	group, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{
		s.Directory, s.Directory + "/", filepath.Dir(s.Directory) + "/latest",
		"/frameworks/F/executors/E/runs/latest", "/frameworks/F/executors/E/runs/C1", "//frameworks//F/./executors/E/runs/C1/dir/..",
	} {
		for _, verb := range []string{"browse", "browse.json"} {
			var list []struct {
				GID, Mode, Path, UID string
				MTime                float64
				NLink, Size          int64
			}
			w := do(agent, "GET", filesURL(verb, root), "")
			if err := json.Unmarshal(w.Body.Bytes(), &list); err != nil {
				t.Fatalf("%s: %v %s", root, err, w.Body)
			}
			var names []string
			for _, e := range list {
				names = append(names, filepath.Base(e.Path))
				if e.UID != me.Username || e.GID != group.Name {
					t.Errorf("%s: owner %s, group %s", e.Path, e.UID, e.GID)
				}
			}
			if want := []string{"dir", "link", "stderr", "stdout"}; !slices.Equal(names, want) {
				t.Fatalf("%s: %v, want %v", root, names, want)
			}
			if list[0].Mode != "drwxr-xr-x" || list[0].NLink < 1 {
				t.Errorf("directory %+v", list[0])
			}
			for _, e := range []int{1, 3} { // A link shows what it leads to.
				if got := list[e]; got.Mode != "-rw-r-----" || got.Size != 4 || got.MTime != 1704164801 || got.NLink != 1 {
					t.Errorf("file %+v", got)
				}
			}
		}
	}
	// The text itself: order and form.
	w := do(agent, "GET", filesURL("browse", s.Directory+"/dir"), "")
	if got, want := w.Body.String(), `[{"gid":"`+group.Name+`","mode":"-rw-r--r--","mtime":`; !strings.HasPrefix(got, want) || !strings.Contains(got, `.0,"nlink":1,"path":"`+s.Directory+`/dir/inner","size":5,"uid":"`) {
		t.Errorf("%s", got)
	}
	if w := do(agent, "GET", filesURL("browse", s.Directory+"/stdout"), ""); w.Code != 200 || w.Body.String() != "[]" {
		t.Errorf("a file: %d %s", w.Code, w.Body)
	}
}

// OPR-148
func TestRead(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	large := strings.Repeat("0123456789abcdef", 10_000)
	if err := os.WriteFile(s.Directory+"/large", []byte(large), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		path, query string
		status      int
		want        string
	}{
		{"stdout", "", 200, `{"data":"","offset":4}`},
		{"stdout", "&offset=-1", 200, `{"data":"","offset":4}`},
		{"stdout", "&offset=0", 200, `{"data":"out\n","offset":0}`},
		{"stdout", "&offset=0&length=-1", 200, `{"data":"out\n","offset":0}`},
		{"stdout", "&offset=2&length=5", 200, `{"data":"t\n","offset":2}`},
		{"stdout", "&offset=1&length=2", 200, `{"data":"ut","offset":1}`},
		{"stdout", "&offset=0&length=0", 200, `{"data":"","offset":0}`},
		{"stdout", "&offset=4", 200, `{"data":"","offset":4}`},
		{"stdout", "&offset=100000", 200, `{"data":"","offset":100000}`},
		{"stdout", "&offset=9223372036854775807&length=9223372036854775807", 200, `{"data":"","offset":9223372036854775807}`},
		{"stderr", "", 200, `{"data":"","offset":0}`},
		{"large", "&offset=7", 200, `{"data":"` + large[7:7+maxReadBytes] + `","offset":7}`},
		{"large", "&offset=159999&length=99999999", 200, `{"data":"f","offset":159999}`},
		{"stdout", "&offset=abc", 400, "Failed to parse offset: Failed to convert 'abc' to number.\n"},
		{"stdout", "&offset=", 400, "Failed to parse offset: Failed to convert '' to number.\n"},
		{"stdout", "&offset=-2", 400, "Negative offset provided: -2.\n"},
		{"stdout", "&length=-5", 400, "Negative length provided: -5.\n"},
		{"stdout", "&length=x", 400, "Failed to parse length: Failed to convert 'x' to number.\n"},
		{"", "", 400, "Cannot read a directory.\n"},
		{"nope", "", 404, ""},
		{"stdout/x", "", 404, ""},
		{strings.Repeat("x", 300), "", 404, ""},
	} {
		w := do(agent, "GET", filesURL("read", s.Directory+"/"+test.path, test.query), "")
		if w.Code != test.status || w.Body.String() != test.want {
			t.Errorf("%s%s: %d %.200q, want %d %.200q", test.path, test.query, w.Code, w.Body, test.status, test.want)
		}
	}
	for _, verb := range []string{"browse", "read", "download"} {
		for _, target := range []string{"/files/" + verb, "/files/" + verb + "?path="} {
			if w := do(agent, "GET", target, ""); w.Code != 400 || w.Body.String() != "Expecting 'path=value' in query.\n" {
				t.Errorf("%s: %d %q", target, w.Code, w.Body)
			}
		}
	}
}

// OPR-149: any bytes come out as valid JSON, and a character is not cut in two between reads.
func TestReadText(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	read := func(offset, length int) (string, int) {
		t.Helper()
		var answer struct {
			Data   string
			Offset int
		}
		w := do(agent, "GET", filesURL("read", s.Directory+"/text", fmt.Sprintf("&offset=%d&length=%d", offset, length)), "")
		if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
			t.Fatalf("%v: %q", err, w.Body)
		}
		return answer.Data, answer.Offset
	}
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(s.Directory+"/text", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("a\xff\xfe\x80b\x00\"\\")
	if data, _ := read(0, -1); data != "a\ufffd\ufffd\ufffdb\x00\"\\" {
		t.Errorf("%q", data)
	}
	const text = "äöü€𝄞x日本"
	write(text)
	for length := 4; length < len(text); length++ {
		var got strings.Builder
		for got.Len() < len(text) {
			data, offset := read(got.Len(), length)
			if offset != got.Len() || data == "" {
				t.Fatalf("length %d: %q at %d, asked for %d", length, data, offset, got.Len())
			}
			got.WriteString(data)
		}
		if got.String() != text {
			t.Errorf("in pieces of %d: %q", length, got.String())
		}
	}
	// At the end of the file nothing is held back, nor if nothing else is left.
	write("x\xe2\x82")
	if data, _ := read(0, -1); data != "x\ufffd\ufffd" {
		t.Errorf("%q", data)
	}
	write("\xe2\x82\xac")
	if data, _ := read(0, 1); data != "\ufffd" {
		t.Errorf("%q", data)
	}
}

// OPR-150
func TestDownload(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	large := strings.Repeat("0123456789abcdef", 100_000)
	for name, text := range map[string]string{"with blank.txt": "hello", "evil\nname": "x", "large.HTML": large} {
		if err := os.WriteFile(filepath.Join(s.Directory, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, test := range []struct{ path, text, name, kind string }{
		{s.Directory + "/stdout", "out\n", "stdout", "application/octet-stream"},
		{s.Directory + "/stderr", "", "stderr", "application/octet-stream"},
		{"/frameworks/F/executors/E/runs/latest/with blank.txt", "hello", "with blank.txt", "text/plain"},
		{s.Directory + "/evil\nname", "x", "evil_name", "application/octet-stream"},
		{s.Directory + "/large.HTML", large, "large.HTML", "text/html"},
	} {
		w := do(agent, "GET", filesURL("download", test.path), "", "Accept-Encoding", "gzip")
		h := w.Header()
		if w.Code != 200 || w.Body.String() != test.text || h.Get("Content-Disposition") != "attachment; filename="+test.name ||
			h.Get("Content-Type") != test.kind || h.Get("Content-Length") != strconv.Itoa(len(test.text)) || h.Get("Content-Encoding") != "" {
			t.Errorf("%s: %d %v %.50q", test.path, w.Code, h, w.Body)
		}
	}
	if w := do(agent, "GET", filesURL("download", s.Directory), ""); w.Code != 400 || w.Body.String() != "Cannot download a directory.\n" {
		t.Errorf("directory: %d %q", w.Code, w.Body)
	}
	if w := do(agent, "GET", filesURL("download", s.Directory+"/nope"), ""); w.Code != 404 || w.Body.String() != "404 Not Found." {
		t.Errorf("unknown: %d %q", w.Code, w.Body)
	}
	// An attached file goes by its own name.
	cluster.files.Attach("/slave/log", s.Directory+"/stdout")
	if w := do(agent, "GET", filesURL("download", "/slave/log"), ""); w.Body.String() != "out\n" || w.Header().Get("Content-Disposition") != "attachment; filename=stdout" {
		t.Errorf("log: %v %q", w.Header(), w.Body)
	}
	if w := do(agent, "GET", filesURL("read", "/slave/log/x", "&offset=0"), ""); w.Code != 404 {
		t.Errorf("below a file: %d", w.Code)
	}
}

// EXE-181 OPR-147: no path leads out of what is attached.
func TestPathsThatLeadOut(t *testing.T) {
	cluster, work, s := sandbox(t)
	agent := cluster.agent()
	link(t, work+"/secret", s.Directory+"/absolute")
	link(t, "../../../../../../../../secret", s.Directory+"/relative")
	link(t, "/etc", s.Directory+"/etc")
	link(t, "..", s.Directory+"/up")
	link(t, "../C2", s.Directory+"/neighbour")
	link(t, "../C2/../C1/stdout", s.Directory+"/outandin")
	link(t, "absolute", s.Directory+"/chain")
	link(t, "loop", s.Directory+"/loop")
	link(t, "/proc/self/root/etc/passwd", s.Directory+"/proc")
	link(t, "dir", s.Directory+"/dirlink")
	link(t, s.Directory+"x/stdout", s.Directory+"/prefix") // begins like the sandbox's own name
	inaccessible := []string{
		"..", "../", "../..", "../C2/stdout", "dir/../../C2/stdout", "../C1/stdout", "dir/../..", "./../C2", "stdout/../../C2",
		"absolute", "relative", "etc", "etc/passwd", "up", "up/C2/stdout", "neighbour/stdout", "outandin", "chain", "loop", "loop/x",
		"proc", "dirlink/../../C2/stdout", "prefix",
	}
	for _, path := range inaccessible {
		for _, verb := range []string{"browse", "read", "download"} {
			full := s.Directory + "/" + path
			w := do(agent, "GET", filesURL(verb, full, "&offset=0"), "")
			if path == "stdout/../../C2" {
				if w.Code != 404 { // stdout is no directory
					t.Errorf("%s %s: %d %q", verb, path, w.Code, w.Body)
				}
				continue
			}
			if want := "'" + strings.TrimRight(full, "/") + "' is inaccessible.\n"; w.Code != 400 || w.Body.String() != want {
				t.Errorf("%s %s: %d %q, want %q", verb, path, w.Code, w.Body, want)
			}
		}
	}
	for _, path := range []string{
		"/", "/etc", "/etc/passwd", work, work + "/secret", filepath.Dir(s.Directory), filepath.Dir(s.Directory) + "/C2/stdout",
		"/frameworks/F/executors/E/runs/C2/stdout", "/frameworks/F", "stdout", "..", "../../etc/passwd", "/frameworks/../etc/passwd",
		s.Directory + "x", "/\x00", s.Directory + "/std\x00out",
	} {
		for _, verb := range []string{"browse", "read"} {
			if w := do(agent, "GET", filesURL(verb, path), ""); w.Code != 404 || w.Body.Len() != 0 {
				t.Errorf("%s %q: %d %q", verb, path, w.Code, w.Body)
			}
		}
	}
	// None of them is in the listing.
	body := do(agent, "GET", filesURL("browse", s.Directory), "").Body.String()
	for _, name := range []string{"absolute", "relative", "etc", "up", "neighbour", "chain", "loop", "proc", "prefix"} {
		if strings.Contains(body, "/"+name+`"`) {
			t.Errorf("%s is listed", name)
		}
	}
}

// EXE-181: links that stay inside work, also with an absolute target.
func TestLinksInside(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	link(t, "dir", s.Directory+"/relative")
	link(t, s.Directory+"/dir", s.Directory+"/absolute")
	link(t, "../stdout", s.Directory+"/dir/up")
	link(t, "relative/up", s.Directory+"/chain")
	link(t, s.Directory, s.Directory+"/self")
	for path, want := range map[string]string{
		"relative/inner": "inner", "absolute/inner": "inner", "dir/up": "out\n", "chain": "out\n", "absolute/up": "out\n",
		"self/self/dir/../stdout": "out\n", "dir/../stdout": "out\n", "relative/../stdout": "out\n",
	} {
		if w := do(agent, "GET", filesURL("download", s.Directory+"/"+path), ""); w.Code != 200 || w.Body.String() != want {
			t.Errorf("%s: %d %q", path, w.Code, w.Body)
		}
	}
	// The work directory itself may be reached through a link.
	other := t.TempDir() + "/work"
	link(t, s.Directory, other)
	cluster.files.Attach("/x", other)
	if w := do(agent, "GET", filesURL("download", "/x/absolute/inner"), ""); w.Body.String() != "inner" {
		t.Errorf("through a link: %d %q", w.Code, w.Body)
	}
}

// A task may put anything into its sandbox: nothing of it blocks or is opened.
func TestSpecialFiles(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	if err := syscall.Mkfifo(s.Directory+"/fifo", 0o644); err != nil {
		t.Fatal(err)
	}
	link(t, "fifo", s.Directory+"/fifolink")
	socket, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(socket)
	t.Chdir(s.Directory) // A socket's path is short.
	if err := syscall.Bind(socket, &syscall.SockaddrUnix{Name: "socket"}); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"fifo", "fifolink", "socket"} {
		for _, verb := range []string{"browse", "read", "download"} {
			if w := do(agent, "GET", filesURL(verb, s.Directory+"/"+name, "&offset=0"), ""); w.Code != 400 || !strings.Contains(w.Body.String(), "is inaccessible") {
				t.Errorf("%s %s: %d %q", verb, name, w.Code, w.Body)
			}
		}
	}
	body := do(agent, "GET", filesURL("browse", s.Directory), "").Body.String()
	if !strings.Contains(body, `"mode":"prw-r--r--"`) || !strings.Contains(body, `"mode":"s`) {
		t.Errorf("listing %s", body)
	}
}

// What the agent may not read is 403; only without root does anything like that exist.
func TestUnreadable(t *testing.T) {
	if os.Geteuid() == 0 {
		t.Skip("root may read everything")
	}
	cluster, _, s := sandbox(t)
	if err := os.Chmod(s.Directory+"/stdout", 0); err != nil {
		t.Fatal(err)
	}
	if w := do(cluster.agent(), "GET", filesURL("read", s.Directory+"/stdout", "&offset=0"), ""); w.Code != 403 || w.Body.Len() != 0 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// Directories nested without end and paths without end cost little and do no harm.
func TestDeepPaths(t *testing.T) {
	cluster, _, s := sandbox(t)
	agent := cluster.agent()
	deep := s.Directory
	for range 1000 {
		if err := os.Mkdir(deep+"/d", 0o755); err != nil {
			break // The longest path that can be named at once.
		}
		deep += "/d"
	}
	for _, path := range []string{strings.Repeat("/d", 300), strings.Repeat("/dir/..", 200)} {
		if w := do(agent, "GET", filesURL("browse", s.Directory+path), ""); w.Code != 200 {
			t.Errorf("%.20s: %d %.80q", path, w.Code, w.Body)
		}
	}
	for _, path := range []string{strings.Repeat("/d", 1000), strings.Repeat("/dir/..", 20_000)} {
		if w := do(agent, "GET", filesURL("browse", s.Directory+path), ""); w.Code == 200 {
			t.Errorf("%.20s: %d %.80q", path, w.Code, w.Body)
		}
	}
	// A listing full of links that each lead a long way.
	long := s.Directory + strings.Repeat("/d", 300)
	for i := range 100 {
		link(t, strings.Repeat("../", 300)+strings.Repeat("d/", 300), long+"/link"+strconv.Itoa(i))
	}
	w := do(agent, "GET", filesURL("browse", long), "")
	if w.Code != 500 || !strings.Contains(w.Body.String(), "too many directories and links to follow") {
		t.Errorf("%d %.200q", w.Code, w.Body)
	}
}

// EXE-196 OPR-152 OPR-151: paths end with the sandbox, and "latest" moves on.
func TestAttachSandbox(t *testing.T) {
	cluster, _, first := sandbox(t)
	agent := cluster.agent()
	second := first
	second.ContainerID, second.Directory = "C2", filepath.Dir(first.Directory)+"/C2"
	cluster.files.AttachSandbox(second)
	runs := filepath.Dir(first.Directory)
	read := func(path string) string {
		w := do(agent, "GET", filesURL("download", path+"/stdout"), "")
		return fmt.Sprint(w.Code, " ", w.Body)
	}
	check := func(want map[string]string) {
		t.Helper()
		for path, text := range want {
			if got := read(path); got != text {
				t.Errorf("%s: %q, want %q", path, got, text)
			}
		}
	}
	const gone, one, two = "404 404 Not Found.", "200 out\n", "200 other sandbox"
	short := "/frameworks/F/executors/E/runs/"
	check(map[string]string{
		first.Directory: one, second.Directory: two, runs + "/latest": two, short + "latest": two, short + "C1": one, short + "C2": two,
	})
	cluster.files.DetachSandbox(first)
	check(map[string]string{first.Directory: gone, short + "C1": gone, runs + "/latest": two, short + "latest": two, second.Directory: two})
	want := fmt.Sprintf(`{"%sC2":"%s","%slatest":"%s","%s":"%s","%s/latest":"%s"}`,
		short, second.Directory, short, second.Directory, second.Directory, second.Directory, runs, second.Directory)
	if w := do(agent, "GET", "/files/debug", ""); w.Body.String() != want {
		t.Errorf("debug %s\nwant %s", w.Body, want)
	}
	cluster.files.DetachSandbox(second)
	check(map[string]string{second.Directory: gone, runs + "/latest": gone, short + "latest": gone})
	if w := do(agent, "GET", "/files/debug", ""); w.Body.String() != "{}" {
		t.Errorf("debug %s", w.Body)
	}
	// A sandbox whose directory is gone is as unknown as one that never was.
	cluster.files.AttachSandbox(first)
	if err := os.RemoveAll(first.Directory); err != nil {
		t.Fatal(err)
	}
	check(map[string]string{first.Directory: gone})
}

// OPR-36 OPR-37
func TestFileCalls(t *testing.T) {
	cluster, _, s := sandbox(t)
	call := func(body string) (int, *v1agent.Response, string) {
		w := post(cluster.agent(), "/api/v1", body)
		if w.Code != 200 {
			return w.Code, nil, w.Body.String()
		}
		return w.Code, fromJSON(t, w.Body.Bytes(), new(v1agent.Response)), w.Body.String()
	}
	path := func(p string) string { return `"path":` + strconv.Quote(p) }
	_, response, _ := call(`{"type":"LIST_FILES","list_files":{` + path(s.Directory) + `}}`)
	infos := response.GetListFiles().GetFileInfos()
	if len(infos) != 3 || infos[2].GetPath() != s.Directory+"/stdout" || infos[2].GetMode() != 0o100644 || infos[2].GetSize() != 4 ||
		infos[2].GetMtime().GetNanoseconds()%1e9 != 0 || infos[0].GetMode()&syscall.S_IFMT != syscall.S_IFDIR {
		t.Errorf("%v", infos)
	}
	for _, p := range []string{s.Directory + "/stdout"} {
		if code, _, text := call(`{"type":"LIST_FILES","list_files":{` + path(p) + `}}`); text != `{"type":"LIST_FILES","list_files":{}}` {
			t.Errorf("%s: %d %s", p, code, text)
		}
	}
	data := func(text string) string { return base64.StdEncoding.EncodeToString([]byte(text)) }
	for read, want := range map[string]string{
		`"offset":0`:                    `{"size":4,"data":"` + data("out\n") + `"}`,
		`"offset":1,"length":2`:         `{"size":4,"data":"` + data("ut") + `"}`,
		`"offset":100000`:               `{"size":4,"data":""}`,
		`"offset":-1`:                   `{"size":4,"data":""}`,
		`"offset":0,"length":-1`:        `{"size":4,"data":"` + data("out\n") + `"}`,
		`"offset":18446744073709551615`: `{"size":4,"data":""}`,
	} {
		code, _, text := call(`{"type":"READ_FILE","read_file":{` + path(s.Directory+"/stdout") + `,` + read + `}}`)
		if text != `{"type":"READ_FILE","read_file":`+want+`}` {
			t.Errorf("%s: %d %s, want %s", read, code, text, want)
		}
	}
	for body, want := range map[string]string{
		`{"type":"READ_FILE","read_file":{` + path(s.Directory) + `,"offset":0}}`:            "400 Cannot read a directory.\n",
		`{"type":"READ_FILE","read_file":{` + path(s.Directory+"/../C2") + `,"offset":0}}`:   "400 '" + s.Directory + "/../C2' is inaccessible.\n",
		`{"type":"READ_FILE","read_file":{` + path(s.Directory+"/stdout") + `,"offset":-2}}`: "400 Negative offset provided: -2.\n",
		`{"type":"LIST_FILES","list_files":{` + path("/slave/log") + `}}`:                    "404 ",
		`{"type":"LIST_FILES","list_files":{"path":""}}`:                                     "404 ",
	} {
		if code, _, text := call(body); fmt.Sprint(code, " ", text) != want {
			t.Errorf("%s: %d %q, want %q", body, code, text, want)
		}
	}
}

// OPR-154: a file is read while it grows.
func TestGrowingFile(t *testing.T) {
	cluster, _, s := sandbox(t)
	site := httptest.NewServer(cluster.agent())
	defer site.Close()
	file, err := os.OpenFile(s.Directory+"/stdout", os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	offset := 0
	for i := range 20 {
		if i > 0 {
			if _, err := fmt.Fprintf(file, "line %d\n", i); err != nil {
				t.Fatal(err)
			}
		}
		response, err := http.Get(site.URL + filesURL("read", s.Directory+"/stdout", "&offset="+strconv.Itoa(offset)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(response.Body)
		response.Body.Close()
		var answer struct{ Data string }
		if err != nil || json.Unmarshal(b, &answer) != nil {
			t.Fatal(err, string(b))
		}
		if want := fmt.Sprintf("line %d\n", i); i > 0 && answer.Data != want {
			t.Errorf("%q, want %q", answer.Data, want)
		}
		offset += len(answer.Data)
	}
}

// Whatever a path holds, nothing outside of the sandbox comes back.
func FuzzFilePath(f *testing.F) {
	work := f.TempDir()
	directory := work + "/sandbox"
	if err := os.MkdirAll(directory+"/dir", 0o755); err != nil {
		f.Fatal(err)
	}
	for name, text := range map[string]string{"/secret": "SECRET", "/sandbox/inside": "inside", "/sandbox/dir/file": "file"} {
		if err := os.WriteFile(work+name, []byte(text), 0o644); err != nil {
			f.Fatal(err)
		}
	}
	for name, target := range map[string]string{"out": "../secret", "up": "..", "root": "/", "in": "dir", "abs": directory + "/dir"} {
		if err := os.Symlink(target, directory+"/"+name); err != nil {
			f.Fatal(err)
		}
	}
	files := NewFiles()
	files.Attach("/s", directory)
	for _, seed := range []string{"inside", "dir/../../secret", "out", "up/secret", "root" + work + "/secret", "in/../../secret", "abs/file", "..//secret"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		part, refused := files.read("/s/"+path, 0, -1)
		if refused == nil && string(part.data) != "inside" && string(part.data) != "file" {
			t.Errorf("%q yields %q", path, part.data)
		}
	})
}
