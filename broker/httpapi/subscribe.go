package httpapi

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/protocol"
)

// Times of a long-poll.
const (
	defaultWait = 25 * time.Second
	minWait     = time.Second
	maxWait     = time.Minute
)

// subscription is what GET /v1/subscribe asks for.
type subscription struct {
	broker.FollowRequest
	poll bool
	wait time.Duration
}

// transport is the name of how messages are sent.
func (s *subscription) transport() string {
	if s.poll {
		return "poll"
	}
	return "sse"
}

// handleSubscribe serves GET /v1/subscribe: a stream of events, or one answer of a long-poll.
func (h *Handler) handleSubscribe(r *request) {
	sub, refusal := parseSubscribe(r.Request)
	if refusal != nil {
		h.refuseSubscribe(r, sub, refusal)
		return
	}
	id, err := h.authenticate(r, sub.transport())
	if err == nil {
		err = h.checkFilters(id, sub)
	}
	switch {
	case err != nil:
		h.refuseSubscribe(r, sub, err)
	case r.Method == http.MethodHead && sub.poll:
		setNoStore(r.w.Header(), typeJSON)
	case r.Method == http.MethodHead:
		setNoStore(r.w.Header(), typeEvents)
	case sub.poll:
		h.servePoll(r, id, sub)
	default:
		h.serveStream(r, id, sub)
	}
}

// checkFilters is the broker's check, with a hint for who joins filters by commas.
func (h *Handler) checkFilters(id *broker.Identity, sub *subscription) error {
	err := h.b.CheckFollow(id, &sub.FollowRequest)
	joined := func(filter string) bool { return strings.Contains(filter, ",") }
	if err != nil && told(err).Code == protocol.CodeBadFilter && slices.ContainsFunc(sub.Filters, joined) {
		return told(err).WithHint("several filters are several parameters: filter=orders.*&filter=news")
	}
	return err
}

const typeEvents = "text/event-stream"

func setNoStore(header http.Header, contentType string) {
	header.Set("Content-Type", contentType)
	header.Set("Cache-Control", "no-store")
}

// parseSubscribe reads the query and Last-Event-ID, which an EventSource sends when it comes back and which goes before `after`.
func parseSubscribe(r *http.Request) (*subscription, *protocol.Error) {
	sub := &subscription{wait: defaultWait}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return sub, protocol.Errorf(protocol.CodeBadArgs, "the query is not well formed")
	}
	sub.poll = query.Get("mode") == "poll" // first: it decides how a refusal is told
	for name, values := range query {
		if err := sub.set(name, values); err != nil {
			return sub, err
		}
	}
	if len(sub.Filters) == 0 {
		return sub, protocol.Errorf(protocol.CodeBadArgs, "there is no filter").
			WithHint("name at least one: /v1/subscribe?filter=orders.%3E")
	}
	if query.Has("wait") && !sub.poll {
		return sub, protocol.Errorf(protocol.CodeBadArgs, `parameter "wait" goes with mode=poll`)
	}
	if last := r.Header.Get("Last-Event-ID"); last != "" {
		return sub, sub.resume("the header Last-Event-ID", last)
	}
	return sub, nil
}

// set takes one parameter.
func (s *subscription) set(name string, values []string) *protocol.Error {
	switch name {
	case "filter":
		s.Filters = values
		return nil
	case "fresh":
		s.Fresh = values
		return nil
	case "after", "retained", "mode", "wait", "origin":
	default:
		return protocol.Errorf(protocol.CodeBadArgs, "parameter %q is not known here, filter, after, fresh, retained, origin, mode and wait are", clip(name))
	}
	if len(values) != 1 {
		return protocol.Errorf(protocol.CodeBadArgs, "parameter %q is given %d times", name, len(values))
	}
	switch value := values[0]; name {
	case "after":
		return s.resume(`parameter "after"`, value)
	case "retained":
		retained, err := strconv.ParseBool(value)
		if err != nil {
			return protocol.Errorf(protocol.CodeBadArgs, "parameter %q is %q, want true or false", name, clip(value))
		}
		s.NoRetained = !retained
	case "origin":
		s.Origin = value
		return checkOrigin(`parameter "origin"`, value)
	case "mode":
		if value != "sse" && value != "poll" {
			return protocol.Errorf(protocol.CodeBadArgs, "parameter %q is %q, want sse or poll", name, clip(value))
		}
	case "wait":
		d, err := time.ParseDuration(value)
		if seconds, notSeconds := strconv.ParseUint(value, 10, 16); notSeconds == nil {
			d, err = time.Duration(seconds)*time.Second, nil
		}
		if err != nil || d < minWait || d > maxWait {
			return protocol.Errorf(protocol.CodeBadArgs, "parameter %q is %q, want whole seconds or a duration such as 2500ms, from 1 s to 60 s", name, clip(value))
		}
		s.wait = d
	}
	return nil
}

// resume has the subscription go on after cursor, which stands in where.
func (s *subscription) resume(where, cursor string) *protocol.Error {
	at, err := parseCursor(where, cursor)
	if err != nil {
		return err
	}
	s.After = at
	return nil
}

// refuseSubscribe is refuse for who may be an EventSource. That gives up for good at any status but 200, so that what may pass is told
// in a stream, which it comes back after.
func (h *Handler) refuseSubscribe(r *request, sub *subscription, err error) {
	e := told(err)
	passes := e.Code.Retry() && !e.Code.NeedsToken()
	if !passes || sub.poll || r.Method == http.MethodHead || !accepts(r.Header, typeEvents) {
		h.refuse(r, e)
		return
	}
	h.b.Refused(broker.Refusal{
		Code: e.Code, Detail: e.Detail, Hint: e.Packet(0).Hint, Transport: "sse", Remote: r.remote, User: r.user,
	})
	header := r.w.Header()
	setNoStore(header, typeEvents)
	header.Set("Connection", "close")
	_, _ = r.w.Write(appendEnd(nil, e.Disconnect())) // the client has gone: nobody is left to tell
}

// accepts reports whether the client names mediaType itself among what it takes.
func accepts(header http.Header, mediaType string) bool {
	for _, v := range header.Values("Accept") {
		for part := range strings.SplitSeq(v, ",") {
			t, _, _ := strings.Cut(part, ";")
			if strings.EqualFold(strings.TrimSpace(t), mediaType) {
				return true
			}
		}
	}
	return false
}

// Times after which an EventSource comes back when nobody says otherwise: spread, so that they do not come all at once.
const (
	minRetry = time.Second
	maxRetry = 3 * time.Second
)

func someRetry() time.Duration { return minRetry + rand.N(maxRetry-minRetry) }
