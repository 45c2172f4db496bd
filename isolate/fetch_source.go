package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"syscall"
	"time"
)

// httpStatusError reports an answer other than 200 (ISO-378).
type httpStatusError int

func (e httpStatusError) Error() string {
	return fmt.Sprintf("Error downloading resource, received HTTP return code %d", int(e))
}

// downloadError puts a failed transfer in the original's words.
type downloadError struct{ cause error }

func (e *downloadError) Error() string {
	var dns *net.DNSError
	switch {
	case errors.As(e.cause, &dns):
		return "Error downloading resource: Couldn't resolve host name: " + dns.Name
	case errors.Is(e.cause, syscall.ECONNREFUSED):
		return "Error downloading resource: Couldn't connect to server"
	}
	return "Error downloading resource: " + e.cause.Error()
}

func (e *downloadError) Unwrap() error { return e.cause }

var errStalled = errors.New("the transfer stalled")

// maxHeaderBytes bounds the header of an answer, maxRedirects the way to it.
const (
	maxHeaderBytes = 256 << 10
	maxRedirects   = 10
)

// newClient makes the client of one transfer. Proxies come from the daemon's
// environment (ISO-381).
func newClient() (*http.Client, *http.Transport) {
	t := &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DisableCompression:     true, // an archive is stored as it is
		DisableKeepAlives:      true,
		MaxResponseHeaderBytes: maxHeaderBytes,
		ForceAttemptHTTP2:      true,
	}
	return &http.Client{Transport: t, CheckRedirect: func(_ *http.Request, via []*http.Request) error {
		if len(via) >= maxRedirects {
			return errors.New("too many redirects")
		}
		return nil
	}}, t
}

func (f *fetcher) download(ctx context.Context, r resource) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	stall := time.AfterFunc(f.spec.StallTimeout, func() { cancel(errStalled) })
	defer stall.Stop()
	if _, err := fmt.Fprintf(f.spec.Log, "Downloading resource from '%s'\n", r.shown); err != nil {
		return err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.remote.String(), nil)
	if err != nil {
		return errors.New("malformed URI")
	}
	req.Header.Set("User-Agent", "clusterd-fetcher")
	client, transport := newClient()
	defer transport.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return &downloadError{cause: transferCause(ctx, err)}
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return httpStatusError(resp.StatusCode)
	}
	if resp.ContentLength > f.room {
		return errNoRoom
	}
	body := &stallReader{src: resp.Body, reset: func() { stall.Reset(f.spec.StallTimeout) }}
	if err := f.write(ctx, r.name, fileMode(0o644, r.uri.Executable), body); err != nil {
		return &downloadError{cause: transferCause(ctx, err)}
	}
	return nil
}

// transferCause says why a transfer ended; the client's own error would repeat
// the URI with its secrets.
func transferCause(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil {
		return cause
	}
	var wrapped interface{ Unwrap() error }
	if errors.As(err, &wrapped) && wrapped.Unwrap() != nil {
		var path *os.PathError
		if !errors.As(err, &path) {
			return wrapped.Unwrap()
		}
	}
	return err
}

// stallReader tells of every byte that came.
type stallReader struct {
	src   io.Reader
	reset func()
}

func (r *stallReader) Read(p []byte) (int, error) {
	n, err := r.src.Read(p)
	if n > 0 {
		r.reset()
	}
	return n, err
}

func fileMode(mode os.FileMode, executable bool) os.FileMode {
	if executable {
		mode |= 0o111
	}
	return mode
}

func (f *fetcher) copyLocal(ctx context.Context, r resource) error {
	if _, err := fmt.Fprintf(f.spec.Log, "Copying resource from '%s'\n", r.shown); err != nil {
		return err
	}
	// O_NONBLOCK: opening a FIFO must not wait for its other end.
	src, err := os.OpenFile(r.local, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer src.Close()
	st, err := src.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("%s is not an ordinary file", r.local)
	}
	if st.Size() > f.room {
		return errNoRoom
	}
	// As cp does: the source's rights, less those of others to write.
	mode := st.Mode().Perm()&^0o022 | 0o600
	return f.write(ctx, r.name, fileMode(mode, r.uri.Executable), src)
}
