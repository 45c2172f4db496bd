package isolate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
)

// FetchSpec says what to bring into a sandbox.
type FetchSpec struct {
	Dir  string // the sandbox; nothing is written outside of it
	User string // reads local files and owns what is fetched; empty: the daemon's own
	URIs []URI
	Log  io.Writer // the sandbox's stderr; nil discards
	// FrameworksHome is where relative URIs are found (flag frameworks_home).
	FrameworksHome string
	// StallTimeout ends a transfer that brings nothing for so long (flag
	// fetcher_stall_timeout, ISO-380); 0 means one minute.
	StallTimeout time.Duration
}

// URI is one resource (CommandInfo.URI).
type URI struct {
	Value string
	// Executable sets the x bits; such a file is never extracted (ISO-372).
	Executable bool
	// Extract unpacks archives, known by the ending of their name (ISO-373).
	Extract bool
	// Cache is accepted; every fetch is uncached so far.
	Cache bool
	// OutputFile is a path in the sandbox, instead of the URI's last
	// component.
	OutputFile string
}

// RefusedURIError reports a URI that was refused before anything was fetched
// (ISO-369, ISO-371). Its text is "Could not fetch: " and the cause.
type RefusedURIError struct{ Cause string }

func (e *RefusedURIError) Error() string { return "Could not fetch: " + e.Cause }

// FetchError reports a URI that could not be fetched. Its text names the URI
// without user, password and query, which may be secrets (ISO-382).
type FetchError struct {
	URI string
	Err error
}

func (e *FetchError) Error() string { return fmt.Sprintf("Failed to fetch '%s': %v", e.URI, e.Err) }

func (e *FetchError) Unwrap() error { return e.Err }

// defaultStallTimeout is that of the original (ISO-380).
const defaultStallTimeout = time.Minute

// Fetch brings the URIs into the sandbox, in order. All are checked before the
// first is fetched. Files are read, written and owned as spec.User. It fails
// with a *RefusedURIError, a *FetchError or an *UnknownUserError.
func Fetch(ctx context.Context, spec FetchSpec) error {
	if spec.Log == nil {
		spec.Log = io.Discard
	}
	if spec.StallTimeout <= 0 {
		spec.StallTimeout = defaultStallTimeout
	}
	resources := make([]resource, 0, len(spec.URIs))
	for _, u := range spec.URIs {
		r, err := parseURI(u, spec.FrameworksHome)
		if err != nil {
			return err
		}
		resources = append(resources, r)
	}
	if len(resources) == 0 {
		return nil
	}
	owner, err := lookupUser(spec.User)
	if err != nil {
		return err
	}
	// Opened with our own rights: the user need not be able to walk to it.
	root, err := os.OpenRoot(spec.Dir)
	if err != nil {
		return fmt.Errorf("open sandbox: %w", err)
	}
	defer root.Close()
	f := &fetcher{spec: &spec, root: root}
	if f.room, err = freeBytes(spec.Dir); err != nil {
		return fmt.Errorf("measure free space: %w", err)
	}
	return asUser(owner, func() error {
		for _, r := range resources {
			if err := f.fetch(ctx, r); err != nil {
				return &FetchError{URI: r.shown, Err: err}
			}
		}
		return nil
	})
}

// resource is a URI that was found in order.
type resource struct {
	uri    URI
	remote *url.URL // of http and https
	local  string   // else: path on this machine
	name   string   // in the sandbox
	ending string   // the name by which archives are known
	shown  string   // without secrets
}

func refuse(format string, args ...any) (resource, error) {
	return resource{}, &RefusedURIError{Cause: fmt.Sprintf(format, args...)}
}

