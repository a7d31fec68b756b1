package httpapi

import (
	"context"
	"strconv"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/msgjson"
	"github.com/carillon-mq/carillon/protocol"
)

// getHistory answers with a page of what the store keeps of a topic, or of those that a filter matches.
func (h *Handler) getHistory(r *request) {
	filter := r.topic
	var q options
	refusal := q.read(r.URL.RawQuery, "after", "limit", "last")
	switch {
	case refusal != nil:
	case q.last > 0 && q.after != nil:
		refusal = badArgs(`both "last" and "after" are given`).WithHint("last=N reads the newest N messages; after=CURSOR the ones behind a cursor")
	case q.last > 0 && q.limit > 0:
		refusal = badArgs(`both "last" and "limit" are given`).WithHint("last=N reads the newest N messages; limit=N bounds a page that begins with the oldest, or behind after=CURSOR")
	case protocol.ValidateFilter(filter) != nil:
		refusal = told(protocol.ValidateFilter(filter))
	}
	if refusal != nil {
		h.refuse(r, refusal)
		return
	}
	id, err := h.authenticate(r, "http")
	if err != nil {
		h.refuse(r, err)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), h.opt.PublishTimeout)
	defer cancel()
	page, err := h.b.History(ctx, id, broker.HistoryRequest{Filter: filter, After: q.after, Limit: q.limit, Last: q.last})
	if err != nil {
		h.refuse(r, withHistoryHint(told(err), filter))
		return
	}
	setNoStore(r.w.Header(), typeJSON)
	_, _ = r.w.Write(appendHistory(nil, &page)) // the client has gone: nobody is left to tell
}

// withHistoryHint says what to write so that the request will do.
func withHistoryHint(e *protocol.Error, filter string) *protocol.Error {
	switch e.Code {
	case protocol.CodeUnsupported:
		if e.Hint == "" { // the store cannot do it: no rule helps
			return e
		}
		return e.WithHint("a topic has a history if a rule of the configuration stores it: topics: [{match: " + strconv.Quote(filter) + ", class: stored}]")
	case protocol.CodeForbidden:
		return e.WithHint("use a token with the right to read it back: \"history\": [" + strconv.Quote(filter) + "]")
	}
	return e
}

// appendHistory appends a page as JSON.
func appendHistory(b []byte, page *broker.HistoryResult) []byte {
	b = append(b, `{"messages":[`...)
	at := page.After
	at.Epoch, at.Seq = protocol.RunID{}, 0
	for i := range page.Messages {
		if i > 0 {
			b = append(b, ',')
		}
		m := &page.Messages[i]
		at.Offset = m.Offset
		b = appendObject(b, m)
		b = append(append(append(b[:len(b)-1], `,"id":"`...), at.Cursor()...), `"}`...)
	}
	b = append(append(append(b, `],"cursor":"`...), page.After.Cursor()...), `","more":`...)
	b = strconv.AppendBool(b, page.More)
	if page.Gap != "" {
		b = append(msgjson.AppendString(append(b, `,"gap":{"reason":`...), string(page.Gap)), '}')
	}
	return append(b, "}\n"...)
}
