package broker

import (
	"errors"

	"github.com/carillon-mq/carillon/protocol"
)

// asError is err as what the client is told; nil stays nil. What is not a *protocol.Error is internal, and not told in detail.
func asError(err error) *protocol.Error {
	if err == nil {
		return nil
	}
	if e, ok := errors.AsType[*protocol.Error](err); ok {
		return e
	}
	return protocol.Errorf(protocol.CodeInternal, "the broker failed")
}
