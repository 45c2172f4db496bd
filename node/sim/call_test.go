package sim

import (
	"time"

	"google.golang.org/protobuf/proto"

	"clusterd/node/mesos/v1executor"
	"clusterd/node/mesos/v1scheduler"
	"clusterd/node/mesos/wire"
)

// The requests that a node's daemon takes: each is the first message on a stream.
type (
	// schedulerRequest is a POST to /api/v1/scheduler.
	schedulerRequest struct {
		call   *v1scheduler.Call
		stream string // Mesos-Stream-Id
	}
	// executorRequest is a POST to /api/v1/executor.
	executorRequest struct{ call *v1executor.Call }
	// joinRequest asks to be let in.
	joinRequest struct{ from *machine }
)

// response is the answer to one of these; events follow it on the same stream if it opened one.
type response struct {
	status   int
	body     string
	location *machine // of 307
	uuid     string   // of the stream that was opened
	members  []*wire.Member
}

// accept takes a stream that somebody opened to the daemon.
func (p *process) accept(e *end) {
	e.gone = func(string) {}
	e.receive = func(m any) {
		switch m := m.(type) {
		case schedulerRequest:
			p.serveScheduler(e, m)
		case executorRequest:
			p.serveExecutor(e, m)
		case joinRequest:
			p.serveJoin(e, m.from)
		case *wire.FromNode:
			p.serveNode(e, m.GetHello())
		default:
			p.machine.w.failf("%s: a stream begins with %T", p.machine.name, m)
		}
	}
}

// open sends a request to the daemon of a machine. opened gets its answer and the stream, failed is
// called if there is none.
func (p *process) open(to *machine, timeout time.Duration, request any, opened func(*end, response), failed func(why string)) {
	p.machine.w.net.dial(p, to, timeout, (*process).accept, func(e *end) {
		answered := false
		e.gone = func(why string) {
			if !answered {
				answered = true
				failed(why)
			}
		}
		e.receive = func(m any) {
			answered = true
			opened(e, m.(response))
		}
		e.send(request)
		p.after(timeout, func() {
			if !answered {
				answered = true
				e.close("no answer")
				failed("no answer")
			}
		})
	}, failed)
}

// ask is open for a call that opens no stream.
func (p *process) ask(to *machine, timeout time.Duration, request any, done func(response), failed func(why string)) {
	p.open(to, timeout, request, func(e *end, r response) {
		e.close("done")
		done(r)
	}, failed)
}

// sent is what arrives of a message: it was written to a stream and read from it again.
func sent[M proto.Message](w *world, m M) M {
	data, err := proto.Marshal(m)
	if err != nil {
		w.failf("%T cannot be sent: %v", m, err)
	}
	out := m.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(data, out); err != nil {
		w.failf("%T cannot be read: %v", m, err)
	}
	return out.(M)
}
