package api

import (
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os/user"
	"path"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unicode/utf8"

	v1 "clusterd/node/mesos/v1"

	"google.golang.org/protobuf/proto"
)

// maxReadBytes is the most that one read returns (OPR-148, OPR-37).
const maxReadBytes = 64 << 10

// filesAnswer is the answer for a path that cannot be served (OPR-147).
func filesAnswer(virtual string, err error) Answer {
	switch {
	case errors.Is(err, errUnknownPath):
		return Answer{Status: http.StatusNotFound}
	case errors.Is(err, errInaccessible):
		return badRequest("'" + trimSlashes(virtual) + "' is inaccessible.\n")
	case errors.Is(err, fs.ErrPermission):
		return Answer{Status: http.StatusForbidden}
	}
	// The name of the real file, which the error holds, is nobody's business.
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return Answer{Status: http.StatusInternalServerError, Body: "Reading '" + virtual + "': " + err.Error() + ".\n"}
}

func trimSlashes(p string) string {
	if t := strings.TrimRight(p, "/"); t != "" {
		return t
	}
	return p
}

// pathParameter returns the query parameter path, or answers the request that has none.
func pathParameter(w http.ResponseWriter, r *http.Request) (string, bool) {
	virtual := r.URL.Query().Get("path")
	if virtual == "" {
		badRequest("Expecting 'path=value' in query.\n").respond(w)
	}
	return virtual, virtual != ""
}

// serveBrowse: OPR-147.
func (f *Files) serveBrowse(w http.ResponseWriter, r *http.Request) {
	virtual, ok := pathParameter(w, r)
	if !ok {
		return
	}
	entries, err := f.list(virtual)
	if err != nil {
		filesAnswer(virtual, err).respond(w)
		return
	}
	owners := make(ownerNames)
	serveJSON(w, r, func(d *document) {
		d.openArray()
		for _, e := range entries {
			status := fileStatus(e, owners)
			d.openObject()
			d.text("gid", status.GetGid())
			d.text("mode", modeText(status.GetMode()))
			d.number("mtime", float64(e.info.ModTime().Unix()))
			d.integer("nlink", int64(status.GetNlink()))
			d.text("path", e.path)
			d.integer("size", int64(status.GetSize()))
			d.text("uid", status.GetUid())
			d.endObject()
			if !d.spill() {
				return
			}
		}
		d.endArray()
	})
}

// fileStatus describes an entry as the v1 API does: the mode is st_mode, owners are names and the time is
// in whole seconds (OPR-36).
func fileStatus(e fileEntry, owners ownerNames) *v1.FileInfo {
	info := &v1.FileInfo{
		Path:  proto.String(e.path),
		Size:  proto.Uint64(uint64(e.info.Size())),
		Mtime: &v1.TimeInfo{Nanoseconds: proto.Int64(e.info.ModTime().Unix() * 1e9)},
	}
	if st, ok := e.info.Sys().(*syscall.Stat_t); ok {
		info.Nlink = proto.Int32(int32(st.Nlink))
		info.Mode = proto.Uint32(uint32(st.Mode))
		info.Uid = proto.String(owners.user(st.Uid))
		info.Gid = proto.String(owners.group(st.Gid))
	}
	return info
}

// ownerNames remembers the names of users and groups for one listing.
type ownerNames map[string]string

func (o ownerNames) user(id uint32) string {
	return o.name("u", id, func(id string) (string, error) {
		u, err := user.LookupId(id)
		if err != nil {
			return "", err
		}
		return u.Username, nil
	})
}

func (o ownerNames) group(id uint32) string {
	return o.name("g", id, func(id string) (string, error) {
		g, err := user.LookupGroupId(id)
		if err != nil {
			return "", err
		}
		return g.Name, nil
	})
}

// name falls back to the number of an owner without a name.
func (o ownerNames) name(kind string, id uint32, look func(string) (string, error)) string {
	number := strconv.FormatUint(uint64(id), 10)
	name, ok := o[kind+number]
	if !ok {
		var err error
		if name, err = look(number); err != nil {
			name = number
		}
		o[kind+number] = name
	}
	return name
}

// modeText writes st_mode as ls does, without set-id and sticky bits.
func modeText(mode uint32) string {
	kind := byte('-')
	switch mode & syscall.S_IFMT {
	case syscall.S_IFDIR:
		kind = 'd'
	case syscall.S_IFLNK:
		kind = 'l'
	case syscall.S_IFCHR:
		kind = 'c'
	case syscall.S_IFBLK:
		kind = 'b'
	case syscall.S_IFIFO:
		kind = 'p'
	case syscall.S_IFSOCK:
		kind = 's'
	}
	text := append(make([]byte, 0, 10), kind)
	for bit, c := range []byte("rwxrwxrwx") {
		if mode&(1<<(8-bit)) == 0 {
			c = '-'
		}
		text = append(text, c)
	}
	return string(text)
}

