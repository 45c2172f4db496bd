package agent

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/wire"

	"google.golang.org/protobuf/proto"
)

// SavedState is the state of an agent as it was stored.
type SavedState struct {
	// Info is the agent with its id; nil if it was never admitted or must not come back.
	Info *v1.AgentInfo
	// BootID of the machine when it was written.
	BootID string

	drain      *wire.Drain // set if it was draining
	frameworks []*storedFramework
	collect    map[string]time.Time
}

type storedFramework struct {
	id        mesos.FrameworkID
	info      *v1.FrameworkInfo
	executors []*storedExecutor
}

type storedExecutor struct {
	id        mesos.ExecutorID
	info      *wire.ExecutorRecord
	container *wire.ContainerRecord
	tasks     []*storedTask
}

type storedTask struct {
	id      mesos.TaskID
	info    *wire.TaskRecord
	updates []storedUpdate // in order
}

type storedUpdate struct {
	number uint64
	record *wire.UpdateRecord
}

// CheckpointError says which key of a checkpoint cannot be used, and why.
type CheckpointError struct {
	Key string
	Err error
}

func (e *CheckpointError) Error() string {
	return fmt.Sprintf("load checkpoint: key %q: %v", e.Key, e.Err)
}

func (e *CheckpointError) Unwrap() error { return e.Err }

var (
	errUnknownKey = errors.New("not part of the schema")
	errMissing    = errors.New("missing")
)

// LoadCheckpoint makes sense of stored keys. It is strict: a key that it does not know, a record
// that it cannot read and a record without the one it belongs to are each a *CheckpointError.
func LoadCheckpoint(kv map[string][]byte) (*SavedState, error) {
	c := &SavedState{collect: map[string]time.Time{}}
	keys := make([]string, 0, len(kv))
	for key := range kv {
		keys = append(keys, key)
	}
	slices.Sort(keys)
	l := loader{checkpoint: c, frameworks: map[string]*storedFramework{}, executors: map[string]*storedExecutor{}, tasks: map[string]*storedTask{}}
	for _, key := range keys {
		if err := l.load(key, kv[key]); err != nil {
			return nil, &CheckpointError{Key: key, Err: err}
		}
	}
	if err := c.complete(); err != nil {
		return nil, err
	}
	return c, nil
}

type loader struct {
	checkpoint *SavedState
	frameworks map[string]*storedFramework
	executors  map[string]*storedExecutor
	tasks      map[string]*storedTask
}

// load adds one record. Keys come sorted, and all parts of a key are checked.
func (l *loader) load(key string, value []byte) error {
	if path, ok := strings.CutPrefix(key, "gc/"); ok && path != "" {
		var record wire.CollectRecord
		if err := proto.Unmarshal(value, &record); err != nil {
			return err
		}
		l.checkpoint.collect[path] = time.Unix(0, record.GetEnded())
		return nil
	}
	if key == "info" {
		var record wire.AgentRecord
		if err := proto.Unmarshal(value, &record); err != nil {
			return err
		}
		l.checkpoint.Info, l.checkpoint.BootID, l.checkpoint.drain = record.GetAgent(), record.GetBootId(), record.GetDrain()
		return nil
	}
	part := strings.Split(key, "/")
	if part[0] != "frameworks" || slices.Contains(part, "") {
		return errUnknownKey
	}
	switch {
	case len(part) == 3 && part[2] == "info":
		f := l.framework(part[1])
		f.info = &v1.FrameworkInfo{}
		return proto.Unmarshal(value, f.info)
	case len(part) < 5 || part[2] != "executors":
		return errUnknownKey
	case len(part) == 5 && part[4] == "info":
		e := l.executor(part[1], part[3])
		e.info = &wire.ExecutorRecord{}
		return proto.Unmarshal(value, e.info)
	case len(part) == 5 && part[4] == "container":
		e := l.executor(part[1], part[3])
		e.container = &wire.ContainerRecord{}
		return proto.Unmarshal(value, e.container)
	case len(part) == 7 && part[4] == "tasks" && part[6] == "info":
		t := l.task(part[1], part[3], part[5])
		t.info = &wire.TaskRecord{}
		return proto.Unmarshal(value, t.info)
	case len(part) == 8 && part[4] == "tasks" && part[6] == "updates" && len(part[7]) == updateDigits:
		number, err := strconv.ParseUint(part[7], 10, 64)
		if err != nil {
			return err
		}
		t := l.task(part[1], part[3], part[5])
		record := &wire.UpdateRecord{}
		t.updates = append(t.updates, storedUpdate{number: number, record: record})
		if err := proto.Unmarshal(value, record); err != nil {
			return err
		}
		_, err = mesos.UUIDFromBytes(record.GetStatus().GetUuid())
		return err
	}
	return errUnknownKey
}

