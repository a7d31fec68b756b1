package webrules

import (
	"net/http"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
)

// Bearer is the token of the Authorization header (RFC 6750 section 2.1); "" without one.
func Bearer(header http.Header) (string, *protocol.Error) {
	values := header.Values("Authorization")
	switch {
	case len(values) == 0:
		return "", nil
	case len(values) > 1:
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "found %d Authorization headers, want one", len(values))
	}
	scheme, token, _ := strings.Cut(values[0], " ")
	token = strings.TrimSpace(token)
	switch {
	case !strings.EqualFold(scheme, "Bearer"):
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "the Authorization header is of another scheme than Bearer").
			WithHint("send Authorization: Bearer <token>")
	case token == "":
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "the Authorization header has no token after Bearer")
	case len(token) > protocol.MaxTokenBytes:
		return "", protocol.Errorf(protocol.CodeTokenMalformed, "found a token of %d bytes, the limit is %d", len(token), protocol.MaxTokenBytes)
	}
	return token, nil
}
