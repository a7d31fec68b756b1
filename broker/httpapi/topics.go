package httpapi

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// handleTopic serves /v1/topics/{topic}. The rest of the path is decoded exactly once; a slash in it that is not escaped is
// another path.
func (h *Handler) handleTopic(r *request, rest string) {
	rest, history := strings.CutSuffix(rest, "/history")
	topic, err := url.PathUnescape(rest)
	if strings.Contains(rest, "/") {
		h.refuse(r, notFound().WithHint("the levels of a topic have dots between them, such as orders.42; a slash in a topic is written %2F"))
		return
	}
	if err != nil || rest == "" {
		h.refuse(r, notFound())
		return
	}
	if history {
		r.topic = topic
		h.methods(r, method{http.MethodGet, h.getHistory}, method{http.MethodHead, h.getHistory})
		return
	}
	if err := protocol.ValidateTopic(topic); err != nil {
		h.refuse(r, told(err))
		return
	}
	r.topic = topic
	h.methods(r,
		method{http.MethodGet, h.getTopic},
		method{http.MethodHead, h.getTopic},
		method{http.MethodPost, h.postTopic},
		method{http.MethodDelete, h.deleteTopic},
	)
}

// postTopic publishes the body as it is.
func (h *Handler) postTopic(r *request) {
	var q options
	if err := q.readPublish(r.Request, "retain", "receivers", "id", "exclude", "ttl"); err != nil {
		h.refuse(r, err)
		return
	}
	id, err := h.authenticate(r, "http")
	if err != nil {
		h.refuse(r, err)
		return
	}
	body, ok := h.readBody(r, h.opt.Payload)
	if !ok {
		return
	}
	h.publishOne(r, id, broker.PublishRequest{
		Topic: r.topic, Payload: body, ContentType: contentType(r.Header, body), Retain: q.retain, Receivers: q.receivers,
		MessageID: q.id, Exclude: q.exclude, TTL: q.ttl,
	})
}

// contentType is the type a raw body is published with: its own, but for what curl -d says of every body.
func contentType(header http.Header, body []byte) string {
	switch t := header.Get("Content-Type"); {
	case t == "":
		return typeBinary
	case mediaType(header) == typeForm:
		return sniff(body)
	default:
		return t
	}
}

// sniff is JSON if body parses as JSON, else text, else binary.
func sniff(body []byte) string {
	switch {
	case !utf8.Valid(body):
		return typeBinary
	case json.Valid(body):
		return typeJSON
	}
	return typeText
}

// deleteTopic clears the retained value. There need not be one.
func (h *Handler) deleteTopic(r *request) {
	var q options
	if err := q.readPublish(r.Request, "receivers", "id", "exclude"); err != nil {
		h.refuse(r, err)
		return
	}
	id, err := h.authenticate(r, "http")
	if err != nil {
		h.refuse(r, err)
		return
	}
	h.publishOne(r, id, broker.PublishRequest{Topic: r.topic, Retain: true, Receivers: q.receivers, MessageID: q.id, Exclude: q.exclude})
}

// getTopic answers with the retained value, raw, or in JSON if that is asked for by name and says the same.
func (h *Handler) getTopic(r *request) {
	var q options
	if err := q.read(r.URL.RawQuery); err != nil {
		h.refuse(r, err)
		return
	}
	id, err := h.authenticate(r, "http")
	if err != nil {
		h.refuse(r, err)
		return
	}
	m, err := h.b.Retained(id, r.topic)
	if err != nil {
		h.refuse(r, err)
		return
	}
	at := h.b.Position()
	at.Seq, at.Offset = m.Seq, m.Offset
	etag := `"` + at.Cursor() + `"`
	header := r.w.Header()
	if msgjson.KindOf(m.ContentType) == msgjson.Msgpack {
		header.Add("Vary", "Accept")
		if accepts(r.Header, typeJSON) && showJSON(&m) {
			etag = `"` + at.Cursor() + `.json"` // another representation
		}
	}
	header.Set("ETag", etag)
	header.Set("Cache-Control", "private, no-cache") // kept, but asked for again each time
	for _, name := range h.rules.Vary() {
		header.Add("Vary", name)
	}
	if matches(r.Header.Values("If-None-Match"), etag) {
		r.w.WriteHeader(http.StatusNotModified)
		return
	}
	header.Set("Content-Type", headerSafe(m.ContentType))
	header.Set("Content-Length", strconv.Itoa(len(m.Payload)))
	if r.Method != http.MethodHead {
		_, _ = r.w.Write(m.Payload) // the client has gone: nobody is left to tell
	}
}

// showJSON makes m one in JSON. It reports false, and leaves m as it was, if there is no JSON that says the same.
func showJSON(m *protocol.Message) bool {
	b, ok := msgjson.Append(nil, m.Payload)
	if ok {
		m.Payload, m.ContentType = b, typeJSON
	}
	return ok
}

// headerSafe is a publisher's content type as a header may carry it. The default of the protocol is msgpack.
func headerSafe(t string) string {
	if t == "" {
		return typeMsgpck
	}
	if strings.ContainsFunc(t, func(c rune) bool { return c < 0x20 || c > 0x7e }) {
		return typeBinary
	}
	return t
}

// matches is the weak comparison of RFC 9110 section 13.1.2.
func matches(values []string, etag string) bool {
	for tag := range strings.SplitSeq(strings.Join(values, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" || strings.TrimPrefix(tag, "W/") == etag {
			return true
		}
	}
	return false
}
