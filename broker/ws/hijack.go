package ws

import (
	"bufio"
	"bytes"
	"net"
	"net/http"
)

// controlBuffer is the size of coder/websocket's writer: the longest control frame and no more, so that each control frame
// reaches conn as exactly one Write.
const controlBuffer = 2 + 125

// readBuffer is the size of its reader: enough for a frame's header, because the socket's bytes are buffered in conn, and only
// while there are some.
const readBuffer = 128

// hijacker hands coder/websocket a connection and buffers of our own.
type hijacker struct {
	http.ResponseWriter
	h    *Handler
	conn **conn // where the connection goes
}

// Hijack implements http.Hijacker.
func (w *hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffers, err := http.NewResponseController(w.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := buffers.Flush(); err != nil { // the 101
		nc.Close()
		return nil, nil, err
	}
	c := newConn(nc, w.h)
	*w.conn = c
	if n := buffers.Reader.Buffered(); n > 0 { // what came right behind the request is the first thing to read
		early, _ := buffers.Peek(n)
		c.early = bytes.Clone(early)
	}
	lib := (*libConn)(c)
	c.br = bufio.NewReaderSize(lib, readBuffer)
	return lib, bufio.NewReadWriter(c.br, bufio.NewWriterSize(lib, controlBuffer)), nil
}