// serveRead: OPR-148.
func (f *Files) serveRead(w http.ResponseWriter, r *http.Request) {
	virtual, ok := pathParameter(w, r)
	if !ok {
		return
	}
	offset, refused := countParameter(r, "offset")
	if refused != nil {
		refused.respond(w)
		return
	}
	length, refused := countParameter(r, "length")
	if refused != nil {
		refused.respond(w)
		return
	}
	part, refused := f.read(virtual, offset, length)
	if refused != nil {
		refused.respond(w)
		return
	}
	if offset == -1 {
		offset = part.size
	}
	data := part.data
	if offset+int64(len(data)) < part.size {
		data = trimPartialRune(data)
	}
	serveJSON(w, r, func(d *document) {
		d.openObject()
		d.key("data")
		d.buf = appendString(d.buf, data)
		d.integer("offset", offset)
		d.endObject()
	})
}

// countParameter reads a query parameter that is a number of bytes, -1 if it is absent.
func countParameter(r *http.Request, name string) (int64, *Answer) {
	query := r.URL.Query()
	if !query.Has(name) {
		return -1, nil
	}
	n, err := strconv.ParseInt(query.Get(name), 10, 64)
	if err != nil {
		a := badRequest("Failed to parse " + name + ": Failed to convert '" + query.Get(name) + "' to number.\n")
		return 0, &a
	}
	if n < -1 {
		a := badRequest("Negative " + name + " provided: " + strconv.FormatInt(n, 10) + ".\n")
		return 0, &a
	}
	return n, nil
}

// trimPartialRune cuts off a character of which the end is missing, unless nothing else is left: the
// next read brings the whole of it (OPR-149).
func trimPartialRune(b []byte) []byte {
	for i := len(b) - 1; i > 0 && i >= len(b)-utf8.UTFMax; i-- {
		if utf8.RuneStart(b[i]) {
			if !utf8.FullRune(b[i:]) {
				return b[:i]
			}
			break
		}
	}
	return b
}

// filePart is a piece of a file and the size of the whole.
type filePart struct {
	data []byte
	size int64
}

// read returns up to length bytes from offset; -1 as length means as many as one read gives, -1 as
// offset means none: only the size is wanted.
func (f *Files) read(virtual string, offset, length int64) (filePart, *Answer) {
	file, info, err := f.open(virtual)
	if err != nil {
		a := filesAnswer(virtual, err)
		return filePart{}, &a
	}
	defer file.Close()
	if info.IsDir() {
		a := badRequest("Cannot read a directory.\n")
		return filePart{}, &a
	}
	part := filePart{size: info.Size()}
	if offset == -1 || offset >= part.size {
		return part, nil
	}
	if length == -1 || length > maxReadBytes {
		length = maxReadBytes
	}
	part.data = make([]byte, min(length, part.size-offset))
	n, err := file.ReadAt(part.data, offset)
	if err != nil && err != io.EOF { // The file may have become shorter meanwhile.
		a := filesAnswer(virtual, err)
		return filePart{}, &a
	}
	part.data = part.data[:n]
	return part, nil
}

// serveDownload: OPR-150.
func (f *Files) serveDownload(w http.ResponseWriter, r *http.Request) {
	virtual, ok := pathParameter(w, r)
	if !ok {
		return
	}
	file, info, err := f.open(virtual)
	if err != nil {
		answer := filesAnswer(virtual, err)
		if answer.Status == http.StatusNotFound {
			answer = status(http.StatusNotFound)
		}
		answer.respond(w)
		return
	}
	defer file.Close()
	if info.IsDir() {
		badRequest("Cannot download a directory.\n").respond(w)
		return
	}
	name := path.Base(file.Name())
	w.Header().Set("Content-Disposition", "attachment; filename="+strings.Map(headerRune, name))
	w.Header().Set("Content-Type", downloadType(name))
	http.ServeContent(w, r, name, info.ModTime(), io.NewSectionReader(file, 0, info.Size()))
}

// headerRune replaces what must not stand in a header.
func headerRune(r rune) rune {
	if r < ' ' || r == 0x7f {
		return '_'
	}
	return r
}

var downloadTypes = map[string]string{
	".css": "text/css", ".csv": "text/csv", ".gif": "image/gif", ".gz": "application/x-gzip",
	".htm": "text/html", ".html": "text/html", ".jpeg": "image/jpeg", ".jpg": "image/jpeg",
	".js": "application/x-javascript", ".json": "application/json", ".pdf": "application/pdf",
	".png": "image/png", ".svg": "image/svg+xml", ".tar": "application/x-tar", ".tgz": "application/x-gzip",
	".txt": "text/plain", ".xml": "application/xml", ".zip": "application/zip",
}

func downloadType(name string) string {
	if t, ok := downloadTypes[strings.ToLower(path.Ext(name))]; ok {
		return t
	}
	return "application/octet-stream"
}

// serveDebug: OPR-151.
func (f *Files) serveDebug(w http.ResponseWriter, r *http.Request) {
	table := f.Paths()
	virtuals := make([]string, 0, len(table))
	for virtual := range table {
		virtuals = append(virtuals, virtual)
	}
	slices.Sort(virtuals)
	serveJSON(w, r, func(d *document) {
		d.openObject()
		for _, virtual := range virtuals {
			d.name(virtual)
			d.buf = appendString(d.buf, table[virtual])
			if !d.spill() {
				return
			}
		}
		d.endObject()
	})
}
