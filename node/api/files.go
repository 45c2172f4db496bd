package api

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"

	"clusterd/node/mesos"
)

// Files is the table of virtual paths that the files endpoints serve. A virtual path stands for a real
// directory or file; nothing outside of what is attached can be reached, whatever links a task puts
// into its sandbox (EXE-181, OPR-147). It is safe for use from any goroutine.
type Files struct {
	mu   sync.RWMutex
	real map[string]string // by virtual path, without a slash at the end
}

// NewFiles returns an empty table.
func NewFiles() *Files { return &Files{real: make(map[string]string)} }

// Sandbox names a run of an executor. Directory is the absolute path
// .../frameworks/<framework>/executors/<executor>/runs/<container>.
type Sandbox struct {
	FrameworkID mesos.FrameworkID
	ExecutorID  mesos.ExecutorID
	ContainerID mesos.ContainerID
	Directory   string
}

// Attach lets virtual stand for real, an absolute path. What it stood for before is replaced.
func (f *Files) Attach(virtual, real string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.real[path.Join("/", virtual)] = filepath.Clean(real)
}

// Detach ends what Attach began.
func (f *Files) Detach(virtual string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.real, path.Join("/", virtual))
}

// AttachSandbox makes a sandbox reachable under its real path, with "latest" instead of the container
// id, and under the short path of executor and run (OPR-152, EXE-181). The sandbox attached last is the
// latest one of its executor.
func (f *Files) AttachSandbox(s Sandbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	directory := filepath.Clean(s.Directory)
	for _, virtual := range s.paths() {
		f.real[virtual] = directory
	}
}

// DetachSandbox removes a sandbox when it is collected. If it is not the latest one of its executor any
// more, the paths with "latest" stay.
func (f *Files) DetachSandbox(s Sandbox) {
	f.mu.Lock()
	defer f.mu.Unlock()
	directory := filepath.Clean(s.Directory)
	for _, virtual := range s.paths() {
		if f.real[virtual] == directory {
			delete(f.real, virtual)
		}
	}
}

func (s Sandbox) paths() [4]string {
	directory := filepath.Clean(s.Directory)
	short := "/frameworks/" + string(s.FrameworkID) + "/executors/" + string(s.ExecutorID) + "/runs/"
	return [4]string{
		directory,
		filepath.Join(filepath.Dir(directory), "latest"),
		short + string(s.ContainerID),
		short + "latest",
	}
}

// Paths returns a copy of the table: real path by virtual path (OPR-151).
func (f *Files) Paths() map[string]string {
	f.mu.RLock()
	defer f.mu.RUnlock()
	table := make(map[string]string, len(f.real))
	for virtual, real := range f.real {
		table[virtual] = real
	}
	return table
}

var (
	errUnknownPath = errors.New("no such path")
	// errInaccessible is a path that leads out of what is attached, or to something that is neither a
	// file nor a directory, such as a pipe or a device.
	errInaccessible = errors.New("inaccessible")
	// errTooManyLookups is a path or a listing that takes too long to find out about.
	errTooManyLookups = errors.New("too many directories and links to follow")
)

// A place is a path inside an attached tree.
type place struct {
	root string   // real directory, the tree's top
	rest []string // path below it, element by element; may hold ".."
}

// locate finds the longest attached path that virtual begins with. What follows is resolved later,
// against the real tree.
func (f *Files) locate(virtual string) (place, error) {
	if !strings.HasPrefix(virtual, "/") || strings.ContainsRune(virtual, 0) || len(virtual) > maxPathBytes {
		return place{}, errUnknownPath
	}
	elements := slices.DeleteFunc(strings.Split(virtual, "/"), func(e string) bool { return e == "" || e == "." })
	f.mu.RLock()
	defer f.mu.RUnlock()
	for n := len(elements); n >= 0; n-- {
		if real, ok := f.real["/"+strings.Join(elements[:n], "/")]; ok {
			return place{root: real, rest: elements[n:]}, nil
		}
	}
	return place{}, errUnknownPath
}

// open opens what a virtual path stands for, if it is a regular file or a directory. It does not block
// on pipes and does not touch devices.
func (f *Files) open(virtual string) (*os.File, fs.FileInfo, error) {
	tree, name, err := f.resolve(virtual)
	if err != nil {
		return nil, nil, err
	}
	defer tree.root.Close()
	return openPlain(tree.root, name)
}

// openPlain opens a regular file or a directory below root.
func openPlain(root *os.Root, name string) (*os.File, fs.FileInfo, error) {
	info, err := root.Lstat(name)
	if err != nil {
		return nil, nil, pathError(err)
	}
	if !plain(info) {
		return nil, nil, errInaccessible
	}
	// Between the two looks the file may have become a pipe: O_NONBLOCK opens one without waiting.
	file, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		return nil, nil, pathError(err)
	}
	info, err = file.Stat()
	if err == nil && !plain(info) {
		err = errInaccessible
	}
	if err != nil {
		return nil, nil, errors.Join(err, file.Close())
	}
	return file, info, nil
}

func plain(info fs.FileInfo) bool { return info.Mode().IsRegular() || info.IsDir() }

// pathError sorts the errors of the file system: what does not exist, what must not be reached, and the
// rest.
func pathError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, syscall.ENOTDIR), errors.Is(err, syscall.ENAMETOOLONG):
		return errUnknownPath
	case errors.Is(err, syscall.ELOOP), isEscape(err):
		return errInaccessible
	}
	return err
}

// isEscape tells whether os.Root refused a name because it leads out.
func isEscape(err error) bool {
	var pe *fs.PathError
	if !errors.As(err, &pe) {
		return false
	}
	_, errno := pe.Err.(syscall.Errno)
	return !errno
}