func (l *loader) framework(id string) *storedFramework {
	f := l.frameworks[id]
	if f == nil {
		f = &storedFramework{id: mesos.FrameworkID(id)}
		l.frameworks[id] = f
		l.checkpoint.frameworks = append(l.checkpoint.frameworks, f)
	}
	return f
}

func (l *loader) executor(framework, id string) *storedExecutor {
	key := framework + "/" + id
	e := l.executors[key]
	if e == nil {
		e = &storedExecutor{id: mesos.ExecutorID(id)}
		l.executors[key] = e
		f := l.framework(framework)
		f.executors = append(f.executors, e)
	}
	return e
}

func (l *loader) task(framework, executor, id string) *storedTask {
	key := framework + "/" + executor + "/" + id
	t := l.tasks[key]
	if t == nil {
		t = &storedTask{id: mesos.TaskID(id)}
		l.tasks[key] = t
		e := l.executor(framework, executor)
		e.tasks = append(e.tasks, t)
	}
	return t
}

// complete finds records whose owner is missing, and puts tasks in the order of acceptance.
func (c *SavedState) complete() error {
	if len(c.frameworks) > 0 && c.Info == nil {
		return &CheckpointError{Key: keyAgent, Err: errMissing}
	}
	for _, f := range c.frameworks {
		if f.info == nil {
			return &CheckpointError{Key: keyFramework(f.id) + "info", Err: errMissing}
		}
		for _, e := range f.executors {
			switch {
			case e.info == nil:
				return &CheckpointError{Key: keyExecutor(f.id, e.id) + "info", Err: errMissing}
			case e.container == nil:
				return &CheckpointError{Key: keyExecutor(f.id, e.id) + "container", Err: errMissing}
			}
			for _, t := range e.tasks {
				if t.info == nil {
					return &CheckpointError{Key: keyTask(f.id, e.id, t.id) + "info", Err: errMissing}
				}
			}
			slices.SortFunc(e.tasks, func(a, b *storedTask) int {
				if n := cmpUint64(a.info.GetSequence(), b.info.GetSequence()); n != 0 {
					return n
				}
				return strings.Compare(string(a.id), string(b.id))
			})
		}
	}
	return nil
}

func cmpUint64(a, b uint64) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

const (
	keyAgent     = "info"
	updateDigits = 20
)

// The keys of what has parts end in "/", and are prefixes of their parts.

func keyFramework(f mesos.FrameworkID) string { return "frameworks/" + string(f) + "/" }

func keyExecutor(f mesos.FrameworkID, e mesos.ExecutorID) string {
	return keyFramework(f) + "executors/" + string(e) + "/"
}

func keyTask(f mesos.FrameworkID, e mesos.ExecutorID, t mesos.TaskID) string {
	return keyExecutor(f, e) + "tasks/" + string(t) + "/"
}

func keyUpdate(f mesos.FrameworkID, e mesos.ExecutorID, t mesos.TaskID, number uint64) string {
	return fmt.Sprintf("%supdates/%0*d", keyTask(f, e, t), updateDigits, number)
}

func keyCollect(path string) string { return "gc/" + path }

// transaction gathers what one step makes durable.
type transaction struct {
	put     map[string][]byte
	deletes []string
	// after runs when the transaction is on disk; at the end of the step if there is nothing to
	// write.
	after []func()
}

// set writes a record. Its owner was written before, or is in the same transaction.
func (t *transaction) set(key string, record proto.Message) {
	data, err := proto.MarshalOptions{Deterministic: true}.Marshal(record)
	if err != nil {
		// All records are built here or came off the wire with their required fields.
		panic(fmt.Sprintf("agent: encode checkpoint record %q: %v", key, err))
	}
	if t.put == nil {
		t.put = map[string][]byte{}
	}
	t.put[key] = data
}

// remove deletes a key, or with a trailing "/" all keys below it. What the transaction put there
// before is taken back.
func (t *transaction) remove(key string) {
	for k := range t.put {
		if k == key || strings.HasSuffix(key, "/") && strings.HasPrefix(k, key) {
			delete(t.put, k)
		}
	}
	t.deletes = append(t.deletes, key)
}

func (t *transaction) empty() bool { return len(t.put) == 0 && len(t.deletes) == 0 }
