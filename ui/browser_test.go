package ui

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is one Chromium for all tests of the package, started by the first.
var browser struct {
	once   sync.Once
	ctx    context.Context
	cancel context.CancelFunc
	err    error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if browser.cancel != nil {
		browser.cancel()
	}
	os.Exit(code)
}

func startBrowser() {
	path, err := findChromium()
	if err != nil {
		browser.err = err
		return
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true), chromedp.Flag("hide-scrollbars", true))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	browser.cancel = func() { cancel(); cancelAlloc() }
	browser.ctx = ctx
	browser.err = chromedp.Do(ctx)
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("no chromium in PATH")
}

// tab is one page of the browser on one hub with one source.
type tab struct {
	t      *testing.T
	ctx    context.Context
	source *fakeSource
	hub    *Hub
	url    string

	mu     sync.Mutex
	faults []string // errors of the browser's console
}

// open shows the demo cluster at the address ("#/tasks").
func open(t *testing.T, address string) *tab {
	t.Helper()
	f := newFake()
	demo(f, time.Now())
	b := &tab{t: t, source: f, hub: New(Options{Source: f, Logger: quiet(t)})}
	server := httptest.NewServer(b.hub.Handler())
	t.Cleanup(func() { b.hub.Close(); server.Close() })
	b.url = server.URL
	b.start(address)
	return b
}

func (b *tab) start(address string) {
	b.t.Helper()
	browser.once.Do(startBrowser)
	if browser.err != nil {
		b.t.Skipf("the dashboard cannot be tried in a browser: %v", browser.err)
	}
	ctx, cancel := chromedp.NewContext(browser.ctx)
	b.t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		b.t.Fatal(err)
	}
	b.ctx = ctx
	if err := chromedp.Listen(ctx, b.listen); err != nil {
		b.t.Fatal(err)
	}
	b.run(chromedp.EmulateViewport(1440, 900), chromedp.Navigate(b.url+"/"+address))
	b.wait(`document.querySelector('.live.is-connected') !== null`)
}

// listen collects what the browser complains about.
func (b *tab) listen(ev any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		b.faults = append(b.faults, fmt.Sprintf("%s %+v", e.ExceptionDetails.Text, e.ExceptionDetails.Exception))
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning {
			b.faults = append(b.faults, fmt.Sprint(e.Type, e.Args))
		}
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError {
			b.faults = append(b.faults, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// clean fails the test when the browser has complained.
func (b *tab) clean() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, f := range b.faults {
		b.t.Errorf("browser console: %s", f)
	}
}

func (b *tab) run(actions ...chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	if err := chromedp.Do(ctx, actions...); err != nil {
		b.t.Fatal(err)
	}
}

// ask returns the value of an expression.
func ask[T any](b *tab, expression string) T {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, stepTimeout)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		b.t.Fatalf("%s: %v", expression, err)
	}
	return v
}

const stepTimeout = 60 * time.Second

// wait returns when the expression is true. The page itself looks, at each
// frame: its policy forbids what chromedp's own polling does.
func (b *tab) wait(expression string) {
	b.t.Helper()
	promise := fmt.Sprintf(`new Promise((done) => {
		const end = Date.now() + %d;
		const holds = () => { try { return Boolean(%s); } catch { return false; } }; // what it asks for may not be there yet
		const look = () => { if (holds()) done(true); else if (Date.now() > end) done(false); else setTimeout(look, 16); };
		look();
	})`, waitTimeout.Milliseconds(), expression)
	if !ask[bool](b, promise) {
		b.shot("failed-" + b.t.Name())
		b.clean()
		b.t.Fatalf("waited for %s; the page shows:\n%s", expression, ask[string](b, `document.body.innerText`))
	}
}

const waitTimeout = 30 * time.Second

// waitText returns when the page shows the text.
func (b *tab) waitText(text string) {
	b.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		b.t.Fatal(err)
	}
	b.wait(fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted))
}

func (b *tab) goTo(address string) {
	b.t.Helper()
	ask[string](b, fmt.Sprintf(`location.hash = %q`, address))
}

