package ws

import (
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"net/http"

	"github.com/carillon-mq/carillon/protocol"
)

// keyGUID is what RFC 6455 (section 1.3) has put behind a client's key.
const keyGUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"

// checkKey refuses what is no Sec-WebSocket-Key: 16 bytes in base64.
func checkKey(r *http.Request) error {
	keys := r.Header.Values("Sec-WebSocket-Key")
	var nonce [18]byte
	if len(keys) == 1 && len(keys[0]) == base64.StdEncoding.EncodedLen(16) {
		if n, err := base64.StdEncoding.Decode(nonce[:], []byte(keys[0])); err == nil && n == 16 {
			return nil
		}
	}
	return protocol.Errorf(protocol.CodeBadArgs, "found Sec-WebSocket-Key %q, wanted 16 bytes in base64", keys)
}

// appendAccepted appends the answer to a request that is granted.
func appendAccepted(dst []byte, key string) []byte {
	sum := sha1.Sum(append(append(make([]byte, 0, 64), key...), keyGUID...))
	dst = append(dst, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Protocol: "+Subprotocol+"\r\nSec-WebSocket-Accept: "...)
	dst = base64.StdEncoding.AppendEncode(dst, sum[:])
	return append(dst, "\r\n\r\n"...)
}

// hijack takes the connection from net/http, whose buffers and goroutine go, and grants the upgrade.
func (h *Handler) hijack(w http.ResponseWriter, r *http.Request) (*conn, error) {
	nc, buffers, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return nil, err
	}
	c := newConn(nc, h)
	if n := buffers.Reader.Buffered(); n > 0 { // what came right behind the request is the first thing to read
		early, _ := buffers.Peek(n)
		c.early = bytes.Clone(early)
	}
	var answer [256]byte
	done, err := c.out.Send(appendAccepted(answer[:0], r.Header.Get("Sec-WebSocket-Key")))
	if err == nil && !done {
		err = c.out.Flush()
	}
	if err != nil {
		c.out.End(false)
		return nil, err
	}
	return c, nil
}
