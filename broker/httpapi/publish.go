package httpapi

import (
	"context"
	"time"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// result is the acknowledgement of one publish, or why there is none.
type result struct {
	Topic      string  `json:"topic"`
	Epoch      string  `json:"epoch,omitempty"`
	Seq        *uint64 `json:"seq,omitempty"`
	Offset     *uint64 `json:"offset,omitempty"`
	Cursor     string  `json:"cursor,omitempty"`
	Durability string  `json:"durability,omitempty"`
	Receivers  *int64  `json:"receivers,omitempty"`
	Duplicate  bool    `json:"duplicate,omitempty"`
	Code       string  `json:"code,omitempty"`
	Detail     string  `json:"detail,omitempty"`
}

func (h *Handler) result(topic string, ack protocol.Published) result {
	at := h.b.Position()
	at.Seq, at.Offset = ack.Seq, ack.Offset
	r := result{
		Topic: topic, Epoch: at.Epoch.String(), Seq: &ack.Seq, Offset: &ack.Offset,
		Durability: ack.Durability.String(), Duplicate: ack.Duplicate,
	}
	switch {
	case ack.Seq > 0:
		r.Cursor = at.Cursor()
	case ack.Duplicate && ack.Offset > 0: // the first was in another run: the store alone has a place for it
		at.Epoch = protocol.RunID{}
		r.Epoch, r.Cursor = "", at.Cursor()
	}
	if ack.Receivers >= 0 {
		r.Receivers = &ack.Receivers
	}
	return r
}

// publishOne publishes p for id and answers.
func (h *Handler) publishOne(r *request, id *broker.Identity, p broker.PublishRequest) {
	if refusal := h.rates.allow(id, time.Now(), 1, len(p.Payload)); refusal != nil {
		h.refuse(r, refusal)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opt.PublishTimeout)
	defer cancel()
	ack, err := h.b.Publish(ctx, id, p)
	if err != nil {
		h.refuse(r, err)
		return
	}
	writeJSON(r, h.result(p.Topic, ack))
}

// handlePublish serves POST /v1/publish: one message in an envelope, to one topic or several.
func (h *Handler) handlePublish(r *request) {
	if err := (&options{}).read(r.URL.RawQuery); err != nil {
		h.refuse(r, err)
		return
	}
	parse, refusal := envelopeParser(mediaType(r.Header))
	if refusal != nil {
		r.w.Header().Set("Accept-Post", typeJSON+", "+typeForm)
		h.refuse(r, refusal)
		return
	}
	id, err := h.authenticate(r, "http")
	if err != nil {
		h.refuse(r, err)
		return
	}
	body, ok := h.readBody(r, h.envelopeLimit())
	if !ok {
		return
	}
	e, refusal := parse(body)
	if refusal == nil {
		refusal = addKey(&e.id, `"id" in the body`, r.Header)
	}
	if refusal != nil {
		h.refuse(r, refusal)
		return
	}
	if len(e.topics) == 1 {
		r.topic = e.topics[0]
		h.publishOne(r, id, e.request(e.topics[0]))
		return
	}
	h.publishAll(r, id, e)
}

// envelopeLimit has room for a payload in base64 or with every byte escaped as JSON does quotes, headers, and the longest list
// of topics.
func (h *Handler) envelopeLimit() int {
	return 2*h.opt.Payload + maxTopics*(protocol.MaxTopicBytes+4) + 2*protocol.MaxHeaderBytes + 1024
}

func envelopeParser(mediaType string) (func([]byte) (*envelope, *protocol.Error), *protocol.Error) {
	switch mediaType {
	case typeJSON:
		return parseJSONEnvelope, nil
	case typeForm:
		return parseCurlEnvelope, nil
	}
	return nil, protocol.Errorf(protocol.CodeUnsupportedMediaType, "this path takes application/json or a URL-encoded form").
		WithHint("send Content-Type: application/json, or the raw message to /v1/topics/{topic}")
}

// publishAll publishes e to each of its topics, in order. Nothing is published when a topic is bad or forbidden. When one fails
// later, the answer is its refusal, with the results of all.
func (h *Handler) publishAll(r *request, id *broker.Identity, e *envelope) {
	for _, topic := range e.topics {
		if err := protocol.ValidateTopic(topic); err != nil {
			h.refuse(r, told(err))
			return
		}
	}
	if denied, err := h.b.MayPublish(id, e.topics, e.exclude != ""); err != nil {
		r.topic = denied
		refusal := *told(err)
		refusal.Detail += "; nothing was published"
		h.refuse(r, &refusal)
		return
	}
	if refusal := h.rates.allow(id, time.Now(), len(e.topics), len(e.request(e.topics[0]).Payload)); refusal != nil {
		h.refuse(r, refusal)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opt.PublishTimeout)
	defer cancel()
	results := make([]result, 0, len(e.topics))
	var failed *protocol.Error
	for _, topic := range e.topics {
		ack, err := h.b.Publish(ctx, id, e.request(topic))
		if err == nil {
			results = append(results, h.result(topic, ack))
			continue
		}
		refusal := told(err)
		if failed == nil {
			failed = refusal
		}
		results = append(results, result{Topic: topic, Code: refusal.Code.String(), Detail: refusal.Detail})
	}
	if failed != nil {
		h.refuseAs(r, failed, webrules.Problem{Status: failed.Code.HTTPStatus(), Results: results})
		return
	}
	writeJSON(r, struct {
		Results []result `json:"results"`
	}{results})
}

// maxTopics bounds the topics of one envelope.
const maxTopics = 100
