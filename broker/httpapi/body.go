package httpapi

import (
	"errors"
	"io"
	"mime"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/carillon-mq/carillon/broker/internal/webrules"
	"github.com/carillon-mq/carillon/protocol"
)

// readBody reads the whole body, of at most limit bytes, within Options.BodyTimeout. It answers the request itself when it cannot.
func (h *Handler) readBody(r *request, limit int) (body []byte, ok bool) {
	if err := checkEncoding(r.Header); err != nil {
		h.refuse(r, err)
		return nil, false
	}
	if r.ContentLength > int64(limit) {
		h.refuse(r, tooLarge(limit))
		return nil, false
	}
	control := http.NewResponseController(r.w)
	_ = control.SetReadDeadline(time.Now().Add(h.opt.BodyTimeout)) // a test's recorder has no deadlines, every connection has
	body, err := io.ReadAll(http.MaxBytesReader(r.w, r.Body, int64(limit)))
	if err == nil {
		_ = control.SetReadDeadline(time.Time{})
		return body, true
	}
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		h.refuse(r, tooLarge(limit))
	case errors.Is(err, os.ErrDeadlineExceeded):
		e := protocol.Errorf(protocol.CodeTimeout, "the body did not arrive within %v", h.opt.BodyTimeout)
		h.refuseAs(r, e, webrules.Problem{Status: http.StatusRequestTimeout})
	default:
		h.refuse(r, protocol.Errorf(protocol.CodeBadBody, "the body ended early or is not framed as HTTP wants"))
	}
	return nil, false
}

func tooLarge(limit int) *protocol.Error {
	return protocol.Errorf(protocol.CodeTooLarge, "the body is larger than %d bytes, the limit here", limit)
}

// checkEncoding refuses compressed bodies: what they unpack to is not bounded by what arrives.
func checkEncoding(header http.Header) *protocol.Error {
	for _, v := range header.Values("Content-Encoding") {
		if !strings.EqualFold(strings.TrimSpace(v), "identity") {
			return protocol.Errorf(protocol.CodeUnsupportedMediaType, "the body has a Content-Encoding, which is not taken").
				WithHint("send the body uncompressed, without Content-Encoding")
		}
	}
	return nil
}

// The content types that mean something here.
const (
	typeForm   = "application/x-www-form-urlencoded"
	typeJSON   = "application/json"
	typeText   = "text/plain; charset=utf-8"
	typeBinary = "application/octet-stream"
	typeMsgpck = "application/msgpack"
)

// mediaType is the type without parameters, in lower case; "" when there is none or it is not one.
func mediaType(header http.Header) string {
	t, _, err := mime.ParseMediaType(header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}