const (
	// maxPathBytes is the longest path that the kernel takes.
	maxPathBytes = 4096
	// maxLinks bounds the links that one path may pass, as the kernel does.
	maxLinks = 40
	// maxLookups bounds the directories that one request may look into, on all its paths together: a task
	// can nest directories and links without limit.
	maxLookups = 60_000
)

// tree is an opened attached tree, for one request.
type tree struct {
	root *os.Root
	tops []string // the real names of its top, for links with an absolute target
	left int      // of maxLookups
}

// resolve opens the tree that a virtual path leads into and returns the path below it without links.
// Links are followed as long as they stay inside the tree; one with an absolute target is taken to mean
// the same real path. A race with a task that exchanges files cannot lead out: os.Root checks every step
// again. The caller closes the tree's root.
func (f *Files) resolve(virtual string) (*tree, string, error) {
	at, err := f.locate(virtual)
	if err != nil {
		return nil, "", err
	}
	top, rest := at.root, at.rest
	if info, err := os.Stat(top); err != nil {
		return nil, "", pathError(err)
	} else if !info.IsDir() {
		if len(rest) > 0 {
			return nil, "", errUnknownPath
		}
		// An attached file, such as a log: the tree is its directory.
		top, rest = filepath.Dir(top), []string{filepath.Base(top)}
	}
	root, err := os.OpenRoot(top)
	if err != nil {
		return nil, "", pathError(err)
	}
	t := &tree{root: root, tops: []string{top}, left: maxLookups}
	if real, err := filepath.EvalSymlinks(top); err == nil && real != top {
		t.tops = append(t.tops, real)
	}
	name, err := t.walk(nil, rest)
	if err != nil {
		return nil, "", errors.Join(err, root.Close())
	}
	return t, name, nil
}

// walk follows rest, element by element, from at, which is below the top and free of links.
func (t *tree) walk(at, rest []string) (string, error) {
	for links := 0; len(rest) > 0; {
		element := rest[0]
		rest = rest[1:]
		switch element {
		case "", ".":
			continue
		case "..":
			if len(at) == 0 {
				return "", errInaccessible
			}
			at = at[:len(at)-1]
			continue
		}
		next := append(at[:len(at):len(at)], element)
		if t.left -= len(next); t.left < 0 {
			return "", errTooManyLookups
		}
		info, err := t.root.Lstat(path.Join(next...))
		if err != nil {
			return "", pathError(err)
		}
		if info.Mode()&fs.ModeSymlink == 0 {
			if !info.IsDir() && len(rest) > 0 {
				return "", errUnknownPath
			}
			at = next
			continue
		}
		if links++; links > maxLinks {
			return "", errInaccessible
		}
		target, err := t.root.Readlink(path.Join(next...))
		if err != nil {
			return "", pathError(err)
		}
		if path.IsAbs(target) {
			if target, err = t.below(target); err != nil {
				return "", err
			}
			at = nil
		}
		rest = append(strings.Split(target, "/"), rest...)
	}
	if len(at) == 0 {
		return ".", nil
	}
	return path.Join(at...), nil
}

// below turns an absolute link target into a path below the tree's top.
func (t *tree) below(target string) (string, error) {
	for _, top := range t.tops {
		if target == top {
			return ".", nil
		}
		if rest, ok := strings.CutPrefix(target, strings.TrimSuffix(top, "/")+"/"); ok {
			return rest, nil
		}
	}
	return "", errInaccessible
}

// maxEntries bounds a listing: a task could fill its sandbox with files without number.
const maxEntries = 200_000

// fileEntry is one line of a listing.
type fileEntry struct {
	path string
	info fs.FileInfo
}

// list returns what is in a directory, sorted by path; for a file nothing. Links are shown with the
// values of what they lead to; those that lead nowhere or out of the tree are left out (OPR-147).
func (f *Files) list(virtual string) ([]fileEntry, error) {
	t, name, err := f.resolve(virtual)
	if err != nil {
		return nil, err
	}
	defer t.root.Close()
	directory, info, err := openPlain(t.root, name)
	if err != nil {
		return nil, err
	}
	defer directory.Close()
	if !info.IsDir() {
		return nil, nil
	}
	names, err := directory.Readdirnames(maxEntries + 1)
	if err != nil && err != io.EOF {
		return nil, err
	}
	if len(names) > maxEntries {
		return nil, fmt.Errorf("directory has more than %d entries", maxEntries)
	}
	here, err := t.root.OpenRoot(name)
	if err != nil {
		return nil, pathError(err)
	}
	defer here.Close()
	entries := make([]fileEntry, 0, len(names))
	for _, entry := range names {
		info, err := here.Lstat(entry)
		if err == nil && info.Mode()&fs.ModeSymlink != 0 {
			info, err = t.follow(name, entry)
		}
		if errors.Is(err, errTooManyLookups) {
			return nil, err
		}
		if err == nil {
			entries = append(entries, fileEntry{path.Join(virtual, entry), info})
		}
	}
	slices.SortFunc(entries, func(a, b fileEntry) int { return cmp.Compare(a.path, b.path) })
	return entries, nil
}

// follow looks at what a link in a directory leads to.
func (t *tree) follow(directory, link string) (fs.FileInfo, error) {
	var at []string
	if directory != "." {
		at = strings.Split(directory, "/")
	}
	name, err := t.walk(at, []string{link})
	if err != nil {
		return nil, err
	}
	if t.left -= strings.Count(name, "/") + 1; t.left < 0 {
		return nil, errTooManyLookups
	}
	return t.root.Lstat(name)
}
