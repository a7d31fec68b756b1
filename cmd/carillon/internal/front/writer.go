package front

import (
	"bufio"
	"net"
	"net/http"
)

// writer hands out the bare connection: what the doors know of a TCP socket, they know of it alone.
type writer struct {
	http.ResponseWriter
}

// Unwrap is for http.ResponseController.
func (w writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Flush implements http.Flusher.
func (w writer) Flush() { _ = http.NewResponseController(w.ResponseWriter).Flush() } // as http.Flusher, it cannot tell

// Hijack implements http.Hijacker.
func (w writer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, rw, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if c, wrapped := nc.(*conn); wrapped {
		nc = c.Conn // its first bytes have been looked at
	}
	return nc, rw, err
}
