package ui

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"
)

const (
	listEvery    = 2 * time.Second
	listTimeout  = 10 * time.Second
	maxListed    = 1000 // entries of a directory that are shown
	downloadRead = 256 << 10
	// downloadStall is how long a browser may take for one piece.
	downloadStall = time.Minute
	maxTarDepth   = 64
	maxTarFiles   = 100_000
)

// pollFiles lists the view's directory again and again until the returned
// function is called.
func (h *Hub) pollFiles(v *view) (stop func()) {
	ctx, cancel := context.WithCancel(h.ctx)
	agentID, dir := v.topic.ids[0], v.topic.path
	h.wg.Go(func() {
		timer := time.NewTimer(0)
		defer timer.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-timer.C:
			}
			c := h.listing(ctx, agentID, dir)
			h.do(func() {
				if ctx.Err() == nil { // else the view has ended meanwhile
					h.update(v, c)
				}
			})
			timer.Reset(listEvery)
		}
	})
	return cancel
}

// listing is what a directory shows: directories first, then by name.
func (h *Hub) listing(ctx context.Context, agentID, dir string) *content {
	ctx, cancel := context.WithTimeout(ctx, listTimeout)
	defer cancel()
	files, err := h.source.Files(ctx, agentID, dir)
	if err != nil {
		return &content{fields: fields(map[string]any{"error": err.Error(), "missing": errors.Is(err, ErrNotFound)})}
	}
	files = slices.Clone(files)
	slices.SortFunc(files, func(x, y File) int {
		if xd, yd := isDir(x), isDir(y); xd != yd {
			if xd {
				return -1
			}
			return 1
		}
		return natural(x.Name, y.Name)
	})
	c := &content{fields: fields(map[string]any{"total": len(files)})}
	for _, f := range files[:min(len(files), maxListed)] {
		c.rows = append(c.rows, row{key: f.Name, body: encode(map[string]any{
			"key": f.Name, "name": f.Name, "mode": f.Mode, "links": f.Links, "user": f.User, "group": f.Group,
			"size": f.Size, "modified": millis(f.Modified), "dir": isDir(f),
		})})
	}
	return c
}

func isDir(f File) bool { return strings.HasPrefix(f.Mode, "d") }

// imageTypes are the files that the page may show as they are. SVG is not
// among them: it can hold scripts.
var imageTypes = map[string]string{
	".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".gif": "image/gif", ".webp": "image/webp",
}

