package node_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	cdplog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
)

// page is the dashboard of a live cluster in a real Chromium.
type page struct {
	t   *testing.T
	ctx context.Context

	mu     sync.Mutex
	faults []string
}

func openPage(t *testing.T, url string) *page {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		t.Skip("needs chromium: ", err)
	}
	opts := append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.NoFirstRun,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true), chromedp.Flag("disable-sync", true))
	alloc, cancelAlloc := chromedp.NewExecAllocator(context.Background(), opts...)
	ctx, cancel := chromedp.NewContext(alloc)
	t.Cleanup(func() { cancel(); cancelAlloc() })
	p := &page{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Listen(ctx, p.listen); err != nil {
		t.Fatal(err)
	}
	if err := chromedp.Do(ctx, chromedp.Navigate(url)); err != nil {
		t.Fatal(err)
	}
	return p
}

// listen collects what the browser complains about.
func (p *page) listen(ev any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := ev.(type) {
	case *runtime.EventExceptionThrown:
		p.faults = append(p.faults, e.ExceptionDetails.Text)
	case *cdplog.EventEntryAdded:
		if e.Entry.Level == cdplog.EntryLevelError {
			p.faults = append(p.faults, e.Entry.Text+" "+e.Entry.URL)
		}
	}
}

// wait returns when the expression holds in the page, which looks for itself.
func (p *page) wait(expression string) {
	p.t.Helper()
	promise := fmt.Sprintf(`new Promise((done) => {
		const end = Date.now() + %d;
		const holds = () => { try { return Boolean(%s); } catch { return false; } };
		const look = () => { if (holds()) done(""); else if (Date.now() > end) done(document.body.innerText || "an empty page"); else setTimeout(look, 16); };
		look();
	})`, patience.Milliseconds(), expression)
	shows, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](promise, chromedp.EvalAwaitPromise))
	if err != nil {
		p.t.Fatal(err)
	}
	if shows != "" {
		p.t.Fatalf("waited for %s; the page shows:\n%s", expression, shows)
	}
}

func (p *page) waitText(text string) {
	p.t.Helper()
	quoted, err := json.Marshal(text)
	if err != nil {
		p.t.Fatal(err)
	}
	p.wait(fmt.Sprintf(`document.body.innerText.includes(%s)`, quoted))
}

func (p *page) goTo(hash string) {
	p.t.Helper()
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](fmt.Sprintf(`location.hash = %q`, hash))); err != nil {
		p.t.Fatal(err)
	}
}

// The dashboard of a live cluster: a task launched through the API appears without a reload, its log is
// followed, a kill from the page works, markup in names is inert, the page survives a restart of the
// node, and the browser has nothing to complain about. UI-1, UI-3, UI-5, UI-10, UI-15, UI-32, UI-33
func TestDashboard(t *testing.T) {
	c := startCluster(t, "--resources", "cpus:8;mem:4096;disk:1000")
	p := openPage(t, "http://"+c.master+"/")
	p.waitText("agent active")
	f := newFramework(t, c, mesos.JSON, func(i *v1.FrameworkInfo) {
		name := `<img src=x onerror="document.title='hacked'">`
		i.Name = &name
	})
	p.goTo("#/tasks")
	p.waitText("No tasks yet") // the page is there before the task is
	f.launch(shell("live", "echo first line; while :; do if [ -e go ]; then echo second line; rm go; fi; sleep 0.05; done"))
	p.waitText("live")
	p.waitText("<img src=x")
	st := f.reach("live", v1.TaskState_TASK_RUNNING)
	p.goTo("#/tasks/" + f.info.GetId().GetValue() + "/live")
	p.waitText("first line")
	// What the task writes now comes by itself.
	sandbox := fmt.Sprintf("%s/agent/slaves/%s/frameworks/%s/executors/live/runs/%s", c.dir, st.GetAgentId().GetValue(), f.info.GetId().GetValue(), st.GetContainerStatus().GetContainerId().GetValue())
	if text, err := exec.Command("touch", sandbox+"/go").CombinedOutput(); err != nil {
		t.Fatalf("touch: %v %s", err, text)
	}
	p.waitText("second line")
	p.click("Kill")
	p.wait(`document.querySelector('dialog[open]') !== null`)
	p.clickIn("dialog[open]", "Kill")
	if st := f.end("live"); st.GetState() != v1.TaskState_TASK_KILLED {
		t.Errorf("killed from the page: %v", st)
	}
	p.waitText("Killed")
	p.wait(`document.title !== 'hacked' && !document.querySelector('img[src="x"]')`)
	p.mu.Lock()
	faults := p.faults
	p.mu.Unlock()
	if len(faults) > 0 {
		t.Errorf("the browser complains: %s", strings.Join(faults, "; "))
	}
	c.kill9()
	p.wait(`document.querySelector('.live.is-connected') === null`)
	c.start()
	p.wait(`document.querySelector('.live.is-connected') !== null`)
	p.goTo("#/agents")
	p.waitText("localhost")
}

func (p *page) click(text string) { p.clickIn("body", text) }

// clickIn presses the button with the text below the selector.
func (p *page) clickIn(selector, text string) {
	p.t.Helper()
	find := fmt.Sprintf(`[...document.querySelectorAll(%q)].map((b) => b).find((b) => b.textContent.trim().startsWith(%q) && !b.disabled)`, selector+" button", text)
	p.wait(find)
	if _, err := chromedp.Run(p.ctx, chromedp.Evaluate[string](find+`.click() || ""`)); err != nil {
		p.t.Fatal(err)
	}
}
