package httpapi

import (
	"bytes"
	"errors"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/protocol"
)

var _ broker.Conn = (*stream)(nil)

// stream is one SSE connection as the core sees it. It is taken out of net/http's hands, because shards write to it as they do to a
// WebSocket: without waiting, and without a goroutine.
type stream struct {
	h       *Handler
	nc      net.Conn
	out     *outlet.Outlet
	session *broker.Session
	filters []string
	ids     bool // a gap has an id: no snapshot follows it
	place   place

	head atomic.Pointer[[]byte] // of the answer, until something is sent
	left uint64                 // messages of a snapshot that are still to come; Write's
}

// serveStream answers with a stream of events, and returns when that has begun.
func (h *Handler) serveStream(r *request, id *broker.Identity, sub *subscription) {
	nc, _, err := http.NewResponseController(r.w).Hijack()
	if err != nil {
		h.refuse(r, protocol.Errorf(protocol.CodeUnsupported, "a stream of events needs a connection of HTTP/1.1").WithHint("use HTTP/1.1, or mode=poll"))
		return
	}
	s := &stream{
		h: h, nc: nc, filters: sub.Filters, ids: sub.NoRetained, place: newPlace(h.b),
		out: outlet.New(nc, outlet.Options{SendBuffer: h.opt.SendBuffer, PeerTimeout: h.opt.PeerTimeout}),
	}
	answer := &rawAnswer{header: r.w.Header(), status: http.StatusOK}
	r.w = answer
	s.setHead(answer.header, sub.After == nil)
	s.session, err = h.b.Open(s, broker.ConnInfo{Transport: "sse", Remote: r.remote, Identity: id, PingEvery: h.opt.StreamPing})
	if err == nil {
		err = s.session.Follow(sub.FollowRequest)
	}
	if err == nil {
		h.streams.Go(s.serve)
		return
	}
	h.refuseSubscribe(r, sub, err)
	s.nc.SetDeadline(time.Now().Add(h.opt.CloseTime))
	s.out.Last(answer.bytes())
	s.finish()
	if s.session != nil {
		s.session.Closed(nil)
	}
}

// setHead makes the head of the answer, with the headers that every answer has, and the first line of the stream. A stream that begins
// anew has no position yet; what it begins with ends there.
func (s *stream) setHead(header http.Header, anew bool) {
	a := rawAnswer{header: header.Clone(), status: http.StatusOK}
	setNoStore(a.header, typeEvents)
	a.header.Set("X-Accel-Buffering", "no") // nginx would hold it back
	b := appendRetry(a.head(), someRetry().Milliseconds())
	if anew {
		b = append(b, '\n')
	}
	s.head.Store(&b)
}

// serve is the reader's goroutine, for as long as the connection lasts: a client sends nothing, but it leaves.
func (s *stream) serve() {
	err := s.readLoop()
	s.session.Closed(err)
	s.out.Release()
	s.out.End(false)
}

// maxUnasked is how many bytes a client may send behind its request. They are thrown away.
const maxUnasked = 64 << 10

var errUnasked = errors.New("found a client that goes on sending behind its request")

func (s *stream) readLoop() error {
	for n := 0; n <= maxUnasked; {
		b, err := s.out.Read()
		if err != nil {
			return err
		}
		n += len(b)
	}
	return errUnasked
}

// Write implements broker.Conn.
func (s *stream) Write(batch []*broker.Packet) (done bool, err error) {
	bp := outlet.Buffer()
	b := s.begin((*bp)[:0])
	for _, p := range batch {
		b = s.append(b, p)
	}
	done, err = s.out.Send(b)
	outlet.GiveBack(bp, b)
	return done, err
}

// begin appends the head of the answer if it has not been sent.
func (s *stream) begin(b []byte) []byte {
	if s.head.Load() == nil {
		return b
	}
	if head := s.head.Swap(nil); head != nil {
		b = append(b, *head...)
	}
	return b
}

// append appends what p is in a stream.
func (s *stream) append(b []byte, p *broker.Packet) []byte {
	if p.Type() == protocol.TypeMessage {
		event := s.h.b.Form(p, broker.FormEvent, encodeEvent)
		if s.left == 0 {
			return s.appendPlaced(append(b, event...), p)
		}
		s.left--
		object, _ := eventObject(event)
		b = appendRetained(append(b, eventHead...), object)
		return append(b, eventEnd...)
	}
	return s.appendOther(b, p)
}

