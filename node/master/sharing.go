package master

import (
	"slices"

	"clusterd/alloc"
	v1 "clusterd/node/mesos/v1"
)

// Half a million tasks say the same things many times over: the ids of their framework and agent, their
// own id in each status, the resources that all tasks of a kind have. What comes off the wire has a copy
// of each; what the master keeps shares them. Messages that came from elsewhere are not changed.

// shape is resources that tasks of a framework have, in both forms.
type shape struct {
	resources alloc.Resources
	list      []*v1.Resource
}

// maxShapes is how many shapes of a framework are looked through, the newest ones.
const maxShapes = 4

// share returns resources that equal the given ones, from a task before if there was one.
func (f *framework) share(r alloc.Resources, list []*v1.Resource) (alloc.Resources, []*v1.Resource) {
	for _, s := range f.shapes {
		if sameNames(s.list, list) && s.resources.Equal(r) {
			return s.resources, s.list
		}
	}
	if len(f.shapes) == maxShapes {
		f.shapes = slices.Delete(f.shapes, 0, 1)
	}
	f.shapes = append(f.shapes, shape{r, list})
	return r, list
}

func sameNames(a, b []*v1.Resource) bool {
	return slices.EqualFunc(a, b, func(x, y *v1.Resource) bool { return x.GetName() == y.GetName() })
}

// shared is a copy of a task of f on a that shares what others have too.
func shared(f *framework, a *agent, t *v1.Task) *v1.Task {
	t = copyTask(t)
	t.FrameworkId, t.AgentId = f.info.Id, a.info.Id
	if len(t.Statuses) > 0 {
		statuses := make([]*v1.TaskStatus, len(t.Statuses))
		for i, s := range t.Statuses {
			statuses[i] = kept(t, s)
		}
		t.Statuses = statuses
	}
	return t
}

// kept is a status as the history of t keeps it: without data (SCH-236), with ids that t has already.
func kept(t *v1.Task, s *v1.TaskStatus) *v1.TaskStatus {
	s = copyStatus(s)
	s.Data = nil
	if s.TaskId.GetValue() == t.TaskId.GetValue() {
		s.TaskId = t.TaskId
	}
	if s.AgentId != nil && s.AgentId.GetValue() == t.AgentId.GetValue() {
		s.AgentId = t.AgentId
	}
	if s.ExecutorId != nil && t.ExecutorId != nil && s.ExecutorId.GetValue() == t.ExecutorId.GetValue() {
		s.ExecutorId = t.ExecutorId
	}
	return s
}

// copyStatus is a shallow copy: the nested messages are shared and never changed.
func copyStatus(s *v1.TaskStatus) *v1.TaskStatus {
	return &v1.TaskStatus{
		TaskId:          s.TaskId,
		State:           s.State,
		Message:         s.Message,
		Source:          s.Source,
		Reason:          s.Reason,
		Data:            s.Data,
		AgentId:         s.AgentId,
		ExecutorId:      s.ExecutorId,
		Timestamp:       s.Timestamp,
		Uuid:            s.Uuid,
		Healthy:         s.Healthy,
		CheckStatus:     s.CheckStatus,
		Labels:          s.Labels,
		ContainerStatus: s.ContainerStatus,
		UnreachableTime: s.UnreachableTime,
		Limitation:      s.Limitation,
	}
}
