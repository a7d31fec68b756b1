package ws

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/carillon-mq/carillon/protocol"
	"github.com/coder/websocket"
)

// checkKey refuses what is no Sec-WebSocket-Key: 16 bytes in base64.
func checkKey(r *http.Request) error {
	keys := r.Header.Values("Sec-WebSocket-Key")
	var nonce [18]byte
	if len(keys) == 1 && len(keys[0]) == base64.StdEncoding.EncodedLen(16) {
		if n, err := base64.StdEncoding.Decode(nonce[:], []byte(keys[0])); err == nil && n == 16 {
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeBadArgs, "found Sec-WebSocket-Key %.100q, wanted 16 bytes in base64", strings.Join(keys, ", "))
}

// upgrader has coder/websocket shake hands over a connection that is ours: the library gets a stand-in for it, and has nothing to do with it
// once the handshake is done.
type upgrader struct {
	http.ResponseWriter
	h    *Handler
	conn *conn // once it has been taken from net/http
}

// Hijack implements http.Hijacker: the connection is taken from net/http, whose buffers and goroutine go.
func (u *upgrader) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	nc, buffers, err := http.NewResponseController(u.ResponseWriter).Hijack()
	if err != nil {
		return nil, nil, err
	}
	if err := buffers.Flush(); err != nil { // the 101
		nc.Close()
		return nil, nil, err
	}
	u.conn = newConn(nc, u.h)
	if n := buffers.Reader.Buffered(); n > 0 { // what came right behind the request is the first thing to read
		early, _ := buffers.Peek(n)
		u.conn.early = bytes.Clone(early)
	}
	from := standIn{nc}
	return from, bufio.NewReadWriter(bufio.NewReaderSize(from, 16), bufio.NewWriterSize(from, 16)), nil
}

// standIn is a connection that takes nothing, gives nothing, and does not close what it stands for.
type standIn struct{ net.Conn }

func (standIn) Read([]byte) (int, error)  { return 0, io.EOF }
func (standIn) Write([]byte) (int, error) { return 0, io.ErrClosedPipe }
func (standIn) Close() error              { return nil }

// hijack grants the upgrade and takes the connection.
func (h *Handler) hijack(w http.ResponseWriter, r *http.Request) (*conn, error) {
	u := &upgrader{ResponseWriter: w, h: h}
	lib, err := websocket.Accept(u, r, &websocket.AcceptOptions{
		Subprotocols: subprotocols, CompressionMode: websocket.CompressionDisabled,
		InsecureSkipVerify: true, // the origin has been checked
	})
	if err != nil {
		if u.conn != nil {
			u.conn.out.End(false)
		}
		return nil, err
	}
	u.conn.in.text = lib.Subprotocol() == protocol.SubprotocolJSON
	_ = lib.CloseNow() // else its finalizer keeps all of it
	return u.conn, nil
}
