package api

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"

	"clusterd/node/mesos"
	"clusterd/node/mesos/v1scheduler"

	"google.golang.org/protobuf/proto"
)

const subscribeBody = `{"type":"SUBSCRIBE","subscribe":{"framework_info":{"user":"root","name":"x"}}}`

// SCH-20 SCH-21 SCH-22 SCH-24 SCH-26 OPR-19 OPR-20 OPR-21 OPR-22 OPR-23 OPR-118 OPR-119
func TestLeader(t *testing.T) {
	redirected := []string{
		"/api/v1", "/api/v1/scheduler", "/master/api/v1/scheduler", "/state", "/master/state?jsonp=x&a=%2F", "/state-summary",
		"/slaves", "/frameworks", "/tasks?limit=1", "/roles", "/teardown", "/kill",
	}
	own := []string{"/health", "/flags", "/version", "/metrics/snapshot", "/system/stats.json", "/files/debug"}
	cluster := newTestCluster()
	master := cluster.master()
	for _, leader := range []fakeLeader{
		{hostport: "m2.example:5050"}, {}, {hostport: "m1.example:5050", self: true, recovered: true},
	} {
		cluster.leader = leader
		for _, path := range redirected {
			w := do(master, "GET", path, "")
			switch {
			case leader.self:
				if w.Code == 307 || w.Code == 503 {
					t.Errorf("leader answers %s with %d", path, w.Code)
				}
			case leader.hostport == "":
				if w.Code != 503 || w.Body.String() != "No leader elected" {
					t.Errorf("no leader: %s: %d %q", path, w.Code, w.Body)
				}
			default:
				if want := "//m2.example:5050" + path; w.Code != 307 || w.Header().Get("Location") != want || w.Body.Len() != 0 {
					t.Errorf("%s: %d, Location %q, want %q, body %q", path, w.Code, w.Header().Get("Location"), want, w.Body)
				}
			}
		}
		for _, path := range own {
			if w := do(master, "GET", path, ""); w.Code != 200 {
				t.Errorf("%+v: %s: %d", leader, path, w.Code)
			}
		}
		for _, path := range []string{"/redirect", "/master/redirect"} {
			w := do(master, "HEAD", path, "")
			if leader.hostport == "" {
				if w.Code != 503 {
					t.Errorf("%s without leader: %d", path, w.Code)
				}
			} else if w.Code != 307 || w.Header().Get("Location") != "//"+leader.hostport {
				t.Errorf("%s: %d, Location %q", path, w.Code, w.Header().Get("Location"))
			}
		}
		for _, path := range []string{"/redirect/", "/redirect/x", "/master/redirect/x/y"} {
			if w := do(master, "GET", path, ""); w.Code != 404 {
				t.Errorf("%s: %d", path, w.Code)
			}
		}
	}
}

// SCH-2: the first check that fails answers, in this order.
func TestSchedulerCheckOrder(t *testing.T) {
	cluster := newTestCluster()
	master := cluster.master()
	cluster.leader = fakeLeader{}
	steps := []struct {
		mend func(r *http.Request)
		want int
	}{
		{func(*http.Request) { cluster.leader.hostport = "m2:5050" }, 503},
		{func(*http.Request) { cluster.leader.self = true }, 307},
		{func(*http.Request) { cluster.leader.recovered = true }, 503},
		{func(r *http.Request) { r.Method = "POST" }, 405},
		{func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") }, 400},
		{func(r *http.Request) { r.Header.Set("Content-Type", jsonType) }, 415},
		{func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(`{"type":"SUBSCRIBE"}`)) }, 400},
		{func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(subscribeBody)) }, 400},
		{func(r *http.Request) { r.Header.Set("Accept", jsonType) }, 406},
		{func(r *http.Request) { r.Header.Del("Mesos-Stream-Id") }, 400},
	}
	for i, step := range steps {
		r := httptest.NewRequest("GET", "/api/v1/scheduler", strings.NewReader("{"))
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Mesos-Stream-Id", "x")
		for _, s := range steps[:i] {
			s.mend(r)
		}
		w := httptest.NewRecorder()
		master.ServeHTTP(w, r)
		if w.Code != step.want {
			t.Errorf("after %d mends: %d %q, want %d", i, w.Code, w.Body, step.want)
		}
	}
	if len(cluster.scheduler.calls) != 0 {
		t.Errorf("the core was asked: %v", cluster.scheduler.calls)
	}
}

