package wire

import (
	"sync"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
)

var (
	errNotConfigured = status.Error(codes.FailedPrecondition, "the plugin is not configured yet")
	errEnding        = status.Error(codes.Unavailable, "the plugin is ending")
)

// gate counts the calls that are inside a plugin's implementation, so that it can be closed when none is. gRPC does not wait
// for its handlers when it is stopped by one of them, as go-plugin does.
type gate struct {
	mu     sync.Mutex
	closed bool
	inside sync.WaitGroup
}

// enter reports whether the caller may go in; it then calls inside.Done when it leaves.
func (g *gate) enter() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.closed {
		g.inside.Add(1)
	}
	return !g.closed
}

// Close lets nobody in anymore and waits until everybody is out.
func (g *gate) Close() {
	g.mu.Lock()
	g.closed = true
	g.mu.Unlock()
	g.inside.Wait()
}
