package master

import (
	"clusterd/node/mesos"
	v1 "clusterd/node/mesos/v1"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
	"clusterd/raft/registry"

	"google.golang.org/protobuf/proto"
)

// subscription is a SUBSCRIBE that waits for the registry.
type subscription struct {
	call   SchedulerCall
	closed bool // the client left meanwhile
}

// subscribe is the SUBSCRIBE call: a new framework, one with an id of its own, or one that comes
// back and takes over from its former stream (SCH-72).
func (m *Master) subscribe(c SchedulerCall) {
	if c.HasHeader {
		m.respond(c.Request, 400, "Subscribe calls should not include the 'Mesos-Stream-Id' header")
		return
	}
	sub := c.Call.GetSubscribe()
	id := mesos.FrameworkID(sub.GetFrameworkInfo().GetId().GetValue())
	if _, waiting := m.pending[c.Stream]; !waiting {
		m.pending[c.Stream] = &subscription{call: c}
	}
	if id != "" && m.holdFramework(id, c) {
		return
	}
	s := m.pending[c.Stream]
	delete(m.pending, c.Stream)
	f, known := m.frameworks.get(id)
	if known {
		m.counters.add("master/messages_reregister_framework")
	} else {
		m.counters.add("master/messages_register_framework")
	}
	if s.closed {
		return // the client left while the call was held back: nothing has happened
	}
	info, reason := m.subscriber(c, f)
	switch {
	case reason != "":
		m.refuse(c, reason)
	case known:
		f.counters.call(c.Call.GetType())
		m.resubscribe(f, info, s)
	default:
		m.admit(info, s)
	}
}

// subscriber validates the FrameworkInfo of a SUBSCRIBE and completes it. f is nil for an id that is
// not known.
func (m *Master) subscriber(c SchedulerCall, f *framework) (*v1.FrameworkInfo, string) {
	sub := c.Call.GetSubscribe()
	info := proto.CloneOf(sub.GetFrameworkInfo())
	if info.Principal == nil && c.Principal != "" {
		info.Principal = &c.Principal // SCH-69
	}
	if reason := m.validateFramework(info, sub.GetSuppressedRoles(), sub.GetOfferConstraints()); reason != "" {
		return nil, reason
	}
	id := info.GetId().GetValue()
	if _, removed := m.registry.Removed(id); removed {
		return nil, registry.RemovedText // SCH-64
	}
	if f == nil {
		if id == "" {
			id = m.id("-%04d", &m.nextFramework) // SCH-47
			info.Id = mesos.FrameworkID(id).Proto()
		}
		return info, ""
	}
	if reason := validatePrincipalUnchanged(f.info, info); reason != "" {
		return nil, reason
	}
	// SCH-78: these cannot change, and a framework that tries keeps the old ones.
	info.User, info.Checkpoint = f.info.User, f.info.Checkpoint
	return info, ""
}

// refuse answers a SUBSCRIBE with a stream that holds nothing but an error (SCH-52).
func (m *Master) refuse(c SchedulerCall, reason string) {
	m.emit(OpenStream{Request: c.Request, Stream: c.Stream, UUID: mesos.NewUUID(m.rand).String()})
	m.emit(Send{Stream: c.Stream, Event: errorEvent(reason)})
	m.emit(CloseStream{Stream: c.Stream})
}

// admit puts a new framework into the registry; it hears SUBSCRIBED after the commit.
func (m *Master) admit(info *v1.FrameworkInfo, s *subscription) {
	c := s.call
	id := mesos.FrameworkID(info.GetId().GetValue())
	m.pending[c.Stream] = s
	m.busyFrameworks[id] = nil
	now := m.now.UnixNano()
	m.propose(&registry.Op{Op: &registry.Op_AdmitFramework{AdmitFramework: &registry.AdmitFramework{
		Framework: info, Time: &now,
	}}}, func(res registry.Result, err error) {
		delete(m.pending, c.Stream)
		switch {
		case err != nil:
			m.respond(c.Request, 503, notCommitted)
		case res.Refused != "":
			m.refuse(c, res.Refused)
		default:
			f, reported := m.frameworks.get(id)
			if reported { // by an agent, while the admission was on its way
				m.takeOver(f, info, s)
				break
			}
			f = m.newFramework(info)
			f.registered, f.reregistered = m.now, m.now
			f.counters.call(c.Call.GetType())
			m.attach(f, s)
		}
		m.releaseFramework(id)
	})
}

// resubscribe lets a known framework come back. A changed FrameworkInfo goes through the registry
// first (SCH-77).
func (m *Master) resubscribe(f *framework, info *v1.FrameworkInfo, s *subscription) {
	if sameInfo(f.info, info) {
		if f.seenRecorded {
			// Nothing waits for this: a leader that does not have it yet gives time enough.
			m.propose(updateFrameworkOp(info, 0), func(registry.Result, error) {})
		}
		m.takeOver(f, info, s)
		return
	}
	c := s.call
	m.pending[c.Stream] = s
	m.busyFrameworks[f.id] = nil
	m.propose(updateFrameworkOp(info, 0), func(res registry.Result, err error) {
		delete(m.pending, c.Stream)
		switch {
		case err != nil:
			m.respond(c.Request, 503, notCommitted)
		case res.Refused != "":
			m.refuse(c, res.Refused)
		default:
			f.seenRecorded = false
			m.takeOver(f, info, s)
		}
		m.releaseFramework(f.id)
	})
}

