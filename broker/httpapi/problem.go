package httpapi

import (
	"encoding/json"
	"errors"
	"net/http"

	"github.com/carillon-mq/carillon/broker"
	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// refuse answers with err, a problem document, and has it counted and logged. An error that is not a *protocol.Error is not told
// in detail. Neither the URL, the body nor a token is in the log.
func (h *Handler) refuse(r *request, err error) {
	e := told(err)
	h.refuseAs(r, e, webrules.Problem{Status: e.Code.HTTPStatus()})
}

// refuseAs is refuse with another status than the code's, or with results.
func (h *Handler) refuseAs(r *request, e *protocol.Error, p webrules.Problem) {
	if e.Code != protocol.CodeNotFound || r.topic == "" { // that a topic has no retained message is an ordinary answer
		h.b.Refused(broker.Refusal{
			Code: e.Code, Detail: e.Detail, Hint: e.Packet(0).Hint, Transport: "http", Remote: r.remote, User: r.user, Topic: r.topic,
		})
	}
	webrules.WriteProblemAs(r.w, r.Request, e, p)
}

func told(err error) *protocol.Error {
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	return protocol.Errorf(protocol.CodeInternal, "the broker failed")
}

// writeJSON answers 200 with v.
func writeJSON(r *request, v any) {
	body, err := json.Marshal(v)
	if err != nil {
		r.w.WriteHeader(http.StatusInternalServerError)
		return
	}
	header := r.w.Header()
	header.Set("Content-Type", "application/json")
	header.Set("Cache-Control", "no-store")
	_, _ = r.w.Write(append(body, '\n')) // the client has gone: nobody is left to tell
}
