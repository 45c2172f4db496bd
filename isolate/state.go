package isolate

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Names inside a container's state directory; doc.go draws the tree.
const (
	shimFile = "shim"
	taskFile = "task"
	exitFile = "exit"
)

// Names beside the containers' directories.
const (
	rootfsName = ".rootfs"
	runcName   = ".runc"
)

// shimRecord is what a restarted daemon must know of a container.
type shimRecord struct {
	// BootID: no process of an earlier boot is believed (ISO-405).
	BootID string `json:"boot_id"`
	// Shim is believed alive only with its start time (pids are reused).
	Shim processRef `json:"shim"`
	// Plain: no namespaces and no cgroups.
	Plain  bool   `json:"plain,omitempty"`
	Dir    string `json:"dir"`
	Limits Limits `json:"limits"`
}

// processRef names one process for ever: pid and start time, in the units of
// the system (Linux: clock ticks since boot, /proc/<pid>/stat field 22).
type processRef struct {
	Pid   int    `json:"pid"`
	Start uint64 `json:"start"`
}

// alive reports whether the very process still runs.
func (r processRef) alive() bool {
	p, err := readProcess(r.Pid)
	return err == nil && p.start == r.Start && !p.zombie
}

func writeRecord(dir, name string, v any, sync bool) error {
	data, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", name, err)
	}
	return writeFileAtomic(filepath.Join(dir, name), data, sync)
}

// readRecord fails with fs.ErrNotExist if there is none. Half a record cannot
// be: records are renamed into place.
func readRecord(dir, name string, v any) error {
	data, err := os.ReadFile(filepath.Join(dir, name))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("decode %s: %w", filepath.Join(dir, name), err)
	}
	return nil
}

// writeFileAtomic writes aside and renames; sync makes the content durable
// before it gets its name.
func writeFileAtomic(path string, data []byte, sync bool) (err error) {
	tmp := path + ".tmp"
	f, err := os.OpenFile(tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o600)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			os.Remove(tmp)
		}
	}()
	if _, err = f.Write(data); err == nil && sync {
		err = f.Sync()
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readExit returns the exit record, or false if the shim wrote none.
func readExit(dir string) (Exit, bool, error) {
	var e Exit
	err := readRecord(dir, exitFile, &e)
	if errors.Is(err, fs.ErrNotExist) {
		return Exit{Status: -1}, false, nil
	}
	if err != nil {
		return Exit{Status: -1}, false, err
	}
	return e, true, nil
}

// findProcess names the process that has a pid now.
func findProcess(pid int) (processRef, error) {
	p, err := readProcess(pid)
	if err != nil {
		return processRef{Pid: pid}, err
	}
	return processRef{Pid: pid, Start: p.start}, nil
}
