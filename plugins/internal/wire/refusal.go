package wire

import (
	"strings"
	"time"
	"unicode/utf8"

	"github.com/carillon-mq/carillon/plugins/internal/wire/commonv1pb"
	"github.com/carillon-mq/carillon/protocol"
)

func refusalToWire(e *protocol.Error) *commonv1pb.Refusal {
	return &commonv1pb.Refusal{
		Code:         e.Code.String(),
		Detail:       cut(strings.ToValidUTF8(e.Detail, "\uFFFD")),
		Hint:         cut(strings.ToValidUTF8(e.Hint, "\uFFFD")),
		RetryAfterMs: uint32(min(max(e.RetryAfter.Milliseconds(), 0), 1<<32-1)),
	}
}

// refusalFromWire accepts the codes for which allowed is true.
func refusalFromWire(r *commonv1pb.Refusal, allowed func(protocol.Code) bool) (*protocol.Error, error) {
	code, known := protocol.CodeByName(r.GetCode())
	if !known || !allowed(code) {
		return nil, malformed("a refusal with the code %q", cut(r.GetCode()))
	}
	if hasNUL(r.GetDetail()) || hasNUL(r.GetHint()) {
		return nil, malformed("a refusal with NUL in its text")
	}
	return &protocol.Error{
		Code: code, Detail: cut(r.GetDetail()), Hint: cut(r.GetHint()),
		RetryAfter: time.Duration(r.GetRetryAfterMs()) * time.Millisecond,
	}, nil
}

// refusesClient reports whether an auth plugin may refuse a client with c.
func refusesClient(c protocol.Code) bool {
	switch c {
	case protocol.CodeTokenExpired, protocol.CodeTokenMissing, protocol.CodeTokenMalformed, protocol.CodeTokenBadSignature,
		protocol.CodeTokenWrongAudience, protocol.CodeTokenWrongIssuer, protocol.CodeTokenUnknownKey,
		protocol.CodeTokenNotYetValid, protocol.CodeTokenBadClaims, protocol.CodeRevoked, protocol.CodeKicked:
		return true
	}
	return false
}

// refusesRecord reports whether a store may refuse a record with c.
func refusesRecord(c protocol.Code) bool {
	switch c {
	case protocol.CodeQuota, protocol.CodeTooLarge, protocol.CodeBadTopic, protocol.CodeBadArgs, protocol.CodeUnsupported,
		protocol.CodeStoreUnavailable, protocol.CodeDuplicateID:
		return true
	}
	return false
}

func hasNUL(s string) bool { return strings.IndexByte(s, 0) >= 0 }

// cut is s, at most textBytes long, without half a character at its end.
func cut(s string) string {
	if len(s) <= textBytes {
		return s
	}
	n := textBytes
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}