func parseURI(u URI, home string) (resource, error) {
	value := strings.TrimLeft(u.Value, " \t\r\n")
	if strings.ContainsAny(value, "\\'\x00") {
		return refuse("Illegal characters in URI")
	}
	r := resource{uri: u, shown: value}
	scheme, rest, hasScheme := strings.Cut(value, "://")
	switch {
	case hasScheme && (scheme == "http" || scheme == "https"):
		parsed, err := url.Parse(value)
		if err != nil || parsed.Host == "" {
			return refuse("Malformed URI: %s", scheme)
		}
		r.remote = parsed
		r.shown = (&url.URL{Scheme: parsed.Scheme, Host: parsed.Host, Path: parsed.Path, RawPath: parsed.RawPath}).String()
	case hasScheme && scheme == "file":
		r.local = "/" + strings.TrimLeft(strings.TrimPrefix(rest, "localhost"), "/")
		if !strings.HasPrefix(rest, "/") && !strings.HasPrefix(rest, "localhost/") {
			return refuse("File URI only supports absolute path: %s", value)
		}
	case hasScheme:
		return refuse("Scheme '%s' is not supported: %s", scheme, value)
	case filepath.IsAbs(value):
		r.local = value
	case home != "" && value != "":
		r.local = filepath.Join(home, value)
	default:
		return refuse("A relative path was passed for the resource but the Mesos framework home was not specified. " +
			"Please either provide this config option or avoid using a relative path")
	}
	return r.named(value, rest, hasScheme)
}

// named decides what the resource is called in the sandbox: the last component
// of the URI as it stands, query included (ISO-370).
func (r resource) named(value, rest string, hasScheme bool) (resource, error) {
	full := value
	if hasScheme {
		_, full, hasScheme = strings.Cut(rest, "/")
		if !hasScheme || full == "" {
			return refuse("Malformed URI (missing path): %s", r.shown)
		}
	}
	before, _, _ := strings.Cut(full, "?")
	r.ending = path.Base(before)
	if r.name = full[strings.LastIndex(before, "/")+1:]; r.uri.OutputFile != "" {
		if filepath.IsAbs(r.uri.OutputFile) || !filepath.IsLocal(r.uri.OutputFile) || filepath.Clean(r.uri.OutputFile) == "." || strings.IndexByte(r.uri.OutputFile, 0) >= 0 {
			return refuse("URI output file must be within the sandbox directory")
		}
		r.name = filepath.Clean(r.uri.OutputFile)
		r.ending = filepath.Base(r.name)
		return r, nil
	}
	// A query may contain slashes: then they are part of no name.
	r.name = strings.ReplaceAll(r.name, "/", "_")
	if r.name == "" || r.name == "." || r.name == ".." || strings.HasSuffix(before, "/") {
		return refuse("Malformed URI (missing path): %s", r.shown)
	}
	return r, nil
}

// fetcher fetches into one sandbox.
type fetcher struct {
	spec *FetchSpec
	root *os.Root
	room int64 // bytes that may still be written
}

func (f *fetcher) fetch(ctx context.Context, r resource) error {
	if dir := filepath.Dir(r.name); dir != "." {
		if err := f.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	var err error
	if r.remote != nil {
		err = f.download(ctx, r)
	} else {
		err = f.copyLocal(ctx, r)
	}
	if err != nil {
		return err
	}
	if !r.uri.Extract || r.uri.Executable {
		return nil
	}
	kind := archiveKind(r.ending)
	if kind == "" {
		_, err := fmt.Fprintf(f.spec.Log, "Copying instead of extracting resource from URI '%s': it does not seem to be an archive\n", r.shown)
		return err
	}
	if err := f.extract(ctx, r.name, kind); err != nil {
		return fmt.Errorf("extract '%s': %w", r.name, err)
	}
	return nil
}

// create makes a new file in the sandbox, in place of one that is there: what
// an earlier archive put there (a link, say) is replaced, not written through.
func (f *fetcher) create(name string, mode os.FileMode) (*os.File, error) {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	file, err := f.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	// The mode is meant as it is, whatever our umask.
	if err := file.Chmod(mode); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// write copies all of src into a new file.
func (f *fetcher) write(ctx context.Context, name string, mode os.FileMode, src io.Reader) (err error) {
	file, err := f.create(name, mode)
	if err != nil {
		return err
	}
	n, err := io.Copy(file, &boundedReader{ctx: ctx, src: src, room: f.room})
	f.room -= n
	return errors.Join(err, file.Close())
}

var errNoRoom = errors.New("there is not enough free space on the disk")

// boundedReader ends with an error when the context does, or when more comes
// than there is room for.
type boundedReader struct {
	ctx  context.Context
	src  io.Reader
	room int64
}

func (r *boundedReader) Read(p []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, context.Cause(r.ctx)
	}
	n, err := r.src.Read(p)
	if r.room -= int64(n); r.room < 0 {
		return 0, errNoRoom
	}
	return n, err
}