// appendPlaced appends the id that the event of p, the last in b, has not if p comes from the store.
func (s *stream) appendPlaced(b []byte, p *broker.Packet) []byte {
	at, _ := s.place.behind(p)
	if at.IsZero() {
		return b
	}
	b = append(append(b[:len(b)-len(eventEnd)], eventID...), at.Cursor()...)
	return append(b, eventEnd...)
}

func (s *stream) appendOther(b []byte, p *broker.Packet) []byte {
	switch p := decode(p).(type) {
	case *protocol.Ping:
		if p.Position != nil {
			s.place.told(*p.Position)
		}
		return appendPosition(b, p.Position)
	case *protocol.Replay:
		if p.Kind == protocol.ReplayRetained {
			s.left = p.Count
		}
	case *protocol.RetainedEnd:
		return appendRetainedEnd(b, s.filters[p.Subscription-1], p.Reset)
	case *protocol.Gap:
		s.place.gap(p, s.ids)
		b = appendGap(append(b, "event: gap\ndata: "...), p)
		if !s.place.owed {
			b = append(append(b, eventID...), p.To.Cursor()...)
		}
		return append(b, eventEnd...)
	case *protocol.Resumed:
		s.place.told(p.Position)
		if int(p.Subscription) == len(s.filters) { // the last of them, all of the same place
			b = append(append(b, "event: live\ndata: {}"+eventID...), p.Position.Cursor()...)
			return append(b, eventEnd...)
		}
	}
	return b
}

// decode reads a packet of the broker's own.
func decode(p *broker.Packet) protocol.Packet {
	raw, _, err := protocol.Next(p.Bytes())
	if err != nil {
		return nil
	}
	packet, err := protocol.DecodePacket(raw)
	if err != nil {
		return nil
	}
	return packet
}

// Flush implements broker.Conn.
func (s *stream) Flush() error { return s.out.Flush() }

// Progress implements broker.Conn.
func (s *stream) Progress() time.Time { return s.out.Progress() }

// Received implements broker.Conn. Nobody answers here: that the socket takes what is sent has to do, and the kernel notices who is
// gone (Options.PeerTimeout).
func (s *stream) Received() time.Time { return s.out.Progress() }

// Close implements broker.Conn: an event that says why, and then the client has CloseTime to take it.
func (s *stream) Close(d protocol.Disconnect) {
	if !s.out.Last(appendEnd(s.begin(nil), d)) {
		return
	}
	s.nc.SetDeadline(time.Now().Add(s.h.opt.CloseTime))
	s.h.streams.Go(s.finish)
}

// finish closes the connection when the socket has taken everything.
func (s *stream) finish() {
	_ = s.out.Flush() // in bounded time: the deadline is set
	s.out.End(false)
}

// Abort implements broker.Conn.
func (s *stream) Abort() { s.out.End(true) }

// rawAnswer is an answer on a connection that is no longer net/http's, and the last one on it.
type rawAnswer struct {
	header http.Header
	status int
	body   bytes.Buffer
}

// Header implements http.ResponseWriter.
func (a *rawAnswer) Header() http.Header { return a.header }

// WriteHeader implements http.ResponseWriter.
func (a *rawAnswer) WriteHeader(status int) { a.status = status }

// Write implements http.ResponseWriter.
func (a *rawAnswer) Write(b []byte) (int, error) { return a.body.Write(b) }

func (a *rawAnswer) bytes() []byte {
	a.header.Set("Content-Length", strconv.Itoa(a.body.Len()))
	return append(a.head(), a.body.Bytes()...)
}

func (a *rawAnswer) head() []byte {
	a.header.Set("Connection", "close")
	a.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	var b bytes.Buffer
	b.WriteString("HTTP/1.1 " + strconv.Itoa(a.status) + " " + http.StatusText(a.status) + "\r\n")
	_ = a.header.Write(&b) // into memory
	b.WriteString("\r\n")
	return b.Bytes()
}
