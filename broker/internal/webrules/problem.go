package webrules

import (
	"encoding/json"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/protocol"
)

// Problem is a refusal as an RFC 9457 document. Code is what programs match.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`
	Status int    `json:"status"`
	Code   string `json:"code"`
	Detail string `json:"detail,omitempty"`
	Hint   string `json:"hint,omitempty"`

	// Results is what became of each part of a request that has several; it may be nil.
	Results any `json:"results,omitempty"`
}

// WriteProblem answers a request with err as application/problem+json: the status of its code, the code's name, what was found and
// wanted, and what to do. 401 carries the reason in WWW-Authenticate, 429 and 503 say when to come back.
func WriteProblem(w http.ResponseWriter, r *http.Request, err *protocol.Error) {
	WriteProblemAs(w, r, err, Problem{Status: err.Code.HTTPStatus()})
}

// WriteProblemAs is WriteProblem with the status and the results in p.
func WriteProblemAs(w http.ResponseWriter, r *http.Request, err *protocol.Error, p Problem) {
	h := w.Header()
	switch p.Status {
	case http.StatusUnauthorized:
		h.Set("WWW-Authenticate", challenge(err))
	case http.StatusTooManyRequests, http.StatusServiceUnavailable:
		h.Set("Retry-After", strconv.Itoa(max(1, int((err.RetryAfter+time.Second-1)/time.Second))))
	case http.StatusRequestTimeout, http.StatusRequestEntityTooLarge:
		h.Set("Connection", "close") // the rest of the body is not read
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	if r.Method == http.MethodHead {
		return
	}
	p.Type, p.Title = "about:blank", http.StatusText(p.Status)
	packet := err.Packet(0)
	p.Code, p.Detail, p.Hint = packet.Name, packet.Detail, packet.Hint
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // people read it in terminals
	_ = enc.Encode(p)        // the client has gone: nobody is left to tell
}

// challenge is the WWW-Authenticate of a 401 (RFC 6750 section 3); its description starts with the code.
func challenge(err *protocol.Error) string {
	reason := quotable(err.Error())
	if err.Code == protocol.CodeTokenMissing {
		return `Bearer realm="carillon", error_description="` + reason + `"`
	}
	return `Bearer realm="carillon", error="invalid_token", error_description="` + reason + `"`
}

// quotable keeps what RFC 6750 allows in error_description.
func quotable(s string) string {
	return strings.Map(func(c rune) rune {
		switch {
		case c == '"' || c == '\\':
			return '\''
		case c < 0x20 || c > 0x7e:
			return '?'
		}
		return c
	}, s)
}