// SCH-13 OPR-14
func TestAcceptable(t *testing.T) {
	const none = mesos.MediaType(-1)
	for accept, want := range map[string]mesos.MediaType{
		"-": mesos.JSON, "*/*": mesos.JSON, "application/*": mesos.JSON, "application/json": mesos.JSON, "APPLICATION/JSON": mesos.JSON,
		"application/x-protobuf": mesos.Protobuf, "application/X-Protobuf ; q=0.2": mesos.Protobuf,
		"application/x-protobuf, application/json;q=0.1":    mesos.JSON,
		"application/json;q=0, application/x-protobuf":      mesos.Protobuf,
		"application/json;q=0, */*":                         mesos.Protobuf,
		"*/*;q=0, application/x-protobuf":                   mesos.Protobuf,
		"text/html, application/x-protobuf;version=1;q=0.5": mesos.Protobuf,
		"":                       none,
		"text/html":              none,
		"application/json;q=0":   none,
		"application/*;q=0, */*": none,
		"application/recordio":   none,
		"*/*;q=0.0":              none,
	} {
		r := httptest.NewRequest("POST", "/", nil)
		if accept != "-" {
			r.Header.Set("Accept", accept)
		}
		got, ok := acceptable(r)
		if !ok {
			got = none
		}
		if got != want {
			t.Errorf("Accept %q: %d, want %d", accept, got, want)
		}
	}
}

// SCH-6 OPR-15
func TestContentType(t *testing.T) {
	for value, want := range map[string]int{
		"application/json": 202, "application/json; charset=utf-8": 202, "Application/JSON": 202, " application/json ;x": 202,
		"application/x-protobuf": 202, "": 415, "application/jsonx": 415, "application/*": 415, "json": 415,
	} {
		body := `{"type":"REVIVE","framework_id":{"value":"` + testMaster + `-0001"}}`
		if strings.Contains(value, "protobuf") {
			b, err := proto.Marshal(&v1scheduler.Call{
				Type: v1scheduler.Call_REVIVE.Enum(), FrameworkId: mesos.FrameworkID(testMaster + "-0001").Proto(),
			})
			if err != nil {
				t.Fatal(err)
			}
			body = string(b)
		}
		w := do(newTestCluster().master(), "POST", "/api/v1/scheduler", body, "Content-Type", value, "Mesos-Stream-Id", testStream)
		if w.Code != want {
			t.Errorf("%q: %d %q, want %d", value, w.Code, w.Body, want)
		}
	}
}

// SCH-99: no body, no type, length 0.
func TestAccepted(t *testing.T) {
	w := post(newTestCluster().master(), "/api/v1/scheduler",
		`{"type":"REVIVE","framework_id":{"value":"`+testMaster+`-0001"}}`, "Mesos-Stream-Id", testStream)
	if _, typed := w.Header()["Content-Type"]; w.Code != 202 || typed || w.Header().Get("Content-Length") != "0" || w.Body.Len() != 0 {
		t.Errorf("%d %v %q", w.Code, w.Header(), w.Body)
	}
}

