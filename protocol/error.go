package protocol

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// Error is a refusal that the other side is told: a code and what was found and wanted. Detail and Hint are shown to people and
// must not hold tokens or payloads. Only Code is ever matched.
type Error struct {
	Code       Code
	Detail     string
	Hint       string        // what to do; empty: Code.Hint
	RetryAfter time.Duration // 0: not known
}

// Errorf returns an *Error with a formatted detail.
func Errorf(code Code, format string, a ...any) *Error {
	return &Error{Code: code, Detail: fmt.Sprintf(format, a...)}
}

// Error is the code's name and the detail.
func (e *Error) Error() string {
	if e.Detail == "" {
		return e.Code.String()
	}
	return e.Code.String() + ": " + e.Detail
}

// Is reports whether target is an *Error with the same code.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error)
	return ok && t.Code == e.Code
}

// WithHint returns a copy of e that tells the user what to do instead of the code's own hint.
func (e *Error) WithHint(hint string) *Error {
	c := *e
	c.Hint = hint
	return &c
}

// WithRetryAfter returns a copy of e that says when a repetition may succeed.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// CodeOf returns the code of err, and CodeInternal for an error that is not an *Error.
func CodeOf(err error) Code {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code
	}
	return CodeInternal
}

// Packet is the answer to request id (0: to no request) that carries e ([ERR-1]).
func (e *Error) Packet(id uint64) *ErrorPacket {
	return &ErrorPacket{ID: id, Code: e.Code, Name: e.Code.String(), Detail: e.Detail, Hint: e.hint(), RetryAfter: e.RetryAfter}
}

// Disconnect is the packet that closes a session because of e ([DIS-1]).
func (e *Error) Disconnect() Disconnect {
	return Disconnect{
		Code: e.Code, Name: e.Code.String(), Detail: e.Detail, Hint: e.hint(),
		Reconnect: e.Code.Retry(), After: e.RetryAfter,
	}
}

func (e *Error) hint() string {
	if e.Hint != "" {
		return e.Hint
	}
	return e.Code.Hint()
}

// plain is s as it may go into a packet.
func plain(s string) string { return strings.ToValidUTF8(s, "\uFFFD") }
