package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"path"
	"strconv"
	"time"
)

const (
	readChunk = 64 << 10 // bytes in one answer of /files/read
	pollFiles = 200 * time.Millisecond
)

// sandboxFile reads one file of a task's sandbox through the agent's files API.
type sandboxFile struct {
	cl   *client
	addr string
	path string
}

// openSandbox finds the task and the file below its sandbox.
func (cl *client) openSandbox(ctx context.Context, task, file string) (*sandboxFile, error) {
	t, err := cl.task(ctx, task)
	if err != nil {
		return nil, err
	}
	return cl.sandboxOf(t, file)
}

func (cl *client) sandboxOf(t taskEntry, file string) (*sandboxFile, error) {
	if t.agentAddr == "" {
		return nil, fmt.Errorf("agent %s of task %s is not registered: its sandbox cannot be read now", t.Agent, t.ID)
	}
	return &sandboxFile{cl: cl, addr: t.agentAddr, path: path.Join(t.sandbox(), path.Join("/", file))}, nil
}

// read returns up to length bytes from offset. A negative offset only asks for the size.
func (f *sandboxFile) read(ctx context.Context, offset, length int64) (data []byte, at int64, err error) {
	q := url.Values{"path": {f.path}, "offset": {strconv.FormatInt(offset, 10)}}
	if offset >= 0 {
		q.Set("length", strconv.FormatInt(length, 10))
	}
	var answer struct {
		Data   string `json:"data"`
		Offset int64  `json:"offset"`
	}
	if err := f.cl.getJSON(ctx, f.addr, "/files/read", q, &answer); err != nil {
		return nil, 0, f.explain(err)
	}
	return []byte(answer.Data), answer.Offset, nil
}

func (f *sandboxFile) explain(err error) error {
	var h *httpError
	if errors.As(err, &h) && h.status == http.StatusNotFound {
		return fmt.Errorf("no file %s in the sandbox", path.Base(f.path))
	}
	return err
}

func (f *sandboxFile) size(ctx context.Context) (int64, error) {
	_, size, err := f.read(ctx, -1, 0)
	return size, err
}

// copyAll writes the file's bytes as they are, through /files/download.
func (f *sandboxFile) copyAll(ctx context.Context, w io.Writer) error {
	resp, err := f.cl.get(ctx, f.addr, "/files/download", url.Values{"path": {f.path}})
	if err != nil {
		return f.explain(err)
	}
	defer resp.Body.Close()
	_, err = io.Copy(w, resp.Body)
	return err
}

// copyFrom writes what the file holds from offset on and returns the offset after it.
func (f *sandboxFile) copyFrom(ctx context.Context, w io.Writer, offset int64) (int64, error) {
	for {
		data, _, err := f.read(ctx, offset, readChunk)
		if err != nil || len(data) == 0 {
			return offset, err
		}
		if _, err := w.Write(data); err != nil {
			return offset, err
		}
		offset += int64(len(data))
	}
}

// lineOffset is where the last n lines begin.
func (f *sandboxFile) lineOffset(ctx context.Context, n int) (int64, error) {
	end, err := f.size(ctx)
	if err != nil || n <= 0 {
		return end, err
	}
	lines := 0
	for at := end; at > 0; {
		from := max(at-readChunk, 0)
		data, _, err := f.read(ctx, from, at-from)
		if err != nil {
			return 0, err
		}
		for i := len(data) - 1; i >= 0; i-- {
			// The newline that ends the file ends its last line, it does not begin another.
			if data[i] == '\n' && from+int64(i) != end-1 {
				if lines++; lines == n {
					return from + int64(i) + 1, nil
				}
			}
		}
		at = from
	}
	return 0, nil
}

// follow writes what is added to the file until ctx ends or done says that nothing more comes.
func (f *sandboxFile) follow(ctx context.Context, w io.Writer, offset int64, done func() bool) error {
	tick := time.NewTicker(pollFiles)
	defer tick.Stop()
	for {
		last := done()
		var err error
		if offset, err = f.copyFrom(ctx, w, offset); err != nil {
			if ctx.Err() != nil {
				return nil
			}
			return err
		}
		if last {
			return nil
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}