// serveDownload sends one file of an agent through this node, so that the
// browser does not have to reach the agent.
func (h *Hub) serveDownload(w http.ResponseWriter, r *http.Request) {
	secure(w.Header())
	leave, err := h.enter(h.readers)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	defer leave()
	agentID, file := r.FormValue("agent"), r.FormValue("path")
	if agentID == "" || file == "" {
		http.Error(w, "agent and path are needed", http.StatusBadRequest)
		return
	}
	send := h.sendFile
	if r.FormValue("archive") == "tar" {
		send = h.sendTar
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	control := http.NewResponseController(w)
	defer context.AfterFunc(h.ctx, func() {
		cancel()
		// Where the connection has no deadline the write ends with it.
		_ = control.SetWriteDeadline(time.Now())
	})()
	d := &download{ctx: ctx, agentID: agentID, path: file, inline: r.FormValue("inline") != "", head: w.Header(), body: timedWriter{w, ctx, control}}
	err = send(d)
	if err != nil && !d.begun {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	if err != nil {
		h.log.Info("a download has ended early", "agent_id", agentID, "path", file, "error", err)
		// The connection is cut so that the browser does not take a part for
		// the whole.
		panic(http.ErrAbortHandler)
	}
}

// download is one answer with the content of a file or a directory.
type download struct {
	ctx     context.Context
	agentID string
	path    string
	inline  bool // show it in the page, if it is a picture
	head    http.Header
	body    io.Writer
	begun   bool // the head is settled; an error can only cut it off
}

// begin settles the head of the answer.
func (d *download) begin(kind, disposition, name string) {
	d.begun = true
	d.head.Set("Content-Type", kind)
	d.head.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": name}))
	d.head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	d.head.Set("Cache-Control", "no-store")
}

func (h *Hub) sendFile(d *download) error {
	data, size, err := h.source.Read(d.ctx, d.agentID, d.path, 0, downloadRead)
	if err != nil {
		return err
	}
	kind, disposition := "application/octet-stream", "attachment"
	if image, ok := imageTypes[strings.ToLower(path.Ext(d.path))]; ok && d.inline {
		kind, disposition = image, "inline"
	}
	d.begin(kind, disposition, path.Base(d.path))
	return h.copyFile(d.ctx, d.body, d.agentID, d.path, data, size)
}

// sendTar sends a directory with all that is below it. Of other things than
// files and directories (links, sockets) nothing is sent.
func (h *Hub) sendTar(d *download) error {
	files, err := h.source.Files(d.ctx, d.agentID, d.path)
	if err != nil {
		return err
	}
	d.begin("application/x-tar", "attachment", path.Base(d.path)+".tar")
	t := &tarball{hub: h, d: d, w: tar.NewWriter(d.body)}
	if err := t.add(path.Base(d.path), d.path, files, 0); err != nil {
		return err
	}
	return t.w.Close()
}

// tarball is an archive under way.
type tarball struct {
	hub   *Hub
	d     *download
	w     *tar.Writer
	count int
}

func (t *tarball) add(name, dir string, files []File, depth int) error {
	if depth > maxTarDepth {
		return fmt.Errorf("%s is more than %d directories deep", dir, maxTarDepth)
	}
	for _, f := range files {
		if t.count++; t.count > maxTarFiles {
			return fmt.Errorf("there are more than %d files", maxTarFiles)
		}
		inside, at := path.Join(name, f.Name), path.Join(dir, f.Name)
		if isDir(f) {
			below, err := t.hub.source.Files(t.d.ctx, t.d.agentID, at)
			if err != nil {
				return err
			}
			if err := t.add(inside, at, below, depth+1); err != nil {
				return err
			}
			continue
		}
		if !strings.HasPrefix(f.Mode, "-") {
			continue
		}
		if err := t.file(inside, at, f); err != nil {
			return err
		}
	}
	return nil
}

func (t *tarball) file(name, at string, f File) error {
	data, size, err := t.hub.source.Read(t.d.ctx, t.d.agentID, at, 0, downloadRead)
	if errors.Is(err, ErrNotFound) {
		return nil // removed since it was listed
	}
	if err != nil {
		return err
	}
	head := &tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: permissions(f.Mode), ModTime: f.Modified, Uname: f.User, Gname: f.Group}
	if err := t.w.WriteHeader(head); err != nil {
		return err
	}
	return t.hub.copyFile(t.d.ctx, t.w, t.d.agentID, at, data, size)
}

// permissions reads the bits of "-rwxr-xr-x".
func permissions(mode string) int64 {
	var bits int64
	for _, c := range strings.TrimPrefix(mode, "-") {
		bits <<= 1
		if c != '-' {
			bits |= 1
		}
	}
	return bits & 0o777
}

// timedWriter gives each write its own deadline, so that a browser that stops
// reading does not hold a place for ever.
type timedWriter struct {
	io.Writer
	ctx     context.Context
	control *http.ResponseController
}

func (w timedWriter) Write(p []byte) (int, error) {
	if err := w.control.SetWriteDeadline(time.Now().Add(downloadStall)); err != nil && !errors.Is(err, http.ErrNotSupported) {
		return 0, err
	}
	// Asked after the deadline is set: Close sets its own after it has ended
	// the context, so one of the two is seen.
	if err := w.ctx.Err(); err != nil {
		return 0, err
	}
	return w.Writer.Write(p)
}

// copyFile writes the file up to the size it had at first.
func (h *Hub) copyFile(ctx context.Context, w io.Writer, agentID, file string, data []byte, size int64) error {
	var done int64
	for {
		data = data[:min(int64(len(data)), size-done)]
		if _, err := w.Write(data); err != nil {
			return fmt.Errorf("write: %w", err)
		}
		done += int64(len(data))
		if done >= size {
			return nil
		}
		if len(data) == 0 {
			return fmt.Errorf("the file has shrunk from %d bytes to %d", size, done)
		}
		var err error
		if data, _, err = h.source.Read(ctx, agentID, file, done, downloadRead); err != nil {
			return fmt.Errorf("read at %d: %w", done, err)
		}
	}
}

// statusOf is the HTTP code for an error of the source.
func statusOf(err error) int {
	switch {
	case errors.Is(err, ErrNotFound):
		return http.StatusNotFound
	case errors.Is(err, ErrUnavailable):
		return http.StatusServiceUnavailable
	}
	return http.StatusInternalServerError
}
