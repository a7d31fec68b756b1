package httpapi

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/outlet"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// Bounds of an answer.
const (
	pollBytes  = 256 << 10 // of messages: what follows is for the next poll
	pollBuffer = 32 << 10  // made and not yet taken by the client, about
	pollPiece  = 16 << 10  // written at a time, so that a slow client is seen to take it
)

// servePoll answers with what has come behind the cursor, as soon as there is something, or with a fresh cursor when the time to wait is
// over. The answer is streamed from a session that ends with it: what the session was sent and the answer does not have is behind the
// answer's cursor.
func (h *Handler) servePoll(r *request, id *broker.Identity, sub *subscription) {
	p := newPoll(h.b, sub)
	session, err := h.b.Open(p, broker.ConnInfo{Transport: "poll", Remote: r.remote, Identity: id})
	if err == nil {
		if err = session.Follow(sub.FollowRequest); err != nil {
			session.Closed(nil)
		}
	}
	if err != nil {
		h.refuse(r, err)
		return
	}
	_ = http.NewResponseController(r.w).SetWriteDeadline(time.Time{}) // that of other requests may be over before there is something
	a := &pollAnswer{r: r, h: h, p: p}
	whole := a.run(r.Context(), session, sub.wait)
	session.Closed(nil) // it need not wait for the client to take the end
	switch {
	case whole:
		a.end()
	case !a.begun && p.ended() != nil:
		d := p.ended()
		webrules.WriteProblem(r.w, r.Request, &protocol.Error{Code: d.Code, Detail: d.Detail, Hint: d.Hint, RetryAfter: d.After})
	default:
		panic(http.ErrAbortHandler) // an answer that breaks off is none
	}
}

// pollAnswer writes the answer of a poll while it is made.
type pollAnswer struct {
	r     *request
	h     *Handler
	p     *poll
	begun bool
}

// run writes messages until the answer is whole. It reports false when the client has gone or the session has ended before.
func (a *pollAnswer) run(ctx context.Context, session *broker.Session, wait time.Duration) (whole bool) {
	late := time.NewTimer(wait)
	defer late.Stop()
	for {
		select {
		case <-a.p.changed:
		case <-late.C:
			a.p.hurry()
			session.Locate()
		case <-ctx.Done():
			return false
		}
		buf, b, state := a.p.take()
		wrote := state != pollEnded && a.write(b)
		if buf != nil {
			outlet.GiveBack(buf, b)
		}
		if !wrote || state == pollWhole {
			return wrote
		}
	}
}

// write writes a part of the answer, its head before the first.
func (a *pollAnswer) write(b []byte) (ok bool) {
	if len(b) == 0 {
		return true
	}
	client := http.NewResponseController(a.r.w)
	if !a.begun {
		a.begun = true
		setNoStore(a.r.w.Header(), typeJSON)
		_, _ = a.r.w.Write([]byte(`{"messages":[`)) // into net/http's buffer
	}
	for piece := range slices.Chunk(b, pollPiece) {
		_ = client.SetWriteDeadline(time.Now().Add(a.h.opt.Stalled))
		if _, err := a.r.w.Write(piece); err != nil {
			return false
		}
		a.p.moved()
	}
	return len(b) < pollBuffer || client.Flush() == nil
}

// end writes the end of the answer.
func (a *pollAnswer) end() {
	a.write(a.p.tail()) // the client has gone: nobody is left to tell
}
