package httpapi

import (
	"github.com/carillon-mq/carillon/protocol"
)

// present is who is there, as it is answered. Users is nil when there are too many of them to be named ([PRE-4]).
type present struct {
	Topic string    `json:"topic"`
	Count int       `json:"count"`
	Users *[]string `json:"users,omitempty"`
}

// getPresence serves GET /v1/presence: who is a member of a topic.
func (h *Handler) getPresence(r *request) {
	var q options
	refusal := q.read(r.URL.RawQuery, "filter")
	if refusal == nil && q.filter == "" {
		refusal = badArgs("there is no filter").WithHint("name the topic: /v1/presence?filter=room.7")
	}
	if refusal != nil {
		h.refuse(r, refusal)
		return
	}
	r.topic = q.filter
	id, err := h.authenticate(r, "http")
	if err != nil {
		h.refuse(r, err)
		return
	}
	is, err := h.b.Presence(id, q.filter)
	if err != nil {
		h.refuse(r, withPresenceHint(told(err)))
		return
	}
	answer := present{Topic: q.filter, Count: is.Count}
	if is.Count <= protocol.MaxUsers {
		users := append([]string{}, is.Users...)
		answer.Users = &users
	}
	writeJSON(r, answer)
}

// withPresenceHint says what to write so that the request will do.
func withPresenceHint(e *protocol.Error) *protocol.Error {
	switch e.Code {
	case protocol.CodeForbidden:
		return e.WithHint(`use a token with the right to know it: "presence": ["room.*"]`)
	case protocol.CodeBadTopic:
		return e.WithHint("members are of a topic: a filter with wildcards has none")
	}
	return e
}
