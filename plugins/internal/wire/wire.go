// Package wire carries the core's ports over gRPC, in both directions: broker.Authenticator and broker.Store on the broker's
// side (AuthClient, StoreClient) and on the plugin's (RegisterAuth, RegisterStore). The contract is spec/plugin.
//
// The client side trusts nothing: an answer that breaks the contract is ErrMalformed, never a decision and never a record.
// The package starts no process; plugins/host and plugins/kit do, and agree on what stands in this file.
package wire

import (
	"errors"
	"fmt"
	"strings"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/carillon-mq/carillon/broker"
)

// ErrMalformed is an answer of a plugin that breaks its contract.
var ErrMalformed = broker.ErrMalformed

// What host and kit agree on beside the protos (spec/plugin.md).
const (
	// CookieKey and CookieValue tell a plugin that a broker started it.
	CookieKey   = "CARILLON_PLUGIN"
	CookieValue = "e5b1c1e7-started-by-a-carillon-broker"

	// ContractVersion is the major version of the contracts in spec/plugin, and go-plugin's protocol version.
	ContractVersion = 1

	// SetName is the one entry of go-plugin's plugin set.
	SetName = "carillon"

	// MaxMessageBytes bounds a gRPC message in either direction.
	MaxMessageBytes = 4 << 20

	// WindowBytes is gRPC's flow control in either direction, of a stream and of a connection. A fixed one spares a ping for each message
	// that is received, by which gRPC would measure how large it should be.
	WindowBytes = MaxMessageBytes

	// LogKey names the environment variable with the level a plugin should log at: "debug" or "info".
	LogKey = "CARILLON_PLUGIN_LOG"

	// ShutdownMethod is go-plugin's call that asks a plugin to end.
	ShutdownMethod = "/plugin.GRPCController/Shutdown"

	// KindAuth and KindStore are the kinds of plugins.
	KindAuth  = "auth"
	KindStore = "store"
)

const (
	pageBytes   = 1 << 20                  // records of one message, together
	pageRecords = 4096                     // records of one message
	recordBytes = MaxMessageBytes - 64<<10 // one record, with room for the message around it
	textBytes   = 1024                     // a refusal's detail and hint
)

// malformed is ErrMalformed with what is wrong. What is wrong with a part says so itself, and is not to say it twice.
func malformed(format string, a ...any) error {
	for i, arg := range a {
		if err, ok := arg.(error); ok && errors.Is(err, ErrMalformed) {
			a[i] = strings.TrimPrefix(err.Error(), ErrMalformed.Error()+": ")
		}
	}
	return fmt.Errorf("%w: %s", ErrMalformed, fmt.Sprintf(format, a...))
}

// toStatus is err as a plugin answers it.
func toStatus(err error) error {
	if _, ok := status.FromError(err); ok {
		return err
	}
	if errors.Is(err, broker.ErrTrimmed) {
		return status.Error(codes.OutOfRange, err.Error())
	}
	if s := status.FromContextError(err); s.Code() != codes.Unknown {
		return s.Err()
	}
	return status.Error(codes.Unavailable, err.Error())
}