// shot writes a screenshot to the directory that CLUSTERD_SCREENSHOTS names.
func (b *tab) shot(name string) {
	b.t.Helper()
	dir := os.Getenv("CLUSTERD_SCREENSHOTS")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.CaptureScreenshot())
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, name+".png"), png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// look sets the colour scheme and the size of the window.
func (b *tab) look(scheme string, width, height int64) {
	b.t.Helper()
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-color-scheme", Value: scheme}}}
	if _, err := chromedp.Call(b.ctx, emulation.SetEmulatedMedia, media); err != nil {
		b.t.Fatal(err)
	}
	b.run(chromedp.EmulateViewport(width, height))
}

// demoHistory gives the hub an hour of samples.
func demoHistory(h *Hub, now time.Time) {
	done := make(chan struct{})
	h.do(func() {
		defer close(done)
		h.history.samples = nil
		for i := range sampleCount {
			at := now.Add(-time.Duration(sampleCount-i) * sampleEvery)
			c := map[string]int64{"TASK_RUNNING": 30 + int64(i%37)/4 + int64(i)/12, "TASK_STARTING": int64(i%9) / 4}
			if i%5 == 0 {
				c["TASK_FINISHED"] = int64(i%4) + 1
			}
			if i%41 == 7 {
				c["TASK_FAILED"] = 2
			}
			if i == 133 {
				c["TASK_KILLED"] = 3
			}
			h.history.samples = append(h.history.samples, sample{At: at.UnixMilli(), Counts: c})
		}
		h.encoded = h.history.encode()
		h.rebuild = true
	})
	<-done
}

// demoFiles gives a task of the demo a sandbox.
func demoFiles(f *fakeSource) *Task {
	t := f.state.Tasks[0]
	now := time.Now()
	f.setDir(t.AgentID, t.Sandbox, []File{
		{Name: "stdout", Mode: "-rw-r--r--", Links: 1, User: "root", Group: "root", Size: 18233, Modified: now.Add(-4 * time.Second)},
		{Name: "stderr", Mode: "-rw-r--r--", Links: 1, User: "root", Group: "root", Size: 0, Modified: now.Add(-20 * time.Second)},
		{Name: "conf", Mode: "drwxr-xr-x", Links: 2, User: "root", Group: "root", Size: 4096, Modified: now.Add(-21 * time.Second)},
		{Name: "app.tar.gz", Mode: "-rw-r--r--", Links: 1, User: "root", Group: "root", Size: 48211933, Modified: now.Add(-25 * time.Second)},
	})
	f.setDir(t.AgentID, t.Sandbox+"/conf", []File{{Name: "app.toml", Mode: "-rw-------", Links: 1, User: "root", Group: "root", Size: 812, Modified: now.Add(-time.Hour)}})
	var out strings.Builder
	for i := range 240 {
		fmt.Fprintf(&out, "2026-01-14T09:%02d:%02d.%03dZ  INFO  request handled  method=GET path=/search?q=%d status=200 took=%dms\n", i/60, i%60, (i*37)%1000, i, i%40+2)
	}
	f.write(t.AgentID, t.Sandbox+"/stdout", out.String())
	f.write(t.AgentID, t.Sandbox+"/stderr", "")
	return t
}

// contrast returns the texts of the page whose contrast is under WCAG AA.
const contrast = `(() => {
  const parse = (c) => { const m = c.match(/[\d.]+/g).map(Number); return m.length < 4 ? [...m, 1] : m; };
  const over = (a, b) => [0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3]));
  const lum = (c) => { const [r, g, b] = c.map((v) => { v /= 255; return v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4; }); return 0.2126 * r + 0.7152 * g + 0.0722 * b; };
  const back = (el) => { const chain = []; for (let e = el; e; e = e.parentElement) chain.push(parse(getComputedStyle(e).backgroundColor)); let c = [255, 255, 255]; for (const x of chain.reverse()) c = over(x, c); return c; };
  const bad = [];
  const walk = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walk.nextNode()) {
    const el = walk.currentNode.parentElement;
    const text = walk.currentNode.data.trim();
    if (!text || !el.getClientRects().length || el.closest('[disabled], svg, noscript, .skip')) continue;
    const style = getComputedStyle(el);
    const bg = back(el);
    const fg = over(parse(style.color), bg);
    const [a, b] = [lum(fg), lum(bg)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.6 && style.fontWeight >= 700);
    if (ratio < (large ? 3 : 4.5)) bad.push(ratio.toFixed(2) + ' ' + text.slice(0, 40));
  }
  return [...new Set(bad)];
})()`

