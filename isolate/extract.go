package isolate

import (
	"archive/tar"
	"archive/zip"
	"compress/bzip2"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/ulikunitz/xz"
)

// archiveEndings, the longer ones first (ISO-373).
var archiveEndings = []struct{ ending, kind string }{
	{".tar.gz", "tar.gz"}, {".tgz", "tar.gz"},
	{".tar.bz2", "tar.bz2"}, {".tbz2", "tar.bz2"},
	{".tar.xz", "tar.xz"}, {".txz", "tar.xz"},
	{".tar", "tar"},
	{".zip", "zip"},
	{".gz", "gz"},
}

// archiveKind knows an archive by its name; "" is none.
func archiveKind(name string) string {
	for _, e := range archiveEndings {
		if strings.HasSuffix(name, e.ending) && len(name) > len(e.ending) {
			return e.kind
		}
	}
	return ""
}

// extract unpacks an archive of the sandbox into the sandbox; the archive stays
// (ISO-374). os.Root keeps every name, and every link that a name goes through,
// inside (ISO-376).
func (f *fetcher) extract(ctx context.Context, name, kind string) error {
	file, err := f.root.Open(name)
	if err != nil {
		return err
	}
	defer file.Close()
	if kind == "zip" {
		st, err := file.Stat()
		if err != nil {
			return err
		}
		return f.unzip(ctx, file, st.Size())
	}
	src, err := decompress(file, kind)
	if err != nil {
		return err
	}
	defer src.Close()
	if kind == "gz" {
		return f.write(ctx, strings.TrimSuffix(name, ".gz"), 0o644, src)
	}
	return f.untar(ctx, src)
}

func decompress(src io.Reader, kind string) (io.ReadCloser, error) {
	switch kind {
	case "tar.gz", "gz":
		return gzip.NewReader(src)
	case "tar.bz2":
		return io.NopCloser(bzip2.NewReader(src)), nil
	case "tar.xz":
		r, err := xz.NewReader(src)
		return io.NopCloser(r), err
	}
	return io.NopCloser(src), nil
}

// entryName makes a relative path of an archive's name: leading slashes go, as
// with tar; one that climbs is refused. "" is the sandbox itself.
func entryName(name string) (string, error) {
	if strings.IndexByte(name, 0) >= 0 {
		return "", fmt.Errorf("entry %q: name contains a NUL byte", name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == ".." {
			return "", fmt.Errorf("entry %q: Path contains '..'", name)
		}
	}
	name = strings.TrimLeft(path.Clean("/"+name), "/")
	if name != "" && !filepath.IsLocal(name) {
		return "", fmt.Errorf("entry %q: leads out of the sandbox", name)
	}
	return name, nil
}

// dirModes are set when all is unpacked: a directory may forbid to write.
type dirModes map[string]fs.FileMode

func (f *fetcher) finish(dirs dirModes) error {
	for name, mode := range dirs {
		if err := f.root.Chmod(name, mode); err != nil {
			return err
		}
	}
	return nil
}

func (f *fetcher) makeDir(name string, mode fs.FileMode, dirs dirModes) error {
	if name == "" {
		return nil // the rights of the sandbox are not the archive's
	}
	if err := f.root.MkdirAll(name, 0o755); err != nil {
		return err
	}
	dirs[name] = mode.Perm()
	return nil
}

// parent makes the directories that an archive does not list.
func (f *fetcher) parent(name string) error {
	if dir := path.Dir(name); dir != "." {
		return f.root.MkdirAll(dir, 0o755)
	}
	return nil
}

func (f *fetcher) untar(ctx context.Context, src io.Reader) error {
	r := tar.NewReader(&boundedReader{ctx: ctx, src: src, room: 1 << 62})
	dirs := dirModes{}
	for {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return f.finish(dirs)
		}
		if err != nil {
			return err
		}
		if err := f.untarEntry(ctx, r, h, dirs); err != nil {
			return err
		}
	}
}

func (f *fetcher) untarEntry(ctx context.Context, r *tar.Reader, h *tar.Header, dirs dirModes) error {
	name, err := entryName(h.Name)
	if err != nil {
		return err
	}
	mode := fs.FileMode(h.Mode).Perm() // no set-user-ID, no sticky bits
	switch h.Typeflag {
	case tar.TypeXGlobalHeader:
		return nil
	case tar.TypeDir:
		return f.makeDir(name, mode, dirs)
	}
	if name == "" {
		return fmt.Errorf("entry %q: no name", h.Name)
	}
	if err := f.parent(name); err != nil {
		return err
	}
	switch h.Typeflag {
	case tar.TypeReg:
		if err := f.write(ctx, name, mode, r); err != nil {
			return err
		}
		return f.root.Chtimes(name, h.ModTime, h.ModTime)
	case tar.TypeSymlink:
		return f.link(name, func() error { return f.root.Symlink(h.Linkname, name) })
	case tar.TypeLink:
		target, err := entryName(h.Linkname)
		if err != nil {
			return err
		}
		return f.link(name, func() error { return f.root.Link(target, name) })
	}
	return fmt.Errorf("entry %q: type %q is not extracted", h.Name, h.Typeflag)
}

// link makes a link in place of what is there.
func (f *fetcher) link(name string, make func() error) error {
	if err := f.root.Remove(name); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return make()
}

// maxLinkBytes is the longest target of a symbolic link.
const maxLinkBytes = 4096

func (f *fetcher) unzip(ctx context.Context, src io.ReaderAt, size int64) error {
	r, err := zip.NewReader(src, size)
	if err != nil {
		return err
	}
	dirs := dirModes{}
	for _, entry := range r.File {
		if err := f.unzipEntry(ctx, entry, dirs); err != nil {
			return err
		}
	}
	return f.finish(dirs)
}

func (f *fetcher) unzipEntry(ctx context.Context, entry *zip.File, dirs dirModes) error {
	// Some programs write the separator of their own system.
	name, err := entryName(strings.ReplaceAll(entry.Name, `\`, "/"))
	if err != nil {
		return err
	}
	mode := entry.Mode()
	if mode.IsDir() || strings.HasSuffix(entry.Name, "/") {
		return f.makeDir(name, mode|0o700, dirs)
	}
	if name == "" {
		return fmt.Errorf("entry %q: no name", entry.Name)
	}
	if err := f.parent(name); err != nil {
		return err
	}
	content, err := entry.Open()
	if err != nil {
		return err
	}
	defer content.Close()
	switch {
	case mode.IsRegular():
		if mode.Perm() == 0 {
			mode = 0o644 // written where files have no mode
		}
		if err := f.write(ctx, name, mode.Perm(), content); err != nil {
			return err
		}
		return f.root.Chtimes(name, entry.Modified, entry.Modified)
	case mode&fs.ModeSymlink != 0:
		target, err := io.ReadAll(io.LimitReader(content, maxLinkBytes+1))
		if err != nil {
			return err
		}
		if len(target) > maxLinkBytes {
			return fmt.Errorf("entry %q: link is too long", entry.Name)
		}
		return f.link(name, func() error { return f.root.Symlink(string(target), name) })
	}
	return fmt.Errorf("entry %q: type %v is not extracted", entry.Name, mode.Type())
}
