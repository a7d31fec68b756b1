package carillon

import (
	"errors"
	"fmt"

	"github.com/carillon-mq/carillon/protocol"
)

// Error is a refusal by the broker: Code, Detail, Hint and, when known, RetryAfter. Two errors with the same Code match in errors.Is.
type Error = protocol.Error

// Code is a code of the protocol's table. Only codes are ever to be matched, never texts.
type Code = protocol.Code

// The refusals an application most often tells apart, for errors.Is. Every other one can be told by its Error.Code.
var (
	ErrNotFound         error = &Error{Code: protocol.CodeNotFound}
	ErrBadTopic         error = &Error{Code: protocol.CodeBadTopic}
	ErrBadFilter        error = &Error{Code: protocol.CodeBadFilter}
	ErrBadPosition      error = &Error{Code: protocol.CodeBadPosition}
	ErrForbidden        error = &Error{Code: protocol.CodeForbidden}
	ErrTooLarge         error = &Error{Code: protocol.CodeTooLarge}
	ErrRateLimited      error = &Error{Code: protocol.CodeRateLimited}
	ErrStoreUnavailable error = &Error{Code: protocol.CodeStoreUnavailable}
	ErrTokenExpired     error = &Error{Code: protocol.CodeTokenExpired}
)

var (
	// ErrClosed ends everything that was under way when the client was closed.
	ErrClosed = errors.New("carillon: the client is closed")

	// ErrUnsubscribed ends the iteration of a subscription that was closed.
	ErrUnsubscribed = errors.New("carillon: the subscription is closed")

	// ErrUnknownOutcome is returned by a publish that was sent but whose acknowledgement did not come, and by a request whose reply did not. It
	// may or may not have been applied. To publish the same again with the same ID is safe for 2 minutes, for a topic that is not stored as long as the broker runs.
	ErrUnknownOutcome = errors.New("carillon: no answer came, the outcome is unknown")

	// ErrQueueFull is returned by a publish while there is no connection and WithPendingLimit publishes wait already.
	ErrQueueFull = errors.New("carillon: not connected and the queue of publishes is full")

	errLost    = errors.New("the connection was lost")
	errSilent  = errors.New("carillon: nothing came from the broker for too long")
	errIterate = errors.New("carillon: the subscription is already being iterated")
)

// Retryable reports whether the same call may succeed later. After ErrUnknownOutcome it may apply the publish a second time, unless both
// have the same ID.
func Retryable(err error) bool {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Code.Retry()
	}
	return errors.Is(err, ErrUnknownOutcome) || errors.Is(err, ErrQueueFull) || errors.Is(err, ErrNoResponder)
}

// GapError says that messages are missing in a subscription's stream at this point, and why. It is not the end of the stream.
type GapError struct {
	Filter string
	Reason GapReason
	From   Cursor // the last position before the gap; "" when not known
	To     Cursor // the position after it
	Count  int64  // how many messages are missing; -1 when not known
}

// GapReason is why messages are missing.
type GapReason = protocol.GapReason

// Error says how much is missing and why.
func (e *GapError) Error() string {
	n := "an unknown number of"
	if e.Count >= 0 {
		n = fmt.Sprint(e.Count)
	}
	return fmt.Sprintf("carillon: %s messages of %q are missing (%s)", n, e.Filter, e.Reason)
}

// refused is an answer that ends the connection or the attempt to make one.
type refused struct {
	why       *Error
	reconnect bool // it is of use to come back
}

func (r *refused) Error() string { return r.why.Error() }
func (r *refused) Unwrap() error { return r.why }

func disconnected(d *protocol.Disconnect) error {
	return &refused{why: d.Err(), reconnect: d.Reconnect && d.Code.Retry()}
}

func refusal(e *Error) error {
	return &refused{why: e, reconnect: e.Code.Retry()}
}