// unnamed returns the controls without a name for a screen reader.
const unnamed = `[...document.querySelectorAll('button, a[href], input, [role=img], [role=region], dialog')].filter((el) =>
  el.getClientRects().length && !(el.getAttribute('aria-label') || el.getAttribute('aria-labelledby') || el.textContent.trim() || el.title)).map((el) => el.outerHTML.slice(0, 120))`

// UI-10, UI-11, UI-12, UI-15, UI-16, UI-31, UI-33: every page shows its data in
// light, dark and at 375 px, without sideways scrolling, low contrast, nameless
// controls or a complaint of the browser.
func TestPages(t *testing.T) {
	b := open(t, "#/")
	demoHistory(b.hub, time.Now())
	task := demoFiles(b.source)
	s := b.source.state
	failed := s.Tasks[8]
	in := func(path string) string { return fmt.Sprintf("?path=%s&root=%s", task.Sandbox+path, task.Sandbox) }
	pages := []struct{ name, address, text string }{
		{"overview", "#/", "Recently ended"},
		{"frameworks", "#/frameworks", "cron"},
		{"framework", "#/frameworks/" + s.Frameworks[0].ID, "Failover time-out"},
		{"agents", "#/agents", "node-05.lab.example"},
		{"agent", "#/agents/" + s.Agents[1].ID, "Frameworks here"},
		{"tasks", "#/tasks", "primes-1"},
		{"tasks-failed", "#/tasks?state=failed", "it used 64 MB of its limit of 64 MB memory"},
		{"tasks-none", "#/tasks?q=nosuchtask", "Nothing matches"},
		{"task", "#/tasks/" + task.FrameworkID + "/" + task.ID, "request handled"},
		{"task-failed", "#/tasks/" + failed.FrameworkID + "/" + failed.ID, "it used 64 MB of its limit of 64 MB memory"},
		{"task-staging", "#/tasks/" + s.Tasks[2].FrameworkID + "/" + s.Tasks[2].ID, "No logs yet"},
		{"sandbox", "#/agents/" + task.AgentID + "/browse" + in(""), "app.tar.gz"},
		{"file", "#/agents/" + task.AgentID + "/file" + in("/stdout"), "request handled"},
		{"missing", "#/tasks/none/none", "not known"},
		{"nowhere", "#/nowhere", "no such page"},
	}
	for _, look := range []struct {
		name, scheme string
		w, h         int64
	}{{"light", "light", 1440, 900}, {"dark", "dark", 1440, 900}, {"phone", "light", 375, 812}, {"tablet", "dark", 900, 1100}} {
		b.look(look.scheme, look.w, look.h)
		for _, p := range pages {
			b.goTo(p.address)
			b.waitText(p.text)
			b.shot(p.name + "-" + look.name)
			if wide, most := ask[int](b, `document.documentElement.scrollWidth`), ask[int](b, `document.documentElement.clientWidth`); wide > most {
				t.Errorf("%s at %s scrolls sideways: %d > %d", p.name, look.name, wide, most)
			}
			if bad := ask[[]string](b, contrast); len(bad) > 0 {
				t.Errorf("%s at %s: contrast under AA: %s", p.name, look.name, strings.Join(bad, "; "))
			}
			if bad := ask[[]string](b, unnamed); len(bad) > 0 {
				t.Errorf("%s at %s: controls without a name: %s", p.name, look.name, strings.Join(bad, "; "))
			}
		}
	}
	b.clean()
}
