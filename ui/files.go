package ui

import (
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
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	control := http.NewResponseController(w)
	defer context.AfterFunc(h.ctx, func() {
		cancel()
		// Where the connection has no deadline the write ends with it.
		_ = control.SetWriteDeadline(time.Now())
	})()
	data, size, err := h.source.Read(ctx, agentID, file, 0, downloadRead)
	if err != nil {
		http.Error(w, err.Error(), statusOf(err))
		return
	}
	head := w.Header()
	disposition := "attachment"
	head.Set("Content-Type", "application/octet-stream")
	if kind, ok := imageTypes[strings.ToLower(path.Ext(file))]; ok && r.FormValue("inline") != "" {
		head.Set("Content-Type", kind)
		disposition = "inline"
	}
	head.Set("Content-Disposition", mime.FormatMediaType(disposition, map[string]string{"filename": path.Base(file)}))
	head.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	head.Set("Cache-Control", "no-store")
	if err := h.copyFile(ctx, timedWriter{w, ctx, control}, agentID, file, data, size); err != nil {
		h.log.Info("a download has ended early", "agent_id", agentID, "path", file, "error", err)
		// The connection is cut so that the browser does not take a part for
		// the whole.
		panic(http.ErrAbortHandler)
	}
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