// takeOver ends the former stream of f, if any, takes its offers back without a word and starts
// anew (SCH-72, SCH-75, SCH-79).
func (m *Master) takeOver(f *framework, info *v1.FrameworkInfo, s *subscription) {
	if s.closed {
		m.updateInfo(f, info)
		if !f.connected() {
			m.recordSeen(f)
		}
		return
	}
	if old := f.stream; old != 0 {
		m.send(f, errorEvent("Framework failed over"))
		m.emit(CloseStream{Stream: old})
		m.detach(f)
	}
	m.deactivate(f)
	m.updateInfo(f, info)
	f.recovered, f.reregistered = false, m.now
	m.attach(f, s)
	// Agents send unacknowledged updates again when they hear of the framework (SCH-80).
	for _, a := range m.agentsOf(f) {
		m.tellFramework(a, f)
	}
	m.resendOwn(f)
}

// attach makes f the framework of a stream and gives it offers, unless the client has left
// (SCH-43, SCH-293).
func (m *Master) attach(f *framework, s *subscription) {
	sub := s.call.Call.GetSubscribe()
	m.timers.stop(f.failover)
	f.failover = nil
	f.seenRecorded = false
	f.setSuppressed(sub.GetSuppressedRoles())
	m.setConstraints(f, sub.GetOfferConstraints())
	if s.closed {
		m.startFailover(f, m.now.Add(f.failoverTimeout()))
		m.recordSeen(f)
		return
	}
	f.stream, f.streamUUID = s.call.Stream, mesos.NewUUID(m.rand).String()
	m.streams[f.stream] = f
	f.active = true
	m.emit(OpenStream{Request: s.call.Request, Stream: f.stream, UUID: f.streamUUID})
	interval := m.cfg.HeartbeatInterval.Seconds()
	m.send(f, &v1scheduler.Event{
		Type: v1scheduler.Event_SUBSCRIBED.Enum(),
		Subscribed: &v1scheduler.Event_Subscribed{
			FrameworkId:              f.id.Proto(),
			HeartbeatIntervalSeconds: &interval,
			MasterInfo:               m.cfg.Info,
		},
	})
	m.send(f, heartbeat)
	m.startHeartbeats(f, m.now.Add(m.cfg.HeartbeatInterval))
	m.alloc.UpdateFramework(f.allocatorFramework())
	m.alloc.ActivateFramework(f.id)
	m.changed(f, nil)
}

// updateInfo makes info the FrameworkInfo of f.
func (m *Master) updateInfo(f *framework, info *v1.FrameworkInfo) {
	f.setInfo(info)
	m.alloc.UpdateFramework(f.allocatorFramework())
	m.changed(f, nil)
}

// tellFramework sends an agent the FrameworkInfo of f.
func (m *Master) tellFramework(a *agent, f *framework) {
	m.tell(a, &wire.ToAgent{Message: &wire.ToAgent_UpdateFramework{
		UpdateFramework: &wire.UpdateFramework{Framework: f.info},
	}})
}

// updateFramework is the UPDATE_FRAMEWORK call, answered 200 after the commit (SCH-102).
func (m *Master) updateFramework(f *framework, c SchedulerCall) {
	if m.holdFramework(f.id, c) {
		return
	}
	f.counters.call(c.Call.GetType())
	u := c.Call.GetUpdateFramework()
	info := proto.CloneOf(u.GetFrameworkInfo())
	if info.Principal == nil && c.Principal != "" {
		info.Principal = &c.Principal
	}
	if reason := m.validateFrameworkUpdate(f.info, info, u); reason != "" {
		m.respond(c.Request, 400, reason)
		return
	}
	apply := func() {
		changed := !sameInfo(f.info, info)
		f.setSuppressed(u.GetSuppressedRoles())
		m.setConstraints(f, u.GetOfferConstraints())
		m.updateInfo(f, info)
		m.rescindForeignRoles(f)
		if changed { // SCH-109
			for _, a := range m.agentsOf(f) {
				m.tellFramework(a, f)
			}
		}
		m.respond(c.Request, 200, "")
	}
	if sameInfo(f.info, info) {
		apply()
		return
	}
	m.busyFrameworks[f.id] = nil
	m.propose(updateFrameworkOp(info, 0), func(res registry.Result, err error) {
		switch {
		case err != nil:
			m.respond(c.Request, 503, notCommitted)
		case res.Refused != "":
			m.respond(c.Request, 409, res.Refused) // SCH-105
		default:
			f.seenRecorded = false
			apply()
		}
		m.releaseFramework(f.id)
	})
}
