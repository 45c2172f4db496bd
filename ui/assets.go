package ui

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"strings"
)

//go:embed static
var static embed.FS

// contentSecurityPolicy forbids everything but our own files. Trusted types
// make the browser itself refuse text that is set as markup.
const contentSecurityPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; " +
	"connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'"

// asset is one embedded file, ready to be sent.
type asset struct {
	contentType string
	etag        string
	plain       []byte
	gzipped     []byte
}

// assets are all embedded files by their path below static/. Build names this
// set of files: a page that was loaded from another build loads itself anew.
type assets struct {
	files map[string]*asset
	build string
}

var contentTypes = map[string]string{
	".html": "text/html; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".css":  "text/css; charset=utf-8",
	".svg":  "image/svg+xml",
	".txt":  "text/plain; charset=utf-8",
}

// loadAssets reads the embedded files. It panics when they are broken, which
// only a broken build can cause.
func loadAssets() *assets {
	a := &assets{files: map[string]*asset{}}
	all := sha256.New()
	err := fs.WalkDir(static, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := static.ReadFile(name)
		if err != nil {
			return err
		}
		ct, ok := contentTypes[path.Ext(name)]
		if !ok {
			return fmt.Errorf("no content type for %s", name)
		}
		sum := sha256.Sum256(data)
		all.Write(sum[:])
		var zipped bytes.Buffer
		z := gzip.NewWriter(&zipped)
		if _, err := z.Write(data); err != nil {
			return err
		}
		if err := z.Close(); err != nil {
			return err
		}
		a.files[strings.TrimPrefix(name, "static/")] = &asset{
			contentType: ct,
			etag:        hex.EncodeToString(sum[:8]),
			plain:       data,
			gzipped:     zipped.Bytes(),
		}
		return nil
	})
	if err != nil {
		panic("ui: embedded files: " + err.Error())
	}
	a.build = hex.EncodeToString(all.Sum(nil)[:8])
	return a
}

func (a *assets) servePage(w http.ResponseWriter, r *http.Request) { a.serve(w, r, "index.html") }

func (a *assets) serveFile(w http.ResponseWriter, r *http.Request) {
	a.serve(w, r, r.PathValue("name"))
}

func (a *assets) serve(w http.ResponseWriter, r *http.Request, name string) {
	f, ok := a.files[name]
	if !ok {
		http.NotFound(w, r)
		return
	}
	head := w.Header()
	secure(head)
	head.Set("Content-Security-Policy", contentSecurityPolicy)
	head.Set("Content-Type", f.contentType)
	head.Set("Cache-Control", "no-cache")
	head.Add("Vary", "Accept-Encoding")
	body, etag := f.plain, `"`+f.etag+`"`
	if acceptsGzip(r) {
		body, etag = f.gzipped, `"`+f.etag+`-gz"`
		head.Set("Content-Encoding", "gzip")
	}
	head.Set("ETag", etag)
	if strings.Contains(r.Header.Get("If-None-Match"), etag) {
		head.Del("Content-Encoding")
		w.WriteHeader(http.StatusNotModified)
		return
	}
	head.Set("Content-Length", fmt.Sprint(len(body)))
	if r.Method == http.MethodHead {
		return
	}
	// An error here is the browser going away; there is nobody to tell.
	_, _ = w.Write(body)
}

// secure sets the headers that every answer of this package has.
func secure(head http.Header) {
	head.Set("X-Content-Type-Options", "nosniff")
	head.Set("Referrer-Policy", "no-referrer")
	head.Set("X-Frame-Options", "DENY")
	head.Set("Cross-Origin-Opener-Policy", "same-origin")
	head.Set("Cross-Origin-Resource-Policy", "same-origin")
}

// acceptsGzip reports whether the request names gzip without refusing it.
func acceptsGzip(r *http.Request) bool {
	for part := range strings.SplitSeq(r.Header.Get("Accept-Encoding"), ",") {
		coding, q, _ := strings.Cut(strings.TrimSpace(part), ";")
		if strings.EqualFold(strings.TrimSpace(coding), "gzip") {
			q = strings.ReplaceAll(q, " ", "")
			return q != "q=0" && q != "q=0.0" && q != "q=0.00" && q != "q=0.000"
		}
	}
	return false
}