// SCH-10 EXE-8: a type that is known to mean nothing.
func TestUnknownCall(t *testing.T) {
	cluster := newTestCluster()
	body := `{"type":"UNKNOWN","framework_id":{"value":"` + testMaster + `-0001"}}`
	w := post(cluster.master(), "/api/v1/scheduler", body, "Mesos-Stream-Id", testStream)
	if w.Code != 501 || w.Body.String() != "501 Not Implemented." {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := post(cluster.master(), "/api/v1/scheduler", body); w.Code != 400 {
		t.Errorf("without stream: %d %q", w.Code, w.Body)
	}
	cluster.executors.known = true
	body = `{"type":"UNKNOWN","framework_id":{"value":"f"},"executor_id":{"value":"e"}}`
	if w := post(cluster.agent(), "/api/v1/executor", body); w.Code != 501 || w.Body.String() != "501 Not Implemented." {
		t.Errorf("executor: %d %q", w.Code, w.Body)
	}
	cluster.executors.known = false
	if w := post(cluster.agent(), "/api/v1/executor", body); w.Code != 400 || w.Body.String() != "Framework cannot be found" {
		t.Errorf("unknown executor: %d %q", w.Code, w.Body)
	}
}

// SCH-227 SCH-250 SCH-100: bodies of calls that acknowledge.
func TestSchedulerCallRules(t *testing.T) {
	uuid := `"uuid":"AAAAAAAAQACAAAAAAAAAAA=="`
	for call, want := range map[string]string{
		`"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},` + uuid + `}`:                                        "",
		`"type":"ACKNOWLEDGE_OPERATION_STATUS","acknowledge_operation_status":{"operation_id":{"value":"o"},` + uuid + `}`:                          "Expecting 'agent_id' to be present",
		`"type":"ACKNOWLEDGE_OPERATION_STATUS","acknowledge_operation_status":{"agent_id":{"value":"a"},"operation_id":{"value":"o"},` + uuid + `}`: "",
		`"type":"ACKNOWLEDGE","acknowledge":{"agent_id":{"value":"a"},"task_id":{"value":"t"},"uuid":"AAAA"}`:                                       "Not a valid UUID",
		`"type":"TEARDOWN"`: "", `"type":"REVIVE"`: "", `"type":"SUPPRESS"`: "",
	} {
		w := post(newTestCluster().master(), "/api/v1/scheduler",
			`{"framework_id":{"value":"`+testMaster+`-0001"},`+call+`}`, "Mesos-Stream-Id", testStream)
		if want == "" && w.Code != 202 || want != "" && w.Body.String() != "Failed to validate scheduler::Call: "+want {
			t.Errorf("%s: %d %q, want %q", call, w.Code, w.Body, want)
		}
	}
	// SCH-50: an empty id counts as none.
	cluster := newTestCluster()
	site := httptest.NewServer(cluster.master())
	defer site.Close()
	response := postTo(t, site.URL+"/api/v1/scheduler",
		`{"type":"SUBSCRIBE","framework_id":{"value":""},"subscribe":{"framework_info":{"user":"root","name":"x"}}}`)
	defer response.Body.Close()
	if response.StatusCode != 200 {
		t.Errorf("empty framework id: %d", response.StatusCode)
	}
	close((<-cluster.scheduler.streams).events)
}

// EXE-4 EXE-8 EXE-21
func TestExecutorCallRules(t *testing.T) {
	update := func(status string) string {
		return `"type":"UPDATE","update":{"status":{"task_id":{"value":"t"},` + status + `}}`
	}
	const uuid = `"uuid":"AAAAAAAAQACAAAAAAAAAAA=="`
	const good = `"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR",` + uuid
	const prefix = "Failed to validate Executor::Call: "
	for call, want := range map[string]string{
		update(good): "",
		update(good + `,"executor_id":{"value":"e"}`):                             "",
		update(good + `,"check_status":{"type":"COMMAND","command":{}}`):          "",
		update(good + `,"check_status":{}`):                                       "",
		update(`"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR"`):               "Expecting 'uuid' to be present",
		update(`"state":"TASK_RUNNING","source":"SOURCE_EXECUTOR","uuid":"AAAA"`): "Not a valid UUID",
		update(`"state":"TASK_RUNNING",` + uuid):                                  "Received Call from executor e of framework f with invalid source, expecting 'SOURCE_EXECUTOR'",
		update(`"state":"TASK_RUNNING","source":"SOURCE_AGENT",` + uuid):          "Received Call from executor e of framework f with invalid source, expecting 'SOURCE_EXECUTOR'",
		update(`"state":"TASK_STAGING","source":"SOURCE_EXECUTOR",` + uuid):       "Received TASK_STAGING from executor e of framework f which is not allowed",
		update(good + `,"executor_id":{"value":"x"}`):                             "ExecutorID in Call: e does not match ExecutorID in TaskStatus: x",
		update(good + `,"check_status":{"type":"COMMAND"}`):                       "Expecting 'command' to be set for COMMAND check's status",
		update(good + `,"check_status":{"type":"HTTP"}`):                          "Expecting 'http' to be set for HTTP check's status",
		update(good + `,"check_status":{"type":"TCP"}`):                           "Expecting 'tcp' to be set for TCP check's status",
		`"type":"MESSAGE"`:                       "Expecting 'message' to be present",
		`"type":"MESSAGE","message":{"data":""}`: "",
		`"type":"NOPE"`:                          "Expecting 'type' to be present",
		`"type":"HEARTBEAT"`:                     "",
	} {
		cluster := newTestCluster()
		cluster.executors.known = true
		w := post(cluster.agent(), "/slave(1)/api/v1/executor/", `{"framework_id":{"value":"f"},"executor_id":{"value":"e"},`+call+`}`) // EXE-1
		if want == "" && w.Code != 202 || want != "" && (w.Code != 400 || w.Body.String() != prefix+want) {
			t.Errorf("%s: %d %q, want %q", call, w.Code, w.Body, want)
		}
		if heartbeat := strings.Contains(call, "HEARTBEAT"); heartbeat && len(cluster.executors.calls) != 0 {
			t.Error("a heartbeat reached the core")
		}
	}
}

// EXE-2: Accept of SUBSCRIBE.
func TestExecutorNotAcceptable(t *testing.T) {
	w := post(newTestCluster().agent(), "/api/v1/executor",
		`{"type":"SUBSCRIBE","framework_id":{"value":"f"},"executor_id":{"value":"e"},"subscribe":{}}`, "Accept", "text/html")
	if w.Code != 406 || w.Body.String() != notAcceptable.Body {
		t.Errorf("%d %q", w.Code, w.Body)
	}
}

// SCH-19
func TestGzipRequest(t *testing.T) {
	body := `{"type":"REVIVE","framework_id":{"value":"` + testMaster + `-0001"}}`
	master := newTestCluster().master()
	send := func(encoding string, body []byte) *httptest.ResponseRecorder {
		return post(master, "/api/v1/scheduler", string(body), "Content-Encoding", encoding, "Mesos-Stream-Id", testStream)
	}
	if w := send("gzip", zipped(t, []byte(body))); w.Code != 202 {
		t.Errorf("%d %q", w.Code, w.Body)
	}
	if w := send("deflate", zipped(t, []byte(body))); w.Code != 400 || !strings.HasPrefix(w.Body.String(), "Failed to parse body into JSON: ") {
		t.Errorf("other encoding: %d %q", w.Code, w.Body)
	}
	if w := send("gzip", []byte(body)); w.Code != 400 || !strings.HasPrefix(w.Body.String(), "Failed to decompress") {
		t.Errorf("not compressed: %d %q", w.Code, w.Body)
	}
	cut := zipped(t, []byte(body))
	if w := send("gzip", cut[:len(cut)-9]); w.Code != 400 {
		t.Errorf("cut off: %d %q", w.Code, w.Body)
	}
	// A small body that grows beyond the limit.
	if w := send("gzip", zipped(t, bytes.Repeat([]byte{' '}, maxBodyBytes+1))); w.Code != 413 {
		t.Errorf("bomb: %d %q", w.Code, w.Body)
	}
}

func zipped(t *testing.T, b []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	if _, err := z.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// Bodies made to hurt get a clear answer, at once.
func TestBadBodies(t *testing.T) {
	master := newTestCluster().master()
	for _, test := range []struct{ body, want string }{
		{strings.Repeat("[", maxBodyBytes), "Failed to parse body into JSON: "},
		{strings.Repeat(`{"subscribe":`, 800_000), "Failed to parse body into JSON: "},
		{strings.Repeat("x", maxBodyBytes), "Failed to parse body into JSON: syntax error at line 1 near: xxx"},
		{"{\"type\":\"\xff\xfe\"}", "Failed to validate scheduler::Call: Expecting 'type' to be present"},
		{"{\"type\":\"SUBSCRIBE\",\"subscribe\":{\"framework_info\":{\"user\":3,\"name\":\"x\"}}}", "Failed to convert JSON into Call protobuf: "},
		{`{"type":"SUBSCRIBE","subscr`, "Failed to parse body into JSON: "},
		{"\x00", "Failed to parse body into JSON: "},
	} {
		w := post(master, "/api/v1/scheduler", test.body)
		if w.Code != 400 || !strings.HasPrefix(w.Body.String(), test.want) || w.Body.Len() > 4096 {
			t.Errorf("%.20q: %d, %d bytes %.200q", test.body, w.Code, w.Body.Len(), w.Body)
		}
	}
	nested := []byte{}
	for range 20_000 { // A message inside itself: ContainerID.parent.
		nested = append(binary.AppendUvarint([]byte{0x12}, uint64(len(nested))), nested...)
		if len(nested) > 1<<16 {
			break
		}
	}
	if w := do(master, "POST", "/api/v1/scheduler", string(nested), "Content-Type", "application/x-protobuf"); w.Code != 400 {
		t.Errorf("nested protobuf: %d %q", w.Code, w.Body)
	}
}

// SCH-294: a body over the limit is refused and the connection stays usable; one of 10 MiB is taken.
func TestBodyLimit(t *testing.T) {
	site := httptest.NewServer(newTestCluster().master())
	defer site.Close()
	connection, err := net.Dial("tcp", site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	reader := bufio.NewReader(connection)
	for _, test := range []struct {
		size, want int
		chunked    bool
	}{
		{10 << 20, 202, false}, {maxBodyBytes, 202, false}, {maxBodyBytes + 1, 413, false}, {20 << 20, 413, false},
		{20 << 20, 413, true}, {10 << 20, 202, true}, {100, 202, false},
	} {
		call := `{"type":"REVIVE","framework_id":{"value":"` + testMaster + `-0001"}}`
		body := call + strings.Repeat(" ", test.size-len(call))
		head := "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nMesos-Stream-Id: " + testStream + "\r\n"
		sent := make(chan error, 1)
		go func() {
			var err error
			if test.chunked {
				_, err = fmt.Fprintf(connection, "%sTransfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", head, len(body), body)
			} else {
				_, err = fmt.Fprintf(connection, "%sContent-Length: %d\r\n\r\n%s", head, len(body), body)
			}
			sent <- err
		}()
		response, err := http.ReadResponse(reader, nil)
		if err != nil {
			t.Fatalf("%+v: %v", test, err)
		}
		text, err := io.ReadAll(response.Body)
		if err != nil {
			t.Fatal(err)
		}
		if response.StatusCode != test.want || response.Close {
			t.Fatalf("%+v: %d %q, close %v", test, response.StatusCode, text, response.Close)
		}
		if err := <-sent; err != nil {
			t.Fatal(err)
		}
	}
}

// SCH-17 OPR-7: pipelined requests are answered in order, and calls arrive in order.
func TestPipelining(t *testing.T) {
	cluster := newTestCluster()
	site := httptest.NewServer(cluster.master())
	defer site.Close()
	connection, err := net.Dial("tcp", site.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer connection.Close()
	var requests strings.Builder
	const n = 20
	for i := range n {
		body := fmt.Sprintf(`{"type":"MESSAGE","framework_id":{"value":"%s-0001"},"message":{"agent_id":{"value":"%d"},"executor_id":{"value":"e"},"data":""}}`, testMaster, i)
		fmt.Fprintf(&requests, "POST /api/v1/scheduler HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nMesos-Stream-Id: %s\r\nContent-Length: %d\r\n\r\n%s", testStream, len(body), body)
	}
	if _, err := io.WriteString(connection, requests.String()); err != nil {
		t.Fatal(err)
	}
	reader := bufio.NewReader(connection)
	for range n {
		response, err := http.ReadResponse(reader, nil)
		if err != nil || response.StatusCode != 202 || response.Header.Get("Date") == "" {
			t.Fatal(response, err)
		}
	}
	for i, call := range cluster.scheduler.calls {
		if got := call.Call.GetMessage().GetAgentId().GetValue(); got != strconv.Itoa(i) {
			t.Fatalf("call %d is %s", i, got)
		}
	}
}

// OPR-5
func TestJSONP(t *testing.T) {
	cluster := newTestCluster()
	_, facts := recorded(t, "master_state.json")
	cluster.state.view = facts.masterView(t)
	for _, path := range []string{"/state", "/version", "/tasks", "/flags", "/metrics/snapshot", "/files/debug"} {
		plain := do(cluster.master(), "GET", path, "")
		w := do(cluster.master(), "GET", path+"?jsonp=cb_1.x", "")
		if w.Body.String() != "cb_1.x("+plain.Body.String()+")" || w.Header().Get("Content-Type") != "text/javascript" {
			t.Errorf("%s: %v %.80s", path, w.Header(), w.Body)
		}
	}
	for _, name := range []string{"a(b", "<script>", "a;b", "a%0Ab", strings.Repeat("a", 200)} {
		if w := do(cluster.master(), "GET", "/version?jsonp="+strings.ReplaceAll(name, ";", "%3B"), ""); w.Code != 400 {
			t.Errorf("%s: %d %s", name, w.Code, w.Body)
		}
	}
	if w := post(cluster.master(), "/api/v1?jsonp=cb", `{"type":"GET_HEALTH"}`); w.Body.String() != `{"type":"GET_HEALTH","get_health":{"healthy":true}}` {
		t.Errorf("/api/v1: %s", w.Body)
	}
	if w := do(cluster.master(), "GET", "/files/read?jsonp=cb", ""); w.Code != 400 || strings.Contains(w.Body.String(), "cb(") {
		t.Errorf("an error is wrapped: %s", w.Body)
	}
}

// OPR-6 OPR-18
func TestCompressionAndHead(t *testing.T) {
	cluster := newTestCluster()
	cluster.state.view = largeView(t, 200)
	for _, path := range []string{"/state", "/master/tasks?limit=1", "/tasks?limit=-1", "/version", "/frameworks?framework_id="} {
		plain := do(cluster.master(), "GET", path, "").Body.Bytes()
		w := do(cluster.master(), "GET", path, "", "Accept-Encoding", "deflate, gzip;q=0.5")
		if zip := w.Header().Get("Content-Encoding") == "gzip"; zip != (len(plain) >= 1024) {
			t.Errorf("%s: %d bytes, compressed %v", path, len(plain), zip)
		} else if zip {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			if b, err := io.ReadAll(z); err != nil || !bytes.Equal(b, plain) {
				t.Errorf("%s: other text after decompression, %v", path, err)
			}
		}
		for _, refused := range []string{"gzip;q=0", "identity", "*;q=0", ""} {
			if w := do(cluster.master(), "GET", path, "", "Accept-Encoding", refused); w.Header().Get("Content-Encoding") != "" {
				t.Errorf("%s: compressed for %q", path, refused)
			}
		}
		head := do(cluster.master(), "HEAD", path, "")
		if head.Code != 200 || head.Header().Get("Content-Length") != strconv.Itoa(len(plain)) || len(plain) > spillBytes && head.Body.Len() > 0 {
			t.Errorf("HEAD %s: %d %v, want length %d", path, head.Code, head.Header(), len(plain))
		}
	}
}

// OPR-2 OPR-278
func TestPaths(t *testing.T) {
	cluster := newTestCluster()
	master, agent := cluster.master(), cluster.agent()
	for _, test := range []struct {
		api  http.Handler
		path string
		want int
	}{
		{master, "/", 404}, {master, "/nope", 404}, {master, "/State", 404}, {master, "/master", 404}, {master, "/slave(1)/state", 404},
		{master, "/state/../health", 404}, {master, "/health/..", 404}, {master, "/state?x=%zz", 400}, {master, "/master/version", 404},
		{master, "/master/health//", 200}, {master, "/health/x/y", 200}, {master, "/monitor/statistics", 404},
		{agent, "/slave/state", 404}, {agent, "/tasks", 404}, {agent, "/redirect", 404}, {agent, "/slave(1)/health", 200}, {agent, "/", 404},
		{agent, "/api/v1/scheduler", 405}, // below /api/v1
	} {
		w := do(test.api, "GET", test.path, "")
		if w.Code != test.want || test.want == 404 && w.Body.String() != "404 Not Found." {
			t.Errorf("%s: %d %q, want %d", test.path, w.Code, w.Body, test.want)
		}
	}
	pages := NewMaster(MasterOptions{Leader: &cluster.leader, Files: cluster.files, Logger: quiet, Dashboard: http.HandlerFunc(
		func(w http.ResponseWriter, r *http.Request) { fmt.Fprint(w, "page "+r.URL.Path) })})
	for path, want := range map[string]string{
		"/": "page /", "/ui/x": "page /ui/x", "/ui": "404 Not Found.", "/uix": "404 Not Found.", "/nosuch": "404 Not Found.",
	} {
		if w := do(pages, "GET", path, ""); w.Body.String() != want {
			t.Errorf("%s of a master with a dashboard: %q, want %q", path, w.Body, want)
		}
	}
}

// OPR-114 OPR-115
func TestTasksQuery(t *testing.T) {
	cluster := newTestCluster()
	cluster.state.view = largeView(t, 250)
	ids := func(query string) []string {
		var answer struct{ Tasks []struct{ ID string } }
		if err := json.Unmarshal(do(cluster.master(), "GET", "/tasks?"+query, "").Body.Bytes(), &answer); err != nil {
			t.Fatal(err)
		}
		var out []string
		for _, task := range answer.Tasks {
			out = append(out, task.ID)
		}
		return out
	}
	for query, want := range map[string]int{
		"": 100, "limit=7": 7, "limit=0": 0, "limit=-1": 250, "limit=-5": 250, "limit=-1&offset=0": 250, "limit=-1&offset=1": 0,
		"offset=-1": 0, "offset=249": 1, "offset=250": 0, "offset=251": 0, "limit=x": 100, "offset=x": 100,
		"task_id=task-7": 1, "task_id=nope": 0, "framework_id=" + testMaster + "-0001&limit=-1": 125, "framework_id=": 0,
	} {
		if got := len(ids(query)); got != want {
			t.Errorf("%s: %d tasks, want %d", query, got, want)
		}
	}
	seen := make(map[string]bool)
	for offset := 0; offset < 250; offset += 30 {
		for _, id := range ids(fmt.Sprintf("limit=30&offset=%d", offset)) {
			if seen[id] {
				t.Errorf("%s is on two pages", id)
			}
			seen[id] = true
		}
	}
	if len(seen) != 250 {
		t.Errorf("%d of 250 tasks on all pages", len(seen))
	}
	up, down := ids("order=asc&limit=-1"), ids("order=other&limit=-1")
	for i := range up {
		if up[i] != down[len(down)-1-i] {
			t.Fatalf("desc is not asc backwards at %d", i)
		}
	}
}

// largeView has n running tasks of two frameworks on one agent; their times are equal in groups of ten.
func largeView(t testing.TB, n int) *MasterView {
	view := emptyMasterView()
	view.State.GetTasks, view.State.GetFrameworks, view.State.GetAgents = orEmpty(view.State.GetTasks), orEmpty(view.State.GetFrameworks), orEmpty(view.State.GetAgents)
	_, facts := recorded(t, "master_state.json")
	for i := range 2 {
		f := facts.Frameworks[i%len(facts.Frameworks)]
		f.ID = fmt.Sprintf("%s-%04d", testMaster, i)
		f.Tasks, f.Executors = nil, nil
		view.State.GetFrameworks.Frameworks = append(view.State.GetFrameworks.Frameworks, f.addTo(t, view.State))
	}
	view.State.GetAgents.Agents = append(view.State.GetAgents.Agents, facts.Slaves[0].proto(t))
	model := facts.Frameworks[1].Tasks[0]
	for i := range n {
		task := model
		task.ID = fmt.Sprintf("task-%d", i)
		task.FrameworkID = fmt.Sprintf("%s-%04d", testMaster, i%2)
		p := task.proto(t)
		for _, s := range p.Statuses {
			s.Timestamp = proto.Float64(1704164800 + float64(i/10))
		}
		view.State.GetTasks.Tasks = append(view.State.GetTasks.Tasks, p)
	}
	return view
}

func postTo(t *testing.T, url, body string, headers ...string) *http.Response {
	t.Helper()
	r, err := http.NewRequest("POST", url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", jsonType)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	response, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return response
}
