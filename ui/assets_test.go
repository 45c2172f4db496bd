package ui

import (
	"bytes"
	"compress/gzip"
	"io"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"
)

// UI-2: scripts and styles have at most 200 KB before compression.
func TestAssetsAreSmall(t *testing.T) {
	total := 0
	for name, f := range loadAssets().files {
		if ext := path.Ext(name); ext == ".js" || ext == ".css" {
			total += len(f.plain)
		}
	}
	if total == 0 || total > 200*1024 {
		t.Errorf("%d bytes of scripts and styles", total)
	}
}

// UI-4: every file has the strict policy, a type and a tag; nothing in the page
// is inline or from elsewhere, and no script sets markup.
func TestAssetsAreStrict(t *testing.T) {
	a := loadAssets()
	for name := range a.files {
		w := httptest.NewRecorder()
		a.serve(w, httptest.NewRequest("GET", "/", nil), name)
		policy := w.Header().Get("Content-Security-Policy")
		if w.Code != 200 || strings.Contains(policy, "unsafe") || !strings.HasPrefix(policy, "default-src 'none'; script-src 'self'; style-src 'self';") {
			t.Errorf("%s: %d, policy %q", name, w.Code, policy)
		}
		if w.Header().Get("X-Content-Type-Options") != "nosniff" || w.Header().Get("Content-Type") == "" || w.Header().Get("ETag") == "" {
			t.Errorf("%s: %v", name, w.Header())
		}
	}
	forbidden := regexp.MustCompile(`innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function|setAttribute\('style'`)
	for name, f := range a.files {
		if m := forbidden.Find(f.plain); m != nil {
			t.Errorf("%s uses %s", name, m)
		}
		if path.Ext(name) == ".svg" {
			continue // its namespace is an address
		}
		for _, u := range regexp.MustCompile(`https?://[^'"\s)]*`).FindAllString(string(f.plain), -1) {
			if u != "http://www.w3.org/2000/svg" && !strings.HasPrefix(u, "http://${") {
				t.Errorf("%s names %s", name, u)
			}
		}
	}
	html := string(a.files["index.html"].plain)
	if m := regexp.MustCompile(`<style|style=|\son[a-z]+=|<script(?:>|[^>]*[^>]>[^<])`).FindString(html); m != "" {
		t.Errorf("inline in index.html: %s", m)
	}
	for _, m := range regexp.MustCompile(`(?:href|src)="/ui/static/([^"]+)"`).FindAllStringSubmatch(html, -1) {
		if a.files[m[1]] == nil {
			t.Errorf("index.html names %s, which is not there", m[1])
		}
	}
	for name := range a.files {
		if path.Ext(name) == ".js" && !strings.Contains(html, `"/ui/static/`+name+`"`) {
			t.Errorf("%s is not named in index.html: the browser learns of it late", name)
		}
	}
}

func TestAssetsAnswer(t *testing.T) {
	a := loadAssets()
	plain := a.files["main.js"].plain
	tests := []struct {
		name, accept, match string
		code                int
		zipped              bool
	}{
		{"main.js", "", "", 200, false},
		{"main.js", "br, gzip;q=0.8", "", 200, true},
		{"main.js", "gzip;q=0", "", 200, false},
		{"main.js", "", `"` + a.files["main.js"].etag + `"`, 304, false},
		{"main.js", "gzip", `"` + a.files["main.js"].etag + `-gz"`, 304, false},
		{"main.js", "", `"other"`, 200, false},
		{"../ui.go", "", "", 404, false},
		{"nope.js", "", "", 404, false},
		{"", "", "", 404, false},
	}
	for _, tt := range tests {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Accept-Encoding", tt.accept)
		r.Header.Set("If-None-Match", tt.match)
		w := httptest.NewRecorder()
		a.serve(w, r, tt.name)
		if w.Code != tt.code || (w.Header().Get("Content-Encoding") == "gzip") != tt.zipped {
			t.Errorf("%+v: %d %v", tt, w.Code, w.Header())
		}
		if tt.code != 200 {
			continue
		}
		var body io.Reader = w.Body
		if tt.zipped {
			z, err := gzip.NewReader(w.Body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		got, err := io.ReadAll(body)
		if err != nil || !bytes.Equal(got, plain) {
			t.Errorf("%+v: %d bytes, %v", tt, len(got), err)
		}
	}
}
